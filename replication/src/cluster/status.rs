//! What is known of every node, on any node: the primary asks each member for its positions and adds what consensus
//! knows; a standby asks the primary, or, when there is none, puts together what the members say themselves.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use engine::cluster::ForcedPrimary;
use engine::commit_log::{ClusterStatus, NodeStatus};
use futures::future::join_all;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;

use super::Members;
use crate::net::message::{NodeReport, Request, Response};
use crate::raft::known_primary;
use crate::raft::types::{self, Kept, PeerNode};

/// A member that does not say where it stands within this time is unreachable for the answer.
const ANSWER: Duration = Duration::from_millis(400);
const SAMPLES: usize = 6000;
/// A standby with less log than this ahead of it is streaming, not catching up.
const STREAMING_BYTES: u64 = 16 << 20;

/// When the log had which length, to tell a lag in time.
#[derive(Debug, Default)]
pub struct Samples(VecDeque<(Instant, u64)>);

impl Samples {
    fn add(&mut self, last: u64) {
        if self.0.back().is_some_and(|(_, index)| *index == last) {
            return;
        }
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back((Instant::now(), last));
    }

    /// For how long something behind `index` has been in the log.
    fn lag(&self, index: u64) -> Option<Duration> {
        self.0.iter().find(|(_, last)| *last > index).map(|(at, _)| at.elapsed())
    }
}

impl Members {
    pub(super) fn sample(&self) {
        if let Some(last) = self.log.last() {
            self.samples.lock().add(last.index);
        }
    }

    /// The cluster, on any node.
    pub async fn status(&self) -> ClusterStatus {
        if self.machine.reign().is_none()
            && let Some(primary) = known_primary(&self.raft).filter(|primary| primary.0 != self.id())
            && let Some(address) = self.address_of(primary.0)
        {
            let answer = self.caller.ask(primary.0, &address, &Request::ClusterStatus, ANSWER * 3).await;
            if let Ok(Response::ClusterStatus(mut status)) = answer {
                status.this_node = self.id();
                return status;
            }
        }
        self.status_of_primary().await
    }

    /// The cluster from this node's own knowledge and what the others say when they are asked now.
    pub async fn status_of_primary(&self) -> ClusterStatus {
        let membership = self.membership();
        let nodes: Vec<(u64, PeerNode)> = membership.nodes().map(|(id, node)| (*id, node.clone())).collect();
        let others = nodes.iter().filter(|(id, _)| *id != self.id()).map(|(id, node)| async {
            let answer = self.caller.ask(*id, &node.peer_address, &Request::NodeStatus, ANSWER).await;
            match answer {
                Ok(Response::NodeStatus(report)) => Some((*id, report)),
                _ => None,
            }
        });
        let mut reports: BTreeMap<u64, NodeReport> = join_all(others).await.into_iter().flatten().collect();
        let own = self.report();
        let term = own.term;
        // Who is known from before and does not answer is no primary to anybody.
        let elsewhere = own.primary.filter(|primary| reports.contains_key(primary));
        let primary = self.machine.reign().map(|_| self.id()).or(elsewhere);
        reports.insert(self.id(), own);
        let voters: Vec<u64> = membership.voter_ids().collect();
        let rows = nodes
            .into_iter()
            .map(|(id, node)| self.row(id, node, voters.contains(&id), reports.get(&id), primary == Some(id)))
            .collect();
        let kept = membership.nodes().fold(Kept::default(), |mut all, (_, node)| {
            all.inherit(&node.kept);
            all
        });
        let forced = kept.forced.into_iter().map(|forced| ForcedPrimary {
            term: forced.term,
            position: types::position_of_index(Some(forced.index)),
            node: forced.node,
            given_up: forced.given_up,
            at: forced.at,
        });
        let (cluster_id, this_node) = (self.cluster().to_owned(), self.id());
        ClusterStatus { cluster_id, this_node, term, primary, nodes: rows, forced: forced.collect() }
    }

    fn row(&self, id: u64, node: PeerNode, voter: bool, report: Option<&NodeReport>, primary: bool) -> NodeStatus {
        let last = self.log.last().map(|id| id.index);
        let (matched, contact) = self.heard_of(id);
        let own = id == self.id();
        let applied = report.and_then(|report| report.applied);
        let behind = applied.or(matched).map_or(0, |index| index + 1);
        let lag_bytes = match (last, behind) {
            (Some(last), 0) => self.log.bytes_between(0, last),
            (Some(last), behind) => self.log.bytes_between(behind - 1, last),
            (None, _) => 0,
        };
        let lag = match (last, applied.or(matched)) {
            (Some(last), Some(at)) if at >= last => Some(Duration::ZERO),
            (_, Some(at)) => self.samples.lock().lag(at),
            _ => None,
        };
        let state = match report {
            None => "unreachable",
            Some(report) if report.diverged => "diverged",
            Some(report) if report.installing => "snapshot",
            // Its own log is no measure for a node that is cut off from the others.
            Some(_) if own && self.lost_quorum() => "no quorum",
            Some(_) if lag_bytes > STREAMING_BYTES => "catchup",
            Some(_) => "streaming",
        };
        let role = match report {
            _ if primary && !(own && self.machine.reign().is_none()) => "primary",
            Some(report) if report.role != "primary" => &report.role,
            _ if node.witness => "witness",
            _ => "standby",
        };
        // Several records share an entry: what is applied counts records, the rest counts entries.
        let applied = report.map_or(types::position_of_index(None), |report| report.applied_position);
        let at_least = |index: Option<u64>| types::position_of_index(index.or(matched)).max(applied);
        NodeStatus {
            id,
            name: node.name,
            peer_address: node.peer_address,
            client_address: node.client_address,
            membership: if voter { "voter" } else { "learner" }.to_owned(),
            role: role.to_owned(),
            state: state.to_owned(),
            appended: at_least(report.and_then(|report| report.appended)),
            durable: at_least(report.and_then(|report| report.durable)),
            applied,
            lag_bytes,
            arrived: report.and_then(|report| report.arrived),
            lag,
            last_contact: if own { Some(Duration::ZERO) } else { contact },
            troubles: report.map(|report| report.troubles.clone()).unwrap_or_default(),
        }
    }

    /// As the leader: how far a member has the log for certain, and when it answered last.
    pub(super) fn heard_of(&self, id: u64) -> (Option<u64>, Option<Duration>) {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref().and_then(|nodes| *nodes.get(&id)?);
        let contact = metrics.heartbeat.as_ref().and_then(|nodes| *nodes.get(&id)?).map(|at| at.elapsed());
        (matched.map(|matched| matched.index), contact)
    }

    /// True when consensus still names this node leader although it gave up its reign.
    fn lost_quorum(&self) -> bool {
        self.machine.reign().is_none()
            && crate::raft::leads(&self.raft)
            && !crate::raft::quorum_heard_within(&self.raft, Duration::from_secs(1))
    }
}
