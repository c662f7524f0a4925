//! `<pairs>` then `<length><field><length><unused: u8><value><unused bytes>` each, then 0xFF.

use super::Cursor;

/// The fields, or None where the zipmap is not sound; an empty one is not.
#[must_use]
pub fn zipmap(blob: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut cursor = Cursor(blob);
    let declared = cursor.byte()?;
    if cursor.0.last() != Some(&0xFF) {
        return None;
    }
    let end = cursor.0.len() - 1;
    let mut cursor = Cursor(&cursor.0[..end]);
    let mut fields = Vec::new();
    while !cursor.0.is_empty() {
        let size = length(&mut cursor)?;
        fields.push(cursor.take(size)?.to_vec());
        let size = length(&mut cursor)?;
        let unused = cursor.byte()?;
        cursor.take(size)?;
        cursor.take(usize::from(unused))?;
    }
    // 254: too many for a byte.
    let counted = declared == 254 || usize::from(declared) == fields.len();
    (counted && !fields.is_empty()).then_some(fields)
}

fn length(cursor: &mut Cursor) -> Option<usize> {
    match cursor.byte()? {
        255 => None,
        254 => usize::try_from(cursor.little(4)?).ok(),
        short => Some(usize::from(short)),
    }
}
