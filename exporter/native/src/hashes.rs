//! Hashes whose fields expire, or share their names: types 22-25 and 29-32.
//!
//! Knows: Redis 7.4's and Valkey 9's field TTLs, the pre-release form of the former, and Redis 8.10's
//! templates. Refuses to know: plain hashes, which are pairs. Source: `rdb.c` of each.

use std::io::Read;

use crate::fault::{Result, Status, Stop, corrupt};
use crate::format::Kind;
use crate::listpack::Listpack;
use crate::tally::Odd;
use crate::text::{Entries, Text};
use crate::values::Members;
use crate::walk::Walk;

const FIELD_TTL_MAX: u64 = (1 << 48) - 1;
const NAMES_AS_LISTPACK: u64 = 0;
const NAMES_AS_STRINGS: u64 = 1;
/// So many templates are remembered; a server has one a shape of hash.
const TEMPLATES_MAX: usize = 1 << 20;

impl<R: Read> Walk<R> {
    /// Valkey 9: {field, value, expiry in ms or -1}.
    pub(crate) fn valkey_hash2(&mut self) -> Result<()> {
        let count = self.reader.length()?;
        self.tally.start_members(count);
        for _ in 0..count {
            self.member(Kind::Hash)?;
            self.skip_text()?;
            let due = i64::from_le_bytes(self.reader.array()?);
            if self.full && due < -1 {
                return impossible_expiry();
            }
        }
        self.tally.end_members(Kind::Hash)
    }

    /// Redis 7.4: {ttl, field, value}, ttl 0 for none, else counted from the least one.
    ///
    /// Before the release there was no least one in front, and ttl was the time itself.
    pub(crate) fn hash_ttl(&mut self, released: bool) -> Result<()> {
        let least = if released { self.least_expiry()? } else { 0 };
        let count = self.reader.length()?;
        self.tally.start_members(count);
        for _ in 0..count {
            let ttl = self.reader.number()?;
            if self.full && ttl > 0 && least.saturating_add(ttl - 1) > FIELD_TTL_MAX {
                return impossible_expiry();
            }
            self.member(Kind::Hash)?;
            self.skip_text()?;
        }
        self.tally.end_members(Kind::Hash)
    }

    /// Redis 7.4: a listpack of {field, value, ttl} by ascending ttl, those without one last.
    pub(crate) fn hash_listpack_ttl(&mut self, released: bool) -> Result<()> {
        if released {
            self.least_expiry()?;
        }
        if !self.full {
            return self.skip_text().map(drop);
        }
        let tally = &mut self.tally;
        let mut entries = Listpack::open(self.reader.blob(self.empty_packed)?)?;
        let mut members = Members::new(Kind::Hash, entries, 3);
        let mut last = 0;
        while let Some(field) = entries.next()? {
            members.add(tally, field)?;
            let (true, Some(ttl)) = (entries.pass()?, entries.next()?) else {
                return corrupt("a hash's last field has no value or expiry");
            };
            let due = match ttl {
                Text::Integer(ttl) => u64::try_from(ttl).unwrap_or(u64::MAX),
                Text::Bytes(_) => u64::MAX,
            };
            if due > FIELD_TTL_MAX {
                return impossible_expiry();
            }
            let due = if due == 0 { FIELD_TTL_MAX + 1 } else { due };
            if due < last {
                return corrupt("a hash's fields are not ordered by expiry");
            }
            last = due;
        }
        members.end(tally)
    }

    fn least_expiry(&mut self) -> Result<u64> {
        let least = u64::from_le_bytes(self.reader.array()?);
        if self.full && least > FIELD_TTL_MAX + 1 {
            return corrupt("a hash's least expiry is impossible");
        }
        Ok(least)
    }

    // Redis 8.10: the field names that many hashes share, by the id that those refer to.

    /// A template record: names ascend by length, then bytes.
    pub(crate) fn template(&mut self) -> Result<()> {
        let id = self.reader.length()?;
        let count = self.reader.length()?;
        if count == 0 || self.templates.contains_key(&id) {
            return corrupt("a hash template is empty, or comes twice");
        }
        if self.templates.len() >= TEMPLATES_MAX {
            return Err(Stop::fault(
                Status::Unreadable,
                format!("has more than {TEMPLATES_MAX} hash templates, which are not remembered"),
            ));
        }
        let mut last: Option<Vec<u8>> = None;
        for _ in 0..count {
            if !self.full {
                self.skip_text()?;
                continue;
            }
            let name = self.reader.blob(self.empty_packed)?;
            if let Some(last) = &last
                && (name.len(), name) <= (last.len(), last.as_slice())
            {
                return corrupt("a hash template's fields do not ascend");
            }
            let mut kept = last.take().unwrap_or_default();
            kept.clear();
            kept.extend_from_slice(name);
            last = Some(kept);
        }
        self.templates.insert(id, count);
        Ok(())
    }

    /// Types 30 and, of DUMP and RESTORE, 29, where the names stand before the values.
    pub(crate) fn template_listpack(&mut self, named: bool) -> Result<()> {
        let fields = if named {
            Some(self.template_names()?)
        } else {
            None
        };
        if !self.full {
            return self.skip_text().map(drop);
        }
        let blob = self.reader.blob(self.empty_packed)?;
        let mut entries = Listpack::open(blob)?;
        let Some(Text::Integer(id)) = entries.next()? else {
            return corrupt("a hash's template id is no number");
        };
        let mut values = 0;
        while entries.pass()? {
            values += 1;
        }
        let fields = match fields {
            Some(fields) => fields,
            None => self.template_fields(u64::try_from(id).unwrap_or(u64::MAX))?,
        };
        if values == fields {
            Ok(())
        } else {
            corrupt("a hash has not as many values as its template has fields")
        }
    }

    /// Types 32, which has no end of its own (only the template tells), and 31.
    pub(crate) fn template_strings(&mut self, named: bool) -> Result<()> {
        let fields = if named {
            self.template_names()?
        } else {
            let id = self.reader.length()?;
            self.template_fields(id)?
        };
        for _ in 0..fields {
            self.skip_text()?;
        }
        Ok(())
    }

    fn template_fields(&self, id: u64) -> Result<u64> {
        match self.templates.get(&id) {
            Some(fields) => Ok(*fields),
            None => corrupt("a hash refers to a template that was not read"),
        }
    }

    fn template_names(&mut self) -> Result<u64> {
        match self.reader.length()? {
            NAMES_AS_LISTPACK => {
                let tally = &mut self.tally;
                tally.members.clear();
                let mut names = Listpack::open(self.reader.blob(self.empty_packed)?)?;
                let mut count = 0;
                while let Some(name) = names.next()? {
                    tally.member(Kind::Hash, name)?;
                    count += 1;
                }
                if count == 0 {
                    tally.find(Odd::EmptyCollection);
                }
                tally.end_members(Kind::Hash)?;
                Ok(count)
            }
            NAMES_AS_STRINGS => {
                let count = self.reader.length()?;
                self.tally.start_members(count);
                for _ in 0..count {
                    self.member(Kind::Hash)?;
                }
                self.tally.end_members(Kind::Hash)?;
                Ok(count)
            }
            _ => corrupt("a hash's field names have an unknown form"),
        }
    }
}

#[cold]
fn impossible_expiry<T>() -> Result<T> {
    corrupt("a hash field's expiry is impossible")
}
