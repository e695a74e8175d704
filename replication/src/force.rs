//! An operator lets one node go on alone, because the others are gone for good: `lockstep force-primary`.
//!
//! It works on the data directory of a node that does not run: a membership in which the node is the only voter is written
//! behind its log, in a term of its own, with a note of who was given up. When the node starts it is elected by itself and
//! everything in its log is committed. What the others had acknowledged and this node never got is lost; hence the note,
//! which stays in the membership for ever, in `lockstep_data_loss_epochs` and in the server's log at every start.
//!
//! Invariants:
//! 1. Nothing is written while another member is the primary, or has a longer log than this node.
//! 2. The vote of the new term is on disk before the membership is, in one ordered log.
//! 3. The ids of those that were given up are never given again, so that they are refused when they come back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::commit_log::GroupId;
use openraft::Membership;
use tokio::sync::oneshot;

use crate::StartError;
use crate::cluster::identity::{DataDir, Identity};
use crate::cluster::rules;
use crate::net::client::Connection;
use crate::net::message::{Hello, NodeReport, PROTOCOL, Request, Response};
use crate::raft::checkpoints::Checkpoints;
use crate::raft::types::{self, Forced, PeerNode, StoredMembership};
use crate::wal::disk::RealDisk;
use crate::wal::{self, EntryId, EntryKind, GroupLog, LogEntry, StoredVote, Wal, WalOptions};

/// How long another member may take to say that it lives.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of the log that are looked through in one step.
const STEP: u64 = 4 << 20;

/// Why the node was not made the only voter. Each one is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum ForceError {
    #[error("{0}")]
    Directory(#[from] StartError),
    #[error("{0}")]
    Refused(String),
    #[error("the log cannot be read or written: {0}")]
    Log(#[from] wal::WalError),
    #[error("the newest checkpoint cannot be read: {0}")]
    Checkpoint(#[from] engine::commit_log::CheckpointError),
}

/// What was done.
#[derive(Debug)]
pub struct ForcedOutcome {
    pub cluster: String,
    pub node: String,
    pub term: u64,
    pub given_up: Vec<String>,
    /// Members that are no voters have to join again as well.
    pub dropped: Vec<String>,
}

/// Makes the node whose directory this is, and which must not run, the only voter of its cluster.
pub async fn force_primary(data_dir: &Path) -> Result<ForcedOutcome, ForceError> {
    let refused = |reason: &str| Err(ForceError::Refused(reason.to_owned()));
    if !data_dir.join("cluster.toml").exists() {
        return Err(ForceError::Refused(format!("{} holds no node of a cluster", data_dir.display())));
    }
    let mut directory = DataDir::open(data_dir)?;
    let Some(identity) = directory.identity.clone() else { return refused("the directory holds no node of a cluster") };
    if identity.witness {
        return refused("a witness has no tables and cannot be the primary");
    }
    directory.put_damaged_aside()?;
    let disk = RealDisk::new(directory.wal());
    let disk = disk.map_err(|source| StartError::DataDir { path: directory.wal(), source })?;
    let fatal = Arc::new(|fatal: crate::Fatal| tracing::error!("{fatal}"));
    let mut wal = wal::open(Arc::new(disk), WalOptions::default(), &[GroupId::FIRST], fatal)?;
    let done = force(&directory, &identity, &wal).await;
    wal.close();
    done
}

async fn force(directory: &DataDir, identity: &Identity, wal: &Wal) -> Result<ForcedOutcome, ForceError> {
    let log = wal.group(GroupId::FIRST);
    let checkpoint = Checkpoints::open(directory.checkpoints())?.current();
    let membership = match newest_membership(&log)? {
        Some(membership) => membership,
        None => checkpoint.as_ref().map(|stored| stored.meta.membership.clone()).unwrap_or_default(),
    };
    let reached = checkpoint.and_then(|stored| stored.meta.last);
    let last = log.last().max(reached);
    let Some(own) = membership.get_node(&identity.node_id).cloned() else {
        return Err(ForceError::Refused("the node was never a member that took part, or was removed".to_owned()));
    };
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    if voters.len() == 1 && voters.contains(&identity.node_id) {
        return Err(ForceError::Refused(format!("node \"{}\" is the only voter already", own.name)));
    }
    ask_the_others(identity, &membership, last).await?;
    let term = log.vote().map_or(0, |vote| vote.term).max(last.map_or(0, |last| last.term)) + 1;
    let index = last.map_or(0, |last| last.index + 1);
    let others = || membership.nodes().filter(|(id, _)| **id != identity.node_id);
    let names = |voter: bool| -> Vec<String> {
        others().filter(|(id, _)| voters.contains(id) == voter).map(|(_, node)| node.name.clone()).collect()
    };
    let (given_up, dropped) = (names(true), names(false));
    let mut kept = own.kept.clone();
    others().for_each(|(_, node)| kept.inherit(&node.kept));
    kept.highest_id = rules::highest_id(&membership);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |at| at.as_micros() as i64);
    kept.forced.push(Forced { term, index, node: own.name.clone(), given_up: given_up.clone(), at });
    let node = PeerNode { learner: false, kept, ..own };
    write(&log, identity.node_id, node.clone(), EntryId { term, index }).await?;
    let cluster = identity.cluster_id.clone();
    tracing::error!(
        cluster,
        term,
        node = node.name,
        ?given_up,
        "DATA LOSS POSSIBLE: this node was forced to go on alone"
    );
    Ok(ForcedOutcome { cluster, node: node.name, term, given_up, dropped })
}

/// The vote of the new term and the membership, both on disk.
async fn write(log: &GroupLog, id: u64, node: PeerNode, entry: EntryId) -> Result<(), ForceError> {
    let nodes = BTreeMap::from([(id, node)]);
    let membership: Membership<u64, PeerNode> = Membership::new(vec![BTreeSet::from([id])], nodes)
        .map_err(|error| ForceError::Refused(format!("the membership cannot be made: {error}")))?;
    let payload = postcard::to_stdvec(&membership)
        .map_err(|error| ForceError::Refused(format!("the membership cannot be written: {error}")))?;
    let (voted, vote) = oneshot::channel();
    log.save_vote(StoredVote { term: entry.term, node: id, committed: true }, Box::new(|done| drop(voted.send(done))));
    let (appended, append) = oneshot::channel();
    let entries = vec![LogEntry { id: entry, kind: EntryKind::Membership, payload: payload.into() }];
    log.append(entries, Box::new(|done| drop(appended.send(done))))?;
    for done in [vote, append] {
        done.await.map_err(|_| wal::WalError::Stopped("the log was closed".to_owned()))??;
    }
    Ok(())
}

/// The membership that the end of the log says; `None`: there is none in it.
fn newest_membership(log: &GroupLog) -> Result<Option<StoredMembership>, ForceError> {
    let (mut next, mut newest) = (log.purged().map_or(0, |purged| purged.index + 1), None);
    loop {
        let entries = log.span(next..u64::MAX, STEP).load()?;
        let Some(last) = entries.last().map(|entry| entry.id.index) else { return Ok(newest) };
        for entry in entries.into_iter().filter(|entry| matches!(entry.kind, EntryKind::Membership)) {
            let id = types::log_id(entry.id);
            if let openraft::EntryPayload::Membership(membership) = types::from_log_entry(entry)?.payload {
                newest = Some(StoredMembership::new(Some(id), membership));
            }
        }
        next = last + 1;
    }
}

/// Invariant 1, as far as the others answer.
async fn ask_the_others(
    identity: &Identity,
    membership: &StoredMembership,
    last: Option<EntryId>,
) -> Result<(), ForceError> {
    let others = membership.nodes().filter(|(id, _)| **id != identity.node_id);
    let reports =
        others.map(|(id, node)| async move { Some((node, report(identity, *id, &node.peer_address).await?)) });
    for (node, report) in futures::future::join_all(reports).await.into_iter().flatten() {
        let name = &node.name;
        if report.role == "primary" {
            return Err(ForceError::Refused(format!(
                "node \"{name}\" is the primary of the cluster: nothing has to be forced"
            )));
        }
        if report.appended > last.map(|last| last.index) {
            let advice = if node.witness { "it can still let others catch up: start them" } else { "force that one" };
            return Err(ForceError::Refused(format!("node \"{name}\" runs and has a longer log: {advice}")));
        }
    }
    Ok(())
}

async fn report(identity: &Identity, id: u64, address: &str) -> Option<NodeReport> {
    let (cluster, from) = (identity.cluster_id.clone(), identity.node_id);
    let hello = Hello { protocol: PROTOCOL, cluster, from, to: id };
    let asked = async {
        let mut connection = Connection::open(address, &hello, ANSWER).await.ok()?;
        match connection.call(&Request::NodeStatus).await.ok()? {
            Response::NodeStatus(report) => Some(report),
            _ => None,
        }
    };
    tokio::time::timeout(ANSWER, asked).await.ok().flatten()
}
