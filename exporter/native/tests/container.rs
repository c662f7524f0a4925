//! Compression around a dump: whole, in members, padded, followed by anything, in reads of any size.

mod packing;

use _native::container::Blocks;
use liblzma::stream::Check;
use packing::{PACKINGS, Pieces, Whole, payload, unpack, verdict_on};

const SIZES: [usize; 5] = [1, 2, 7, 4096, 262_144];

fn whole(bytes: &[u8], compression: &'static str) -> Whole {
    Whole {
        bytes: bytes.to_vec(),
        compression: Some(compression),
        trailing: false,
    }
}

#[test]
fn any_sizes_of_reads_give_the_same_bytes_and_the_same_end() {
    for bytes in [0, 1, 700, 70_000] {
        let data = payload(bytes);
        for packing in &PACKINGS {
            let file = (packing.pack)(&data);
            for piece in SIZES {
                for into in SIZES {
                    if bytes == 70_000 && piece.min(into) < 7 && piece.max(into) < 4096 {
                        continue; // Slow, and the small payloads have seen it.
                    }
                    let found = unpack(&file, piece, 4096, into).unwrap();
                    assert_eq!(
                        found,
                        whole(&data, packing.name),
                        "{} {piece} {into}",
                        packing.label
                    );
                }
            }
        }
    }
}

#[test]
fn plain_bytes_pass_as_they_are() {
    for bytes in [0, 1, 5, 6, 7, 700, 300_000] {
        let data = payload(bytes);
        for piece in SIZES {
            let found = unpack(&data, piece, 4096, 4097).unwrap();
            assert_eq!(
                (found.bytes, found.compression, found.trailing),
                (data.clone(), None, false)
            );
        }
    }
}

#[test]
fn a_plain_read_goes_straight_into_the_callers_buffer() {
    let data = payload(100_000);
    let mut blocks = Blocks::open(Pieces::new(&data, usize::MAX), 4096).unwrap();
    let mut into = vec![0; 50_000];
    assert_eq!(blocks.read(&mut into).unwrap(), 4096);
    assert_eq!(blocks.read(&mut into).unwrap(), 50_000);
}

#[test]
fn members_one_after_another_are_read_on() {
    let (first, second) = (payload(700), payload(1300));
    for packing in &PACKINGS {
        let (a, b) = ((packing.pack)(&first), (packing.pack)(&second));
        let file = [a.clone(), b.clone(), (packing.pack)(b""), a.clone()].concat();
        let data = [first.clone(), second.clone(), first.clone()].concat();
        for piece in SIZES {
            let found = unpack(&file, piece, 64, 4096).unwrap();
            assert_eq!(found, whole(&data, packing.name), "{}", packing.label);
        }
    }
}

#[test]
fn what_follows_the_last_member_is_told() {
    let data = payload(700);
    let tails: [&[u8]; 8] = [
        b"\n",
        b"\0",
        &[0; 4099],
        b"REDIS0011",
        b"\xfd7zXZ\0",
        b"\x1f\x8b\x08",
        b"\x28\xb5\x2f\xfd",
        b"\x04\x22\x4d\x18",
    ];
    for packing in &PACKINGS {
        let plain = PACKINGS
            .iter()
            .find(|row| row.label == packing.name)
            .unwrap();
        let magic = &(plain.pack)(&data)[..2];
        // More of the same is a further member; and a zero byte may be padding, which has its test.
        for tail in tails.into_iter().filter(|tail| !tail.starts_with(magic)) {
            let file = [(packing.pack)(&data), tail.to_vec()].concat();
            for piece in SIZES {
                let found = unpack(&file, piece, 64, 4096).unwrap();
                assert!(found.trailing, "{} then {tail:?}", packing.label);
                assert_eq!(found.bytes, data);
            }
        }
    }
}

#[test]
fn only_xz_may_be_padded_and_only_by_fours() {
    let data = payload(700);
    for packing in &PACKINGS {
        for zeros in [4, 8, 4096, 262_144, 5, 4098] {
            let file = [(packing.pack)(&data), vec![0; zeros]].concat();
            let found = unpack(&file, 4096, 64, 4096).unwrap();
            let legal = packing.name == "xz" && zeros % 4 == 0;
            assert_eq!(found.trailing, !legal, "{} {zeros}", packing.label);
        }
    }
    let member = packing::xz(&data, Check::Crc64);
    let padded = [member.clone(), vec![0; 8], member.clone()].concat();
    assert_eq!(
        unpack(&padded, 1, 64, 7).unwrap(),
        whole(&[data.clone(), data.clone()].concat(), "xz")
    );
    let crooked = [member.clone(), vec![0; 6], member].concat();
    assert!(unpack(&crooked, 1, 64, 7).unwrap().trailing);
}

#[test]
fn what_the_command_line_tools_write_is_read() {
    let data = payload(300_000);
    for command in [
        "gzip -c",
        "gzip -c -1",
        "zstd -c",
        "zstd -c -19 --long=27",
        "zstd -c --no-check",
        "zstd -c -T2",
        "lz4 -qc",
        "lz4 -qc -9 -BD",
        "lz4 -qc -B4 -BX",
        "lz4 -qc --no-frame-crc",
        "lz4 -qc -B4 -BD --content-size",
        "xz -c",
        "xz -c -9e",
        "xz -c --check=none",
        "xz -c --block-size=65536 -T2",
        "xz -c --x86 --lzma2",
        "bzip2 -c",
        "bzip2 -c -1",
    ] {
        let Some(file) = packing::packed_by(command, &data) else {
            continue;
        };
        let name = command.split(' ').next().unwrap();
        let name = PACKINGS
            .iter()
            .find(|packing| packing.name == name)
            .unwrap()
            .name;
        for (piece, into) in [(usize::MAX, 262_144), (4095, 1000)] {
            assert_eq!(
                unpack(&file, piece, 262_144, into).unwrap(),
                whole(&data, name),
                "{command}"
            );
        }
        for cut in [1, 2, 3, 4, 5, 8, 11, 12, 13, 100] {
            assert_eq!(
                verdict_on(&file[..file.len() - cut]),
                "truncated",
                "{command} {cut}"
            );
        }
    }
}
