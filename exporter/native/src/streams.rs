//! Streams: types 15, 19, 21, 26 and 27, their listpack nodes, consumer groups, idempotence records.
//!
//! Knows: the layout of each generation (1 to 5), and what Redis' deep check and Valkey's loader
//! refuse. Refuses to know: what the entries say. Sources: `t_stream.c`
//! (`streamValidateListpackIntegrity`), `rdb.c` of Redis 5.0-8.10.

use std::io::Read;

use crate::fault::{Result, corrupt};
use crate::format::Dialect;
use crate::listpack::Listpack;
use crate::tally::{Odd, Tally};
use crate::text::{Entries, Text};
use crate::uniques::Uniques;
use crate::walk::Walk;

const ID_BYTES: u64 = 16;
const ENTRY_DELETED: i64 = 1;
const ENTRY_SAME_FIELDS: i64 = 2;
const NO_ENTRIES_READ: u64 = u64::MAX;

/// What may not come twice within one stream.
pub struct Sets {
    /// Keys of nodes, then names of groups.
    names: Uniques,
    consumers: Uniques,
    pending: Uniques,
}

impl Sets {
    /// `budget_bytes` and `part` as in [`Uniques`].
    #[must_use]
    pub fn new(budget_bytes: usize, part: u64) -> Self {
        Self {
            names: Uniques::new(budget_bytes / 32, part),
            consumers: Uniques::new(budget_bytes / 32, part),
            pending: Uniques::new(budget_bytes / 8, part),
        }
    }
}

/// Entries so far: their number and ids.
#[derive(Default)]
struct Ids {
    live: u64,
    greatest: Option<u128>,
    disordered: bool,
}

impl Ids {
    fn add(&mut self, id: u128) {
        match self.greatest {
            Some(greatest) if id <= greatest => self.disordered = true,
            _ => self.greatest = Some(id),
        }
    }
}

impl<R: Read> Walk<R> {
    pub(crate) fn stream(&mut self, generation: u8) -> Result<()> {
        let entries = self.stream_nodes()?;
        let length = self.reader.number()?;
        let last_id = self.stream_id()?;
        if self.full && length != entries.live {
            let reason = "a stream's length is not the number of its entries";
            self.tally.contradiction(Odd::StreamLength, reason)?;
        }
        if entries.greatest.is_some_and(|greatest| greatest > last_id) {
            let reason = "a stream's last id is below that of an entry";
            self.tally.contradiction(Odd::StreamLastId, reason)?;
        }
        let magic = self.tally.magic;
        let strict = self.full && magic.dialect == Dialect::Redis && magic.version >= 14;
        let mut added = None;
        if generation >= 2 {
            self.stream_id()?; // the first
            if self.stream_id()? > last_id && self.full {
                self.tally.find(Odd::StreamDeletedId);
            }
            let ever = self.reader.number()?;
            if strict {
                if ever < length || ever >= 1 << 63 {
                    return corrupt("a stream counts fewer entries ever added than it holds");
                }
                added = Some(ever);
            }
        }
        self.sets.names.clear();
        for _ in 0..self.reader.length()? {
            self.stream_group(generation, added)?;
        }
        if !self.sets.names.distinct() {
            return group_twice();
        }
        self.tally.searched(self.sets.names.share());
        if generation >= 4 {
            self.idempotence()?;
        }
        Ok(())
    }

    fn stream_id(&mut self) -> Result<u128> {
        let milliseconds = self.reader.number()?;
        Ok(join(milliseconds, self.reader.number()?))
    }

    fn stream_nodes(&mut self) -> Result<Ids> {
        let mut entries = Ids::default();
        self.sets.names.clear();
        for _ in 0..self.reader.length()? {
            if !self.full {
                self.skip_text()?;
                self.skip_text()?;
                continue;
            }
            let key = match self.reader.text(self.empty_packed)? {
                Text::Bytes(bytes) => bytes.try_into().ok(),
                Text::Integer(_) => None,
            };
            let Some(key) = key.map(u128::from_be_bytes) else {
                return node_key();
            };
            let hash = self.sets.names.hash(Text::Bytes(&key.to_be_bytes()));
            if !self.sets.names.add(hash) {
                return node_key();
            }
            let blob = self.reader.blob(self.empty_packed)?;
            node(blob, key, &mut entries, &mut self.tally)?;
        }
        if !self.sets.names.distinct() {
            return node_key();
        }
        self.tally.searched(self.sets.names.share());
        if entries.disordered {
            let reason = "a stream's entries have ids that do not grow";
            self.tally.contradiction(Odd::StreamOrder, reason)?;
        }
        Ok(entries)
    }

    fn stream_group(&mut self, generation: u8, added: Option<u64>) -> Result<()> {
        if self.full {
            let name = self.reader.text(self.empty_packed)?;
            let hash = self.sets.names.hash(name);
            if !self.sets.names.add(hash) {
                return group_twice();
            }
        } else {
            self.skip_text()?;
        }
        self.stream_id()?;
        if generation >= 2 {
            let read = self.reader.number()?;
            if read != NO_ENTRIES_READ && added.is_some_and(|added| read > added) {
                return corrupt("a consumer group has read more entries than were added");
            }
        }
        self.stream_pending(generation)
    }

    /// The group's pending entries, each of which must belong to one consumer (or be NACKed).
    ///
    /// There may be very many. That two lists hold the same entries is seen by the sum of their
    /// hashes: as the first holds none twice, the second has each of them once.
    fn stream_pending(&mut self, generation: u8) -> Result<()> {
        let count = self.reader.length()?;
        if !self.full {
            // id, delivery time, delivery count
            for _ in 0..count {
                self.reader.skip(ID_BYTES + 8)?;
                self.reader.number()?;
            }
            return self.stream_consumers(generation, &mut Sum::default());
        }
        let mut ownerless = Sum::default();
        self.sets.pending.clear();
        for _ in 0..count {
            let hash = self.pending_hash()?;
            if !self.sets.pending.add(hash) {
                return pending_twice();
            }
            ownerless.add(hash);
            self.reader.skip(8)?;
            self.reader.number()?;
        }
        if !self.sets.pending.distinct() {
            return pending_twice();
        }
        self.tally.searched(self.sets.pending.share());
        let mut owned = Sum {
            most: ownerless.count,
            ..Sum::default()
        };
        self.stream_consumers(generation, &mut owned)?;
        if (owned.count, owned.hashes) == (ownerless.count, ownerless.hashes) {
            Ok(())
        } else if owned.count < ownerless.count {
            corrupt("a consumer group's pending entry has no consumer")
        } else {
            not_its_groups()
        }
    }

    #[inline]
    fn pending_hash(&mut self) -> Result<u64> {
        let id: [u8; 16] = self.reader.array()?;
        Ok(self.sets.pending.hash(Text::Bytes(&id)))
    }

    /// Consumers with their pending entries, and since generation 5 the entries that were NACKed.
    fn stream_consumers(&mut self, generation: u8, owned: &mut Sum) -> Result<()> {
        self.sets.consumers.clear();
        for _ in 0..self.reader.length()? {
            if self.full {
                let name = self.reader.text(self.empty_packed)?;
                let hash = self.sets.consumers.hash(name);
                if !self.sets.consumers.add(hash) {
                    return consumer_twice();
                }
            } else {
                self.skip_text()?;
            }
            // Seen time, since generation 3 also active time.
            self.reader.skip(if generation >= 3 { 16 } else { 8 })?;
            self.owned(owned)?;
        }
        if !self.sets.consumers.distinct() {
            return consumer_twice();
        }
        self.tally.searched(self.sets.consumers.share());
        if generation >= 5 {
            self.nacked(owned)?;
        }
        Ok(())
    }

    /// Entries that nobody has any more. A server takes the same one twice without a word.
    fn nacked(&mut self, owned: &mut Sum) -> Result<()> {
        self.sets.consumers.clear();
        for _ in 0..self.reader.length()? {
            if !self.full {
                self.reader.skip(ID_BYTES)?;
                continue;
            }
            let hash = self.pending_hash()?;
            if self.sets.consumers.add(hash) {
                owned.add(hash);
            }
        }
        Ok(())
    }

    fn owned(&mut self, owned: &mut Sum) -> Result<()> {
        let count = self.reader.length()?;
        if !self.full {
            return match count.checked_mul(ID_BYTES) {
                Some(bytes) => self.reader.skip(bytes),
                None => corrupt("a consumer has more pending entries than any file can hold"),
            };
        }
        if count > owned.most.saturating_sub(owned.count) {
            return not_its_groups();
        }
        for _ in 0..count {
            let hash = self.pending_hash()?;
            owned.add(hash);
        }
        Ok(())
    }

    fn idempotence(&mut self) -> Result<()> {
        let duration = self.reader.number()?;
        let greatest = self.reader.number()?;
        let possible = 1..1 << 63;
        if self.full && !(possible.contains(&duration) && possible.contains(&greatest)) {
            return corrupt("a stream's idempotence limits are impossible");
        }
        for _ in 0..self.reader.length()? {
            self.skip_text()?; // producer
            for _ in 0..self.reader.length()? {
                self.skip_text()?;
                self.stream_id()?;
            }
        }
        self.reader.number()?;
        self.reader.number()?;
        Ok(())
    }
}

/// What a list of entries holds, whatever their order.
#[derive(Default)]
struct Sum {
    /// So many are possible.
    most: u64,
    count: u64,
    hashes: u128,
}

impl Sum {
    #[inline]
    fn add(&mut self, hash: u64) {
        self.count += 1;
        self.hashes += u128::from(hash);
    }
}

fn join(milliseconds: u64, sequence: u64) -> u128 {
    u128::from(milliseconds) << 64 | u128::from(sequence)
}

/// The numbers of one node.
struct Numbers<'a>(Listpack<'a>);

impl Numbers<'_> {
    fn number(&mut self) -> Result<i64> {
        // A number in a string's encoding: servers read it all the same.
        match self.0.next()?.and_then(Text::integer) {
            Some(number) => Ok(number),
            None => corrupt("a stream node misses a number"),
        }
    }

    fn count(&mut self) -> Result<u64> {
        match u64::try_from(self.number()?) {
            Ok(count) => Ok(count),
            Err(_) => corrupt("a stream node's counts are impossible"),
        }
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        for _ in 0..count {
            if !self.0.pass()? {
                return corrupt("a stream node misses an entry");
            }
        }
        Ok(())
    }
}

/// One node's listpack: a master entry with counts and field names, then the entries.
fn node(blob: &[u8], key: u128, entries: &mut Ids, tally: &mut Tally) -> Result<()> {
    let mut numbers = Numbers(Listpack::open(blob)?);
    let live = numbers.count()?;
    let deleted = numbers.count()?;
    let fields = numbers.count()?;
    numbers.skip(fields)?;
    if numbers.number()? != 0 {
        return corrupt("a stream node's master entry has no end");
    }
    #[allow(clippy::cast_possible_truncation)] // its two halves
    let (milliseconds, sequence) = ((key >> 64) as u64, key as u64);
    let mut alive: u64 = 0;
    for _ in 0..live.saturating_add(deleted) {
        let flags = numbers.number()?;
        let delta = numbers.number()?.cast_unsigned();
        let ms = milliseconds.wrapping_add(delta);
        let delta = numbers.number()?.cast_unsigned();
        let id = join(ms, sequence.wrapping_add(delta));
        // XSETID may go below an entry that was deleted, and new ones may follow: servers write
        // and load that.
        if flags & ENTRY_DELETED == 0 {
            entries.add(id);
        }
        let (own, extra) = if flags & ENTRY_SAME_FIELDS == 0 {
            (numbers.count()?.saturating_mul(2), 4)
        } else {
            (fields, 3)
        };
        numbers.skip(own)?;
        if u64::try_from(numbers.number()?).ok() != own.checked_add(extra) {
            return corrupt("a stream entry's length is wrong");
        }
        alive += u64::from(flags & ENTRY_DELETED == 0);
    }
    if numbers.0.pass()? {
        return corrupt("a stream node holds more than its entries");
    }
    if alive != live {
        let reason = "a stream node's counts are not those of its entries";
        tally.contradiction(Odd::StreamLength, reason)?;
    }
    entries.live = entries.live.saturating_add(live);
    Ok(())
}

#[cold]
fn node_key<T>() -> Result<T> {
    corrupt("a stream node's key is no id, or comes twice")
}

#[cold]
fn group_twice<T>() -> Result<T> {
    corrupt("a stream has the same consumer group twice")
}

#[cold]
fn consumer_twice<T>() -> Result<T> {
    corrupt("a consumer group has the same consumer twice")
}

#[cold]
fn not_its_groups<T>() -> Result<T> {
    corrupt("a consumer's pending entry is not its group's, or comes twice")
}

#[cold]
fn pending_twice<T>() -> Result<T> {
    corrupt("a consumer group has the same pending entry twice")
}
