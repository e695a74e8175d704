//! The allocator, and giving back to the system what it keeps.
//!
//! mimalloc keeps freed pages for the threads that freed them. After a bulk load or a large result nothing asks for them
//! again, and the process would stay large for ever (docs/decisions/0012-giving-memory-back.md).

use std::sync::Arc;
use std::time::Duration;

use engine::Engine;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the process looks at its size. Giving back costs page faults when the memory is wanted again, so it is rare.
const INTERVAL: Duration = Duration::from_secs(3);

/// What the allocator may keep beside a quarter of what is in use: running queries come and go within it.
const KEPT_BYTES: usize = 48 << 20;

/// Gives memory back whenever the process holds much more than the engine uses. Runs until it is dropped.
pub async fn give_back(engine: Arc<Engine>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // What stayed the last time: asking again for what cannot be given would only cost page faults.
    let mut floor = 0;
    loop {
        interval.tick().await;
        let Some(resident) = resident_bytes() else { return };
        if is_wasteful(resident, engine.memory_used(), floor) {
            // It walks the allocator's pages: not on a thread that sessions wait for.
            let _ = tokio::task::spawn_blocking(collect).await;
            floor = resident_bytes().unwrap_or(resident);
        }
        floor = floor.min(resident);
    }
}

fn is_wasteful(resident: usize, used: usize, floor: usize) -> bool {
    resident > floor.max(used + used / 4) + KEPT_BYTES
}

/// Resident bytes of this process that no file backs (proc(5), status); `None` where there is no /proc.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse::<usize>().ok().map(|kib| kib << 10)
}

#[allow(unsafe_code)] // the one foreign call of the binary
fn collect() {
    // SAFETY: mi_collect takes no pointer, may be called on any thread at any time, and touches only memory that is
    // free (mimalloc's documentation, "Extended Functions").
    unsafe { libmimalloc_sys::mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_much_of_it_is_free() {
        assert!(!is_wasteful(100 << 20, 80 << 20, 0));
        assert!(!is_wasteful(40 << 20, 0, 0));
        assert!(is_wasteful(400 << 20, 100 << 20, 0));
        assert!(!is_wasteful(400 << 20, 100 << 20, 390 << 20), "it did not help the last time");
        let block = vec![1u8; 32 << 20];
        assert!(resident_bytes().is_some_and(|bytes| bytes >= block.len()));
        collect();
        assert!(block.iter().all(|byte| *byte == 1));
    }
}
