//! Nodes in one process, on loopback and real files, with a state machine that remembers what it applied.
#![allow(clippy::unwrap_used)]

mod catchup;
mod counting;
mod damage;
mod failover;
mod partition;
mod proxy;
mod single;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use counting::Counting;
use engine::commit_log::{AppendError, CommitLog, Epoch, LogPosition, Role};
use parking_lot::Mutex;
use replication::{Fatal, Node, NodeConfig, StartError, Timings};

/// Longest time that anything may take here.
const DEADLINE: Duration = Duration::from_secs(30);

/// A node's directory and everything it takes to start it again.
struct Member {
    config: NodeConfig,
    engine: Arc<Counting>,
    node: Option<Node>,
    fatal: Arc<Mutex<Vec<Fatal>>>,
}

impl Member {
    fn config(directory: &tempfile::TempDir, name: &str, join: &[String]) -> NodeConfig {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let path: PathBuf = directory.path().join(name);
        NodeConfig {
            join: join.to_vec(),
            segment_bytes: 1 << 20,
            timings: Timings {
                election_min: Duration::from_millis(300),
                election_max: Duration::from_millis(600),
                ..Timings::default()
            },
            ..NodeConfig::new(path, name, any)
        }
    }

    fn start(config: NodeConfig) -> Result<Self, StartError> {
        let engine = Arc::new(Counting::default());
        let fatal: Arc<Mutex<Vec<Fatal>>> = Arc::default();
        let seen = fatal.clone();
        let node = Node::start(config.clone(), engine.clone(), Arc::new(move |f| seen.lock().push(f)))?;
        Ok(Self { config, engine, node: Some(node), fatal })
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// Ends the node without any goodbye.
    fn crash(&mut self) {
        self.node = None;
    }

    /// Starts again on the same directory and address.
    fn restart(&mut self, address: &str) {
        self.node = None;
        let config = NodeConfig { peer_listen: address.parse().unwrap(), ..self.config.clone() };
        *self = Self::start(config).unwrap();
    }

    fn reign(&self) -> Option<Epoch> {
        match self.engine.role() {
            Some(Role::Primary { epoch }) => Some(epoch),
            _ => None,
        }
    }

    async fn append(&self, epoch: Epoch, text: &str) -> Result<LogPosition, AppendError> {
        let appended = self.node().append(epoch, Bytes::from(text.to_owned()));
        match tokio::time::timeout(DEADLINE, appended).await.unwrap() {
            Ok(result) => result,
            Err(_) => Err(AppendError::Unknown("dropped".to_owned())),
        }
    }

    async fn primary(&self) -> Epoch {
        self.engine.changed(|| self.reign()).await
    }
}

async fn founder(directory: &tempfile::TempDir) -> Member {
    let member = start(Member::config(directory, "a", &[])).await;
    member.primary().await;
    member
}

/// Starting blocks, other tasks must go on meanwhile.
async fn start(config: NodeConfig) -> Member {
    tokio::task::spawn_blocking(|| Member::start(config)).await.unwrap().unwrap()
}

/// A cluster of three voters.
async fn three(directory: &tempfile::TempDir) -> Vec<Member> {
    let first = founder(directory).await;
    let join = vec![first.node().peer_address().to_owned()];
    let mut members = vec![first];
    for name in ["b", "c"] {
        members.push(start(Member::config(directory, name, &join)).await);
        voters(&members[0], members.len()).await;
    }
    members
}

/// Waits until the cluster has this many voters, all reachable.
async fn voters(member: &Member, count: usize) {
    let started = Instant::now();
    loop {
        let status = member.node().status().await;
        let voters = status.nodes.iter().filter(|n| n.membership == "voter" && n.state == "streaming").count();
        if voters == count {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{status:#?}");
    }
}

/// Waits for a primary among the members that run, other than of the given epoch.
async fn new_primary(members: &[Member], after: Epoch) -> (usize, Epoch) {
    let started = Instant::now();
    loop {
        for (i, member) in members.iter().enumerate().filter(|(_, member)| member.node.is_some()) {
            if let Some(epoch) = member.reign().filter(|epoch| *epoch > after) {
                return (i, epoch);
            }
        }
        assert!(started.elapsed() < DEADLINE, "no primary after {after:?}");
        tokio::task::yield_now().await;
    }
}
