//! Lets commits go first: who writes a checkpoint works in small pieces, and while there are commits it rests between
//! them and is no faster than it has to be.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::direct::Writer;
use crate::storage::{CommitTs, Snapshots};

/// Bytes that are written at once: what a commit may have to wait for, for a core and for its own sync. More
/// while nobody commits, and on disks on which a sync takes long whatever it carries.
const PIECE_MIN: usize = 256 << 10;
const PIECE_MAX: usize = 16 << 20;
const SLOW: Duration = Duration::from_millis(25);
/// The rest after some work, in times of what the work took.
const REST: u32 = 3;
/// How often who is ahead of what is due looks whether it still is.
const LOOK: Duration = Duration::from_millis(50);
/// There are commits if there was one within this time.
const RECENT: Duration = Duration::from_secs(1);

/// The pace of one checkpoint.
pub(crate) struct Pace<'a> {
    snapshots: Arc<Snapshots>,
    /// About as many bytes as will be written, and those that are.
    total: usize,
    written: usize,
    /// The share of them that should be there by now.
    due: &'a dyn Fn() -> f64,
    /// The newest commit, and when it was first seen; `None`: before the work began. Who has time begins as if there had
    /// been one just now.
    newest: CommitTs,
    seen: Option<Instant>,
    begun: Instant,
    piece: usize,
}

impl<'a> Pace<'a> {
    pub fn new(snapshots: Arc<Snapshots>, total: usize, due: &'a dyn Fn() -> f64) -> Pace<'a> {
        let (newest, begun) = (snapshots.watermark(), Instant::now());
        let seen = (due() < 1.0).then_some(begun);
        Pace { snapshots, total, written: 0, due, newest, seen, begun, piece: PIECE_MIN }
    }

    /// A piece of work is done: rests if there are commits. Blocks.
    pub fn rest(&mut self) {
        let (took, busy) = (self.begun.elapsed(), self.is_busy());
        if busy {
            std::thread::sleep(took * REST);
            while self.is_ahead() && self.is_busy() {
                std::thread::sleep(LOOK);
            }
        }
        self.piece = next_piece(self.piece, took, busy);
        self.begun = Instant::now();
    }

    fn is_ahead(&self) -> bool {
        self.written < self.total && self.written as f64 > (self.due)() * self.total as f64
    }

    /// Whether there are commits.
    fn is_busy(&mut self) -> bool {
        let newest = self.snapshots.watermark();
        if std::mem::replace(&mut self.newest, newest) != newest {
            self.seen = Some(Instant::now());
        }
        self.seen.is_some_and(|seen| seen.elapsed() < RECENT)
    }

    /// Begins a new file.
    pub fn create<'p>(&'p mut self, path: &Path) -> io::Result<PacedFile<'p, 'a>> {
        Ok(PacedFile { file: Writer::create(path)?, pace: self, unsynced: 0, length: 0, crc: 0 })
    }
}

/// A file that is written in pieces, each brought to the disk and followed by a rest, from where its bytes are: serialised at
/// once they would be one long piece of work, and memory that is touched for the first time. Blocks.
pub(crate) struct PacedFile<'p, 'a> {
    file: Writer,
    pace: &'p mut Pace<'a>,
    unsynced: usize,
    length: u64,
    crc: u32,
}

impl PacedFile<'_, '_> {
    /// Syncs the file; answers its length and CRC-32C.
    pub fn finish(self) -> io::Result<(u64, u32)> {
        self.file.finish()?;
        self.pace.written += self.unsynced;
        self.pace.rest();
        Ok((self.length, self.crc))
    }
}

impl Write for PacedFile<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.pace.piece.saturating_sub(self.unsynced).max(1);
        let part = bytes.get(..room).unwrap_or(bytes);
        let part = &part[..self.file.take(part)?];
        self.crc = crc32c::crc32c_append(self.crc, part);
        self.length += part.len() as u64;
        self.unsynced += part.len();
        if self.unsynced >= self.pace.piece {
            self.file.push()?;
            self.pace.written += std::mem::take(&mut self.unsynced);
            self.pace.rest();
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The size of the next piece, after one that took so long, while there are commits or not.
fn next_piece(piece: usize, took: Duration, busy: bool) -> usize {
    match busy && took < SLOW {
        true => (piece / 2).max(PIECE_MIN),
        false => (piece * 2).min(PIECE_MAX),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

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
        let mut pace = Pace::new(snapshots.clone(), 0, &|| 1.0);
        let work = Duration::from_millis(20);
        let begun = Instant::now();
        std::thread::sleep(work);
        snapshots.set_watermark(CommitTs(7));
        pace.rest();
        assert!(begun.elapsed() >= work * (1 + REST));
        pace.seen = pace.seen.and_then(|seen| seen.checked_sub(RECENT));
        let piece = pace.piece;
        pace.rest();
        assert_eq!(pace.piece, 2 * piece, "nobody committed since");
    }

    #[test]
    fn who_is_ahead_waits_until_more_is_due_or_nobody_commits() {
        let snapshots = Arc::new(Snapshots::default());
        let looks = Cell::new(0);
        let due = || {
            looks.set(looks.get() + 1);
            snapshots.set_watermark(CommitTs(looks.get()));
            looks.get() as f64 / 10.0
        };
        let mut pace = Pace::new(snapshots.clone(), 100, &due);
        pace.written = 50;
        snapshots.set_watermark(CommitTs(100));
        pace.rest();
        assert_eq!(looks.get(), 5, "half of it is there, and is due at the fifth look");
        let mut pace = Pace::new(snapshots.clone(), 100, &|| 0.0);
        pace.written = 50;
        let begun = Instant::now();
        pace.rest();
        assert!(begun.elapsed() >= RECENT, "there may have been a commit just now");
        let piece = pace.piece;
        pace.rest();
        assert_eq!(pace.piece, 2 * piece, "and none since");
    }

    #[test]
    fn a_file_is_written_whole() {
        let path = std::env::temp_dir().join(format!("lockstep-pace-{:x}", rand::random::<u64>()));
        let snapshots = Arc::new(Snapshots::default());
        for length in [0, 1, PIECE_MIN, 3 * PIECE_MIN + 5] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut pace = Pace::new(snapshots.clone(), length, &|| 1.0);
            let mut file = pace.create(&path).unwrap();
            let (first, second) = bytes.split_at(length / 3);
            file.write_all(first).unwrap();
            file.write_all(second).unwrap();
            assert_eq!(file.finish().unwrap(), (length as u64, crc32c::crc32c(&bytes)));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            assert_eq!(pace.written, length);
        }
        std::fs::remove_file(path).unwrap();
    }
}
