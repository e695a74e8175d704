//! What the others say to a node that comes back, before it votes: that it was removed, or given up, while it was away, or
//! that they belong to another cluster.
//!
//! Nodes that were given up and come back together would elect one of themselves and never ask.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;
use tracing::error;

use super::ADVICE;
use super::identity::Identity;
use crate::StartError;
use crate::net::client::{Connection, NetError};
use crate::net::message::{Hello, OTHER_CLUSTER, PROTOCOL, Request, Response};

/// A node that was a member before.
pub struct Return<'a> {
    pub identity: &'a Identity,
    /// Where the other members were last.
    pub known: &'a [String],
    /// Where an operator says that members are.
    pub join: &'a [String],
    /// An address that does not answer in time says nothing.
    pub patience: Duration,
}

enum Said {
    Removed(String),
    OtherCluster(String),
    /// It takes this node for a member, and knows a primary.
    Led,
    Nothing,
}

impl Return<'_> {
    /// Asks all of them at once. An error: this node is not to take part.
    pub async fn is_welcome(&self) -> Result<(), StartError> {
        let new = self.join.iter().filter(|address| !self.known.contains(address));
        let addresses: Vec<&String> = self.known.iter().chain(new).collect();
        let asked = join_all(addresses.iter().map(|address| timeout(self.patience, self.ask(address)))).await;
        let said: Vec<Said> = asked.into_iter().map(|said| said.unwrap_or(Said::Nothing)).collect();
        for (address, said) in addresses.iter().zip(&said) {
            // Of the addresses that were known one may belong to somebody else by now.
            if let Said::OtherCluster(reason) = said
                && self.join.contains(address)
            {
                return Err(StartError::Join(format!(
                    "the data directory belongs to another cluster than the node at {address}, which said: {reason}"
                )));
            }
        }
        let led = said.iter().any(|said| matches!(said, Said::Led));
        let removed = said.into_iter().find_map(|said| match said {
            Said::Removed(reason) => Some(reason),
            _ => None,
        });
        match removed {
            Some(reason) if led => error!("{reason}, says one; but others have a primary and know this node"),
            Some(reason) => return Err(StartError::Removed(format!("{reason}; {ADVICE}"))),
            None => {}
        }
        Ok(())
    }

    async fn ask(&self, address: &str) -> Said {
        let (cluster, from) = (self.identity.cluster_id.clone(), self.identity.node_id);
        let hello = Hello { protocol: PROTOCOL, cluster, from, to: 0 };
        let mut connection = match Connection::open(address, &hello, self.patience).await {
            Ok(connection) => connection,
            Err(NetError::Removed(reason)) => return Said::Removed(reason),
            Err(NetError::Refused(reason)) if reason.starts_with(OTHER_CLUSTER) => return Said::OtherCluster(reason),
            Err(_) => return Said::Nothing,
        };
        match connection.call(&Request::NodeStatus).await {
            Ok(Response::NodeStatus(report)) if report.primary.is_some() => Said::Led,
            _ => Said::Nothing,
        }
    }
}
