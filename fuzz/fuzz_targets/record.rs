//! Records of the log, as the engine reads them.
#![no_main]

use std::panic::{set_hook, take_hook};

libfuzzer_sys::fuzz_target!(
    init: {
        // What Arrow's reader panics at, the engine catches. A panic that nobody catches ends the fuzzer all the same.
        let abort = take_hook();
        set_hook(Box::new(move |info| match info.location() {
            Some(place) if place.file().contains("/arrow-") => {}
            _ => abort(info),
        }));
    },
    |bytes: &[u8]| engine::fuzzing::record(bytes)
);
