//! A position in the RDB, and the CRC of what lies before it.
//!
//! Knows: one buffer that stays in the second-level cache, refilled by read(); lengths and strings.
//! Refuses to know: what the bytes mean.
//!
//! Advice for those who change this: the CRC is taken over whole stretches of the buffer when it is
//! refilled, never a field at a time: that, and walking in place, is where the speed comes from. The
//! buffer must stay small (with 4 MiB it leaves the cache). A length that the file declares never
//! sizes an allocation: memory grows only with bytes that really came.

use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;

use crc_fast::{CrcAlgorithm, Digest};

use crate::container::{Blocks, Broken};
use crate::fault::{Fault, Result, Status, Stop, Why, corrupt};
use crate::lzf;
use crate::text::Text;

/// Bytes behind the position that stay at hand: an end mark, a CRC, and some.
const KEPT: usize = 16;
/// Strings up to this are looked at in the buffer, longer ones are gathered.
const WINDOW: usize = 128 << 10;
const SMALLEST_BUFFER: usize = WINDOW + 4 * KEPT;
/// 2^64-1: servers take this length for a failed read.
const LENGTH_ERROR: u64 = u64::MAX;
/// A back reference of 3 bytes gives at most 264.
const LZF_EXPANSION: u64 = 88;

/// A length, or how a string is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes, or so many items.
    Plain(u64),
    /// An integer of so many bytes.
    Integer(u8),
    /// LZF.
    Packed,
    /// None of them.
    Unknown(u8),
}

/// Where the bytes of a string are.
enum Place {
    Buffer(Range<usize>),
    Gathered,
    /// So many bytes of the room for them.
    Unpacked(usize),
}

/// Asked at each refill whether to go on; its error ends the reading.
///
/// Not the source's business: a little of a compressed file can hold very much.
pub type Pulse = Rc<dyn Fn() -> io::Result<()>>;

/// See the module.
pub struct Reader<R: Read> {
    pulse: Pulse,
    blocks: Blocks<R>,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    /// Everything in the buffer before this is in `crc`.
    summed: usize,
    /// Offset of `buf[0]` in the RDB.
    base: u64,
    crc: Digest,
    gathered: Vec<u8>,
    unpacked: Vec<u8>,
    memory_bytes: u64,
}

impl<R: Read> Reader<R> {
    /// Reads in blocks of about `block_bytes`; holds no value greater than `memory_bytes`.
    pub fn new(blocks: Blocks<R>, block_bytes: usize, memory_bytes: u64, pulse: Pulse) -> Self {
        Self {
            pulse,
            blocks,
            buf: vec![0; block_bytes.max(SMALLEST_BUFFER)],
            pos: 0,
            end: 0,
            summed: 0,
            base: 0,
            crc: Digest::new(CrcAlgorithm::Crc64Redis),
            gathered: Vec::new(),
            unpacked: Vec::new(),
            memory_bytes,
        }
    }

    /// The compression around the RDB.
    pub fn compression(&self) -> Option<&'static str> {
        self.blocks.compression()
    }

    /// Whether bytes follow the compressed data, once the end was seen.
    pub fn trailing(&self) -> bool {
        self.blocks.trailing()
    }

    /// Offset of the position in the RDB.
    #[inline]
    pub fn tell(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// Offset of the end of what was read.
    pub fn tell_end(&self) -> u64 {
        self.base + self.end as u64
    }

    /// Makes room and reads once; false at the end of the input.
    #[inline(never)]
    fn refill(&mut self) -> Result<bool> {
        let keep_from = self.pos.min(self.end.saturating_sub(KEPT));
        if let Some(done) = self.buf.get(self.summed..keep_from) {
            self.crc.update(done);
        }
        self.buf.copy_within(keep_from..self.end, 0);
        self.base += keep_from as u64;
        self.pos -= keep_from;
        self.end -= keep_from;
        self.summed = self.summed.saturating_sub(keep_from);
        (self.pulse)().map_err(|error| broken(Broken::Source(error)))?;
        let room = self.buf.get_mut(self.end..).unwrap_or_default();
        let got = self.blocks.read(room).map_err(broken)?;
        self.end += got;
        Ok(got > 0)
    }

    /// At least `count` bytes are in the buffer behind the position; at most [`WINDOW`].
    #[cold]
    #[inline(never)]
    fn fill(&mut self, count: usize) -> Result<()> {
        while self.end - self.pos < count {
            if !self.refill()? {
                return Err(Stop::ended());
            }
        }
        Ok(())
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        if self.pos == self.end {
            self.fill(1)?;
        }
        match self.buf.get(self.pos) {
            Some(byte) => {
                self.pos += 1;
                Ok(*byte)
            }
            None => Err(Stop::ended()),
        }
    }

    /// The next `count` bytes, at most [`WINDOW`].
    #[inline]
    fn take(&mut self, count: usize) -> Result<Range<usize>> {
        if self.end - self.pos < count {
            self.fill(count)?;
        }
        let start = self.pos;
        self.pos += count;
        Ok(start..self.pos)
    }

    #[inline]
    fn at(&self, range: Range<usize>) -> &[u8] {
        self.buf.get(range).unwrap_or_default()
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let range = self.take(N)?;
        match self.at(range).first_chunk() {
            Some(array) => Ok(*array),
            None => Err(Stop::ended()),
        }
    }

    /// Passes over `count` bytes.
    #[inline]
    pub fn skip(&mut self, count: u64) -> Result<()> {
        let here = self.end - self.pos;
        match usize::try_from(count) {
            Ok(count) if count <= here => {
                self.pos += count;
                Ok(())
            }
            _ => self.skip_far(count),
        }
    }

    #[inline(never)]
    fn skip_far(&mut self, mut count: u64) -> Result<()> {
        loop {
            let here = self.end - self.pos;
            match usize::try_from(count) {
                Ok(left) if left <= here => {
                    self.pos += left;
                    return Ok(());
                }
                _ => {}
            }
            count -= here as u64;
            self.pos = self.end;
            if !self.refill()? {
                return Err(Stop::ended());
            }
        }
    }

    // Lengths

    /// A length, or the form of an encoded string.
    #[inline]
    pub fn length_or_form(&mut self) -> Result<Length> {
        let first = self.byte()?;
        match first >> 6 {
            0 => Ok(Length::Plain(u64::from(first))),
            1 => {
                let low = self.byte()?;
                Ok(Length::Plain(u64::from(first & 0x3F) << 8 | u64::from(low)))
            }
            3 => Ok(match first & 0x3F {
                form @ 0..=2 => Length::Integer(1 << form),
                3 => Length::Packed,
                form => Length::Unknown(form),
            }),
            _ => self.long_length(first),
        }
    }

    fn long_length(&mut self, first: u8) -> Result<Length> {
        match first {
            0x80 => Ok(Length::Plain(u64::from(u32::from_be_bytes(self.array()?)))),
            0x81 => Ok(Length::Plain(u64::from_be_bytes(self.array()?))),
            _ => corrupt(format!("a length has the reserved form 0x{first:02x}")),
        }
    }

    /// A number in the form of a length; all 64 bits may be set.
    #[inline]
    pub fn number(&mut self) -> Result<u64> {
        match self.length_or_form()? {
            Length::Plain(number) => Ok(number),
            _ => corrupt("a number has the form of an encoded string"),
        }
    }

    /// A number of bytes or items.
    #[inline]
    pub fn length(&mut self) -> Result<u64> {
        match self.number()? {
            LENGTH_ERROR => corrupt("a length is 2^64-1"),
            length => Ok(length),
        }
    }

    fn packed_lengths(&mut self, may_be_empty: bool) -> Result<(u64, u64)> {
        let packed = self.length()?;
        let size = self.length()?;
        if size > packed.saturating_mul(LZF_EXPANSION) {
            return corrupt("an LZF string declares more bytes than its packed form can hold");
        }
        if packed == 0 && !may_be_empty {
            return corrupt("an LZF string has no packed bytes");
        }
        Ok((packed, size))
    }

    // Strings

    /// The string at the position, its bytes or the integer that it is stored as.
    ///
    /// `may_be_empty`: whether an LZF string of no bytes is legal (from RDB 9 on).
    #[inline]
    pub fn text(&mut self, may_be_empty: bool) -> Result<Text<'_>> {
        match self.short_here() {
            Some(range) => {
                self.pos = range.end;
                Ok(Text::Bytes(self.at(range)))
            }
            None => self.any_text(may_be_empty),
        }
    }

    /// Where the string at the position is, if it is short, plain and in the buffer as a whole.
    #[inline]
    fn short_here(&self) -> Option<Range<usize>> {
        let size = usize::from(*self.buf.get(self.pos)?);
        let start = self.pos + 1;
        // Beyond the end lies what was read before.
        (size < 64 && start + size <= self.end).then_some(start..start + size)
    }

    #[inline(never)]
    fn any_text(&mut self, may_be_empty: bool) -> Result<Text<'_>> {
        let place = match self.length_or_form()? {
            Length::Plain(size) => self.bytes(size)?,
            Length::Integer(width) => return Ok(Text::Integer(self.integer(width)?)),
            Length::Packed => {
                let size = self.unpack(may_be_empty)?;
                Place::Unpacked(size)
            }
            Length::Unknown(form) => return unknown_form(form),
        };
        Ok(Text::Bytes(match place {
            Place::Buffer(range) => self.at(range),
            Place::Gathered => &self.gathered,
            Place::Unpacked(size) => self.unpacked.get(..size).unwrap_or_default(),
        }))
    }

    /// A blob: a string that is never stored as an integer where it makes sense; its digits if so.
    pub fn blob(&mut self, may_be_empty: bool) -> Result<&[u8]> {
        let place = match self.length_or_form()? {
            Length::Plain(size) => self.bytes(size)?,
            Length::Integer(width) => {
                let digits = self.integer(width)?.to_string();
                self.gathered.clear();
                self.gathered.extend_from_slice(digits.as_bytes());
                Place::Gathered
            }
            Length::Packed => {
                let size = self.unpack(may_be_empty)?;
                Place::Unpacked(size)
            }
            Length::Unknown(form) => return unknown_form(form),
        };
        Ok(match place {
            Place::Buffer(range) => self.at(range),
            Place::Gathered => &self.gathered,
            Place::Unpacked(size) => self.unpacked.get(..size).unwrap_or_default(),
        })
    }

    /// Proves a string that nobody looks into; gives its size in bytes (of its digits: not 0).
    ///
    /// `unpacked`: also that its LZF form, if it has one, makes what it says.
    #[inline]
    pub fn skip_text(&mut self, may_be_empty: bool, unpacked: bool) -> Result<u64> {
        match self.short_here() {
            Some(range) => {
                self.pos = range.end;
                Ok(range.len() as u64)
            }
            None => self.skip_any_text(may_be_empty, unpacked),
        }
    }

    #[inline(never)]
    fn skip_any_text(&mut self, may_be_empty: bool, unpacked: bool) -> Result<u64> {
        match self.length_or_form()? {
            Length::Plain(size) => {
                self.skip(size)?;
                Ok(size)
            }
            Length::Integer(width) => {
                self.skip(u64::from(width))?;
                Ok(1)
            }
            Length::Packed => self.skip_packed(may_be_empty, unpacked),
            Length::Unknown(form) => unknown_form(form),
        }
    }

    /// Passes over a string; gives the bytes that a client would see of it.
    pub fn text_size(&mut self, may_be_empty: bool, unpacked: bool) -> Result<u64> {
        match self.length_or_form()? {
            Length::Integer(width) => Ok(self.integer(width)?.to_string().len() as u64),
            Length::Plain(size) => self.skip(size).map(|()| size),
            Length::Packed => self.skip_packed(may_be_empty, unpacked),
            Length::Unknown(form) => unknown_form(form),
        }
    }

    /// `size` bytes as they are.
    pub fn short(&mut self, size: u8) -> Result<&[u8]> {
        let range = self.take(usize::from(size))?;
        Ok(self.at(range))
    }

    #[inline(never)]
    fn skip_packed(&mut self, may_be_empty: bool, unpacked: bool) -> Result<u64> {
        let (packed, size) = self.packed_lengths(may_be_empty)?;
        if unpacked {
            self.walk_packed(packed, size)?;
        } else {
            self.skip(packed)?;
        }
        Ok(size)
    }

    /// As `unpack` without the output: references are checked, not followed.
    fn walk_packed(&mut self, packed: u64, size: u64) -> Result<()> {
        let mut walk = lzf::Walk::new(packed, size);
        while !walk.over() {
            let want = walk.wants();
            if self.end - self.pos < want {
                self.fill(want)?;
            }
            let here = self.at(self.pos..self.end);
            match walk.step(here) {
                Ok(used) => self.pos += used,
                Err(stop) => {
                    // An input that ends before the string does is cut, whatever the string is.
                    self.skip(walk.left())?;
                    return Err(stop);
                }
            }
        }
        walk.end()
    }

    fn integer(&mut self, width: u8) -> Result<i64> {
        Ok(match width {
            1 => i64::from(i8::from_le_bytes(self.array()?)),
            2 => i64::from(i16::from_le_bytes(self.array()?)),
            _ => i64::from(i32::from_le_bytes(self.array()?)),
        })
    }

    #[inline(never)]
    fn bytes(&mut self, size: u64) -> Result<Place> {
        match usize::try_from(size) {
            Ok(size) if size <= WINDOW => Ok(Place::Buffer(self.take(size)?)),
            _ => {
                self.gather(size)?;
                Ok(Place::Gathered)
            }
        }
    }

    /// `size` bytes into `gathered`, which grows with what comes.
    fn gather(&mut self, size: u64) -> Result<()> {
        shrink(&mut self.gathered);
        self.gathered.clear();
        let mut left = size;
        while left > 0 {
            if self.pos == self.end {
                self.fill(1)?;
            }
            let here = self.end - self.pos;
            let step = usize::try_from(left).map_or(here, |left| left.min(here));
            let part = self.buf.get(self.pos..self.pos + step).unwrap_or_default();
            // Refused where the bytes came, not where they are only declared.
            check_memory(self.gathered.len() + step, size, self.memory_bytes)?;
            self.gathered.extend_from_slice(part);
            self.pos += step;
            left -= step as u64;
        }
        Ok(())
    }

    fn unpack(&mut self, may_be_empty: bool) -> Result<usize> {
        let (packed, size) = self.packed_lengths(may_be_empty)?;
        shrink(&mut self.unpacked);
        let place = self.bytes(packed)?;
        // Both forms are held at once.
        let packed_bytes = match &place {
            Place::Buffer(_) => 0,
            _ => self.gathered.len(),
        };
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        check_memory(bytes.saturating_add(packed_bytes), size, self.memory_bytes)?;
        let packed = match place {
            Place::Buffer(range) => self.buf.get(range).unwrap_or_default(),
            _ => &self.gathered,
        };
        lzf::unpack(packed, size, &mut self.unpacked).map(<[u8]>::len)
    }

    // The end

    /// True where nothing follows the position.
    pub fn at_end(&mut self) -> Result<bool> {
        Ok(self.pos == self.end && !self.refill()?)
    }

    /// CRC-64 of everything before the position.
    pub fn crc(&self) -> u64 {
        let mut crc = self.crc;
        if let Some(rest) = self.buf.get(self.summed..self.pos) {
            crc.update(rest);
        }
        crc.finalize()
    }

    /// Reads all that is left: the CRC of all but the last 8 bytes, and the last 9 bytes.
    ///
    /// After an error in the middle this tells a damaged file from one that was written so.
    pub fn drain(&mut self) -> Result<(u64, Vec<u8>)> {
        loop {
            self.pos = self.end;
            if !self.refill()? {
                break;
            }
        }
        let body = self.end.saturating_sub(8);
        let mut crc = self.crc;
        if let Some(rest) = self.buf.get(self.summed..body) {
            crc.update(rest);
        }
        let last = self.at(self.end.saturating_sub(9)..self.end).to_vec();
        Ok((crc.finalize(), last))
    }
}

/// That a value of `size` bytes, of which `now` are held, stays within the limit.
fn check_memory(now: usize, size: u64, limit: u64) -> Result<()> {
    if now as u64 <= limit {
        return Ok(());
    }
    Err(Stop::fault(
        Status::Unreadable,
        format!(
            "one value of {size} bytes needs more memory than the limit of {} MiB",
            limit >> 20
        ),
    ))
}

/// Gives back what one great value took.
fn shrink(bytes: &mut Vec<u8>) {
    const KEEP: usize = 1 << 20;
    if bytes.capacity() > KEEP {
        bytes.truncate(KEEP);
        bytes.shrink_to(KEEP);
    }
}

#[cold]
fn unknown_form<T>(form: u8) -> Result<T> {
    corrupt(format!("a string has the unknown encoding {form}"))
}

#[cold]
/// What a broken container makes of the reading.
pub fn broken(broken: Broken) -> Stop {
    let (status, reason) = match broken {
        Broken::Source(error) => return Stop(Box::new(Why::Source(error))),
        Broken::Truncated(name) => (
            Status::Truncated,
            format!("the {name} data ends before its trailer"),
        ),
        Broken::Checksum(name) => (
            Status::ChecksumMismatch,
            format!("the {name} checksum or length is wrong"),
        ),
        Broken::Corrupt(name) => (Status::Corrupt, format!("the {name} data is broken")),
        Broken::Unsupported(name) => (
            Status::UnsupportedVersion,
            format!("the {name} data needs a dictionary, filter or check that is not known here"),
        ),
        Broken::Memory(name) => (
            Status::Unreadable,
            format!("the {name} data needs a window of more than 128 MiB to be unpacked"),
        ),
    };
    Stop(Box::new(Why::Container(Fault {
        status,
        reason: reason.into(),
    })))
}
