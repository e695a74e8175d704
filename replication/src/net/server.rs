//! Conversations that other nodes begin.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::cluster::ClusterChangeError;
use futures::StreamExt;
use futures::stream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::fetch::Offering;
use super::frame::{Frame, FrameReader, write_frame};
use super::link::{Link, Listener, ReadHalf, WriteHalf, reunite};
use super::message::{
    GREETING_BYTES_MAX, Hello, MESSAGE_BYTES_MAX, OTHER_CLUSTER, PROTOCOL, Request, Response, SessionRequest, Welcome,
};
use super::throttle::Throttle;
use super::transfer::{Arriving, Receiving};
use crate::blocking::blocking;
use crate::cluster::{Members, rules};
use crate::config::SharedSessions;
use crate::raft::barrier::Reader;
use crate::raft::machine::{Due, Machine};
use crate::raft::{Raft, leads};

/// Time for a stranger to say who they are.
const GREETING: Duration = Duration::from_secs(5);
/// Appends that wait for consensus on one connection.
const APPENDS_WAITING: usize = 16;

pub struct Server {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub members: Arc<Members>,
    pub readers: mpsc::UnboundedSender<Reader>,
    /// Checkpoints that are being received.
    pub installing: AtomicUsize,
    /// How much of the newest of them is here.
    pub arriving: Arc<Arriving>,
    pub sessions: Option<SharedSessions>,
    /// For checkpoints that are sent.
    pub throttle: Arc<Throttle>,
}

impl Server {
    /// Serves until it is dropped; the conversations end with it.
    pub async fn run(self: Arc<Self>, listener: Listener) {
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((link, from)) => {
                        let server = self.clone();
                        conversations.spawn(async move {
                            if let Err(error) = server.converse(link).await {
                                debug!("the conversation with the peer at {from} ended: {error}");
                            }
                        });
                    }
                    Err(error) => {
                        warn!("cannot accept a peer: {error}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                _ = conversations.join_next(), if !conversations.is_empty() => {}
            }
        }
    }

    async fn converse(self: Arc<Self>, link: Link) -> io::Result<()> {
        let (reader, mut writer) = link.split()?;
        let mut reader = FrameReader::new(reader, GREETING_BYTES_MAX);
        let greeting = tokio::time::timeout(GREETING, reader.next()).await??;
        let Some(greeting) = greeting else { return Ok(()) };
        let hello: Hello = postcard::from_bytes(&greeting.header).map_err(invalid)?;
        let refusal = self.refusal(&hello);
        let welcome = refusal.unwrap_or(Welcome::Accepted);
        write_frame(&mut writer, &postcard::to_stdvec(&welcome).map_err(invalid)?, &[]).await?;
        if matches!(welcome, Welcome::Removed(_)) {
            self.members.split.refused(hello.from, &self.machine.membership());
        }
        if let Welcome::Refused(reason) | Welcome::Removed(reason) = welcome {
            debug!("refused a peer: {reason}");
            return Ok(());
        }
        let stranger = hello.cluster.is_empty();
        if !stranger {
            reader.bytes_max = MESSAGE_BYTES_MAX;
        }
        while let Some(frame) = reader.next().await? {
            match (stranger, postcard::from_bytes(&frame.header).map_err(invalid)?) {
                (false, Request::Append(append)) => {
                    let first = append.into_request(frame.blob).map_err(invalid)?;
                    return self.appends(first, reader, writer).await;
                }
                (false, Request::Snapshot(header)) => {
                    self.arriving.reset();
                    self.installing.fetch_add(1, Ordering::Relaxed);
                    let received = self.snapshot(header, &mut reader, &mut writer).await;
                    self.installing.fetch_sub(1, Ordering::Relaxed);
                    received?;
                }
                // Whoever may join the cluster gets its data, so they may also be had for a backup.
                (_, Request::Checkpoint) if self.members.me.witness => {
                    respond(&mut writer, &Response::Error("a witness has no tables".to_owned())).await?;
                }
                (_, Request::Checkpoint) => return self.offers(reader, writer).await,
                (false, Request::Session(_)) if !self.begins_reign().await => {
                    respond(&mut writer, &Response::Error("this node is not the primary".to_owned())).await?;
                }
                (false, Request::Session(request)) => {
                    respond(&mut writer, &Response::SessionReady).await?;
                    return self.session(request, reader, writer);
                }
                (true, Request::Invite(_)) => {
                    let answer = format!("It already belongs to cluster {}", self.members.cluster());
                    respond(&mut writer, &Response::Error(answer)).await?;
                }
                (true, request) if !matches!(request, Request::Join(_)) => {
                    respond(&mut writer, &Response::Error("only members may ask that".to_owned())).await?;
                }
                (_, request) => {
                    let response = self.answer(request).await.unwrap_or_else(Response::Error);
                    respond(&mut writer, &response).await?;
                }
            }
        }
        Ok(())
    }

    /// True when this node is the primary, or becomes it presently: it was elected and applies what came before.
    async fn begins_reign(&self) -> bool {
        let deadline = Instant::now() + self.members.caller.patience.answer / 2;
        while self.machine.reign().is_none() {
            if !leads(&self.raft) || Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Hands the connection to whoever serves clients.
    fn session(&self, request: SessionRequest, reader: FrameReader<ReadHalf>, writer: WriteHalf) -> io::Result<()> {
        let Some(SharedSessions(sessions)) = &self.sessions else {
            return Err(io::Error::other("this node serves no clients of others"));
        };
        let reader = reader.into_source().ok_or_else(|| io::Error::other("a client that spoke too early"))?;
        let stream = reunite(reader, writer)?;
        sessions.serve(stream.into_std()?, request);
        Ok(())
    }

    fn refusal(&self, hello: &Hello) -> Option<Welcome> {
        let (cluster, id) = (self.members.cluster(), self.members.id());
        if hello.protocol != PROTOCOL {
            let version = hello.protocol;
            let reason = format!("this node speaks version {PROTOCOL} of the peer protocol, not {version}");
            return Some(Welcome::Refused(reason));
        }
        if !hello.cluster.is_empty() && hello.cluster != cluster {
            let reason = format!("{OTHER_CLUSTER}{cluster}, not to cluster {}", hello.cluster);
            return Some(Welcome::Refused(reason));
        }
        if hello.to != 0 && hello.to != id {
            return Some(Welcome::Refused(format!("this is node {id}, not node {}", hello.to)));
        }
        // Asked of what was agreed on: a membership that is not yet may be taken back.
        if !hello.cluster.is_empty() && rules::was_removed(&self.machine.membership(), hello.from) {
            let from = hello.from;
            return Some(Welcome::Removed(format!("node {from} was removed from cluster {cluster}")));
        }
        None
    }

    async fn answer(&self, request: Request) -> Result<Response, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        Ok(match request {
            Request::Vote(request) => Response::Vote(self.raft.vote(request).await.map_err(|e| text(&e))?),
            Request::PreVote(request) => Response::Vote(self.raft.pre_vote(request).await.map_err(|e| text(&e))?),
            Request::TransferLeader(request) => {
                Response::TransferLeader(self.raft.handle_transfer_leader(request).await.map_err(|e| text(&e))?)
            }
            Request::ReadIndex => {
                let (sender, receiver) = oneshot::channel();
                let _ = self.readers.send(Reader::Standby(sender));
                let index = receiver.await.map_err(|_| "the node is stopping".to_owned())?;
                Response::ReadIndex(index.map_err(|e| text(&e))?)
            }
            Request::ClusterStatus => Response::ClusterStatus(self.members.status_of_primary().await),
            Request::NodeStatus => {
                let mut report = self.members.report();
                report.installing = self.installing.load(Ordering::Relaxed) > 0;
                report.arrived = self.arriving.get().filter(|_| report.installing);
                Response::NodeStatus(report)
            }
            Request::Join(join) => Response::Join(self.members.admit(join).await),
            Request::Change { change, forwarded: true } if !leads(&self.raft) => {
                drop(change);
                Response::Changed(Err(ClusterChangeError::NoPrimary))
            }
            Request::Change { change, .. } => Response::Changed(self.members.change(change).await),
            Request::Removed => {
                let (cluster, id) = (self.members.cluster(), self.members.id());
                self.members.caller.note_removed(format!("node {id} was removed from cluster {cluster}"));
                Response::Noted
            }
            Request::Invite(_) => return Err(format!("It already belongs to cluster {}", self.members.cluster())),
            Request::Digest(check) => Response::Digest(self.machine.digest(check)),
            Request::Condemn { check, reference, reason } => {
                self.machine.condemn(check, &reference, reason).await?;
                Response::Condemned
            }
            Request::CancelSession { process, secret } => {
                if let Some(SharedSessions(sessions)) = &self.sessions {
                    sessions.cancel(process, secret);
                }
                Response::Done
            }
            Request::AwaitApplied { index, wait_ms } => {
                let mut applied = self.machine.watch_applied();
                let reached = applied.wait_for(|applied| applied.index >= Some(index));
                let _ = tokio::time::timeout(Duration::from_millis(wait_ms), reached).await;
                Response::Applied(self.machine.applied().index.unwrap_or(0))
            }
            Request::Append(_)
            | Request::Snapshot(_)
            | Request::SnapshotChunk { .. }
            | Request::SnapshotEnd
            | Request::Checkpoint
            | Request::CheckpointFile(_)
            | Request::Session(_) => {
                return Err("that request does not stand here".to_owned());
            }
        })
    }

    /// A connection that began to carry entries carries nothing else. Answers come in the order of the requests; the
    /// first refusal ends it.
    async fn appends(
        &self,
        first: openraft::raft::AppendEntriesRequest<crate::raft::types::TypeConfig>,
        mut reader: FrameReader<ReadHalf>,
        mut writer: WriteHalf,
    ) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel(APPENDS_WAITING);
        let requests =
            stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|next| (next, receiver)) });
        let mut answers = Box::pin(self.raft.stream_append(requests));
        let heard = || self.members.heard_leader();
        heard();
        let reading = async move {
            sender.send(first).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            while let Some(Frame { header, blob }) = reader.next().await? {
                let Request::Append(append) = postcard::from_bytes(&header).map_err(invalid)? else {
                    return Err(io::Error::other("a request among entries"));
                };
                let request = append.into_request(blob).map_err(invalid)?;
                heard();
                if sender.send(request).await.is_err() {
                    break;
                }
            }
            Ok::<(), io::Error>(())
        };
        let answering = async {
            while let Some(answer) = answers.next().await {
                let (response, last) = match answer {
                    Ok(answer) => {
                        let last = answer.is_err();
                        (Response::Append(answer), last)
                    }
                    Err(fatal) => (Response::Error(fatal.to_string()), true),
                };
                respond(&mut writer, &response).await?;
                if last {
                    break;
                }
            }
            Ok::<(), io::Error>(())
        };
        // The end of either side is the end of the conversation; what was taken in is answered by the log anyway.
        tokio::select! {
            ended = reading => ended,
            ended = answering => ended,
        }
    }

    /// A connection that asked for a checkpoint asks for its files and nothing else.
    async fn offers(&self, mut reader: FrameReader<ReadHalf>, mut writer: WriteHalf) -> io::Result<()> {
        let offering = match self.offering().await {
            Ok(offering) => offering,
            Err(trouble) => return respond(&mut writer, &Response::Error(trouble)).await,
        };
        let offer = offering.offer(self.members.cluster(), self.members.id(), &self.members.me.name);
        respond(&mut writer, &Response::Checkpoint(offer)).await?;
        while let Some(frame) = reader.next().await? {
            let Request::CheckpointFile(number) = postcard::from_bytes(&frame.header).map_err(invalid)? else {
                return Err(io::Error::other("a request among those for files"));
            };
            offering.send(number, &self.throttle, &mut writer).await?;
        }
        Ok(())
    }

    /// A checkpoint of everything that anybody saw acknowledged before.
    async fn offering(&self) -> Result<Offering, String> {
        let (sender, passed) = oneshot::channel();
        let _ = self.readers.send(Reader::Here(sender));
        let stopping = |_| "the node is stopping".to_owned();
        passed.await.map_err(stopping)?.map_err(|error| error.to_string())?;
        let stored = self.machine.checkpoint(Due::Now).await.map_err(|error| error.to_string())?;
        Offering::new(stored).await.map_err(|error| error.to_string())
    }

    async fn snapshot(
        &self,
        header: super::message::SnapshotHeader,
        reader: &mut FrameReader<ReadHalf>,
        writer: &mut WriteHalf,
    ) -> io::Result<()> {
        let machine = self.machine.clone();
        let (arriving, witness) = (self.arriving.clone(), self.members.me.witness);
        let begun = blocking(move || Receiving::begin(machine, header, arriving, witness)).await;
        let mut receiving = begun.map_err(io::Error::other)??;
        respond(writer, &Response::SnapshotWanted(receiving.wanted())).await?;
        loop {
            let frame = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match postcard::from_bytes(&frame.header).map_err(invalid)? {
                Request::SnapshotChunk { file, crc } => {
                    let added = blocking(move || receiving.chunk(file, crc, &frame.blob)).await;
                    receiving = added.map_err(io::Error::other)??;
                }
                Request::SnapshotEnd => break,
                _ => return Err(io::Error::other("a request among the chunks of a checkpoint")),
            }
        }
        let response = receiving.install(&self.machine, &self.raft).await;
        respond(writer, &response).await
    }
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

async fn respond(writer: &mut WriteHalf, response: &Response) -> io::Result<()> {
    write_frame(writer, &postcard::to_stdvec(response).map_err(invalid)?, &[]).await
}
