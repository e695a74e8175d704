//! A log in memory for the engine's own tests: one voter, one thread that applies, and a hand on every joint.
//! Durability can be held back, leadership lost, outcomes left unknown.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::commit_log::{
    AppendError, Appended, CheckpointError, ClusterStatus, CommitLog, Epoch, LogPosition, ReadError, Record, Role,
    SharedStateMachine,
};

/// See the module.
pub struct MemoryLog {
    shared: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// Locks are taken in this order: driver, the engine's own, state. `append` comes with the sequencer's lock held.
struct Shared {
    driver: Mutex<Driver>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Whoever holds it drives the state machine.
struct Driver {
    machine: SharedStateMachine,
    position: u64,
    /// Every record that was applied, in order.
    applied: Vec<Record>,
}

struct State {
    epoch: Epoch,
    primary: bool,
    held: bool,
    full: bool,
    stopping: bool,
    /// What a read has to wait for.
    behind: Option<Box<dyn FnOnce() + Send>>,
    queue: VecDeque<(Record, oneshot::Sender<Result<LogPosition, AppendError>>)>,
}

impl MemoryLog {
    /// Starts as primary of epoch 1.
    pub fn start(machine: SharedStateMachine) -> Arc<MemoryLog> {
        machine.set_role(Role::Primary { epoch: Epoch(1) });
        let driver = Driver { position: machine.applied().0, machine, applied: Vec::new() };
        let state = State {
            epoch: Epoch(1),
            primary: true,
            held: false,
            full: false,
            stopping: false,
            behind: None,
            queue: VecDeque::new(),
        };
        let shared = Arc::new(Shared { driver: Mutex::new(driver), state: Mutex::new(state), changed: Condvar::new() });
        let worker = shared.clone();
        let thread = std::thread::Builder::new().name("memory-log".into()).spawn(move || worker.run());
        Arc::new(MemoryLog { shared, thread: Mutex::new(thread.ok()) })
    }

    /// Records stay sequenced, neither durable nor applied.
    pub fn hold(&self) {
        self.shared.state.lock().held = true;
    }

    pub fn release(&self) {
        self.shared.state.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Whether the log has no space for more.
    pub fn set_full(&self, full: bool) {
        self.shared.state.lock().full = full;
    }

    /// The state here is not the latest until the next read barrier has done this.
    pub fn fall_behind(&self, catch_up: impl FnOnce() + Send + 'static) {
        self.shared.state.lock().behind = Some(Box::new(catch_up));
    }

    /// Number of records that wait.
    pub fn queued(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Every record that was applied.
    pub fn records(&self) -> Vec<Record> {
        self.shared.driver.lock().applied.clone()
    }

    /// Refuses what is appended from now on, before this node is told of another primary.
    pub fn refuse(&self) {
        self.shared.state.lock().primary = false;
    }

    /// Another node becomes primary. What waits is kept by it (and applied here before its own records) if `survives`;
    /// its outcome is unknown here in either case.
    pub fn lose_leadership(&self, survives: bool) {
        let mut driver = self.shared.driver.lock();
        let queue = {
            let mut state = self.shared.state.lock();
            state.primary = false;
            std::mem::take(&mut state.queue)
        };
        driver.machine.set_role(Role::Standby { primary: None });
        for (record, answer) in queue {
            if survives {
                driver.apply(record);
            }
            let _ = answer.send(Err(AppendError::Unknown("leadership was lost".into())));
        }
    }

    /// This node becomes primary under a new epoch.
    pub fn regain_leadership(&self) {
        let mut driver = self.shared.driver.lock();
        let epoch = {
            let mut state = self.shared.state.lock();
            state.epoch = Epoch(state.epoch.0 + 1);
            state.primary = true;
            state.epoch
        };
        driver.position += 1;
        driver.machine.advance(LogPosition(driver.position));
        driver.machine.set_role(Role::Primary { epoch });
    }
}

impl Driver {
    fn apply(&mut self, record: Record) -> LogPosition {
        self.position += 1;
        self.machine.apply(LogPosition(self.position), &record);
        self.applied.push(record);
        LogPosition(self.position)
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut driver = self.driver.lock();
            let next = {
                let mut state = self.state.lock();
                if state.stopping {
                    return;
                }
                if state.held { None } else { state.queue.pop_front() }
            };
            if let Some((record, answer)) = next {
                let position = driver.apply(record);
                let _ = answer.send(Ok(position));
                continue;
            }
            drop(driver);
            let mut state = self.state.lock();
            if !state.stopping && (state.held || state.queue.is_empty()) {
                self.changed.wait(&mut state);
            }
        }
    }
}

#[async_trait]
impl CommitLog for MemoryLog {
    fn append(&self, epoch: Epoch, record: Record) -> Appended {
        let (answer, appended) = oneshot::channel();
        let mut state = self.shared.state.lock();
        if !state.primary || state.epoch != epoch {
            let _ = answer.send(Err(AppendError::NotPrimary { primary: None }));
        } else {
            state.queue.push_back((record, answer));
            self.shared.changed.notify_all();
        }
        appended
    }

    async fn read_barrier(&self) -> Result<(), ReadError> {
        let behind = self.shared.state.lock().behind.take();
        if let Some(catch_up) = behind {
            catch_up();
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.shared.state.lock().full
    }

    fn read_barrier_is_free(&self) -> bool {
        self.shared.state.lock().behind.is_none()
    }

    async fn status(&self) -> ClusterStatus {
        ClusterStatus::default()
    }

    async fn checkpoint(&self) -> Result<LogPosition, CheckpointError> {
        Ok(self.shared.driver.lock().machine.applied())
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}
