//! What a data directory holds, brought into memory, or begun: a node's identity, its log and its state.
//!
//! A node whose log or checkpoint is damaged does not start with it: it may have forgotten what it voted for and what it
//! promised to keep. If other members are known it is rebuilt: the cluster admits it under a new id, as a fresh node that
//! takes the place of the old one, and only then is what is damaged put aside.
//!
//! Invariants:
//! 1. Nothing is read or voted for under an identity whose log is not whole.
//! 2. A node that was a member before asks the others whether it still is one before it votes.
//! 3. The damaged files are touched only after the cluster has admitted the node under its new id.

use std::sync::Arc;

use engine::commit_log::{CheckpointError, GroupId, SharedStateMachine};
use tracing::{error, info};

use crate::cluster::identity::{DataDir, Identity};
use crate::cluster::invitation::invitation;
use crate::cluster::join::{Search, join};
use crate::cluster::known::Known;
use crate::cluster::returning::Return;
use crate::net::link::Listener;
use crate::raft::checkpoints::Checkpoints;
use crate::raft::machine::{Machine, Spread};
use crate::raft::types::PeerNode;
use crate::rebuild::Mark;
use crate::wal::disk::of_directory;
use crate::wal::{self, Wal, WalError, WalOptions};
use crate::{FatalHandler, NodeConfig, StartError, seeded};

/// What it takes to open a data directory.
pub struct Opening<'a> {
    pub config: &'a NodeConfig,
    /// This node as the others should know it.
    pub me: &'a PeerNode,
    /// Where the others, and an invitation, come from.
    pub listener: &'a Listener,
    pub engine: SharedStateMachine,
    pub on_fatal: FatalHandler,
}

/// An open data directory.
pub struct Opened {
    pub identity: Identity,
    pub wal: Wal,
    pub machine: Arc<Machine>,
}

impl Opening<'_> {
    /// Opens the directory of a member; begins or joins a cluster where there is none; rebuilds a damaged node.
    pub async fn open(&self, directory: &mut DataDir) -> Result<Opened, StartError> {
        directory.put_damaged_aside()?;
        if let Some(identity) = directory.identity.clone() {
            if identity.witness != self.config.witness {
                let (is, not) = if identity.witness { ("a", "") } else { ("no", "not ") };
                return Err(StartError::Config(format!(
                    "the data directory belongs to {is} witness, so the node has {not}to be started as one"
                )));
            }
            match self.read(directory) {
                Ok((wal, machine)) => {
                    self.ask_the_others(directory, &identity).await?;
                    return Ok(Opened { identity, wal, machine });
                }
                Err(StartError::CorruptLog(_) | StartError::CorruptCheckpoint(_)) if seeded::damage_ignored() => {
                    let replaces = Some(identity.node_id);
                    directory.adopt(Identity { replaces, ..identity })?;
                    directory.put_damaged_aside()?;
                }
                Err(damage @ (StartError::CorruptLog(_) | StartError::CorruptCheckpoint(_))) => {
                    directory.adopt(self.replacement(directory, identity, damage.to_string()).await?)?;
                    directory.put_damaged_aside()?;
                }
                Err(other) => return Err(other),
            }
        } else if self.config.join.is_empty() && self.config.await_invitation {
            let invitation = invitation(self.listener, &self.me.name).await;
            let invitation = invitation.map_err(|error| StartError::Join(error.to_string()))?;
            let me = PeerNode { learner: self.me.learner || invitation.learner, ..self.me.clone() };
            let (addresses, cluster) = (&invitation.addresses, Some(invitation.cluster.as_str()));
            let search = Search { addresses, cluster, patience: self.config.timings.join };
            directory.adopt(join(search, me).await.map_err(StartError::Join)?)?;
        } else if self.config.join.is_empty() {
            if self.config.witness || self.config.learner {
                let what = if self.config.witness { "witness" } else { "learner" };
                return Err(StartError::Config(format!("a cluster cannot begin with a {what}: say which one to join")));
            }
            directory.adopt(Identity::founder())?;
        } else {
            let search = Search { addresses: &self.config.join, cluster: None, patience: self.config.timings.join };
            directory.adopt(join(search, self.me.clone()).await.map_err(StartError::Join)?)?;
        }
        let (wal, machine) = self.read(directory)?;
        let identity = directory.identity.clone();
        let identity = identity.ok_or_else(|| StartError::Log("the node has no identity".to_owned()))?;
        Ok(Opened { identity, wal, machine })
    }

    /// Whether the other members still take the node for one.
    async fn ask_the_others(&self, directory: &DataDir, identity: &Identity) -> Result<(), StartError> {
        let unusable = |source| StartError::DataDir { path: directory.path().to_owned(), source };
        let known = Known::read(directory.path()).map_err(unusable)?.unwrap_or_default();
        let elsewhere = |address: &String| *address != self.me.peer_address;
        let known: Vec<String> = known.others.into_iter().filter(elsewhere).collect();
        let join: Vec<String> = self.config.join.iter().filter(|address| elsewhere(address)).cloned().collect();
        let patience = self.config.timings.election_max;
        Return { identity, known: &known, join: &join, patience }.is_welcome().await
    }

    /// The identity of the fresh node that takes the place of a damaged one, given by the cluster.
    async fn replacement(&self, directory: &DataDir, old: Identity, damage: String) -> Result<Identity, StartError> {
        error!("DAMAGED: {damage}. This node does not vote as node {} any more", old.node_id);
        let unusable = |source| StartError::DataDir { path: directory.path().to_owned(), source };
        let known = Known::read(directory.path()).map_err(unusable)?.unwrap_or_default();
        let mut addresses: Vec<String> = known.others.into_iter().collect();
        addresses.extend(self.config.join.iter().filter(|address| **address != self.me.peer_address).cloned());
        if addresses.is_empty() {
            return Err(StartError::Unrecoverable { damage });
        }
        info!(?addresses, "asking the other members to rebuild this node");
        let (cluster, patience) = (Some(old.cluster_id.as_str()), self.config.timings.join);
        let new = join(Search { addresses: &addresses, cluster, patience }, self.me.clone()).await;
        let new = new.map_err(|trouble| StartError::NotRebuilt { damage, trouble })?;
        error!("node {} is rebuilt from the other members as node {}", old.node_id, new.node_id);
        Ok(Identity { replaces: Some(old.node_id), ..new })
    }

    /// The log, and the newest checkpoint restored into the engine.
    fn read(&self, directory: &DataDir) -> Result<(Wal, Arc<Machine>), StartError> {
        let wal = self.read_wal(directory)?;
        let unusable = |source| StartError::DataDir { path: directory.path().to_owned(), source };
        if let Some(reason) = Mark::new(directory.path()).read().map_err(unusable)? {
            return Err(StartError::CorruptCheckpoint(format!(
                "the state has diverged from that of the other nodes: {reason}"
            )));
        }
        let checkpoints = Checkpoints::open(directory.checkpoints()).map_err(checkpoint_error)?;
        let log = wal.group(GroupId::FIRST);
        let reached = checkpoints.current().and_then(|current| current.meta.last);
        if let Some(purged) = log.purged().filter(|purged| reached.is_none_or(|last| last.index < purged.index)) {
            let index = purged.index;
            return Err(StartError::CorruptCheckpoint(format!(
                "the log begins behind entry {index}, and there is none"
            )));
        }
        if log.vote().is_none() && log.last().is_none() && Known::read(directory.path()).map_err(unusable)?.is_some() {
            return Err(StartError::CorruptLog("its files are gone".to_owned()));
        }
        let (log_bytes, time) = (self.config.checkpoint_log_bytes, self.config.checkpoint_spread);
        let spread = Spread { log_bytes, time };
        let machine = Machine::new(self.engine.clone(), checkpoints, spread, self.on_fatal.clone());
        Ok((wal, Arc::new(machine.map_err(checkpoint_error)?)))
    }

    fn read_wal(&self, directory: &DataDir) -> Result<Wal, StartError> {
        let unusable = |source| StartError::DataDir { path: directory.wal(), source };
        let disk = of_directory(directory.wal()).map_err(unusable)?;
        let options = WalOptions {
            segment_bytes: self.config.segment_bytes,
            cache_bytes: self.config.entry_cache_bytes,
            ..WalOptions::default()
        };
        wal::open(disk, options, &[GroupId::FIRST], self.on_fatal.clone()).map_err(|error| match error {
            WalError::Corrupt(what) => StartError::CorruptLog(what),
            other => StartError::Log(other.to_string()),
        })
    }
}

fn checkpoint_error(error: CheckpointError) -> StartError {
    match error {
        CheckpointError::Corrupt(what) => StartError::CorruptCheckpoint(what),
        other => StartError::Checkpoint(other.to_string()),
    }
}
