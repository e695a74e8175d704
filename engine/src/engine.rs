//! The engine as a whole: what is shared by all sessions.

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use crate::apply::Applier;
use crate::catalog::Catalog;
use crate::commit_log::{CommitLog, SharedStateMachine};
use crate::error::Result;
use crate::session::{BackendKey, Session, Startup};
use crate::storage::Storage;
use crate::txn::Transactions;

/// How often dead versions are looked for.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

/// Configuration of the engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Bytes that rows, indexes and buffers may take. Over it writes answer 53200.
    pub memory_limit: usize,
    /// Threads of the query runtime.
    pub query_threads: usize,
    /// Memory partitions of a table.
    pub partitions: usize,
    /// Name of this node, for views.
    pub node_name: String,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
        EngineConfig { memory_limit: 8 << 30, query_threads: cores, partitions: 4 * cores, node_name: "node1".into() }
    }
}

/// The database. One per process (tests start several).
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) transactions: Arc<Transactions>,
    state_machine: SharedStateMachine,
    log: OnceLock<Arc<dyn CommitLog>>,
    /// Dropped with the engine: ends the maintenance of storage.
    _maintenance: mpsc::Sender<()>,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Arc<Engine> {
        let catalog = Catalog::bootstrap("postgres", "postgres");
        let storage = Arc::new(Storage::new(catalog, config.memory_limit, config.partitions));
        let transactions = Transactions::new(storage.clone());
        let state_machine = Arc::new(Applier::new(transactions.clone()));
        let _maintenance = maintain(storage);
        Arc::new(Engine { config, transactions, state_machine, log: OnceLock::new(), _maintenance })
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What the log drives.
    pub fn state_machine(self: &Arc<Self>) -> SharedStateMachine {
        self.state_machine.clone()
    }

    /// Called once, when the log was started with [`Self::state_machine`].
    pub fn attach_log(&self, log: Arc<dyn CommitLog>) {
        self.transactions.attach_log(log.clone());
        let _ = self.log.set(log);
    }

    /// A session for a client that has authenticated. Errors: 57P03 while the node recovers, 3D000 for an unknown
    /// database, 28000 for an unknown role, 42704 and 22023 for bad parameters.
    pub async fn connect(self: &Arc<Self>, _startup: Startup) -> Result<Session> {
        unreachable!()
    }

    /// Stored SCRAM-SHA-256 verifier of a role that may log in (`SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>`).
    pub fn scram_verifier(&self, _role: &str) -> Option<String> {
        unreachable!()
    }

    /// CancelRequest: interrupts the session's running statement (57014), if the key is right. Says nothing either way.
    pub fn cancel(&self, _key: BackendKey) {}

    /// Ends all sessions (57P01) through their [`Session::termination`].
    pub fn stop_sessions(&self) {}

    /// Ends background work; the log is still usable. Called after the last session has gone.
    pub fn stop(&self) {}
}

/// Keeps storage tidy until the sender is dropped.
fn maintain(storage: Arc<Storage>) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel();
    let work = move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(MAINTENANCE_INTERVAL) {
            storage.maintain();
        }
    };
    if let Err(error) = std::thread::Builder::new().name("storage-maintenance".into()).spawn(work) {
        tracing::error!(%error, "cannot start the maintenance of storage");
    }
    stop
}
