//! A new cluster from a backup, and from the archived log up to a moment.
//!
//! The data directory gets the backup as its checkpoint, the archived entries behind it as its log, and a vote in the last
//! term of the old cluster, so that the founder of the new one begins in a later term. Its identity is written last: a
//! directory that is cut short is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::commit_log::{GroupId, LogPosition};
use engine::recovery::{self, Moment, Step};
use tokio::sync::oneshot;
use tracing::info;

use super::BackupError;
use super::archive;
use super::manifest::{BackupManifest, NAME};
use super::store::Store;
use super::take::DATA;
use crate::cluster::identity::{DataDir, Identity};
use crate::raft::checkpoints::{CheckpointMeta, Checkpoints};
use crate::raft::types::{self, PeerNode, Records, StoredMembership};
use crate::wal::disk::RealDisk;
use crate::wal::{self, EntryId, EntryKind, GroupLog, LogEntry, StoredVote, Wal, WalError, WalOptions};

/// Id of the founder.
const FOUNDER: u64 = 1;
/// Bytes of the log that are written at once.
const WRITE_BYTES: u64 = 16 << 20;

/// What to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub from: String,
    pub data_dir: PathBuf,
    /// Archive whose log is replayed behind the backup; `None`: the backup as it is.
    pub archive: Option<String>,
    pub target: Target,
}

/// How far the archived log is replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To its end.
    End,
    /// All commits at or before it.
    Time(Moment),
    /// All records at or before it.
    Position(LogPosition),
}

/// What was restored.
#[derive(Debug, Clone)]
pub struct Restored {
    pub cluster_id: String,
    pub position: LogPosition,
    pub last_commit: Moment,
}

/// Restores into a directory that is empty or not there. On an error it is as it was before.
pub async fn restore(options: &RestoreOptions) -> Result<Restored, BackupError> {
    let directory = &options.data_dir;
    let unusable = || BackupError::io(format!("the data directory {} cannot be used", directory.display()));
    let existed = match std::fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(BackupError::NotEmpty(directory.clone())),
        Ok(false) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(unusable()(error)),
    };
    if options.archive.is_none() && options.target != Target::End {
        return Err(BackupError::Target("a time or position is reached through an archive: name it".to_owned()));
    }
    let restored = fill(options).await;
    if restored.is_err() {
        clear(directory, existed).map_err(unusable())?;
    }
    restored
}

fn clear(directory: &Path, keep: bool) -> std::io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if keep { std::fs::create_dir(directory) } else { Ok(()) }
}

async fn fill(options: &RestoreOptions) -> Result<Restored, BackupError> {
    let store = Store::existing(&options.from)?;
    let text = store.read(NAME).await?;
    let text = text.ok_or_else(|| {
        BackupError::Target(format!("{} holds no finished backup: {NAME} is not there", options.from))
    })?;
    let manifest = BackupManifest::parse(&text)?;
    let mut directory = DataDir::open(&options.data_dir)?;
    let checkpoints = Checkpoints::open(directory.checkpoints())?;
    let unwritable = || BackupError::io("the checkpoint cannot be written");
    let unpublished = checkpoints.unpublished("incoming").map_err(unwritable())?;
    info!(backup = options.from, files = manifest.files.len(), bytes = manifest.bytes(), "restoring");
    for file in &manifest.files {
        let plain = !file.name.is_empty() && !file.name.starts_with('.') && !file.name.contains(['/', '\\', '\0']);
        if !plain {
            return Err(BackupError::Damaged(format!("a file is named {:?}", file.name)));
        }
        match store.download(&format!("{DATA}/{}", file.name), &unpublished.state().join(&file.name)).await? {
            Some(sum) if sum == file.sum() => {}
            Some(_) => return Err(BackupError::Damaged(format!("{} does not have its checksum", file.name))),
            None => return Err(BackupError::Damaged(format!("{} is missing", file.name))),
        }
    }
    recovery::verify(&unpublished.state())?;
    let content = std::fs::read(unpublished.state().join(recovery::MANIFEST)).map_err(unwritable())?;
    let content = recovery::content(&content)?;
    let last = manifest.last();
    let start = Restored {
        cluster_id: String::new(),
        position: content.position.max(LogPosition(manifest.position)),
        last_commit: content.last_commit,
    };
    let log = LogWriter::open(&directory, last)?;
    let mut replay = Replay { target: options.target, reached: start, past: false, log };
    replay.check_start()?;
    if let Some(url) = &options.archive {
        replay.read(&Store::existing(url)?, &manifest).await?;
    }
    let Replay { reached, log, .. } = replay;
    log.finish().await?;

    let meta =
        CheckpointMeta { last: Some(last), membership: founder(last)?, position: LogPosition(manifest.position) };
    checkpoints.publish(unpublished, meta).map_err(unwritable())?;
    let identity = Identity::founder();
    let cluster_id = identity.cluster_id.clone();
    directory.adopt(identity)?;
    Ok(Restored { cluster_id, ..reached })
}

/// A cluster of the founder alone. Under which addresses it is to be found it says when it starts.
fn founder(last: EntryId) -> Result<StoredMembership, BackupError> {
    let node = PeerNode { name: "restored".to_owned(), ..PeerNode::default() };
    let nodes = BTreeMap::from([(FOUNDER, node)]);
    let membership = openraft::Membership::new(vec![BTreeSet::from([FOUNDER])], nodes);
    let membership = membership.map_err(|error| BackupError::Target(error.to_string()))?;
    Ok(StoredMembership::new(Some(types::log_id(last)), membership))
}

/// Writes the log behind the checkpoint, and the vote.
struct LogWriter {
    wal: Wal,
    log: GroupLog,
    waiting: Vec<LogEntry>,
    bytes: u64,
    term: u64,
    failure: std::sync::mpsc::Receiver<String>,
}

impl LogWriter {
    fn open(directory: &DataDir, last: EntryId) -> Result<Self, BackupError> {
        let disk = RealDisk::new(directory.wal()).map_err(BackupError::io("the log cannot be written"))?;
        let (failed, failure) = std::sync::mpsc::sync_channel(1);
        let on_fatal = move |fatal: crate::Fatal| drop(failed.try_send(fatal.0));
        let wal = wal::open(Arc::new(disk), WalOptions::default(), &[GroupId::FIRST], Arc::new(on_fatal))?;
        let log = wal.group(GroupId::FIRST);
        log.purge(last);
        Ok(Self { wal, log, waiting: Vec::new(), bytes: 0, term: last.term, failure })
    }

    async fn push(&mut self, entry: LogEntry) -> Result<(), BackupError> {
        self.term = self.term.max(entry.id.term);
        self.bytes += entry.size();
        self.waiting.push(entry);
        if self.bytes >= WRITE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), BackupError> {
        let entries = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if entries.is_empty() {
            return Ok(());
        }
        let (sender, written) = oneshot::channel();
        self.log.append(entries, Box::new(move |result| drop(sender.send(result))))?;
        self.wait(written).await
    }

    /// Everything is on stable storage afterwards.
    async fn finish(mut self) -> Result<(), BackupError> {
        self.flush().await?;
        let (sender, written) = oneshot::channel();
        let vote = StoredVote { term: self.term, node: FOUNDER, committed: false };
        self.log.save_vote(vote, Box::new(move |result| drop(sender.send(result))));
        self.wait(written).await?;
        self.wal.close();
        Ok(())
    }

    async fn wait(&self, written: oneshot::Receiver<Result<(), WalError>>) -> Result<(), BackupError> {
        match written.await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let why = self.failure.try_recv().unwrap_or_else(|_| "its writer ended".to_owned());
                Err(BackupError::Log(WalError::Stopped(why)))
            }
        }
    }
}

/// The archived log behind a backup, as far as the target.
struct Replay {
    target: Target,
    reached: Restored,
    /// Something behind the target was seen: it is reached for certain.
    past: bool,
    log: LogWriter,
}

impl Replay {
    fn check_start(&self) -> Result<(), BackupError> {
        let late = match self.target {
            Target::End => false,
            Target::Time(moment) => self.reached.last_commit > moment,
            Target::Position(position) => self.reached.position > position,
        };
        if late {
            let (position, time) = (self.reached.position.0, self.reached.last_commit.text());
            return Err(BackupError::Target(format!(
                "the backup is of a later state (position {position}, last commit {time}): use an older one"
            )));
        }
        Ok(())
    }

    async fn read(&mut self, store: &Store, manifest: &BackupManifest) -> Result<(), BackupError> {
        let cluster = &manifest.cluster_id;
        let mut next = manifest.index + 1;
        let spans = archive::spans(store, cluster).await?;
        if spans.is_empty() {
            return Err(BackupError::Archive(format!("it holds no log of cluster {cluster}, of which the backup is")));
        }
        for span in spans {
            if span.last < next {
                continue;
            }
            if span.first > next {
                let until = span.first - 1;
                return Err(BackupError::Archive(format!("it has a gap: entries {next} to {until} are missing")));
            }
            for entry in archive::read(store, cluster, span).await? {
                if entry.id.index < next {
                    continue;
                }
                next = entry.id.index + 1;
                self.add(entry).await?;
                if self.past {
                    return Ok(());
                }
            }
        }
        match self.target {
            Target::End => Ok(()),
            Target::Position(position) if self.reached.position >= position => Ok(()),
            Target::Position(_) | Target::Time(_) => Err(BackupError::Archive(format!(
                "it ends before the target, at position {} (last commit {}); without a target all of it is restored",
                self.reached.position.0,
                self.reached.last_commit.text()
            ))),
        }
    }

    /// Takes an entry in, or what of it lies before the target.
    async fn add(&mut self, mut entry: LogEntry) -> Result<(), BackupError> {
        let id = entry.id;
        let wrong = |what: &str| BackupError::Archive(format!("entry {} {what}", id.index));
        if entry.kind == EntryKind::Membership {
            // Of the old cluster.
            entry = LogEntry { id, kind: EntryKind::Blank, payload: Default::default() };
        }
        if entry.kind == EntryKind::Blank {
            self.take_position(types::position(id.index, 0), None);
            return if self.past { Ok(()) } else { self.log.push(entry).await };
        }
        let raft = types::from_log_entry(entry.clone()).map_err(|_| wrong("cannot be read"))?;
        let openraft::EntryPayload::Normal(records) = raft.payload else { return Err(wrong("is of no known kind")) };
        let records = records.unpack().ok_or_else(|| wrong("cannot be read"))?;
        let mut kept = 0;
        for (number, record) in records.iter().enumerate() {
            let step = recovery::step(record).map_err(|error| wrong(error.message()))?;
            self.take_position(types::position(id.index, number), Some(step));
            if self.past {
                break;
            }
            kept = number + 1;
        }
        if kept == records.len() {
            self.log.push(entry).await?;
        } else if kept > 0 {
            let payload = openraft::EntryPayload::Normal(Records::pack(&records[..kept]));
            let cut = types::to_log_entry(openraft::Entry { log_id: types::log_id(id), payload });
            self.log.push(cut.map_err(|_| wrong("cannot be cut"))?).await?;
        }
        Ok(())
    }

    fn take_position(&mut self, position: LogPosition, step: Option<Step>) {
        let commit = match step {
            Some(Step::Commit(moment)) => Some(moment),
            _ => None,
        };
        self.past = match self.target {
            Target::End => false,
            Target::Position(last) => position > last,
            Target::Time(last) => commit.is_some_and(|moment| moment > last),
        };
        if !self.past {
            self.reached.position = position;
            self.reached.last_commit = commit.unwrap_or(self.reached.last_commit);
        }
    }
}
