//! The writer: one thread that turns what waits into a batch, writes it, syncs once and answers everybody.
//!
//! Invariants: see [`super`], 1-4. The writer's own picture of each group (`Written`) is what the files say, which
//! lags behind [`super::group::GroupState`].

#[cfg(any(test, feature = "simulation"))]
pub mod stepped;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::commit_log::GroupId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::error;

use super::allocator::Allocation;
use super::buffers::Buffers;
use super::disk::{Disk, DiskFile};
use super::format::{self, BatchEncoder, RECORD_HEADER, RecordKind, SEGMENT_HEADER};
use super::group::{GroupLog, GroupState};
use super::meter::Meter;
use super::recovery::Recovered;
use super::{Done, EntryId, LogEntry, StoredVote, WalError, WalOptions};
use crate::{Fatal, FatalHandler, seeded};

/// Bytes after which a batch takes no further changes; what waits longer goes into the next one.
const BATCH_BYTES: usize = 8 << 20;
/// Idle time after which the last batch is marked as synced.
const MARK_AFTER: Duration = Duration::from_millis(5);

/// Payloads that stay in memory when nothing has been queued for that long: who is still behind reads the files.
const IDLE_CACHE_BYTES: u64 = 1 << 20;

pub(super) enum Change {
    Entries(Vec<LogEntry>),
    Mark(RecordKind),
}

struct Queued {
    group: GroupId,
    change: Change,
    done: Option<Done>,
}

impl Queued {
    fn size(&self) -> u64 {
        match &self.change {
            Change::Entries(entries) => entries.iter().map(LogEntry::size).sum(),
            Change::Mark(_) => RECORD_HEADER as u64,
        }
    }
}

#[derive(Default)]
struct Queue {
    changes: VecDeque<Queued>,
    bytes: u64,
    /// Somebody waits for a change in the queue.
    awaited: bool,
    closed: bool,
    failed: Option<String>,
}

/// What the callers, the readers and the writer share. The locks are held for a few instructions only.
pub(super) struct Shared {
    pub groups: Mutex<HashMap<GroupId, GroupState>>,
    files: Mutex<BTreeMap<u64, Arc<dyn DiskFile>>>,
    queue: Mutex<Queue>,
    queued: Condvar,
    ending: Condvar,
    drained: Notify,
    /// There is no space for the next segment. What is queued goes into what is left of the present one, or waits.
    pub full: AtomicBool,
    pub meter: Meter,
    pub buffers: Arc<Buffers>,
    options: WalOptions,
}

impl Shared {
    pub fn queue(&self, group: GroupId, change: Change, done: Option<Done>) {
        let queued = Queued { group, change, done };
        let mut queue = self.queue.lock();
        if let Some(reason) = queue.failed.clone() {
            drop(queue);
            if let Some(done) = queued.done {
                done(Err(WalError::Stopped(reason)));
            }
            return;
        }
        queue.bytes += queued.size();
        let wake = queued.done.is_some() && !queue.awaited;
        queue.awaited |= queued.done.is_some();
        queue.changes.push_back(queued);
        drop(queue);
        if wake {
            self.queued.notify_one();
        }
    }

    /// Waits until the log is being closed or has failed, at most so long. True: it is.
    pub fn ends_within(&self, wait: Duration) -> bool {
        let until = std::time::Instant::now() + wait;
        let mut queue = self.queue.lock();
        loop {
            if queue.closed || queue.failed.is_some() {
                return true;
            }
            if self.ending.wait_until(&mut queue, until).timed_out() {
                return false;
            }
        }
    }

    pub fn queued_bytes(&self) -> u64 {
        self.queue.lock().bytes
    }

    pub async fn room(&self) {
        loop {
            let drained = self.drained.notified();
            {
                let queue = self.queue.lock();
                if queue.bytes <= self.options.queue_bytes_max || queue.failed.is_some() {
                    return;
                }
            }
            drained.await;
        }
    }

    pub fn file(&self, segment: u64) -> Option<Arc<dyn DiskFile>> {
        self.files.lock().get(&segment).cloned()
    }
}

/// The open log. Dropping it writes what is queued and ends the writer.
pub struct Wal {
    shared: Arc<Shared>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Wal {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        options: WalOptions,
        recovered: Recovered,
        on_fatal: FatalHandler,
    ) -> Result<Self, WalError> {
        let mut files = BTreeMap::new();
        for segment in &recovered.segments {
            files.insert(segment.number, segment.file.clone());
        }
        let shared = Arc::new(Shared {
            groups: Mutex::new(recovered.groups),
            files: Mutex::new(files),
            queue: Mutex::default(),
            queued: Condvar::new(),
            ending: Condvar::new(),
            drained: Notify::new(),
            full: AtomicBool::new(false),
            meter: Meter::default(),
            buffers: Arc::default(),
            options,
        });
        let mut writer = Writer {
            disk,
            shared: shared.clone(),
            written: recovered.written,
            segments: recovered.segments,
            next_segment: recovered.next_segment,
            sequence: recovered.next_sequence,
            offset: recovered.offset,
            marked: false,
            prepared: None,
            encoder: BatchEncoder::default(),
            held_back: Vec::new(),
            held_back_first: recovered.next_sequence,
            on_fatal,
        };
        #[cfg(any(test, feature = "simulation"))]
        if crate::simulation::is_running() {
            crate::simulation::drive(stepped::SteppedWriter::new(writer));
            return Ok(Self { shared, writer: None });
        }
        let writer = std::thread::Builder::new()
            .name("wal-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| WalError::io("cannot start the log's writer thread", e))?;
        Ok(Self { shared, writer: Some(writer) })
    }

    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog { shared: self.shared.clone(), group }
    }

    /// Writes what is queued, answers everybody and ends the writer.
    pub fn close(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.queued.notify_one();
        self.shared.ending.notify_all();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            error!("the log's writer thread panicked");
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.close();
    }
}

/// A segment and, for each group, the highest index that was ever written to it.
pub(super) struct Segment {
    pub number: u64,
    pub size: u64,
    pub salt: u32,
    pub file: Arc<dyn DiskFile>,
    pub highest: HashMap<GroupId, u64>,
}

/// What the files say about a group so far.
#[derive(Debug, Default, Clone)]
pub(super) struct Written {
    pub vote: Option<StoredVote>,
    pub committed: Option<EntryId>,
    pub purged: Option<EntryId>,
    pub last: Option<EntryId>,
}

impl Written {
    pub fn note(&mut self, kind: RecordKind) {
        match kind {
            RecordKind::Entry(id, _) | RecordKind::Last(id) => self.last = Some(id),
            RecordKind::Vote(vote) => self.vote = Some(vote),
            RecordKind::Committed(id) => self.committed = Some(id),
            RecordKind::Truncate(last) => self.last = last,
            RecordKind::Purge(id) => {
                self.purged = Some(id);
                self.last = self.last.max(Some(id));
            }
        }
    }

    fn records(&self) -> impl Iterator<Item = RecordKind> {
        // Purge before last: a purge mark may lie behind the last entry.
        [
            self.vote.map(RecordKind::Vote),
            self.committed.map(RecordKind::Committed),
            self.purged.map(RecordKind::Purge),
            self.last.map(RecordKind::Last),
        ]
        .into_iter()
        .flatten()
    }
}

struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    written: HashMap<GroupId, Written>,
    segments: VecDeque<Segment>,
    next_segment: u64,
    sequence: u64,
    offset: u64,
    /// The mark stands behind the last batch, as far as one can.
    marked: bool,
    /// The next segment, while the present one fills up.
    prepared: Option<Allocation>,
    encoder: BatchEncoder,
    /// Only with the seeded bug: what should have been written, and the number of its first batch.
    held_back: Vec<u8>,
    held_back_first: u64,
    on_fatal: FatalHandler,
}

/// An entry's place in the batch that is being built.
struct Place {
    group: GroupId,
    id: EntryId,
    offset: usize,
}

impl Writer {
    fn run(&mut self) {
        self.measure_segments();
        self.mark_synced();
        while let Some(batch) = self.next() {
            let written = self.write(&batch);
            if !self.answer(batch, written) {
                return;
            }
        }
        self.finish();
    }

    /// Tells everybody what became of a batch; false when it was the last one.
    fn answer(&mut self, batch: Vec<Queued>, written: Result<bool, WalError>) -> bool {
        let (purged, result) = match written {
            Ok(purged) => (purged, Ok(())),
            Err(error) => (false, Err(self.fail(error))),
        };
        let failed = result.is_err();
        for queued in batch {
            if let Some(done) = queued.done {
                done(result.clone());
            }
        }
        if failed {
            self.refuse_rest(result);
        } else if purged {
            self.delete_unneeded();
            self.measure_segments();
        }
        !failed
    }

    fn finish(&mut self) {
        self.flush_held_back();
        self.sync_mark();
        let ended = WalError::Stopped("the node is stopping".to_owned());
        self.shared.queue.lock().failed = Some(ended.to_string());
        self.refuse_rest(Err(ended));
        if let Some(prepared) = self.prepared.take() {
            // Read back as never written, or written once it is needed: nothing depends on it.
            prepared.give_up();
        }
    }

    fn measure_segments(&self) {
        self.shared.meter.segments(self.segments.len() as u64, self.segments.iter().map(|segment| segment.size).sum());
    }

    /// Waits for changes that somebody waits for; `None` at the end.
    fn next(&mut self) -> Option<Vec<Queued>> {
        let shared = self.shared.clone();
        let mut queue = shared.queue.lock();
        while !queue.awaited && !queue.closed {
            if self.marked {
                shared.queued.wait(&mut queue);
            } else if shared.queued.wait_for(&mut queue, MARK_AFTER).timed_out() {
                drop(queue);
                self.mark_synced();
                queue = shared.queue.lock();
            }
        }
        Self::take(&shared, queue)
    }

    /// The next batch of what is queued, if anything is.
    fn take(shared: &Shared, mut queue: MutexGuard<'_, Queue>) -> Option<Vec<Queued>> {
        if queue.changes.is_empty() {
            return None;
        }
        let mut batch = Vec::with_capacity(queue.changes.len());
        let mut bytes = 0;
        while let Some(queued) = queue.changes.pop_front() {
            bytes += queued.size();
            batch.push(queued);
            if bytes as usize >= BATCH_BYTES {
                break;
            }
        }
        queue.bytes -= bytes;
        queue.awaited = queue.changes.iter().any(|queued| queued.done.is_some());
        drop(queue);
        shared.drained.notify_waiters();
        Some(batch)
    }

    /// Says behind the last batch that it was synced, for as long as nothing else stands there. It is not synced itself:
    /// the end of the process does not harm it, after a power loss it may be missing. Gives back what large batches needed, too.
    fn mark_synced(&mut self) {
        self.marked = true;
        self.encoder.begin();
        for state in self.shared.groups.lock().values_mut() {
            state.forget_payloads(self.shared.options.cache_bytes.min(IDLE_CACHE_BYTES));
        }
        let Some(segment) = self.segments.back() else { return };
        let written = self.offset > SEGMENT_HEADER as u64;
        if !written || self.offset + format::MARK as u64 > segment.size || seeded::skip_fsync() {
            return;
        }
        let mark = format::synced_mark(self.sequence - 1, segment.salt);
        if let Err(error) = segment.file.write_all_at(&mark, self.offset) {
            // Nothing depends on it; a disk that is broken fails the next batch as well.
            tracing::warn!("cannot mark the end of the log: {error}");
        }
    }

    /// At the end of the writer the mark is on stable storage too.
    fn sync_mark(&mut self) {
        self.mark_synced();
        if let Some(segment) = self.segments.back()
            && let Err(error) = segment.file.sync()
        {
            // All that was acknowledged had been synced before.
            tracing::warn!("cannot sync the end of the log: {error}");
        }
    }

    /// Writes and syncs one batch; true when it purged something.
    fn write(&mut self, batch: &[Queued]) -> Result<bool, WalError> {
        let size = batch.iter().map(Queued::size).sum::<u64>() + format::BATCH_HEADER as u64 + 8;
        self.encoder.begin();
        let fresh = self.make_room(size)?;
        let mut places = Vec::new();
        let mut purged = false;
        let Some(segment) = self.segments.back_mut() else {
            return Err(WalError::Stopped("the log has no segment".to_owned()));
        };
        for queued in batch {
            let group = queued.group;
            let written = self.written.entry(group).or_default();
            match &queued.change {
                Change::Entries(entries) => {
                    let highest = segment.highest.entry(group).or_default();
                    for entry in entries {
                        let kind = RecordKind::Entry(entry.id, entry.kind);
                        let offset = self.encoder.record(group, kind, &entry.payload);
                        written.note(kind);
                        *highest = (*highest).max(entry.id.index);
                        places.push(Place { group, id: entry.id, offset });
                    }
                }
                Change::Mark(kind) => {
                    purged |= matches!(kind, RecordKind::Purge(_));
                    written.note(*kind);
                    self.encoder.record(group, *kind, &[]);
                }
            }
        }
        let bytes = self.encoder.finish(self.sequence, segment.salt);
        if seeded::skip_fsync() {
            self.held_back.extend_from_slice(bytes);
            self.sequence += 1;
            return Ok(false);
        }
        let name = || format::segment_name(segment.number);
        if fresh {
            let header = format::segment_header(segment.number, self.sequence, segment.salt);
            segment
                .file
                .write_all_at(&header, 0)
                .map_err(|e| WalError::io(format!("cannot write to {}", name()), e))?;
        }
        segment
            .file
            .write_all_at(bytes, self.offset)
            .map_err(|e| WalError::io(format!("cannot write to {}", name()), e))?;
        if !seeded::unsynced_batch() {
            let meter = &self.shared.meter;
            meter.sync(|| segment.file.sync()).map_err(|e| WalError::io(format!("cannot sync {}", name()), e))?;
        }
        self.shared.meter.wrote(bytes.len() as u64, places.len() as u64);

        let mut groups = self.shared.groups.lock();
        for place in places {
            if let Some(state) = groups.get_mut(&place.group) {
                let offset = self.offset + place.offset as u64;
                state.written(place.id, segment.number, offset, self.shared.options.cache_bytes);
            }
        }
        for (group, written) in &self.written {
            if let Some(state) = groups.get_mut(group) {
                state.synced = written.last.min(state.last());
            }
        }
        drop(groups);
        self.offset += bytes.len() as u64;
        self.sequence += 1;
        self.marked = false;
        self.prepare_next()?;
        Ok(purged)
    }

    /// Has the next segment allocated when the present one is half full.
    fn prepare_next(&mut self) -> Result<(), WalError> {
        let half_full = self.segments.back().is_some_and(|segment| self.offset > segment.size / 2);
        if !half_full || self.prepared.is_some() {
            return Ok(());
        }
        self.prepared = Some(self.begin_allocation(self.shared.options.segment_bytes, true)?);
        Ok(())
    }

    fn begin_allocation(&self, size: u64, written: bool) -> Result<Allocation, WalError> {
        let (disk, name) = (self.disk.clone(), format::segment_name(self.next_segment));
        Allocation::begin(disk, name, size, written, self.shared.clone())
            .map_err(|e| WalError::io("cannot start the thread that allocates segments", e))
    }

    /// The file of the next segment, with at least `size` bytes. Waits while the disk is full.
    fn allocate(&mut self, size: u64) -> Result<(Arc<dyn DiskFile>, u64), WalError> {
        let name = format::segment_name(self.next_segment);
        let failed = |e| WalError::io(format!("cannot allocate {size} bytes for {name}"), e);
        if let Some(prepared) = self.prepared.take() {
            let prepared_size = prepared.size;
            let file = prepared.finish().map_err(failed)?;
            if prepared_size >= size {
                return Ok((file, prepared_size));
            }
            drop(file);
            self.disk.remove(&name).map_err(failed)?;
        }
        let size = size.max(self.shared.options.segment_bytes);
        Ok((self.begin_allocation(size, false)?.finish().map_err(failed)?, size))
    }

    /// Begins a new segment when `size` more bytes and the mark that they were synced do not fit: without that mark the
    /// last batch, once damaged, passes for one that was being written. The new segment's first batch repeats votes and
    /// marks, so that older segments can be deleted. True when the segment is new.
    fn make_room(&mut self, size: u64) -> Result<bool, WalError> {
        let size = size + format::MARK as u64;
        let full = self.segments.back().is_none_or(|segment| self.offset + size > segment.size);
        if full {
            let marks = self.written.len() * 4 * RECORD_HEADER;
            let needed = size + (marks + SEGMENT_HEADER) as u64;
            let number = self.next_segment;
            let (file, size) = self.allocate(needed)?;
            self.next_segment += 1;
            self.offset = SEGMENT_HEADER as u64;
            self.shared.files.lock().insert(number, file.clone());
            let salt = rand::random();
            self.segments.push_back(Segment { number, size, salt, file, highest: HashMap::new() });
            self.measure_segments();
        }
        let fresh = self.offset == SEGMENT_HEADER as u64;
        if fresh {
            for (group, written) in &self.written {
                for kind in written.records() {
                    self.encoder.record(*group, kind, &[]);
                }
            }
        }
        Ok(fresh)
    }

    /// Deletes the oldest segments as long as they hold nothing behind the purge marks.
    fn delete_unneeded(&mut self) {
        while self.segments.len() > 1 {
            let needed = self.segments.front().is_none_or(|segment| {
                segment.highest.iter().any(|(group, highest)| {
                    let purged = self.written.get(group).and_then(|written| written.purged);
                    purged.is_none_or(|purged| purged.index < *highest) && !seeded::segments_deleted_early()
                })
            });
            if needed {
                return;
            }
            let Some(segment) = self.segments.pop_front() else {
                return;
            };
            self.shared.files.lock().remove(&segment.number);
            let name = format::segment_name(segment.number);
            if let Err(error) = self.disk.remove(&name) {
                // Left behind, it is read again at the next start and deleted with the next purge.
                tracing::warn!("cannot delete the log segment {name}: {error}");
                return;
            }
        }
    }

    fn fail(&mut self, error: WalError) -> WalError {
        let reason = error.to_string();
        let stopping = {
            let mut queue = self.shared.queue.lock();
            queue.failed = Some(reason.clone());
            queue.closed
        };
        self.shared.ending.notify_all();
        self.shared.drained.notify_waiters();
        if stopping && self.shared.full.load(Ordering::Acquire) {
            // Asked to stop while it waited for space: what waits was never acknowledged.
            tracing::warn!("the log ends while its disk is full: {reason}");
        } else {
            error!("the log stops: {error}");
            (self.on_fatal)(Fatal(reason));
        }
        error
    }

    fn refuse_rest(&mut self, result: Result<(), WalError>) {
        let rest = std::mem::take(&mut self.shared.queue.lock().changes);
        for queued in rest {
            if let Some(done) = queued.done {
                done(result.clone());
            }
        }
    }

    fn flush_held_back(&mut self) {
        if self.held_back.is_empty() {
            return;
        }
        if let Some(segment) = self.segments.back() {
            if self.offset == SEGMENT_HEADER as u64 {
                let header = format::segment_header(segment.number, self.held_back_first, segment.salt);
                let _ = segment.file.write_all_at(&header, 0);
            }
            let _ = segment.file.write_all_at(&self.held_back, self.offset);
        }
    }
}
