//! What operators ask for, from whichever node they ask: carried to the primary, decided and done there.

use std::sync::Arc;
use std::time::Duration;

use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};

use super::Members;
use crate::net::client::{Connection, NetError};
use crate::net::message::{Request, Response};
use crate::raft::{known_primary, leads};

/// A change takes as long as a new node needs to answer and the cluster to agree.
const ANSWER: Duration = Duration::from_secs(30);

impl Members {
    /// Changes the cluster, from any node.
    pub async fn change(self: &Arc<Self>, change: ClusterChange) -> Result<ClusterChanged, ClusterChangeError> {
        if leads(&self.raft) {
            return self.change_here(change).await;
        }
        let primary = known_primary(&self.raft).filter(|primary| primary.0 != self.id());
        let primary = primary.ok_or(ClusterChangeError::NoPrimary)?;
        let address = self.address_of(primary.0).ok_or(ClusterChangeError::NoPrimary)?;
        let opened = Connection::open(&address, &self.caller.hello(primary.0), self.caller.patience.connect).await;
        let mut connection = opened.map_err(|_| ClusterChangeError::NoPrimary)?;
        match tokio::time::timeout(ANSWER, connection.call(&Request::Change(change))).await {
            Ok(Ok(Response::Changed(changed))) => changed,
            Ok(Ok(_)) => Err(ClusterChangeError::Unknown(NetError::Protocol.to_string())),
            Ok(Err(error)) => Err(ClusterChangeError::Unknown(error.to_string())),
            Err(_) => Err(ClusterChangeError::Unknown(NetError::Timeout.to_string())),
        }
    }

    /// Changes the cluster as its primary. Goes on when the caller has gone.
    pub async fn change_here(self: &Arc<Self>, change: ClusterChange) -> Result<ClusterChanged, ClusterChangeError> {
        let members = self.clone();
        let done = tokio::spawn(async move {
            match change {
                ClusterChange::Switchover { to } => members.switch_over(to.as_deref()).await,
            }
        });
        done.await.unwrap_or_else(|end| Err(ClusterChangeError::Unknown(format!("the node is stopping: {end}"))))
    }
}
