//! Compressed files for the tests, made by the real encoders, and a source that misbehaves.
#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use _native::container::{Blocks, Broken};
use liblzma::stream::{Check, Stream};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

/// A way to compress, the name that the reader must give it, and whether its sums cover every byte.
pub struct Packing {
    pub label: &'static str,
    pub name: &'static str,
    pub pack: fn(&[u8]) -> Vec<u8>,
    pub summed: bool,
}

const fn packing(
    label: &'static str,
    name: &'static str,
    summed: bool,
    pack: fn(&[u8]) -> Vec<u8>,
) -> Packing {
    Packing {
        label,
        name,
        pack,
        summed,
    }
}

pub const PACKINGS: [Packing; 16] = [
    packing("gzip", "gzip", true, gzip),
    packing("gzip, every header field", "gzip", true, gzip_headed),
    packing("zstd", "zstd", true, |data| zstd(data, true)),
    packing("zstd, flushed in pieces", "zstd", true, zstd_in_pieces),
    packing("zstd, no sum", "zstd", false, |data| zstd(data, false)),
    packing("zstd, skippable frame in front", "zstd", true, |data| {
        [skippable(b"size table"), zstd(data, true)].concat()
    }),
    packing("lz4", "lz4", true, |data| {
        lz4(data, BlockMode::Linked, true)
    }),
    packing("lz4, independent blocks", "lz4", true, |data| {
        lz4(data, BlockMode::Independent, true)
    }),
    packing("lz4, no sums", "lz4", false, |data| {
        lz4(data, BlockMode::Linked, false)
    }),
    packing("lz4, skippable frames around", "lz4", true, |data| {
        let frame = lz4(data, BlockMode::Linked, true);
        [skippable(b""), skippable(b"ab"), frame, skippable(b"c")].concat()
    }),
    packing("xz", "xz", true, |data| xz(data, Check::Crc64)),
    packing("xz, CRC-32", "xz", true, |data| xz(data, Check::Crc32)),
    packing("xz, SHA-256", "xz", true, |data| xz(data, Check::Sha256)),
    packing("xz, no check", "xz", false, |data| xz(data, Check::None)),
    packing("xz, several blocks", "xz", true, xz_blocks),
    packing("bzip2", "bzip2", true, bzip2),
];

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// With name, comment, extra field, time, and the rare CRC-16 over the header.
fn gzip_headed(data: &[u8]) -> Vec<u8> {
    let mut header =
        b"\x1f\x8b\x08\x1e\x01\x02\x03\x04\x00\x03\x03\x00xyzdump.rdb\0made\0".to_vec();
    let mut crc = flate2::Crc::new();
    crc.update(&header);
    header.extend(&crc.sum().to_le_bytes()[..2]);
    [header, gzip(data)[10..].to_vec()].concat()
}

pub fn zstd(data: &[u8], sum: bool) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.include_checksum(sum).unwrap();
    encoder
        .set_pledged_src_size(Some(data.len() as u64))
        .unwrap();
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd_in_pieces(data: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    for piece in data.chunks(100) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap()
}

pub fn lz4(data: &[u8], mode: BlockMode, sums: bool) -> Vec<u8> {
    let mut info = FrameInfo::new()
        .block_mode(mode)
        .block_size(BlockSize::Max64KB);
    if sums {
        info = info
            .block_checksums(true)
            .content_checksum(true)
            .content_size(Some(data.len() as u64));
    }
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    for piece in data.chunks(300) {
        encoder.write_all(piece).unwrap();
        if data.len() < 4096 {
            encoder.flush().unwrap();
        }
    }
    encoder.finish().unwrap()
}

pub fn xz(data: &[u8], check: Check) -> Vec<u8> {
    let stream = Stream::new_easy_encoder(0, check).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Blocks end where an encoder flushes fully, which only the bare stream can be told.
fn xz_blocks(data: &[u8]) -> Vec<u8> {
    use liblzma::stream::{Action, Status};
    let mut stream = Stream::new_easy_encoder(0, Check::Crc64).unwrap();
    let mut packed = Vec::with_capacity(data.len() + 4096);
    for piece in data.chunks(data.len() / 3 + 1) {
        let begun = stream.total_in();
        loop {
            let done = (stream.total_in() - begun) as usize;
            let status = stream.process_vec(&piece[done..], &mut packed, Action::FullFlush);
            if status.unwrap() == Status::StreamEnd {
                break;
            }
        }
    }
    while stream
        .process_vec(&[], &mut packed, Action::Finish)
        .unwrap()
        != Status::StreamEnd
    {}
    packed
}

pub fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub fn skippable(body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_le_bytes();
    [b"\x53\x2a\x4d\x18".as_slice(), &length, body].concat()
}

/// What `command` makes of `data`; None where it is not installed, which is said aloud.
pub fn packed_by(command: &str, data: &[u8]) -> Option<Vec<u8>> {
    let mut words = command.split(' ');
    let mut child = match Command::new(words.next().unwrap())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("not tried: {command}: {error}");
            return None;
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command}");
    Some(output.stdout)
}

/// Looks like a dump and compresses by about half: every length and match form comes up.
pub fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 88172645463325252_u64;
    let mut data = b"REDIS0011".to_vec();
    while data.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_le_bytes()[..(state % 7 + 1) as usize]);
        data.extend_from_slice(b"user:profile"[..(state >> 32) as usize % 13].as_ref());
    }
    data.truncate(bytes);
    data
}

/// Bytes that come in pieces, each after an interrupted read if so wished, with one failure.
pub struct Pieces<'a> {
    pub data: &'a [u8],
    pub piece: usize,
    pub interrupted: bool,
    pub fails_after: Option<usize>,
    armed: bool,
}

impl<'a> Pieces<'a> {
    pub fn new(data: &'a [u8], piece: usize) -> Self {
        Self {
            data,
            piece,
            interrupted: false,
            fails_after: None,
            armed: false,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.interrupted {
            self.armed = !self.armed;
            if self.armed {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        if self.fails_after == Some(0) {
            self.fails_after = None;
            // The kind that decoders use for damage: it must not be taken for it.
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the mount is gone",
            ));
        }
        let some = self.piece.min(into.len()).min(self.data.len());
        let some = self.fails_after.map_or(some, |left| some.min(left));
        self.fails_after = self.fails_after.map(|left| left - some);
        let (now, later) = self.data.split_at(some);
        into[..some].copy_from_slice(now);
        self.data = later;
        Ok(some)
    }
}

/// A file read to its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    pub bytes: Vec<u8>,
    pub compression: Option<&'static str>,
    pub trailing: bool,
}

pub fn read_all<R: Read>(blocks: &mut Blocks<R>, into_bytes: usize) -> Result<Whole, Broken> {
    let mut bytes = Vec::new();
    let mut into = vec![0; into_bytes];
    loop {
        match blocks.read(&mut into)? {
            0 => break,
            some => bytes.extend_from_slice(&into[..some]),
        }
    }
    assert!(
        matches!(blocks.read(&mut into), Ok(0)),
        "the end stays the end"
    );
    Ok(Whole {
        bytes,
        compression: blocks.compression(),
        trailing: blocks.trailing(),
    })
}

pub fn unpack(file: &[u8], piece: usize, block: usize, into: usize) -> Result<Whole, Broken> {
    read_all(&mut Blocks::open(Pieces::new(file, piece), block)?, into)
}

/// A verdict in a word, so that a table can say what is expected.
pub fn verdict(broken: &Broken) -> &'static str {
    match broken {
        Broken::Source(_) => "source",
        Broken::Truncated(_) => "truncated",
        Broken::Checksum(_) => "checksum",
        Broken::Corrupt(_) => "corrupt",
        Broken::Memory(_) => "memory",
        Broken::Unsupported(_) => "unsupported",
    }
}

pub fn verdict_on(file: &[u8]) -> &'static str {
    unpack(file, 4096, 4096, 4096).map_or_else(|broken| verdict(&broken), |_| "whole")
}
