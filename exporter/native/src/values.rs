//! Values: strings one by one, or one blob that holds them all.
//!
//! Knows: lists, sets, zsets, hashes and arrays. Refuses to know: streams, and hashes whose fields
//! expire or share their names.

use std::io::Read;

use crate::fault::{Result, corrupt};
use crate::format::{Dialect, Kind, Known, Layout};
use crate::listpack::Listpack;
use crate::tally::{Odd, Tally};
use crate::text::{Entries, Text, count, float_at_start};
use crate::uniques::Few;
use crate::walk::Walk;
use crate::ziplist::{self, Ziplist};

const PLAIN_NODE: u64 = 1;
const PACKED_NODE: u64 = 2;
const ARRAY_SHORT_STRING_BYTES: u64 = 7;

impl<R: Read> Walk<R> {
    pub(crate) fn list(&mut self) -> Result<()> {
        let count = self.reader.length()?;
        if count == 0 {
            self.tally.find(Odd::EmptyCollection);
        }
        for _ in 0..count {
            self.skip_text()?;
        }
        Ok(())
    }

    pub(crate) fn set(&mut self) -> Result<()> {
        let count = self.reader.length()?;
        self.tally.start_members(count);
        for _ in 0..count {
            self.member(Kind::Set)?;
        }
        self.tally.end_members(Kind::Set)
    }

    pub(crate) fn hash(&mut self) -> Result<()> {
        let count = self.reader.length()?;
        self.tally.start_members(count);
        for _ in 0..count {
            self.member(Kind::Hash)?;
            self.skip_text()?;
        }
        self.tally.end_members(Kind::Hash)
    }

    pub(crate) fn zset(&mut self, binary_scores: bool) -> Result<()> {
        let count = self.reader.length()?;
        self.tally.start_members(count);
        for _ in 0..count {
            self.member(Kind::Zset)?;
            let score = if binary_scores {
                f64::from_le_bytes(self.reader.array()?)
            } else {
                self.score_text()?
            };
            if self.full && score.is_nan() {
                return not_a_number();
            }
        }
        self.tally.end_members(Kind::Zset)
    }

    /// A member of a set, a field of a hash: a string that may not come twice.
    #[inline]
    pub(crate) fn member(&mut self, what: Kind) -> Result<()> {
        if !self.full {
            return self.skip_text().map(drop);
        }
        let text = self.reader.text(self.empty_packed)?;
        self.tally.member(what, text)
    }

    /// A score as text (type 3).
    fn score_text(&mut self) -> Result<f64> {
        let size = self.reader.byte()?;
        match size {
            253 => return Ok(f64::NAN),
            254 => return Ok(f64::INFINITY),
            255 => return Ok(f64::NEG_INFINITY),
            _ => {}
        }
        let text = self.reader.short(size)?;
        if !self.full {
            return Ok(0.0);
        }
        match float_at_start(text) {
            Some((value, [], false)) => Ok(value),
            Some((value, _, _)) => {
                self.tally.find(Odd::ScoreText);
                Ok(value)
            }
            None => corrupt("a zset's score is no number"),
        }
    }

    /// A collection in one blob.
    pub(crate) fn small(&mut self, known: Known) -> Result<()> {
        if !self.full {
            return self.skip_text().map(drop);
        }
        let tally = &mut self.tally;
        let blob = self.reader.blob(self.empty_packed)?;
        match known.layout {
            Layout::SetIntset => ziplist::intset(blob),
            Layout::HashZipmap => {
                tally.members.clear();
                ziplist::zipmap(blob, |field| tally.member(Kind::Hash, field))?;
                tally.end_members(Kind::Hash)
            }
            Layout::ListZiplist => {
                let count = count(Ziplist::open(blob)?)?;
                not_empty(tally, count);
                Ok(())
            }
            Layout::SetListpack => {
                let mut entries = Listpack::open(blob)?;
                let mut members = Members::new(Kind::Set, entries, 1);
                while let Some(member) = entries.next()? {
                    members.add(tally, member)?;
                }
                members.end(tally)
            }
            Layout::HashListpack => small_hash(tally, Listpack::open(blob)?),
            Layout::HashZiplist => small_hash(tally, Ziplist::open(blob)?),
            Layout::ZsetZiplist => small_zset(tally, Ziplist::open(blob)?, false),
            _ => {
                let strict = tally.magic.dialect == Dialect::Valkey;
                small_zset(tally, Listpack::open(blob)?, strict)
            }
        }
    }

    pub(crate) fn quicklist(&mut self) -> Result<()> {
        let nodes = self.reader.length()?;
        let mut empty = 0;
        for _ in 0..nodes {
            if !self.full {
                self.skip_text()?;
                continue;
            }
            let blob = self.reader.blob(self.empty_packed)?;
            empty += u64::from(count(Ziplist::open(blob)?)? == 0);
        }
        self.end_nodes(nodes, empty);
        Ok(())
    }

    pub(crate) fn quicklist2(&mut self) -> Result<()> {
        let nodes = self.reader.length()?;
        let mut empty = 0;
        for _ in 0..nodes {
            match self.reader.length()? {
                PACKED_NODE if self.full => {
                    let blob = self.reader.blob(self.empty_packed)?;
                    empty += u64::from(count(Listpack::open(blob)?)? == 0);
                }
                PACKED_NODE => {
                    self.skip_text()?;
                }
                PLAIN_NODE => {
                    if self.skip_text()? == 0 {
                        return corrupt("a plain list node is empty");
                    }
                }
                _ => return corrupt("a list node is in an unknown container"),
            }
        }
        self.end_nodes(nodes, empty);
        Ok(())
    }

    fn end_nodes(&mut self, nodes: u64, empty: u64) {
        if empty == nodes {
            self.tally.find(Odd::EmptyCollection);
        } else if empty > 0 {
            self.tally.find(Odd::EmptyListNode);
        }
    }

    /// Redis 8.8: {index, tag, value} by ascending index.
    pub(crate) fn array(&mut self) -> Result<()> {
        let count = self.reader.length()?;
        let flag = self.reader.length()?;
        if count == 0 || flag > 1 {
            return corrupt("an array is empty, or its flag is unknown");
        }
        if flag == 1 {
            self.reader.number()?; // the cursor
        }
        let mut least = 0;
        for _ in 0..count {
            let index = self.reader.length()?;
            if index < least {
                return corrupt("an array's indexes do not ascend");
            }
            least = index + 1; // an index is at most 2^64-2
            match self.reader.length()? {
                0 => {
                    self.skip_text()?;
                }
                1 | 2 => self.reader.skip(8)?,
                3 => {
                    if self.reader.text_size(self.empty_packed, self.full)?
                        > ARRAY_SHORT_STRING_BYTES
                    {
                        return corrupt("an array's short string is too long");
                    }
                }
                _ => return corrupt("an array's value has an unknown tag"),
            }
        }
        Ok(())
    }
}

fn not_empty(tally: &mut Tally, count: u64) {
    if count == 0 {
        tally.find(Odd::EmptyCollection);
    }
}

/// Whether the members of a small encoding differ.
///
/// They are few as a rule, and compared by cheap digests. Where that tells nothing, those so far are
/// taken from the start again, and all of them go the way of a great collection.
pub(crate) struct Members<E> {
    what: Kind,
    start: E,
    /// Entries a member: itself, its value, its expiry.
    stride: u64,
    few: Few,
    doubted: bool,
    count: u64,
}

impl<'a, E: Entries<'a> + Copy> Members<E> {
    pub(crate) fn new(what: Kind, start: E, stride: u64) -> Self {
        Self {
            what,
            start,
            stride,
            few: Few::default(),
            doubted: false,
            count: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, tally: &mut Tally, member: Text<'a>) -> Result<()> {
        if self.doubted || !self.few.add(member) {
            self.add_doubted(tally, member)?;
        }
        self.count += 1;
        Ok(())
    }

    #[inline(never)]
    fn add_doubted(&mut self, tally: &mut Tally, member: Text<'a>) -> Result<()> {
        if !self.doubted {
            self.doubted = true;
            tally.members.clear();
            let mut entries = self.start;
            for nth in 0..self.count * self.stride {
                match entries.next()? {
                    Some(earlier) if nth % self.stride == 0 => tally.member(self.what, earlier)?,
                    _ => {}
                }
            }
        }
        tally.member(self.what, member)
    }

    pub(crate) fn end(self, tally: &mut Tally) -> Result<()> {
        not_empty(tally, self.count);
        if self.doubted {
            return tally.end_members(self.what);
        }
        Ok(())
    }
}

fn small_hash<'a>(tally: &mut Tally, mut entries: impl Entries<'a> + Copy) -> Result<()> {
    let mut members = Members::new(Kind::Hash, entries, 2);
    while let Some(field) = entries.next()? {
        members.add(tally, field)?;
        if !entries.pass()? {
            return corrupt("a hash's last field has no value");
        }
    }
    members.end(tally)
}

/// `strict`: a score that is not a number is refused.
fn small_zset<'a>(
    tally: &mut Tally,
    mut entries: impl Entries<'a> + Copy,
    strict: bool,
) -> Result<()> {
    let mut members = Members::new(Kind::Zset, entries, 2);
    let mut last: Option<(f64, Text<'_>)> = None;
    let (mut all_numbers, mut ordered) = (true, true);
    while let Some(member) = entries.next()? {
        members.add(tally, member)?;
        let Some(score) = entries.next()? else {
            return corrupt("a zset's last member has no score");
        };
        match score.float() {
            None => {
                tally.find(Odd::ScoreText);
                all_numbers = false;
            }
            Some(value) if value.is_nan() => {
                if strict {
                    return not_a_number();
                }
                tally.find(Odd::ScoreNan);
                all_numbers = false;
            }
            Some(value) => {
                if let Some((before, earlier)) = last {
                    ordered &=
                        before < value || (before <= value && earlier.compare(member).is_le());
                }
                last = Some((value, member));
            }
        }
    }
    if all_numbers && !ordered {
        tally.find(Odd::ZsetOrder);
    }
    members.end(tally)
}

#[cold]
fn not_a_number<T>() -> Result<T> {
    corrupt("a zset holds a score that is not a number")
}
