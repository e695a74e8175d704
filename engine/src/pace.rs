//! Lets commits go first: who writes a checkpoint works in small pieces, and rests between them while there are commits.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::storage::{CommitTs, Snapshot};

/// Bytes that are written and synced at once: what a commit's own sync may have to wait for. More while nobody commits,
/// and on disks on which a sync takes long whatever it carries.
const PIECE_MIN: usize = 256 << 10;
const PIECE_MAX: usize = 16 << 20;
const SLOW: Duration = Duration::from_millis(25);
/// The rest after some work, in times of what the work took.
const REST: u32 = 3;

/// The pace of one checkpoint.
pub(crate) struct Pace<'a> {
    snapshot: &'a Snapshot,
    /// The newest commit when the present piece of work began.
    newest: CommitTs,
    begun: Instant,
    piece: usize,
}

impl<'a> Pace<'a> {
    pub fn new(snapshot: &'a Snapshot) -> Pace<'a> {
        Pace { snapshot, newest: snapshot.newest(), begun: Instant::now(), piece: PIECE_MIN }
    }

    /// A piece of work is done: rests if there were commits meanwhile. Blocks.
    pub fn rest(&mut self) {
        let (took, busy) = (self.begun.elapsed(), self.snapshot.newest() != self.newest);
        if busy {
            std::thread::sleep(took * REST);
        }
        self.piece = next_piece(self.piece, took, busy);
        self.newest = self.snapshot.newest();
        self.begun = Instant::now();
    }

    /// Writes a new file and syncs it. Blocks.
    pub fn write(&mut self, path: &Path, mut bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        while let Some((piece, rest)) = bytes.split_at_checked(self.piece) {
            file.write_all(piece)?;
            file.sync_data()?;
            self.rest();
            bytes = rest;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        self.rest();
        Ok(())
    }
}

/// The size of the next piece, after one that took so long, with or without commits meanwhile.
fn next_piece(piece: usize, took: Duration, busy: bool) -> usize {
    match busy && took < SLOW {
        true => (piece / 2).max(PIECE_MIN),
        false => (piece * 2).min(PIECE_MAX),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::Snapshots;

    #[test]
    fn pieces_are_small_while_there_are_commits() {
        let fast = Duration::from_millis(2);
        let after = |from, took, busy| (0..10).fold(from, |piece, _| next_piece(piece, took, busy));
        assert_eq!(after(PIECE_MAX, fast, true), PIECE_MIN);
        assert_eq!(after(PIECE_MIN, fast, false), PIECE_MAX);
        assert_eq!(after(PIECE_MIN, SLOW, true), PIECE_MAX, "a slow disk would take for ever piece by piece");
    }

    #[test]
    fn rests_only_while_there_are_commits() {
        let snapshots = Arc::new(Snapshots::default());
        let snapshot = snapshots.acquire();
        let mut pace = Pace::new(&snapshot);
        let work = Duration::from_millis(20);
        let begun = Instant::now();
        std::thread::sleep(work);
        snapshots.set_watermark(CommitTs(7));
        pace.rest();
        assert!(begun.elapsed() >= work * (1 + REST));
        assert_eq!(pace.piece, PIECE_MIN);
        pace.rest();
        assert_eq!(pace.piece, 2 * PIECE_MIN, "nobody committed since");
    }

    #[test]
    fn a_file_is_written_whole() {
        let path = std::env::temp_dir().join(format!("lockstep-pace-{:x}", rand::random::<u64>()));
        let snapshots = Arc::new(Snapshots::default());
        let snapshot = snapshots.acquire();
        for length in [0, 1, PIECE_MIN, 3 * PIECE_MIN + 5] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            Pace::new(&snapshot).write(&path, &bytes).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
        }
        std::fs::remove_file(path).unwrap();
    }
}
