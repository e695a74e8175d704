//! The log against a disk that loses, tears and refuses.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use engine::commit_log::GroupId;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::memory_disk::{Fault, MemoryDisk};
use super::*;
use crate::Fatal;

pub(super) const GROUP: GroupId = GroupId::FIRST;

fn options() -> WalOptions {
    WalOptions { segment_bytes: 4096, cache_bytes: 512, queue_bytes_max: 1 << 20 }
}

type Failures = Arc<Mutex<Vec<Fatal>>>;

fn try_open(disk: &MemoryDisk) -> Result<(Wal, Failures), WalError> {
    let failures = Failures::default();
    let seen = failures.clone();
    let wal = open(Arc::new(disk.clone()), options(), &[GROUP], Arc::new(move |f| seen.lock().push(f)))?;
    Ok((wal, failures))
}

fn open_wal(disk: &MemoryDisk) -> Wal {
    try_open(disk).unwrap().0
}

fn entry(term: u64, index: u64, size: usize) -> LogEntry {
    let payload = Bytes::from(vec![(term * 31 + index) as u8; size]);
    LogEntry { id: EntryId { term, index }, kind: EntryKind::Record, payload }
}

pub(super) fn waiting() -> (Done, mpsc::Receiver<Result<(), WalError>>) {
    let (sender, receiver) = mpsc::channel();
    (Box::new(move |result| drop(sender.send(result))), receiver)
}

pub(super) fn answer(receiver: &mpsc::Receiver<Result<(), WalError>>) -> Result<(), WalError> {
    receiver.recv_timeout(Duration::from_secs(10)).unwrap()
}

fn append(log: &GroupLog, entries: Vec<LogEntry>) -> Result<(), WalError> {
    let (done, receiver) = waiting();
    log.append(entries, done)?;
    answer(&receiver)
}

fn save_vote(log: &GroupLog, term: u64) {
    let (done, receiver) = waiting();
    log.save_vote(StoredVote { term, node: 7, committed: false }, done);
    answer(&receiver).unwrap();
}

fn all(log: &GroupLog) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    let mut from = log.purged().map_or(0, |id| id.index + 1);
    loop {
        let part = log.span(from..u64::MAX, 1000).load().unwrap();
        match part.last() {
            Some(last) => from = last.id.index + 1,
            None => return entries,
        }
        entries.extend(part);
    }
}

#[test]
fn entries_votes_and_marks_are_read_back_from_the_files() {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    save_vote(&log, 3);
    let entries: Vec<_> = (0..100).map(|i| entry(3, i, 150)).collect();
    append(&log, entries[..50].to_vec()).unwrap();
    log.truncate_after(Some(EntryId { term: 3, index: 19 }), Box::new(|_| {}));
    log.save_committed(EntryId { term: 3, index: 19 });
    append(&log, entries[20..].to_vec()).unwrap();
    assert!(!log.span(0..10, u64::MAX).is_cached(), "the cache is bounded");
    assert_eq!(all(&log), entries);
    drop(wal);
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    assert_eq!(all(&log), entries);
    assert_eq!(log.vote().unwrap(), StoredVote { term: 3, node: 7, committed: false });
    assert_eq!(log.committed(), Some(EntryId { term: 3, index: 19 }));
    assert_eq!(log.bytes_between(97, 99), 2 * entries[0].size());
}

#[test]
fn all_that_wait_share_one_sync() {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    let before = disk.syncs();
    let mut receivers = Vec::new();
    for i in 0..1000 {
        let (done, receiver) = waiting();
        log.append(vec![entry(1, i, 1)], done).unwrap();
        receivers.push(receiver);
    }
    receivers.iter().for_each(|receiver| answer(receiver).unwrap());
    assert!(disk.syncs() - before < 500, "{} syncs", disk.syncs() - before);
}

#[test]
fn segments_behind_the_purge_mark_are_deleted_and_the_rest_survives() {
    let disk = MemoryDisk::default();
    let mut wal = open_wal(&disk);
    let log = wal.group(GROUP);
    save_vote(&log, 9);
    for i in 0..300 {
        append(&log, vec![entry(9, i, 200)]).unwrap();
    }
    let before = disk::Disk::list(&disk).unwrap().len();
    log.purge(EntryId { term: 9, index: 279 });
    append(&log, vec![entry(9, 300, 10)]).unwrap();
    wal.close();
    let after = disk::Disk::list(&disk).unwrap().len();
    assert!(after < before / 2, "{before} segments before, {after} after");
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    assert_eq!(all(&log).first().unwrap().id.index, 280);
    assert_eq!(log.last().unwrap().index, 300);
    assert_eq!(log.vote().unwrap().term, 9);
    assert_eq!(log.purged().unwrap().index, 279);
}

#[test]
fn entries_that_were_found_can_be_read_although_their_segment_goes() {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    for i in 0..100 {
        append(&log, vec![entry(1, i, 200)]).unwrap();
    }
    let found = log.span(0..3, u64::MAX);
    assert!(!found.is_cached());
    log.purge(EntryId { term: 1, index: 79 });
    append(&log, vec![entry(1, 100, 10)]).unwrap();
    // The writer deletes after it answered: one more change shows that it has.
    append(&log, vec![entry(1, 101, 10)]).unwrap();
    assert!(disk::Disk::open(&disk, &format::segment_name(1)).is_err());
    assert_eq!(found.load().unwrap(), (0..3).map(|i| entry(1, i, 200)).collect::<Vec<_>>());
}

#[test]
fn a_purge_beyond_the_last_entry_leaves_an_empty_log_that_goes_on() {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    append(&log, vec![entry(1, 0, 10), entry(1, 1, 10)]).unwrap();
    log.purge(EntryId { term: 4, index: 500 });
    append(&log, vec![entry(4, 501, 10)]).unwrap();
    drop(wal);
    let wal = open_wal(&disk);
    assert_eq!(all(&wal.group(GROUP)), vec![entry(4, 501, 10)]);
}

/// Disk, name of the first segment and end of its last batch, after `count` batches of one entry each.
fn one_segment(count: u64) -> (MemoryDisk, String, usize) {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    for i in 0..count {
        append(&wal.group(GROUP), vec![entry(1, i, 50)]).unwrap();
    }
    drop(wal);
    let name = format::segment_name(1);
    let bytes = disk.content(&name);
    let end = bytes.windows(4).rposition(|window| window == b"LSWM").unwrap();
    assert!(bytes[end + format::MARK..].iter().all(|byte| *byte == 0), "the mark is the last thing");
    (disk, name, end)
}

/// As after a power loss: the mark behind the last batch never reached the disk.
fn unmarked(count: u64) -> (MemoryDisk, String, usize) {
    let (disk, name, end) = one_segment(count);
    disk.damage(&name, |bytes| bytes[end..].fill(0));
    (disk, name, end)
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    let (disk, name, end) = unmarked(10);
    disk.damage(&name, |bytes| bytes[end - 20..end].fill(0xAA));
    let wal = open_wal(&disk);
    let log = wal.group(GROUP);
    assert_eq!(log.last().unwrap().index, 8);
    append(&log, vec![entry(2, 9, 5)]).unwrap();
    drop(wal);
    assert_eq!(open_wal(&disk).group(GROUP).last(), Some(EntryId { term: 2, index: 9 }));
}

#[test]
fn a_torn_write_behind_the_mark_is_cut() {
    let (disk, name, end) = one_segment(10);
    // Of the next batch only a later sector arrived.
    disk.damage(&name, |bytes| bytes[(end + 512).next_multiple_of(512)..][..100].fill(0xAA));
    let wal = open_wal(&disk);
    assert_eq!(wal.group(GROUP).last().unwrap().index, 9);
    append(&wal.group(GROUP), vec![entry(2, 10, 1000)]).unwrap();
    drop(wal);
    assert_eq!(open_wal(&disk).group(GROUP).last(), Some(EntryId { term: 2, index: 10 }));
}

#[test]
fn damage_below_a_later_batch_is_refused() {
    let (disk, name, end) = unmarked(10);
    disk.damage(&name, |bytes| bytes[end / 2] ^= 1);
    let Err(error) = try_open(&disk) else { panic!("opened a damaged log") };
    assert!(matches!(error, WalError::Corrupt(_)), "{error}");
    assert!(error.to_string().contains("is damaged at offset"), "{error}");
}

#[test]
fn a_running_log_marks_what_it_synced() {
    let disk = MemoryDisk::default();
    let wal = open_wal(&disk);
    append(&wal.group(GROUP), vec![entry(1, 0, 50)]).unwrap();
    // Behind a later batch there is no mark of the earlier one.
    append(&wal.group(GROUP), vec![entry(1, 1, 0)]).unwrap();
    let name = format::segment_name(1);
    let marks = || disk.content(&name).windows(4).filter(|window| window == b"LSWM").count();
    // The writer marks when it has answered everybody.
    while marks() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(marks(), 1);
    // The process is killed here: its writes stay.
    let killed = MemoryDisk::default();
    let bytes = disk.content(&name);
    let file = disk::Disk::create(&killed, &name, bytes.len() as u64, false).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    drop(wal);
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() - 60;
    killed.damage(&name, |bytes| bytes[last] ^= 1);
    assert!(matches!(try_open(&killed), Err(WalError::Corrupt(_))));
}

#[test]
fn damage_in_an_older_segment_and_a_missing_segment_are_refused() {
    for remove in [false, true] {
        let disk = MemoryDisk::default();
        let wal = open_wal(&disk);
        for i in 0..100 {
            append(&wal.group(GROUP), vec![entry(1, i, 200)]).unwrap();
        }
        drop(wal);
        if remove {
            disk::Disk::remove(&disk, &format::segment_name(2)).unwrap();
        } else {
            // The last batch of the segment, so that only the next segment shows that it was synced.
            disk.damage(&format::segment_name(2), |bytes| {
                let mark = bytes.windows(4).rposition(|window| window == b"LSWM").unwrap_or(bytes.len());
                let end = bytes[..mark].iter().rposition(|b| *b != 0).unwrap();
                bytes[end] ^= 1;
            });
        }
        assert!(matches!(try_open(&disk), Err(WalError::Corrupt(_))));
    }
}

#[test]
fn every_single_flipped_byte_is_refused() {
    let (disk, name, end) = one_segment(6);
    let expected: Vec<_> = (0..6).map(|i| entry(1, i, 50)).collect();
    for at in 0..end + format::MARK {
        let disk = disk.crashed(&mut StdRng::seed_from_u64(0));
        disk.damage(&name, |bytes| bytes[at] ^= 0x10);
        match try_open(&disk) {
            // The mark itself, and zeros that fill a batch up, carry nothing.
            Ok((wal, _)) => assert_eq!(all(&wal.group(GROUP)), expected, "byte {at}"),
            Err(error) => assert!(matches!(error, WalError::Corrupt(_)) && at < end, "byte {at}: {error}"),
        }
    }
}

#[test]
fn a_batch_that_fills_its_segment_is_marked_too() {
    // Such that the batch ends in the last bytes of the first segment, begins another one, or is larger than any.
    for size in (3700..4100).chain(5000..5016) {
        let disk = MemoryDisk::default();
        let wal = open_wal(&disk);
        append(&wal.group(GROUP), vec![entry(1, 0, 10)]).unwrap();
        append(&wal.group(GROUP), vec![entry(1, 1, size)]).unwrap();
        drop(wal);
        let files = disk.files().into_iter();
        let find = |bytes: &[u8]| bytes.windows(100).position(|window| window == [32; 100]);
        let (name, at) = files.filter_map(|(name, bytes)| Some((name, find(&bytes)?))).next().unwrap();
        disk.damage(&name, |bytes| bytes[at] ^= 0x10);
        assert!(matches!(try_open(&disk), Err(WalError::Corrupt(_))), "an entry of {size} bytes");
    }
}

#[test]
fn a_log_of_another_version_is_told_from_a_damaged_one() {
    let (disk, name, _) = one_segment(1);
    disk.damage(&name, |bytes| {
        bytes[8] += 1;
        // As later versions do it: over the version too.
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..format::SEGMENT_HEADER]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(try_open(&disk), Err(WalError::Version(_))));
}

#[test]
fn without_a_mark_a_flipped_byte_costs_at_most_the_last_batch() {
    let (disk, name, end) = unmarked(6);
    for at in 0..end {
        let disk = disk.crashed(&mut StdRng::seed_from_u64(0));
        disk.damage(&name, |bytes| bytes[at] ^= 0x10);
        if let Ok((wal, _)) = try_open(&disk) {
            let expected: Vec<_> = (0..6).map(|i| entry(1, i, 50)).collect();
            let found = all(&wal.group(GROUP));
            assert!(found == expected || found == expected[..5], "byte {at}: {found:?}");
        }
    }
}

#[test]
fn a_failed_write_sync_or_allocation_is_final() {
    for fault in [Fault::Write, Fault::Sync, Fault::Allocation] {
        let disk = MemoryDisk::default();
        let (wal, failures) = try_open(&disk).unwrap();
        let log = wal.group(GROUP);
        append(&log, vec![entry(1, 0, 10)]).unwrap();
        disk.fail_next(fault);
        // Large enough to need a new segment.
        append(&log, vec![entry(1, 1, 4000)]).unwrap_err();
        assert_eq!(failures.lock().len(), 1, "{fault:?}");
        append(&log, vec![entry(1, 2, 10)]).unwrap_err();
        assert_eq!(failures.lock().len(), 1, "{fault:?}: nothing is retried");
        drop(wal);
        let last = open_wal(&disk.crashed(&mut StdRng::seed_from_u64(1))).group(GROUP).last();
        assert!(last >= Some(EntryId { term: 1, index: 0 }), "{fault:?}");
    }
}

#[test]
fn a_full_disk_is_said_and_waited_out() {
    let disk = MemoryDisk::default();
    let (wal, failures) = try_open(&disk).unwrap();
    let log = wal.group(GROUP);
    append(&log, vec![entry(1, 0, 100)]).unwrap();
    assert!(!log.is_full());
    disk.set_full(true);
    // More than half of the segment is used: the next one is wanted, and the present one still takes writes.
    append(&log, vec![entry(1, 1, 2500)]).unwrap();
    while !log.is_full() {
        std::thread::yield_now();
    }
    append(&log, vec![entry(1, 2, 100)]).unwrap();
    // What does not fit any more waits, and so does what comes behind it.
    let (done, waits) = waiting();
    log.append(vec![entry(1, 3, 3000)], done).unwrap();
    let (done, waits_too) = waiting();
    log.append(vec![entry(1, 4, 10)], done).unwrap();
    assert_eq!(log.synced(), Some(EntryId { term: 1, index: 2 }));
    assert!(waits.try_recv().is_err() && waits_too.try_recv().is_err());
    disk.set_full(false);
    answer(&waits).unwrap();
    answer(&waits_too).unwrap();
    assert!(!log.is_full() && failures.lock().is_empty());
    drop(wal);
    assert_eq!(open_wal(&disk).group(GROUP).last(), Some(EntryId { term: 1, index: 4 }));
}

#[test]
fn a_log_without_space_can_be_closed() {
    let disk = MemoryDisk::default();
    let (mut wal, failures) = try_open(&disk).unwrap();
    let log = wal.group(GROUP);
    append(&log, vec![entry(1, 0, 100)]).unwrap();
    disk.set_full(true);
    let (done, waits) = waiting();
    log.append(vec![entry(1, 1, 4000)], done).unwrap();
    while !log.is_full() {
        std::thread::yield_now();
    }
    wal.close();
    answer(&waits).unwrap_err();
    assert!(failures.lock().is_empty(), "asked to stop, it stops");
    drop(wal);
    assert_eq!(open_wal(&disk).group(GROUP).last(), Some(EntryId { term: 1, index: 0 }));
}

/// Random work, a power loss at a random moment, recovery: everything acknowledged is there, in order, and what is
/// there beyond it was written.
#[test]
fn what_was_acknowledged_survives_power_loss() {
    let seed: u64 =
        std::env::var("SEED").map_or_else(|_| u64::from(rand::random::<u32>()), |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    for round in 0..200 {
        let mut random = StdRng::seed_from_u64(seed + round);
        let mut disk = MemoryDisk::default();
        let mut model: Vec<LogEntry> = Vec::new();
        let mut purged = 0;
        let mut term = 1;
        for _ in 0..3 {
            let wal = open_wal(&disk);
            let log = wal.group(GROUP);
            let found = all(&log);
            assert_eq!(found, model[purged..], "round {round}");
            for _ in 0..random.random_range(1..30) {
                step(&log, &mut random, &mut model, &mut purged, &mut term);
            }
            // One more change whose fate is open.
            let next = entry(term, model.len() as u64, random.random_range(0..3000));
            log.append(vec![next.clone()], Box::new(|_| {})).unwrap();
            let crashed = disk.crashed(&mut random);
            drop(wal);
            disk = crashed;
            let wal = open_wal(&disk);
            let log = wal.group(GROUP);
            assert_eq!(log.vote().map(|vote| vote.term), (term > 1).then_some(term), "round {round}");
            if log.last() == Some(next.id) {
                model.push(next);
            }
            // The cut tail stays cut, the found tail stays found, whatever the next crash does.
            disk = disk.crashed(&mut random);
        }
    }
}

fn step(log: &GroupLog, random: &mut StdRng, model: &mut Vec<LogEntry>, purged: &mut usize, term: &mut u64) {
    match random.random_range(0..10) {
        0 => {
            *term += 1;
            save_vote(log, *term);
        }
        1 if model.len() > *purged => {
            let keep = random.random_range(*purged..model.len());
            model.truncate(keep);
            let (done, truncated) = waiting();
            log.truncate_after(model.last().map(|entry| entry.id), done);
            if random.random() {
                answer(&truncated).unwrap();
            }
            let next = entry(*term, keep as u64, 20);
            append(log, vec![next.clone()]).unwrap();
            model.push(next);
        }
        2 if model.len() > *purged => {
            let upto = random.random_range(*purged..model.len());
            log.purge(model[upto].id);
            *purged = upto + 1;
            save_vote(log, *term + 1);
            *term += 1;
        }
        _ => {
            let count = random.random_range(1..4);
            let entries: Vec<_> =
                (0..count).map(|i| entry(*term, (model.len() + i) as u64, random.random_range(0..1500))).collect();
            append(log, entries.clone()).unwrap();
            model.extend(entries);
        }
    }
}
