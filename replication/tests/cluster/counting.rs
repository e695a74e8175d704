//! A state machine that keeps every record, in order.

use std::path::Path;

use engine::commit_log::{Checkpoint, CheckpointError, LogPosition, Record, Role, StateMachine};
use parking_lot::Mutex;
use tokio::sync::watch;

#[derive(Debug, Default, Clone)]
struct State {
    position: LogPosition,
    records: Vec<String>,
    restored: usize,
    role: Option<Role>,
    /// Files that go along with each checkpoint, and their bytes.
    weight: (usize, usize),
}

pub struct Counting {
    state: Mutex<State>,
    version: watch::Sender<u64>,
}

impl Default for Counting {
    fn default() -> Self {
        Self { state: Mutex::default(), version: watch::Sender::new(0) }
    }
}

impl Counting {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.version.send_modify(|version| *version += 1);
    }

    pub fn records(&self) -> Vec<String> {
        self.state.lock().records.clone()
    }

    /// Makes checkpoints heavier.
    pub fn weigh(&self, files: usize, bytes: usize) {
        self.state.lock().weight = (files, bytes);
    }

    pub fn restored(&self) -> usize {
        self.state.lock().restored
    }

    pub fn role(&self) -> Option<Role> {
        self.state.lock().role
    }

    /// Waits until `found` is something, looking again whenever the state changes.
    pub async fn changed<T>(&self, found: impl Fn() -> Option<T>) -> T {
        let mut version = self.version.subscribe();
        let waiting = async {
            loop {
                version.borrow_and_update();
                if let Some(found) = found() {
                    return found;
                }
                version.changed().await.unwrap();
            }
        };
        tokio::time::timeout(super::DEADLINE, waiting).await.unwrap_or_else(|_| {
            let state = self.state.lock();
            panic!("waited in vain, {} records, {:?}", state.records.len(), state.role)
        })
    }

    pub async fn has(&self, count: usize) {
        self.changed(|| (self.state.lock().records.len() >= count).then_some(())).await;
    }
}

fn checksum(dir: &Path) -> std::io::Result<u32> {
    let bytes = [std::fs::read(dir.join("position"))?, std::fs::read(dir.join("records"))?].concat();
    Ok(bytes.iter().fold(17, |sum: u32, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte))))
}

struct Frozen(State);

impl Checkpoint for Frozen {
    fn position(&self) -> LogPosition {
        self.0.position
    }

    fn write(
        self: Box<Self>,
        dir: &Path,
        _previous: Option<&Path>,
        _due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError> {
        for file in 0..self.0.weight.0 {
            std::fs::write(dir.join(format!("chunk-{file}")), vec![file as u8; self.0.weight.1])?;
        }
        std::fs::write(dir.join("position"), self.0.position.0.to_string())?;
        std::fs::write(dir.join("records"), self.0.records.join("\n"))?;
        Ok(std::fs::write(dir.join("checksum"), checksum(dir)?.to_string())?)
    }
}

impl StateMachine for Counting {
    fn apply(&self, position: LogPosition, record: &Record) {
        self.change(|state| {
            assert!(position > state.position, "{position:?} after {:?}", state.position);
            state.position = position;
            state.records.push(String::from_utf8(record.to_vec()).unwrap());
        });
    }

    fn advance(&self, position: LogPosition) {
        self.change(|state| {
            assert!(position > state.position, "{position:?} after {:?}", state.position);
            state.position = position;
        });
    }

    fn applied(&self) -> LogPosition {
        self.state.lock().position
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        Box::new(Frozen(self.state.lock().clone()))
    }

    fn verify(&self, dir: &Path) -> Result<(), CheckpointError> {
        match std::fs::read_to_string(dir.join("checksum"))? == checksum(dir)?.to_string() {
            true => Ok(()),
            false => Err(CheckpointError::Corrupt("the checksum is wrong".to_owned())),
        }
    }

    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError> {
        self.verify(dir)?;
        let position = LogPosition(std::fs::read_to_string(dir.join("position"))?.parse().unwrap());
        let records = std::fs::read_to_string(dir.join("records"))?;
        self.change(|state| {
            state.position = position;
            state.records = records.lines().map(str::to_owned).collect();
            state.restored += 1;
        });
        Ok(position)
    }

    fn set_role(&self, role: Role) {
        self.change(|state| state.role = Some(role));
    }
}
