//! `<total bytes: u32><offset of the last entry: u32><entries: u16>` then entries
//! `<length of the entry before><encoding><data>`, then 0xFF.

use super::{Cursor, digits};

const HEADER_BYTES: usize = 10;

/// The entries, or None where the ziplist is not sound.
#[must_use]
pub fn ziplist(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut cursor = Cursor(blob);
    if cursor.little(4)? != blob.len() as u64 {
        return None;
    }
    let tail = cursor.little(4)?;
    let declared = cursor.little(2)?;
    if cursor.0.last() != Some(&0xFF) {
        return None;
    }
    let end = cursor.0.len() - 1;
    let mut cursor = Cursor(&cursor.0[..end]);
    let mut entries = Vec::new();
    let (mut before, mut last) = (0, HEADER_BYTES);
    while !cursor.0.is_empty() {
        last = HEADER_BYTES + end - cursor.0.len();
        let (entry, claimed, bytes) = ziplist_entry(cursor.0)?;
        if claimed != before {
            return None;
        }
        cursor.take(bytes)?;
        before = bytes as u64;
        entries.push(entry);
    }
    let counted = declared == 65535 || declared == entries.len() as u64;
    (counted && tail == last as u64).then_some(entries)
}

/// The entry that `rest` begins with, the length that it claims of the one before, and its bytes.
#[must_use]
pub fn ziplist_entry(rest: &[u8]) -> Option<(Vec<u8>, u64, usize)> {
    let mut cursor = Cursor(rest);
    let claimed = match cursor.byte()? {
        255 => return None,
        254 => cursor.little(4)?,
        length => u64::from(length),
    };
    let first = cursor.byte()?;
    let low = u64::from(first & 0x3F);
    let size = match first >> 6 {
        0b00 => Some(low),
        0b01 => Some(low << 8 | u64::from(cursor.byte()?)),
        0b10 => Some(cursor.big(4)?),
        _ => None,
    };
    let entry = match (size, first) {
        (Some(size), _) => cursor.take(usize::try_from(size).ok()?)?.to_vec(),
        (None, 0b1100_0000) => digits(cursor.signed(2)?),
        (None, 0b1101_0000) => digits(cursor.signed(4)?),
        (None, 0b1110_0000) => digits(cursor.signed(8)?),
        (None, 0b1111_0000) => digits(cursor.signed(3)?),
        (None, 0b1111_1110) => digits(cursor.signed(1)?),
        (None, 0b1111_0001..=0b1111_1101) => digits(i64::from(first & 0x0F) - 1),
        _ => return None,
    };
    Some((entry, claimed, rest.len() - cursor.0.len()))
}
