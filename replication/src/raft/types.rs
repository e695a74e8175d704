//! The types that openraft works with, and how they map to the log's own.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use engine::commit_log::{Epoch, LogPosition, Record};
use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::{EntryPayload, OptionalSend, RaftTypeConfig};
use serde::{Deserialize, Serialize};

use crate::wal::{EntryId, EntryKind, LogEntry, StoredVote, WalError};

/// How openraft is used here: one leader a term, so that a term is an [`Epoch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TypeConfig;

#[allow(deprecated)] // openraft's own name for the Tokio runtime, to be renamed upstream.
type Runtime = openraft::impls::TokioRuntime;

impl RaftTypeConfig for TypeConfig {
    type D = Records;
    type R = ();
    type NodeId = u64;
    type Node = PeerNode;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Records, u64, PeerNode>;
    type Entry = openraft::Entry<CommittedLeader, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Reply<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub type CommittedLeader = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
pub type Entry = openraft::alias::EntryOf<TypeConfig>;
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// A member of the cluster as the log knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    pub name: String,
    pub peer_address: String,
    pub client_address: String,
    /// It votes and keeps the log, and no tables.
    pub witness: bool,
    /// It stays a learner: an asynchronous standby.
    pub learner: bool,
    pub kept: Kept,
}

impl PeerNode {
    /// Whether a node is to be found where another entry says.
    pub fn same_place(&self, other: &Self) -> bool {
        let place = |node: &Self| (node.name.clone(), node.peer_address.clone(), node.client_address.clone());
        place(self) == place(other)
    }
}

/// What the cluster has to remember for ever, written at whichever node; the one that removes a node takes over what
/// was written at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The highest id that was given when this was written.
    pub highest_id: u64,
    pub forced: Vec<Forced>,
}

impl Kept {
    pub fn inherit(&mut self, other: &Self) {
        self.highest_id = self.highest_id.max(other.highest_id);
        for forced in &other.forced {
            if !self.forced.contains(forced) {
                self.forced.push(forced.clone());
            }
        }
        self.forced.sort_by_key(|forced| forced.term);
    }
}

/// An operator made a node the only voter without the others: from there on what they had and it had not is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// The first term of the new epoch.
    pub term: u64,
    /// Entry of the log that says so.
    pub index: u64,
    pub node: String,
    /// Names of the voters that were given up.
    pub given_up: Vec<String>,
    /// Microseconds since 1970.
    pub at: i64,
}

/// Calls a function with the outcome of a proposal.
pub struct Reply<T>(pub Box<dyn FnOnce(T) + Send>);

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Reply<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Bytes of one record, at most: it has to fit into one message to a peer.
pub const RECORD_BYTES_MAX: usize = 1 << 30;
/// Records of one entry, at most: the lower bits of a position.
pub const RECORDS_PER_ENTRY: usize = 1 << POSITION_SHIFT;
const POSITION_SHIFT: u32 = 16;

/// One or several of the engine's records, which share an entry of the log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    packed: bool,
    #[serde(with = "raw_bytes")]
    bytes: Bytes,
}

impl Records {
    /// A single record is taken as it is, without copying.
    pub fn pack(records: &[Record]) -> Self {
        if let [record] = records {
            return Self { packed: false, bytes: record.clone() };
        }
        let mut bytes = BytesMut::with_capacity(records.iter().map(|record| record.len() + 4).sum());
        for record in records {
            bytes.put_u32_le(record.len() as u32);
            bytes.put_slice(record);
        }
        Self { packed: true, bytes: bytes.freeze() }
    }

    /// The records in their order; `None` when the bytes are not what [`Self::pack`] makes.
    pub fn unpack(&self) -> Option<Vec<Record>> {
        if !self.packed {
            return Some(vec![self.bytes.clone()]);
        }
        let mut records = Vec::new();
        let mut rest = self.bytes.clone();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?) as usize;
            let end = length.checked_add(4)?;
            records.push(rest.get(4..end).map(|_| rest.slice(4..end))?);
            rest = rest.slice(end..);
        }
        Some(records)
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that a peer sent in the place of what [`Self::pack`] makes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn received(bytes: &[u8]) -> Self {
        Self { packed: true, bytes: Bytes::copy_from_slice(bytes) }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of records", self.bytes.len())
    }
}

impl fmt::Display for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

mod raw_bytes {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Vec::<u8>::deserialize(deserializer).map(Bytes::from)
    }
}

/// Position of the record with number `record` within the entry at `index`.
pub fn position(index: u64, record: usize) -> LogPosition {
    LogPosition((index + 1) << POSITION_SHIFT | record as u64)
}

/// The entry that holds a position's record.
pub fn index_of(position: LogPosition) -> u64 {
    (position.0 >> POSITION_SHIFT).saturating_sub(1)
}

/// Position of the first record that the entry at `index` could hold; before the first entry without one.
pub fn position_of_index(index: Option<u64>) -> LogPosition {
    index.map_or(LogPosition(0), |index| position(index, 0))
}

/// A reign of this node in a term that it leads. It begins a new one in the same term after it had to pause because
/// no quorum answered.
pub fn epoch(term: u64, reign: u64) -> Epoch {
    Epoch(term << REIGN_BITS | reign)
}

pub fn term_of(epoch: Epoch) -> u64 {
    epoch.0 >> REIGN_BITS
}

const REIGN_BITS: u32 = 16;

pub fn entry_id(id: &LogId) -> EntryId {
    EntryId { term: **id.committed_leader_id(), index: id.index }
}

pub fn log_id(id: EntryId) -> LogId {
    LogId::new(CommittedLeader::from(id.term), id.index)
}

pub fn stored_vote(vote: &Vote) -> StoredVote {
    StoredVote { term: vote.leader_id.term, node: vote.leader_id.voted_for, committed: vote.committed }
}

pub fn vote(stored: StoredVote) -> Vote {
    match stored.committed {
        true => Vote::new_committed(stored.term, stored.node),
        false => Vote::new(stored.term, stored.node),
    }
}

/// An entry as the log stores it and the wire carries it.
pub fn to_log_entry(entry: Entry) -> Result<LogEntry, WalError> {
    let id = entry_id(&entry.log_id);
    let (kind, payload) = match entry.payload {
        EntryPayload::Blank => (EntryKind::Blank, Bytes::new()),
        EntryPayload::Normal(records) if records.packed => (EntryKind::Records, records.bytes),
        EntryPayload::Normal(records) => (EntryKind::Record, records.bytes),
        EntryPayload::Membership(membership) => {
            let bytes = postcard::to_stdvec(&membership)
                .map_err(|e| WalError::Stopped(format!("cannot encode the membership: {e}")))?;
            (EntryKind::Membership, bytes.into())
        }
    };
    Ok(LogEntry { id, kind, payload })
}

pub fn from_log_entry(entry: LogEntry) -> Result<Entry, WalError> {
    let payload = match entry.kind {
        EntryKind::Blank => EntryPayload::Blank,
        EntryKind::Record => EntryPayload::Normal(Records { packed: false, bytes: entry.payload }),
        EntryKind::Records => EntryPayload::Normal(Records { packed: true, bytes: entry.payload }),
        EntryKind::Membership => {
            let index = entry.id.index;
            EntryPayload::Membership(
                postcard::from_bytes(&entry.payload)
                    .map_err(|e| WalError::Corrupt(format!("entry {index} holds no membership: {e}")))?,
            )
        }
    };
    Ok(Entry { log_id: log_id(entry.id), payload })
}
