//! A right magic and a right checksum around mutated records.
//!
//! Without them nearly every mutation would end at the first or the last bytes, and the inputs that
//! are kept would be no RDB files; with them they are, and `verify` can be run on each.

use crc_fast::{CrcAlgorithm, checksum};

const MAGIC_BYTES: usize = 9;
const CRC_BYTES: usize = 8;
const EOF: u8 = 0xFF;
/// The first version with a checksum.
const FIRST_WITH_CRC: u8 = 5;
const VERSIONS: u8 = 15;

/// How an input is finished; drawn from the mutator's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Right,
    Zero,
    /// As the mutations left it.
    Raw,
    /// Right, but no end mark is set before it.
    Unmarked,
}

/// Mutates the records of the RDB in `data[..size]`, and frames them anew; gives the new size.
///
/// `mutate` is the fuzzer's own: it takes a buffer and the bytes in use, and gives the bytes in use.
pub fn mutate_framed(
    data: &mut [u8],
    size: usize,
    seed: u32,
    mutate: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    let end = match seed % 32 {
        0 => End::Raw,
        1 => End::Unmarked,
        2..6 => End::Zero,
        _ => End::Right,
    };
    let room = data.len();
    if end == End::Raw || room < MAGIC_BYTES + 1 + CRC_BYTES {
        return mutate(data, size, room);
    }
    let records = if has_crc(data) {
        size.saturating_sub(CRC_BYTES)
    } else {
        size
    };
    let most = room - CRC_BYTES - 1;
    let mut size = mutate(data, records.min(most), most).max(MAGIC_BYTES);
    if seed.is_multiple_of(61) || !has_magic(data) {
        let version = u8::try_from(seed / 61 % u32::from(VERSIONS + 1)).unwrap_or_default();
        data[..MAGIC_BYTES].copy_from_slice(&magic(version));
    }
    if end != End::Unmarked && (size == MAGIC_BYTES || data[size - 1] != EOF) {
        data[size] = EOF;
        size += 1;
    }
    if !has_crc(data) {
        return size;
    }
    let crc = match end {
        End::Zero => 0,
        _ => checksum(CrcAlgorithm::Crc64Redis, &data[..size]),
    };
    data[size..size + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    size + CRC_BYTES
}

/// `REDIS0001` to `REDIS0015`; 0 is `VALKEY080`.
fn magic(version: u8) -> [u8; MAGIC_BYTES] {
    if version == 0 {
        *b"VALKEY080"
    } else {
        let [tens, ones] = [b'0' + version / 10, b'0' + version % 10];
        [b'R', b'E', b'D', b'I', b'S', b'0', b'0', tens, ones]
    }
}

fn version(data: &[u8]) -> Option<u8> {
    (0..=VERSIONS).find(|version| data.starts_with(&magic(*version)))
}

fn has_magic(data: &[u8]) -> bool {
    version(data).is_some()
}

fn has_crc(data: &[u8]) -> bool {
    version(data).is_none_or(|version| version == 0 || version >= FIRST_WITH_CRC)
}
