//! What operators ask for, from whichever node they ask: carried to the primary, decided and done there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use openraft::ChangeMembers;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::Instant;
use tracing::{info, warn};

use super::rules::{self, named};
use super::{Members, join};
use crate::net::client::{Connection, NetError};
use crate::net::message::{Hello, Invitation, PROTOCOL, Request, Response};
use crate::raft::types::PeerNode;
use crate::raft::{known_primary, leads};

/// A change takes as long as a new node needs to answer and the cluster to agree.
const ANSWER: Duration = Duration::from_secs(40);
/// An agreement that takes longer is given up, which does not undo it.
const AGREEMENT: Duration = Duration::from_secs(20);
/// How long an invited node may take to join.
const JOINING: Duration = Duration::from_secs(20);

type Change = ChangeMembers<u64, PeerNode>;

fn changed(node: &str) -> ClusterChanged {
    ClusterChanged { node: node.to_owned(), ..ClusterChanged::default() }
}

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
        let request = Request::Change { change, forwarded: true };
        match tokio::time::timeout(ANSWER, connection.call(&request)).await {
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
            if members.machine.reign().is_none() {
                return Err(ClusterChangeError::NoPrimary);
            }
            let done = match &change {
                ClusterChange::Switchover { to } => members.switch_over(to.as_deref()).await,
                ClusterChange::AddNode { peer_address, learner } => members.add(peer_address, *learner).await,
                ClusterChange::RemoveNode { name } => members.remove(name).await,
                ClusterChange::PromoteNode { name } => members.promote(name).await,
                ClusterChange::DemoteNode { name } => members.demote(name).await,
            };
            match &done {
                Ok(_) => info!(?change, "the cluster was changed"),
                Err(error) => info!(?change, "the cluster was not changed: {error}"),
            }
            done
        });
        done.await.unwrap_or_else(|end| Err(ClusterChangeError::Unknown(format!("the node is stopping: {end}"))))
    }

    /// Members that answered lately, this one included.
    pub(super) fn up(&self) -> BTreeSet<u64> {
        let recent = self.caller.patience.answer * 2;
        let heard = |id: &u64| *id == self.id() || self.heard_of(*id).1.is_some_and(|at| at < recent);
        self.membership().nodes().map(|(id, _)| *id).filter(heard).collect()
    }

    /// What the log says of this node, with what it has to remember of one that goes.
    fn heir_of(&self, gone: u64) -> Option<BTreeMap<u64, PeerNode>> {
        let membership = self.membership();
        let mut own = membership.get_node(&self.id())?.clone();
        own.kept.highest_id = rules::highest_id(&membership);
        own.kept.inherit(&membership.get_node(&gone)?.kept);
        Some(BTreeMap::from([(self.id(), own)]))
    }

    async fn agree(&self, change: Change, retain: bool) -> Result<(), ClusterChangeError> {
        let agreement = self.raft.change_membership(change, retain);
        match tokio::time::timeout(AGREEMENT, agreement).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => Err(ClusterChangeError::NoPrimary),
            Ok(Err(RaftError::APIError(error))) => {
                Err(ClusterChangeError::refused("the membership cannot be changed now", format!("{error}."), ""))
            }
            Ok(Err(RaftError::Fatal(fatal))) => Err(ClusterChangeError::Unknown(fatal.to_string())),
            Err(_) => Err(ClusterChangeError::Unknown("the voters did not agree in time".to_owned())),
        }
    }

    fn with_advice(&self, mut done: ClusterChanged) -> ClusterChanged {
        let voters = self.membership().voter_ids().count();
        done.warnings.extend(rules::advice(voters));
        done
    }

    /// Refuses what would take this node, the primary, out of the voters.
    fn spare_primary(&self, id: u64, name: &str) -> Result<(), ClusterChangeError> {
        if id != self.id() {
            return Ok(());
        }
        let hint = "Make another node the primary first: SELECT lockstep_switchover().";
        Err(ClusterChangeError::refused(format!("node \"{name}\" is the primary"), "", hint))
    }

    async fn remove(&self, name: &str) -> Result<ClusterChanged, ClusterChangeError> {
        let _one_at_a_time = self.admission.lock().await;
        let membership = self.membership();
        let (id, node) = named(&membership, name)?;
        self.spare_primary(id, name)?;
        let heir = self.heir_of(id).ok_or(ClusterChangeError::NoPrimary)?;
        if membership.voter_ids().any(|voter| voter == id) {
            rules::may_lose_voter(&membership, id, &self.up())?;
            let removal = Change::RemoveVoters(BTreeSet::from([id]));
            self.agree(Change::Batch(vec![Change::SetNodes(heir), removal]), false).await?;
        } else {
            let removal = Change::RemoveNodes(BTreeSet::from([id]));
            self.agree(Change::Batch(vec![Change::SetNodes(heir), removal]), true).await?;
        }
        warn!(id, name, "a node was removed from the cluster");
        // It may be down; then it is told when it comes back and asks anybody.
        let (caller, address, wait) = (self.caller.clone(), node.peer_address.clone(), self.caller.patience.answer);
        tokio::spawn(async move { caller.ask(id, &address, &Request::Removed, wait).await });
        Ok(self.with_advice(changed(name)))
    }

    async fn demote(&self, name: &str) -> Result<ClusterChanged, ClusterChangeError> {
        let _one_at_a_time = self.admission.lock().await;
        let membership = self.membership();
        let (id, node) = named(&membership, name)?;
        self.spare_primary(id, name)?;
        if node.witness {
            let detail = "A witness is there to vote.";
            return Err(ClusterChangeError::refused(
                format!("node \"{name}\" cannot be demoted"),
                detail,
                "Remove it.",
            ));
        }
        let stays = Change::SetNodes(BTreeMap::from([(id, PeerNode { learner: true, ..node.clone() })]));
        if !membership.voter_ids().any(|voter| voter == id) {
            self.agree(stays, true).await?;
            let notices = vec![format!("node \"{name}\" is not a voter and will not become one by itself")];
            return Ok(ClusterChanged { notices, ..changed(name) });
        }
        rules::may_lose_voter(&membership, id, &self.up())?;
        self.agree(Change::Batch(vec![stays, Change::RemoveVoters(BTreeSet::from([id]))]), true).await?;
        Ok(self.with_advice(changed(name)))
    }

    async fn promote(&self, name: &str) -> Result<ClusterChanged, ClusterChangeError> {
        let _one_at_a_time = self.admission.lock().await;
        let membership = self.membership();
        let (id, node) = named(&membership, name)?;
        if membership.voter_ids().any(|voter| voter == id) {
            let notices = vec![format!("node \"{name}\" is already a voter")];
            return Ok(ClusterChanged { notices, ..changed(name) });
        }
        let mut up = self.up();
        // One that came back this moment is not heard of by consensus yet.
        let answer = self.caller.patience.answer;
        if self.caller.ask(id, &node.peer_address, &Request::NodeStatus, answer).await.is_ok() {
            up.insert(id);
        }
        rules::may_gain_voter(&membership, id, &up)?;
        if node.learner {
            let wish = Change::SetNodes(BTreeMap::from([(id, PeerNode { learner: false, ..node.clone() })]));
            self.agree(wish, true).await?;
        }
        if !self.caught_up().contains(&id) {
            let notices = vec![format!("node \"{name}\" becomes a voter as soon as it has caught up")];
            return Ok(ClusterChanged { notices, ..changed(name) });
        }
        self.agree(Change::AddVoterIds(BTreeSet::from([id])), true).await?;
        Ok(self.with_advice(changed(name)))
    }

    /// Invites a process that waits for it to join.
    async fn add(&self, peer_address: &str, learner: bool) -> Result<ClusterChanged, ClusterChangeError> {
        let membership = self.membership();
        if let Some((_, node)) = membership.nodes().find(|(_, node)| node.peer_address == peer_address) {
            let message = format!("the node at {peer_address} is already a member, as \"{}\"", node.name);
            return Err(ClusterChangeError::Exists(message));
        }
        let cannot = |detail: String| {
            let hint = "Start it with --await-invitation, an empty data directory, and a name of its own.";
            ClusterChangeError::refused(format!("the node at {peer_address} cannot be added"), detail, hint)
        };
        let hello = Hello { protocol: PROTOCOL, cluster: String::new(), from: 0, to: 0 };
        let connection = Connection::open(peer_address, &hello, self.caller.patience.connect * 2).await;
        let mut connection = connection.map_err(|error| cannot(format!("It does not answer: {error}.")))?;
        let addresses = membership.nodes().map(|(_, node)| node.peer_address.clone()).collect();
        let invitation = Invitation { cluster: self.cluster().to_owned(), addresses, learner };
        let invited = tokio::time::timeout(JOINING, connection.call(&Request::Invite(invitation))).await;
        let name = match invited {
            Ok(Ok(Response::Invited { name })) => name,
            Ok(Ok(_)) => return Err(cannot(format!("{}.", NetError::Protocol))),
            Ok(Err(error)) => return Err(cannot(format!("{error}."))),
            Err(_) => return Err(cannot("It does not answer.".to_owned())),
        };
        let deadline = Instant::now() + JOINING;
        while !self.membership().nodes().any(|(_, node)| node.name == name && node.peer_address == peer_address) {
            if !leads(&self.raft) {
                return Err(ClusterChangeError::Unknown("this node is no longer the primary".to_owned()));
            }
            if Instant::now() > deadline {
                return Err(cannot(format!(
                    "It was invited as \"{name}\" and did not join in time; its log says why."
                )));
            }
            tokio::time::sleep(join::LOOK).await;
        }
        let notice = match learner {
            true => format!("node \"{name}\" joined as a learner"),
            false => format!("node \"{name}\" joined and becomes a voter as soon as it has caught up"),
        };
        Ok(ClusterChanged { notices: vec![notice], ..changed(&name) })
    }
}
