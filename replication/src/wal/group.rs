//! The log of one group as memory sees it: where every entry stands in the files, the payloads of the recent ones,
//! the vote and the marks.
//!
//! Invariants:
//! 1. Entries are consecutive: `first, first + 1, …`, and none is at or below the purge mark.
//! 2. The payload of an entry that has no place in a file yet is in memory.
//! 3. What is visible here may not be on disk yet; `synced` says what is.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use engine::commit_log::GroupId;

use super::buffers::Buffers;
use super::disk::DiskFile;
use super::format::{self, RECORD_HEADER, RecordKind};
use super::writer::{Change, Shared};
use super::{Done, EntryId, EntryKind, LogEntry, StoredVote, WalError};
use crate::seeded;

/// Where an entry stands and what it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub term: u64,
    pub kind: EntryKind,
    /// Segment number; 0: not written yet.
    pub segment: u64,
    pub offset: u64,
    pub length: u32,
    /// Sizes of all entries up to this one, to tell distances in bytes.
    pub end_bytes: u64,
}

#[derive(Debug, Default)]
pub(super) struct GroupState {
    pub vote: Option<StoredVote>,
    pub committed: Option<EntryId>,
    pub purged: Option<EntryId>,
    /// Last entry known to be on stable storage.
    pub synced: Option<EntryId>,
    first: u64,
    slots: VecDeque<Slot>,
    /// Payloads of the last entries.
    payloads: VecDeque<Bytes>,
    payload_bytes: u64,
    total_bytes: u64,
}

impl GroupState {
    fn position(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first)?).ok()
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(self.position(index)?)
    }

    pub fn last(&self) -> Option<EntryId> {
        match self.slots.back() {
            Some(slot) => Some(EntryId { term: slot.term, index: self.first + self.slots.len() as u64 - 1 }),
            None => self.purged,
        }
    }

    /// Adds the place of one more entry; returns false when it does not follow the last one.
    pub fn push(&mut self, id: EntryId, mut slot: Slot) -> bool {
        match self.last() {
            Some(last) if last.index + 1 != id.index => return false,
            _ => {}
        }
        if self.slots.is_empty() {
            self.first = id.index;
        }
        self.total_bytes += u64::from(slot.length) + RECORD_HEADER as u64;
        slot.end_bytes = self.total_bytes;
        self.slots.push_back(slot);
        true
    }

    fn push_entry(&mut self, entry: &LogEntry) -> bool {
        let slot = Slot {
            term: entry.id.term,
            kind: entry.kind,
            segment: 0,
            offset: 0,
            length: entry.payload.len() as u32,
            end_bytes: 0,
        };
        let pushed = self.push(entry.id, slot);
        if pushed {
            self.payload_bytes += entry.payload.len() as u64;
            self.payloads.push_back(entry.payload.clone());
        }
        pushed
    }

    /// Drops entries behind `last`.
    pub fn truncate(&mut self, last: Option<EntryId>) {
        let keep = match last {
            Some(id) => self.position(id.index + 1).unwrap_or(0).min(self.slots.len()),
            None => 0,
        };
        let dropped = self.slots.len() - keep;
        for _ in 0..dropped.min(self.payloads.len()) {
            if let Some(payload) = self.payloads.pop_back() {
                self.payload_bytes -= payload.len() as u64;
            }
        }
        self.slots.truncate(keep);
        if self.synced > self.last() {
            self.synced = self.last();
        }
    }

    /// Drops entries up to `upto`, which may lie behind the last one.
    pub fn purge(&mut self, upto: EntryId) {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return;
        }
        let drop = self.position(upto.index + 1).unwrap_or(0).min(self.slots.len());
        self.slots.drain(..drop);
        while self.payloads.len() > self.slots.len() {
            if let Some(payload) = self.payloads.pop_front() {
                self.payload_bytes -= payload.len() as u64;
            }
        }
        self.first = upto.index + 1;
        self.purged = Some(upto);
        self.synced = self.synced.max(self.purged);
    }

    /// Notes where an entry was written, unless it was replaced meanwhile, and drops payloads beyond `cache_bytes`.
    pub fn written(&mut self, id: EntryId, segment: u64, offset: u64, cache_bytes: u64) {
        if let Some(slot) = self.position(id.index).and_then(|at| self.slots.get_mut(at))
            && slot.term == id.term
        {
            slot.segment = segment;
            slot.offset = offset;
        }
        self.forget_payloads(cache_bytes);
    }

    /// Drops the oldest payloads that are in the files, down to `cache_bytes`.
    pub fn forget_payloads(&mut self, cache_bytes: u64) {
        while self.payload_bytes > cache_bytes && !self.payloads.is_empty() {
            let oldest = self.slots.len() - self.payloads.len();
            if self.slots.get(oldest).is_none_or(|slot| slot.segment == 0) {
                break;
            }
            if let Some(payload) = self.payloads.pop_front() {
                self.payload_bytes -= payload.len() as u64;
            }
        }
    }

    fn end_bytes(&self, index: u64) -> u64 {
        match self.slot(index) {
            Some(slot) => slot.end_bytes,
            None if index < self.first => self
                .slots
                .front()
                .map_or(self.total_bytes, |s| s.end_bytes - u64::from(s.length) - RECORD_HEADER as u64),
            None => self.total_bytes,
        }
    }
}

/// One group's log: reads come from memory or the files, changes go to the writer.
#[derive(Clone)]
pub struct GroupLog {
    pub(super) shared: Arc<Shared>,
    pub(super) group: GroupId,
}

impl GroupLog {
    fn with<T>(&self, read: impl FnOnce(&mut GroupState) -> T) -> T {
        let mut groups = self.shared.groups.lock();
        read(groups.entry(self.group).or_default())
    }

    /// Adds entries, readable at once; `done` is called when they are on stable storage.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) -> Result<(), WalError> {
        let consecutive = self.with(|state| entries.iter().all(|entry| state.push_entry(entry)));
        if !consecutive {
            return Err(WalError::Stopped("an entry does not follow the one before it".to_owned()));
        }
        if seeded::entries_before_disk() {
            self.shared.queue(self.group, Change::Entries(entries), Some(Box::new(|_| {})));
            done(Ok(()));
            return Ok(());
        }
        self.shared.queue(self.group, Change::Entries(entries), Some(done));
        Ok(())
    }

    /// Stores a vote; `done` is called when it is on stable storage.
    pub fn save_vote(&self, vote: StoredVote, done: Done) {
        self.with(|state| state.vote = Some(vote));
        if seeded::vote_before_log() {
            self.shared.queue(self.group, Change::Mark(RecordKind::Vote(vote)), None);
            return done(Ok(()));
        }
        self.shared.queue(self.group, Change::Mark(RecordKind::Vote(vote)), Some(done));
    }

    /// Stores how far the log is committed, with the next batch: it may be older after a crash.
    pub fn save_committed(&self, id: EntryId) {
        self.with(|state| state.committed = Some(id));
        self.shared.queue(self.group, Change::Mark(RecordKind::Committed(id)), None);
    }

    /// Voids the entries behind `last`; ordered before all later changes. `done` is called when that is on stable
    /// storage.
    pub fn truncate_after(&self, last: Option<EntryId>, done: Done) {
        self.with(|state| state.truncate(last));
        if seeded::truncation_in_memory() {
            return done(Ok(()));
        }
        self.shared.queue(self.group, Change::Mark(RecordKind::Truncate(last)), Some(done));
    }

    /// Forgets the entries up to `upto`; their segments are deleted once that is on stable storage.
    pub fn purge(&self, upto: EntryId) {
        self.with(|state| state.purge(upto));
        self.shared.queue(self.group, Change::Mark(RecordKind::Purge(upto)), Some(Box::new(|_| {})));
    }

    pub fn vote(&self) -> Option<StoredVote> {
        self.with(|state| state.vote)
    }

    /// The committed mark, never behind the last entry.
    pub fn committed(&self) -> Option<EntryId> {
        self.with(|state| state.committed.min(state.last()))
    }

    pub fn purged(&self) -> Option<EntryId> {
        self.with(|state| state.purged)
    }

    pub fn last(&self) -> Option<EntryId> {
        self.with(|state| state.last())
    }

    /// Last entry on stable storage.
    pub fn synced(&self) -> Option<EntryId> {
        self.with(|state| state.synced)
    }

    /// Id of the entry at `index`, if it is there.
    pub fn entry_id(&self, index: u64) -> Option<EntryId> {
        self.with(|state| state.slot(index).map(|slot| EntryId { term: slot.term, index }))
    }

    /// Bytes of the entries behind index `from` up to `to`, as far as they are still in the log.
    pub fn bytes_between(&self, from: u64, to: u64) -> u64 {
        self.with(|state| state.end_bytes(to).saturating_sub(state.end_bytes(from)))
    }

    /// The last entry up to `upto` that has so many bytes of the log behind it; `None`: there is not so much, or it is
    /// purged already.
    pub fn behind(&self, bytes: u64, upto: u64) -> Option<u64> {
        self.with(|state| {
            let end = state.end_bytes(state.last()?.index);
            let (mut first, mut after) = (state.first, upto + 1);
            if first >= after || end.saturating_sub(state.end_bytes(first)) < bytes {
                return None;
            }
            // The bytes behind an entry shrink along the log: the last one that has enough.
            while first + 1 < after {
                let middle = first + (after - first) / 2;
                match end.saturating_sub(state.end_bytes(middle)) >= bytes {
                    true => first = middle,
                    false => after = middle,
                }
            }
            Some(first)
        })
    }

    /// Waits while more than the bound is queued for the writer.
    pub async fn room(&self) {
        self.shared.room().await;
    }

    /// True while there is no space for the log to grow: no more should be let in. What is on its way is kept waiting
    /// and loses nothing.
    /// What the log has done; positions and checkpoints are the caller's to add.
    pub fn figures(&self) -> engine::commit_log::LogFigures {
        let (queued_bytes, full) = (self.shared.queued_bytes(), self.is_full());
        engine::commit_log::LogFigures { queued_bytes, full, ..self.shared.meter.read() }
    }

    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Acquire)
    }

    /// The entries of `range` that are in the log, at least one and otherwise no more than `bytes_max`.
    pub fn span(&self, range: Range<u64>, bytes_max: u64) -> LogSpan {
        let mut parts = Vec::new();
        let mut bytes = 0;
        self.with(|state| {
            let start = range.start.max(state.first);
            let uncached = state.slots.len() - state.payloads.len();
            for index in start..range.end {
                let Some(at) = state.position(index) else {
                    break;
                };
                let Some(slot) = state.slots.get(at) else {
                    break;
                };
                bytes += u64::from(slot.length) + RECORD_HEADER as u64;
                if bytes > bytes_max && !parts.is_empty() {
                    break;
                }
                let id = EntryId { term: slot.term, index };
                let place = match at.checked_sub(uncached).and_then(|cached| state.payloads.get(cached)) {
                    Some(payload) => Place::Memory(payload.clone()),
                    // The open file stays readable when its segment is deleted meanwhile.
                    None => Place::File(self.shared.file(slot.segment)),
                };
                parts.push((id, *slot, place));
            }
        });
        LogSpan { group: self.group, parts, buffers: self.shared.buffers.clone() }
    }
}

/// Where the payload of an entry is.
enum Place {
    Memory(Bytes),
    File(Option<Arc<dyn DiskFile>>),
}

/// Consecutive entries, found and perhaps not loaded yet.
pub struct LogSpan {
    group: GroupId,
    parts: Vec<(EntryId, Slot, Place)>,
    buffers: Arc<Buffers>,
}

impl LogSpan {
    /// True when [`Self::load`] reads no file.
    pub fn is_cached(&self) -> bool {
        self.parts.iter().all(|(_, _, place)| matches!(place, Place::Memory(_)))
    }

    /// Reads and checks what is not in memory.
    pub fn load(self) -> Result<Vec<LogEntry>, WalError> {
        let mut entries = Vec::with_capacity(self.parts.len());
        for (id, slot, place) in self.parts {
            let payload = match place {
                Place::Memory(payload) => payload,
                Place::File(file) => read_payload(&self.buffers, file, self.group, id, slot)?,
            };
            entries.push(LogEntry { id, kind: slot.kind, payload });
        }
        Ok(entries)
    }
}

fn read_payload(
    buffers: &Arc<Buffers>,
    file: Option<Arc<dyn DiskFile>>,
    group: GroupId,
    id: EntryId,
    slot: Slot,
) -> Result<Bytes, WalError> {
    let name = format::segment_name(slot.segment);
    let file = file.ok_or_else(|| WalError::Stopped(format!("entry {} stood in {name}, which is gone", id.index)))?;
    let bytes = buffers
        .filled(RECORD_HEADER + slot.length as usize, |into| file.read_exact_at(into, slot.offset))
        .map_err(|e| WalError::io(format!("cannot read {name}"), e))?;
    match format::read_record(&bytes, slot.offset) {
        Some((record, _)) if record.group == group && record.kind == RecordKind::Entry(id, slot.kind) => {}
        _ => {
            let at = slot.offset;
            return Err(WalError::Corrupt(format!("entry {} at offset {at} of {name} cannot be read back", id.index)));
        }
    }
    Ok(bytes.slice(RECORD_HEADER..))
}
