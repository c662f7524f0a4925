//! One RDB from its first byte to its last, and the report of it.
//!
//! Knows: the precedence of statuses (section 3 of the design), the same in every engine. Refuses to
//! know: where the bytes come from.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::container::Blocks;
use crate::fault::{Fault, Result, Status, Stop, Why};
use crate::format::{CRC_BYTES, Dialect, MAGIC_BYTES, Magic, op};
use crate::reader::{Pulse, Reader, broken};
use crate::streams::Sets;
use crate::tally::{Facts, Finding, Needs, Tally};
use crate::uniques::Share;
use crate::walk::Walk;

/// How much is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Magic, end mark, checksum, and that nothing follows.
    Checksum,
    /// And every opcode, length and the boundaries of values; counts.
    Structure,
    /// And what is inside of values, and that nothing comes twice.
    Full,
}

/// What one reading may take.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How much is proven.
    pub depth: Depth,
    /// About the size of a read().
    pub block_bytes: usize,
    /// The greatest value that is held.
    pub memory_bytes: u64,
    /// What the search for duplicates may take.
    pub duplicates_bytes: usize,
    /// Which share of the key space is searched where that does not suffice.
    pub part: u64,
    /// [`Counts::suspect`] of an earlier reading of the same bytes in the same process.
    pub suspect: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            depth: Depth::Full,
            block_bytes: 256 << 10,
            memory_bytes: 1 << 30,
            duplicates_bytes: 16 << 20,
            part: 0,
            suspect: None,
        }
    }
}

/// What is known of the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It holds.
    Ok,
    /// It is zero: switched off, nothing proves the bytes.
    Disabled,
    /// It does not hold.
    Mismatch,
}

impl Checksum {
    /// The word for machines.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Disabled => "disabled",
            Self::Mismatch => "mismatch",
        }
    }
}

/// What was counted; absent where nothing was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub facts: Facts,
    pub keys: u64,
    /// (database, keys, expiring keys)
    pub keys_by_db: Vec<(u64, u64, u64)>,
    pub keys_by_type: Vec<(&'static str, u64)>,
    pub findings: Vec<Finding>,
    pub needs: Needs,
    pub share: Share,
    /// Whether insides of values and duplicates were looked at.
    pub full: bool,
    /// A key came twice by its hash; where, only another reading can tell.
    pub suspect: Option<u64>,
}

/// What reading one RDB showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The answer.
    pub status: Status,
    /// One line for a person; set for all but valid.
    pub reason: Option<Cow<'static, str>>,
    /// Byte of the (unpacked) RDB where it went wrong.
    pub offset: Option<u64>,
    /// Header.
    pub magic: Option<Magic>,
    /// None below RDB 5, or where it was not reached.
    pub checksum: Option<Checksum>,
    /// The stored CRC.
    pub crc64: Option<u64>,
    /// Around the RDB.
    pub compression: Option<&'static str>,
    /// What was counted, also of a broken file.
    pub counts: Option<Counts>,
}

impl Report {
    /// The dialect follows the writer; what is legal follows the magic.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        let by_valkey = self
            .counts
            .as_ref()
            .is_some_and(|counts| counts.facts.by_valkey);
        if by_valkey {
            Some(Dialect::Valkey)
        } else {
            self.magic.map(|magic| magic.dialect)
        }
    }
}

/// How a walk ended: the part of a report that is not counted.
struct Ending {
    status: Status,
    reason: Option<Cow<'static, str>>,
    offset: Option<u64>,
    checksum: Option<Checksum>,
    crc64: Option<u64>,
}

impl Ending {
    fn new(status: Status, reason: impl Into<Cow<'static, str>>, offset: u64) -> Self {
        Self {
            status,
            reason: Some(reason.into()),
            offset: Some(offset),
            checksum: None,
            crc64: None,
        }
    }

    fn valid(checksum: Option<Checksum>, crc64: Option<u64>) -> Self {
        Self {
            status: Status::Valid,
            reason: None,
            offset: None,
            checksum,
            crc64,
        }
    }
}

/// Reads all that `source` gives. An error of the source, or of `pulse`, passes through.
pub fn read<R: Read>(source: R, options: &Options, pulse: Pulse) -> io::Result<Report> {
    let mut compression = None;
    let mut magic = None;
    let mut counts = None;
    let ending = match Blocks::open(source, options.block_bytes) {
        Ok(blocks) => {
            compression = blocks.compression();
            let reader = Reader::new(blocks, options.block_bytes, options.memory_bytes, pulse);
            of_reader(reader, options, &mut magic, &mut counts)
        }
        Err(error) => Err(broken(error)),
    };
    let ending = match ending {
        Ok(ending) => ending,
        Err(Stop(why)) => match *why {
            Why::Source(error) => return Err(error),
            Why::Container(fault) | Why::Fault(fault) => Ending {
                status: fault.status,
                reason: Some(fault.reason),
                offset: None,
                checksum: None,
                crc64: None,
            },
            Why::Ended => Ending::new(Status::Truncated, "the input ended early", 0),
        },
    };
    Ok(Report {
        status: ending.status,
        reason: ending.reason,
        offset: ending.offset,
        magic,
        checksum: ending.checksum,
        crc64: ending.crc64,
        compression,
        counts,
    })
}

fn of_reader<R: Read>(
    mut reader: Reader<R>,
    options: &Options,
    magic_out: &mut Option<Magic>,
    counts: &mut Option<Counts>,
) -> Result<Ending> {
    let head = head(&mut reader)?;
    let Some(magic) = Magic::read(&head) else {
        return container_first(&mut reader, no_magic(&head));
    };
    *magic_out = Some(magic);
    if !magic.known() {
        return unknown_version(&mut reader, magic);
    }
    // Without a checksum its end alone would prove nothing: one bit makes REDIS0002 of REDIS0012.
    if options.depth == Depth::Checksum && magic.has_checksum() {
        let ending = ends(&mut reader)?;
        return Ok(trailing(&reader, ending));
    }
    let tally = Tally::new(
        magic,
        options.duplicates_bytes,
        options.part,
        options.suspect,
    );
    let sets = Sets::new(options.duplicates_bytes, options.part);
    let mut walk = Walk::new(reader, tally, sets, options.depth == Depth::Full);
    let ending = walked(&mut walk);
    let tally = &walk.tally;
    *counts = Some(Counts {
        facts: tally.facts.clone(),
        keys: tally.keys,
        keys_by_db: tally.keys_by_db(),
        keys_by_type: tally.keys_by_type(),
        findings: tally.findings(),
        needs: tally.needs(),
        share: tally.share(),
        full: options.depth == Depth::Full,
        suspect: tally.suspect(),
    });
    Ok(trailing(&walk.reader, ending?))
}

/// Bytes behind the compressed data spoil an RDB that is valid inside.
fn trailing<R: Read>(reader: &Reader<R>, ending: Ending) -> Ending {
    if ending.status != Status::Valid || !reader.trailing() {
        return ending;
    }
    let name = reader.compression().unwrap_or_default();
    Ending {
        status: Status::TrailingData,
        reason: Some(format!("bytes follow the {name} data").into()),
        ..ending
    }
}

/// The first 9 bytes, or all where there are fewer.
fn head<R: Read>(reader: &mut Reader<R>) -> Result<Vec<u8>> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    while head.len() < MAGIC_BYTES {
        match reader.byte() {
            Ok(byte) => head.push(byte),
            Err(stop) if matches!(*stop.0, Why::Ended) => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(head)
}

fn no_magic(head: &[u8]) -> Ending {
    if head.is_empty() {
        Ending::new(Status::Empty, "no bytes at all", 0)
    } else if head.len() < MAGIC_BYTES && Magic::begun(head) {
        let reason = "the file ends within its magic";
        Ending::new(Status::Truncated, reason, head.len() as u64)
    } else {
        let reason = "does not begin as an RDB file does";
        Ending::new(Status::BadMagic, reason, 0)
    }
}

fn walked<R: Read>(walk: &mut Walk<R>) -> Result<Ending> {
    let outcome = match walk.records() {
        Ok(()) => after_eof(walk),
        Err(stop) => Err(stop),
    };
    let outcome = match outcome {
        Err(stop) if matches!(*stop.0, Why::Ended) => {
            let at = walk.reader.tell_end();
            walk.tally.check_names().map(|()| {
                Ending::new(
                    Status::Truncated,
                    format!("the file ends after {at} bytes"),
                    at,
                )
            })
        }
        other => other,
    };
    match outcome {
        Err(Stop(why)) => match *why {
            Why::Fault(fault) => after_error(walk, fault),
            Why::Container(fault) => {
                let at = walk.reader.tell();
                Ok(Ending::new(fault.status, fault.reason, at))
            }
            why => Err(Stop(Box::new(why))),
        },
        Ok(ending) if ending.status == Status::Valid => Ok(ending),
        Ok(ending) => container_first(&mut walk.reader, ending),
    }
}

/// Reads a compressed input to its end: where that is broken, it explains what is wrong inside.
fn container_first<R: Read>(reader: &mut Reader<R>, ending: Ending) -> Result<Ending> {
    if reader.compression().is_some() {
        reader.drain()?;
    }
    Ok(ending)
}

/// The CRC, and that nothing follows it.
fn after_eof<R: Read>(walk: &mut Walk<R>) -> Result<Ending> {
    let reader = &mut walk.reader;
    let mut ending = Ending::valid(None, None);
    if walk.tally.magic.has_checksum() {
        let end = reader.tell();
        let computed = reader.crc();
        let stored = u64::from_le_bytes(reader.array()?);
        if stored == 0 {
            ending.checksum = Some(Checksum::Disabled);
        } else if stored == computed {
            ending = Ending::valid(Some(Checksum::Ok), Some(stored));
        } else {
            walk.tally.check_names()?;
            return Ok(mismatch(stored, computed, end));
        }
    }
    walk.tally.close()?;
    let end = walk.reader.tell();
    if walk.reader.at_end()? {
        return Ok(ending);
    }
    Ok(Ending {
        status: Status::TrailingData,
        reason: Some("bytes follow the end of the RDB".into()),
        offset: Some(end),
        ..ending
    })
}

fn mismatch(stored: u64, computed: u64, offset: u64) -> Ending {
    Ending {
        checksum: Some(Checksum::Mismatch),
        crc64: Some(stored),
        ..Ending::new(
            Status::ChecksumMismatch,
            format!("stored checksum {stored:016x}, computed {computed:016x}"),
            offset,
        )
    }
}

/// The rest is read for the CRC: it tells damage from a file that was written so.
fn after_error<R: Read>(walk: &mut Walk<R>, fault: Fault) -> Result<Ending> {
    let offset = walk.tally.at;
    let (computed, last) = match walk.reader.drain() {
        Ok(drained) => drained,
        Err(Stop(why)) => match *why {
            Why::Container(fault) => return Ok(Ending::new(fault.status, fault.reason, offset)),
            why => return Err(Stop(Box::new(why))),
        },
    };
    let stored = stored_crc(&last);
    let mut ending = Ending::new(fault.status, fault.reason, offset);
    if !walk.tally.magic.has_checksum() {
        return Ok(ending);
    }
    if stored == 0 {
        if fault.status != Status::Corrupt {
            ending.checksum = Some(Checksum::Disabled);
        }
    } else if stored == computed {
        ending.checksum = Some(Checksum::Ok);
        ending.crc64 = Some(stored);
    } else {
        let reason = ending.reason.unwrap_or_default();
        return Ok(Ending {
            checksum: Some(Checksum::Mismatch),
            crc64: Some(stored),
            ..Ending::new(
                Status::ChecksumMismatch,
                format!("{reason}; and the checksum does not hold"),
                offset,
            )
        });
    }
    Ok(ending)
}

/// The last 8 bytes as a number; of fewer, what there is.
fn stored_crc(last: &[u8]) -> u64 {
    let mut raw = [0; CRC_BYTES];
    let tail = last.get(last.len().saturating_sub(CRC_BYTES)..);
    for (byte, found) in raw.iter_mut().zip(tail.unwrap_or_default()) {
        *byte = *found;
    }
    u64::from_le_bytes(raw)
}

/// EOF and CRC have stood at the same place since RDB 5, so they are expected there still.
fn unknown_version<R: Read>(reader: &mut Reader<R>, magic: Magic) -> Result<Ending> {
    let (computed, last) = reader.drain()?;
    let stored = stored_crc(&last);
    let (checksum, found) = if last.len() <= CRC_BYTES || last.first() != Some(&op::EOF) {
        (None, "and no end of file mark before its checksum")
    } else if stored == 0 {
        let found = "its checksum is off, nothing is proven";
        (Some(Checksum::Disabled), found)
    } else if stored == computed {
        (Some(Checksum::Ok), "checksum proven, content not")
    } else {
        (Some(Checksum::Mismatch), "its checksum does not hold")
    };
    let dialect = magic.dialect.code().to_uppercase();
    let version = magic.version;
    Ok(Ending {
        checksum,
        crc64: match checksum {
            None | Some(Checksum::Disabled) => None,
            Some(_) => Some(stored),
        },
        ..Ending::new(
            Status::UnsupportedVersion,
            format!("{dialect} {version} is not a version that this engine knows: {found}"),
            0,
        )
    })
}

/// Depth `checksum`: the end stands where it must, and the checksum covers everything before it.
fn ends<R: Read>(reader: &mut Reader<R>) -> Result<Ending> {
    let (computed, last) = reader.drain()?;
    let size = reader.tell_end();
    let stored = stored_crc(&last);
    if stored == 0 && computed == 0 {
        // The CRC of a file with its own CRC at its end is 0, and stays so over zeros.
        let reason = "zero bytes follow the end of the RDB";
        return Ok(Ending::new(Status::TrailingData, reason, size));
    }
    if size < (MAGIC_BYTES + 1 + CRC_BYTES) as u64 || last.first() != Some(&op::EOF) {
        return Ok(no_end(size));
    }
    Ok(if stored == 0 {
        Ending::valid(Some(Checksum::Disabled), None)
    } else if stored == computed {
        Ending::valid(Some(Checksum::Ok), Some(stored))
    } else {
        mismatch(stored, computed, size.saturating_sub(CRC_BYTES as u64))
    })
}

fn no_end(size: u64) -> Ending {
    Ending::new(
        Status::Truncated,
        "its last bytes are not the end of an RDB: it was cut, or something follows",
        size,
    )
}
