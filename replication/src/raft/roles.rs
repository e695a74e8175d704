//! Watches leadership and tells the engine: primary once everything before its term is applied, standby at once when
//! leadership is lost, or when a quorum has not been heard for too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::commit_log::NodeId;
use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tracing::{info, warn};

use super::machine::Machine;
use super::proposer::Refusals;
use super::{Raft, quorum_heard_within};
use crate::{Fatal, FatalHandler};

pub struct RoleWatcher {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub refusals: Arc<Refusals>,
    pub id: u64,
    /// A primary that has not heard a quorum for this long gives up its reign.
    pub patience: Duration,
    pub on_fatal: FatalHandler,
}

impl RoleWatcher {
    /// Runs until consensus stops. Reports a stop that was not asked for.
    pub async fn run(self) {
        let mut metrics = self.raft.server_metrics();
        let mut resigned = 0;
        let mut elected = (0, Instant::now());
        let mut tick = tokio::time::interval(self.patience / 8);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.machine.demote(None).await;
        loop {
            let changed = tokio::select! {
                changed = metrics.changed() => changed.is_ok(),
                _ = self.machine.term_begun.notified() => true,
                _ = self.refusals.happened.notified() => true,
                _ = tick.tick() => true,
            };
            if !changed {
                break;
            }
            let (leads, term, leader) = {
                let metrics = metrics.borrow_watched();
                let leads = metrics.state == ServerState::Leader;
                (leads, metrics.vote.leader_id.term, metrics.current_leader)
            };
            let reign = self.machine.reign();
            if leads && elected.0 != term {
                elected = (term, Instant::now());
            }
            if leads && term > resigned && self.must_resign(term, elected.1) {
                warn!(term, "no quorum of the voters answers: this node stops being the primary");
                resigned = term;
                self.machine.demote(None).await;
                self.hand_over().await;
            } else if leads && term > resigned {
                if reign.is_some_and(|reign| reign != term) {
                    self.machine.demote(None).await;
                }
                if reign != Some(term) {
                    self.machine.promote(term).await;
                }
            } else {
                let primary = leader.filter(|leader| *leader != self.id).map(NodeId);
                self.machine.demote(primary).await;
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

    fn must_resign(&self, term: u64, elected: Instant) -> bool {
        let silent = elected.elapsed() > self.patience && !quorum_heard_within(&self.raft, self.patience);
        silent || self.refusals.includes(term)
    }

    /// Lets the others elect: openraft's leader stops its heartbeats while it hands over.
    async fn hand_over(&self) {
        if let Some(target) = best_successor(&self.raft, self.id) {
            info!(target, "handing leadership over");
            let _ = self.raft.trigger().transfer_leader(target).await;
        }
    }
}

/// The other voter whose log is the most complete, as far as this leader knows.
pub fn best_successor(raft: &Raft, id: u64) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let matched = |node: &u64| metrics.replication.as_ref().and_then(|nodes| *nodes.get(node)?);
    metrics.membership_config.voter_ids().filter(|voter| *voter != id).max_by_key(|voter| matched(voter))
}
