//! Consensus: everything that knows openraft, whose interface still moves, is below this module and [`crate::net`].
//!
//! A record's way: [`proposer`] packs what waits into an entry → openraft → [`log_store`] (the write-ahead log) and the
//! peers → [`machine`] applies it → [`in_flight`] answers. [`roles`] tells the engine who is primary, [`barrier`] keeps
//! reads from being stale, [`checkpoints`] is the directory that bounds the log.

pub mod barrier;
pub mod checkpoint_meter;
pub mod checkpoints;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_range_loop)]
mod crash_points;
mod in_flight;
pub mod log_store;
pub mod machine;
pub mod partial;
pub mod proposer;
pub mod roles;
#[cfg(test)]
mod suite;
pub mod types;

use std::time::Duration;

use engine::commit_log::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, ServerState};

use crate::Timings;
use machine::MachineHandle;
use types::TypeConfig;

pub type Raft = openraft::Raft<TypeConfig, MachineHandle>;

pub fn config(cluster: &str, timings: &Timings, entries_kept: u64) -> Result<openraft::Config, String> {
    let millis = |duration: Duration| duration.as_millis() as u64;
    let config = openraft::Config {
        cluster_name: cluster.to_owned(),
        heartbeat_interval: millis(timings.heartbeat),
        election_timeout_min: millis(timings.election_min),
        election_timeout_max: millis(timings.election_max),
        // A restarted leader may have an older state in memory than it acknowledged: it has to be elected again.
        enable_leader_restore: Some(false),
        enable_pre_vote: Some(true),
        snapshot_policy: openraft::SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: entries_kept,
        replication_lag_threshold: u64::MAX,
        max_payload_entries: 1024,
        install_snapshot_timeout: 60_000,
        // A primary that hears nobody lets the others elect from time to time, should they still hear it.
        quorum_loss_probe_interval: Some(millis(timings.election_max) * 3),
        broadcast_submitted_on_append: Some(true),
        backoff: "20ms 50ms 100ms ...500ms".to_owned(),
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| error.to_string())
}

pub fn leads(raft: &Raft) -> bool {
    raft.server_metrics().borrow_watched().state == ServerState::Leader
}

/// The primary, as far as this node knows.
pub fn known_primary(raft: &Raft) -> Option<NodeId> {
    raft.server_metrics().borrow_watched().current_leader.map(NodeId)
}

/// True when this node is the only voter.
pub fn alone(raft: &Raft) -> bool {
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let joint = metrics.membership_config.membership().get_joint_config();
    !joint.is_empty() && joint.iter().all(|voters| voters.len() == 1 && voters.contains(&metrics.id))
}

/// True when a quorum answered this leader within the last `age`, or when it needs nobody else.
pub fn quorum_heard_within(raft: &Raft, age: Duration) -> bool {
    if alone(raft) {
        return true;
    }
    let metrics = raft.data_metrics();
    let heard = metrics.borrow_watched().last_quorum_acked;
    heard.is_some_and(|at| at.elapsed() <= age)
}
