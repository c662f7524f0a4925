//! Any bytes as a compressed file, in pieces of every size, and what lies inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use redis_backup_exporter_fuzz::containers;

fuzz_target!(|data: &[u8]| containers::one_answer(data));
