//! `<total bytes: u32><entries: u16>` then entries `<encoding><data><back length>`, then 0xFF.

use super::{Cursor, digits, sign};

/// The entries, or None where the listpack is not sound.
#[must_use]
pub fn listpack(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut cursor = Cursor(blob);
    if cursor.little(4)? != blob.len() as u64 {
        return None;
    }
    let declared = cursor.little(2)?;
    if cursor.0.last() != Some(&0xFF) {
        return None;
    }
    let end = cursor.0.len() - 1;
    let mut cursor = Cursor(&cursor.0[..end]);
    let mut entries = Vec::new();
    while !cursor.0.is_empty() {
        entries.push(take(&mut cursor.0)?);
    }
    (declared == 65535 || declared == entries.len() as u64).then_some(entries)
}

/// Takes the entry and its back length from the front of `rest`.
fn take(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let (entry, bytes) = listpack_entry(rest)?;
    let mut cursor = Cursor(rest);
    cursor.take(bytes)?;
    // Writers differ at the greatest number of so many bits: some take one byte more.
    let written = [back_length(bytes, 0), back_length(bytes, 1)];
    let found = written.iter().find(|back| cursor.0.starts_with(back))?;
    cursor.take(found.len())?;
    *rest = cursor.0;
    Some(entry)
}

/// The entry that `rest` begins with, and its bytes without the back length.
#[must_use]
pub fn listpack_entry(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut cursor = Cursor(rest);
    let first = cursor.byte()?;
    let low = |bits: u32| u64::from(first) & ((1 << bits) - 1);
    let text =
        |cursor: &mut Cursor, size: u64| Some(cursor.take(usize::try_from(size).ok()?)?.to_vec());
    let entry = if first >> 7 == 0 {
        digits(i64::from(first))
    } else if first >> 6 == 0b10 {
        text(&mut cursor, low(6))?
    } else if first >> 5 == 0b110 {
        let number = low(5) << 8 | u64::from(cursor.byte()?);
        digits(sign(number, 13))
    } else if first >> 4 == 0b1110 {
        let size = low(4) << 8 | u64::from(cursor.byte()?);
        text(&mut cursor, size)?
    } else {
        match first {
            0xF0 => {
                let size = cursor.little(4)?;
                text(&mut cursor, size)?
            }
            0xF1 => digits(cursor.signed(2)?),
            0xF2 => digits(cursor.signed(3)?),
            0xF3 => digits(cursor.signed(4)?),
            0xF4 => digits(cursor.signed(8)?),
            _ => return None,
        }
    };
    Some((entry, rest.len() - cursor.0.len()))
}

/// 7 bits a byte, most significant first; all but the first byte have the high bit set.
fn back_length(bytes: usize, below: usize) -> Vec<u8> {
    let mut count = 1;
    // One byte holds 127 in every writer.
    while bytes > (1_usize << (7 * count)) - 1 - if count > 1 { below } else { 0 } {
        count += 1;
    }
    (0..count)
        .rev()
        .map(|place| {
            let part = u8::try_from(bytes >> (7 * place) & 0x7F).unwrap_or_default();
            if place + 1 == count {
                part
            } else {
                part | 0x80
            }
        })
        .collect()
}
