//! Digests of the members at a check for divergence, and the verdict on its way to the node that it concerns.

use std::time::Duration;

use engine::commit_log::{DigestAnswer, NodeDigest};
use futures::future::join_all;
use tokio::time::Instant;

use super::Members;
use crate::net::message::{Request, Response};
use crate::raft::types::PeerNode;

/// Between two questions to a node that has not reached the check.
const PAUSE: Duration = Duration::from_millis(100);
/// A node that cannot be asked so many times in a row is not there.
const FAILURES: usize = 5;

impl Members {
    /// What every member answers about a check, this one, whose answer is `own`, first.
    pub async fn digests(&self, check: u64, own: DigestAnswer, patience: Duration) -> Vec<NodeDigest> {
        let deadline = Instant::now() + patience;
        let nodes: Vec<(u64, PeerNode)> =
            // A witness has no state to compare.
            self.membership().nodes().filter(|(id, n)| **id != self.id() && !n.witness).map(|(id, n)| (*id, n.clone())).collect();
        let others = nodes.into_iter().map(|(node, peer)| async move {
            let answer = self.digest_of(node, &peer.peer_address, check, deadline).await;
            NodeDigest { node, name: peer.name, answer }
        });
        let others = join_all(others).await;
        let own = NodeDigest { node: self.id(), name: self.me.name.clone(), answer: own };
        std::iter::once(own).chain(others).collect()
    }

    async fn digest_of(&self, node: u64, address: &str, check: u64, deadline: Instant) -> DigestAnswer {
        let mut failures = 0;
        loop {
            match self.caller.ask(node, address, &Request::Digest(check), self.caller.patience.answer).await {
                Ok(Response::Digest(DigestAnswer::Pending)) => failures = 0,
                Ok(Response::Digest(answer)) => return answer,
                Ok(_) => return DigestAnswer::Unknown("it does not know the question".to_owned()),
                Err(error) if failures + 1 == FAILURES => {
                    return DigestAnswer::Unknown(format!("it does not answer: {error}"));
                }
                Err(_) => failures += 1,
            }
            if Instant::now() >= deadline {
                return DigestAnswer::Pending;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Tells a node, perhaps this one, that it has diverged. The error is a sentence.
    pub async fn condemn(&self, node: u64, check: u64, reference: Vec<u8>, reason: String) -> Result<(), String> {
        if node == self.id() {
            return self.machine.condemn(check, &reference, reason).await;
        }
        let address = self.address_of(node).ok_or("it is not a member any more")?;
        let request = Request::Condemn { check, reference, reason };
        match self.caller.ask(node, &address, &request, self.caller.patience.progress).await {
            Ok(Response::Condemned) => Ok(()),
            Ok(_) => Err("it does not know the message".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}
