//! One running node of a cluster.

use engine::commit_log::{
    AppendError, Appended, CheckpointError, ClusterStatus, CommitLog, Epoch, LogPosition, ReadError, Record,
    SharedStateMachine,
};
use tokio::sync::oneshot;

use crate::{FatalHandler, NodeConfig, StartError};

/// A node: its log, its place in the cluster, and the way for the engine to commit.
pub struct Node {
    _private: (),
}

impl Node {
    /// Recovers what the data directory holds (or begins or joins a cluster), restores the state machine and starts
    /// to take part. Blocks until the node can serve status; it may not be primary yet.
    pub fn start(
        config: NodeConfig,
        state_machine: SharedStateMachine,
        on_fatal: FatalHandler,
    ) -> Result<Node, StartError> {
        let _ = (config, state_machine, on_fatal);
        Err(StartError::Log("the replication layer is not built yet".to_owned()))
    }

    /// Hands leadership over when there is somebody to take it, flushes and ends. Later calls fail as stopping.
    pub fn stop(&self) {}
}

#[async_trait::async_trait]
impl CommitLog for Node {
    fn append(&self, _epoch: Epoch, _record: Record) -> Appended {
        let (sender, receiver) = oneshot::channel();
        let _ = sender.send(Err(AppendError::NotPrimary { primary: None }));
        receiver
    }

    async fn read_barrier(&self) -> Result<(), ReadError> {
        Err(ReadError::NoPrimary)
    }

    fn read_barrier_is_free(&self) -> bool {
        false
    }

    async fn status(&self) -> ClusterStatus {
        ClusterStatus::default()
    }

    async fn checkpoint(&self) -> Result<LogPosition, CheckpointError> {
        Err(CheckpointError::Stopping)
    }
}
