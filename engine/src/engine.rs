//! The engine as a whole: what is shared by all sessions, and the life of it from recovery to the end.
//!
//! Invariants:
//! 1. No session starts before the log is attached and its role is known: what it would read is not there yet.
//! 2. Housekeeping runs on one thread of its own, which ends with the engine.

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use parking_lot::Mutex;

use crate::apply::Applier;
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, Oid, RoleDef};
use crate::commit_log::{CommitLog, SharedStateMachine};
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::monitor::Monitor;
use crate::query::QueryEngine;
use crate::session::registry::{Sessions, now_micros};
use crate::session::settings::{Settings, User};
use crate::session::{BackendKey, Session, Startup};
use crate::storage::Storage;
use crate::txn::Transactions;

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
    /// Sessions may set `synchronous_commit` to off or local: acknowledged before a majority has the commit.
    pub allow_local_commit: bool,
    /// Most clients at once, for views: who serves them sees to it.
    pub max_connections: usize,
    /// The node keeps no tables: clients are told so and nothing else.
    pub witness: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, |n| n.get());
        EngineConfig {
            memory_limit: 8 << 30,
            query_threads: cores,
            partitions: 4 * cores,
            node_name: "node1".into(),
            allow_local_commit: false,
            max_connections: 500,
            witness: false,
        }
    }
}

/// How often dead versions are looked for.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(500);

/// The database. One per process (tests start several).
pub struct Engine {
    pub(crate) config: EngineConfig,
    transactions: Arc<Transactions>,
    machine: SharedStateMachine,
    query: QueryEngine,
    sessions: Sessions,
    log: OnceLock<Arc<dyn CommitLog>>,
    started: i64,
    /// Checks for divergence go one after the other.
    pub(crate) checking: tokio::sync::Mutex<()>,
    pub(crate) monitor: Monitor,
    /// Dropped to end the maintenance of storage.
    maintenance: Mutex<Option<mpsc::Sender<()>>>,
}

impl Engine {
    /// An engine with the catalog of a new cluster. Fails only when its threads can't be started, which ends a process
    /// that has not done anything yet.
    pub fn new(config: EngineConfig) -> Arc<Engine> {
        let catalog = Catalog::bootstrap("postgres", "postgres");
        let storage = Arc::new(Storage::new(catalog, config.memory_limit, config.partitions));
        let transactions = Transactions::new(storage);
        let query = match QueryEngine::new(&config) {
            Ok(query) => query,
            Err(error) => panic!("cannot start the query threads: {error}"),
        };
        Arc::new(Engine {
            machine: Arc::new(Applier::new(transactions.clone())),
            query,
            sessions: Sessions::default(),
            log: OnceLock::new(),
            started: now_micros(),
            checking: tokio::sync::Mutex::default(),
            monitor: Monitor::default(),
            maintenance: Mutex::new(Some(maintain(transactions.clone()))),
            transactions,
            config,
        })
    }

    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What the log drives.
    pub fn state_machine(self: &Arc<Self>) -> SharedStateMachine {
        self.machine.clone()
    }

    /// Called once, when the log was started with [`Self::state_machine`].
    pub fn attach_log(&self, log: Arc<dyn CommitLog>) {
        self.transactions.attach_log(log.clone());
        let _ = self.log.set(log);
    }

    pub(crate) fn machine(&self) -> &SharedStateMachine {
        &self.machine
    }

    pub(crate) fn transactions(&self) -> &Arc<Transactions> {
        &self.transactions
    }

    pub(crate) fn query(&self) -> &QueryEngine {
        &self.query
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn log(&self) -> Option<&Arc<dyn CommitLog>> {
        self.log.get()
    }

    /// The newest applied catalog.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.transactions.storage.catalog()
    }

    /// [`Self::catalog`] of a database.
    pub(crate) fn catalog_of(&self, database: Oid) -> Arc<Catalog> {
        self.transactions.storage.catalog_of(database)
    }

    /// Bytes that rows, indexes and transactions' buffers take.
    pub fn memory_used(&self) -> usize {
        self.transactions.storage.memory.used()
    }

    /// Start of the engine, microseconds since 1970.
    pub(crate) fn started(&self) -> i64 {
        self.started
    }

    /// Whether this node only serves reads.
    pub(crate) fn is_standby(&self) -> bool {
        !self.transactions.is_primary()
    }

    /// A session for a client that has authenticated. Errors: 57P03 while the node recovers, 3D000 for an unknown
    /// database, 28000 for an unknown role, 42704 and 22023 for bad parameters.
    pub async fn connect(self: &Arc<Self>, startup: Startup) -> Result<Session> {
        let catalog = self.login_catalog(&startup.user).await?;
        let role = self.login_role(&catalog, &startup.user)?;
        let database = match catalog.find_database(&startup.database) {
            Ok(database) => database,
            Err(_) => {
                // It may have been created elsewhere a moment ago.
                self.transactions.read_barrier().await?;
                self.catalog().find_database(&startup.database)?
            }
        };
        let catalog = self.catalog_of(database);
        self.check_admission(&catalog, role)?;
        let stored = [(database, Oid(0)), (Oid(0), role.oid), (database, role.oid)];
        let everybody = catalog.access.settings_of(Oid(0), Oid(0));
        let [of_database, own, both] = stored.map(|(database, role)| catalog.access.settings_of(database, role));
        let stored = [everybody, of_database, own, both];
        // Roles are found in the catalog, not among the settings.
        let is_role = |name: &str| matches!(name, "role" | "session_authorization");
        let settings_of = |list: &[(String, String)]| -> Vec<(String, String)> {
            list.iter().filter(|(name, _)| !is_role(name)).cloned().collect()
        };
        let stored_settings = stored.map(settings_of);
        let lists: Vec<&[(String, String)]> = stored_settings.iter().map(Vec::as_slice).collect();
        let parameters = settings_of(&startup.parameters);
        let facts = [("max_connections", self.config.max_connections.to_string())];
        let settings = Settings::new(User::of(role), &lists, &parameters, self.config.allow_local_commit, &facts)?;
        let shared = self.sessions.register(&startup.user, &startup.database, startup.client);
        let mut session = Session::open(self.clone(), shared, settings, database);
        // DROP DATABASE counts who is registered: from here on it waits or refuses.
        self.catalog().database_of(database)?;
        for wanted in ["session_authorization", "role"] {
            let given = startup.parameters.iter().find(|(name, _)| name == wanted);
            let kept = stored.iter().rev().find_map(|list| list.iter().find(|(name, _)| name == wanted));
            if let Some((_, text)) = given {
                session.set_user(wanted, Some(text), false)?;
            } else if let Some((_, text)) = kept
                && let Err(report) = session.set_user(wanted, Some(text), false)
            {
                session.notice(NoticeLevel::Warning, report);
            }
        }
        session.settings_changed();
        Ok(session)
    }

    /// As [`Self::connect`], for the client of another node, which has authenticated there: every setting is reported, and
    /// where its commits are.
    pub async fn connect_carried(self: &Arc<Self>, startup: Startup) -> Result<Session> {
        let mut session = self.connect(startup).await?;
        session.serve_another_node();
        Ok(session)
    }

    /// The catalog to look for a role in. Before a role is called unknown, the node catches up with the cluster: it may
    /// have just started, or be behind. Errors: 57P03 when it cannot.
    async fn login_catalog(&self, role: &str) -> Result<Arc<Catalog>> {
        if self.config.witness {
            let message = "this node is a witness: it votes and serves no statements";
            return Err(Error::new(SqlState::CannotConnectNow, message).hint("Connect to another node of the cluster."));
        }
        if self.log.get().is_none() {
            return Err(Error::new(SqlState::CannotConnectNow, "the database system is starting up"));
        }
        if self.catalog().role(role).is_none() {
            self.transactions.read_barrier().await?;
        }
        Ok(self.catalog())
    }

    /// Whether a role may have one more session: 42501, 53300.
    fn check_admission(&self, catalog: &Catalog, role: &RoleDef) -> Result<()> {
        let database = &catalog.database;
        if !database.allows_connections {
            let message = format!("database \"{}\" is not currently accepting connections", database.name);
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
        }
        if role.superuser {
            return Ok(());
        }
        let connected = self.sessions.in_database(&database.name, 0).len();
        if usize::try_from(database.connection_limit).is_ok_and(|limit| connected >= limit) {
            let message = format!("too many connections for database \"{}\"", database.name);
            return Err(Error::new(SqlState::TooManyConnections, message));
        }
        if !catalog.database_rights(role.oid).has(Rights::CONNECT) {
            let message = format!("permission denied for database \"{}\"", database.name);
            return Err(
                Error::new(SqlState::InsufficientPrivilege, message).detail("User does not have CONNECT privilege.")
            );
        }
        let sessions = self.sessions.list().iter().filter(|session| *session.user == *role.name).count();
        if usize::try_from(role.connection_limit).is_ok_and(|limit| sessions >= limit) {
            let message = format!("too many connections for role \"{}\"", role.name);
            return Err(Error::new(SqlState::TooManyConnections, message));
        }
        Ok(())
    }

    fn login_role<'a>(&self, catalog: &'a Catalog, name: &str) -> Result<&'a Arc<RoleDef>> {
        let role = catalog.role(name).ok_or_else(|| {
            Error::new(SqlState::InvalidAuthorizationSpecification, format!("role \"{name}\" does not exist"))
        })?;
        if !role.login {
            return Err(Error::new(
                SqlState::InvalidAuthorizationSpecification,
                format!("role \"{name}\" is not permitted to log in"),
            ));
        }
        Ok(role)
    }

    /// Stored SCRAM-SHA-256 verifier of a role that may log in (`SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>`).
    /// Errors: 57P03 while the node recovers.
    pub async fn scram_verifier(&self, role: &str) -> Result<Option<String>> {
        let catalog = self.login_catalog(role).await?;
        let valid = |role: &&Arc<RoleDef>| role.login && role.valid_until.is_none_or(|until| until >= now_micros());
        Ok(catalog.role(role).filter(valid).and_then(|role| role.password.clone()))
    }

    /// CancelRequest: interrupts the session's running statement (57014), if the key is right. Says nothing either way.
    pub fn cancel(&self, key: BackendKey) {
        self.sessions.cancel(key);
    }

    /// Ends all sessions (57P01) through their [`Session::termination`].
    pub fn stop_sessions(&self) {
        self.sessions.terminate_all();
    }

    /// Ends background work; the log is still usable. Called after the last session has gone.
    pub fn stop(&self) {
        *self.maintenance.lock() = None;
    }
}

/// Keeps storage tidy until the sender is dropped. While the log is read at the start, that has the cores to itself as
/// long as memory is plenty.
fn maintain(transactions: Arc<Transactions>) -> mpsc::Sender<()> {
    let (stop, stopped) = mpsc::channel();
    let work = move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(MAINTENANCE_INTERVAL) {
            let memory = &transactions.storage.memory;
            if transactions.log().is_ok() || memory.used() > memory.limit() / 2 {
                transactions.storage.maintain();
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("storage-maintenance".into()).spawn(work) {
        tracing::error!(%error, "cannot start the maintenance of storage");
    }
    stop
}
