//! Compressed bytes: one answer however they come, and what the libraries' own readers make of them.

use std::io::Read;

use native::container::{Blocks, Broken};

use crate::pieces::Pieces;
use crate::properties::hold_of_any_bytes;

/// A few bytes can stand for gigabytes; so many of them are looked at.
const MOST_BYTES: usize = 1 << 20;
const INTO_BYTES: usize = 64 << 10;

/// How the bytes ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Whole { trailing: bool },
    Broken(String),
    TooMany,
}

/// Unpacks `data` in pieces of every size; then what is true of any RDB must be true of it too.
pub fn one_answer(data: &[u8]) {
    let (bytes, compression, end) = unpacked(data, usize::MAX);
    for size in [1, 7, 4096] {
        if size >= data.len() {
            continue;
        }
        let (again, name, other) = unpacked(data, size);
        assert_eq!(
            (name, &other),
            (compression, &end),
            "{size} bytes at a time"
        );
        if matches!(end, End::Whole { .. }) {
            assert!(again == bytes, "other bytes, read {size} at a time");
        }
    }
    if (End::Whole { trailing: false }) == end {
        library_agrees(data, compression, &bytes);
    }
    if end != End::TooMany {
        hold_of_any_bytes(data);
    }
}

fn unpacked(data: &[u8], size: usize) -> (Vec<u8>, Option<&'static str>, End) {
    let mut bytes = Vec::new();
    let mut blocks = match Blocks::open(Pieces::new(data, size), size.min(INTO_BYTES)) {
        Ok(blocks) => blocks,
        Err(broken) => return (bytes, None, ended(&broken)),
    };
    let name = blocks.compression();
    let mut into = vec![0; INTO_BYTES];
    let end = loop {
        match blocks.read(&mut into) {
            Ok(0) => {
                let trailing = blocks.trailing();
                assert!(
                    matches!(blocks.read(&mut into), Ok(0)),
                    "the end did not last"
                );
                break End::Whole { trailing };
            }
            Ok(given) => bytes.extend_from_slice(&into[..given]),
            Err(broken) => break ended(&broken),
        }
        if bytes.len() > MOST_BYTES {
            break End::TooMany;
        }
    };
    (bytes, name, end)
}

fn ended(broken: &Broken) -> End {
    assert!(
        !matches!(broken, Broken::Source(_)),
        "the source has no errors"
    );
    End::Broken(broken.to_string())
}

/// What is whole here is whole there too, with the same bytes.
fn library_agrees(data: &[u8], compression: Option<&str>, bytes: &[u8]) {
    let mut theirs = Vec::new();
    let read = match compression {
        None => {
            theirs.extend_from_slice(data);
            Ok(0)
        }
        Some("gzip") => flate2::bufread::MultiGzDecoder::new(data).read_to_end(&mut theirs),
        Some("bzip2") => bzip2::bufread::MultiBzDecoder::new(data).read_to_end(&mut theirs),
        Some("xz") => liblzma::bufread::XzDecoder::new_multi_decoder(data).read_to_end(&mut theirs),
        Some("zstd") => match zstd::stream::read::Decoder::with_buffer(data) {
            Ok(mut decoder) => decoder.read_to_end(&mut theirs),
            Err(error) => Err(error),
        },
        // The library's reader of frames has gaps that are known.
        Some(_) => return,
    };
    // Given a frame whole, this library refuses a packed block of 0 bytes; piece by piece it does
    // not, and such a block holds nothing.
    if compression == Some("zstd") && read.is_err() && bytes.is_empty() {
        return;
    }
    assert!(read.is_ok(), "{compression:?}: {read:?}");
    assert!(theirs == bytes, "{compression:?}: other bytes");
}
