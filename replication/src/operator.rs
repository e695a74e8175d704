//! An operator at a node's machine: who can read a node's data directory may ask its cluster for changes, over the port
//! for peers, whether or not clients can be served.

use std::path::Path;
use std::time::Duration;

use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use engine::commit_log::ClusterStatus;

use crate::StartError;
use crate::cluster::identity::read_identity;
use crate::net::client::{Connection, NetError};
use crate::net::message::{Hello, PROTOCOL, Request, Response};

const CONNECT: Duration = Duration::from_secs(5);
/// A change waits for a node to join and the cluster to agree.
const ANSWER: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("{0}")]
    Directory(#[from] StartError),
    #[error("{} holds no node of a cluster", .0.display())]
    NoNode(std::path::PathBuf),
    #[error("the node at {address} does not answer: {trouble}")]
    Silent { address: String, trouble: String },
    #[error("{0}")]
    Change(#[from] ClusterChangeError),
}

/// A conversation with one node.
pub struct Operator {
    cluster: String,
    address: String,
}

impl Operator {
    /// With the rights of whoever can read the data directory of some node of the cluster.
    pub fn of(data_dir: &Path, address: &str) -> Result<Self, OperatorError> {
        let identity = read_identity(data_dir)?.ok_or_else(|| OperatorError::NoNode(data_dir.to_owned()))?;
        Ok(Self { cluster: identity.cluster_id, address: address.to_owned() })
    }

    async fn ask(&self, request: &Request) -> Result<Response, OperatorError> {
        let hello = Hello { protocol: PROTOCOL, cluster: self.cluster.clone(), from: 0, to: 0 };
        let asked = async {
            let mut connection = Connection::open(&self.address, &hello, CONNECT).await?;
            tokio::time::timeout(ANSWER, connection.call(request)).await?
        };
        let silent =
            |trouble: NetError| OperatorError::Silent { address: self.address.clone(), trouble: trouble.to_string() };
        asked.await.map_err(silent)
    }

    fn misfit(&self) -> OperatorError {
        OperatorError::Silent { address: self.address.clone(), trouble: NetError::Protocol.to_string() }
    }

    pub async fn status(&self) -> Result<ClusterStatus, OperatorError> {
        match self.ask(&Request::ClusterStatus).await? {
            Response::ClusterStatus(status) => Ok(status),
            _ => Err(self.misfit()),
        }
    }

    pub async fn change(&self, change: ClusterChange) -> Result<ClusterChanged, OperatorError> {
        match self.ask(&Request::Change { change, forwarded: false }).await? {
            Response::Changed(changed) => Ok(changed?),
            _ => Err(self.misfit()),
        }
    }
}
