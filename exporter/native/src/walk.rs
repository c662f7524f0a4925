//! The records of an RDB, from behind the magic up to and including the end mark.
//!
//! Knows: the order of records, and what follows each opcode and type. Refuses to know: how values
//! are laid out (`values`, `hashes`, `streams`), what is counted (`tally`).

use std::collections::HashMap;
use std::io::Read;

use crate::fault::{Result, Status, Stop, corrupt};
use crate::format::{Dialect, Known, Layout, op, opcode_since, types_of};
use crate::reader::Reader;
use crate::streams::Sets;
use crate::tally::{Odd, Tally};
use crate::text::Text;

const SLOT_JOB_BYTES: usize = 40;
const MODULE_AUX_WHEN: u64 = 2;
/// Empty LZF strings are legal from this version on.
const EMPTY_PACKED_SINCE: u64 = 9;
const NO_EXPIRY: i64 = -1;

/// See the module.
pub struct Walk<R: Read> {
    pub(crate) reader: Reader<R>,
    pub(crate) tally: Tally,
    /// Also what is inside of values, and whether something comes twice.
    pub(crate) full: bool,
    /// LZF strings of no bytes are legal.
    pub(crate) empty_packed: bool,
    /// Redis 8.10's templates of hashes: how many fields the one of an id has.
    pub(crate) templates: HashMap<u64, u64>,
    pub(crate) sets: Sets,
    types: [Option<Known>; 256],
    /// The most frequent opcode is legal: no need to look it up.
    has_expiry_ms: bool,
    expires: bool,
    /// An expiry, idle time or frequency waits for its key.
    dangling: bool,
    meta: bool,
}

impl<R: Read> Walk<R> {
    /// Over what `reader` gives from behind the magic on.
    pub fn new(reader: Reader<R>, tally: Tally, sets: Sets, full: bool) -> Self {
        Self {
            types: types_of(&tally.magic),
            has_expiry_ms: opcode_since(tally.magic.dialect, op::EXPIRETIME_MS)
                .is_some_and(|since| since <= tally.magic.version),
            empty_packed: tally.magic.version >= EMPTY_PACKED_SINCE,
            reader,
            tally,
            full,
            templates: HashMap::new(),
            sets,
            expires: false,
            dangling: false,
            meta: false,
        }
    }

    /// Up to and including the end mark; the position is left where it stops.
    ///
    /// An expiry and the like stay set until a key takes them, as in a server.
    pub fn records(&mut self) -> Result<()> {
        loop {
            self.tally.at = self.reader.tell();
            let number = self.reader.byte()?;
            if let Some(Some(known)) = self.types.get(usize::from(number)) {
                let known = *known;
                self.key(known)?;
            } else if number == op::EXPIRETIME_MS && self.has_expiry_ms {
                self.expiry_ms()?;
            } else if self.record(number)? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn key(&mut self, known: Known) -> Result<()> {
        if known.newer {
            self.tally.find(Odd::NewerThanVersion);
        }
        if self.full {
            let key = self.reader.text(self.empty_packed)?;
            self.tally.start_key();
            self.tally.add_key(key)?;
        } else {
            self.skip_text()?;
            self.tally.start_key();
        }
        if known.layout == Layout::String {
            self.skip_text()?;
        } else {
            self.value(known)?;
        }
        self.tally.end_key(known.kind, self.expires);
        self.expires = false;
        self.dangling = false;
        self.meta = false;
        Ok(())
    }

    /// Passes over a string that nobody looks into.
    #[inline]
    pub(crate) fn skip_text(&mut self) -> Result<u64> {
        self.reader.skip_text(self.empty_packed, self.full)
    }

    #[inline(never)]
    fn value(&mut self, known: Known) -> Result<()> {
        match known.layout {
            Layout::String => self.skip_text().map(drop),
            Layout::List => self.list(),
            Layout::Set => self.set(),
            Layout::Zset { binary_scores } => self.zset(binary_scores),
            Layout::Hash => self.hash(),
            Layout::Module2 => self.module_value(),
            Layout::Array => self.array(),
            Layout::ListQuicklist => self.quicklist(),
            Layout::ListQuicklist2 => self.quicklist2(),
            Layout::Stream(generation) => self.stream(generation),
            Layout::HashTtl { released } => self.hash_ttl(released),
            Layout::ValkeyHash2 => self.valkey_hash2(),
            Layout::HashTemplateListpack { named } => self.template_listpack(named),
            Layout::HashTemplateStrings { named } => self.template_strings(named),
            Layout::HashListpackTtl { released } => self.hash_listpack_ttl(released),
            Layout::HashZipmap
            | Layout::ListZiplist
            | Layout::SetIntset
            | Layout::ZsetZiplist
            | Layout::HashZiplist
            | Layout::HashListpack
            | Layout::ZsetListpack
            | Layout::SetListpack => self.small(known),
        }
    }

    /// What is no key; true for the end mark.
    fn record(&mut self, number: u8) -> Result<bool> {
        let Some(since) = opcode_since(self.tally.magic.dialect, number) else {
            return unknown(number);
        };
        if since > self.tally.magic.version {
            self.tally.find(Odd::NewerThanVersion);
        }
        match number {
            op::EOF => {
                self.end()?;
                return Ok(true);
            }
            op::EXPIRETIME_MS => self.expiry_ms()?,
            op::EXPIRETIME => {
                self.reader.skip(4)?;
                self.expires = true;
                self.dangling = true;
            }
            op::IDLE => {
                self.reader.length()?;
                self.dangling = true;
            }
            op::FREQ => {
                self.reader.skip(1)?;
                self.dangling = true;
            }
            op::AUX => self.aux()?,
            op::SELECTDB => {
                let number = self.reader.length()?;
                self.tally.select(number)?;
            }
            op::RESIZEDB => {
                let keys = self.reader.length()?;
                let expires = self.reader.length()?;
                self.tally.resize(keys, expires);
            }
            op::FUNCTION2 => {
                self.skip_text()?;
                self.tally.functions += 1;
            }
            op::MODULE_AUX => self.module_aux()?,
            op::SLOT_INFO => {
                let slot = self.reader.number()?;
                self.tally.slot_info(slot);
                self.reader.number()?;
                self.reader.number()?;
            }
            op::KEY_META_OR_SLOT_IMPORT => match self.tally.magic.dialect {
                Dialect::Redis => self.key_meta()?,
                Dialect::Valkey => self.slot_import()?,
            },
            op::HASH_TEMPLATE => self.template()?,
            _ => return unknown(number),
        }
        Ok(false)
    }

    #[inline]
    fn expiry_ms(&mut self) -> Result<()> {
        // -1 is how servers say "none"; any other negative time has passed.
        let due = i64::from_le_bytes(self.reader.array()?);
        self.expires = due != NO_EXPIRY;
        self.dangling = true;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.meta {
            return corrupt("metadata of a key stands before the end, with no key after it");
        }
        if self.dangling {
            self.tally.find(Odd::DanglingKeyAttribute);
        }
        Ok(())
    }

    fn aux(&mut self) -> Result<()> {
        // Kept apart: the value may need the same room. No name of ours is longer.
        let mut name = [0; 16];
        let length = match self.reader.text(self.empty_packed)? {
            Text::Bytes(bytes) => match name.get_mut(..bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(bytes);
                    bytes.len()
                }
                None => 0,
            },
            Text::Integer(_) => 0,
        };
        let value = self.reader.text(self.empty_packed)?;
        self.tally
            .aux(name.get(..length).unwrap_or_default(), value)
    }

    fn slot_import(&mut self) -> Result<()> {
        let job = self.reader.text(self.empty_packed)?;
        if !matches!(job, Text::Bytes(name) if name.len() == SLOT_JOB_BYTES) {
            return corrupt("SLOT_IMPORT has a job name of the wrong length");
        }
        for _ in 0..self.reader.length()? {
            let first = self.reader.length()?;
            let last = self.reader.length()?;
            self.tally.slots(first, last)?;
        }
        self.tally.cluster = true;
        Ok(())
    }

    // Modules

    fn module_value(&mut self) -> Result<()> {
        let id = self.reader.number()?;
        self.tally.need_module(id);
        self.module_data()
    }

    fn module_aux(&mut self) -> Result<()> {
        let id = self.reader.number()?;
        self.tally.need_module(id);
        if self.reader.length()? != MODULE_AUX_WHEN {
            return corrupt("a module's AUX record does not say when it is due");
        }
        self.reader.length()?;
        self.module_data()
    }

    /// Redis 8.6: classes that no module provides are dropped at load, so nothing is needed.
    fn key_meta(&mut self) -> Result<()> {
        for _ in 0..self.reader.length()? {
            self.reader.skip(4)?;
            self.module_data()?;
        }
        self.meta = true;
        Ok(())
    }

    fn module_data(&mut self) -> Result<()> {
        loop {
            match self.reader.length()? {
                0 => return Ok(()),
                1 | 2 => {
                    self.reader.number()?;
                }
                3 => self.reader.skip(4)?,
                4 => self.reader.skip(8)?,
                5 => {
                    self.skip_text()?;
                }
                _ => return corrupt("module data has an unknown opcode"),
            }
        }
    }
}

#[cold]
fn unknown<T>(number: u8) -> Result<T> {
    let what = match number {
        6 => "a module value of 4.0-rc (type 6), which only its module can read".to_owned(),
        op::FUNCTION_PRE_GA => {
            "a function of 7.0-rc (opcode 246), which every released server refuses".to_owned()
        }
        _ => format!("opcode or type {number}"),
    };
    Err(Stop::fault(
        Status::UnsupportedVersion,
        format!("{what}: not known to this engine"),
    ))
}
