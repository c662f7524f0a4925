//! What can be wrong with the bytes of a file.
//!
//! Knows: a kind, one line for a person, and where. Refuses to know: what becomes of it (`verify`
//! applies the precedence of statuses).

use std::borrow::Cow;
use std::fmt;
use std::io;

/// The final status of a report, in the words of `verify --json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It would load, and holds what it says.
    Valid,
    /// No bytes at all.
    Empty,
    /// The input ended inside an item, or before the end mark and the checksum.
    Truncated,
    /// Does not begin as an RDB does.
    BadMagic,
    /// A version, opcode or type that is not known here: "cannot verify" is not "corrupt".
    UnsupportedVersion,
    /// The stored checksum is not that of the bytes.
    ChecksumMismatch,
    /// No server would load it, or reads of it would contradict each other.
    Corrupt,
    /// Bytes follow the end.
    TrailingData,
    /// Could not be read, for a reason that is not the file's content.
    Unreadable,
    /// Not read within the time that was given.
    Timeout,
}

impl Status {
    /// The word for machines.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::BadMagic => "bad_magic",
            Self::UnsupportedVersion => "unsupported_version",
            Self::ChecksumMismatch => "checksum_mismatch",
            Self::Corrupt => "corrupt",
            Self::TrailingData => "trailing_data",
            Self::Unreadable => "unreadable",
            Self::Timeout => "timeout",
        }
    }
}

/// The walk can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What it makes of the file.
    pub status: Status,
    /// One line for a person.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// Why reading stopped before the end.
#[derive(Debug)]
pub enum Why {
    /// The RDB is broken, or of a kind that can't be read.
    Fault(Fault),
    /// The input is over in the middle of an item.
    Ended,
    /// The compression around the RDB is broken; it explains whatever the RDB inside looks like.
    Container(Fault),
    /// The input could not be read, or nobody waits for it any more.
    Source(io::Error),
}

/// [`Why`] behind a pointer: results of the walk's smallest steps stay in registers.
#[derive(Debug)]
pub struct Stop(pub Box<Why>);

/// What each step of the walk gives.
pub type Result<T> = std::result::Result<T, Stop>;

impl Stop {
    /// A fault of the RDB.
    #[cold]
    pub fn fault(status: Status, reason: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Why::Fault(Fault {
            status,
            reason: reason.into(),
        })))
    }

    /// The input is over in the middle of an item.
    #[cold]
    #[must_use]
    pub fn ended() -> Self {
        Self(Box::new(Why::Ended))
    }
}

/// No server would load this, or reads of it would contradict each other.
#[cold]
pub fn corrupt<T>(reason: impl Into<Cow<'static, str>>) -> Result<T> {
    Err(Stop::fault(Status::Corrupt, reason))
}
