//! `<bytes a number: u32><numbers: u32>` then the numbers, which ascend.

use super::Cursor;

/// The numbers, or None where the intset is not sound; an empty one is not.
#[must_use]
pub fn intset(blob: &[u8]) -> Option<Vec<i64>> {
    let mut cursor = Cursor(blob);
    let width = match cursor.little(4)? {
        2 => 2,
        4 => 4,
        8 => 8,
        _ => return None,
    };
    let count = cursor.little(4)?;
    let mut numbers = Vec::new();
    while !cursor.0.is_empty() {
        let number = cursor.signed(width)?;
        if numbers.last().is_some_and(|last| *last >= number) {
            return None;
        }
        numbers.push(number);
    }
    (count == numbers.len() as u64 && count > 0).then_some(numbers)
}
