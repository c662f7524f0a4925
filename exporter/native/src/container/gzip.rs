//! One gzip member: header, deflate data, CRC-32 and length (RFC 1952).

use flate2::{Decompress, FlushDecompress, Status};

use super::{Fault, Step, Then};

/// The largest window of deflate.
const WINDOW_BITS: u8 = 15;
/// What zlib calls a mismatch, of the data, its length, and an optional sum over the header.
const CHECKS: [&str; 3] = [
    "incorrect data check",
    "incorrect length check",
    "header crc mismatch",
];

pub(super) struct Member(Decompress);

impl Member {
    pub(super) fn new() -> Self {
        Self(Decompress::new_gzip(WINDOW_BITS))
    }

    pub(super) fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let then = match self.0.decompress(input, into, FlushDecompress::None) {
            Ok(Status::StreamEnd) => Then::End,
            Ok(Status::Ok | Status::BufError) => Then::More,
            Err(error) if error.message().is_some_and(|text| CHECKS.contains(&text)) => {
                Then::Fault(Fault::Checksum)
            }
            Err(_) => Then::Fault(Fault::Corrupt),
        };
        Step {
            taken: since(read, self.0.total_in()),
            given: since(written, self.0.total_out()),
            then,
        }
    }
}

/// What a running count has gained in one call: no more than a slice is long.
pub(super) fn since(before: u64, now: u64) -> usize {
    usize::try_from(now.wrapping_sub(before)).unwrap_or(0)
}
