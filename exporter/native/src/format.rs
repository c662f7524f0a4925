//! The RDB format by numbers: the header, and which opcode and type exists since when.
//!
//! Knows: both dialects (`REDIS0001`-`REDIS0015`, `VALKEY080`) and their two number clashes: 243 and
//! 22 mean different things by the magic. Refuses to know: how values are laid out.
//! Sources: `rdb.h` of Redis 2.4-8.10 and Valkey 9.1.
//!
//! Advice for those who change this: a new server version is a row here first. The version in the
//! header does not pin the feature set (7.4-rc1, 7.4, 8.0 and 8.2 all write 12), so a type is
//! "since" the oldest version number that a file with it carried. `exporter/verify/rdb.py` holds the
//! same table for the other engine; a test holds the two equal.

/// Bytes of the magic and the version.
pub const MAGIC_BYTES: usize = 9;
/// Bytes of the checksum.
pub const CRC_BYTES: usize = 8;
/// The first version with a checksum behind its end mark.
const FIRST_WITH_CRC: u64 = 5;

/// Opcodes: a byte where a type could stand.
pub mod op {
    #![allow(missing_docs)]
    pub const HASH_TEMPLATE: u8 = 242;
    /// `KEY_META` in Redis, `SLOT_IMPORT` in Valkey.
    pub const KEY_META_OR_SLOT_IMPORT: u8 = 243;
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION2: u8 = 245;
    pub const FUNCTION_PRE_GA: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZEDB: u8 = 251;
    pub const EXPIRETIME_MS: u8 = 252;
    pub const EXPIRETIME: u8 = 253;
    pub const SELECTDB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// Whose rules a file follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `REDIS0001` and up.
    Redis,
    /// `VALKEY080` and up.
    Valkey,
}

impl Dialect {
    /// The word for machines.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }
}

/// What users see of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
    Module,
    Array,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::List,
        Self::Set,
        Self::Zset,
        Self::Hash,
        Self::Stream,
        Self::Module,
        Self::Array,
    ];

    /// What a person calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Zset => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
            Self::Module => "module",
            Self::Array => "array",
        }
    }
}

/// How a value's bytes are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Layout {
    String,
    List,
    Set,
    Zset {
        binary_scores: bool,
    },
    Hash,
    Module2,
    HashZipmap,
    ListZiplist,
    SetIntset,
    ZsetZiplist,
    HashZiplist,
    ListQuicklist,
    /// By generation: 1 is type 15, 5 is type 27.
    Stream(u8),
    HashListpack,
    ZsetListpack,
    ListQuicklist2,
    SetListpack,
    /// `released`: with the least expiry in front.
    HashTtl {
        released: bool,
    },
    HashListpackTtl {
        released: bool,
    },
    ValkeyHash2,
    Array,
    /// `named`: the field names stand before the values (DUMP); else in a template.
    HashTemplateListpack {
        named: bool,
    },
    HashTemplateStrings {
        named: bool,
    },
}

/// One row of the table of types.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// The number in the file.
    pub number: u8,
    /// What users see.
    pub kind: Kind,
    /// How it is laid out.
    pub layout: Layout,
    /// First RDB version of Redis that has it; None: not legal there.
    pub redis: Option<u64>,
    /// Likewise Valkey, which took over all of Redis 7.2's.
    pub valkey: Option<u64>,
}

const fn row(number: u8, kind: Kind, layout: Layout, redis: u64) -> Type {
    let valkey = if number <= 21 { Some(80) } else { None };
    Type {
        number,
        kind,
        layout,
        redis: Some(redis),
        valkey,
    }
}

/// Every type that can be read. Type 6 (modules of 4.0-rc) can't be, without its module.
pub const TYPES: [Type; 32] = [
    row(0, Kind::String, Layout::String, 1),
    row(1, Kind::List, Layout::List, 1),
    row(2, Kind::Set, Layout::Set, 1),
    row(
        3,
        Kind::Zset,
        Layout::Zset {
            binary_scores: false,
        },
        1,
    ),
    row(4, Kind::Hash, Layout::Hash, 1),
    row(
        5,
        Kind::Zset,
        Layout::Zset {
            binary_scores: true,
        },
        8,
    ),
    row(7, Kind::Module, Layout::Module2, 8),
    row(9, Kind::Hash, Layout::HashZipmap, 1),
    row(10, Kind::List, Layout::ListZiplist, 1),
    row(11, Kind::Set, Layout::SetIntset, 1),
    row(12, Kind::Zset, Layout::ZsetZiplist, 1),
    row(13, Kind::Hash, Layout::HashZiplist, 4),
    row(14, Kind::List, Layout::ListQuicklist, 7),
    row(15, Kind::Stream, Layout::Stream(1), 9),
    row(16, Kind::Hash, Layout::HashListpack, 10),
    row(17, Kind::Zset, Layout::ZsetListpack, 10),
    row(18, Kind::List, Layout::ListQuicklist2, 10),
    row(19, Kind::Stream, Layout::Stream(2), 10),
    row(20, Kind::Set, Layout::SetListpack, 11),
    row(21, Kind::Stream, Layout::Stream(3), 11),
    row(22, Kind::Hash, Layout::HashTtl { released: false }, 12),
    Type {
        number: 22,
        kind: Kind::Hash,
        layout: Layout::ValkeyHash2,
        redis: None,
        valkey: Some(80),
    },
    row(
        23,
        Kind::Hash,
        Layout::HashListpackTtl { released: false },
        12,
    ),
    row(24, Kind::Hash, Layout::HashTtl { released: true }, 12),
    row(
        25,
        Kind::Hash,
        Layout::HashListpackTtl { released: true },
        12,
    ),
    row(26, Kind::Stream, Layout::Stream(4), 13),
    row(27, Kind::Stream, Layout::Stream(5), 14),
    row(28, Kind::Array, Layout::Array, 14),
    row(
        29,
        Kind::Hash,
        Layout::HashTemplateListpack { named: true },
        15,
    ),
    row(
        30,
        Kind::Hash,
        Layout::HashTemplateListpack { named: false },
        15,
    ),
    row(
        31,
        Kind::Hash,
        Layout::HashTemplateStrings { named: true },
        15,
    ),
    row(
        32,
        Kind::Hash,
        Layout::HashTemplateStrings { named: false },
        15,
    ),
];

/// The first version of `dialect` that has the opcode `number`; None where there is no such one.
#[must_use]
pub fn opcode_since(dialect: Dialect, number: u8) -> Option<u64> {
    if dialect == Dialect::Valkey {
        return (number >= op::KEY_META_OR_SLOT_IMPORT).then_some(80);
    }
    Some(match number {
        op::HASH_TEMPLATE => 15,
        op::KEY_META_OR_SLOT_IMPORT => 13,
        op::SLOT_INFO => 12,
        op::FUNCTION2 | op::FUNCTION_PRE_GA => 10,
        op::MODULE_AUX | op::IDLE | op::FREQ => 9,
        op::AUX | op::RESIZEDB => 7,
        op::EXPIRETIME_MS => 3,
        op::EXPIRETIME | op::SELECTDB | op::EOF => 1,
        _ => return None,
    })
}

/// A type as one file may use it.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// How it is laid out.
    pub layout: Layout,
    /// What users see.
    pub kind: Kind,
    /// Newer than the file's header says.
    pub newer: bool,
}

/// The types of `magic`'s dialect by their numbers.
#[must_use]
pub fn types_of(magic: &Magic) -> [Option<Known>; 256] {
    let mut table = [None; 256];
    for row in &TYPES {
        let since = match magic.dialect {
            Dialect::Redis => row.redis,
            Dialect::Valkey => row.valkey,
        };
        if let (Some(since), Some(slot)) = (since, table.get_mut(usize::from(row.number))) {
            *slot = Some(Known {
                layout: row.layout,
                kind: row.kind,
                newer: since > magic.version,
            });
        }
    }
    table
}

/// The first nine bytes, understood as a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Magic {
    /// Whose rules hold.
    pub dialect: Dialect,
    /// The RDB version.
    pub version: u64,
    /// The digits are not plain digits (`REDIS 012`): servers read them with `atoi()`.
    pub odd: bool,
}

impl Magic {
    /// None where no server would take this for an RDB: wrong letters, or a version below 1.
    #[must_use]
    pub fn read(head: &[u8]) -> Option<Self> {
        let head = head.get(..MAGIC_BYTES)?;
        let (dialect, digits) = if let Some(digits) = head.strip_prefix(b"REDIS") {
            (Dialect::Redis, digits)
        } else {
            (Dialect::Valkey, head.strip_prefix(b"VALKEY")?)
        };
        Some(Self {
            dialect,
            version: atoi(digits)?,
            odd: !digits.iter().all(u8::is_ascii_digit),
        })
    }

    /// True where fewer bytes than a magic might have become one.
    #[must_use]
    pub fn begun(head: &[u8]) -> bool {
        [&b"REDIS"[..], b"VALKEY"].iter().any(|letters| {
            let shorter = head.len().min(letters.len());
            head.get(..shorter) == letters.get(..shorter)
        })
    }

    /// Whether this version can be read here. Valkey counts from 80 to stay clear of Redis.
    #[must_use]
    pub fn known(&self) -> bool {
        match self.dialect {
            Dialect::Redis => (1..=15).contains(&self.version),
            Dialect::Valkey => self.version == 80,
        }
    }

    /// Whether a checksum stands behind the end mark.
    #[must_use]
    pub fn has_checksum(&self) -> bool {
        self.version >= FIRST_WITH_CRC
    }
}

/// C's `atoi()` on the version's digits; None where that is no positive number.
fn atoi(digits: &[u8]) -> Option<u64> {
    let text = digits.trim_ascii_start();
    // C's white space has one more than Rust's ASCII: the vertical tab.
    let text = match text
        .iter()
        .position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))
    {
        Some(at) => text.get(at..)?,
        None => return None,
    };
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let number = text
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    (number > 0).then_some(number)
}
