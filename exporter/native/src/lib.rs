//! Reads Redis and Valkey RDB files from the first byte to the last.
//!
//! Knows: the format, and what a server checks when it loads (and what it forgets to). Refuses to
//! know: files, processes and settings; it is given bytes, and gives a report.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod container;
pub mod fault;
pub mod format;
mod hashes;
mod listpack;
mod lzf;
mod reader;
mod streams;
pub mod tally;
mod text;
pub mod uniques;
mod values;
pub mod verify;
mod walk;
mod ziplist;

#[cfg(feature = "extension")]
mod python;
