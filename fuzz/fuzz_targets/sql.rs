//! Statements, read and bound on a small catalog.
#![no_main]

use std::cell::RefCell;

use engine::fuzzing::SqlFront;
use tokio::runtime::Runtime;

thread_local! {
    static FRONT: RefCell<(Runtime, SqlFront)> = RefCell::new({
        let runtime = Runtime::new().expect("runtime");
        let front = runtime.block_on(SqlFront::new()).expect("session");
        (runtime, front)
    });
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    FRONT.with_borrow_mut(|(runtime, front)| runtime.block_on(front.take(&text)));
});
