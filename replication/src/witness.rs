//! What a witness has in place of an engine: it counts what passes and keeps none of it.
//!
//! A witness votes and stores the log, so that two nodes with tables and a witness decide like three. Its checkpoint is a
//! file that says how far it is; that alone lets its log be purged.
//!
//! Invariant: the checkpoint of a witness is never installed on a node with tables: [`has_no_tables`].

use std::io;
use std::path::Path;

use engine::commit_log::{Checkpoint, CheckpointError, LogPosition, Record, Role, StateMachine};
use parking_lot::Mutex;

use crate::wal::disk::write_file_atomically;

const FILE: &str = "witness";

/// See the module.
#[derive(Debug, Default)]
pub struct Witness {
    position: Mutex<LogPosition>,
}

/// Whether a checkpoint is one of a witness.
pub fn has_no_tables(state: &Path) -> bool {
    state.join(FILE).exists()
}

/// Writes the checkpoint of a witness. Blocks.
pub fn write_checkpoint(state: &Path, position: LogPosition) -> io::Result<()> {
    write_file_atomically(&state.join(FILE), &position.0.to_le_bytes())
}

fn read(state: &Path) -> Result<LogPosition, CheckpointError> {
    let path = state.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(CheckpointError::Corrupt(format!("{} is missing: it is not one of a witness", path.display())));
        }
        Err(error) => return Err(error.into()),
    };
    let bytes = <[u8; 8]>::try_from(bytes.as_slice());
    let position = bytes.map_err(|_| CheckpointError::Corrupt(format!("{} has a wrong length", path.display())))?;
    Ok(LogPosition(u64::from_le_bytes(position)))
}

struct Mark(LogPosition);

impl Checkpoint for Mark {
    fn position(&self) -> LogPosition {
        self.0
    }

    fn write(
        self: Box<Self>,
        dir: &Path,
        _previous: Option<&Path>,
        _due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError> {
        Ok(write_checkpoint(dir, self.0)?)
    }
}

impl StateMachine for Witness {
    fn apply(&self, position: LogPosition, _record: &Record) {
        *self.position.lock() = position;
    }

    fn advance(&self, position: LogPosition) {
        *self.position.lock() = position;
    }

    fn applied(&self) -> LogPosition {
        *self.position.lock()
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        Box::new(Mark(self.applied()))
    }

    fn verify(&self, dir: &Path) -> Result<(), CheckpointError> {
        read(dir).map(drop)
    }

    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError> {
        let position = read(dir)?;
        *self.position.lock() = position;
        Ok(position)
    }

    fn set_role(&self, _role: Role) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_keeps_its_place_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let witness = Witness::default();
        witness.apply(LogPosition(7), &Record::from_static(b"x"));
        witness.begin_checkpoint().write(directory.path(), None, &|| 1.0).unwrap();
        assert!(has_no_tables(directory.path()));
        let other = Witness::default();
        assert_eq!(other.restore(directory.path()).unwrap(), LogPosition(7));
        assert_eq!(other.applied(), LogPosition(7));
        std::fs::write(directory.path().join(FILE), b"short").unwrap();
        assert!(matches!(other.verify(directory.path()), Err(CheckpointError::Corrupt(_))));
        std::fs::remove_file(directory.path().join(FILE)).unwrap();
        assert!(matches!(other.restore(directory.path()), Err(CheckpointError::Corrupt(_))));
    }
}
