//! Planned switchover: another voter becomes the primary while the commits that come meanwhile wait and none of those on
//! their way is lost.
//!
//! The long part happens while writes go on: the successor has to answer and to be close. Then, for a round trip and
//! the election of one candidate, nothing new is proposed: what is on its way is acknowledged, the successor has the
//! whole log, and it stands for election at once, which this node allowed. If nobody is elected, what waited goes on
//! in the same reign. If the successor is, what waited is refused, and certainly was not written.
//!
//! The order to stand for election goes to the successor alone and is not noted in consensus (as openraft's own transfer
//! is, which stops a leader for good): to a voter that is asked for its vote the request itself says that the leader
//! allowed it (Raft dissertation, 4.2.3).
//!
//! Invariant: while proposals are held back, and only then, the successor is told to stand; so all that this node ever
//! acknowledged is in the successor's log.

use std::time::Duration;

use engine::cluster::{ClusterChangeError, ClusterChanged};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::Members;
use crate::net::client::Connection;
use crate::net::message::{Request, Response};
use crate::raft::types::LogId;
use crate::raft::{known_primary, leads};

/// How long writes go on while the successor comes close.
const APPROACH: Duration = Duration::from_secs(10);
/// A successor that lacks or has not applied more entries than this would let writes wait for long.
const CLOSE: u64 = 200;
/// Longest time for which proposals are held back until the successor has all.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the name of the new primary is waited for.
const SETTLED: Duration = Duration::from_secs(3);

fn refused(message: impl Into<String>, detail: impl Into<String>) -> ClusterChangeError {
    ClusterChangeError::refused(message, detail, "")
}

impl Members {
    /// Lets the named voter, or the one that is best prepared, be the primary; gives its name. On an error of the kind
    /// "refused" this node goes on as it was.
    pub(super) async fn switch_over(&self, to: Option<&str>) -> Result<ClusterChanged, ClusterChangeError> {
        let _one_at_a_time = self.admission.lock().await;
        if !leads(&self.raft) || self.machine.reign().is_none() {
            return Err(ClusterChangeError::NoPrimary);
        }
        let (id, name) = match to {
            Some(name) if *name == self.me.name => {
                let notices = vec![format!("node \"{name}\" is already the primary")];
                return Ok(ClusterChanged { node: name.to_owned(), notices, ..ClusterChanged::default() });
            }
            Some(name) => (self.named_successor(name)?, name.to_owned()),
            None => self.best_prepared().await?,
        };
        let connection = self.approach(id, &name).await?;
        self.hand_over(id, &name, connection).await
    }

    /// A witness that was elected, because it had the longest log, lets a node with tables lead as soon as that has it too.
    pub(super) async fn pass_on(&self) {
        let _one_at_a_time = self.admission.lock().await;
        let passed = async {
            let (id, name) = self.best_prepared().await?;
            let connection = self.approach(id, &name).await?;
            self.hand_over(id, &name, connection).await
        };
        match passed.await {
            Ok(changed) => info!(primary = changed.node, "this witness was elected and handed over"),
            Err(error) => warn!("this witness was elected and finds nobody to hand over to: {error}"),
        }
    }

    fn named_successor(&self, name: &str) -> Result<u64, ClusterChangeError> {
        let membership = self.membership();
        let found = membership.nodes().find(|(_, node)| node.name == name);
        let (id, node) = found.ok_or_else(|| ClusterChangeError::NoSuchNode(name.to_owned()))?;
        if node.witness {
            return Err(refused(
                format!("node \"{name}\" cannot become the primary"),
                "It is a witness and has no tables.",
            ));
        }
        if !membership.voter_ids().any(|voter| voter == *id) {
            return Err(refused(
                format!("node \"{name}\" cannot become the primary"),
                "It is not a voter, so the others would not elect it.",
            ));
        }
        Ok(*id)
    }

    /// The voter with the most complete log among those that answer and have space for more.
    async fn best_prepared(&self) -> Result<(u64, String), ClusterChangeError> {
        let membership = self.membership();
        let voters = membership.voter_ids().filter(|id| *id != self.id());
        let reports = voters.filter_map(|id| {
            let node = membership.get_node(&id).filter(|node| !node.witness)?.clone();
            Some(async move {
                let wait = self.caller.patience.answer;
                match self.caller.ask(id, &node.peer_address, &Request::NodeStatus, wait).await {
                    Ok(Response::NodeStatus(report)) if !report.full => Some((report.appended, id, node.name)),
                    _ => None,
                }
            })
        });
        let reports = futures::future::join_all(reports).await;
        let best = reports.into_iter().flatten().max_by_key(|(appended, ..)| *appended);
        best.map(|(_, id, name)| (id, name)).ok_or_else(|| {
            refused(
                "no other node can become the primary",
                "There is no other voter that answers and has space for its log.",
            )
        })
    }

    fn matched(&self, id: u64) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.replication.as_ref().and_then(|nodes| *nodes.get(&id)?).map(|matched| matched.index)
    }

    /// Waits, while writes go on, until the successor has and has applied nearly all; gives a connection to it.
    async fn approach(&self, id: u64, name: &str) -> Result<Connection, ClusterChangeError> {
        let cannot = |detail: String| refused(format!("node \"{name}\" cannot become the primary now"), detail);
        let silent = || cannot("It does not answer.".to_owned());
        let address = self.address_of(id).ok_or_else(|| ClusterChangeError::NoSuchNode(name.to_owned()))?;
        let deadline = Instant::now() + APPROACH;
        let mut connection = Connection::open(&address, &self.caller.hello(id), self.caller.patience.connect)
            .await
            .map_err(|error| cannot(format!("It does not answer: {error}.")))?;
        loop {
            let last = self.log.last().map_or(0, |id| id.index);
            let close = |index: Option<u64>| index.is_some_and(|index| index + CLOSE >= last);
            let asked = tokio::time::timeout(self.caller.patience.answer, connection.call(&Request::NodeStatus));
            let report = match asked.await {
                Ok(Ok(Response::NodeStatus(report))) => report,
                _ => return Err(silent()),
            };
            if report.full {
                return Err(cannot("It has no space for its log.".to_owned()));
            }
            if close(self.matched(id)) && close(report.applied) && !report.installing {
                return Ok(connection);
            }
            if Instant::now() > deadline {
                let behind = last.saturating_sub(report.applied.unwrap_or(0));
                return Err(cannot(format!("It is {behind} entries of the log behind.")));
            }
            if !leads(&self.raft) {
                return Err(ClusterChangeError::NoPrimary);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The short part, during which nothing is proposed.
    async fn hand_over(
        &self,
        id: u64,
        name: &str,
        mut connection: Connection,
    ) -> Result<ClusterChanged, ClusterChangeError> {
        let cannot = |detail: &str| refused(format!("node \"{name}\" did not become the primary"), detail);
        let begun = Instant::now();
        let held_back = self.refusals.proposing.lock().await;
        let deadline = begun + PAUSE;
        let state = self.raft.with_raft_state(|state| (state.log_ids.last().copied(), *state.vote_ref())).await;
        let (last, vote) = state.map_err(|_| ClusterChangeError::NoPrimary)?;
        if !self.settled(id, last, deadline).await {
            return Err(cannot("It did not catch up with the last commits in time."));
        }
        let request = Request::TransferLeader(TransferLeaderRequest::new(vote, id, last));
        match timeout_at(deadline, connection.call(&request)).await {
            Ok(Ok(Response::TransferLeader(Ok(())))) => {}
            Ok(Ok(Response::TransferLeader(Err(error)))) => return Err(cannot(&format!("It said: {error}."))),
            // It may have been told. While this node leads in consensus it may go on: only one of the two is elected.
            _ => warn!(successor = name, "the successor did not answer"),
        }
        let mut metrics = self.raft.server_metrics();
        let elected = self.caller.patience.answer;
        let deposed = async {
            while leads(&self.raft) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout_at(Instant::now() + elected, deposed).await.is_err() {
            drop(held_back);
            warn!(successor = name, "the successor was not elected; this node goes on as the primary");
            return Err(cannot("It was not elected in time."));
        }
        drop(held_back);
        let paused = begun.elapsed();
        let settled = async {
            loop {
                match known_primary(&self.raft) {
                    Some(primary) => return primary.0,
                    None if metrics.changed().await.is_err() => return 0,
                    None => {}
                }
            }
        };
        let primary = timeout_at(Instant::now() + SETTLED, settled).await.unwrap_or(0);
        let elected = self.membership().get_node(&primary).map(|node| node.name.clone());
        info!(asked = name, elected = ?elected, paused_us = paused.as_micros() as u64, "planned switchover");
        match elected {
            Some(elected) if elected == name => Ok(ClusterChanged { node: elected, ..ClusterChanged::default() }),
            Some(other) => {
                let warnings = vec![format!("node \"{other}\" was elected before node \"{name}\"")];
                Ok(ClusterChanged { node: other, warnings, notices: Vec::new() })
            }
            None => Err(ClusterChangeError::Unknown(
                "this node gave its leadership up and knows no other primary yet".to_owned(),
            )),
        }
    }

    /// Waits until everything up to `last` is acknowledged here and in the successor's log.
    async fn settled(&self, id: u64, last: Option<LogId>, deadline: Instant) -> bool {
        let Some(last) = last.map(|last| last.index) else { return true };
        let mut applied = self.machine.watch_applied();
        let acknowledged = applied.wait_for(|applied| applied.index >= Some(last));
        if !matches!(timeout_at(deadline, acknowledged).await, Ok(Ok(_))) {
            return false;
        }
        let mut metrics = self.raft.metrics();
        let shipped = async {
            while self.matched(id).is_none_or(|matched| matched < last) {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        matches!(timeout_at(deadline, shipped).await, Ok(true))
    }
}
