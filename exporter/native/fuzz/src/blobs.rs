//! One small encoding in an RDB around it: the engine's verdict against the oracle's.

use std::collections::BTreeSet;

use native::fault::Status;
use native::tally::Odd;
use native::verify::{Options, Report};

use crate::oracle;
use crate::properties::report;

/// How a blob is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Redis 7.0 and later.
    Listpack,
    /// Before that.
    Ziplist,
    /// Sets of numbers.
    Intset,
    /// Hashes up to Redis 2.4.
    Zipmap,
    /// A packed string: its size in 2 bytes, then what it is packed as.
    Lzf,
}

impl Form {
    /// By the number of the type whose values have it; 0 is a string, which may be packed.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Lzf),
            9 => Some(Self::Zipmap),
            11 => Some(Self::Intset),
            10 | 12..=14 => Some(Self::Ziplist),
            16..=18 | 20 => Some(Self::Listpack),
            _ => None,
        }
    }
}

/// What the entries of a blob are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    List,
    Set,
    Hash,
    Zset,
}

fn use_of(number: u8) -> Use {
    match number {
        11 | 20 => Use::Set,
        9 | 13 | 16 => Use::Hash,
        12 | 17 => Use::Zset,
        _ => Use::List,
    }
}

/// Holds the engine against the oracle; false where `input` does not begin with a type's number.
pub fn engine_and_oracle_agree(input: &[u8]) -> bool {
    let Some((&number, blob)) = input.split_first() else {
        return false;
    };
    let entries = match Form::of(number) {
        None => return false,
        Some(Form::Lzf) => {
            packed_strings_agree(blob);
            return true;
        }
        Some(Form::Listpack) => oracle::listpack(blob),
        Some(Form::Ziplist) => oracle::ziplist(blob),
        Some(Form::Intset) => oracle::intset(blob).map(|numbers| {
            numbers
                .iter()
                .map(|number| number.to_string().into())
                .collect()
        }),
        // The values are not looked at.
        Some(Form::Zipmap) => oracle::zipmap(blob)
            .map(|fields| fields.into_iter().flat_map(|f| [f, vec![]]).collect()),
    };
    let found = of_records(&[&[number, 1, b'k'], prefix(number), &text(blob)].concat());
    let sound = entries
        .as_ref()
        .is_some_and(|entries| fit(use_of(number), entries));
    agrees(&found, sound);
    if let Some(entries) = entries
        && sound
    {
        assert_eq!(found.counts.as_ref().map(|counts| counts.keys), Some(1));
        let empty = entries.is_empty();
        assert_eq!(has(&found, Odd::EmptyCollection), empty);
        if use_of(number) == Use::Zset
            && let Some(ordered) = ordered(&entries)
        {
            assert_eq!(has(&found, Odd::ZsetOrder), !ordered);
            assert!(!has(&found, Odd::ScoreText) && !has(&found, Odd::ScoreNan));
        }
    }
    true
}

/// What stands between the key and the blob: how many nodes a list has, and of which kind.
fn prefix(number: u8) -> &'static [u8] {
    match number {
        14 => &[1],
        18 => &[1, 2],
        _ => &[],
    }
}

/// Whether these can be the entries: pairs where it takes pairs, and no member twice.
fn fit(what: Use, entries: &[Vec<u8>]) -> bool {
    let stride = match what {
        Use::List => return true,
        Use::Set => 1,
        Use::Hash | Use::Zset => 2,
    };
    let mut seen = BTreeSet::new();
    entries.len().is_multiple_of(stride)
        && entries
            .iter()
            .step_by(stride)
            .all(|member| seen.insert(member))
}

/// Whether members stand by score, then by name; None where a score is more than a plain number.
fn ordered(entries: &[Vec<u8>]) -> Option<bool> {
    let mut pairs = Vec::new();
    for pair in entries.chunks_exact(2) {
        let score = std::str::from_utf8(&pair[1]).ok()?;
        let plain = |byte: u8| byte.is_ascii_digit() || b"-.".contains(&byte);
        if !score.bytes().all(plain) {
            return None;
        }
        pairs.push((score.parse::<f64>().ok()?, &pair[0]));
    }
    Some(pairs.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && a.1 <= b.1)))
}

/// A packed string alone; and in a set beside what it should be, and beside something else.
fn packed_strings_agree(input: &[u8]) {
    let Some((size, packed)) = input.split_first_chunk() else {
        return;
    };
    let size = u16::from_be_bytes(*size);
    let string = oracle::lzf(packed, usize::from(size));
    let written = [
        &[0xC3][..],
        &length(packed.len()),
        &length(size.into()),
        packed,
    ]
    .concat();
    let alone = of_records(&[&[0, 1, b'k'], &written[..]].concat());
    agrees(&alone, string.is_some());
    let mut other = string.clone().unwrap_or_default();
    let set = |member: &[u8]| of_records(&[&[2, 1, b'k', 2], &written[..], &text(member)].concat());
    agrees(&set(&other), false);
    other.push(b'x');
    agrees(&set(&other), string.is_some());
}

fn agrees(report: &Report, sound: bool) {
    let wanted = if sound {
        Status::Valid
    } else {
        Status::Corrupt
    };
    assert_eq!(report.status, wanted, "{:?}", report.reason);
}

fn has(report: &Report, odd: Odd) -> bool {
    let counts = report.counts.as_ref();
    counts.is_some_and(|counts| counts.findings.iter().any(|found| found.odd == odd))
}

fn of_records(records: &[u8]) -> Report {
    let file = [b"REDIS0011\xfe\x00", records, b"\xff\0\0\0\0\0\0\0\0"].concat();
    report(&file, &Options::default(), usize::MAX)
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&length(bytes.len()), bytes].concat()
}

fn length(bytes: usize) -> Vec<u8> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    [&[0x80], &bytes.to_be_bytes()[..]].concat()
}
