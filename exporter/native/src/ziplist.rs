//! The small encodings before listpacks: ziplists, intsets and zipmaps.
//!
//! Knows: what servers and their check tools validate in them. Refuses to know: what the entries
//! are for. Sources: `ziplist.c`, `intset.c`, `zipmap.c`.

use crate::fault::{Result, corrupt};
use crate::text::{Entries, Text};

const HEADER: usize = 10;
const UNKNOWN_COUNT: u16 = u16::MAX;
const END: u8 = 0xFF;
const BIG_PREVIOUS: u8 = 254;

/// A ziplist whose entries are taken one after another.
///
/// An entry's previous length may be stored in 5 bytes where 1 would do.
#[derive(Clone, Copy)]
pub struct Ziplist<'a> {
    rest: &'a [u8],
    taken: u64,
    /// Bytes of the last entry.
    previous: usize,
    /// Where that began.
    tail: usize,
    /// Where the next one begins.
    at: usize,
    declared_tail: usize,
    declared: u16,
}

impl<'a> Ziplist<'a> {
    /// Looks at the header and the end.
    pub fn open(blob: &'a [u8]) -> Result<Self> {
        if let Some((size, after)) = blob.split_first_chunk()
            && u32::from_le_bytes(*size) as usize == blob.len()
            && let Some((tail, [low, high, rest @ .., END])) = after.split_first_chunk()
        {
            return Ok(Self {
                rest,
                taken: 0,
                previous: 0,
                tail: HEADER,
                at: HEADER,
                declared_tail: u32::from_le_bytes(*tail) as usize,
                declared: u16::from_le_bytes([*low, *high]),
            });
        }
        corrupt("a ziplist's size or end is wrong")
    }

    fn end(&self) -> Result<Option<Text<'a>>> {
        if self.declared_tail != self.tail {
            return corrupt("a ziplist's tail offset is wrong");
        }
        if self.declared != UNKNOWN_COUNT && u64::from(self.declared) != self.taken {
            return corrupt("a ziplist's entry count is wrong");
        }
        Ok(None)
    }
}

impl<'a> Entries<'a> for Ziplist<'a> {
    /// Tail and count must hold at the end, each previous length on the way.
    #[inline]
    fn next(&mut self) -> Result<Option<Text<'a>>> {
        if self.rest.is_empty() {
            return self.end();
        }
        let (claimed, after) = previous_length(self.rest)?;
        if claimed != self.previous {
            return corrupt("a ziplist entry's previous length is wrong");
        }
        let (text, after) = entry(after)?;
        self.previous = self.rest.len() - after.len();
        self.tail = self.at;
        self.at += self.previous;
        self.rest = after;
        self.taken += 1;
        Ok(Some(text))
    }
}

#[inline]
fn previous_length(rest: &[u8]) -> Result<(usize, &[u8])> {
    match rest {
        [BIG_PREVIOUS, a, b, c, d, after @ ..] => {
            Ok((u32::from_le_bytes([*a, *b, *c, *d]) as usize, after))
        }
        [END | BIG_PREVIOUS, ..] => corrupt("a ziplist entry's previous length is wrong"),
        [short, after @ ..] => Ok((usize::from(*short), after)),
        [] => beyond(),
    }
}

#[inline]
fn entry(rest: &[u8]) -> Result<(Text<'_>, &[u8])> {
    let Some((head, after)) = rest.split_first() else {
        return beyond();
    };
    match (*head, after) {
        (0..0x40, _) => string(after, usize::from(*head)),
        (0x40..0x80, [low, after @ ..]) => {
            string(after, usize::from(head & 0x3F) << 8 | usize::from(*low))
        }
        (0x80..0xC0, [a, b, c, d, after @ ..]) => {
            string(after, u32::from_be_bytes([*a, *b, *c, *d]) as usize)
        }
        (0xC0, [a, b, after @ ..]) => Ok((
            Text::Integer(i64::from(i16::from_le_bytes([*a, *b]))),
            after,
        )),
        (0xD0, [a, b, c, d, after @ ..]) => {
            let value = i32::from_le_bytes([*a, *b, *c, *d]);
            Ok((Text::Integer(i64::from(value)), after))
        }
        (0xE0, _) => match after.split_first_chunk() {
            Some((raw, after)) => Ok((Text::Integer(i64::from_le_bytes(*raw)), after)),
            None => beyond(),
        },
        (0xF0, [a, b, c, after @ ..]) => {
            let value = i32::from_le_bytes([0, *a, *b, *c]) >> 8;
            Ok((Text::Integer(i64::from(value)), after))
        }
        (0xFE, [byte, after @ ..]) => {
            Ok((Text::Integer(i64::from(i8::from_le_bytes([*byte]))), after))
        }
        (0xF1..=0xFD, _) => Ok((Text::Integer(i64::from(head - 0xF1)), after)),
        (0x40..=0xC0 | 0xD0 | 0xF0 | 0xFE, _) => beyond(),
        _ => corrupt(format!(
            "a ziplist entry has the unknown encoding 0x{head:02x}"
        )),
    }
}

#[inline]
fn string(after: &[u8], size: usize) -> Result<(Text<'_>, &[u8])> {
    match after.split_at_checked(size) {
        Some((bytes, after)) => Ok((Text::Bytes(bytes), after)),
        None => beyond(),
    }
}

#[cold]
fn beyond<T>() -> Result<T> {
    corrupt("a ziplist entry reaches beyond the end")
}

/// An intset's numbers must ascend: a set is searched by halves, so others deny members.
pub fn intset(blob: &[u8]) -> Result<()> {
    let (Some((width, rest)), true) = (blob.split_first_chunk(), blob.len() >= 8) else {
        return corrupt("an intset's width or length is wrong");
    };
    let Some((count, numbers)) = rest.split_first_chunk() else {
        return corrupt("an intset's width or length is wrong");
    };
    let width = u32::from_le_bytes(*width);
    let count = u64::from(u32::from_le_bytes(*count));
    if !matches!(width, 2 | 4 | 8) || numbers.len() as u64 != count * u64::from(width) {
        return corrupt("an intset's width or length is wrong");
    }
    if count == 0 {
        return corrupt("an intset is empty");
    }
    let ascends = match width {
        2 => ascend(numbers, |raw| i64::from(i16::from_le_bytes(raw))),
        4 => ascend(numbers, |raw| i64::from(i32::from_le_bytes(raw))),
        _ => ascend(numbers, i64::from_le_bytes),
    };
    if ascends {
        Ok(())
    } else {
        corrupt("an intset does not ascend")
    }
}

fn ascend<const N: usize>(numbers: &[u8], value: impl Fn([u8; N]) -> i64) -> bool {
    let (chunks, _) = numbers.as_chunks::<N>();
    chunks
        .iter()
        .map(|raw| value(*raw))
        .is_sorted_by(|a, b| a < b)
}

/// Calls `visit` with each field; end, bounds and count (where there is one) must hold.
pub fn zipmap<'a>(blob: &'a [u8], mut visit: impl FnMut(Text<'a>) -> Result<()>) -> Result<()> {
    let [declared, pairs @ .., END] = blob else {
        return corrupt("a zipmap has no end");
    };
    let mut rest = pairs;
    let mut count: u64 = 0;
    while !rest.is_empty() {
        let (size, after) = zipmap_length(rest)?;
        let Some((field, after)) = after.split_at_checked(size) else {
            return zipmap_beyond();
        };
        if after.is_empty() {
            return corrupt("a zipmap's last field has no value");
        }
        let (size, after) = zipmap_length(after)?;
        // A byte says how many unused ones follow the value.
        let Some((spare, after)) = after.split_first() else {
            return zipmap_beyond();
        };
        let Some(after) = after.get(size.saturating_add(usize::from(*spare))..) else {
            return zipmap_beyond();
        };
        rest = after;
        visit(Text::Bytes(field))?;
        count += 1;
    }
    if count == 0 {
        return corrupt("a zipmap is empty");
    }
    // 254 says that there are too many to tell.
    if *declared != BIG_PREVIOUS && u64::from(*declared) != count {
        return corrupt("a zipmap's count is wrong");
    }
    Ok(())
}

fn zipmap_length(rest: &[u8]) -> Result<(usize, &[u8])> {
    match rest {
        [254, a, b, c, d, after @ ..] => Ok((u32::from_le_bytes([*a, *b, *c, *d]) as usize, after)),
        [254, ..] | [] => zipmap_beyond(),
        [255, ..] => corrupt("a zipmap ends early"),
        [short, after @ ..] => Ok((usize::from(*short), after)),
    }
}

#[cold]
fn zipmap_beyond<T>() -> Result<T> {
    corrupt("a zipmap entry reaches beyond the end")
}
