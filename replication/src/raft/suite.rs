//! openraft's own test suite for storage, on ours.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::commit_log::{
    Checkpoint, CheckpointError, GroupId, LogPosition, Record, Role, SharedStateMachine, StateMachine,
};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;

use super::checkpoints::Checkpoints;
use super::log_store::LogStore;
use super::machine::{Machine, MachineHandle, Spread};
use super::types::TypeConfig;
use crate::wal::disk::RealDisk;
use crate::wal::{self, Wal, WalOptions};

#[derive(Default)]
struct Positions(Mutex<LogPosition>);

struct At(LogPosition);

impl Checkpoint for At {
    fn position(&self) -> LogPosition {
        self.0
    }

    fn write(
        self: Box<Self>,
        dir: &Path,
        _previous: Option<&Path>,
        _due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError> {
        Ok(std::fs::write(dir.join("position"), self.0.0.to_string())?)
    }
}

impl StateMachine for Positions {
    fn apply(&self, position: LogPosition, _record: &Record) {
        *self.0.lock() = position;
    }

    fn advance(&self, position: LogPosition) {
        *self.0.lock() = position;
    }

    fn applied(&self) -> LogPosition {
        *self.0.lock()
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        Box::new(At(self.applied()))
    }

    fn verify(&self, dir: &Path) -> Result<(), CheckpointError> {
        Ok(std::fs::metadata(dir.join("position")).map(drop)?)
    }

    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError> {
        let position = LogPosition(std::fs::read_to_string(dir.join("position"))?.parse().unwrap());
        *self.0.lock() = position;
        Ok(position)
    }

    fn set_role(&self, _role: Role) {}
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, MachineHandle, (tempfile::TempDir, Wal)> for Builder {
    async fn build(&self) -> Result<((tempfile::TempDir, Wal), LogStore, MachineHandle), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(directory.path().join("wal")).unwrap());
        let options = WalOptions { segment_bytes: 1 << 16, ..WalOptions::default() };
        let wal = wal::open(disk, options, &[GroupId::FIRST], Arc::new(|fatal| panic!("{fatal}"))).unwrap();
        let checkpoints = Checkpoints::open(directory.path().join("checkpoints")).unwrap();
        let engine: SharedStateMachine = Arc::new(Positions::default());
        let machine = Machine::new(
            engine,
            checkpoints,
            Spread { log_bytes: u64::MAX, time: Duration::ZERO },
            Arc::new(|fatal| panic!("{fatal}")),
        )
        .unwrap();
        let log = LogStore::new(wal.group(GroupId::FIRST), crate::backup::archiver::Hold::none());
        Ok(((directory, wal), log, MachineHandle(Arc::new(machine))))
    }
}

#[test]
fn storage_passes_the_suite_of_openraft() {
    TypeConfig::run(async { Suite::test_all(Builder).await.unwrap() });
}
