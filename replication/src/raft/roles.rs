//! Watches leadership and tells the engine: primary once everything before its term is applied, standby at once when
//! leadership is lost, or when a quorum has not been heard for too long. In the last case the node goes on leading in
//! consensus, where nothing can be committed: if the quorum comes back before somebody else was elected, a new epoch
//! begins in the same term.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::commit_log::{Epoch, NodeId};
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tracing::warn;

use super::machine::Machine;
use super::proposer::Refusals;
use super::types::{self, LogId};
use super::{Raft, quorum_heard_within};
use crate::{Fatal, FatalHandler, seeded};

/// How often a new leader looks whether its reign can begin.
const AWAITED: Duration = Duration::from_millis(2);

pub struct RoleWatcher {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub refusals: Arc<Refusals>,
    pub id: u64,
    /// It never reigns: whoever looks after it hands its leadership over.
    pub witness: bool,
    /// A primary that has not heard a quorum for this long pauses its reign.
    pub patience: Duration,
    pub on_fatal: FatalHandler,
}

impl RoleWatcher {
    /// Runs until consensus stops. Reports a stop that was not asked for.
    pub async fn run(self) {
        let mut metrics = self.raft.server_metrics();
        let mut tick = tokio::time::interval(self.patience / 8);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Term that this node leads, since when, and its reigns in it.
        let (mut led, mut since, mut reigns) = (0, Instant::now(), 0);
        // This node has just begun to lead and what its reign needs is not there yet: clients wait for it.
        let mut awaited = false;
        self.machine.demote(None).await;
        loop {
            let changed = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                _ = self.machine.term_begun.notified() => true,
                _ = self.refusals.happened.notified() => true,
                _ = tick.tick() => true,
                () = tokio::time::sleep(AWAITED), if awaited => true,
            };
            if !changed {
                break;
            }
            let (leads, term, leader) = {
                let metrics = metrics.borrow_watched();
                let leads = metrics.state == ServerState::Leader;
                (leads, metrics.vote.leader_id.term, metrics.current_leader)
            };
            if !leads && seeded::no_demotion() && self.machine.reign().is_some() {
                continue;
            }
            if !leads || self.witness {
                awaited = false;
                let primary = leader.filter(|leader| *leader != self.id).map(NodeId);
                self.machine.demote(primary).await;
                continue;
            }
            if led != term {
                (led, since, reigns) = (term, Instant::now(), 0);
            }
            let reign = self.machine.reign().filter(|epoch| types::term_of(*epoch) == term);
            awaited = reign.is_none() && since.elapsed() < self.patience;
            match reign {
                Some(epoch) if self.must_pause(epoch, since) => {
                    warn!(term, "no quorum of the voters answers: this node stops being the primary");
                    self.machine.demote(None).await;
                }
                Some(_) => {}
                None => {
                    if self.machine.reign().is_some() {
                        self.machine.demote(None).await;
                    }
                    if quorum_heard_within(&self.raft, self.patience / 2)
                        && let Some(settled) = self.settled().await
                        && self.machine.promote(types::epoch(term, reigns + 1), settled).await
                    {
                        reigns += 1;
                    }
                }
            }
        }
        self.machine.demote(None).await;
        let running = self.raft.metrics().borrow_watched().running_state.clone();
        if let Err(error) = running
            && error != openraft::errors::Fatal::Stopped
        {
            (self.on_fatal)(Fatal(format!("consensus stopped: {error}")));
        }
    }

    fn must_pause(&self, epoch: Epoch, since: Instant) -> bool {
        let silent = since.elapsed() > self.patience && !quorum_heard_within(&self.raft, self.patience);
        silent && !seeded::no_demotion() || self.refusals.includes(epoch)
    }

    /// The last entry that earlier epochs can have written: the question is answered behind all of their proposals.
    async fn settled(&self) -> Option<LogId> {
        let _nobody_proposes = self.refusals.proposing.lock().await;
        self.raft.with_raft_state(|state| state.log_ids.last().copied()).await.ok().flatten()
    }
}

/// The other voter whose log is the most complete, as far as this leader knows.
pub fn best_successor(raft: &Raft, id: u64) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let matched = |node: &u64| metrics.replication.as_ref().and_then(|nodes| *nodes.get(node)?);
    let membership = &metrics.membership_config;
    let has_tables = |voter: &u64| membership.get_node(voter).is_some_and(|node| !node.witness);
    membership.voter_ids().filter(|voter| *voter != id && has_tables(voter)).max_by_key(|voter| matched(voter))
}
