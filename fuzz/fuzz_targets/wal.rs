//! Segments of the log, records with right checksums, packed entries; the first byte chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 3 {
        0 => replication::fuzzing::segments(rest),
        1 => replication::fuzzing::records(rest),
        _ => replication::fuzzing::packed(rest),
    }
});
