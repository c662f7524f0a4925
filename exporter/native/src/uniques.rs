//! Whether something came twice: keys of a database, members of a set, fields of a hash.
//!
//! Knows: 64-bit hashes, keyed anew in each process, so that nobody who can write into Redis can aim
//! at a collision. Refuses to know: what a duplicate means. No check tool looks for duplicate keys,
//! and every server aborts on them.
//!
//! Memory is bounded: past the budget only a share of all hashes is kept, a half, a quarter and so
//! on; which one is the caller's `part`, so that one reading after the other looks at another share.
//! Two different strings share a hash once in some million files of the greatest size.

use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use foldhash::quality::RandomState;

use crate::text::Text;

/// So few are compared one by one.
const FEW: usize = 16;
/// Members of a small blob that are compared by digests.
const DIGESTS: usize = 32;
/// Up to so many a duplicate is known at once, beyond it at the end.
const TABLE: usize = 1 << 16;

/// Which share of all was searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0 on.
    pub part: u64,
    /// A power of two; 1 is everything.
    pub of: u64,
}

impl Share {
    /// The smaller of two shares.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        if other.of > self.of { other } else { self }
    }
}

/// The bits of a hash that tell its share; they come from a digest that is cheap to make.
pub const SHARE_BITS: u64 = 0xFFFF;

/// One key a process: so that the shares of one reading after the other make up the whole.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// See the module.
pub struct Uniques {
    state: RandomState,
    /// Hashes in the order they came, while there are few, and once there are many.
    list: Vec<u64>,
    /// Open addressing, 0 is free; in use from `FEW` to `TABLE`.
    table: Vec<u64>,
    in_table: usize,
    many: bool,
    /// Hashes that `list` may hold once there are many.
    limit: usize,
    part: u64,
    of: u64,
}

impl Uniques {
    /// Takes at most `budget_bytes` (and never less than what 65,536 need).
    #[must_use]
    pub fn new(budget_bytes: usize, part: u64) -> Self {
        Self {
            state: KEY.clone(),
            list: Vec::new(),
            table: Vec::new(),
            in_table: 0,
            many: false,
            limit: (budget_bytes / size_of::<u64>()).max(2 * TABLE),
            part,
            of: 1,
        }
    }

    /// The hash of a string, the same for equal strings in any form; never 0.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, text: Text<'_>) -> u64 {
        let mut hasher = self.state.build_hasher();
        match text.canonical() {
            Text::Bytes(bytes) => hasher.write(bytes),
            Text::Integer(number) => hasher.write_i64(number),
        }
        hasher.finish() & !SHARE_BITS | digest(text) >> 48 | 1 << 63
    }

    /// Whether `text` is in the share that is searched; of the others not even a hash is made.
    #[inline(always)]
    #[must_use]
    pub fn wants(&self, text: Text<'_>) -> bool {
        !self.many || digest(text) >> 48 & (self.of - 1) == self.part & (self.of - 1)
    }

    /// False where `hash` is known to have come before; the rest shows in [`Self::distinct`].
    #[inline(always)]
    pub fn add(&mut self, hash: u64) -> bool {
        if self.many {
            if hash & (self.of - 1) == self.part & (self.of - 1) {
                if self.list.len() == self.limit {
                    self.halve();
                }
                if self.list.len() < self.limit {
                    self.list.push(hash);
                }
            }
            return true;
        }
        if self.in_table == 0 {
            if self.list.contains(&hash) {
                return false;
            }
            self.list.push(hash);
            if self.list.len() > FEW {
                self.begin_table();
            }
            return true;
        }
        self.add_to_table(hash)
    }

    #[cold]
    fn begin_table(&mut self) {
        let list = std::mem::take(&mut self.list);
        self.table.resize(8 * FEW, 0);
        for hash in &list {
            self.place(*hash);
        }
        self.list = list;
        self.list.clear();
    }

    fn grow(&mut self, size: usize) {
        let before = std::mem::take(&mut self.table);
        self.table.resize(size, 0);
        self.in_table = 0;
        for hash in before {
            if hash != 0 {
                self.place(hash);
            }
        }
    }

    fn add_to_table(&mut self, hash: u64) -> bool {
        if !self.place(hash) {
            return false;
        }
        if self.in_table > TABLE {
            self.many = true;
            self.in_table = 0;
            self.list = std::mem::take(&mut self.table);
            self.list.retain(|hash| *hash != 0);
            // Memory that is not written to costs nothing; growing would copy it all each time.
            self.list
                .reserve_exact(self.limit.saturating_sub(self.list.len()));
        } else if 2 * self.in_table > self.table.len() {
            self.grow(4 * self.table.len());
        }
        true
    }

    /// False where it is there already.
    #[inline]
    fn place(&mut self, hash: u64) -> bool {
        let mask = self.table.len().wrapping_sub(1);
        #[allow(clippy::cast_possible_truncation)] // any bits will do
        let mut at = (hash >> 20) as usize & mask;
        while let Some(slot) = self.table.get_mut(at) {
            if *slot == 0 {
                *slot = hash;
                self.in_table += 1;
                return true;
            }
            if *slot == hash {
                return false;
            }
            at = (at + 1) & mask;
        }
        true
    }

    #[cold]
    fn halve(&mut self) {
        while self.list.len() >= self.limit && self.of <= SHARE_BITS {
            self.of *= 2;
            let (mask, part) = (self.of - 1, self.part & (self.of - 1));
            // As retain(), without a branch that is a toss of a coin.
            let mut kept = 0;
            for at in 0..self.list.len() {
                let hash = self.list[at];
                self.list[kept] = hash;
                kept += usize::from(hash & mask == part);
            }
            self.list.truncate(kept);
        }
    }

    /// True where nothing came twice, in the share that was searched.
    pub fn distinct(&mut self) -> bool {
        self.twin().is_none()
    }

    /// The hash of something that came twice among the many.
    pub fn twin(&mut self) -> Option<u64> {
        if !self.many {
            return None;
        }
        self.list.sort_unstable();
        self.list.windows(2).find_map(|pair| match pair {
            [one, next] if one == next => Some(*one),
            _ => None,
        })
    }

    /// Which share was searched since the last [`Self::clear`].
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            part: self.part & (self.of - 1),
            of: self.of,
        }
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self) {
        if self.in_table > 0 || self.many {
            self.clear_many();
        }
        self.list.clear();
    }

    fn clear_many(&mut self) {
        self.table.clear();
        if self.many {
            self.list = Vec::new();
        }
        self.in_table = 0;
        self.many = false;
        self.of = 1;
    }
}

/// Members of one small blob, which is at hand to be looked at again.
///
/// So their digests may be cheap: where two are equal nothing is known yet.
#[derive(Default)]
pub struct Few {
    digests: [u64; DIGESTS],
    count: usize,
    /// A bit for some bits of each digest.
    seen: u64,
}

impl Few {
    /// False where nothing is known: there are too many, or two that look alike.
    #[inline(always)]
    pub fn add(&mut self, text: Text<'_>) -> bool {
        let digest = digest(text);
        let bit = 1 << (digest >> 58);
        let alike = self.seen & bit != 0
            && self
                .digests
                .iter()
                .take(self.count)
                .any(|earlier| *earlier == digest);
        match self.digests.get_mut(self.count) {
            Some(slot) if !alike => {
                *slot = digest;
                self.count += 1;
                self.seen |= bit;
                true
            }
            _ => false,
        }
    }
}

/// Equal for equal strings, in any form; seldom equal for others.
#[inline(always)]
fn digest(text: Text<'_>) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (head, tail) = match text.canonical() {
        Text::Integer(number) => (number.cast_unsigned(), ODD),
        Text::Bytes(bytes) => match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(head), Some(tail)) => (
                u64::from_le_bytes(*head),
                u64::from_le_bytes(*tail) ^ bytes.len() as u64,
            ),
            _ => match (bytes.first_chunk(), bytes.last_chunk()) {
                (Some(head), Some(tail)) => (
                    u64::from(u32::from_le_bytes(*head)),
                    u64::from(u32::from_le_bytes(*tail)) ^ (bytes.len() as u64) << 32,
                ),
                _ => (
                    bytes
                        .iter()
                        .fold(1, |sum, byte| sum << 8 | u64::from(*byte)),
                    0,
                ),
            },
        },
    };
    (head.wrapping_mul(ODD) ^ tail).wrapping_mul(ODD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(count: u64, twice: u64, budget: usize, part: u64) -> (bool, Share) {
        let mut seen = Uniques::new(budget, part);
        let mut known = true;
        for number in (0..count).chain([twice]) {
            let text = format!("key:{number}");
            let hash = seen.hash(Text::Bytes(text.as_bytes()));
            known &= seen.add(hash);
        }
        (known && seen.distinct(), seen.share())
    }

    #[test]
    fn a_duplicate_is_found_among_few_and_many() {
        for count in [1, 2, 16, 17, 18, 1000, 65_536, 65_537, 65_538, 200_000] {
            for twice in [0, count / 2, count - 1] {
                assert!(!search(count, twice, 8 << 20, 0).0, "{twice} of {count}");
            }
            assert!(search(count, count, 8 << 20, 0).0, "{count}");
        }
    }

    #[test]
    fn each_share_is_searched_in_its_turn() {
        let found: Vec<bool> = (0..8)
            .map(|round| {
                let (distinct, share) = search(600_000, 300_000, 1 << 20, 8 + round);
                assert_eq!(share, Share { part: round, of: 8 });
                !distinct
            })
            .collect();
        assert_eq!(found.iter().filter(|found| **found).count(), 1);
    }

    #[test]
    fn few_are_told_apart_or_doubted() {
        let mut few = Few::default();
        for number in 0..DIGESTS {
            assert!(few.add(Text::Bytes(format!("field:{number}").as_bytes())));
        }
        assert!(!few.add(Text::Bytes(b"one more")));
        for text in [
            &b""[..],
            b"a",
            b"abc",
            b"abcd",
            b"abcdefg",
            b"abcdefgh",
            b"12",
            b"x".repeat(99).as_slice(),
        ] {
            let mut few = Few::default();
            assert!(few.add(Text::Bytes(b"another")));
            assert!(few.add(Text::Bytes(text)));
            assert!(!few.add(Text::Bytes(text)), "{text:?}");
        }
        let mut few = Few::default();
        assert!(few.add(Text::Bytes(b"12")));
        assert!(!few.add(Text::Integer(12)));
    }

    #[test]
    fn forms_of_one_string_are_one() {
        let seen = Uniques::new(0, 0);
        assert_eq!(seen.hash(Text::Bytes(b"12")), seen.hash(Text::Integer(12)));
        assert_ne!(seen.hash(Text::Bytes(b"012")), seen.hash(Text::Integer(12)));
    }
}
