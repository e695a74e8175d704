//! Messages, parameters and authentication; the first byte chooses.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((which, rest)) = bytes.split_first() else { return };
    match which % 3 {
        0 => wire::fuzzing::messages(rest),
        1 => wire::fuzzing::value(rest),
        _ => wire::fuzzing::authentication(rest),
    }
});
