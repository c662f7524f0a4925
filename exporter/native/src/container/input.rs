//! The stored bytes: a block of them at a time, looked at before they are used up.
//!
//! Knows: one source, one buffer. Refuses to know: what the bytes mean.

use std::io::{self, ErrorKind, Read};

/// Longer than anything that is looked at in one piece.
const LEAST_BLOCK_BYTES: usize = 64;

pub(super) struct Input<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
    end: usize,
    /// The most to read at once.
    most: usize,
    /// The source said that there is no more.
    over: bool,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R, block_bytes: usize) -> Self {
        let block = vec![0; block_bytes.max(LEAST_BLOCK_BYTES)];
        Self {
            source,
            block,
            at: 0,
            end: 0,
            most: usize::MAX,
            over: false,
        }
    }

    /// From now on reads no more than `bytes` at once.
    pub(super) const fn at_most(&mut self, bytes: usize) {
        self.most = bytes;
    }

    /// The bytes at hand, or else the next block; empty only at the end.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        if self.at == self.end {
            self.gather(1)
        } else {
            Ok(self.at_hand())
        }
    }

    /// At least `bytes` (no more than the least block), fewer only at the end.
    pub(super) fn gather(&mut self, bytes: usize) -> io::Result<&[u8]> {
        while self.end - self.at < bytes && !self.over {
            self.block.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
            let room = self.block.get_mut(self.end..).unwrap_or_default();
            let room = room.split_at_mut(self.most.min(room.len())).0;
            let read = pull(&mut self.source, room)?;
            self.over = read == 0;
            self.end += read;
        }
        Ok(self.at_hand())
    }

    /// Marks bytes at hand as used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.at = self.end.min(self.at + bytes);
    }

    /// Uses up `bytes`, however many; false if the end comes first.
    pub(super) fn skip(&mut self, mut bytes: u64) -> io::Result<bool> {
        while bytes > 0 {
            let found = self.fill()?.len();
            if found == 0 {
                return Ok(false);
            }
            let used = usize::try_from(bytes).map_or(found, |bytes| bytes.min(found));
            self.consume(used);
            bytes -= used as u64;
        }
        Ok(true)
    }

    /// Uses up the zero bytes that come next, and tells how many they were.
    pub(super) fn skip_zeros(&mut self) -> io::Result<u64> {
        let mut zeros = 0;
        loop {
            let found = self.fill()?;
            let run = found
                .iter()
                .position(|&byte| byte != 0)
                .unwrap_or(found.len());
            let more = run > 0 && run == found.len();
            self.consume(run);
            zeros += run as u64;
            if !more {
                return Ok(zeros);
            }
        }
    }

    /// Hands on the bytes as they are: first those at hand, then straight from the source.
    pub(super) fn pass(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at < self.end {
            let held = self.at_hand();
            let copied = held.len().min(into.len());
            if let (Some(to), Some(from)) = (into.get_mut(..copied), held.get(..copied)) {
                to.copy_from_slice(from);
            }
            self.consume(copied);
            return Ok(copied);
        }
        // The block has served its purpose; a long read should not carry it along.
        self.block = Vec::new();
        (self.at, self.end) = (0, 0);
        if self.over || into.is_empty() {
            return Ok(0);
        }
        let read = pull(&mut self.source, into)?;
        self.over = read == 0;
        Ok(read)
    }

    fn at_hand(&self) -> &[u8] {
        self.block.get(self.at..self.end).unwrap_or_default()
    }
}

/// Reads once; a signal that came between is no failure.
fn pull<R: Read>(source: &mut R, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(read) => return Ok(read.min(into.len())),
            failed => return failed,
        }
    }
}
