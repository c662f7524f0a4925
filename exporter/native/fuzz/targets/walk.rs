//! Any bytes as an RDB file, at every depth and in pieces of every size.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use redis_backup_exporter_fuzz::{framing, properties};

fuzz_target!(|data: &[u8]| properties::hold_of_any_bytes(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    framing::mutate_framed(&mut data[..max_size], size, seed, fuzzer_mutate)
});
