//! Work that is the same in any order, shared out to all cores by threads that live for it alone.

use std::sync::atomic::{AtomicUsize, Ordering};

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
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(died()))).fold(mine, Result::and)
    })
}
