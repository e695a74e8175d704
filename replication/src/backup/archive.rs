//! The archive of the log: objects that hold consecutive committed entries, and reading them back in order.
//!
//! ```text
//! magic, length of the header (u32), header: cluster, first and last entry, number of entries
//! each entry: term u64, index u64, kind u8, length u32, payload
//! CRC-32C of all of it (u32)
//! ```
//! All numbers are little-endian.

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::store::Store;
use crate::wal::{EntryId, EntryKind, LogEntry};

const MAGIC: &[u8; 8] = b"LSARCH\x00\x01";
const SUFFIX: &str = ".log";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    cluster: String,
    first: EntryId,
    last: EntryId,
    count: u64,
}

/// The indexes of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub first: u64,
    pub last: u64,
}

impl Span {
    pub fn name(&self, cluster: &str) -> String {
        format!("{cluster}/{:020}-{:020}{SUFFIX}", self.first, self.last)
    }

    fn parse(name: &str) -> Option<Self> {
        let (first, last) = name.rsplit('/').next()?.strip_suffix(SUFFIX)?.split_once('-')?;
        let span = Span { first: first.parse().ok()?, last: last.parse().ok()? };
        (span.first <= span.last).then_some(span)
    }
}

/// What is archived of a cluster's log, in order.
pub async fn spans(store: &Store, cluster: &str) -> Result<Vec<Span>, BackupError> {
    let mut spans: Vec<Span> = store.list(cluster).await?.iter().filter_map(|name| Span::parse(name)).collect();
    spans.sort();
    Ok(spans)
}

fn tag(kind: EntryKind) -> u8 {
    match kind {
        EntryKind::Blank => 0,
        EntryKind::Record => 1,
        EntryKind::Records => 2,
        EntryKind::Membership => 3,
    }
}

/// An object with consecutive entries; `None` when there are none.
pub fn encode(cluster: &str, entries: &[LogEntry]) -> Option<(Span, Bytes)> {
    let (first, last) = (entries.first()?.id, entries.last()?.id);
    let header = Header { cluster: cluster.to_owned(), first, last, count: entries.len() as u64 };
    let header = postcard::to_stdvec(&header).ok()?;
    let payloads: usize = entries.iter().map(|entry| entry.payload.len() + 21).sum();
    let mut bytes = Vec::with_capacity(payloads + header.len() + 16);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&header);
    for entry in entries {
        bytes.extend_from_slice(&entry.id.term.to_le_bytes());
        bytes.extend_from_slice(&entry.id.index.to_le_bytes());
        bytes.push(tag(entry.kind));
        bytes.extend_from_slice(&(entry.payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&entry.payload);
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Some((Span { first: first.index, last: last.index }, bytes.into()))
}

/// The entries of an object of this cluster that has this span; the error says what is wrong with it.
pub fn decode(cluster: &str, span: Span, bytes: &Bytes) -> Result<Vec<LogEntry>, String> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or("is cut short")?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return Err("does not have the checksum that it says".to_owned());
    }
    let mut rest = bytes.slice(..body.len());
    let mut take = |count: usize| -> Result<Bytes, String> {
        if rest.len() < count { Err("ends too early".to_owned()) } else { Ok(rest.split_to(count)) }
    };
    if take(MAGIC.len())? != MAGIC[..] {
        return Err("is of another version".to_owned());
    }
    let length = take(4)?.get_u32_le() as usize;
    let header: Header = postcard::from_bytes(&take(length)?).map_err(|error| error.to_string())?;
    if header.cluster != cluster {
        return Err(format!("belongs to cluster {}", header.cluster));
    }
    if (Span { first: header.first.index, last: header.last.index }) != span {
        return Err("does not hold the entries that its name says".to_owned());
    }
    let mut entries = Vec::new();
    for index in span.first..=span.last {
        let mut fixed = take(21)?;
        let id = EntryId { term: fixed.get_u64_le(), index: fixed.get_u64_le() };
        let kind = match fixed.get_u8() {
            0 => EntryKind::Blank,
            1 => EntryKind::Record,
            2 => EntryKind::Records,
            3 => EntryKind::Membership,
            other => return Err(format!("has an entry of the unknown kind {other}")),
        };
        let payload = take(fixed.get_u32_le() as usize)?;
        if id.index != index {
            return Err(format!("has entry {} where entry {index} should be", id.index));
        }
        entries.push(LogEntry { id, kind, payload });
    }
    match entries.len() as u64 == header.count && take(1).is_err() {
        true => Ok(entries),
        false => Err("has another number of entries than it says".to_owned()),
    }
}

/// Reads an object back.
pub async fn read(store: &Store, cluster: &str, span: Span) -> Result<Vec<LogEntry>, BackupError> {
    let name = span.name(cluster);
    let wrong = |why: String| BackupError::Archive(format!("{name} {why}"));
    let bytes = store.read(&name).await?.ok_or_else(|| wrong("is not there".to_owned()))?;
    decode(cluster, span, &bytes).map_err(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries() -> Vec<LogEntry> {
        let entry = |index: u64| LogEntry {
            id: EntryId { term: 1 + index / 12, index },
            kind: if index.is_multiple_of(3) { EntryKind::Blank } else { EntryKind::Record },
            payload: Bytes::from(vec![index as u8; (index as usize % 3) * 50]),
        };
        (10..15).map(entry).collect()
    }

    #[test]
    fn what_is_archived_is_read_back_and_damage_is_seen() {
        let (span, bytes) = encode("abc", &entries()).unwrap();
        assert_eq!(span.name("abc"), "abc/00000000000000000010-00000000000000000014.log");
        assert_eq!(Span::parse(&span.name("abc")), Some(span));
        assert_eq!(decode("abc", span, &bytes).unwrap(), entries());
        assert!(decode("other", span, &bytes).is_err());
        assert!(decode("abc", Span { first: 10, last: 13 }, &bytes).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode("abc", span, &flipped.into()).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode("abc", span, &bytes.slice(..length)).is_err());
        }
        assert_eq!(encode("abc", &[]), None);
    }

    #[test]
    fn only_names_of_spans_are_spans() {
        for name in ["abc/1.log", "abc/2-1.log", "abc/1-2.tmp", "abc/a-b.log", "#1"] {
            assert_eq!(Span::parse(name), None, "{name}");
        }
    }
}
