//! How a new node gets its identity: it asks any member, is sent on to the primary, and is admitted as a learner.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::identity::{FORMAT, Identity};
use crate::net::client::{Connection, NetError};
use crate::net::message::{Hello, Join, JoinAnswer, PROTOCOL, Request, Response};
use crate::raft::types::PeerNode;

/// An answer takes as long as the cluster needs to commit the new membership.
const ANSWER: Duration = Duration::from_secs(10);

/// How often it is tried.
pub const LOOK: Duration = Duration::from_millis(200);

/// The cluster to be admitted to.
pub struct Search<'a> {
    pub addresses: &'a [String],
    /// Id of the cluster; `None`: whichever these nodes belong to.
    pub cluster: Option<&'a str>,
    /// How long to look for it.
    pub patience: Duration,
}

/// Asks until some member admits the node. The error is a sentence's end.
pub async fn join(search: Search<'_>, node: PeerNode) -> Result<Identity, String> {
    let deadline = Instant::now() + search.patience;
    let mut addresses: Vec<String> = search.addresses.to_vec();
    let mut trouble = "there was no time to ask anybody".to_owned();
    while Instant::now() < deadline {
        let mut redirect = None;
        for address in &addresses {
            match ask(address, search.cluster, &node).await {
                Ok(JoinAnswer::Accepted { cluster, id }) => {
                    info!(cluster, id, "admitted to the cluster by the node at {address}");
                    let (format, founder, witness, replaces) = (FORMAT, false, node.witness, None);
                    return Ok(Identity { format, cluster_id: cluster, node_id: id, founder, witness, replaces });
                }
                Ok(JoinAnswer::Redirect(primary)) => {
                    redirect = Some(primary);
                    break;
                }
                Ok(JoinAnswer::Refused(reason)) => return Err(reason),
                Ok(JoinAnswer::Later(reason)) => trouble = format!("the node at {address} said: {reason}"),
                // Of many known addresses one may belong to somebody else by now.
                Err(NetError::Refused(reason)) if search.cluster.is_none() => return Err(reason),
                Err(error) => trouble = format!("the node at {address} did not answer: {error}"),
            }
        }
        addresses.clear();
        addresses.extend_from_slice(search.addresses);
        match redirect {
            Some(primary) => addresses.insert(0, primary),
            None => tokio::time::sleep(LOOK).await,
        }
    }
    Err(trouble)
}

async fn ask(address: &str, cluster: Option<&str>, node: &PeerNode) -> Result<JoinAnswer, NetError> {
    let hello = Hello { protocol: PROTOCOL, cluster: cluster.unwrap_or_default().to_owned(), from: 0, to: 0 };
    let mut connection = Connection::open(address, &hello, Duration::from_secs(2)).await?;
    let request = Request::Join(Join { id: None, node: node.clone() });
    match tokio::time::timeout(ANSWER, connection.call(&request)).await?? {
        Response::Join(answer) => Ok(answer),
        _ => Err(NetError::Protocol),
    }
}
