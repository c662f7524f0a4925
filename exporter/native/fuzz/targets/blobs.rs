//! One small encoding, the engine against slow and simple forms of its own.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use redis_backup_exporter_fuzz::{blobs, mending};

fuzz_target!(|data: &[u8]| -> Corpus {
    if blobs::engine_and_oracle_agree(data) {
        Corpus::Keep
    } else {
        Corpus::Reject
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mending::mutate_mended(&mut data[..max_size], size, seed, fuzzer_mutate)
});
