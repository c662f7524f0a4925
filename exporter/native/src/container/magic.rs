//! The first bytes of a container, and the frames that may stand in front of it.
//!
//! Knows: the magics, and which of the two formats with skippable frames they belong to. Refuses to
//! know: how to decode.

use std::io::Read;

use super::input::Input;
use super::{Broken, Fault, Halt};

/// Enough to tell the formats apart: the magic of xz is the longest.
pub(super) const SNIFF_BYTES: usize = 6;
/// The magic and length in front of a frame that zstd and LZ4 decoders must skip.
const SKIPPABLE_BYTES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Gzip,
    Zstd,
    Lz4,
    Xz,
    Bzip2,
}

impl Format {
    const ALL: [Self; 5] = [Self::Gzip, Self::Zstd, Self::Lz4, Self::Xz, Self::Bzip2];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    pub(super) const fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"\x1f\x8b",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
            Self::Lz4 => b"\x04\x22\x4d\x18",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Bzip2 => b"BZh",
        }
    }

    /// Whether skippable frames may stand around the frames of this format.
    pub(super) const fn skips(self) -> bool {
        matches!(self, Self::Zstd | Self::Lz4)
    }

    pub(super) const fn broken(self, fault: Fault) -> Broken {
        let name = self.name();
        match fault {
            Fault::Truncated => Broken::Truncated(name),
            Fault::Checksum => Broken::Checksum(name),
            Fault::Corrupt => Broken::Corrupt(name),
            Fault::Memory => Broken::Memory(name),
            Fault::Unsupported => Broken::Unsupported(name),
        }
    }
}

/// Which compression the first bytes announce, the skippable frames in front passed over.
pub(super) fn sniff<R: Read>(input: &mut Input<R>) -> Result<Option<Format>, Broken> {
    let mut skipped = false;
    loop {
        let head = input.gather(SNIFF_BYTES).map_err(Broken::Source)?;
        let may_come = |format: &Format| !skipped || format.skips();
        let announced = |format: &Format| may_come(format) && head.starts_with(format.magic());
        // No dump begins like a magic, so a file that ends within one was to be compressed.
        let begun = |format: &Format| {
            may_come(format) && !head.is_empty() && format.magic().starts_with(head)
        };
        if let Some(format) = Format::ALL.into_iter().find(announced) {
            return Ok(Some(format));
        }
        if is_skippable(head) {
            // Which of the two formats it is shows only behind it; most such frames are zstd's.
            skip_frame(input).map_err(|halt| match halt {
                Halt::Source(error) => Broken::Source(error),
                Halt::Fault(fault) => Format::Zstd.broken(fault),
            })?;
            skipped = true;
        } else if let Some(format) = Format::ALL.into_iter().find(begun) {
            return Err(format.broken(Fault::Truncated));
        } else if (begins_skippable(head) && (skipped || head.len() > 1))
            || (skipped && head.is_empty())
        {
            // One byte alone says nothing: the R of REDIS and the V of VALKEY are among them.
            return Err(Format::Zstd.broken(Fault::Truncated));
        } else if skipped {
            return Err(Format::Zstd.broken(Fault::Corrupt));
        } else {
            return Ok(None);
        }
    }
}

/// Magic 0x184D2A50 to 0x184D2A5F, little-endian.
pub(super) fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

pub(super) fn begins_skippable(head: &[u8]) -> bool {
    matches!(
        head,
        [0x50..=0x5f] | [0x50..=0x5f, 0x2a] | [0x50..=0x5f, 0x2a, 0x4d]
    )
}

/// Passes over a skippable frame: its length is a 32-bit number, and is never held in memory.
pub(super) fn skip_frame<R: Read>(input: &mut Input<R>) -> Result<(), Halt> {
    let &[_, _, _, _, a, b, c, d, ..] = input.gather(SKIPPABLE_BYTES)? else {
        return Err(Fault::Truncated.into());
    };
    input.consume(SKIPPABLE_BYTES);
    let body = u64::from(u32::from_le_bytes([a, b, c, d]));
    if input.skip(body)? {
        Ok(())
    } else {
        Err(Fault::Truncated.into())
    }
}
