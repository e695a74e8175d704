//! Records of the log, as the engine reads them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::fuzzing::record(bytes));
