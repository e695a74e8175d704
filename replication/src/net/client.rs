//! Conversations that this node begins.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::frame::{FrameReader, write_frame};
use super::link::{self, Link, ReadHalf, WriteHalf};
use super::message::{
    Append, GREETING_BYTES_MAX, Hello, MESSAGE_BYTES_MAX, PROTOCOL, Patience, Request, Response, Welcome,
};
use super::throttle::Throttle;
use super::transfer;
use crate::raft::machine::SnapshotData;
use crate::raft::types::{PeerNode, TypeConfig, Vote};
use crate::witness::has_no_tables;

/// Requests that are sent ahead of their answers.
const PIPELINE: usize = 64;

#[derive(Debug, thiserror::Error)]
pub enum NetError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The other side does not want to talk to this node.
    #[error("{0}")]
    Refused(String),
    /// This node is no longer a member.
    #[error("{0}")]
    Removed(String),
    #[error("no answer in time")]
    Timeout,
    #[error("an answer that does not fit the question")]
    Protocol,
    #[error("the other node answered: {0}")]
    Remote(String),
}

impl From<tokio::time::error::Elapsed> for NetError {
    fn from(_: tokio::time::error::Elapsed) -> Self {
        NetError::Timeout
    }
}

impl NetError {
    fn rpc(self) -> RPCError<TypeConfig> {
        match self {
            NetError::Io(error) => RPCError::Unreachable(Unreachable::new(&error)),
            NetError::Timeout => RPCError::Network(NetworkError::from_string(self)),
            other => RPCError::Unreachable(Unreachable::from_string(other)),
        }
    }
}

/// An open conversation.
pub struct Connection {
    reader: FrameReader<ReadHalf>,
    writer: WriteHalf,
}

impl Connection {
    pub async fn open(address: &str, hello: &Hello, patience: Duration) -> Result<Self, NetError> {
        timeout(patience, async {
            let (reader, mut writer) = Link::connect(address).await?.split()?;
            let mut reader = FrameReader::new(reader, GREETING_BYTES_MAX);
            write_frame(&mut writer, &encode(hello)?, &[]).await?;
            let frame = reader.next().await?.ok_or_else(hung_up)?;
            match postcard::from_bytes(&frame.header).map_err(|_| NetError::Protocol)? {
                Welcome::Accepted => {}
                Welcome::Refused(reason) => return Err(NetError::Refused(reason)),
                Welcome::Removed(reason) => return Err(NetError::Removed(reason)),
            }
            reader.bytes_max = MESSAGE_BYTES_MAX;
            Ok(Self { reader, writer })
        })
        .await?
    }

    pub async fn send(&mut self, request: &Request, blob: &[Bytes]) -> Result<(), NetError> {
        Ok(write_frame(&mut self.writer, &encode(request)?, blob).await?)
    }

    pub async fn receive(&mut self) -> Result<Response, NetError> {
        self.receive_blob().await.map(|(response, _)| response)
    }

    pub async fn receive_blob(&mut self) -> Result<(Response, Bytes), NetError> {
        let frame = self.reader.next().await?.ok_or_else(hung_up)?;
        match postcard::from_bytes(&frame.header).map_err(|_| NetError::Protocol)? {
            Response::Error(message) => Err(NetError::Remote(message)),
            response => Ok((response, frame.blob)),
        }
    }

    pub async fn call(&mut self, request: &Request) -> Result<Response, NetError> {
        self.send(request, &[]).await?;
        self.receive().await
    }
}

impl Connection {
    /// The socket, once both sides have said that it carries something else from here on.
    pub fn into_stream(self) -> Result<TcpStream, NetError> {
        let reader = self.reader.into_source().ok_or(NetError::Protocol)?;
        Ok(link::reunite(reader, self.writer)?)
    }
}

fn hung_up() -> std::io::Error {
    std::io::ErrorKind::UnexpectedEof.into()
}

fn encode<T: serde::Serialize>(message: &T) -> Result<Vec<u8>, NetError> {
    postcard::to_stdvec(message).map_err(|_| NetError::Protocol)
}

/// Who this node is when it talks to others.
#[derive(Debug)]
pub struct Caller {
    pub cluster: String,
    pub id: u64,
    pub patience: Patience,
    /// For checkpoints that are sent.
    pub throttle: Arc<Throttle>,
    /// What a member said last when it did not want to talk to this node.
    pub refusals: Mutex<HashMap<u64, String>>,
    /// A member said that this node was removed.
    pub removed: Mutex<Option<Removal>>,
}

/// What others say of this node, first and last.
#[derive(Debug, Clone)]
pub struct Removal {
    pub reason: String,
    pub first: Instant,
    pub last: Instant,
}

impl Caller {
    pub fn hello(&self, to: u64) -> Hello {
        Hello { protocol: PROTOCOL, cluster: self.cluster.clone(), from: self.id, to }
    }

    /// Opens a conversation with a member, and makes known when that one does not want it.
    pub async fn open(&self, to: u64, address: &str, patience: Duration) -> Result<Connection, NetError> {
        let opened = Connection::open(address, &self.hello(to), patience).await;
        match &opened {
            Ok(_) => drop(self.refusals.lock().remove(&to)),
            Err(NetError::Removed(reason)) => self.note_removed(reason.clone()),
            Err(NetError::Refused(reason)) => {
                let known = self.refusals.lock().insert(to, reason.clone());
                if known.as_ref() != Some(reason) {
                    warn!(node = to, address, "a member refuses to talk to this node: {reason}");
                }
            }
            Err(_) => {}
        }
        opened
    }

    pub fn note_removed(&self, reason: String) {
        let (mut removed, now) = (self.removed.lock(), Instant::now());
        let first = removed.as_ref().map_or(now, |before| before.first);
        *removed = Some(Removal { reason, first, last: now });
    }

    /// Asks one question on a connection of its own.
    pub async fn ask(&self, to: u64, address: &str, request: &Request, wait: Duration) -> Result<Response, NetError> {
        let mut connection = self.open(to, address, self.patience.connect.min(wait)).await?;
        timeout(wait, connection.call(request)).await?
    }
}

/// Makes openraft's clients.
pub struct Network(pub Arc<Caller>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> PeerClient {
        PeerClient { caller: self.0.clone(), target, address: node.peer_address.clone(), connection: None }
    }
}

/// Talks to one peer for one purpose: openraft takes one each for entries, heartbeats, votes and snapshots, so that
/// none waits behind another.
pub struct PeerClient {
    caller: Arc<Caller>,
    target: u64,
    address: String,
    connection: Option<Connection>,
}

impl PeerClient {
    async fn take_connection(&mut self) -> Result<Connection, NetError> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.caller.open(self.target, &self.address, self.caller.patience.connect).await,
        }
    }

    async fn call(&mut self, request: Request) -> Result<Response, RPCError<TypeConfig>> {
        let wait = self.caller.patience.answer;
        let mut connection = self.take_connection().await.map_err(NetError::rpc)?;
        let response = match timeout(wait, connection.call(&request)).await {
            Ok(response) => response.map_err(NetError::rpc)?,
            Err(elapsed) => return Err(NetError::from(elapsed).rpc()),
        };
        self.connection = Some(connection);
        Ok(response)
    }
}

fn misfit() -> RPCError<TypeConfig> {
    NetError::Protocol.rpc()
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut answers = self.stream_append(stream::iter([request]), option).await?;
        answers.next().await.unwrap_or_else(|| Err(misfit())).map(Into::into)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>, RPCError<TypeConfig>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let mut input = input;
            // openraft's pause after a failure lies before the first request: who connected first would try again at once,
            // without end, while the peer is down.
            let Some(first) = input.next().await else { return Ok(stream::empty().boxed()) };
            let connection = self.take_connection().await.map_err(NetError::rpc)?;
            let pipeline = Pipeline {
                home: &mut self.connection,
                connection,
                input: Some(stream::iter([first]).chain(input)),
                sent: VecDeque::new(),
                patience: self.caller.patience.progress,
                deadline: Instant::now(),
            };
            Ok(stream::unfold(Some(pipeline), Pipeline::step).boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::Vote(request)).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(misfit()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::PreVote(request)).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(misfit()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::TransferLeader(request)).await? {
            Response::TransferLeader(response) => Ok(response),
            _ => Err(misfit()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let connection = self.take_connection().await.map_err(NetError::rpc)?;
        let SnapshotData::Stored(stored) = snapshot.snapshot else {
            return Err(NetError::Protocol.rpc().into());
        };
        if has_no_tables(&stored.state()) {
            let reason = "this node is a witness and has no tables to send".to_owned();
            return Err(NetError::Remote(reason).rpc().into());
        }
        tokio::select! {
            sent = transfer::send(connection, vote, stored, self.caller.patience, &self.caller.throttle) => {
                sent.map_err(|error| error.rpc().into())
            }
            closed = cancel => Err(closed.into()),
        }
    }
}

type Answer = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Requests that go out while earlier answers are still awaited. The connection is kept for the next stream only when
/// everything on it was answered.
struct Pipeline<'s, S> {
    home: &'s mut Option<Connection>,
    connection: Connection,
    input: Option<S>,
    sent: VecDeque<()>,
    patience: Duration,
    deadline: Instant,
}

impl<S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Unpin> Pipeline<'_, S> {
    async fn step(this: Option<Self>) -> Option<(Answer, Option<Self>)> {
        let mut this = this?;
        loop {
            let may_send = this.input.is_some() && this.sent.len() < PIPELINE;
            if !may_send && this.sent.is_empty() {
                *this.home = Some(this.connection);
                return None;
            }
            let Self { connection, input, sent, deadline, .. } = &mut this;
            tokio::select! {
                answer = connection.receive(), if !sent.is_empty() => {
                    let answer = match answer {
                        Ok(Response::Append(answer)) => answer,
                        Ok(_) => return Some((Err(misfit()), None)),
                        Err(error) => return Some((Err(error.rpc()), None)),
                    };
                    this.sent.pop_front();
                    this.deadline = Instant::now() + this.patience;
                    // After a refusal the other side ends the conversation.
                    let next = answer.is_ok().then_some(this);
                    return Some((Ok(answer), next));
                }
                request = next_of(input), if may_send => {
                    let Some(request) = request else {
                        this.input = None;
                        continue;
                    };
                    if let Err(error) = this.send(request).await {
                        return Some((Err(error.rpc()), None));
                    }
                }
                _ = tokio::time::sleep_until(*deadline), if !sent.is_empty() => {
                    return Some((Err(NetError::Timeout.rpc()), None));
                }
            }
        }
    }

    async fn send(&mut self, request: AppendEntriesRequest<TypeConfig>) -> Result<(), NetError> {
        let (append, payloads) = Append::new(request).map_err(|error| NetError::Io(error.into()))?;
        if self.sent.is_empty() {
            self.deadline = Instant::now() + self.patience;
        }
        timeout(self.patience, self.connection.send(&Request::Append(append), &payloads)).await??;
        self.sent.push_back(());
        Ok(())
    }
}

async fn next_of<S: Stream + Unpin>(input: &mut Option<S>) -> Option<S::Item> {
    match input {
        Some(input) => input.next().await,
        None => None,
    }
}
