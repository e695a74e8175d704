//! What nodes say to each other. A connection begins with [`Hello`] and [`Welcome`]; then requests are answered in
//! their order.

use std::time::Duration;

use bytes::Bytes;
use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use engine::commit_log::{ClusterStatus, DigestAnswer, LogPosition, Trouble};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::fetch::Offer;
use crate::raft::types::{self, LogId, PeerNode, RECORD_BYTES_MAX, SnapshotMeta, TypeConfig, Vote};
use crate::wal::{EntryId, EntryKind, LogEntry, WalError};

/// Changes with every incompatible change of this file.
pub const PROTOCOL: u16 = 3;
/// How a refusal begins whose sender belongs to another cluster.
pub const OTHER_CLUSTER: &str = "this node belongs to cluster ";
/// A message before the two sides know each other.
pub const GREETING_BYTES_MAX: usize = 16 << 10;
/// A message carries at most one record of the largest size, or many small ones.
pub const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 20);

#[derive(Debug, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u16,
    /// Empty: the sender wants to join and does not know the cluster yet.
    pub cluster: String,
    pub from: u64,
    /// The node that the sender means; 0: whoever answers.
    pub to: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Welcome {
    Accepted,
    Refused(String),
    /// The sender was a member of this cluster and was removed.
    Removed(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// The blob holds the entries' payloads.
    Append(Append),
    Vote(VoteRequest<TypeConfig>),
    PreVote(VoteRequest<TypeConfig>),
    TransferLeader(TransferLeaderRequest<TypeConfig>),
    ReadIndex,
    /// The whole cluster, as the primary sees it.
    ClusterStatus,
    NodeStatus,
    Join(Join),
    /// From an operator, or forwarded to the primary by the member on which an operator asked for it.
    Change {
        change: ClusterChange,
        forwarded: bool,
    },
    /// To a process that waits to be invited.
    Invite(Invitation),
    /// To a node that is a member no more.
    Removed,
    Snapshot(SnapshotHeader),
    /// Part of the file with this number; the blob holds the bytes.
    SnapshotChunk {
        file: u32,
        crc: u32,
    },
    SnapshotEnd,
    /// The node's digest at a check for divergence.
    Digest(u64),
    /// The node's digest at a check is not the reference, which the others have: it has to be rebuilt.
    Condemn {
        check: u64,
        reference: Vec<u8>,
        reason: String,
    },
    /// A checkpoint that holds everything acknowledged before; then its files, by number.
    Checkpoint,
    CheckpointFile(u32),
    /// Answered when the entry is applied, or the time is over.
    AwaitApplied {
        index: u64,
        wait_ms: u64,
    },
    /// From here on the connection carries what a client of the sender says to a session of this node.
    Session(SessionRequest),
    /// Interrupts such a session.
    CancelSession {
        process: i32,
        secret: i32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    Append(Result<Option<LogId>, StreamAppendError<TypeConfig>>),
    Vote(VoteResponse<TypeConfig>),
    TransferLeader(TransferLeaderResponse<TypeConfig>),
    ReadIndex(u64),
    ClusterStatus(ClusterStatus),
    NodeStatus(NodeReport),
    Join(JoinAnswer),
    Changed(Result<ClusterChanged, ClusterChangeError>),
    Invited {
        name: String,
    },
    Noted,
    /// The files that are not here already, by number; none for a witness, which takes the place in the log alone.
    SnapshotWanted(Vec<u32>),
    Snapshot(SnapshotResponse<TypeConfig>),
    Error(String),
    /// What arrived is not whole, although each chunk is what was sent.
    SnapshotDamaged(String),
    Digest(DigestAnswer),
    Condemned,
    Checkpoint(Offer),
    /// Part of a file, in the blob; an empty one is the end.
    CheckpointChunk {
        crc: u32,
    },
    /// The last entry that is applied.
    Applied(u64),
    SessionReady,
    Done,
}

/// A client of another node, which has authenticated there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionRequest {
    pub user: String,
    pub database: String,
    pub parameters: Vec<(String, String)>,
    pub client: Option<std::net::SocketAddr>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NodeReport {
    pub term: u64,
    pub role: String,
    pub primary: Option<u64>,
    pub appended: Option<u64>,
    pub durable: Option<u64>,
    pub applied: Option<u64>,
    pub applied_position: LogPosition,
    pub installing: bool,
    /// There is no space for its log.
    pub full: bool,
    /// Its state is not that of the others: it is out of service.
    pub diverged: bool,
    /// As the primary: first entry that it has not archived; 0: it does not archive.
    pub archived_to: u64,
    /// Bytes of a checkpoint that is arriving that are here, and all of them.
    pub arrived: Option<(u64, u64)>,
    /// What is wrong with its log and its checkpoints.
    pub troubles: Vec<Trouble>,
}

/// A node that wants to be a member, or, with an id, one whose addresses changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Join {
    pub id: Option<u64>,
    pub node: PeerNode,
}

/// An invitation to join a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Invitation {
    pub cluster: String,
    /// Where its members are.
    pub addresses: Vec<String>,
    /// To join as a learner and stay one.
    pub learner: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum JoinAnswer {
    Accepted {
        cluster: String,
        id: u64,
    },
    /// Ask the primary, at this address.
    Redirect(String),
    /// Never.
    Refused(String),
    /// Not now.
    Later(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotHeader {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    pub position: LogPosition,
    /// Names and sizes.
    pub files: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Append {
    vote: Vote,
    previous: Option<LogId>,
    committed: Option<LogId>,
    entries: Vec<(EntryId, u8, u32)>,
}

impl Append {
    /// The header and the payloads that follow it.
    pub fn new(request: AppendEntriesRequest<TypeConfig>) -> Result<(Self, Vec<Bytes>), WalError> {
        let mut entries = Vec::with_capacity(request.entries.len());
        let mut payloads = Vec::with_capacity(request.entries.len());
        for entry in request.entries {
            let entry = types::to_log_entry(entry)?;
            let kind = match entry.kind {
                EntryKind::Blank => 0,
                EntryKind::Record => 1,
                EntryKind::Records => 2,
                EntryKind::Membership => 3,
            };
            entries.push((entry.id, kind, entry.payload.len() as u32));
            payloads.push(entry.payload);
        }
        let append =
            Self { vote: request.vote, previous: request.prev_log_id, committed: request.leader_commit, entries };
        Ok((append, payloads))
    }

    pub fn into_request(self, mut blob: Bytes) -> Result<AppendEntriesRequest<TypeConfig>, String> {
        let mut entries = Vec::with_capacity(self.entries.len());
        for (id, kind, length) in self.entries {
            let kind = match kind {
                0 => EntryKind::Blank,
                1 => EntryKind::Record,
                2 => EntryKind::Records,
                3 => EntryKind::Membership,
                other => return Err(format!("an entry of the unknown kind {other}")),
            };
            if blob.len() < length as usize {
                return Err("an entry that is cut short".to_owned());
            }
            let payload = blob.split_to(length as usize);
            entries.push(types::from_log_entry(LogEntry { id, kind, payload }).map_err(|e| e.to_string())?);
        }
        Ok(AppendEntriesRequest { vote: self.vote, prev_log_id: self.previous, leader_commit: self.committed, entries })
    }
}

/// How long a node waits for the other side of a conversation.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub connect: Duration,
    /// For a short answer.
    pub answer: Duration,
    /// For any sign of progress while much is on its way.
    pub progress: Duration,
}
