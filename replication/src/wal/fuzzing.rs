//! Segment files for the fuzzers, made of bytes.

use std::collections::BTreeMap;

use engine::commit_log::GroupId;

use super::format::{self, BatchEncoder, RecordKind};
use super::memory_disk::MemoryDisk;
use super::recovery;

/// Bytes of one described record: kind, end of a batch, term, number.
const DESCRIBED: usize = 18;
const SALT: u32 = 7;

pub(crate) fn name(segment: u64) -> String {
    format::segment_name(segment)
}

pub(crate) fn recover(files: BTreeMap<String, Vec<u8>>) {
    let disk = MemoryDisk::holding(files);
    if recovery::recover(&disk, crate::fuzzing::GROUPS).is_ok() {
        // What was mended can be read again.
        let again = recovery::recover(&disk, crate::fuzzing::GROUPS);
        assert!(again.is_ok(), "{:?}", again.err());
    }
}

/// Describes one record.
#[cfg(test)]
pub(crate) fn one(kind: u8, term: u64, number: u64, ends: u8) -> Vec<u8> {
    [&[kind, ends][..], &term.to_le_bytes(), &number.to_le_bytes()].concat()
}

/// One segment with the records described, whose checksums are right.
pub(crate) fn encode(described: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut segment = format::segment_header(1, 1, SALT).to_vec();
    let mut encoder = BatchEncoder::default();
    let mut sequence = 1;
    encoder.begin();
    for record in described.chunks_exact(DESCRIBED) {
        let [kind, ends, numbers @ ..] = record else { continue };
        let (term, number) = numbers.split_at(8);
        let read = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        if let Some(kind) = RecordKind::from_parts(*kind % 13, read(term), read(number)) {
            encoder.record(GroupId::FIRST, kind, &[*ends; 3]);
        }
        if ends % 2 == 1 {
            segment.extend_from_slice(encoder.finish(sequence, SALT));
            sequence += 1;
            encoder.begin();
        }
    }
    segment.extend_from_slice(encoder.finish(sequence, SALT));
    segment.extend_from_slice(&[0; 64]);
    BTreeMap::from([(name(1), segment)])
}
