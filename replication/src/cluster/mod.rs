//! The cluster as a set of nodes: identity ([`identity`]), admission ([`join`]), promotion of learners and changed
//! addresses ([`Members::tend`]), what is known of everybody ([`status`]), and what is remembered of them ([`known`]).
//!
//! Invariants:
//! 1. Ids are given out by the primary through the log, one above the highest that the log remembers, and whoever
//!    removes a member keeps that in mind: so an id is never used twice.
//! 2. A node that was removed ends; it does not serve what it had.

mod change;
pub mod divergence;
pub mod identity;
pub mod invitation;
pub mod join;
pub mod known;
pub mod remote_apply;
pub mod returning;
pub mod rules;
mod split;
pub mod status;
mod switchover;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::commit_log::LogFigures;
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tracing::{debug, info, warn};

use crate::blocking::blocking;
use crate::net::client::Caller;
use crate::net::message::{Join, JoinAnswer, NodeReport, Request, Response};
use crate::raft::machine::Machine;
use crate::raft::proposer::Refusals;
use crate::raft::roles::best_successor;
use crate::raft::types::{self, Kept, LogId, PeerNode, StoredMembership};
use crate::raft::{Raft, known_primary, leads};
use crate::seeded;
use crate::wal::{EntryId, GroupLog};
use crate::{Fatal, FatalHandler};
use known::Known;
use split::Split;
use status::Samples;

/// What somebody does with a node that was removed.
const ADVICE: &str = "to use it again, empty its data directory and let it join";
/// A learner that is at most this many entries behind becomes a voter.
const CLOSE: u64 = 1000;
/// A node that no leader spoke to for this long asks the others why.
const SILENCE: Duration = Duration::from_secs(2);
/// How often the primary looks after its learners, and a node after its own entry.
const ROUND: Duration = Duration::from_millis(100);
/// A new node that did not answer for so long, while another member answers at its address, will not come.
const ABANDONED: Duration = Duration::from_secs(10);
/// A primary whose disk is full this long looks for another one.
const FULL_PATIENCE: Duration = Duration::from_secs(2);

/// The members, seen from one of them.
pub struct Members {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub log: GroupLog,
    pub caller: Arc<Caller>,
    /// This node as the others should know it.
    pub me: PeerNode,
    /// Holds proposals back while leadership changes hands.
    refusals: Arc<Refusals>,
    /// The data directory.
    directory: PathBuf,
    samples: Mutex<Samples>,
    pub split: Split,
    /// When a leader sent something last.
    heard: Mutex<Instant>,
    on_fatal: FatalHandler,
    /// Changes of the membership and of leadership go one after the other.
    admission: tokio::sync::Mutex<()>,
}

impl Members {
    #[expect(clippy::too_many_arguments, reason = "the parts of a node, put together in one place")]
    pub fn new(
        raft: Raft,
        machine: Arc<Machine>,
        log: GroupLog,
        caller: Arc<Caller>,
        me: PeerNode,
        refusals: Arc<Refusals>,
        directory: PathBuf,
        on_fatal: FatalHandler,
    ) -> Self {
        let (samples, admission) = (Mutex::default(), tokio::sync::Mutex::new(()));
        let (heard, split) = (Mutex::new(Instant::now()), Split::default());
        Self { raft, machine, log, caller, me, refusals, directory, samples, split, heard, on_fatal, admission }
    }

    pub fn cluster(&self) -> &str {
        &self.caller.cluster
    }

    pub fn id(&self) -> u64 {
        self.caller.id
    }

    pub fn membership(&self) -> Arc<StoredMembership> {
        self.raft.server_metrics().borrow_watched().membership_config.clone()
    }

    pub fn address_of(&self, id: u64) -> Option<String> {
        self.membership().get_node(&id).map(|node| node.peer_address.clone())
    }

    /// The answer to a node that wants to be a member.
    pub async fn admit(&self, join: Join) -> JoinAnswer {
        if !leads(&self.raft) {
            let primary = known_primary(&self.raft).and_then(|primary| self.address_of(primary.0));
            return primary.map_or_else(
                || JoinAnswer::Later("no primary is known at the moment".to_owned()),
                JoinAnswer::Redirect,
            );
        }
        let _one_at_a_time = self.admission.lock().await;
        let membership = self.membership();
        let change = match join.id {
            Some(id) => {
                let Some(known) = membership.get_node(&id).cloned() else {
                    return JoinAnswer::Later(format!("node {id} is not a member of this cluster"));
                };
                if let Some(refusal) = rules::name_taken(&membership, id, &join.node.name) {
                    return JoinAnswer::Refused(refusal);
                }
                // Where it is, it says itself; what it is, was decided.
                let PeerNode { name, peer_address, client_address, .. } = join.node;
                let node = PeerNode { name, peer_address, client_address, ..known };
                (id, ChangeMembers::SetNodes(BTreeMap::from([(id, node)])))
            }
            None => {
                let same_name = membership.nodes().find(|(_, node)| node.name == join.node.name);
                if let Some((id, node)) = same_name
                    && node.peer_address != join.node.peer_address
                {
                    let (name, address) = (&node.name, &node.peer_address);
                    return JoinAnswer::Refused(format!(
                        "a node named {name} is already a member, as node {id} at {address}"
                    ));
                }
                let lost = membership.nodes().find(|(_, node)| node.peer_address == join.node.peer_address);
                if let Some((id, _)) = lost.filter(|_| seeded::id_reuse()) {
                    return JoinAnswer::Accepted { cluster: self.cluster().to_owned(), id: *id };
                }
                let id = rules::highest_id(&membership) + 1;
                let node = PeerNode { kept: Kept { highest_id: id, forced: Vec::new() }, ..join.node };
                (id, ChangeMembers::AddNodes(BTreeMap::from([(id, node)])))
            }
        };
        let (id, change) = change;
        match self.raft.change_membership(change, true).await {
            Ok(_) => JoinAnswer::Accepted { cluster: self.cluster().to_owned(), id },
            Err(error) => JoinAnswer::Later(error.to_string()),
        }
    }

    /// Looks after the membership for as long as the node runs.
    pub async fn tend(self: Arc<Self>) {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut remembered, mut full_since, mut silent) = (None, None, BTreeMap::new());
        let mut asked = Instant::now();
        loop {
            round.tick().await;
            if leads(&self.raft) {
                self.heard_leader();
                if self.me.witness {
                    self.pass_on().await;
                }
            } else if self.heard.lock().elapsed() > SILENCE {
                if asked.elapsed() > SILENCE {
                    self.ask_whether_removed().await;
                    asked = Instant::now();
                }
                if let Some(removal) = self.caller.removed.lock().take() {
                    return (self.on_fatal)(Fatal(format!("{}; {ADVICE}", removal.reason)));
                }
            }
            self.split.look(&self.caller);
            self.sample();
            self.remember(&mut remembered).await;
            if self.me_is_outdated() {
                self.announce().await;
            }
            if self.machine.reign().is_some() {
                self.promote_learners(&mut silent).await;
            }
            self.hand_over_when_full(&mut full_since).await;
        }
    }

    /// A leader sent something, or this node leads.
    pub fn heard_leader(&self) {
        *self.heard.lock() = Instant::now();
    }

    /// A node that hears nobody may have been removed while it was down: any member that knows says so when it is spoken
    /// to.
    async fn ask_whether_removed(&self) {
        let membership = self.membership();
        let others = membership.nodes().filter(|(id, _)| **id != self.id()).map(|(id, node)| async move {
            drop(self.caller.ask(*id, &node.peer_address, &Request::NodeStatus, self.caller.patience.answer).await);
        });
        futures::future::join_all(others).await;
    }

    /// Writes down who the others are, once this node is one of them and whenever that changed.
    async fn remember(&self, remembered: &mut Option<Known>) {
        let membership = self.membership();
        // That the file is there says that there was a log.
        if membership.get_node(&self.id()).is_none() || self.log.synced().is_none() {
            return;
        }
        let others =
            membership.nodes().filter(|(id, node)| **id != self.id() && node.peer_address != self.me.peer_address);
        let known = Known { others: others.map(|(_, node)| node.peer_address.clone()).collect() };
        if remembered.as_ref() == Some(&known) {
            return;
        }
        let (directory, writing) = (self.directory.clone(), known.clone());
        let written = blocking(move || writing.write(&directory)).await;
        match written {
            Ok(Ok(())) => *remembered = Some(known),
            // Tried again in the next round; with a full disk that may be for long, and says enough by itself.
            Ok(Err(error)) => debug!("cannot write down the members: {error}"),
            Err(error) => debug!("cannot write down the members: {error}"),
        }
    }

    fn me_is_outdated(&self) -> bool {
        self.membership().get_node(&self.id()).is_some_and(|node| !node.same_place(&self.me))
    }

    /// Tells the primary under which addresses this node is to be found now.
    async fn announce(&self) {
        let join = Join { id: Some(self.id()), node: self.me.clone() };
        let answer = if leads(&self.raft) {
            self.admit(join).await
        } else {
            let Some(primary) = known_primary(&self.raft) else { return };
            let Some(address) = self.address_of(primary.0) else { return };
            let wait = self.caller.patience.progress;
            match self.caller.ask(primary.0, &address, &Request::Join(join), wait).await {
                Ok(Response::Join(answer)) => answer,
                Ok(_) => return,
                Err(error) => return warn!("cannot tell the primary this node's addresses: {error}"),
            }
        };
        if let JoinAnswer::Refused(reason) = answer {
            (self.on_fatal)(Fatal(reason));
        }
    }

    /// Learners that are up and have caught up become voters, in place of a member that had their address before.
    async fn promote_learners(&self, silent: &mut BTreeMap<u64, Instant>) {
        // Somebody else is changing the membership, or the leadership: there is another round.
        let Ok(_one_at_a_time) = self.admission.try_lock() else { return };
        let (membership, caught_up, up) = (self.membership(), self.caught_up(), self.up());
        let stays = |id: &u64| membership.get_node(id).is_none_or(|node| node.learner);
        // A change that its leader began and did not end: whoever leads now ends it.
        if let [_, .., wanted] = membership.get_joint_config().as_slice() {
            info!(?wanted, "a change of the voters was left half done");
            if let Err(error) = self.raft.change_membership(ChangeMembers::ReplaceAllVoters(wanted.clone()), true).await
            {
                warn!("the change of the voters could not be ended: {error}");
            }
            return;
        }
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let learners = membership.membership().learner_ids();
        let able = |id: &u64| caught_up.contains(id) && up.contains(id);
        let ready: BTreeSet<u64> = learners.filter(|id| able(id) && !stays(id)).collect();
        let replaced: BTreeSet<u64> = membership
            .nodes()
            .filter(|(id, node)| {
                let mut heirs = voters.union(&ready).filter_map(|heir| Some((heir, membership.get_node(heir)?)));
                heirs.any(|(heir, new)| heir > *id && new.peer_address == node.peer_address)
            })
            .map(|(id, _)| *id)
            .collect();
        if ready.is_empty() && replaced.is_empty() {
            return self.forget(self.abandoned(&up, silent)).await;
        }
        let voters: BTreeSet<u64> = voters.union(&ready).copied().filter(|id| !replaced.contains(id)).collect();
        if !rules::is_majority(voters.intersection(&up).count(), voters.len()) {
            return;
        }
        info!(?ready, ?replaced, "learners have caught up and become voters");
        let count = voters.len();
        if let Err(error) = self.raft.change_membership(ChangeMembers::ReplaceAllVoters(voters), true).await {
            return warn!("the voters could not be changed: {error}");
        }
        if let Some(advice) = rules::advice(count) {
            warn!("{advice}");
        }
        self.forget(replaced).await;
    }

    /// New nodes that were admitted and never came: who asked for them is a member already, or was when the request arrived. `silent`:
    /// since when it looks so.
    fn abandoned(&self, up: &BTreeSet<u64>, silent: &mut BTreeMap<u64, Instant>) -> BTreeSet<u64> {
        let membership = self.membership();
        let answers_instead = |id: &u64| {
            let address = membership.get_node(id).map(|node| &node.peer_address);
            let mut others = membership.nodes().filter(|(other, _)| *other != id && up.contains(other));
            others.any(|(_, node)| Some(&node.peer_address) == address)
        };
        let learners = membership.membership().learner_ids();
        let now: BTreeSet<u64> = learners.filter(|id| !up.contains(id) && answers_instead(id)).collect();
        silent.retain(|id, _| now.contains(id));
        for id in now {
            silent.entry(id).or_insert_with(Instant::now);
        }
        let abandoned: BTreeSet<u64> =
            silent.iter().filter(|(_, since)| since.elapsed() > ABANDONED).map(|(id, _)| *id).collect();
        if !abandoned.is_empty() {
            warn!(?abandoned, "members that never came are removed: others answer at their addresses");
        }
        abandoned
    }

    /// Members whose place another one took.
    async fn forget(&self, replaced: BTreeSet<u64>) {
        let membership = self.membership();
        let Some(own) = membership.get_node(&self.id()).filter(|_| !replaced.is_empty()) else { return };
        let mut heir = own.clone();
        for gone in replaced.iter().filter_map(|id| membership.get_node(id)) {
            heir.kept.inherit(&gone.kept);
        }
        let heir = ChangeMembers::SetNodes(BTreeMap::from([(self.id(), heir)]));
        let change = ChangeMembers::Batch(vec![heir, ChangeMembers::RemoveNodes(replaced)]);
        if let Err(error) = self.raft.change_membership(change, true).await {
            warn!("the replaced members could not be removed: {error}");
        }
    }

    /// Members, as this leader knows them, that have nearly the whole log.
    fn caught_up(&self) -> BTreeSet<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let close = |matched: &Option<LogId>| matched.is_some_and(|matched| matched.index + CLOSE >= last);
        metrics.replication.iter().flatten().filter(|(_, matched)| close(matched)).map(|(id, _)| *id).collect()
    }

    /// A primary that has no space for its log lets a standby that has some lead.
    async fn hand_over_when_full(&self, since: &mut Option<Instant>) {
        if self.machine.reign().is_none() || !self.log.is_full() {
            *since = None;
            return;
        }
        if since.get_or_insert_with(Instant::now).elapsed() < FULL_PATIENCE {
            return;
        }
        *since = None;
        let Some(successor) = best_successor(&self.raft, self.id()) else { return };
        let Some(address) = self.address_of(successor) else { return };
        let wait = self.caller.patience.progress;
        let report = self.caller.ask(successor, &address, &Request::NodeStatus, wait).await;
        if matches!(report, Ok(Response::NodeStatus(report)) if !report.full) {
            warn!(successor, "there is no space for the log: another node is asked to be the primary");
            if let Err(error) = self.raft.trigger().transfer_leader(successor).await {
                debug!("the leadership cannot be handed over: {error}");
            }
        }
    }

    /// What this node knows of itself.
    pub fn report(&self) -> NodeReport {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let applied = self.machine.applied();
        let role = match (self.machine.reign(), metrics.state) {
            (Some(_), _) => "primary",
            (None, openraft::ServerState::Candidate) => "candidate",
            _ if self.me.witness => "witness",
            _ => "standby",
        };
        NodeReport {
            term: metrics.current_term,
            role: role.to_owned(),
            primary: metrics.current_leader.filter(|id| match *id == self.id() {
                true => self.machine.reign().is_some(),
                false => metrics.membership_config.get_node(id).is_some_and(|node| !node.witness),
            }),
            appended: metrics.last_log_index,
            durable: self.log.synced().map(|id| id.index),
            applied: applied.index,
            applied_position: applied.position,
            installing: false,
            full: self.log.is_full(),
            diverged: self.machine.diverged().is_some(),
            arrived: None,
            archived_to: self.machine.archive.status().next,
            troubles: engine::monitor::troubles(&self.figures()),
        }
    }

    /// This node's log and checkpoints, as the views show them.
    pub fn figures(&self) -> LogFigures {
        let position = |id: Option<EntryId>| types::position_of_index(id.map(|id| id.index));
        let archive = self.machine.archive.status();
        LogFigures {
            appended: position(self.log.last()),
            durable: position(self.log.synced()),
            purged: position(self.log.purged()),
            checkpoint: self.machine.checkpoint_figures(),
            diverged: self.machine.diverged(),
            split: self.split.why(&self.caller),
            archive_failing: archive.failing,
            archive_given_up: archive.given_up,
            ..self.log.figures()
        }
    }
}
