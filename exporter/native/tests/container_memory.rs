//! A small file that unpacks to a gigabyte streams through, in bounded memory.
//!
//! One test in a program of its own: the peak of a process can't be told apart by test.
#![cfg(target_os = "linux")]

mod packing;

use std::io::Write;

use _native::container::Blocks;
use liblzma::stream::{Check, Stream};

const BOMB_BYTES: u64 = 1 << 30;
/// Buffers, tables of the decoders and the small bombs themselves; not a share of what comes out.
const LIMIT_KIB: u64 = 64 << 10;

fn zeros(mut encoder: impl Write, bytes: u64) {
    let piece = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        encoder.write_all(&piece).unwrap();
    }
}

fn bombs() -> [(&'static str, Vec<u8>); 5] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    zeros(&mut gzip, BOMB_BYTES);
    let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
    zstd.include_checksum(true).unwrap();
    zeros(&mut zstd, BOMB_BYTES);
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    zeros(&mut lz4, BOMB_BYTES);
    // These two are slow to make, so one member is made and repeated.
    let stream = Stream::new_easy_encoder(0, Check::Crc64).unwrap();
    let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    zeros(&mut xz, BOMB_BYTES / 8);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(9));
    zeros(&mut bzip2, BOMB_BYTES / 8);
    [
        ("gzip", gzip.finish().unwrap()),
        ("zstd", zstd.finish().unwrap()),
        ("lz4", lz4.finish().unwrap()),
        ("xz", xz.finish().unwrap().repeat(8)),
        ("bzip2", bzip2.finish().unwrap().repeat(8)),
    ]
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_bomb_streams_through_in_bounded_memory() {
    let bombs = bombs();
    for (name, file) in &bombs {
        // Forgets the peak so far (proc(5)): that of the encoders.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak_kib();
        let mut blocks = Blocks::open(file.as_slice(), 256 << 10).unwrap();
        let mut into = vec![0; 256 << 10];
        let mut bytes = 0;
        loop {
            match blocks.read(&mut into).unwrap() {
                0 => break,
                some => bytes += some as u64,
            }
        }
        assert_eq!((blocks.compression(), bytes), (Some(*name), BOMB_BYTES));
        let gained = peak_kib() - before;
        println!(
            "{name}: {} bytes stored, peak {before} KiB + {gained} KiB",
            file.len()
        );
        assert!(gained < LIMIT_KIB, "{name} took {gained} KiB");
    }
}
