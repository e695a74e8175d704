//! How a new node gets its identity: it asks any member, is sent on to the primary, and is admitted as a learner.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::identity::{FORMAT, Identity};
use crate::net::client::{Connection, NetError};
use crate::net::message::{Hello, Join, JoinAnswer, PROTOCOL, Request, Response};
use crate::raft::types::PeerNode;
use crate::{NodeConfig, StartError};

/// An answer takes as long as the cluster needs to commit the new membership.
const ANSWER: Duration = Duration::from_secs(10);

pub async fn join(config: &NodeConfig, node: PeerNode) -> Result<Identity, StartError> {
    let deadline = Instant::now() + config.timings.join;
    let mut addresses: Vec<String> = config.join.clone();
    let mut trouble = String::new();
    while Instant::now() < deadline {
        let mut redirect = None;
        for address in &addresses {
            match ask(address, &node).await {
                Ok(JoinAnswer::Accepted { cluster, id }) => {
                    info!(cluster, id, "admitted to the cluster by the node at {address}");
                    return Ok(Identity { format: FORMAT, cluster_id: cluster, node_id: id, founder: false });
                }
                Ok(JoinAnswer::Redirect(primary)) => {
                    redirect = Some(primary);
                    break;
                }
                Ok(JoinAnswer::Refused(reason)) => return Err(StartError::Join(reason)),
                Ok(JoinAnswer::Later(reason)) => trouble = format!("the node at {address} said: {reason}"),
                Err(NetError::Refused(reason)) => return Err(StartError::Join(reason)),
                Err(error) => trouble = format!("the node at {address} did not answer: {error}"),
            }
        }
        addresses.clone_from(&config.join);
        match redirect {
            Some(primary) => addresses.insert(0, primary),
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    Err(StartError::Join(trouble))
}

async fn ask(address: &str, node: &PeerNode) -> Result<JoinAnswer, NetError> {
    let hello = Hello { protocol: PROTOCOL, cluster: String::new(), from: 0, to: 0 };
    let mut connection = Connection::open(address, &hello, Duration::from_secs(2)).await?;
    let request = Request::Join(Join { id: None, node: node.clone() });
    match tokio::time::timeout(ANSWER, connection.call(&request)).await?? {
        Response::Join(answer) => Ok(answer),
        _ => Err(NetError::Protocol),
    }
}
