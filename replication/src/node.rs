//! One running node of a cluster: its log, its place among the others, and the way for the engine to commit.
//!
//! Everything but the log's writer runs on one thread with its own runtime, so that a commit passes few hands:
//! session → this thread → writer → this thread → session.

use std::sync::Arc;
use std::time::Duration;

use engine::cluster::{ClusterChange, ClusterChangeError, ClusterChanged};
use engine::commit_log::{
    AppendError, Appended, ArchiveStatus, CheckpointError, ClusterStatus, CommitLog, DigestAnswer, Epoch, GroupId,
    LogFigures, LogPosition, NodeDigest, ReadError, Record, SharedStateMachine,
};
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::backup::archiver::{Archiver, Hold};
use crate::cluster::Members;
use crate::cluster::identity::{DataDir, Identity};
use crate::cluster::remote_apply::RemoteApply;
use crate::net::client::{Caller, Connection, NetError, Network};
use crate::net::link::Listener;
use crate::net::message::{Patience, Request, Response, SessionRequest};
use crate::net::server::Server;
use crate::net::throttle::Throttle;
use crate::opening::{Opened, Opening};
use crate::raft::barrier::{AskPrimary, Barrier, Proven, Reader};
use crate::raft::log_store::LogStore;
use crate::raft::machine::{Due, Machine, MachineHandle};
use crate::raft::proposer::{Proposal, Proposer, Refusals};
use crate::raft::roles::{RoleWatcher, best_successor};
use crate::raft::types::{self, Kept, PeerNode, RECORD_BYTES_MAX};
use crate::raft::{self, Raft, known_primary};
use crate::rebuild::{Mark, Rebuilder};
use crate::wal::{GroupLog, Wal};
use crate::{FatalHandler, NodeConfig, StartError};

/// Longest time that consensus may take to end.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// How long a session on the primary is looked for, and the pause between two attempts.
const SESSION_WAIT_MAX: Duration = Duration::from_secs(5);
const SESSION_RETRY: Duration = Duration::from_millis(20);

async fn open_session(members: &Members, request: &SessionRequest) -> Result<(u64, std::net::TcpStream), NetError> {
    let unknown = || NetError::Remote("no primary is known".to_owned());
    let primary = known_primary(&members.raft).filter(|primary| primary.0 != members.id()).ok_or_else(unknown)?.0;
    let address = members.address_of(primary).ok_or_else(unknown)?;
    let patience = members.caller.patience;
    let mut connection = Connection::open(&address, &members.caller.hello(primary), patience.connect).await?;
    let request = Request::Session(request.clone());
    match tokio::time::timeout(patience.answer, connection.call(&request)).await?? {
        Response::SessionReady => Ok((primary, connection.into_stream()?.into_std()?)),
        _ => Err(NetError::Protocol),
    }
}

/// How a stop was asked for.
pub(crate) enum Stop {
    Graceful,
    Abrupt,
}

/// A node. Dropping it ends it as a crash of the process would, without handing leadership over.
pub struct Node {
    proposals: mpsc::UnboundedSender<Proposal>,
    readers: mpsc::UnboundedSender<Reader>,
    proven: Arc<Proven>,
    remote: Arc<RemoteApply>,
    pub(crate) members: Arc<Members>,
    log: GroupLog,
    /// Whether the log is archived.
    archives: bool,
    runtime: Handle,
    stop: Mutex<Option<oneshot::Sender<Stop>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Node {
    /// Recovers what the data directory holds (or begins or joins a cluster), restores the state machine and starts
    /// to take part. Blocks until the node can serve status; it may not be primary yet.
    pub fn start(
        config: NodeConfig,
        state_machine: SharedStateMachine,
        on_fatal: FatalHandler,
    ) -> Result<Node, StartError> {
        let archives = config.archive.is_some();
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopping) = oneshot::channel();
        let failed = |e: std::io::Error| StartError::Log(format!("the runtime does not start: {e}"));
        let thread = std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(failed(error)))),
                };
                runtime.block_on(async {
                    match Running::start(config, state_machine, on_fatal).await {
                        Ok((running, parts)) => {
                            let _ = ready.send(Ok(parts));
                            running.until(stopping).await;
                        }
                        Err(error) => drop(ready.send(Err(error))),
                    }
                });
                runtime.shutdown_timeout(Duration::from_secs(2));
            })
            .map_err(failed)?;
        let parts = match started.recv() {
            Ok(parts) => parts,
            Err(_) => Err(StartError::Log("the log's thread ended".to_owned())),
        };
        Ok(Node::of(parts?, stop, Some(thread), archives))
    }

    /// The handle of running parts.
    pub(crate) fn of(
        parts: Parts,
        stop: oneshot::Sender<Stop>,
        thread: Option<std::thread::JoinHandle<()>>,
        archives: bool,
    ) -> Self {
        Node {
            proposals: parts.proposals,
            readers: parts.readers,
            proven: parts.proven,
            remote: parts.remote,
            log: parts.members.log.clone(),
            members: parts.members,
            archives,
            runtime: parts.runtime,
            stop: Mutex::new(Some(stop)),
            thread: Mutex::new(thread),
        }
    }

    /// Hands leadership over when there is somebody to take it, flushes and ends. Later calls fail as stopping.
    pub fn stop(&self) {
        self.end(Stop::Graceful);
    }

    pub(crate) fn end(&self, how: Stop) {
        if let Some(stop) = self.stop.lock().take() {
            let _ = stop.send(how);
        }
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            error!("the log's thread panicked");
        }
    }

    /// The primary as far as this node knows.
    pub fn primary(&self) -> Option<u64> {
        match self.members.machine.reign() {
            Some(_) => Some(self.id()),
            None => known_primary(&self.members.raft).map(|primary| primary.0),
        }
    }

    /// A connection to the primary that carries what a client of this node says to a session there, and the primary's id.
    /// `None`: there is no primary that can be reached.
    pub async fn open_session(&self, request: SessionRequest) -> Option<(u64, std::net::TcpStream)> {
        let members = self.members.clone();
        let deadline = Instant::now() + SESSION_WAIT_MAX;
        let opening = self.runtime.spawn(async move {
            let mut changes = members.raft.server_metrics();
            loop {
                match open_session(&members, &request).await {
                    Ok(opened) => return Some(opened),
                    // An election may be under way.
                    Err(_) if Instant::now() < deadline => {
                        let _ = tokio::time::timeout(SESSION_RETRY, changes.changed()).await;
                    }
                    Err(error) => {
                        warn!("cannot open a session on the primary: {error}");
                        return None;
                    }
                }
            }
        });
        opening.await.ok().flatten()
    }

    /// Interrupts a session that was opened by [`Self::open_session`].
    pub async fn cancel_session(&self, node: u64, process: i32, secret: i32) {
        let members = self.members.clone();
        let asking = self.runtime.spawn(async move {
            let Some(address) = members.address_of(node) else { return };
            let (request, wait) = (Request::CancelSession { process, secret }, members.caller.patience.answer);
            if let Err(error) = members.caller.ask(node, &address, &request, wait).await {
                warn!("cannot pass a cancel request on to node {node}: {error}");
            }
        });
        let _ = asking.await;
    }

    /// Id of this node in its cluster.
    pub fn id(&self) -> u64 {
        self.members.id()
    }

    /// `HOST:PORT` under which the other nodes reach this one.
    pub fn peer_address(&self) -> &str {
        &self.members.me.peer_address
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end(Stop::Abrupt);
    }
}

/// What the node's handle needs of the running parts.
pub(crate) struct Parts {
    proposals: mpsc::UnboundedSender<Proposal>,
    readers: mpsc::UnboundedSender<Reader>,
    proven: Arc<Proven>,
    remote: Arc<RemoteApply>,
    members: Arc<Members>,
    runtime: Handle,
}

/// The parts that live on the node's thread.
pub(crate) struct Running {
    raft: Raft,
    machine: Arc<Machine>,
    id: u64,
    wal: Wal,
    /// What keeps the log from being purged.
    hold: Arc<Hold>,
    _directory: DataDir,
    tasks: tokio::task::JoinSet<()>,
}

impl Running {
    pub(crate) async fn start(
        config: NodeConfig,
        engine: SharedStateMachine,
        on_fatal: FatalHandler,
    ) -> Result<(Self, Parts), StartError> {
        let mut directory = DataDir::open(&config.data_dir)?;
        let listen = |source| StartError::PeerListen { address: config.peer_listen.to_string(), source };
        let listener = Listener::bind(config.peer_listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        if address.ip().is_unspecified() && config.peer_advertise.is_none() {
            let all = address.ip();
            return Err(StartError::Config(format!(
                "the address for peers has to be one under which they reach this node, not {all}"
            )));
        }
        let me = PeerNode {
            name: config.node_name.clone(),
            peer_address: config.peer_advertise.clone().unwrap_or_else(|| address.to_string()),
            client_address: config.client_address.clone(),
            witness: config.witness,
            learner: config.learner,
            kept: Kept::default(),
        };
        let (listener_, fatal) = (&listener, on_fatal.clone());
        let opening = Opening { config: &config, me: &me, listener: listener_, engine, on_fatal: fatal };
        let Opened { identity, wal, machine } = opening.open(&mut directory).await?;
        let caller = Arc::new(Caller {
            cluster: identity.cluster_id.clone(),
            id: identity.node_id,
            patience: patience(&config),
            throttle: Arc::new(Throttle::new(config.transfer_bytes_per_second)),
            refusals: Default::default(),
            removed: Default::default(),
        });
        let log = wal.group(GroupId::FIRST);
        let hold = match &config.archive {
            Some(_) => Hold::from(log.purged().map_or(0, |purged| purged.index + 1)),
            None => Hold::none(),
        };
        let store = LogStore::new(log.clone(), hold.clone());
        let synced = store.watch_synced();
        let raft = start_raft(&config, &identity, &me, &caller, store, &machine).await?;
        let refusals = Arc::new(Refusals::default());
        let data = directory.path().to_owned();
        let fatal = on_fatal.clone();
        let members = Members::new(raft.clone(), machine.clone(), log, caller, me, refusals.clone(), data, fatal);
        let members = Arc::new(members);
        let mut running =
            Self { raft, machine, id: identity.node_id, wal, hold, _directory: directory, tasks: Default::default() };
        let parts = running.spawn(&config, listener, members, refusals, synced, on_fatal);
        info!(cluster = identity.cluster_id, id = identity.node_id, "the node takes part");
        running.machine.tell_of_data_loss();
        Ok((running, parts))
    }

    fn spawn(
        &mut self,
        config: &NodeConfig,
        listener: Listener,
        members: Arc<Members>,
        refusals: Arc<Refusals>,
        synced: watch::Receiver<u64>,
        on_fatal: FatalHandler,
    ) -> Parts {
        let (proposals, proposed) = mpsc::unbounded_channel();
        let (readers, reading) = mpsc::unbounded_channel();
        let (raft, machine) = (self.raft.clone(), self.machine.clone());
        let election = config.timings.election_max;
        let proposer = Proposer {
            raft: raft.clone(),
            machine: machine.clone(),
            refusals: refusals.clone(),
            in_flight_bytes_max: config.in_flight_bytes_max,
            lease: election * 3 / 4,
            synced,
        };
        let roles = RoleWatcher {
            raft: raft.clone(),
            machine: machine.clone(),
            refusals,
            id: self.id,
            witness: config.witness,
            patience: election * 2,
            on_fatal,
        };
        let proven = Arc::new(Proven::default());
        let barrier = Barrier {
            proven: proven.clone(),
            raft: raft.clone(),
            machine: machine.clone(),
            primary: Arc::new(Primary { members: members.clone(), connection: Default::default() }),
            patience: config.timings.read_barrier,
            round: election,
        };
        let server = Arc::new(Server {
            raft: raft.clone(),
            machine: machine.clone(),
            members: members.clone(),
            readers: readers.clone(),
            installing: Default::default(),
            arriving: Default::default(),
            sessions: config.sessions.clone(),
            throttle: members.caller.throttle.clone(),
        });
        let rebuilder = Rebuilder {
            raft: raft.clone(),
            machine: machine.clone(),
            members: members.clone(),
            mark: Mark::new(&config.data_dir),
        };
        self.tasks.spawn(proposer.run(proposed));
        self.tasks.spawn(roles.run());
        self.tasks.spawn(barrier.run(reading));
        self.tasks.spawn(proven.clone().refresh(readers.clone()));
        self.tasks.spawn(server.run(listener));
        self.tasks.spawn(members.clone().tend());
        self.tasks.spawn(rebuilder.run());
        if let Some(archive) = config.archive.clone() {
            let log = members.log.clone();
            let archiver = Archiver { config: archive, members: members.clone(), log, hold: self.hold.clone() };
            self.tasks.spawn(archiver.run());
        }
        let kept = config.witness.then(|| (members.log.clone(), config.witness_log_bytes));
        self.tasks.spawn(write_checkpoints(raft, machine, kept));
        let remote = Arc::new(RemoteApply::new(members.clone(), election * 2));
        self.tasks.spawn(remote.clone().run());
        Parts { proposals, readers, proven, remote, members, runtime: Handle::current() }
    }

    pub(crate) async fn until(mut self, stopping: oneshot::Receiver<Stop>) {
        let how = stopping.await.unwrap_or(Stop::Abrupt);
        if matches!(how, Stop::Graceful) && raft::leads(&self.raft) {
            self.hand_over().await;
        }
        self.machine.demote(None).await;
        self.tasks.shutdown().await;
        match tokio::time::timeout(SHUTDOWN, self.raft.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("consensus did not end well: {error}"),
            // It waits for the log, which waits for space.
            Err(_) => warn!("consensus did not end in time"),
        }
        self.wal.close();
    }

    async fn hand_over(&self) {
        let Some(successor) = best_successor(&self.raft, self.id) else { return };
        let mut metrics = self.raft.server_metrics();
        let _ = self.raft.trigger().transfer_leader(successor).await;
        let handed_over = async {
            while metrics.borrow_watched().current_leader == Some(self.id) {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), handed_over).await.is_err() {
            warn!(successor, "leadership was not taken over in time");
        }
    }
}

fn patience(config: &NodeConfig) -> Patience {
    Patience {
        connect: config.timings.election_max,
        answer: config.timings.election_max,
        progress: Duration::from_secs(5).max(config.timings.election_max * 4),
    }
}

async fn start_raft(
    config: &NodeConfig,
    identity: &Identity,
    me: &PeerNode,
    caller: &Arc<Caller>,
    log: LogStore,
    machine: &Arc<Machine>,
) -> Result<Raft, StartError> {
    let id = identity.node_id;
    let mut timings = config.timings;
    let mut entries_kept = config.entries_kept;
    if config.witness {
        // Rather one with tables stands for election first; and the log goes by bytes, see `write_checkpoints`.
        timings.election_min = timings.election_max * 9 / 10;
        entries_kept = u64::MAX;
    }
    let settings = raft::config(&identity.cluster_id, &timings, entries_kept);
    let settings = settings.map_err(StartError::Config)?;
    let handle = MachineHandle(machine.clone());
    let raft = Raft::new(id, Arc::new(settings), Network(caller.clone()), log, handle)
        .await
        .map_err(|error| StartError::Log(error.to_string()))?;
    let begun = raft.is_initialized().await.map_err(|error| StartError::Log(error.to_string()))?;
    if identity.founder && !begun {
        info!(cluster = identity.cluster_id, "a new cluster begins here");
        let members = std::collections::BTreeMap::from([(id, me.clone())]);
        raft.initialize(members).await.map_err(|error| StartError::Log(error.to_string()))?;
    }
    let alone = raft.with_raft_state(move |state| state.membership_state.effective().voter_ids().eq([id])).await;
    if begun && alone.unwrap_or(false) {
        // Nobody else has a vote: there is nobody to wait for.
        raft.trigger().elect(false).await.map_err(|error| StartError::Log(error.to_string()))?;
    }
    Ok(raft)
}

/// Writes a checkpoint whenever enough has been applied, and lets consensus drop the log behind it.
///
/// With `keep`, as on a witness, the log is dropped here, behind so many bytes of it: with the other node gone, a node
/// with tables that was away has nobody else to get it from.
async fn write_checkpoints(raft: Raft, machine: Arc<Machine>, keep: Option<(GroupLog, u64)>) {
    loop {
        let due = tokio::select! {
            () = machine.checkpoint_due.notified() => Due::BeforeNext,
            () = machine.checkpoints.replace.notified() => Due::Now,
        };
        // It is signalled again and again until one is there.
        if due == Due::BeforeNext && !machine.is_checkpoint_due() {
            continue;
        }
        match machine.checkpoint(due).await {
            Ok(stored) => {
                let _ = raft.trigger().snapshot().await;
                let upto = stored.meta.last.map(|last| last.index);
                if let (Some((log, bytes)), Some(upto)) = (&keep, upto)
                    && let Some(upto) = log.behind(*bytes, upto)
                {
                    let _ = raft.trigger().purge_log(upto).await;
                }
            }
            Err(error) => {
                error!("cannot write a checkpoint, the log goes on growing: {error}");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    }
}

/// The primary as a standby's barrier asks it, over a connection that is kept while it works.
struct Primary {
    members: Arc<Members>,
    connection: tokio::sync::Mutex<Option<(u64, Connection)>>,
}

#[async_trait::async_trait]
impl AskPrimary for Primary {
    async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let members = &self.members;
        let primary = known_primary(&members.raft).filter(|primary| primary.0 != members.id());
        let primary = primary.ok_or(ReadError::NoPrimary)?;
        let address = members.address_of(primary.0).ok_or(ReadError::NoPrimary)?;
        let wait = deadline.saturating_duration_since(Instant::now()).min(members.caller.patience.answer * 2);
        let mut kept = self.connection.lock().await;
        let answer = tokio::time::timeout(wait, async {
            let mut connection = match kept.take_if(|(id, _)| *id == primary.0) {
                Some((_, connection)) => connection,
                None => Connection::open(&address, &members.caller.hello(primary.0), wait).await?,
            };
            let response = connection.call(&Request::ReadIndex).await?;
            Ok::<_, NetError>((response, connection))
        });
        match answer.await {
            Ok(Ok((Response::ReadIndex(index), connection))) => {
                *kept = Some((primary.0, connection));
                Ok(index)
            }
            _ => Err(ReadError::Timeout),
        }
    }
}

#[async_trait::async_trait]
impl CommitLog for Node {
    fn append(&self, epoch: Epoch, record: Record) -> Appended {
        self.append_telling(epoch, record, None)
    }

    fn append_telling(&self, epoch: Epoch, record: Record, local: Option<oneshot::Sender<()>>) -> Appended {
        let (waiter, receiver) = oneshot::channel();
        if record.len() > RECORD_BYTES_MAX {
            let _ = waiter.send(Err(AppendError::TooLarge { bytes: record.len(), limit: RECORD_BYTES_MAX }));
            return receiver;
        }
        if let Err(refused) = self.proposals.send(Proposal { epoch, record, waiter, local }) {
            let _ = refused.0.waiter.send(Err(AppendError::NotPrimary { primary: None }));
        }
        receiver
    }

    async fn applied_everywhere(&self, position: LogPosition) -> bool {
        self.remote.applied(types::index_of(position)).await
    }

    async fn read_barrier(&self) -> Result<(), ReadError> {
        if self.read_barrier_is_free() {
            return Ok(());
        }
        let (waiter, receiver) = oneshot::channel();
        self.readers.send(Reader::Here(waiter)).map_err(|_| ReadError::Stopping)?;
        receiver.await.map_err(|_| ReadError::Stopping)?
    }

    fn staleness(&self) -> Option<Duration> {
        match self.read_barrier_is_free() {
            true => Some(Duration::ZERO),
            false => self.proven.age(),
        }
    }

    fn is_full(&self) -> bool {
        self.log.is_full()
    }

    fn read_barrier_is_free(&self) -> bool {
        let members = &self.members;
        members.machine.reign().is_some() && raft::alone(&members.raft)
    }

    fn figures(&self) -> Option<LogFigures> {
        Some(self.members.figures())
    }

    async fn status(&self) -> ClusterStatus {
        let members = self.members.clone();
        self.runtime.spawn(async move { members.status().await }).await.unwrap_or_default()
    }

    async fn checkpoint(&self) -> Result<LogPosition, CheckpointError> {
        let members = self.members.clone();
        let written = self.runtime.spawn(async move {
            let stored = members.machine.checkpoint(Due::Now).await?;
            let _ = members.raft.trigger().snapshot().await;
            Ok(stored.meta.position)
        });
        written.await.map_err(|_| CheckpointError::Stopping)?
    }

    async fn change_cluster(&self, change: ClusterChange) -> Result<ClusterChanged, ClusterChangeError> {
        let members = self.members.clone();
        let changed = self.runtime.spawn(async move { members.change(change).await });
        changed.await.unwrap_or_else(|_| Err(ClusterChangeError::Unknown("the node is stopping".to_owned())))
    }

    fn archive_status(&self) -> Option<ArchiveStatus> {
        self.archives.then(|| self.members.machine.archive.status())
    }

    async fn digests(&self, check: u64, own: DigestAnswer, patience: Duration) -> Vec<NodeDigest> {
        let members = self.members.clone();
        self.runtime.spawn(async move { members.digests(check, own, patience).await }).await.unwrap_or_default()
    }

    async fn condemn(&self, node: u64, check: u64, reference: Vec<u8>, reason: String) -> Result<(), String> {
        let members = self.members.clone();
        let told = self.runtime.spawn(async move { members.condemn(node, check, reference, reason).await });
        told.await.map_err(|_| "the node is stopping".to_owned())?
    }
}
