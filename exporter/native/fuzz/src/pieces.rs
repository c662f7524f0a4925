//! A source that gives its bytes in pieces, as pipes and slow disks do.

use std::io::{self, Read};

/// At most `size` bytes a read.
pub struct Pieces<'a> {
    left: &'a [u8],
    size: usize,
}

impl<'a> Pieces<'a> {
    /// Of `bytes`; `usize::MAX`: as many as the reader asks for.
    #[must_use]
    pub fn new(bytes: &'a [u8], size: usize) -> Self {
        Self { left: bytes, size }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.size.min(into.len()).min(self.left.len());
        let (now, later) = self.left.split_at(count);
        into[..count].copy_from_slice(now);
        self.left = later;
        Ok(count)
    }
}
