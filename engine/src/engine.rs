//! The engine as a whole: what is shared by all sessions.

use std::sync::{Arc, OnceLock};

use crate::commit_log::{CommitLog, SharedStateMachine};
use crate::error::Result;
use crate::session::{BackendKey, Session, Startup};

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
    log: OnceLock<Arc<dyn CommitLog>>,
}

impl Engine {
    pub fn new(config: EngineConfig) -> Arc<Engine> {
        Arc::new(Engine { config, log: OnceLock::new() })
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What the log drives.
    pub fn state_machine(self: &Arc<Self>) -> SharedStateMachine {
        unreachable!()
    }

    /// Called once, when the log was started with [`Self::state_machine`].
    pub fn attach_log(&self, log: Arc<dyn CommitLog>) {
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
