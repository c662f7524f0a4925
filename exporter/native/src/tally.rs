//! What was seen while an RDB was read: counts, facts of the AUX records, findings, needs.
//!
//! Knows: everything of the report that is not its status. Refuses to know: bytes and encodings.

use std::collections::{BTreeSet, HashMap};

use crate::fault::{Result, Status, Stop, corrupt};
use crate::format::{Dialect, Kind, Magic};
use crate::text::Text;
use crate::uniques::{SHARE_BITS, Share, Uniques};

const DEFAULT_DATABASES: u64 = 16;
/// `databases` is an int in every server, so no server can have this db.
const DATABASES_MAX: u64 = (1 << 31) - 1;
/// So many distinct databases are counted; no server that anybody runs has more.
const DATABASES_COUNTED: usize = 1 << 16;
/// So many module names are told.
const MODULES_TOLD: usize = 1 << 10;
const RESIZEDB_FOLD: u64 = 1000;
const SLOTS: u64 = 16384;

/// Something odd in a file that loads all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the words say it; exporter/verify/tally.py has a line for each
pub enum Odd {
    OddMagic,
    NewerThanVersion,
    EmptyCollection,
    EmptyListNode,
    NoSelectdb,
    ResizedbMismatch,
    DanglingKeyAttribute,
    ScoreText,
    ScoreNan,
    ZsetOrder,
    StreamLength,
    StreamOrder,
    StreamLastId,
    StreamDeletedId,
    SlotOutOfRange,
}

impl Odd {
    /// The word for machines.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::OddMagic => "odd_magic",
            Self::NewerThanVersion => "newer_than_version",
            Self::EmptyCollection => "empty_collection",
            Self::EmptyListNode => "empty_list_node",
            Self::NoSelectdb => "no_selectdb",
            Self::ResizedbMismatch => "resizedb_mismatch",
            Self::DanglingKeyAttribute => "dangling_key_attribute",
            Self::ScoreText => "score_text",
            Self::ScoreNan => "score_nan",
            Self::ZsetOrder => "zset_order",
            Self::StreamLength => "stream_length",
            Self::StreamOrder => "stream_order",
            Self::StreamLastId => "stream_last_id",
            Self::StreamDeletedId => "stream_deleted_id",
            Self::SlotOutOfRange => "slot_out_of_range",
        }
    }
}

/// How often something odd was found, and where first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub odd: Odd,
    /// How often.
    pub count: u64,
    /// The first record with it.
    pub offset: u64,
}

/// What the AUX records say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Facts {
    pub server_version: Option<String>,
    pub ctime: Option<i64>,
    pub used_mem: Option<i64>,
    pub repl_id: Option<String>,
    pub repl_offset: Option<i64>,
    pub aof_base: Option<bool>,
    /// `valkey-ver`: Valkey wrote it, whatever the magic says.
    pub by_valkey: bool,
}

/// What a server must have to load the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Needs {
    pub modules: Vec<String>,
    pub databases: u64,
    pub functions: u64,
    pub cluster: bool,
    pub resizedb: Option<u64>,
}

/// One database.
#[derive(Clone, Copy, Debug, Default)]
struct Database {
    number: u64,
    keys: u64,
    expires: u64,
    resize: Option<(u64, u64)>,
}

/// A key that an earlier reading found twice by its hash alone, among very many.
#[derive(Debug, Default)]
struct Suspect {
    /// 0 for none.
    hash: u64,
    first: Option<Vec<u8>>,
    /// What this reading found, for the next one.
    found: Option<u64>,
}

/// See the module.
pub struct Tally {
    /// Whose rules the file follows.
    pub magic: Magic,
    /// Offset of the record that is being read.
    pub at: u64,
    /// What the AUX records said.
    pub facts: Facts,
    /// Keys so far.
    pub keys: u64,
    /// Function libraries so far.
    pub functions: u64,
    /// Only a cluster node loads it.
    pub cluster: bool,
    /// Members of the collection that is being read.
    pub members: Uniques,
    names: Uniques,
    suspect: Suspect,
    kinds: [u64; Kind::ALL.len()],
    modules: BTreeSet<String>,
    findings: Vec<Finding>,
    databases: Vec<Database>,
    by_number: HashMap<u64, usize>,
    current: Database,
    selected: bool,
    greatest: u64,
    slot_info: bool,
    least_share: Share,
}

impl Tally {
    /// For one file; `duplicates_bytes` and `part` as in [`Uniques`]; `suspect` as [`Self::suspect`]
    /// of an earlier reading.
    #[must_use]
    pub fn new(magic: Magic, duplicates_bytes: usize, part: u64, suspect: Option<u64>) -> Self {
        let mut tally = Self {
            magic,
            at: 0,
            facts: Facts::default(),
            keys: 0,
            functions: 0,
            cluster: false,
            members: Uniques::new(duplicates_bytes / 4, part),
            names: Uniques::new(duplicates_bytes / 4 * 3, part),
            suspect: Suspect {
                hash: suspect.unwrap_or(0),
                ..Suspect::default()
            },
            kinds: [0; Kind::ALL.len()],
            modules: BTreeSet::new(),
            findings: Vec::new(),
            databases: Vec::new(),
            by_number: HashMap::new(),
            current: Database::default(),
            selected: false,
            greatest: 0,
            slot_info: magic.dialect == Dialect::Valkey,
            least_share: Share { part: 0, of: 1 },
        };
        if magic.odd {
            tally.find(Odd::OddMagic);
        }
        tally
    }

    /// Notes something odd.
    #[cold]
    pub fn find(&mut self, odd: Odd) {
        match self.findings.iter_mut().find(|found| found.odd == odd) {
            Some(found) => found.count += 1,
            None => self.findings.push(Finding {
                odd,
                count: 1,
                offset: self.at,
            }),
        }
    }

    /// A stream that contradicts itself: Redis 8.8 (RDB 14) and Valkey 9 check, others load.
    pub fn contradiction(&mut self, odd: Odd, reason: &'static str) -> Result<()> {
        if self.magic.dialect == Dialect::Valkey || self.magic.version >= 14 {
            return corrupt(reason);
        }
        self.find(odd);
        Ok(())
    }

    // Records

    /// Takes an AUX record. Any text loads on any server, so what makes no sense is left out.
    pub fn aux(&mut self, name: &[u8], value: Text<'_>) -> Result<()> {
        let digits;
        let value = match value {
            Text::Bytes(bytes) => bytes,
            Text::Integer(number) => {
                digits = number.to_string();
                digits.as_bytes()
            }
        };
        let facts = &mut self.facts;
        match name {
            b"redis-ver" | b"valkey-ver" => set(&mut facts.server_version, version(value)),
            b"ctime" => set(&mut facts.ctime, integer(value)),
            b"used-mem" => set(&mut facts.used_mem, integer(value)),
            b"repl-id" => set(&mut facts.repl_id, replication_id(value)),
            b"repl-offset" => set(&mut facts.repl_offset, integer(value)),
            b"aof-base" | b"aof-preamble" => match value {
                b"0" => facts.aof_base = Some(false),
                b"1" => facts.aof_base = Some(true),
                _ => {}
            },
            _ => {}
        }
        if name == b"valkey-ver" {
            // Valkey up to 8.1 writes the magic REDIS0011. What is legal goes by the magic; whose
            // file it is, by this. 7.2 has no slot-info, Redis ignores it as any other text.
            facts.by_valkey = true;
            self.slot_info |= !value.starts_with(b"7.");
        } else if name == b"slot-info" && self.slot_info && !three_numbers(value) {
            return corrupt("the AUX record slot-info does not hold three numbers");
        }
        Ok(())
    }

    /// SELECTDB.
    pub fn select(&mut self, number: u64) -> Result<()> {
        if number >= DATABASES_MAX {
            return corrupt("SELECTDB names a database that no server can have");
        }
        self.selected = true;
        self.greatest = self.greatest.max(number);
        if number != self.current.number {
            self.keep_current()?;
            self.current = match self.by_number.get(&number) {
                Some(at) => self.databases.get(*at).copied().unwrap_or_default(),
                None => Database {
                    number,
                    ..Database::default()
                },
            };
        }
        Ok(())
    }

    /// Writes back what was counted of the current database.
    fn keep_current(&mut self) -> Result<()> {
        let current = self.current;
        if current.keys == 0 && current.resize.is_none() {
            return Ok(());
        }
        if let Some(at) = self.by_number.get(&current.number) {
            if let Some(kept) = self.databases.get_mut(*at) {
                *kept = current;
            }
            return Ok(());
        }
        if self.databases.len() >= DATABASES_COUNTED {
            return Err(Stop::fault(
                Status::Unreadable,
                format!("has more than {DATABASES_COUNTED} databases, which are not counted"),
            ));
        }
        self.by_number.insert(current.number, self.databases.len());
        self.databases.push(current);
        Ok(())
    }

    /// RESIZEDB.
    pub fn resize(&mut self, keys: u64, expires: u64) {
        let (earlier_keys, earlier_expires) = self.current.resize.unwrap_or_default();
        self.current.resize = Some((
            earlier_keys.saturating_add(keys),
            earlier_expires.saturating_add(expires),
        ));
    }

    /// The slots of an import that was under way: only a Valkey cluster node loads that.
    pub fn slots(&mut self, first: u64, last: u64) -> Result<()> {
        if first > last || last >= SLOTS {
            return corrupt("SLOT_IMPORT names slots that do not exist");
        }
        Ok(())
    }

    /// `SLOT_INFO`.
    pub fn slot_info(&mut self, slot: u64) {
        if slot >= SLOTS {
            self.find(Odd::SlotOutOfRange);
        }
    }

    /// A module whose data the file holds.
    pub fn need_module(&mut self, id: u64) {
        if self.modules.len() < MODULES_TOLD {
            self.modules.insert(module_name(id));
        }
    }

    // Keys and values

    /// The hash of a key of the current database.
    #[inline]
    fn name(&self, key: Text<'_>) -> u64 {
        // The same key in another database is another one.
        let database = self.current.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) & !SHARE_BITS;
        (self.names.hash(key) ^ database) | 1 << 63
    }

    /// A key begins.
    #[inline]
    pub fn start_key(&mut self) {
        if !self.selected && self.current.keys == 0 {
            self.find(Odd::NoSelectdb);
        }
    }

    /// That no key of this name came before.
    #[inline]
    pub fn add_key(&mut self, key: Text<'_>) -> Result<()> {
        if !self.names.wants(key) {
            return Ok(());
        }
        let name = self.name(key);
        if name == self.suspect.hash {
            return self.meet(key);
        }
        if self.names.add(name) {
            Ok(())
        } else {
            twice()
        }
    }

    /// The suspect comes: is it the same key for the second time, or just of the same hash?
    #[cold]
    fn meet(&mut self, key: Text<'_>) -> Result<()> {
        let key = key.to_bytes();
        match &self.suspect.first {
            None => self.suspect.first = Some(key),
            Some(first) if *first == key => return twice(),
            Some(_) => {}
        }
        Ok(())
    }

    /// A key and its value were read.
    #[inline]
    pub fn end_key(&mut self, kind: Kind, expires: bool) {
        self.keys += 1;
        if let Some(count) = self.kinds.get_mut(kind as usize) {
            *count += 1;
        }
        self.current.keys += 1;
        self.current.expires += u64::from(expires);
    }

    /// A collection begins that has `count` members.
    #[inline]
    pub fn start_members(&mut self, count: u64) {
        self.members.clear();
        if count == 0 {
            self.find(Odd::EmptyCollection);
        }
    }

    /// A member of the collection that is being read.
    #[inline]
    pub fn member(&mut self, what: Kind, member: Text<'_>) -> Result<()> {
        if !self.members.wants(member) {
            return Ok(());
        }
        let hash = self.members.hash(member);
        self.member_hash(what, hash)
    }

    /// Likewise by its hash.
    #[inline]
    pub fn member_hash(&mut self, what: Kind, hash: u64) -> Result<()> {
        if self.members.add(hash) {
            Ok(())
        } else {
            member_twice(what)
        }
    }

    /// The collection ends.
    #[inline]
    pub fn end_members(&mut self, what: Kind) -> Result<()> {
        if !self.members.distinct() {
            return member_twice(what);
        }
        self.searched(self.members.share());
        Ok(())
    }

    /// Duplicates of something were looked for in this share.
    #[inline]
    pub fn searched(&mut self, share: Share) {
        self.least_share = self.least_share.least(share);
    }

    // The end

    /// What only the whole file tells: RESIZEDB, and duplicates among very many keys.
    pub fn close(&mut self) -> Result<()> {
        self.check_names()?;
        self.keep_current()?;
        // 3.2 and 4.0-rc announce keys that had expired and that they then left out.
        let wrote_fewer = self.magic.version == 7
            || self
                .facts
                .server_version
                .as_ref()
                .is_some_and(|version| version.starts_with("3.9"));
        let mismatches = self
            .databases
            .iter()
            .filter(|db| match db.resize {
                None => false,
                Some((keys, expires)) => {
                    (keys, expires) != (db.keys, db.expires)
                        && !(wrote_fewer && keys >= db.keys && expires >= db.expires)
                }
            })
            .count();
        for _ in 0..mismatches {
            self.find(Odd::ResizedbMismatch);
        }
        Ok(())
    }

    /// That no key came twice.
    pub fn check_names(&mut self) -> Result<()> {
        self.suspect.found = self.names.twin();
        if self.suspect.found.is_none() {
            return Ok(());
        }
        corrupt("the same key comes twice in one database, somewhere before this")
    }

    /// What came twice by its hash: another reading can find out where, and whether it is the same.
    #[must_use]
    pub fn suspect(&self) -> Option<u64> {
        self.suspect.found
    }

    /// (database, keys, expiring keys) of those that have keys.
    #[must_use]
    pub fn keys_by_db(&self) -> Vec<(u64, u64, u64)> {
        let at = self.by_number.get(&self.current.number);
        let mut rows: Vec<_> = self
            .databases
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(index) != at)
            .map(|(_, db)| db)
            .chain([&self.current])
            .filter(|db| db.keys > 0)
            .map(|db| (db.number, db.keys, db.expires))
            .collect();
        rows.sort_unstable();
        rows
    }

    /// (type, keys) of those that have keys.
    #[must_use]
    pub fn keys_by_type(&self) -> Vec<(&'static str, u64)> {
        Kind::ALL
            .iter()
            .zip(self.kinds)
            .filter(|(_, count)| *count > 0)
            .map(|(kind, count)| (kind.name(), count))
            .collect()
    }

    /// By their words.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.sort_unstable_by_key(|found| found.odd.code());
        findings
    }

    /// What a server must have.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let at = self.by_number.get(&self.current.number);
        let resizedb = self
            .databases
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(index) != at)
            .map(|(_, db)| db)
            .chain([&self.current])
            .filter_map(|db| {
                let (keys, expires) = db.resize?;
                let keys = keys.max(expires); // each has its table
                (keys >= RESIZEDB_FOLD.saturating_mul(db.keys.max(1))).then_some(keys)
            })
            .max();
        Needs {
            modules: self.modules.iter().cloned().collect(),
            databases: DEFAULT_DATABASES.max(self.greatest + 1),
            functions: self.functions,
            cluster: self.cluster,
            resizedb,
        }
    }

    /// In which share of all keys, and of the members of the greatest collection, duplicates were
    /// looked for.
    #[must_use]
    pub fn share(&self) -> Share {
        self.least_share.least(self.names.share())
    }
}

#[cold]
fn twice<T>() -> Result<T> {
    corrupt("the same key comes twice in one database")
}

#[cold]
fn member_twice<T>(what: Kind) -> Result<T> {
    corrupt(format!("a {} holds the same member twice", what.name()))
}

fn set<T>(fact: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *fact = value;
    }
}

fn integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn version(text: &[u8]) -> Option<String> {
    let first = text.first()?.is_ascii_alphanumeric();
    let rest = |byte: &u8| byte.is_ascii_alphanumeric() || b".+~_-".contains(byte);
    (first && text.len() <= 32 && text.iter().all(rest))
        .then(|| String::from_utf8_lossy(text).into_owned())
}

fn replication_id(text: &[u8]) -> Option<String> {
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 40 && text.iter().all(hex)).then(|| String::from_utf8_lossy(text).into_owned())
}

/// `sscanf("%i,%lu,%lu")` of Valkey 8 and later: three numbers, whatever comes after them.
fn three_numbers(text: &[u8]) -> bool {
    let mut rest = text;
    for nth in 0..3 {
        rest = rest.trim_ascii_start();
        if let [b'+' | b'-', after @ ..] = rest {
            rest = after;
        }
        let digits: fn(&u8) -> bool = match rest {
            [b'0', b'x' | b'X', after @ ..]
                if nth == 0 && after.first().is_some_and(u8::is_ascii_hexdigit) =>
            {
                rest = after;
                u8::is_ascii_hexdigit
            }
            _ => u8::is_ascii_digit,
        };
        let end = rest
            .iter()
            .position(|byte| !digits(byte))
            .unwrap_or(rest.len());
        if end == 0 {
            return false;
        }
        rest = rest.get(end..).unwrap_or_default();
        if nth < 2 {
            match rest {
                [b',', after @ ..] => rest = after,
                _ => return false,
            }
        }
    }
    true
}

/// Nine characters of 6 bits, then the version of the encoding.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9)
        .map(|nth| {
            let six = usize::try_from(id >> (58 - 6 * nth) & 0x3F).unwrap_or_default();
            char::from(LETTERS.get(six).copied().unwrap_or(b'?'))
        })
        .collect()
}
