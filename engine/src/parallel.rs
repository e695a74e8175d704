//! Work that is the same in any order, shared out to all cores by threads that live for it alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static ONE_THREAD: AtomicBool = AtomicBool::new(false);

/// From here on the engine begins no threads: what it does is the same in every run. For simulations.
pub fn keep_to_one_thread() {
    ONE_THREAD.store(true, Ordering::Relaxed);
}

pub(crate) fn has_one_thread() -> bool {
    ONE_THREAD.load(Ordering::Relaxed)
}

/// Does `work` for each of the items, on as many threads as there are cores, this one included. Ends with an error of
/// one of them; `died` says what it is when a thread panicked.
pub(crate) fn for_each<T: Sync, E: Send>(
    items: &[T],
    died: fn() -> E,
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item)?;
        }
        Ok(())
    };
    let cores = if has_one_thread() { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let threads = cores.min(items.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).fold(mine, Result::and)
    })
}
