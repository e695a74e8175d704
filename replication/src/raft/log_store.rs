//! openraft's log storage on the write-ahead log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures::{Stream, TryStreamExt, stream};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use tokio::sync::watch;

use super::types::{self, Entry, LogId, TypeConfig, Vote};
use crate::backup::archiver::Hold;
use crate::blocking::blocking;
use crate::wal::{GroupLog, LogSpan, WalError};

/// Bytes of entries that are read in one step, for applying or shipping.
const READ_BYTES: u64 = 1 << 20;

/// The log of one group for openraft. Clones share the log.
#[derive(Clone)]
pub struct LogStore {
    log: GroupLog,
    /// Last entry that is on this node's stable storage.
    synced: Arc<watch::Sender<u64>>,
    /// How far it may be purged.
    hold: Arc<Hold>,
}

impl LogStore {
    pub fn new(log: GroupLog, hold: Arc<Hold>) -> Self {
        Self { log, synced: Arc::new(watch::Sender::new(0)), hold }
    }

    pub fn watch_synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    async fn load(span: LogSpan) -> io::Result<Vec<Entry>> {
        let entries = if span.is_cached() {
            span.load()?
        } else {
            blocking(|| span.load()).await.map_err(io::Error::other)??
        };
        entries.into_iter().map(|entry| types::from_log_entry(entry).map_err(io::Error::from)).collect()
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

fn signal() -> (crate::wal::Done, tokio::sync::oneshot::Receiver<Result<(), WalError>>) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        Self::load(self.log.span(start..end, u64::MAX)).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let log = self.log.clone();
        let parts = stream::try_unfold(start, move |from| {
            let span = log.span(from..end, READ_BYTES);
            async move {
                if from >= end {
                    return Ok(None);
                }
                let entries = Self::load(span).await?;
                let next = entries.last().map(|entry| entry.log_id.index + 1);
                Ok::<_, io::Error>(next.map(|next| (stream::iter(entries.into_iter().map(Ok)), next)))
            }
        });
        parts.try_flatten()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.vote().map(types::vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Self::load(self.log.span(start..end, READ_BYTES)).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState {
            last_purged_log_id: self.log.purged().map(types::log_id),
            last_log_id: self.log.last().map(types::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, saved) = signal();
        self.log.save_vote(types::stored_vote(vote), done);
        Ok(saved.await.map_err(io::Error::other)??)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(types::entry_id(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.log.committed().map(types::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(types::to_log_entry).collect::<Result<Vec<_>, _>>()?;
        let (last, synced) = (entries.last().map_or(0, |entry| entry.id.index), self.synced.clone());
        let done = move |result: Result<(), WalError>| {
            if result.is_ok() {
                synced.send_replace(last);
            }
            callback.io_completed(result.map_err(Into::into));
        };
        self.log.room().await;
        Ok(self.log.append(entries, Box::new(done))?)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        // Awaited: a checkpoint that comes in place of the entries must not survive a crash together with them.
        let (done, truncated) = signal();
        // What comes in their place is not synced.
        self.synced.send_modify(|synced| *synced = (*synced).min(last.as_ref().map_or(0, |last| last.index)));
        self.log.truncate_after(last.as_ref().map(types::entry_id), done);
        Ok(truncated.await.map_err(io::Error::other)??)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        // What is kept longer than consensus thinks is purged with what comes later, and found again at the next start.
        let limit = self.hold.limit(upto.index);
        let upto = match limit {
            Some(index) if index < upto.index => self.log.entry_id(index),
            Some(_) => Some(types::entry_id(&upto)),
            None => None,
        };
        if let Some(upto) = upto {
            self.log.purge(upto);
        }
        Ok(())
    }
}
