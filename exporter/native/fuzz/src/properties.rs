//! What must be true of a reading, whatever the bytes.

use std::rc::Rc;

use native::fault::Status;
use native::verify::{Checksum, Depth, Options, Report, read};

use crate::pieces::Pieces;

/// Above this an input is not also read byte by byte: that is slow.
const BYTE_BY_BYTE: usize = 1500;
const LITTLE_MEMORY: u64 = 64;

/// One reading of `data`, `size` bytes at a time.
#[must_use]
pub fn report(data: &[u8], options: &Options, size: usize) -> Report {
    match read(Pieces::new(data, size), options, Rc::new(|| Ok(()))) {
        Ok(report) => report,
        Err(error) => panic!("a source without errors ended in one: {error}"),
    }
}

/// Reads `data` in all ways, which must tell the same.
pub fn hold_of_any_bytes(data: &[u8]) {
    let full = report(data, &Options::default(), usize::MAX);
    sane(&full, data);
    for size in [1, 7, 4096] {
        if size == 1 && data.len() > BYTE_BY_BYTE || size >= data.len() {
            continue;
        }
        let options = Options {
            block_bytes: size,
            ..Options::default()
        };
        assert_eq!(
            report(data, &options, size),
            full,
            "read {size} bytes at a time"
        );
    }
    depths_agree(data, &full);
    little_memory(data, &full);
}

fn sane(report: &Report, data: &[u8]) {
    assert_eq!(report.status == Status::Valid, report.reason.is_none());
    if let Some(reason) = &report.reason {
        assert!(!reason.contains(char::is_control), "{reason:?}");
        assert!(!reason.contains("bug"), "{reason}");
    }
    if report.compression.is_none()
        && let Some(offset) = report.offset
    {
        assert!(
            offset <= data.len() as u64,
            "{offset} is beyond {}",
            data.len()
        );
    }
    match report.status {
        Status::Valid => assert_ne!(report.checksum, Some(Checksum::Mismatch)),
        Status::ChecksumMismatch if report.compression.is_none() => {
            assert_eq!(report.checksum, Some(Checksum::Mismatch));
        }
        Status::Timeout => panic!("nothing gave it a time"),
        _ => {}
    }
    let Some(counts) = &report.counts else {
        assert_ne!(
            report.status,
            Status::Valid,
            "a full reading is valid without counts"
        );
        return;
    };
    let by_db: u64 = counts.keys_by_db.iter().map(|(_, keys, _)| keys).sum();
    let by_type: u64 = counts.keys_by_type.iter().map(|(_, keys)| keys).sum();
    assert_eq!((by_db, by_type), (counts.keys, counts.keys));
    assert!(
        counts
            .keys_by_db
            .iter()
            .all(|(_, keys, expires)| expires <= keys)
    );
    assert!(counts.keys_by_db.is_sorted_by(|a, b| a.0 < b.0));
    assert!(counts.findings.iter().all(|found| found.count > 0));
    // Two bytes are the least that a key and its value take; compression takes less.
    if report.compression.is_none() {
        assert!(
            counts.keys <= data.len() as u64 / 2,
            "more keys than bytes can hold"
        );
    }
}

/// What the whole proof calls valid, the lesser ones do too; and they find no other end.
fn depths_agree(data: &[u8], full: &Report) {
    let at = |depth| {
        let options = Options {
            depth,
            ..Options::default()
        };
        report(data, &options, usize::MAX)
    };
    let (structure, checksum) = (at(Depth::Structure), at(Depth::Checksum));
    if full.status == Status::Valid {
        assert_eq!(structure.status, Status::Valid, "{:?}", structure.reason);
        assert_eq!(checksum.status, Status::Valid, "{:?}", checksum.reason);
        assert_eq!(
            (structure.checksum, structure.crc64),
            (full.checksum, full.crc64)
        );
        assert_eq!(
            (checksum.checksum, checksum.crc64),
            (full.checksum, full.crc64)
        );
        let (Some(mine), Some(theirs)) = (&structure.counts, &full.counts) else {
            panic!("a walk has no counts");
        };
        assert_eq!(mine.keys, theirs.keys);
        assert_eq!(mine.keys_by_db, theirs.keys_by_db);
        assert_eq!(mine.keys_by_type, theirs.keys_by_type);
        assert_eq!(mine.needs, theirs.needs);
        assert_eq!(mine.facts, theirs.facts);
    }
    if structure.status == Status::Valid {
        // Only what is inside of values may be wrong then.
        let inside = [Status::Valid, Status::Corrupt, Status::Unreadable];
        assert!(
            inside.contains(&full.status),
            "{:?} {:?}",
            full.status,
            full.reason
        );
    }
    if structure.status == Status::UnsupportedVersion {
        let before = [Status::UnsupportedVersion, Status::Corrupt];
        assert!(
            before.contains(&full.status),
            "{:?} {:?}",
            full.status,
            full.reason
        );
    }
}

/// With hardly any memory it says so, or the same.
fn little_memory(data: &[u8], full: &Report) {
    let options = Options {
        memory_bytes: LITTLE_MEMORY,
        ..Options::default()
    };
    let little = report(data, &options, usize::MAX);
    if little == *full || little.status == Status::Unreadable {
        return;
    }
    // The rest is still read, for its checksum: that may explain the file better.
    assert_ne!(full.status, Status::Valid, "{:?}", little.reason);
    assert!(
        little.status == Status::ChecksumMismatch || little.compression.is_some(),
        "{:?} {:?}",
        little.status,
        little.reason
    );
}
