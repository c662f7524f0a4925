//! Compression around a dump that is cut, flipped, spliced, too demanding, or read from a failing source.

mod packing;

use _native::container::{Blocks, Broken};
use liblzma::stream::Check;
use lz4_flex::frame::BlockMode;
use packing::{PACKINGS, Pieces, payload, read_all, skippable, unpack, verdict, verdict_on};

#[test]
fn a_file_cut_at_any_byte_is_truncated() {
    let data = payload(700);
    for packing in &PACKINGS {
        let file = (packing.pack)(&data);
        // A skippable frame behind the data is cut off whole without a trace.
        let complete = file.len()
            - if packing.label.contains("around") {
                skippable(b"c").len()
            } else {
                0
            };
        for cut in 1..file.len() {
            // The first byte of a skippable frame may be that of a dump: it stays plain.
            let plain = cut == 1 && packing.label.contains("skippable");
            let expected = if cut == complete || plain {
                "whole"
            } else {
                "truncated"
            };
            for (piece, into) in [(1, 7), (4096, 4096)] {
                let found = unpack(&file[..cut], piece, 64, into);
                let found = found.map_or_else(|broken| verdict(&broken), |_| "whole");
                assert_eq!(
                    found,
                    expected,
                    "{} cut at {cut} of {}",
                    packing.label,
                    file.len()
                );
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_passes_with_other_bytes() {
    let data = payload(700);
    for packing in PACKINGS.iter().filter(|packing| packing.summed) {
        let mut file = (packing.pack)(&data);
        for bit in 0..file.len() * 8 {
            file[bit / 8] ^= 1 << (bit % 8);
            match unpack(&file, 4096, 4096, 4096) {
                // Not that compression any more: no dump begins like what is left of a magic.
                Ok(found) if found.compression.is_none() => {
                    assert!(bit < 6 * 8, "{} bit {bit}", packing.label);
                    assert_eq!(found.bytes, file);
                }
                Ok(found) if !found.trailing => {
                    assert_eq!(found.bytes, data, "{} bit {bit}", packing.label);
                }
                Ok(_) => {}
                Err(broken) => assert_ne!(verdict(&broken), "source"),
            }
            file[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_second_member_cut_at_any_byte_is_truncated() {
    let data = payload(300);
    // Without the rows whose skippable frames may be cut off whole.
    for packing in PACKINGS
        .iter()
        .filter(|packing| !packing.label.contains("skippable"))
    {
        let member = (packing.pack)(&data);
        for cut in 1..member.len() {
            let file = [&member, &member[..cut]].concat();
            assert_eq!(
                verdict_on(&file),
                "truncated",
                "{} cut at {cut}",
                packing.label
            );
        }
    }
}

#[test]
fn a_file_of_skippable_frames_alone_holds_no_dump() {
    for file in [
        skippable(b""),
        skippable(&[7; 5000]),
        [skippable(b"a"), skippable(b"b")].concat(),
    ] {
        assert_eq!(verdict_on(&file), "truncated");
    }
    assert_eq!(
        verdict_on(&[skippable(b"a"), b"REDIS0011".to_vec()].concat()),
        "corrupt"
    );
    // Its length is not believed: 4 GiB are announced, 3 bytes come.
    assert_eq!(
        verdict_on(b"\x5f\x2a\x4d\x18\xff\xff\xff\xffabc"),
        "truncated"
    );
}

#[test]
fn a_failing_source_is_no_damage_and_may_be_read_on() {
    let data = payload(700);
    for packing in &PACKINGS {
        let file = (packing.pack)(&data);
        for after in 0..=file.len() {
            let mut source = Pieces::new(&file, 64);
            (source.interrupted, source.fails_after) = (true, Some(after));
            let mut blocks = match Blocks::open(&mut source, 64) {
                Ok(blocks) => blocks,
                Err(broken) => {
                    assert_gone(&broken);
                    continue;
                }
            };
            let mut bytes = Vec::new();
            let mut into = [0; 32];
            let broken = loop {
                match blocks.read(&mut into) {
                    Ok(some) if some > 0 => bytes.extend_from_slice(&into[..some]),
                    other => break other.unwrap_err(),
                }
            };
            assert_gone(&broken);
            let rest = read_all(&mut blocks, 32).unwrap();
            assert_eq!(
                [bytes, rest.bytes].concat(),
                data,
                "{} after {after}",
                packing.label
            );
        }
    }
}

fn assert_gone(broken: &Broken) {
    let Broken::Source(error) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(error.to_string(), "the mount is gone");
}

#[test]
fn bytes_before_a_fault_are_handed_out() {
    let data = payload(70_000);
    for packing in PACKINGS.iter().filter(|packing| packing.summed) {
        let mut file = (packing.pack)(&data);
        let last = file.len() - 1;
        // Within the last sum, or behind it where that is not the end.
        file[last] ^= 0x80;
        for into in [7, 262_144] {
            let mut blocks = Blocks::open(file.as_slice(), 262_144).unwrap();
            let mut bytes = Vec::new();
            let mut piece = vec![0; into];
            while let Ok(some) = blocks.read(&mut piece) {
                bytes.extend_from_slice(&piece[..some]);
                if some == 0 {
                    assert!(packing.label.contains("around"), "{}", packing.label);
                    break;
                }
            }
            assert!(bytes == data, "{} {into}", packing.label);
        }
    }
}

#[test]
fn a_zstd_frame_that_holds_less_than_it_says_is_corrupt() {
    // 255 bytes are announced, an empty last block comes; the library itself lets it pass.
    let file = b"\x28\xb5\x2f\xfd\x20\xff\x01\x00\x00";
    for piece in [1, 64] {
        for into in [1, 100, 4096] {
            let found = unpack(file, piece, 64, into);
            assert_eq!(found.map_err(|broken| verdict(&broken)), Err("corrupt"));
        }
    }
}

#[test]
fn a_fault_is_told_again() {
    for packing in &PACKINGS {
        let file = (packing.pack)(&payload(700));
        let mut blocks = Blocks::open(&file[..file.len() * 2 / 3], 4096).unwrap();
        for _ in 0..3 {
            let broken = read_all(&mut blocks, 4096).unwrap_err();
            assert!(matches!(broken, Broken::Truncated(name) if name == packing.name));
        }
    }
}

#[test]
fn a_file_that_asks_for_much_memory_or_what_we_have_not_is_no_damage() {
    let crc32 = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    // A window of 128 MiB, the most allowed; twice that; a dictionary.
    let windows: [(&[u8], &str); 3] = [
        (b"\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00", "whole"),
        (b"\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00", "memory"),
        (b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\x00\x00", "unsupported"),
    ];
    for (file, expected) in windows {
        assert_eq!(verdict_on(file), expected, "{file:?}");
    }
    // However whole it is given, with room for all of it.
    let roomy = unpack(b"\x28\xb5\x2f\xfd\x80\x90\xff\0\0\0\x01\0\0", 64, 64, 4096);
    assert_eq!(roomy.map_err(|broken| verdict(&broken)), Err("memory"));
    let mut file = packing::xz(b"data", Check::Crc64);
    // The second byte of the properties of LZMA2 is its dictionary: 28 is 64 MiB, 40 is 4 GiB.
    for (dictionary, expected) in [
        (28, "whole"),
        (31, "memory"),
        (40, "memory"),
        (41, "unsupported"),
    ] {
        let end = 12 + usize::from(file[12]) * 4;
        file[16] = dictionary;
        let sum = crc32(&file[12..end]);
        file[end..end + 4].copy_from_slice(&sum);
        assert_eq!(verdict_on(&file), expected, "xz dictionary {dictionary}");
    }
    // A check that the library does not know: it would be skipped in silence.
    file[7] = 0x02;
    let sum = crc32(&file[6..8]);
    file[8..12].copy_from_slice(&sum);
    assert_eq!(verdict_on(&file), "unsupported");
    // The sum of an LZ4 header that names a dictionary, and of one from a later version.
    for header in [
        &b"\x61\x40\x01\0\0\0"[..],
        b"\xa0\x40",
        b"\x60\x30",
        b"\x62\x40",
    ] {
        let [_, sum, ..] = twox_hash::XxHash32::oneshot(0, header).to_le_bytes();
        let file = [b"\x04\x22\x4d\x18", header, &[sum], &[0; 4]].concat();
        assert_eq!(verdict_on(&file), "unsupported", "{header:?}");
    }
}

/// What is hit, where in which file, and what is to be said of it.
type Row = (&'static str, (usize, Vec<u8>), &'static str);

#[test]
fn a_wrong_sum_is_told_from_broken_data() {
    let data = payload(700);
    let at_end = |file: Vec<u8>, back: usize| (file.len() - back, file);
    let rows: Vec<Row> = vec![
        ("gzip CRC", at_end(packing::gzip(&data), 8), "checksum"),
        ("gzip length", at_end(packing::gzip(&data), 4), "checksum"),
        (
            "gzip header CRC",
            (29, (PACKINGS[1].pack)(&data)),
            "checksum",
        ),
        ("gzip method", (2, packing::gzip(&data)), "corrupt"),
        (
            "zstd sum",
            at_end(packing::zstd(&data, true), 4),
            "checksum",
        ),
        (
            "lz4 header",
            (5, packing::lz4(&data, BlockMode::Linked, true)),
            "checksum",
        ),
        (
            "lz4 block",
            (40, packing::lz4(&data, BlockMode::Linked, true)),
            "checksum",
        ),
        (
            "lz4 block length",
            (10, packing::lz4(&data, BlockMode::Linked, false)),
            "corrupt",
        ),
        (
            "lz4 content",
            at_end(packing::lz4(&data, BlockMode::Linked, true), 4),
            "checksum",
        ),
        (
            "xz stream header",
            (7, packing::xz(&data, Check::Crc64)),
            "checksum",
        ),
        (
            "xz block header",
            (14, packing::xz(&data, Check::Crc64)),
            "checksum",
        ),
        (
            "xz data",
            (300, packing::xz(&data, Check::Crc64)),
            "corrupt",
        ),
        // Footer 12, index 8, check 8.
        (
            "xz check",
            at_end(packing::xz(&data, Check::Crc64), 28),
            "checksum",
        ),
        (
            "xz check 256",
            at_end(packing::xz(&data, Check::Sha256), 52),
            "checksum",
        ),
        (
            "xz index",
            at_end(packing::xz(&data, Check::Crc64), 19),
            "checksum",
        ),
        (
            "xz footer",
            at_end(packing::xz(&data, Check::Crc64), 12),
            "checksum",
        ),
        ("bzip2 block CRC", (10, packing::bzip2(&data)), "checksum"),
        (
            "bzip2 stream CRC",
            at_end(packing::bzip2(&data), 3),
            "checksum",
        ),
        ("bzip2 block mark", (5, packing::bzip2(&data)), "checksum"),
    ];
    for (label, (at, mut file), expected) in rows {
        file[at] ^= 0x08;
        assert_eq!(verdict_on(&file), expected, "{label}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        cases: 4000, failure_persistence: None, ..Default::default()
    })]

    #[test]
    fn no_damage_passes_with_other_bytes(
        row in 0..PACKINGS.len(),
        members in 1..3_usize,
        from in 0.0..1.0_f64,
        length in 0..40_usize,
        put in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        piece in 1..600_usize,
    ) {
        let packing = &PACKINGS[row];
        let data = payload(400);
        let mut file = (packing.pack)(&data).repeat(members);
        let from = (from * file.len() as f64) as usize;
        file.splice(from..file.len().min(from + length), put);
        let found = unpack(&file, piece, 64, 333);
        // However it is read, the answer is one.
        let again = unpack(&file, usize::MAX, 262_144, 262_144);
        proptest::prop_assert_eq!(
            found.as_ref().map_err(verdict), again.as_ref().map_err(verdict), "{}", packing.label
        );
        if let Ok(found) = found
            && found.compression.is_some() && !found.trailing && packing.summed
        {
            // A cut between two members leaves the first whole, as if there had been one.
            proptest::prop_assert!(data.repeat(members).starts_with(&found.bytes), "{}", packing.label);
        }
    }
}
