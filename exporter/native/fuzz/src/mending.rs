//! Sizes, ends and lengths put right in a mutated blob, so that mutations reach what lies behind.

use crate::blobs::Form;
use crate::oracle::{listpack_entry, ziplist_entry};

const UNKNOWN_COUNT: [u8; 2] = [0xFF; 2];

/// Mutates the blob in `data[..size]`, whose first byte names its form; gives the new size.
pub fn mutate_mended(
    data: &mut [u8],
    size: usize,
    seed: u32,
    mutate: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    let most = data.len();
    let size = mutate(data, size, most);
    if !seed.is_multiple_of(4)
        && let Some((tag, blob)) = data[..size].split_first_mut()
    {
        match Form::of(*tag) {
            Some(Form::Listpack) => listpack(blob, seed),
            Some(Form::Ziplist) => ziplist(blob, seed),
            Some(Form::Intset) => intset(blob),
            Some(Form::Zipmap) => zipmap(blob),
            Some(Form::Lzf) | None => {}
        }
    }
    size
}

fn listpack(blob: &mut [u8], seed: u32) {
    if blob.len() < 7 {
        return;
    }
    total_and_end(blob);
    if !seed.is_multiple_of(8) {
        blob[4..6].copy_from_slice(&UNKNOWN_COUNT);
    }
    let end = blob.len() - 1;
    let mut at = 6;
    while let Some((_, bytes @ 1..128)) = listpack_entry(&blob[at..end])
        && at + bytes < end
    {
        blob[at + bytes] = u8::try_from(bytes).unwrap_or_default();
        at += bytes + 1;
    }
}

fn ziplist(blob: &mut [u8], seed: u32) {
    if blob.len() < 11 {
        return;
    }
    total_and_end(blob);
    if !seed.is_multiple_of(8) {
        blob[8..10].copy_from_slice(&UNKNOWN_COUNT);
    }
    let end = blob.len() - 1;
    let (mut at, mut before) = (10, 0);
    while at < end {
        if blob[at] < 254 && before < 254 {
            blob[at] = u8::try_from(before).unwrap_or_default();
        }
        let tail = u32::try_from(at).unwrap_or_default();
        blob[4..8].copy_from_slice(&tail.to_le_bytes());
        match ziplist_entry(&blob[at..end]) {
            Some((_, _, bytes)) => (at, before) = (at + bytes, bytes),
            None => return,
        }
    }
}

fn intset(blob: &mut [u8]) {
    if blob.len() < 8 {
        return;
    }
    let width = 2 << (blob[0] % 3);
    let count = (blob.len() - 8) / width;
    blob[..4].copy_from_slice(&u32::try_from(width).unwrap_or_default().to_le_bytes());
    blob[4..8].copy_from_slice(&u32::try_from(count).unwrap_or_default().to_le_bytes());
}

fn zipmap(blob: &mut [u8]) {
    if let [declared, .., end] = blob {
        (*declared, *end) = (254, 0xFF);
    }
}

fn total_and_end(blob: &mut [u8]) {
    let total = u32::try_from(blob.len()).unwrap_or_default();
    blob[..4].copy_from_slice(&total.to_le_bytes());
    if let Some(end) = blob.last_mut() {
        *end = 0xFF;
    }
}
