//! What fuzzers feed: the reader of the log. Compiled for tests and for `fuzz/` alone.
//!
//! Whatever the files hold, the answer is a log or an error that says what is wrong: no panic, and no allocation that
//! the files do not pay for.

use std::collections::BTreeMap;

use engine::commit_log::GroupId;

use crate::wal::fuzzing as wal;

/// One or two segment files, as they are: the first byte says where the second one begins.
pub fn segments(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let (first, second) = bytes.split_at((usize::from(*cut) * 64).min(bytes.len()));
    let mut files = BTreeMap::from([(wal::name(1), first.to_vec())]);
    if !second.is_empty() {
        files.insert(wal::name(2), second.to_vec());
    }
    wal::recover(files);
}

/// Records whose checksums are right and which may contradict each other: 18 bytes each.
pub fn records(bytes: &[u8]) {
    wal::recover(wal::encode(bytes));
}

/// What another node sends as one entry.
pub fn packed(bytes: &[u8]) {
    let _ = crate::raft::types::Records::received(bytes).unpack();
}

/// Groups that the log is opened with.
pub(crate) const GROUPS: &[GroupId] = &[GroupId::FIRST];

#[cfg(test)]
#[path = "../../fuzz/mutate.rs"]
mod mutate;

#[cfg(test)]
mod tests {
    use super::mutate::Target;
    use super::*;

    /// As `fuzz/fuzz_targets/wal.rs` chooses.
    fn target(function: u8) -> Target {
        Target { name: "wal", function: Some((function, 3)) }
    }

    #[test]
    fn no_segment_ends_the_process() {
        let mut seeds = Vec::new();
        for records in [&[1, 2, 3][..], &[4, 1, 6, 9, 1, 2], &[7, 8, 10, 11, 2, 2]] {
            let records: Vec<u8> =
                records.iter().enumerate().flat_map(|(i, kind)| wal::one(*kind, 1, i as u64, 0)).collect();
            for (_, segment) in wal::encode(&records) {
                seeds.push([&[u8::MAX][..], &segment].concat());
                seeds.push([&[2][..], &segment].concat());
            }
        }
        target(0).feed(&seeds, segments);
    }

    #[test]
    fn no_records_end_the_process() {
        let mut seeds = vec![Vec::new()];
        for number in [0, 1, u64::MAX - 1, u64::MAX] {
            for kind in 0..13 {
                seeds.push([wal::one(2, 1, 0, 1), wal::one(kind, 1, number, 0), wal::one(2, 2, 1, 0)].concat());
            }
        }
        target(1).feed(&seeds, records);
    }

    #[test]
    fn no_packed_entry_ends_the_process() {
        target(2).feed(&[vec![3, 0, 0, 0, 1, 2, 3, 1, 0, 0, 0, 9], vec![0, 0, 0, 0]], packed);
    }
}
