//! Three nodes, the ways to reach them, and what can be done to them.
//!
//! With namespaces every node has a network of its own, joined by a bridge that carries only the traffic between the
//! nodes: clients enter a node's namespace and talk to its loopback, so a node that is cut off from its peers still
//! answers its clients — the hardest case for a primary that no longer is one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, NoTls};

use super::inject::SmallDisk;
use crate::server::{Launch, Server};

pub const NODES: usize = 3;

/// How to reach one node's clients' address from a task.
#[derive(Clone)]
pub struct Door {
    pub name: String,
    launch: Launch,
}

impl Door {
    pub fn port(&self) -> u16 {
        self.launch.port
    }

    /// Connects within `within`; with `ReadWrite` only to a node that takes writes.
    pub async fn open(&self, attributes: TargetSessionAttrs, within: Duration) -> Result<Client, String> {
        let connecting = async {
            let mut config = self.launch.config();
            config.target_session_attrs(attributes);
            match &self.launch.namespace {
                None => {
                    let (client, connection) = config.connect(NoTls).await.map_err(|error| format!("{error:?}"))?;
                    tokio::spawn(async move { drop(connection.await) });
                    Ok(client)
                }
                Some(namespace) => {
                    let stream = enter(namespace.clone(), self.launch.port).await?;
                    let (client, connection) =
                        config.connect_raw(stream, NoTls).await.map_err(|error| format!("{error:?}"))?;
                    tokio::spawn(async move { drop(connection.await) });
                    let read_only = client.query_one("SHOW transaction_read_only", &[]).await;
                    let read_only: String = read_only.map_err(|error| format!("{error:?}"))?.get(0);
                    let wanted = attributes != TargetSessionAttrs::ReadWrite || read_only == "off";
                    if wanted { Ok(client) } else { Err("not the primary".into()) }
                }
            }
        };
        tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| Err("no answer".into()))
    }
}

/// A socket belongs to the namespace it was made in: a thread of its own enters it and connects.
async fn enter(namespace: String, port: u16) -> Result<tokio::net::TcpStream, String> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let connect = || -> std::io::Result<std::net::TcpStream> {
            let file = std::fs::File::open(Path::new("/run/netns").join(&namespace))?;
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind)?;
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            let stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        drop(send.send(connect()));
    });
    let stream = receive.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    tokio::net::TcpStream::from_std(stream).map_err(|error| error.to_string())
}

/// The namespaces and the bridge; dropping it removes them.
struct Network {
    prefix: String,
}

impl Network {
    fn new() -> Self {
        let network = Self { prefix: format!("ls{}", std::process::id() % 100_000) };
        let bridge = network.bridge();
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("link set {bridge} up"));
        for node in 0..NODES {
            let (namespace, outer) = (network.namespace(node), network.outer(node));
            ip(&format!("netns add {namespace}"));
            ip(&format!("link add {outer} type veth peer name eth0 netns {namespace}"));
            ip(&format!("link set {outer} master {bridge} up"));
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", Self::address(node)));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        network
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}n{node}", self.prefix)
    }

    fn outer(&self, node: usize) -> String {
        format!("{}v{node}", self.prefix)
    }

    fn address(node: usize) -> String {
        format!("10.213.77.{}", node + 1)
    }

    fn set(&self, node: usize, state: &str) {
        ip(&format!("link set {} {state}", self.outer(node)));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for node in 0..NODES {
            ip(&format!("netns del {}", self.namespace(node)));
        }
        ip(&format!("link del {}", self.bridge()));
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status();
    assert!(status.is_ok_and(|status| status.success()), "ip {arguments}");
}

/// Damages a byte in the middle of what a killed node wrote to the newest segment of its log; done twice, it is whole.
pub fn flip(data_dir: &Path) {
    let files = std::fs::read_dir(data_dir.join("wal")).expect("log");
    let mut segments: Vec<PathBuf> = files.map(|file| file.expect("file").path()).collect();
    segments.sort();
    // The last one may be allocated and empty.
    let read = segments.into_iter().rev().map(|path| (std::fs::read(&path).expect("segment"), path));
    let used = |(bytes, _): &(Vec<u8>, PathBuf)| bytes.iter().any(|byte| *byte != 0);
    let (mut bytes, path) = read.into_iter().find(used).expect("a segment that is used");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("used");
    // Zeros may be padding, which carries nothing.
    let at = (end / 2..end).find(|at| !matches!(bytes[*at], 0 | 0xff)).expect("used");
    bytes[at] = !bytes[at];
    std::fs::write(path, bytes).expect("segment");
}

pub struct Cluster {
    nodes: Vec<Server>,
    launches: Vec<Launch>,
    /// A file system for each node, where this process may mount.
    disks: Vec<SmallDisk>,
    network: Option<Network>,
}

impl Cluster {
    /// Starts three nodes on file systems of their own that are small.
    pub async fn start_small(binary: &Path, dir: &Path, environment: &[(String, String)], namespaces: bool) -> Self {
        let disks = (0..NODES).map_while(|node| SmallDisk::mount(&dir.join(format!("node{}", node + 1)))).collect();
        let mut cluster = Self::start(binary, dir, environment, namespaces).await;
        cluster.disks = disks;
        cluster
    }

    /// The small file system of a node, if it has one.
    pub fn disk(&self, node: usize) -> Option<&SmallDisk> {
        self.disks.get(node)
    }

    /// Starts three nodes from three commands and waits until each answers.
    pub async fn start(binary: &Path, dir: &Path, environment: &[(String, String)], namespaces: bool) -> Self {
        let network = namespaces.then(Network::new);
        let mut launches: Vec<Launch> = Vec::new();
        for node in 0..NODES {
            let name = format!("node{}", node + 1);
            let mut launch = Launch::new(binary, &name, dir.join(&name));
            launch.environment = environment.to_vec();
            if let Some(network) = &network {
                launch.namespace = Some(network.namespace(node));
                launch.peer_host = Network::address(node);
            }
            launch.join = launches.iter().map(Launch::peer_address).collect();
            launches.push(launch);
        }
        let mut cluster = Self { nodes: Vec::new(), launches, disks: Vec::new(), network };
        for node in 0..NODES {
            cluster.nodes.push(cluster.launches[node].spawn());
            cluster.answers(node).await;
        }
        cluster
    }

    pub fn door(&self, node: usize) -> Door {
        Door { name: self.launches[node].name.clone(), launch: self.launches[node].clone() }
    }

    pub fn doors(&self) -> Vec<Door> {
        (0..NODES).map(|node| self.door(node)).collect()
    }

    pub fn can_cut(&self) -> bool {
        self.network.is_some()
    }

    /// Waits until a node answers a query.
    pub async fn answers(&mut self, node: usize) {
        let door = self.door(node);
        let deadline = tokio::time::Instant::now() + crate::server::READY_WITHIN;
        loop {
            let error = match door.open(TargetSessionAttrs::Any, Duration::from_secs(5)).await {
                Ok(client) => match client.batch_execute("SELECT 1").await {
                    Ok(()) => return,
                    Err(error) => format!("{error:?}"),
                },
                Err(error) => error,
            };
            let server = &mut self.nodes[node];
            let gone = server.exited();
            let late = tokio::time::Instant::now() > deadline;
            assert!(
                gone.is_none() && !late,
                "{} does not answer ({gone:?}): {error}\n{}",
                door.name,
                server.log.text()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn log(&self, node: usize) -> String {
        self.nodes[node].log.text()
    }

    pub fn pid(&self, node: usize) -> u32 {
        self.nodes[node].pid()
    }

    /// Nodes whose process ended without being told to.
    pub fn ended(&mut self, node: usize) -> Option<std::process::ExitStatus> {
        self.nodes[node].exited()
    }

    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// SIGTERM.
    pub fn terminate(&mut self, node: usize) {
        self.nodes[node].terminate();
    }

    /// Waits for a process to end by itself.
    pub fn wait(&mut self, node: usize) -> std::process::ExitStatus {
        self.nodes[node].wait(crate::server::READY_WITHIN)
    }

    pub fn config(&self, node: usize) -> tokio_postgres::Config {
        self.launches[node].config()
    }

    pub fn restart(&mut self, node: usize) {
        self.nodes[node] = self.launches[node].spawn();
    }

    /// A new node in the place of a killed one: nothing of its data is left, and it never was a member.
    pub fn replace(&mut self, node: usize, name: &str, dir: PathBuf) {
        let others: Vec<String> =
            (0..NODES).filter(|other| *other != node).map(|other| self.launches[other].peer_address()).collect();
        let launch = &mut self.launches[node];
        *launch = Launch { join: others, ..Launch::new(launch.binary.clone(), name, dir) };
        self.restart(node);
    }

    /// Directory of a node's data.
    pub fn data_dir(&self, node: usize) -> &Path {
        &self.launches[node].data_dir
    }

    pub fn stop(&mut self, node: usize) {
        self.nodes[node].stop();
    }

    pub fn resume(&mut self, node: usize) {
        self.nodes[node].resume();
    }

    pub fn cut(&self, node: usize) {
        self.network.as_ref().expect("namespaces").set(node, "down");
    }

    pub fn join(&self, node: usize) {
        self.network.as_ref().expect("namespaces").set(node, "up");
    }
}
