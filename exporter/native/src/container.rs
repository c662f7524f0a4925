//! Compression around a dump: what it is, and its bytes, proven to its own end.
//!
//! Knows: gzip, zstd, LZ4 frames, xz and bzip2 by their first bytes; how each says that it is whole
//! (end marker, length, checksums); how members follow one another. Refuses to know: what lies
//! inside, where the bytes come from, and how to go on after damage.
//!
//! A reader has to go on to `Ok(0)` even when the dump inside is complete: only the last read sees
//! the container's own end. The libraries' `Read` adapters are not used: they take an end of input at
//! the right place for an end of data, fold errors of the source into their own, and hide what
//! follows the last member. Here each decoder gets slices, and one loop owns the source.

mod bzip2;
mod gzip;
mod input;
mod lz4;
mod magic;
mod xz;
mod zstd;

use std::fmt;
use std::io::{self, Read};

use input::Input;
use magic::{Format, SNIFF_BYTES, begins_skippable, is_skippable, skip_frame, sniff};

/// Most memory that a file may ask for: the window of `zstd --long=27`, twice that of `xz -9`.
const MEMORY_LOG2: u32 = 27;

/// Why no more bytes come; the text is the name of the compression.
#[derive(Debug)]
pub enum Broken {
    /// The source failed: its own error, untouched. Says nothing about the file; reading may go on.
    Source(io::Error),
    /// The file ends before its compression does.
    Truncated(&'static str),
    /// A checksum or length that the compression carries does not fit its data.
    Checksum(&'static str),
    /// The compressed data is broken in another way.
    Corrupt(&'static str),
    /// Undamaged as far as seen, but wants more memory than a file may ask for.
    Memory(&'static str),
    /// Undamaged as far as seen, but needs a dictionary, filter or check that is not here.
    Unsupported(&'static str),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Truncated(name) => write!(f, "the {name} data ends before its own end"),
            Self::Checksum(name) => write!(f, "a {name} checksum or length is wrong"),
            Self::Corrupt(name) => write!(f, "the {name} data is broken"),
            Self::Memory(name) => {
                write!(
                    f,
                    "the {name} data needs more than {} MiB of memory",
                    (1_u32 << MEMORY_LOG2) >> 20
                )
            }
            Self::Unsupported(name) => {
                write!(
                    f,
                    "the {name} data needs a dictionary, filter or check that is not supported"
                )
            }
        }
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            _ => None,
        }
    }
}

/// A verdict on the compressed bytes; unlike [`Broken`] it can be kept and told again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Truncated,
    Checksum,
    Corrupt,
    Memory,
    Unsupported,
}

/// What one call of a decoder did.
struct Step {
    /// Bytes of the input used up.
    taken: usize,
    /// Bytes written; these are sound as far as the decoder could tell, even before a fault.
    given: usize,
    then: Then,
}

/// What is to come after a [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    More,
    /// The member is over, and its checksums hold.
    End,
    Fault(Fault),
}

enum Decoder {
    Gzip(gzip::Member),
    Zstd(zstd::Frame),
    Lz4(Box<lz4::Frame>),
    Xz(xz::Stream),
    Bzip2(bzip2::Stream),
}

impl Decoder {
    fn new(format: Format) -> Result<Self, Fault> {
        Ok(match format {
            Format::Gzip => Self::Gzip(gzip::Member::new()),
            Format::Zstd => Self::Zstd(zstd::Frame::new()?),
            Format::Lz4 => Self::Lz4(Box::new(lz4::Frame::new())),
            Format::Xz => Self::Xz(xz::Stream::new()?),
            Format::Bzip2 => Self::Bzip2(bzip2::Stream::new()),
        })
    }

    /// Decodes on; an empty `input` means that there is no more, and asks for what is still held.
    fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        match self {
            Self::Gzip(member) => member.step(input, into),
            Self::Zstd(frame) => frame.step(input, into),
            Self::Lz4(frame) => frame.step(input, into),
            Self::Xz(stream) => stream.step(input, into),
            Self::Bzip2(stream) => stream.step(input, into),
        }
    }

    /// Makes ready for a further member.
    fn again(&mut self) -> Result<(), Fault> {
        match self {
            Self::Gzip(member) => *member = gzip::Member::new(),
            // Its context begins anew by itself, and keeps its buffers.
            Self::Zstd(_) => {}
            Self::Lz4(frame) => frame.again(),
            Self::Xz(stream) => *stream = xz::Stream::new()?,
            Self::Bzip2(stream) => *stream = bzip2::Stream::new(),
        }
        Ok(())
    }
}

enum Place {
    Inside,
    Between,
    Over { trailing: bool },
    Faulty(Fault),
}

struct Members {
    format: Format,
    decoder: Decoder,
    place: Place,
}

/// The bytes of a dump, whatever is wrapped around them.
pub struct Blocks<R: Read> {
    input: Input<R>,
    /// None: plain bytes.
    members: Option<Members>,
}

impl<R: Read> Blocks<R> {
    /// Looks at the first bytes of `source`, which is read in pieces of `block_bytes`.
    ///
    /// # Errors
    /// [`Broken::Source`]; or the file ends within a magic or a skippable frame in front.
    pub fn open(source: R, block_bytes: usize) -> Result<Self, Broken> {
        let mut input = Input::new(source, block_bytes);
        let members = match sniff(&mut input)? {
            None => None,
            Some(format) => Some(Members {
                format,
                decoder: Decoder::new(format).map_err(|fault| format.broken(fault))?,
                place: Place::Inside,
            }),
        };
        if members
            .as_ref()
            .is_some_and(|members| members.format == Format::Bzip2)
        {
            input.at_most(bzip2::READ_BYTES);
        }
        Ok(Self { input, members })
    }

    /// Puts further bytes into `into`; 0 (for an `into` that is not empty) is the true end.
    ///
    /// # Errors
    /// As [`Broken`] says. All but [`Broken::Source`] are final: the next call tells the same.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Broken> {
        let Some(members) = &mut self.members else {
            return self.input.pass(into).map_err(Broken::Source);
        };
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let done = match members.place {
                Place::Faulty(fault) => return Err(members.format.broken(fault)),
                Place::Over { .. } => return Ok(0),
                Place::Between => members.follow(&mut self.input),
                Place::Inside => members.decode(&mut self.input, into),
            };
            match done {
                Ok(0) => {}
                Ok(given) => return Ok(given),
                Err(Halt::Source(error)) => return Err(Broken::Source(error)),
                Err(Halt::Fault(fault)) => members.place = Place::Faulty(fault),
            }
        }
    }

    /// The name of the compression, if there is one.
    pub fn compression(&self) -> Option<&'static str> {
        self.members.as_ref().map(|members| members.format.name())
    }

    /// Whether bytes follow the compressed data that are no part of it; known once `read` gave 0.
    pub fn trailing(&self) -> bool {
        self.members
            .as_ref()
            .is_some_and(|members| matches!(members.place, Place::Over { trailing: true }))
    }
}

/// Why a step inside could not be done.
enum Halt {
    Source(io::Error),
    Fault(Fault),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<Fault> for Halt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Members {
    fn decode<R: Read>(&mut self, input: &mut Input<R>, into: &mut [u8]) -> Result<usize, Halt> {
        let stored = input.fill()?;
        let drained = stored.is_empty();
        let step = self.decoder.step(stored, into);
        input.consume(step.taken);
        self.place = match step.then {
            Then::Fault(fault) => Place::Faulty(fault),
            Then::End => Place::Between,
            Then::More if step.taken > 0 || step.given > 0 => Place::Inside,
            Then::More if drained => Place::Faulty(Fault::Truncated),
            Then::More => Place::Faulty(Fault::Corrupt),
        };
        Ok(step.given)
    }

    /// Looks for a member after the one that ended.
    fn follow<R: Read>(&mut self, input: &mut Input<R>) -> Result<usize, Halt> {
        // Stream padding, which xz alone has: zero bytes, by fours.
        let padding = if self.format == Format::Xz {
            input.skip_zeros()?
        } else {
            0
        };
        let head = input.gather(SNIFF_BYTES)?;
        let magic = self.format.magic();
        if head.is_empty() || padding % 4 != 0 {
            self.place = Place::Over {
                trailing: padding % 4 != 0,
            };
        } else if head.starts_with(magic) {
            self.decoder.again()?;
            self.place = Place::Inside;
        } else if self.format.skips() && is_skippable(head) {
            skip_frame(input)?;
        } else if magic.starts_with(head) || (self.format.skips() && begins_skippable(head)) {
            return Err(Fault::Truncated.into());
        } else {
            self.place = Place::Over { trailing: true };
        }
        Ok(0)
    }
}
