//! The border between the engine and replication: what a log must do for the engine ([`CommitLog`]) and what the
//! engine does for the log ([`StateMachine`]).
//!
//! Nothing here knows Raft, files or sockets, and nothing here knows what a record means.
//!
//! Invariants:
//! 1. Records reach [`StateMachine::apply`] in log order, each exactly once after the last checkpoint, on every node.
//! 2. A record is applied only after a majority of the voters has it on stable storage.
//! 3. [`CommitLog::append`] keeps the order of the calls, and a record handed in under an [`Epoch`] that is no longer
//!    current is never written.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::catalog::Member;
use crate::cluster::{ClusterChange, ClusterChangeError, ClusterChanged, ForcedPrimary};
use crate::monitor::Distribution;

/// Place of a record in a group's log; 0 means "before the first record". Positions grow along the log and are not
/// dense: the number of the log entry is in the upper 48 bits, that of the record within its entry in the lower 16.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogPosition(pub u64);

/// One reign of one primary: grows with every change of leadership, and when a primary goes on after a pause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A replication group. There is one, [`GroupId::FIRST`], until placement asks for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u32);

impl GroupId {
    pub const FIRST: GroupId = GroupId(1);
}

/// A node of the cluster. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

/// Opaque bytes that the engine wrote and will read again in [`StateMachine::apply`].
pub type Record = Bytes;

/// Why a record was not (or perhaps not) committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Certainly not written and never will be: this node is not the primary of that epoch.
    #[error("this node is not the primary")]
    NotPrimary { primary: Option<NodeId> },
    /// Certainly not written: no peer would accept a record of this size.
    #[error("a record of {bytes} bytes is larger than the log takes ({limit})")]
    TooLarge { bytes: usize, limit: usize },
    /// May be committed now or later: leadership was lost, or the node is stopping, while the record was on its way.
    #[error("the outcome of the commit is unknown: {0}")]
    Unknown(String),
}

/// Completion of one [`CommitLog::append`]: the position of the record, sent after this node has applied it.
pub type Appended = oneshot::Receiver<Result<LogPosition, AppendError>>;

/// Why a read barrier could not be passed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    #[error("no primary is known")]
    NoPrimary,
    #[error("the primary did not answer in time")]
    Timeout,
    #[error("the node is stopping")]
    Stopping,
}

/// The engine's view of the replicated log. Implemented by `replication`, and in memory for the engine's own tests.
#[async_trait]
pub trait CommitLog: Send + Sync + 'static {
    /// Queues `record` behind all that were appended before. Never blocks; the caller bounds what it has in flight.
    /// The receiver resolves after the record was applied on this node, or with what became of it. A receiver that is
    /// dropped by the log without a value means [`AppendError::Unknown`].
    fn append(&self, epoch: Epoch, record: Record) -> Appended;

    /// As [`Self::append`]; `local` is told, perhaps earlier, when the record is on this node's own stable storage, where
    /// the log can tell. It is dropped when that is not known.
    fn append_telling(&self, epoch: Epoch, record: Record, local: Option<oneshot::Sender<()>>) -> Appended {
        drop(local);
        self.append(epoch, record)
    }

    /// Returns when every standby that is up has applied the record at `position`; false if this node lost its role while
    /// it waited. A standby is up while it answers and keeps pace: nobody waits for a dead one, or for one that catches up.
    async fn applied_everywhere(&self, position: LogPosition) -> bool {
        let _ = position;
        true
    }

    /// Returns when this node has applied everything that any client may have seen acknowledged before the call.
    /// On the primary of a group it also proves that it still is the primary. Calls that arrive together share
    /// one round.
    async fn read_barrier(&self) -> Result<(), ReadError>;

    /// How long ago this node's state is known to have held everything that anybody had seen acknowledged. `None`: not
    /// known. Measured by this node's monotonic clock alone, from before the question was sent that proved it.
    fn staleness(&self) -> Option<Duration> {
        None
    }

    /// True while there is no space for the log: nothing new may be appended. What was appended before is not lost.
    fn is_full(&self) -> bool {
        false
    }

    /// True when [`Self::read_barrier`] would return at once without asking anybody: a group of one voter.
    fn read_barrier_is_free(&self) -> bool;

    /// What is known of the cluster now, on any node (a standby asks the primary for what only that one knows).
    async fn status(&self) -> ClusterStatus;

    /// What this node's log and checkpoints have done and how they stand; `None`: a log that keeps no files.
    fn figures(&self) -> Option<LogFigures> {
        None
    }

    /// Asks for a checkpoint now and returns when it is on disk.
    async fn checkpoint(&self) -> Result<LogPosition, CheckpointError>;

    /// Changes the cluster as an operator asks, from any node. A change that was begun goes on when the future is dropped.
    async fn change_cluster(&self, _change: ClusterChange) -> Result<ClusterChanged, ClusterChangeError> {
        Err(ClusterChangeError::Unsupported)
    }

    /// `None`: the log is not archived.
    fn archive_status(&self) -> Option<ArchiveStatus> {
        None
    }

    /// What every member of the group answers about a check, this node, whose answer is `own`, first. Waits no longer
    /// than `patience` for those that have not reached it yet.
    async fn digests(&self, check: u64, own: DigestAnswer, patience: Duration) -> Vec<NodeDigest> {
        let _ = (check, patience);
        vec![NodeDigest { node: 1, name: String::new(), answer: own }]
    }

    /// Takes a node whose digest at a check is not `reference` out of service, to be rebuilt from the others. The error is
    /// a sentence.
    async fn condemn(&self, node: u64, check: u64, reference: Vec<u8>, reason: String) -> Result<(), String> {
        let _ = (node, check, reference, reason);
        Err("there is no other node to rebuild it from".to_owned())
    }
}

/// What has been archived of the log by this node. Times are microseconds since 1970.
#[derive(Debug, Clone, Default)]
pub struct ArchiveStatus {
    /// Ranges archived.
    pub archived: u64,
    /// When the last one was, and its name.
    pub last: Option<(i64, String)>,
    pub failed: u64,
    /// When archiving failed last, and why.
    pub last_failure: Option<(i64, String)>,
    /// Why it fails now.
    pub failing: Option<String>,
    /// It has failed for so long that the log is not kept for it any more.
    pub given_up: bool,
    /// Number of the first entry that is not archived; 0: not known here.
    pub next: u64,
}

/// What a node knows of its digest at a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DigestAnswer {
    /// The node has not reached the check yet, or is still reading.
    Pending,
    /// Opaque; two nodes have the same state if and, but for bad luck, only if they have the same bytes.
    Ready(Vec<u8>),
    /// There will be none. A sentence.
    Unknown(String),
}

/// The digest of one node.
#[derive(Debug, Clone)]
pub struct NodeDigest {
    pub node: u64,
    pub name: String,
    pub answer: DigestAnswer,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ClusterStatus {
    pub cluster_id: String,
    pub this_node: u64,
    pub term: u64,
    pub primary: Option<u64>,
    pub nodes: Vec<NodeStatus>,
    /// Times at which an operator gave up voters for the rest to go on; what only they had is lost.
    pub forced: Vec<ForcedPrimary>,
}

impl ClusterStatus {
    /// The nodes that can carry tables, as replication strategies see them.
    pub fn members(&self) -> Vec<Member> {
        let carries = |node: &&NodeStatus| node.role != "witness" && node.membership != "witness";
        let member = |node: &NodeStatus| Member { name: node.name.clone(), voter: node.membership == "voter" };
        self.nodes.iter().filter(carries).map(member).collect()
    }
}

/// One row of `lockstep_nodes`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeStatus {
    pub id: u64,
    pub name: String,
    pub peer_address: String,
    pub client_address: String,
    /// `voter` or `learner`.
    pub membership: String,
    /// `primary`, `standby`, `candidate` or `witness`.
    pub role: String,
    /// `streaming`, `catchup`, `snapshot`, `unreachable`, `down`.
    pub state: String,
    pub appended: LogPosition,
    pub durable: LogPosition,
    pub applied: LogPosition,
    pub lag_bytes: u64,
    /// While a checkpoint arrives: bytes of it that are there, and all of them.
    pub arrived: Option<(u64, u64)>,
    pub lag: Option<Duration>,
    /// Time since the primary last heard from the node.
    pub last_contact: Option<Duration>,
    /// What the node says is wrong with it.
    pub troubles: Vec<Trouble>,
}

/// Something that a node's log or checkpoints cannot do as they should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// `disk_full`, `slow_fsync`, `checkpoint_failing`, `checkpoint_damaged`, …
    pub kind: String,
    /// A sentence without a full stop.
    pub detail: String,
}

/// A node's log and checkpoints. Counts are since the node started.
#[derive(Debug, Clone, Default)]
pub struct LogFigures {
    pub segments: u64,
    /// Bytes that the segments take on disk.
    pub segment_bytes: u64,
    pub written_bytes: u64,
    /// Entries written to it.
    pub records: u64,
    /// Writes, each of which was synced.
    pub batches: u64,
    pub sync_latency: Distribution,
    /// For how long the sync under way has lasted.
    pub syncing_for: Option<Duration>,
    /// The last sync that took longer than [`SLOW_SYNC`]: how long it took, and how long ago.
    pub slow_sync: Option<(Duration, Duration)>,
    /// Bytes that wait to be written.
    pub queued_bytes: u64,
    pub appended: LogPosition,
    pub durable: LogPosition,
    /// Last entry that is no longer in the log.
    pub purged: LogPosition,
    /// There is no space for it.
    pub full: bool,
    /// Why the node is out of service: its state is not that of the others.
    pub diverged: Option<String>,
    /// Why others may take part in another membership of this cluster than this node.
    pub split: Option<String>,
    /// Why the log cannot be archived.
    pub archive_failing: Option<String>,
    /// The log is not kept for the archive any more.
    pub archive_given_up: bool,
    pub checkpoint: CheckpointFigures,
}

/// A sync that takes longer makes every commit wait for too long.
pub const SLOW_SYNC: Duration = Duration::from_millis(100);

/// A node's checkpoints.
#[derive(Debug, Clone, Default)]
pub struct CheckpointFigures {
    pub running: bool,
    /// Of the newest one.
    pub position: LogPosition,
    /// Microseconds since 1970; `None`: there is none yet.
    pub finished_at: Option<i64>,
    /// How long the last one took that this process wrote.
    pub duration: Option<Duration>,
    pub bytes: u64,
    pub damaged: bool,
    pub written: u64,
    pub failed: u64,
    /// Why the last attempt failed; `None`: it did not.
    pub last_error: Option<String>,
    /// Bytes applied since, and how many bring about the next one.
    pub log_bytes_since: u64,
    pub log_bytes_due: u64,
}

/// A change of this node's role. Calls come in order and never overlap with [`StateMachine::apply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything committed under earlier epochs has been applied here; new commits may be sequenced under `epoch`.
    Primary { epoch: Epoch },
    /// Nothing may be sequenced here. What was on its way resolves with [`AppendError::Unknown`].
    Standby { primary: Option<NodeId> },
}

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("the checkpoint cannot be written or read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the checkpoint is corrupt: {0}")]
    Corrupt(String),
    #[error("the node is stopping")]
    Stopping,
}

/// A frozen view of the state at one position: an `Arc` clone, cheap to take, written by another thread.
pub trait Checkpoint: Send {
    /// Position of the last record that it contains.
    fn position(&self) -> LogPosition;

    /// Writes the state below the empty directory `dir` (plain files, no subdirectories, all synced) and may hard-link
    /// unchanged files from `previous`, the directory of an older checkpoint of the same node. The caller publishes
    /// `dir` by rename and directory sync. `due` says which share of it should be there by now, 0 to 1: who is ahead of
    /// that lets others have the disk. Blocks.
    fn write(
        self: Box<Self>,
        dir: &Path,
        previous: Option<&Path>,
        due: &dyn Fn() -> f64,
    ) -> Result<(), CheckpointError>;
}

/// What the log drives: implemented by the engine. Calls never overlap; they may come from different threads.
pub trait StateMachine: Send + Sync + 'static {
    /// Installs one committed record. Must not fail on a record that [`CommitLog::append`] was given: a record that
    /// cannot be read is corruption, and the process stops rather than diverge.
    fn apply(&self, position: LogPosition, record: &Record);

    /// Whether installing the record may take long although it is short. A look at its first bytes, no more.
    fn takes_long(&self, record: &Record) -> bool {
        let _ = record;
        false
    }

    /// An entry of the log without a record (membership, start of a reign) passed.
    fn advance(&self, position: LogPosition);

    /// Last position that was applied or restored.
    fn applied(&self) -> LogPosition;

    /// The state now, to be written while later records are applied.
    fn begin_checkpoint(&self) -> Box<dyn Checkpoint>;

    /// Checks that the checkpoint in `dir` is whole, as far as [`Self::restore`] would, without taking it in.
    fn verify(&self, dir: &Path) -> Result<(), CheckpointError>;

    /// Replaces the whole state by the checkpoint in `dir`. On an error nothing is replaced.
    fn restore(&self, dir: &Path) -> Result<LogPosition, CheckpointError>;

    fn set_role(&self, role: Role);

    /// The digest of the state at the check that was applied under this number.
    fn digest(&self, check: u64) -> DigestAnswer {
        let _ = check;
        DigestAnswer::Unknown("there are no digests here".to_owned())
    }

    /// With a reason: nothing may be read here until it is taken back, because the state is not to be trusted.
    fn set_out_of_service(&self, reason: Option<String>) {
        let _ = reason;
    }
}

/// A shared state machine.
pub type SharedStateMachine = Arc<dyn StateMachine>;

/// Directory of a published checkpoint.
pub type CheckpointDir = PathBuf;
