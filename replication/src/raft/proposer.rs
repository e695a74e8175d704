//! From the engine's records to entries of the log, in the order of the calls.
//!
//! Records that wait together share an entry; while one entry is on its way, those behind it gather. An entry is
//! taken in by consensus, or refused, before the next one is handed over: if one record of a reign is refused, none
//! behind it is written, which matters because the engine lets a transaction build on one that is not durable yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::commit_log::{Epoch, NodeId, Record};
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};

use super::in_flight::{Outcome, Waiter};
use super::machine::Machine;
use super::types::{self, CommittedLeader, Records, Reply, TypeConfig};
use super::{Raft, quorum_heard_within};
use crate::seeded;

/// Bytes at which an entry takes no further records; a larger record travels alone and uncopied.
const ENTRY_BYTES: usize = 64 << 10;

/// Longest time that records wait for the entry before theirs to be done, to share one with those that come meanwhile.
const GATHER: Duration = Duration::from_millis(1);

pub struct Proposal {
    pub epoch: Epoch,
    pub record: Record,
    pub waiter: Waiter,
    /// Told when the record is on this node's stable storage.
    pub local: Option<oneshot::Sender<()>>,
}

/// Epochs in which a proposal was refused; nothing more is proposed in them. Consensus would not take it either: a term
/// that has refused a proposal has ended on this node, and a proposal names its term. This ends the reign at once.
#[derive(Default)]
pub struct Refusals {
    epoch: AtomicU64,
    pub happened: Notify,
    /// Held from the last look at the epoch until a proposal is queued for consensus.
    pub proposing: Mutex<()>,
}

impl Refusals {
    fn note(&self, epoch: Epoch) {
        self.epoch.fetch_max(epoch.0, Ordering::AcqRel);
        self.happened.notify_one();
    }

    pub fn includes(&self, epoch: Epoch) -> bool {
        epoch.0 <= self.epoch.load(Ordering::Acquire)
    }
}

pub struct Proposer {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub refusals: Arc<Refusals>,
    pub in_flight_bytes_max: u64,
    /// A primary that has not heard a quorum for this long proposes nothing until it does.
    pub lease: Duration,
    /// Last entry on this node's stable storage.
    pub synced: watch::Receiver<u64>,
}

impl Proposer {
    pub async fn run(self, mut queue: mpsc::UnboundedReceiver<Proposal>) {
        let mut waiting = VecDeque::new();
        let mut received = Vec::new();
        loop {
            if waiting.is_empty() && queue.recv_many(&mut received, 4096).await == 0 {
                return;
            }
            let bytes: usize = waiting.iter().chain(&received).map(|proposal| proposal.record.len()).sum();
            if bytes < ENTRY_BYTES {
                // Timed out or not, what has come meanwhile goes along.
                let _ = tokio::time::timeout(GATHER, self.machine.in_flight.none()).await;
            }
            while let Ok(more) = queue.try_recv() {
                received.push(more);
                if received.len() >= 4096 {
                    break;
                }
            }
            waiting.extend(received.drain(..));
            let Some(epoch) = waiting.front().map(|proposal| proposal.epoch) else { continue };
            let (records, waiters, locals) = take_entry(&mut waiting, epoch);
            if self.propose(epoch, records, waiters).await && !locals.is_empty() {
                self.tell_when_synced(epoch, locals).await;
            }
        }
    }

    /// Tells of records that were just handed to consensus when they are on this node's stable storage. They are behind
    /// the answer to the question that follows them, at the latest in the last entry of that moment.
    async fn tell_when_synced(&self, epoch: Epoch, locals: Vec<oneshot::Sender<()>>) {
        let term = types::term_of(epoch);
        let last = self.raft.with_raft_state(|state| state.log_ids.last().copied()).await.ok().flatten();
        // In another term the records may not have been taken in: their outcome says what became of them.
        let Some(last) = last.filter(|last| **last.committed_leader_id() == term) else { return };
        let mut synced = self.synced.clone();
        tokio::spawn(async move {
            if synced.wait_for(|synced| *synced >= last.index).await.is_ok() {
                for local in locals {
                    let _ = local.send(());
                }
            }
        });
    }

    /// False: certainly not taken in.
    async fn propose(&self, epoch: Epoch, records: Vec<Record>, waiters: Vec<Waiter>) -> bool {
        let bytes = records.iter().map(|record| record.len() as u64).sum();
        while self.may_propose(epoch) && !quorum_heard_within(&self.raft, self.lease) {
            // Not refused yet: either a quorum answers again or the watcher of roles ends the reign.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.machine.in_flight.room(self.in_flight_bytes_max).await;
        if !self.machine.in_flight.is_empty() {
            // Answered behind the entry before this one, when that was taken in or refused.
            let _ = self.raft.with_raft_state(|_| ()).await;
        }
        // Held back here, the records are on their way for nobody: if the leadership goes meanwhile, they were certainly
        // not written.
        let _proposing = self.refusals.proposing.lock().await;
        let ticket = self.machine.in_flight.add(waiters, bytes);
        if !self.may_propose(epoch) {
            let primary = super::known_primary(&self.raft).filter(|primary| primary.0 != *self.raft.node_id());
            ticket.complete(&Outcome::Refused(primary));
            return false;
        }
        let refusals = self.refusals.clone();
        let answer = move |result: ClientWriteResult<TypeConfig>| match result {
            Ok(response) => ticket.complete(&Outcome::Applied(response.log_id.index)),
            Err(ClientWriteError::ForwardToLeader(to)) => {
                if seeded::refused_called_done() {
                    return ticket.complete(&Outcome::Applied(0));
                }
                refusals.note(epoch);
                ticket.complete(&Outcome::Refused(to.leader_id.map(NodeId)));
            }
            Err(_) => ticket.complete(&Outcome::Unknown("the primary lost its leadership")),
        };
        if seeded::proposed_twice() {
            let again = self.raft.write(Records::pack(&records));
            let _ = again.responder(Reply(Box::new(|_: ClientWriteResult<TypeConfig>| {}))).await;
        }
        let mut write = self.raft.write(Records::pack(&records));
        if !seeded::no_fencing() {
            write = write.with_leader(CommittedLeader::from(types::term_of(epoch)));
        }
        let write = write.responder(Reply(Box::new(answer)));
        // An error here drops the ticket: the node is stopping.
        let _ = write.await;
        if seeded::ack_before_quorum() {
            self.machine.in_flight.acknowledge_all(self.machine.applied().index.unwrap_or(0));
        }
        true
    }

    fn may_propose(&self, epoch: Epoch) -> bool {
        (self.machine.reign() == Some(epoch) || seeded::no_fencing()) && !self.refusals.includes(epoch)
    }
}

/// The next records that may share an entry.
fn take_entry(waiting: &mut VecDeque<Proposal>, epoch: Epoch) -> (Vec<Record>, Vec<Waiter>, Vec<oneshot::Sender<()>>) {
    let (mut records, mut waiters, mut locals, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while let Some(next) = waiting.front() {
        let fits = records.is_empty() || bytes + next.record.len() <= ENTRY_BYTES;
        if next.epoch != epoch || !fits || records.len() == types::RECORDS_PER_ENTRY {
            break;
        }
        let Some(next) = waiting.pop_front() else { break };
        bytes += next.record.len();
        records.push(next.record);
        waiters.push(next.waiter);
        locals.extend(next.local);
    }
    if seeded::records_reversed() {
        records.reverse();
    }
    (records, waiters, locals)
}
