//! A node of the simulated cluster: the real [`Node`] on a runtime of its own, the real state machine, transactions and
//! storage of the engine, and what the machine around them keeps when the process is gone.

use std::future::Future;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::apply::Applier;
use engine::catalog::{Catalog, Oid};
use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use engine::commit_log::{
    Appended, Checkpoint, CheckpointError, ClusterStatus, CommitLog, DigestAnswer, Epoch, LogPosition, NodeDigest,
    ReadError, Record, Role, SharedStateMachine, StateMachine,
};
use engine::storage::Storage;
use engine::txn::{Isolation, Transaction, TransactionOptions, Transactions};
use engine::types::Datum;
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::history::CELLS;
use super::invariants::{equal_states, log_matching, one_primary};
use super::workload::{self, OPERATION};
use super::world::with;
use super::{interposed, network};
use crate::node::{Node, Running, Stop};
use crate::{Fatal, NodeConfig, StartError};

/// Wall clocks begin here: November 2026, in nanoseconds.
const WALL: u64 = 1_796_000_000_000_000_000;
const PARTITIONS: usize = 3;
const MEMORY: usize = 1 << 30;

/// How a machine's clocks go.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Local time, at a moment of the world's.
    local: u64,
    at: u64,
    /// Local nanoseconds for a million of the world's.
    rate: u64,
    /// What the wall clock is ahead.
    pub ahead: i64,
}

impl Clock {
    pub fn new(now: u64) -> Self {
        Self { local: now, at: now, rate: 1_000_000, ahead: 0 }
    }

    fn monotonic(&self, now: u64) -> u64 {
        self.local + ((now - self.at) as u128 * u128::from(self.rate) / 1_000_000) as u64
    }

    pub fn set_rate(&mut self, now: u64, rate: u64) {
        *self = Self { local: self.monotonic(now), at: now, rate, ..*self };
    }

    fn wait(&self, local: Duration) -> u64 {
        (local.as_nanos() * 1_000_000 / u128::from(self.rate)) as u64 + 1
    }
}

type Started = Arc<Mutex<Option<Result<Arc<Node>, StartError>>>>;

/// A process of a node.
pub struct Life {
    pub number: u64,
    runtime: Runtime,
    main: Pin<Box<dyn Future<Output = ()>>>,
    ended: bool,
    /// It was seen to take part.
    pub greeted: bool,
    started: Started,
    pub transactions: Arc<Transactions>,
    pub storage: Arc<Storage>,
}

/// A machine, with or without a process.
pub struct SimulatedNode {
    pub place: usize,
    pub directory: PathBuf,
    pub clock: Clock,
    pub life: Option<Life>,
    pub paused: bool,
    /// When the runtime wants to be woken, on the world's clock.
    pub wake_at: Option<u64>,
    pub write_scheduled: bool,
}

/// What a run asks of its nodes.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    pub checkpoint_log_bytes: u64,
    pub entries_kept: u64,
    pub segment_bytes: u64,
    pub entry_cache_bytes: u64,
}

impl SimulatedNode {
    pub fn new(place: usize, root: &Path, now: u64) -> Self {
        let directory = root.join(format!("node{place}"));
        let clock = Clock::new(now);
        Self { place, directory, clock, life: None, paused: false, wake_at: None, write_scheduled: false }
    }

    /// From here on this thread is on this machine.
    pub fn enter(&self) {
        let now = with(|world| {
            world.current = self.place;
            world.now
        });
        let monotonic = self.clock.monotonic(now);
        interposed::set_clocks(monotonic, (WALL + monotonic).saturating_add_signed(self.clock.ahead));
    }

    /// Starts a process.
    pub fn start(&mut self, number: u64, sizes: Sizes, others: &[usize]) {
        self.enter();
        with(|world| {
            let disk = &mut world.disks[self.place];
            *disk = disk.taken();
            world.dark.remove(&self.place);
            world.fatal.remove(&self.place);
            world.answer_for_the_dead(self.place);
            world.trace(format_args!("start {} life {number}", self.place));
        });
        let storage = Arc::new(Storage::new(Catalog::bootstrap("postgres", "postgres"), MEMORY, PARTITIONS));
        let transactions = Transactions::new(storage.clone());
        let machine: SharedStateMachine = Arc::new(Observed {
            inner: Applier::new(transactions.clone()),
            transactions: transactions.clone(),
            life: number,
            place: self.place,
        });
        let started = Started::default();
        let config = self.config(sizes, others);
        let main = process(config, machine, transactions.clone(), started.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
        let main = Box::pin(main);
        self.life = Some(Life { number, runtime, main, ended: false, greeted: false, started, transactions, storage });
        self.write_scheduled = false;
        self.wake_at = None;
        with(|world| world.touch(self.place));
    }

    fn config(&self, sizes: Sizes, others: &[usize]) -> NodeConfig {
        let address = network::address(self.place);
        let mut config = NodeConfig::new(&self.directory, format!("node{}", self.place), address);
        config.join = others.iter().map(|other| network::address(*other).to_string()).collect();
        config.timings.join = Duration::from_secs(8);
        config.checkpoint_log_bytes = sizes.checkpoint_log_bytes;
        // The clock stands while a checkpoint is written: who waits for it to be due would wait for ever.
        config.checkpoint_spread = Duration::ZERO;
        config.entries_kept = sizes.entries_kept;
        config.segment_bytes = sizes.segment_bytes;
        config.entry_cache_bytes = sizes.entry_cache_bytes;
        config
    }

    /// Lets the process do what it can; answers when it has more to do, on the world's clock.
    pub fn run(&mut self) -> Option<u64> {
        self.enter();
        let life = self.life.as_mut()?;
        let wait = interposed::run_until_idle(&life.runtime, &mut life.main, &mut life.ended)?;
        Some(with(|world| world.now) + self.clock.wait(wait))
    }

    /// Ends the process at once, as a signal or the loss of power does.
    pub fn kill(&mut self) {
        self.enter();
        self.paused = false;
        self.wake_at = None;
        if let Some(Life { runtime, main, started, transactions, storage, .. }) = self.life.take() {
            {
                let _within = runtime.enter();
                drop(main);
                drop(started);
            }
            drop(runtime);
            drop((transactions, storage));
        }
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<tokio::task::JoinHandle<()>> {
        self.enter();
        with(|world| world.touch(self.place));
        self.life.as_ref().map(|life| life.runtime.spawn(task))
    }
}

impl Life {
    /// The node, once it takes part.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.started.lock().as_ref()?.as_ref().ok().cloned()
    }

    /// Why it did not start, or that it ended by itself.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    pub fn failure(&self) -> Option<String> {
        self.started.lock().as_ref()?.as_ref().err().map(ToString::to_string)
    }

    pub fn is_primary(&self) -> bool {
        self.transactions.is_primary()
    }
}

async fn process(config: NodeConfig, machine: SharedStateMachine, transactions: Arc<Transactions>, started: Started) {
    let place = with(|world| world.current);
    let on_fatal = Arc::new(move |fatal: Fatal| {
        with(|world| {
            world.trace(format_args!("fatal {place} {fatal}"));
            world.fatal.entry(place).or_insert(fatal.0);
        });
    });
    match Running::start(config, machine, on_fatal).await {
        Ok((running, parts)) => {
            let (stop, stopping) = oneshot::channel();
            let node = Arc::new(Node::of(parts, stop, None, false));
            transactions.attach_log(Arc::new(ObservedLog(node.clone())));
            *started.lock() = Some(Ok(node));
            running.until(stopping).await;
        }
        Err(error) => *started.lock() = Some(Err(error)),
    }
}

/// Asks a node to end in order.
pub fn stop(node: &Node) {
    node.end(Stop::Graceful);
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// The node as the engine's log, with notes of which operation's record it was handed.
struct ObservedLog(Arc<Node>);

#[async_trait]
impl CommitLog for ObservedLog {
    fn append(&self, epoch: Epoch, record: Record) -> Appended {
        if let Some(operation) = OPERATION.get() {
            with(|world| world.history.appended.insert(hash(&record), operation));
        }
        self.0.append(epoch, record)
    }

    fn append_telling(&self, epoch: Epoch, record: Record, local: Option<oneshot::Sender<()>>) -> Appended {
        if let Some(operation) = OPERATION.get() {
            with(|world| world.history.appended.insert(hash(&record), operation));
        }
        self.0.append_telling(epoch, record, local)
    }

    async fn applied_everywhere(&self, position: LogPosition) -> bool {
        self.0.applied_everywhere(position).await
    }

    fn staleness(&self) -> Option<Duration> {
        self.0.staleness()
    }

    async fn change_cluster(&self, change: ClusterChange) -> Result<ClusterChanged, ClusterChangeError> {
        self.0.change_cluster(change).await
    }

    async fn digests(&self, check: u64, own: DigestAnswer, patience: Duration) -> Vec<NodeDigest> {
        self.0.digests(check, own, patience).await
    }

    async fn condemn(&self, node: u64, check: u64, reference: Vec<u8>, reason: String) -> Result<(), String> {
        self.0.condemn(node, check, reference, reason).await
    }

    async fn read_barrier(&self) -> Result<(), ReadError> {
        self.0.read_barrier().await
    }

    fn is_full(&self) -> bool {
        self.0.is_full()
    }

    fn read_barrier_is_free(&self) -> bool {
        self.0.read_barrier_is_free()
    }

    async fn status(&self) -> ClusterStatus {
        self.0.status().await
    }

    async fn checkpoint(&self) -> Result<LogPosition, CheckpointError> {
        self.0.checkpoint().await
    }
}

/// The engine's state machine, observed.
struct Observed {
    inner: Applier,
    transactions: Arc<Transactions>,
    life: u64,
    place: usize,
}

impl Observed {
    /// Compares what the tables hold with what other nodes held at this position.
    fn compare(&self, position: LogPosition) {
        let options = TransactionOptions {
            isolation: Isolation::RepeatableRead,
            read_only: true,
            process: 0,
            lock_timeout: None,
        };
        let mut reader = Transaction::begin(&self.transactions, options);
        let Some(table) = reader.table(Oid(workload::TABLE)) else { return };
        let mut hasher = DefaultHasher::new();
        for cell in 0..CELLS {
            let row = workload::key(&table, cell).and_then(|key| reader.get(&table, &key, None));
            for datum in row.iter().flat_map(|row| row.iter()) {
                match datum {
                    Datum::Int4(value) => hasher.write_i32(*value),
                    // One may be long, and this is done for every row at every position on every node.
                    Datum::Text(text) => hasher.write_u32(crc32c::crc32c(text.as_bytes())),
                    _ => hasher.write_u8(0),
                }
            }
            hasher.write_usize(cell);
        }
        reader.rollback();
        let state = hasher.finish();
        with(|world| equal_states::observed(&mut world.history, self.life, position.0, state));
    }
}

impl StateMachine for Observed {
    fn apply(&self, position: LogPosition, record: &Record) {
        let record_hash = hash(record);
        with(|world| {
            world.trace(format_args!("apply {} {:x} {record_hash:x}", self.place, position.0));
            log_matching::applied(&mut world.history, self.life, position.0, record_hash);
        });
        self.inner.apply(position, record);
        self.compare(position);
    }

    fn takes_long(&self, record: &Record) -> bool {
        self.inner.takes_long(record)
    }

    fn advance(&self, position: LogPosition) {
        self.inner.advance(position);
    }

    fn applied(&self) -> LogPosition {
        self.inner.applied()
    }

    fn begin_checkpoint(&self) -> Box<dyn Checkpoint> {
        with(|world| {
            world.history.counts.checkpoints += 1;
            world.trace(format_args!("checkpoint {}", self.place));
        });
        self.inner.begin_checkpoint()
    }

    fn verify(&self, dir: &Path) -> Result<(), CheckpointError> {
        self.inner.verify(dir)
    }

    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError> {
        let position = self.inner.restore(dir)?;
        with(|world| {
            world.history.counts.restored += 1;
            world.trace(format_args!("restore {} {:x}", self.place, position.0));
            log_matching::restored(&mut world.history, self.life, position.0);
        });
        let last = with(|world| world.history.log.range(..=position.0).next_back().map(|(at, _)| *at));
        // Behind the last record nothing changed.
        if let Some(last) = last {
            self.compare(LogPosition(last));
        }
        Ok(position)
    }

    fn set_role(&self, role: Role) {
        with(|world| {
            world.trace(format_args!("role {} {role:?}", self.place));
            if let Role::Primary { epoch } = role {
                let before = world.history.primaries.last_key_value().map(|(_, life)| *life);
                world.history.counts.failovers += u64::from(before.is_some_and(|before| before != self.life));
                one_primary::reigns(&mut world.history, self.life, epoch);
            }
        });
        self.inner.set_role(role);
    }

    fn digest(&self, check: u64) -> DigestAnswer {
        self.inner.digest(check)
    }

    fn set_out_of_service(&self, reason: Option<String>) {
        self.inner.set_out_of_service(reason);
    }
}
