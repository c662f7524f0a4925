//! The small encodings, read the slow and simple way: every entry becomes a string of its own.
//!
//! Knows: the formats as their definitions have them. Refuses to know: the engine; nothing here is
//! taken from it.

mod intset;
mod listpack;
mod lzf;
mod ziplist;
mod zipmap;

pub use intset::intset;
pub use listpack::{listpack, listpack_entry};
pub use lzf::lzf;
pub use ziplist::{ziplist, ziplist_entry};
pub use zipmap::zipmap;

/// Takes bytes from the front of a slice.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        if count > self.0.len() {
            return None;
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// An unsigned number, least significant byte first.
    fn little(&mut self, bytes: usize) -> Option<u64> {
        let raw = self.take(bytes)?;
        Some(
            raw.iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    }

    /// Likewise with the most significant byte first.
    fn big(&mut self, bytes: usize) -> Option<u64> {
        let raw = self.take(bytes)?;
        Some(raw.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    /// A signed number, least significant byte first.
    fn signed(&mut self, bytes: usize) -> Option<i64> {
        let number = self.little(bytes)?;
        Some(sign(number, u32::try_from(8 * bytes).ok()?))
    }
}

/// `number` of so many bits in two's complement.
fn sign(number: u64, bits: u32) -> i64 {
    let shift = 64 - bits;
    (number << shift).cast_signed() >> shift
}

fn digits(number: i64) -> Vec<u8> {
    number.to_string().into_bytes()
}
