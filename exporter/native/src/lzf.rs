//! LZF, the compression of strings: unpacked with bounds on everything, or only walked.
//!
//! Knows: the two kinds of item (a run of literal bytes, a reference back). Refuses to know: what is
//! packed. Source: `lzf_d.c`.

use crate::fault::{Result, corrupt};

const LITERALS: u8 = 32;
const LONG: u8 = 7;
/// An item's bytes before its literals: a control byte, a length, a distance.
const ITEM: usize = 3;

/// Exactly `size` bytes into the start of `room`, which grows where it must; gives them.
///
/// The caller has seen to it that `size` is no more than what so many packed bytes can make.
pub fn unpack<'a>(packed: &[u8], size: u64, room: &'a mut Vec<u8>) -> Result<&'a [u8]> {
    let Ok(size) = usize::try_from(size) else {
        return wrong();
    };
    if room.len() < size {
        room.resize(size, 0);
    }
    let Some(out) = room.get_mut(..size) else {
        return wrong();
    };
    let mut made = 0;
    let mut rest = packed;
    while let [control, after @ ..] = rest {
        let control = *control;
        if control < LITERALS {
            let run = usize::from(control) + 1;
            // Most are copied with what follows them: a copy of a fixed length is no call.
            if let (Some(from), Some(to)) = (after.first_chunk::<32>(), chunk(out, made)) {
                *to = *from;
                rest = after.get(run..).unwrap_or_default();
            } else {
                let (Some((from, after)), Some(to)) =
                    (after.split_at_checked(run), out.get_mut(made..made + run))
                else {
                    return wrong();
                };
                to.copy_from_slice(from);
                rest = after;
            }
            made += run;
        } else {
            let (length, low, after) = match (control >> 5, after) {
                (LONG, [more, low, after @ ..]) => (usize::from(*more) + 9, *low, after),
                (LONG, _) | (_, []) => return wrong(),
                (short, [low, after @ ..]) => (usize::from(short) + 2, *low, after),
            };
            rest = after;
            let distance = (usize::from(control & 0x1F) << 8 | usize::from(low)) + 1;
            let Some(start) = made.checked_sub(distance) else {
                return corrupt("an LZF string refers to bytes before its start");
            };
            if made + length > size {
                return wrong();
            }
            if distance >= 16 && length <= 16 && made + 16 <= size {
                out.copy_within(start..start + 16, made);
            } else {
                repeat(out, start, made, length);
            }
            made += length;
        }
    }
    if made == size { Ok(out) } else { wrong() }
}

fn chunk<const N: usize>(out: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    out.get_mut(at..)?.first_chunk_mut()
}

/// Copies `length` bytes from `start` to `to`; they may overlap, then they repeat.
fn repeat(out: &mut [u8], start: usize, to: usize, length: usize) {
    let mut done = 0;
    while done < length {
        let step = (length - done).min(to + done - start);
        out.copy_within(start..start + step, to + done);
        done += step;
    }
}

#[cold]
fn wrong<T>() -> Result<T> {
    corrupt("an LZF string does not unpack to its declared length")
}

/// Checks a packed string piece by piece, without making what it stands for.
#[derive(Debug)]
pub struct Walk {
    /// Packed bytes that are still to come.
    left: u64,
    /// Literal bytes among them that need no look.
    literals: u64,
    made: u64,
    size: u64,
}

impl Walk {
    /// `packed` bytes that should make `size`.
    #[must_use]
    pub fn new(packed: u64, size: u64) -> Self {
        Self {
            left: packed,
            literals: 0,
            made: 0,
            size,
        }
    }

    /// Whether all packed bytes were seen.
    #[must_use]
    pub fn over(&self) -> bool {
        self.left == 0
    }

    /// Packed bytes that were not used yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// So many bytes must be at hand for the next step.
    #[must_use]
    pub fn wants(&self) -> usize {
        if self.literals > 0 {
            1
        } else {
            usize::try_from(self.left).map_or(ITEM, |left| left.min(ITEM))
        }
    }

    /// Looks at the bytes `here`, of which some may lie behind the end; gives how many it used.
    pub fn step(&mut self, here: &[u8]) -> Result<usize> {
        let here = match usize::try_from(self.left) {
            Ok(left) => here.get(..left).unwrap_or(here),
            Err(_) => here,
        };
        let whole = here.len() as u64 == self.left;
        // A reference that is cut by the end of the buffer is left for the next step.
        let stop = if whole {
            here.len()
        } else {
            here.len().saturating_sub(ITEM - 1)
        };
        let mut made = self.made;
        let mut at = usize::try_from(self.literals).map_or(here.len(), |run| run.min(here.len()));
        self.literals -= at as u64;
        while at < stop {
            let Some(control) = here.get(at) else {
                return wrong();
            };
            let control = *control;
            if control < LITERALS {
                let run = usize::from(control) + 1;
                at += 1 + run;
                made += run as u64;
            } else {
                at += 1;
                let mut length = u64::from(control >> 5) + 2;
                if control >> 5 == LONG {
                    let Some(more) = here.get(at) else {
                        return wrong();
                    };
                    length += u64::from(*more);
                    at += 1;
                }
                let Some(low) = here.get(at) else {
                    return wrong();
                };
                at += 1;
                if (u64::from(control & 0x1F) << 8 | u64::from(*low)) >= made {
                    // What was wrong first counts, however the bytes came.
                    if made > self.size {
                        return wrong();
                    }
                    return corrupt("an LZF string refers to bytes before its start");
                }
                made += length;
            }
        }
        self.made = made;
        if at > here.len() {
            if whole {
                return wrong();
            }
            self.literals = (at - here.len()) as u64;
            at = here.len();
        }
        if made > self.size {
            return wrong();
        }
        self.left -= at as u64;
        Ok(at)
    }

    /// That it made exactly what was declared.
    pub fn end(&self) -> Result<()> {
        if self.literals == 0 && self.made == self.size {
            Ok(())
        } else {
            wrong()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(packed: &[u8], size: u64, piece: usize) -> bool {
        let mut walk = Walk::new(packed.len() as u64, size);
        let mut at = 0;
        while !walk.over() {
            let least = walk.wants().max(piece);
            let here = &packed[at..packed.len().min(at + least)];
            match walk.step(here) {
                Ok(used) => at += used,
                Err(_) => return false,
            }
        }
        walk.end().is_ok()
    }

    #[test]
    fn known_strings() {
        let mut out = Vec::new();
        let made = unpack(&[0, b'a', 0xE0, 0, 0], 10, &mut out).unwrap();
        assert_eq!(made, b"aaaaaaaaaa");
        let made = unpack(&[2, b'a', b'b', b'c', 0x60, 2], 8, &mut out).unwrap();
        assert_eq!(made, b"abcabcab");
        for packed in [
            &[0u8][..],
            &[0x20],
            &[0x20, 0],
            &[0xE0, 1],
            &[0, b'a', 0x20, 1],
        ] {
            for size in 0..4 {
                assert!(unpack(packed, size, &mut out).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn walking_and_unpacking_agree(
            packed in prop::collection::vec(prop_oneof![0u8..6, any::<u8>()], 0..60),
            off in -1i64..2,
            piece in 1usize..40,
        ) {
            let mut out = Vec::new();
            // The size that it would make, if it makes any.
            let made = (0..4000u64).find(|size| unpack(&packed, *size, &mut out).is_ok());
            let size = made.unwrap_or(10).saturating_add_signed(off);
            prop_assert_eq!(unpack(&packed, size, &mut out).is_ok(), walk(&packed, size, piece));
        }
    }
}
