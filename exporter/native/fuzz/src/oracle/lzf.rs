//! LZF: runs of literal bytes, and references back; a byte at a time.

use super::Cursor;

/// What `packed` stands for, or None where it is not exactly `size` bytes.
#[must_use]
pub fn lzf(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut cursor = Cursor(packed);
    let mut made = Vec::new();
    while !cursor.0.is_empty() {
        let control = usize::from(cursor.byte()?);
        if control < 32 {
            made.extend_from_slice(cursor.take(control + 1)?);
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += usize::from(cursor.byte()?);
            }
            let distance = (control & 31) * 256 + usize::from(cursor.byte()?) + 1;
            for _ in 0..length + 2 {
                let from = made.len().checked_sub(distance)?;
                made.push(made[from]);
            }
        }
        if made.len() > size {
            return None;
        }
    }
    (made.len() == size).then_some(made)
}
