//! What a node is started with. Every field has a unit, a default and one meaning.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backup::archiver::ArchiveConfig;
pub use crate::net::message::SessionRequest;

/// Settings of one node.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Directory of the log, the checkpoints and the node's identity; created when it does not exist.
    pub data_dir: PathBuf,
    /// Name of the node in views and logs; must be unique in the cluster.
    pub node_name: String,
    /// Address to listen on for the other nodes (port 0: any free port, for tests).
    pub peer_listen: SocketAddr,
    /// `HOST:PORT` under which the other nodes reach `peer_listen`; `None`: the address listened on.
    pub peer_advertise: Option<String>,
    /// `HOST:PORT` of the client port, shown in views.
    pub client_address: String,
    /// `HOST:PORT` of peers of an existing cluster. Empty, with an empty data directory: a new cluster begins here.
    /// Ignored when the data directory already belongs to a cluster.
    pub join: Vec<String>,
    /// With an empty data directory and nobody to join: wait until a cluster invites this node. Default false.
    pub await_invitation: bool,
    /// Vote and keep the log, and no tables. Decided when the node joins, for ever. Default false.
    pub witness: bool,
    /// Stay a learner, an asynchronous standby, until it is promoted. Read when the node joins. Default false.
    pub learner: bool,
    /// Bytes of log that a witness keeps behind its checkpoint, for a node with tables that was away. Default 1 GiB.
    pub witness_log_bytes: u64,
    pub timings: Timings,
    /// Who serves the clients that other nodes carry here; default nobody.
    pub sessions: Option<SharedSessions>,
    /// Bytes of log after which a checkpoint is written. Default 256 MiB.
    pub checkpoint_log_bytes: u64,
    /// Time over which such a checkpoint is spread while there are commits, unless it would meet the next. Default 4 min.
    pub checkpoint_spread: Duration,
    /// Entries that stay in the log behind a checkpoint, for standbys that are a little behind. Default 10 000.
    pub entries_kept: u64,
    /// Bytes of one log segment file. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of recent entries that are kept in memory for shipping and applying. Default 16 MiB.
    pub entry_cache_bytes: u64,
    /// Bytes of proposals on their way through consensus; more wait in the queue. Default 64 MiB.
    pub in_flight_bytes_max: u64,
    /// Bytes a second at which checkpoints are sent to other nodes and backups, all together; 0: no limit.
    /// Default 64 MiB.
    pub transfer_bytes_per_second: u64,
    /// Where the log is archived as it is committed. Default: nowhere.
    pub archive: Option<ArchiveConfig>,
}

impl NodeConfig {
    /// The defaults for a new cluster of one node.
    pub fn new(data_dir: impl Into<PathBuf>, node_name: impl Into<String>, peer_listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            node_name: node_name.into(),
            peer_listen,
            peer_advertise: None,
            client_address: String::new(),
            join: Vec::new(),
            await_invitation: false,
            witness: false,
            learner: false,
            witness_log_bytes: 1 << 30,
            timings: Timings::default(),
            sessions: None,
            checkpoint_log_bytes: 256 << 20,
            checkpoint_spread: Duration::from_secs(240),
            entries_kept: 10_000,
            segment_bytes: 64 << 20,
            entry_cache_bytes: 8 << 20,
            in_flight_bytes_max: 64 << 20,
            transfer_bytes_per_second: 64 << 20,
            archive: None,
        }
    }
}

/// Serves clients of other nodes: implemented by the binary, over the client side of this node.
pub trait ClientSessions: Send + Sync + 'static {
    /// The connection carries what the client says from here on, and what it is answered.
    fn serve(&self, stream: std::net::TcpStream, request: SessionRequest);

    fn cancel(&self, process: i32, secret: i32);
}

#[derive(Clone)]
pub struct SharedSessions(pub Arc<dyn ClientSessions>);

impl fmt::Debug for SharedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSessions")
    }
}

/// How fast a lost primary is noticed and how long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// The primary tells the standbys this often that it lives. Default 100 ms.
    pub heartbeat: Duration,
    /// A standby that heard nothing for a random time between these two stands for election. Default 300-600 ms.
    pub election_min: Duration,
    pub election_max: Duration,
    /// A read barrier that takes longer is given up. Default 5 s.
    pub read_barrier: Duration,
    /// How long a joining node looks for the cluster before it gives up. Default 60 s.
    pub join: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            read_barrier: Duration::from_secs(5),
            join: Duration::from_secs(60),
        }
    }
}
