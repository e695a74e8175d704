//! Reading the log back: finds the last whole batch, tells a torn write from corruption, and makes sure that what it
//! found is on stable storage before anybody votes with it.
//!
//! A kernel that failed to write a page may still show it to readers, so the last batch, which perhaps nothing proves to
//! be synced, is written and synced again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use engine::commit_log::GroupId;
use tracing::{info, warn};

use super::disk::{Disk, DiskFile};
use super::format::{self, BatchRef, RecordKind, SEGMENT_HEADER, SegmentHeader};
use super::group::{GroupState, Slot};
use super::writer::{Segment, Written};
use super::{EntryId, WalError};

/// What the files held.
pub(super) struct Recovered {
    pub groups: HashMap<GroupId, GroupState>,
    pub written: HashMap<GroupId, Written>,
    pub segments: VecDeque<Segment>,
    pub next_segment: u64,
    pub next_sequence: u64,
    /// Where the next batch goes in the last segment.
    pub offset: u64,
}

pub(super) fn recover(disk: &dyn Disk, groups: &[GroupId]) -> Result<Recovered, WalError> {
    let mut numbers: Vec<u64> = disk
        .list()
        .map_err(|e| WalError::io("cannot list the log directory", e))?
        .iter()
        .filter_map(|name| format::segment_number(name))
        .collect();
    numbers.sort_unstable();
    let mut replay = Replay::default();
    for group in groups {
        replay.groups.insert(*group, GroupState::default());
        replay.written.insert(*group, Written::default());
    }
    let mut tail = None;
    if let Some(number) = numbers.last().copied() {
        tail = open_segment(disk, number, true)?;
        if tail.is_none() {
            // Allocated and never written: the process ended in between.
            numbers.pop();
            let name = format::segment_name(number);
            disk.remove(&name).map_err(|e| WalError::io(format!("cannot delete {name}"), e))?;
        }
    }
    let mut end = None;
    for (i, number) in numbers.iter().enumerate() {
        let opened = match tail.take_if(|tail| tail.number == *number) {
            Some(opened) => opened,
            None => open_segment(disk, *number, false)?.ok_or_else(|| {
                WalError::Corrupt(format!("the header of {} is damaged", format::segment_name(*number)))
            })?,
        };
        end = Some(replay.segment(opened, i == 0, i + 1 == numbers.len())?);
    }
    if let Some(end) = &end {
        end.make_durable()?;
    }
    replay.check_complete()?;
    let offset = end.map_or(SEGMENT_HEADER as u64, |end| end.offset as u64);
    for (group, state) in &mut replay.groups {
        if crate::seeded::vote_forgotten() {
            state.vote = None;
        }
        state.synced = state.last();
        info!(group = group.0, last = ?state.last(), purged = ?state.purged, vote = ?state.vote, "log recovered");
    }
    Ok(Recovered {
        groups: replay.groups,
        written: replay.written,
        segments: replay.segments,
        next_segment: numbers.last().map_or(1, |last| last + 1),
        next_sequence: replay.next_sequence.unwrap_or(1),
        offset,
    })
}

struct Opened {
    number: u64,
    name: String,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    first_batch: u64,
    salt: u32,
}

/// Reads a segment; `None` for a last one that was allocated and never written.
fn open_segment(disk: &dyn Disk, number: u64, last: bool) -> Result<Option<Opened>, WalError> {
    let name = format::segment_name(number);
    let file = disk.open(&name).map_err(|e| WalError::io(format!("cannot open {name}"), e))?;
    let bytes = file.read_all().map_err(|e| WalError::io(format!("cannot read {name}"), e))?;
    match format::read_segment_header(&bytes) {
        SegmentHeader::Valid { segment, first_batch, salt } if segment == number => {
            Ok(Some(Opened { number, name, file, bytes, first_batch, salt }))
        }
        // The header is synced together with the first batch: without it nothing here was acknowledged, and the
        // bytes behind it are at most that one batch. A header that was cut short may look like another version's.
        _ if last && !bytes.iter().skip(SEGMENT_HEADER).any(|byte| *byte != 0) => Ok(None),
        SegmentHeader::Version(version) => {
            Err(WalError::Version(format!("{name} is of format version {version}, which this version cannot read")))
        }
        _ if last && bytes.iter().take(SEGMENT_HEADER).all(|byte| *byte == 0) => Ok(None),
        _ => Err(WalError::Corrupt(format!("the header of {name} is damaged"))),
    }
}

#[derive(Default)]
struct Replay {
    groups: HashMap<GroupId, GroupState>,
    written: HashMap<GroupId, Written>,
    segments: VecDeque<Segment>,
    next_sequence: Option<u64>,
    /// Entries up to these are in segments that were deleted; a purge mark has to cover them.
    missing: HashMap<GroupId, EntryId>,
}

/// The end of what is readable in the last segment.
struct End {
    name: String,
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    last_batch: usize,
    offset: usize,
    /// Number of bytes of the mark that stands at `offset`.
    mark: usize,
}

impl End {
    /// Writes the last batch again, wipes the torn bytes behind it, and syncs.
    fn make_durable(&self) -> Result<(), WalError> {
        let torn = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let end = self.offset + self.mark;
        let write = |bytes: &[u8], at: usize| {
            let context = || format!("cannot rewrite the end of {}", self.name);
            self.file.write_all_at(bytes, at as u64).map_err(|e| WalError::io(context(), e))
        };
        write(self.bytes.get(..SEGMENT_HEADER).unwrap_or_default(), 0)?;
        write(self.bytes.get(self.last_batch..end).unwrap_or_default(), self.last_batch)?;
        if torn > end {
            warn!(segment = self.name, bytes = torn - end, "cut a torn write off the end of the log");
            write(&vec![0; torn - end], end)?;
        }
        self.file.sync().map_err(|e| WalError::io(format!("cannot sync {}", self.name), e))
    }
}

impl Replay {
    fn segment(&mut self, opened: Opened, first: bool, last: bool) -> Result<End, WalError> {
        let Opened { number, name, file, bytes, first_batch, salt } = opened;
        if let Some(previous) = self.segments.back()
            && previous.number + 1 != number
        {
            let missing = format::segment_name(previous.number + 1);
            return Err(WalError::Corrupt(format!("the log segment {missing} is missing")));
        }
        let expected = *self.next_sequence.get_or_insert(first_batch);
        if expected != first_batch {
            let previous = self.segments.back().map(|s| format::segment_name(s.number)).unwrap_or_default();
            return Err(WalError::Corrupt(format!("batches before number {first_batch} are damaged in {previous}")));
        }
        let mut segment =
            Segment { number, size: bytes.len() as u64, salt, file: file.clone(), highest: HashMap::new() };
        let mut offset = SEGMENT_HEADER;
        let mut last_batch = offset;
        let mut sequence = expected;
        while let Some(batch) = format::read_batch(&bytes, offset, salt).filter(|batch| batch.sequence == sequence) {
            let behind = bytes.get(offset + batch.length..).unwrap_or_default();
            if crate::seeded::tail_cut_short() && last && format::read_batch(behind, 0, salt).is_none() {
                return Ok(self.end(segment, End { name, file, bytes, last_batch, offset, mark: 0 }, sequence));
            }
            self.batch(&batch, first && offset == SEGMENT_HEADER, &name, &mut segment)?;
            last_batch = offset;
            offset += batch.length;
            sequence += 1;
        }
        // In an older segment the next one tells whether batches are missing here.
        if last && format::proves_synced(&bytes, offset, salt, sequence) {
            return Err(WalError::Corrupt(format!(
                "{name} is damaged at offset {offset}, and what follows shows that it had been synced"
            )));
        }
        let marked = bytes.get(offset..).and_then(|tail| format::read_mark(tail, salt));
        let mark = if marked.is_some() { format::MARK } else { 0 };
        Ok(self.end(segment, End { name, file, bytes, last_batch, offset, mark }, sequence))
    }

    fn end(&mut self, segment: Segment, end: End, next_sequence: u64) -> End {
        self.next_sequence = Some(next_sequence);
        self.segments.push_back(segment);
        end
    }

    fn batch(&mut self, batch: &BatchRef<'_>, first: bool, name: &str, segment: &mut Segment) -> Result<(), WalError> {
        for record in &batch.records {
            let state = self.groups.entry(record.group).or_default();
            let mut in_order = true;
            match record.kind {
                RecordKind::Entry(id, kind) => {
                    let slot = Slot {
                        term: id.term,
                        kind,
                        segment: segment.number,
                        offset: record.offset,
                        length: record.payload.len() as u32,
                        end_bytes: 0,
                    };
                    in_order = state.push(id, slot);
                    let highest = segment.highest.entry(record.group).or_default();
                    *highest = (*highest).max(id.index);
                }
                RecordKind::Vote(vote) => state.vote = Some(vote),
                RecordKind::Committed(id) => state.committed = Some(id),
                RecordKind::Purge(id) => state.purge(id),
                RecordKind::Last(id) if first => {
                    state.purge(id);
                    self.missing.insert(record.group, id);
                }
                RecordKind::Last(id) => in_order = state.last() == Some(id),
                RecordKind::Truncate(last) => {
                    if self.missing.get(&record.group).is_some_and(|missing| last < Some(*missing)) {
                        // The entries that are missing were replaced by ones that are here.
                        let (vote, committed) = (state.vote, state.committed);
                        *state = GroupState::default();
                        (state.vote, state.committed) = (vote, committed);
                        self.missing.remove(&record.group);
                        if let Some(last) = last {
                            state.purge(last);
                            self.missing.insert(record.group, last);
                        }
                    }
                    state.truncate(last);
                }
            }
            if !in_order {
                let (at, kind, last) = (record.offset, record.kind, state.last());
                return Err(WalError::Corrupt(format!(
                    "the record at offset {at} of {name} is out of order: {kind:?} after {last:?}"
                )));
            }
            self.written.entry(record.group).or_default().note(record.kind);
        }
        Ok(())
    }

    fn check_complete(&mut self) -> Result<(), WalError> {
        for (group, missing) in &self.missing {
            let purged = self.written.get(group).and_then(|written| written.purged);
            if purged < Some(*missing) {
                let index = missing.index;
                return Err(WalError::Corrupt(format!("the log segments with entries up to {index} are missing")));
            }
        }
        Ok(())
    }
}
