//! One bzip2 stream: blocks with a CRC each, and a CRC over those at the end.
//!
//! The library calls everything that is wrong a "data error". Which of them are checksums shows in
//! where they come: see `step`.

use bzip2::{Decompress, Error, Status};

use super::gzip::since;
use super::{Fault, Step, Then};

/// The mark at the beginning of a block, 48 bits that stand at any bit of a byte.
const BLOCK_MARK: u64 = 0x3141_5926_5359;
const MARK_MASK: u64 = (1 << 48) - 1;
/// A block can fail no sooner than this behind its mark: its CRC, a flag and a pointer come first.
/// What stands closer to the end was only read ahead, so that no block has begun by it.
const SOONEST_BITS: usize = 32 + 1 + 24;
/// The library reads up to 64 bits ahead: that much of what follows a block may be read with it.
const AHEAD_BYTES: usize = 8;
/// So many bytes behind a block, what is wrong lies in the next one: the header of the stream (4),
/// the mark (6) or the end with its CRC (10), and what is read ahead, are shorter.
const INSIDE_BYTES: usize = 20;
/// A stream costs some 20 microseconds even if it is empty, and 14 bytes. Whoever wants to stop the
/// work can do so only at a read: with blocks of 256 KiB that would be a third of a second.
pub(super) const READ_BYTES: usize = 32 << 10;
const TAIL_BYTES: usize = AHEAD_BYTES + INSIDE_BYTES;

pub(super) struct Stream {
    decoder: Decompress,
    /// The last bytes used up.
    tail: [u8; TAIL_BYTES],
    /// Bytes used up since some were last handed out.
    silent_bytes: usize,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decompress::new(false),
            tail: [0; TAIL_BYTES],
            silent_bytes: 0,
        }
    }

    /// Reads up to the end of a block without room for output, then hands out without input.
    ///
    /// The CRC of a block is compared once it is handed out, so that what fails in the second half
    /// is such a CRC, or the mark that follows. What fails in the first half is broken data if a
    /// block has begun, else again a mark or a CRC.
    pub(super) fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        let (read, written) = (self.decoder.total_in(), self.decoder.total_out());
        let first = self.decoder.decompress(input, &mut []);
        let taken = since(read, self.decoder.total_in());
        self.remember(input.get(..taken).unwrap_or_default());
        let then = match first {
            Ok(Status::Ok) => match self.decoder.decompress(&[], into) {
                Err(_) => Then::Fault(Fault::Checksum),
                Ok(status) => next(status),
            },
            Ok(status) => next(status),
            Err(Error::Data) if !self.in_block() => Then::Fault(Fault::Checksum),
            Err(_) => Then::Fault(Fault::Corrupt),
        };
        let given = since(written, self.decoder.total_out());
        if given > 0 {
            self.silent_bytes = 0;
        }
        Step { taken, given, then }
    }

    fn remember(&mut self, used: &[u8]) {
        self.silent_bytes += used.len();
        for &byte in used.iter().skip(used.len().saturating_sub(TAIL_BYTES)) {
            self.tail.rotate_left(1);
            if let Some(last) = self.tail.last_mut() {
                *last = byte;
            }
        }
    }

    /// Whether a block has begun since the last one was handed out.
    fn in_block(&self) -> bool {
        let recent = TAIL_BYTES.saturating_sub(self.silent_bytes + AHEAD_BYTES);
        let bits = self.tail.iter().skip(recent).flat_map(|&byte| {
            (0..8_u8)
                .rev()
                .map(move |place| u64::from((byte >> place) & 1))
        });
        let (mut window, mut behind) = (0, None);
        for bit in bits {
            window = ((window << 1) | bit) & MARK_MASK;
            behind = match behind {
                None => (window == BLOCK_MARK).then_some(0),
                Some(count) => Some(count + 1),
            };
        }
        self.silent_bytes >= INSIDE_BYTES || behind.is_some_and(|count| count >= SOONEST_BITS)
    }
}

const fn next(status: Status) -> Then {
    match status {
        Status::StreamEnd => Then::End,
        Status::MemNeeded => Then::Fault(Fault::Memory),
        _ => Then::More,
    }
}
