//! Listpacks, the small encoding of collections and stream nodes since Redis 7.0.
//!
//! Knows: what `lpValidateIntegrity` checks, and is as strict: a server that does not look loads a
//! broken one and dies at the first HGETALL. Refuses to know: what the entries are for.

use crate::fault::{Result, corrupt};
use crate::text::{Entries, Text};

const UNKNOWN_COUNT: u16 = u16::MAX;
const END: u8 = 0xFF;

/// A listpack whose entries are taken one after another.
#[derive(Clone, Copy)]
pub struct Listpack<'a> {
    rest: &'a [u8],
    taken: u64,
    declared: u16,
}

impl<'a> Listpack<'a> {
    /// Looks at the header and the end.
    pub fn open(blob: &'a [u8]) -> Result<Self> {
        if let Some((size, tail)) = blob.split_first_chunk()
            && u32::from_le_bytes(*size) as usize == blob.len()
            && let [low, high, rest @ .., END] = tail
        {
            return Ok(Self {
                rest,
                taken: 0,
                declared: u16::from_le_bytes([*low, *high]),
            });
        }
        corrupt("a listpack's size or end is wrong")
    }

    fn end(&self) -> Result<Option<Text<'a>>> {
        if self.declared == UNKNOWN_COUNT || u64::from(self.declared) == self.taken {
            return Ok(None);
        }
        corrupt("a listpack's entry count is wrong")
    }

    #[inline(never)]
    fn next_any(&mut self) -> Result<Option<Text<'a>>> {
        let (text, length) = entry(self.rest)?;
        self.rest = back_length(self.rest, length)?;
        Ok(Some(text))
    }
}

impl<'a> Entries<'a> for Listpack<'a> {
    /// The count must hold at the end, each back length on the way.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<Text<'a>>> {
        let Some((head, after)) = self.rest.split_first() else {
            return self.end();
        };
        self.taken += 1;
        // The common forms with the back length that they must have, in one look.
        match *head {
            0..0x80 => {
                if let [1, rest @ ..] = after {
                    self.rest = rest;
                    return Ok(Some(Text::Integer(i64::from(*head))));
                }
            }
            0x80..0xC0 => {
                let size = usize::from(head & 0x3F);
                if let Some((text, [back, rest @ ..])) = after.split_at_checked(size)
                    && usize::from(*back) == size + 1
                {
                    self.rest = rest;
                    return Ok(Some(Text::Bytes(text)));
                }
            }
            0xC0..0xE0 => {
                if let [low, 2, rest @ ..] = after {
                    self.rest = rest;
                    return Ok(Some(Text::Integer(thirteen_bits(*head, *low))));
                }
            }
            0xE0..=0xEF => {
                if let [low, after @ ..] = after
                    && let size = usize::from(head & 0x0F) << 8 | usize::from(*low)
                    && let Some((text, [high, low, rest @ ..])) = after.split_at_checked(size)
                    && size >= 126
                    && usize::from(*high) == (size + 2) >> 7
                    && usize::from(*low) == (size + 2) & 0x7F | 0x80
                {
                    self.rest = rest;
                    return Ok(Some(Text::Bytes(text)));
                }
            }
            0xF1 => {
                if let [a, b, 3, rest @ ..] = after {
                    self.rest = rest;
                    let value = i16::from_le_bytes([*a, *b]);
                    return Ok(Some(Text::Integer(i64::from(value))));
                }
            }
            0xF2 => {
                if let [a, b, c, 4, rest @ ..] = after {
                    self.rest = rest;
                    let value = i32::from_le_bytes([0, *a, *b, *c]) >> 8;
                    return Ok(Some(Text::Integer(i64::from(value))));
                }
            }
            _ => {}
        }
        self.next_any()
    }

    /// Without a branch on the form, which is not to be foreseen.
    #[inline(always)]
    fn pass(&mut self) -> Result<bool> {
        let Some((head, after)) = self.rest.split_first() else {
            return self.end().map(|_| false);
        };
        self.taken += 1;
        let length = LENGTHS.get(usize::from(*head)).copied().unwrap_or(0);
        if let Some((back, rest)) = after
            .get(usize::from(length.wrapping_sub(1))..)
            .and_then(<[u8]>::split_first)
            && *back == length
            && length > 0
        {
            self.rest = rest;
            return Ok(true);
        }
        self.next_any().map(|_| true)
    }
}

/// Bytes of an entry without its back length, by its first byte; 0 where that does not tell.
const LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut head = 0;
    while head < 0xC0 {
        lengths[head] = if head < 0x80 {
            1
        } else {
            (head & 0x3F) as u8 + 1
        };
        head += 1;
    }
    while head < 0xE0 {
        lengths[head] = 2;
        head += 1;
    }
    lengths[0xF1] = 3;
    lengths[0xF2] = 4;
    lengths[0xF3] = 5;
    lengths[0xF4] = 9;
    lengths
};

/// The entry at the start of `rest`, and its bytes without the back length.
#[inline]
fn entry(rest: &[u8]) -> Result<(Text<'_>, usize)> {
    let Some((head, after)) = rest.split_first() else {
        return beyond();
    };
    let head = *head;
    match head {
        0..0x80 => Ok((Text::Integer(i64::from(head)), 1)),
        0x80..0xC0 => string(after, usize::from(head & 0x3F), 1),
        0xC0..0xE0 => match after {
            [low, ..] => Ok((Text::Integer(thirteen_bits(head, *low)), 2)),
            [] => beyond(),
        },
        0xE0..0xF0 => match after {
            [low, after @ ..] => {
                string(after, usize::from(head & 0x0F) << 8 | usize::from(*low), 2)
            }
            [] => beyond(),
        },
        0xF0 => match after.split_first_chunk() {
            Some((size, after)) => string(after, u32::from_le_bytes(*size) as usize, 5),
            None => beyond(),
        },
        0xF1 => match after.first_chunk() {
            Some(raw) => Ok((Text::Integer(i64::from(i16::from_le_bytes(*raw))), 3)),
            None => beyond(),
        },
        0xF2 => match after {
            [a, b, c, ..] => {
                let value = i32::from_le_bytes([0, *a, *b, *c]) >> 8;
                Ok((Text::Integer(i64::from(value)), 4))
            }
            _ => beyond(),
        },
        0xF3 => match after.first_chunk() {
            Some(raw) => Ok((Text::Integer(i64::from(i32::from_le_bytes(*raw))), 5)),
            None => beyond(),
        },
        0xF4 => match after.first_chunk() {
            Some(raw) => Ok((Text::Integer(i64::from_le_bytes(*raw)), 9)),
            None => beyond(),
        },
        _ => corrupt(format!(
            "a listpack entry has the unknown encoding 0x{head:02x}"
        )),
    }
}

#[inline]
fn thirteen_bits(head: u8, low: u8) -> i64 {
    let value = i64::from(head & 0x1F) << 8 | i64::from(low);
    if value > 0xFFF { value - 0x2000 } else { value }
}

#[inline]
fn string(after: &[u8], size: usize, header: usize) -> Result<(Text<'_>, usize)> {
    match after.get(..size) {
        Some(bytes) => Ok((Text::Bytes(bytes), header + size)),
        None => beyond(),
    }
}

/// What follows the entry of `length` bytes and its back length.
#[inline]
fn back_length(rest: &[u8], length: usize) -> Result<&[u8]> {
    let back = rest.get(length..).unwrap_or_default();
    if length < 128 {
        return match back.split_first() {
            Some((byte, after)) if usize::from(*byte) == length => Ok(after),
            Some(_) => wrong(),
            None => beyond(),
        };
    }
    long_back_length(back, length)
}

/// 7 bits a byte, most significant first, all but the first marked: it is read from its end.
///
/// Redis (all versions) and Valkey up to 8.1 write one byte more than 2^14-1, 2^21-1 and 2^28-1
/// need: their encoder compares with "less than". Valkey 9 writes the short form.
fn long_back_length(back: &[u8], length: usize) -> Result<&[u8]> {
    let bytes = match length {
        0..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    };
    let has = |count: usize| {
        back.get(..count).is_some_and(|found| {
            found.iter().enumerate().all(|(at, byte)| {
                let mark = if at == 0 { 0 } else { 0x80 };
                let bits = u32::try_from(7 * (count - 1 - at)).unwrap_or(u32::MAX);
                let part = length.checked_shr(bits).unwrap_or(0) & 0x7F;
                usize::from(*byte) == part | mark
            })
        })
    };
    let writers_differ = matches!(length, 0x3FFF | 0x1F_FFFF | 0xFFF_FFFF);
    let found = if has(bytes) {
        bytes
    } else if writers_differ && has(bytes + 1) {
        bytes + 1
    } else {
        return wrong();
    };
    Ok(back.get(found..).unwrap_or_default())
}

#[cold]
fn beyond<T>() -> Result<T> {
    corrupt("a listpack entry reaches beyond the end")
}

#[cold]
fn wrong<T>() -> Result<T> {
    corrupt("a listpack entry's back length is wrong")
}
