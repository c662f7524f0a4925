//! One LZ4 frame: header, blocks, end mark, and the xxHash-32 sums over each (LZ4 frame format 1.6).
//!
//! Knows: the frame. The blocks are decoded by the library; its own frame reader takes an empty
//! block, or an end of input between two blocks, for the end of the frame.

use std::hash::Hasher;

use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::{Fault, Step, Then};

/// How far back a block that is linked to those before it may reach.
const WINDOW_BYTES: usize = 64 << 10;
/// Room for several small blocks, so that the window is seldom moved.
const LEAST_ROOM_BYTES: usize = 256 << 10;
/// Magic, flags, block size.
const OPENING_BYTES: usize = 6;
const SUM_BYTES: usize = 4;
/// The flag of a block that is stored as it is; the other bits are its length.
const STORED: u32 = 1 << 31;

/// What comes next in the frame.
#[derive(Clone, Copy)]
enum Item {
    /// Magic, flags, block size.
    Opening,
    /// The rest of the header: content size and dictionary where the flags say so, and its sum.
    Header,
    BlockLength,
    Block {
        bytes: usize,
        stored: bool,
    },
    ContentSum,
}

/// What the header says.
#[derive(Clone, Copy, Default)]
struct Layout {
    flags: u8,
    block_code: u8,
    content_bytes: Option<u64>,
}

impl Layout {
    const fn linked(self) -> bool {
        self.flags & 0x20 == 0
    }

    const fn block_sums(self) -> bool {
        self.flags & 0x10 != 0
    }

    const fn sized(self) -> bool {
        self.flags & 0x08 != 0
    }

    const fn content_sum(self) -> bool {
        self.flags & 0x04 != 0
    }

    const fn dictionary(self) -> bool {
        self.flags & 0x01 != 0
    }

    /// Version 01, no reserved bit, one of four block sizes, and no dictionary: we have none.
    const fn supported(self) -> bool {
        self.flags & 0xc2 == 0x40
            && matches!(self.block_code, 0x40 | 0x50 | 0x60 | 0x70)
            && !self.dictionary()
    }

    /// 64 KiB, 256 KiB, 1 MiB or 4 MiB; a code beyond that never gets as far as a block.
    const fn block_bytes(self) -> usize {
        match self.block_code {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            _ => 4 << 20,
        }
    }
}

pub(super) struct Frame {
    item: Item,
    /// The beginning of an item that lies in more than one piece of input.
    held: Vec<u8>,
    layout: Layout,
    /// Decoded: up to `from` handed out (and the window of what follows), up to `to` not yet.
    out: Vec<u8>,
    from: usize,
    to: usize,
    sum: XxHash32,
    content_bytes: u64,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            item: Item::Opening,
            held: Vec::new(),
            layout: Layout::default(),
            out: Vec::new(),
            from: 0,
            to: 0,
            sum: XxHash32::with_seed(0),
            content_bytes: 0,
        }
    }

    /// Begins a further frame; the buffers stay.
    pub(super) fn again(&mut self) {
        *self = Self {
            held: std::mem::take(&mut self.held),
            out: std::mem::take(&mut self.out),
            ..Self::new()
        };
    }

    pub(super) fn step(&mut self, input: &[u8], into: &mut [u8]) -> Step {
        if self.from < self.to {
            let given = self.hand_out(into);
            return Step {
                taken: 0,
                given,
                then: Then::More,
            };
        }
        let wanted = self.wanted_bytes();
        // A whole item is used where it lies; else it is put together. A length alone never makes
        // room: `held` grows with what has come, up to one block.
        let (taken, then) = if self.held.is_empty()
            && let Some(whole) = input.get(..wanted)
        {
            (wanted, self.accept(whole))
        } else {
            let taken = input.len().min(wanted.saturating_sub(self.held.len()));
            self.held
                .extend_from_slice(input.get(..taken).unwrap_or_default());
            if self.held.len() < wanted {
                (taken, Ok(Then::More))
            } else {
                let mut whole = std::mem::take(&mut self.held);
                let then = self.accept(&whole);
                whole.clear();
                self.held = whole;
                (taken, then)
            }
        };
        Step {
            taken,
            given: self.hand_out(into),
            then: then.unwrap_or_else(Then::Fault),
        }
    }

    const fn wanted_bytes(&self) -> usize {
        let sum = if self.layout.block_sums() {
            SUM_BYTES
        } else {
            0
        };
        match self.item {
            Item::Opening => OPENING_BYTES,
            Item::Header => {
                let size = if self.layout.sized() { 8 } else { 0 };
                let dictionary = if self.layout.dictionary() { 4 } else { 0 };
                size + dictionary + 1
            }
            Item::BlockLength | Item::ContentSum => 4,
            Item::Block { bytes, .. } => bytes + sum,
        }
    }

    /// Takes an item that is whole.
    fn accept(&mut self, whole: &[u8]) -> Result<Then, Fault> {
        match self.item {
            Item::Opening => {
                // The magic has been seen by whoever opened the frame.
                if let &[.., flags, block_code] = whole {
                    self.layout = Layout {
                        flags,
                        block_code,
                        content_bytes: None,
                    };
                }
                self.item = Item::Header;
            }
            Item::Header => self.header(whole)?,
            Item::BlockLength => return self.block_length(number(whole)?),
            Item::Block { stored, bytes } => {
                let (data, sum) = whole.split_at_checked(bytes).ok_or(Fault::Corrupt)?;
                if self.layout.block_sums() && XxHash32::oneshot(0, data) != number(sum)? {
                    return Err(Fault::Checksum);
                }
                self.decode(data, stored)?;
                self.item = Item::BlockLength;
            }
            Item::ContentSum => {
                return if self.sum.finish_32() == number(whole)? {
                    Ok(Then::End)
                } else {
                    Err(Fault::Checksum)
                };
            }
        }
        Ok(Then::More)
    }

    fn header(&mut self, rest: &[u8]) -> Result<(), Fault> {
        let (&sum, fields) = rest.split_last().ok_or(Fault::Corrupt)?;
        let mut hash = XxHash32::with_seed(0);
        hash.write(&[self.layout.flags, self.layout.block_code]);
        hash.write(fields);
        // One byte of the sum stands in the file, the second.
        let [_, computed, ..] = hash.finish_32().to_le_bytes();
        if computed != sum {
            return Err(Fault::Checksum);
        }
        if !self.layout.supported() {
            return Err(Fault::Unsupported);
        }
        if self.layout.sized() {
            self.layout.content_bytes =
                fields.first_chunk().map(|&bytes| u64::from_le_bytes(bytes));
        }
        let room = WINDOW_BYTES + self.layout.block_bytes().max(LEAST_ROOM_BYTES);
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        self.item = Item::BlockLength;
        Ok(())
    }

    fn block_length(&mut self, length: u32) -> Result<Then, Fault> {
        if length == 0 {
            if self
                .layout
                .content_bytes
                .is_some_and(|bytes| bytes != self.content_bytes)
            {
                return Err(Fault::Checksum);
            }
            self.item = Item::ContentSum;
            return Ok(if self.layout.content_sum() {
                Then::More
            } else {
                Then::End
            });
        }
        let stored = length & STORED != 0;
        let bytes = usize::try_from(length & !STORED).map_err(|_| Fault::Corrupt)?;
        if bytes > self.layout.block_bytes() {
            return Err(Fault::Corrupt);
        }
        // A stored block of nothing is odd but legal; without a sum there is nothing to wait for.
        if bytes > 0 || self.layout.block_sums() {
            self.item = Item::Block { bytes, stored };
        }
        Ok(Then::More)
    }

    fn decode(&mut self, data: &[u8], stored: bool) -> Result<(), Fault> {
        let block_bytes = self.layout.block_bytes();
        let kept = if self.layout.linked() {
            self.to.min(WINDOW_BYTES)
        } else {
            0
        };
        if kept == 0 || self.out.len() - self.to < block_bytes {
            self.out.copy_within(self.to - kept..self.to, 0);
            self.to = kept;
        }
        self.from = self.to;
        let (before, room) = self.out.split_at_mut(self.to);
        let room = room.get_mut(..block_bytes).ok_or(Fault::Corrupt)?;
        let window = before.get(before.len() - kept..).unwrap_or_default();
        let decoded = if stored {
            room.get_mut(..data.len())
                .ok_or(Fault::Corrupt)?
                .copy_from_slice(data);
            data.len()
        } else if window.is_empty() {
            decompress_into(data, room).map_err(|_| Fault::Corrupt)?
        } else {
            decompress_into_with_dict(data, room, window).map_err(|_| Fault::Corrupt)?
        };
        if self.layout.content_sum() {
            self.sum.write(room.get(..decoded).unwrap_or_default());
        }
        self.to += decoded;
        self.content_bytes += decoded as u64;
        Ok(())
    }

    fn hand_out(&mut self, into: &mut [u8]) -> usize {
        let ready = self.out.get(self.from..self.to).unwrap_or_default();
        let given = ready.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..given), ready.get(..given)) {
            to.copy_from_slice(from);
        }
        self.from += given;
        given
    }
}

fn number(bytes: &[u8]) -> Result<u32, Fault> {
    bytes
        .first_chunk()
        .map(|&bytes| u32::from_le_bytes(bytes))
        .ok_or(Fault::Corrupt)
}
