//! One xz stream: header, blocks with a check each, index, footer (.xz file format 1.2).
//!
//! The library calls everything that is wrong a "data error". Which of them are checksums shows in
//! where they come, so the layout is followed beside it: see `Layout`.

use liblzma::stream::{Action, Error, Status, Stream as Raw, TELL_UNSUPPORTED_CHECK};

use super::gzip::since;
use super::{Fault, MEMORY_LOG2, Step, Then};

const STREAM_HEADER_BYTES: u64 = 12;

pub(super) struct Stream {
    decoder: Raw,
    layout: Layout,
}

impl Stream {
    pub(super) fn new() -> Result<Self, Fault> {
        // Unless told, the library leaves a check that it does not know unchecked, in silence.
        let decoder = Raw::new_stream_decoder(1 << MEMORY_LOG2, TELL_UNSUPPORTED_CHECK)
            .map_err(|_| Fault::Memory)?;
        Ok(Self {
            decoder,
            layout: Layout::new(),
        })
    }

    pub(super) fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        let (read, written) = (self.decoder.total_in(), self.decoder.total_out());
        let outcome = self.decoder.process(input, into, Action::Run);
        let taken = since(read, self.decoder.total_in());
        self.layout.follow(input.get(..taken).unwrap_or_default());
        let then = match outcome {
            Ok(Status::StreamEnd) => Then::End,
            Ok(Status::Ok | Status::GetCheck | Status::MemNeeded) => Then::More,
            Err(Error::Data) if self.layout.in_data() => Then::Fault(Fault::Corrupt),
            Err(Error::Data) => Then::Fault(Fault::Checksum),
            Err(Error::MemLimit | Error::Mem) => Then::Fault(Fault::Memory),
            Err(Error::Options | Error::UnsupportedCheck) => Then::Fault(Fault::Unsupported),
            Err(Error::Format | Error::Program | Error::NoCheck) => Then::Fault(Fault::Corrupt),
        };
        Step {
            taken,
            given: since(written, self.decoder.total_out()),
            then,
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    /// The header of the stream; its eighth byte names the check.
    StreamHeader,
    /// The first byte of a block (the length of its header) or of the index (0).
    BlockStart,
    BlockHeader,
    /// The byte that says what an LZMA2 chunk is; the packed data always are such chunks.
    ChunkStart,
    /// The lengths of a chunk: of these the last two count.
    ChunkLengths {
        props: u64,
    },
    Chunk,
    /// The padding and the check of a block.
    Check,
    /// Index and footer: nothing but sums and lengths.
    Rest,
}

/// Where in the stream the decoder is.
///
/// All but the chunks is guarded by a CRC-32 or the check of the block, or is such a sum itself: an
/// error there is a sum or length that does not fit. An error within a chunk is broken data. This
/// only names a fault which the library has found; it never decides that there is none.
struct Layout {
    part: Part,
    /// Bytes of the part that are still to come.
    left: u64,
    /// The last two bytes.
    pair: [u8; 2],
    check_bytes: u64,
    packed_bytes: u64,
}

impl Layout {
    const fn new() -> Self {
        Self {
            part: Part::StreamHeader,
            left: STREAM_HEADER_BYTES,
            pair: [0; 2],
            check_bytes: 0,
            packed_bytes: 0,
        }
    }

    const fn in_data(&self) -> bool {
        // Before the first byte of a chunk, the error is still that of the header.
        self.packed_bytes > 0
            && matches!(
                self.part,
                Part::ChunkStart | Part::ChunkLengths { .. } | Part::Chunk
            )
    }

    fn follow(&mut self, mut used: &[u8]) {
        while let Some(&byte) = used.first() {
            let one_by_one = matches!(self.part, Part::StreamHeader | Part::ChunkLengths { .. });
            let stride = if one_by_one {
                1
            } else {
                self.left.min(used.len() as u64)
            };
            used = usize::try_from(stride)
                .ok()
                .and_then(|stride| used.get(stride..))
                .unwrap_or_default();
            self.left -= stride;
            if matches!(
                self.part,
                Part::ChunkStart | Part::ChunkLengths { .. } | Part::Chunk
            ) {
                self.packed_bytes += stride;
            }
            self.pair = [self.pair[1], byte];
            if matches!(self.part, Part::StreamHeader) && self.left == 4 {
                self.check_bytes = check_bytes(byte);
            }
            while self.left == 0 {
                (self.part, self.left) = self.next(byte);
            }
        }
    }

    /// What follows a part that ended with `byte`, and how long it is.
    fn next(&mut self, byte: u8) -> (Part, u64) {
        match self.part {
            Part::StreamHeader | Part::Check => (Part::BlockStart, 1),
            Part::BlockStart if byte == 0 => (Part::Rest, u64::MAX),
            Part::BlockStart => (Part::BlockHeader, u64::from(byte) * 4 + 3),
            Part::BlockHeader => {
                self.packed_bytes = 0;
                (Part::ChunkStart, 1)
            }
            Part::ChunkStart => match byte {
                0 => (
                    Part::Check,
                    (4 - self.packed_bytes % 4) % 4 + self.check_bytes,
                ),
                // As it is: its length follows. (3 to 0x7f are not legal, and end here anyway.)
                1..=0x7f => (Part::ChunkLengths { props: 0 }, 2),
                // Packed: unpacked length, packed length, and from 0xc0 on a byte of properties.
                0x80..=0xbf => (Part::ChunkLengths { props: 0 }, 4),
                _ => (Part::ChunkLengths { props: 1 }, 4),
            },
            Part::ChunkLengths { props } => (
                Part::Chunk,
                u64::from(u16::from_be_bytes(self.pair)) + 1 + props,
            ),
            Part::Chunk => (Part::ChunkStart, 1),
            Part::Rest => (Part::Rest, u64::MAX),
        }
    }
}

/// How long the check is that the low half of the flags names.
const fn check_bytes(flags: u8) -> u64 {
    match flags & 0x0f {
        0 => 0,
        1..=3 => 4,
        4..=6 => 8,
        7..=9 => 16,
        10..=12 => 32,
        _ => 64,
    }
}
