//! The layout of a segment file. All numbers are little-endian.
//!
//! ```text
//! segment = header (64 bytes) batch* [mark] zeros
//! header  = "LSWALSEG" version:u32 crc:u32 segment:u64 first_batch:u64 salt:u32 zeros
//! batch   = "LSWB" crc:u32 sequence:u64 length:u64 records:u32 salt:u32  record*  padding to 8 bytes
//! record  = crc:u32 length:u32 group:u32 kind:u8 zero:[u8;3] term:u64 index:u64  payload
//! mark    = "LSWM" crc:u32 sequence:u64 salt:u32 zero:u32
//! ```
//! The mark stands behind the last batch while nobody writes, and says that the batch of this number was synced; the
//! next batch overwrites it. A segment has room for it behind every batch.
//! The header's checksum covers what is behind it; those of later versions have to cover the version as well.
//! The batch's checksum covers its header, a record's covers the rest of the record. The salt is random for each
//! segment, so that no payload can pass for a batch when the space behind a damaged one is searched.

use engine::commit_log::GroupId;

use super::{EntryId, EntryKind, StoredVote};

pub const SEGMENT_HEADER: usize = 64;
pub const BATCH_HEADER: usize = 32;
pub const RECORD_HEADER: usize = 32;
const SEGMENT_MAGIC: &[u8; 8] = b"LSWALSEG";
/// No batch is shorter than the mark that it overwrites.
pub const MARK: usize = 24;
const BATCH_MAGIC: &[u8; 4] = b"LSWB";
const MARK_MAGIC: &[u8; 4] = b"LSWM";
const VERSION: u32 = 1;

/// What a record says. The payload of an entry is the record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    Entry(EntryId, EntryKind),
    Vote(StoredVote),
    Committed(EntryId),
    /// Entries behind this one are void; `None`: all are.
    Truncate(Option<EntryId>),
    /// Entries up to this one are not needed any more.
    Purge(EntryId),
    /// Last entry before this point, at the beginning of a segment: what older segments held.
    Last(EntryId),
}

impl RecordKind {
    fn parts(self) -> (u8, u64, u64) {
        match self {
            RecordKind::Entry(id, EntryKind::Blank) => (1, id.term, id.index),
            RecordKind::Entry(id, EntryKind::Record) => (2, id.term, id.index),
            RecordKind::Entry(id, EntryKind::Membership) => (3, id.term, id.index),
            RecordKind::Entry(id, EntryKind::Records) => (11, id.term, id.index),
            RecordKind::Vote(vote) => (if vote.committed { 5 } else { 4 }, vote.term, vote.node),
            RecordKind::Committed(id) => (6, id.term, id.index),
            RecordKind::Truncate(Some(id)) => (7, id.term, id.index),
            RecordKind::Truncate(None) => (8, 0, 0),
            RecordKind::Purge(id) => (9, id.term, id.index),
            RecordKind::Last(id) => (10, id.term, id.index),
        }
    }

    pub fn from_parts(kind: u8, term: u64, number: u64) -> Option<Self> {
        let id = EntryId { term, index: number };
        if number == u64::MAX && !matches!(kind, 4 | 5) {
            // No entry can follow it.
            return None;
        }
        Some(match kind {
            1 => RecordKind::Entry(id, EntryKind::Blank),
            2 => RecordKind::Entry(id, EntryKind::Record),
            3 => RecordKind::Entry(id, EntryKind::Membership),
            4 | 5 => RecordKind::Vote(StoredVote { term, node: number, committed: kind == 5 }),
            6 => RecordKind::Committed(id),
            7 => RecordKind::Truncate(Some(id)),
            8 => RecordKind::Truncate(None),
            9 => RecordKind::Purge(id),
            10 => RecordKind::Last(id),
            11 => RecordKind::Entry(id, EntryKind::Records),
            _ => return None,
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Header of a segment file.
pub fn segment_header(segment: u64, first_batch: u64, salt: u32) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&segment.to_le_bytes());
    header[24..32].copy_from_slice(&first_batch.to_le_bytes());
    header[32..36].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&header[16..]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What the header of a segment says.
#[derive(Debug, PartialEq, Eq)]
pub enum SegmentHeader {
    Valid { segment: u64, first_batch: u64, salt: u32 },
    Version(u32),
    Invalid,
}

pub fn read_segment_header(bytes: &[u8]) -> SegmentHeader {
    let parse = || {
        let header = bytes.get(..SEGMENT_HEADER)?;
        if &header[..8] != SEGMENT_MAGIC {
            return None;
        }
        let whole = u32_at(header, 12)? == crc32c::crc32c(&header[16..]);
        match u32_at(header, 8)? {
            VERSION if whole => {}
            // The checksum of another version covers the version too: where this one's is right, only that is damaged.
            version if version != VERSION && !whole => return Some(SegmentHeader::Version(version)),
            _ => return None,
        }
        Some(SegmentHeader::Valid {
            segment: u64_at(header, 16)?,
            first_batch: u64_at(header, 24)?,
            salt: u32_at(header, 32)?,
        })
    };
    parse().unwrap_or(SegmentHeader::Invalid)
}

/// Name of a segment's file.
pub fn segment_name(segment: u64) -> String {
    format!("{segment:016x}.wal")
}

/// Number of a segment from the name of its file.
pub fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

/// A batch that is being encoded. The buffer is kept between batches.
#[derive(Debug, Default)]
pub struct BatchEncoder {
    bytes: Vec<u8>,
    records: u32,
}

/// Memory that the encoder keeps between batches.
const KEPT_BYTES_MAX: usize = 1 << 20;

impl BatchEncoder {
    pub fn begin(&mut self) {
        self.bytes.clear();
        // A larger buffer was for a large transaction.
        self.bytes.shrink_to(KEPT_BYTES_MAX);
        self.bytes.resize(BATCH_HEADER, 0);
        self.records = 0;
    }

    /// Adds a record and returns its offset within the batch.
    pub fn record(&mut self, group: GroupId, kind: RecordKind, payload: &[u8]) -> usize {
        let at = self.bytes.len();
        let (tag, term, number) = kind.parts();
        let mut header = [0; RECORD_HEADER];
        header[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&group.0.to_le_bytes());
        header[12] = tag;
        header[16..24].copy_from_slice(&term.to_le_bytes());
        header[24..32].copy_from_slice(&number.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[4..]), payload);
        header[..4].copy_from_slice(&crc.to_le_bytes());
        self.bytes.extend_from_slice(&header);
        self.bytes.extend_from_slice(payload);
        self.records += 1;
        at
    }

    /// Completes the batch; the bytes are written as they are.
    pub fn finish(&mut self, sequence: u64, salt: u32) -> &[u8] {
        let padded = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(padded, 0);
        let length = (padded - BATCH_HEADER) as u64;
        self.bytes[..4].copy_from_slice(BATCH_MAGIC);
        self.bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
        self.bytes[16..24].copy_from_slice(&length.to_le_bytes());
        self.bytes[24..28].copy_from_slice(&self.records.to_le_bytes());
        self.bytes[28..32].copy_from_slice(&salt.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[8..BATCH_HEADER]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// A record read back; `offset` is that of its header in the segment.
#[derive(Debug)]
pub struct RecordRef<'a> {
    pub offset: u64,
    pub group: GroupId,
    pub kind: RecordKind,
    pub payload: &'a [u8],
}

/// Reads and checks the record at the beginning of `bytes`; the second value is the record's length.
pub fn read_record(bytes: &[u8], offset: u64) -> Option<(RecordRef<'_>, usize)> {
    let length = u32_at(bytes, 4)? as usize;
    let end = RECORD_HEADER.checked_add(length)?;
    let record = bytes.get(..end)?;
    if u32_at(record, 0)? != crc32c::crc32c(&record[4..]) && !crate::seeded::torn_tail_accepted() {
        return None;
    }
    let kind = RecordKind::from_parts(record[12], u64_at(record, 16)?, u64_at(record, 24)?)?;
    let group = GroupId(u32_at(record, 8)?);
    Some((RecordRef { offset, group, kind, payload: &record[RECORD_HEADER..] }, end))
}

/// Sequence number, total length and number of records of the batch whose header begins `bytes`.
fn read_batch_header(bytes: &[u8], salt: u32) -> Option<(u64, u64, u32)> {
    let header = bytes.get(..BATCH_HEADER)?;
    let sound = &header[..4] == BATCH_MAGIC
        && u32_at(header, 4)? == crc32c::crc32c(&header[8..])
        && u32_at(header, 28)? == salt;
    if !sound {
        return None;
    }
    Some((u64_at(header, 8)?, u64_at(header, 16)?.checked_add(BATCH_HEADER as u64)?, u32_at(header, 24)?))
}

/// A batch read back.
#[derive(Debug)]
pub struct BatchRef<'a> {
    pub sequence: u64,
    pub length: usize,
    pub records: Vec<RecordRef<'a>>,
}

/// Reads and checks the batch at `offset` of a segment's bytes, all or nothing.
pub fn read_batch(segment: &[u8], offset: usize, salt: u32) -> Option<BatchRef<'_>> {
    let bytes = segment.get(offset..)?;
    let (sequence, length, count) = read_batch_header(bytes, salt)?;
    let length = usize::try_from(length).ok()?;
    let batch = bytes.get(..length)?;
    let mut at = BATCH_HEADER;
    let mut records = Vec::with_capacity((count as usize).min(length / RECORD_HEADER));
    for _ in 0..count {
        let (record, record_length) = read_record(batch.get(at..)?, (offset + at) as u64)?;
        at += record_length;
        records.push(record);
    }
    (at.next_multiple_of(8) == length).then_some(BatchRef { sequence, length, records })
}

/// Says that the batch with this number, and with it all before it, was synced.
pub fn synced_mark(sequence: u64, salt: u32) -> [u8; MARK] {
    let mut mark = [0; MARK];
    mark[..4].copy_from_slice(MARK_MAGIC);
    mark[8..16].copy_from_slice(&sequence.to_le_bytes());
    mark[16..20].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&mark[8..]);
    mark[4..8].copy_from_slice(&crc.to_le_bytes());
    mark
}

/// The number in the mark that begins `bytes`, if there is one.
pub fn read_mark(bytes: &[u8], salt: u32) -> Option<u64> {
    let mark = bytes.get(..MARK)?;
    let sound = &mark[..4] == MARK_MAGIC && u32_at(mark, 4)? == crc32c::crc32c(&mark[8..]) && u32_at(mark, 16)? == salt;
    if sound { u64_at(mark, 8) } else { None }
}

/// True when anything at or behind `offset` proves that the batch with number `sequence` was synced: a later batch
/// that begins there, or a mark.
pub fn proves_synced(segment: &[u8], offset: usize, salt: u32, sequence: u64) -> bool {
    let start = offset.next_multiple_of(8);
    let later = |bytes: &[u8]| read_batch_header(bytes, salt).is_some_and(|(found, _, _)| found > sequence);
    let marked = |bytes: &[u8]| read_mark(bytes, salt).is_some_and(|found| found >= sequence);
    segment
        .get(start..)
        .unwrap_or_default()
        .chunks_exact(8)
        .enumerate()
        .filter(|(_, chunk)| &chunk[..4] == BATCH_MAGIC || &chunk[..4] == MARK_MAGIC)
        .filter_map(|(i, _)| segment.get(start + i * 8..))
        .any(|bytes| later(bytes) || marked(bytes))
}
