//! Every place at which the power can fail: a long trace of changes runs on a disk that writes a journal of all that was
//! asked of it; then the disk is rebuilt as it may be found after each single write, sync, creation and deletion, and
//! the log is recovered from it.
//!
//! What has to hold at each point: recovery succeeds, and the log is what some prefix of the changes makes, no shorter
//! than the last acknowledged change and no longer than the last one that was asked for. So nothing acknowledged is
//! missing, and nothing that was voided or never asked for is there. What recovery found stays, whatever the next power
//! loss does, and a power loss during recovery is one like any other.
//!
//! `LOCKSTEP_SEED` repeats a run, `LOCKSTEP_CRASH_STRIDE=1` takes every point (the default takes some of each life of
//! the log), `LOCKSTEP_CRASH_OPERATIONS` is the length of the trace.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::disk::{Disk, DiskFile};
use super::memory_disk::{Fault, MemoryDisk};
use super::tests::{GROUP, answer, waiting};
use super::*;

const SECTOR: usize = 512;

/// What was asked of the disk, and what the log was asked for and answered meanwhile.
#[derive(Clone)]
pub(crate) enum Event {
    Creating(String, u64),
    Created(String),
    Write(String, u64, Vec<u8>),
    /// The disk was asked to sync; until it answers all may be lost.
    Synced(String),
    Removed(String),
    Asked(usize),
    Acknowledged(usize),
    /// So many checkpoints were published.
    Published(usize),
}

pub(crate) type Journal = Arc<Mutex<Vec<Event>>>;

/// A disk that notes everything before it happens, a sync and the end of a creation after.
#[derive(Clone)]
pub(crate) struct JournaledDisk {
    pub inner: MemoryDisk,
    pub journal: Journal,
}

impl JournaledDisk {
    pub fn new(inner: MemoryDisk) -> Self {
        Self { inner, journal: Journal::default() }
    }

    fn note(&self, event: Event) {
        self.journal.lock().push(event);
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(JournaledFile { disk: self.clone(), name: name.to_owned(), inner })
    }
}

impl Disk for JournaledDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, size: u64, written: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.note(Event::Creating(name.to_owned(), size));
        let inner = self.inner.create(name, size, written)?;
        self.note(Event::Created(name.to_owned()));
        Ok(self.file(name, inner))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.note(Event::Removed(name.to_owned()));
        self.inner.remove(name)
    }
}

struct JournaledFile {
    disk: JournaledDisk,
    name: String,
    inner: Arc<dyn DiskFile>,
}

impl DiskFile for JournaledFile {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        self.inner.read_all()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.inner.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.note(Event::Write(self.name.clone(), offset, bytes.to_vec()));
        self.inner.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.disk.note(Event::Synced(self.name.clone()));
        Ok(())
    }
}

/// What of the unsynced writes is on the disk after the power came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Nothing.
    All,
    /// Everything.
    Nothing,
    /// Of each sector of each write either, by chance.
    Sectors,
    /// All before the last write, and of that a part that ends anywhere.
    Torn,
}

impl Loss {
    pub const EACH: [Loss; 4] = [Loss::All, Loss::Nothing, Loss::Sectors, Loss::Torn];
}

#[derive(Clone, Default)]
struct Platter {
    synced: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl Platter {
    fn write(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
        if bytes.len() < at + written.len() {
            bytes.resize(at + written.len(), 0);
        }
        bytes[at..at + written.len()].copy_from_slice(written);
    }

    fn sync(&mut self) {
        for (at, written) in std::mem::take(&mut self.pending) {
            Self::write(&mut self.synced, at, &written);
        }
    }

    fn after(&self, loss: Loss, random: &mut StdRng) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for (i, (at, written)) in self.pending.iter().enumerate() {
            match loss {
                Loss::All => {}
                Loss::Nothing => Self::write(&mut bytes, *at, written),
                Loss::Torn => {
                    let last = i + 1 == self.pending.len();
                    let end = if last { random.random_range(0..=written.len()) } else { written.len() };
                    Self::write(&mut bytes, *at, &written[..end]);
                }
                Loss::Sectors => {
                    let mut from = 0;
                    while from < written.len() {
                        let to = ((at + from + 1).next_multiple_of(SECTOR) - at).min(written.len());
                        if random.random() {
                            Self::write(&mut bytes, at + from, &written[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        bytes
    }
}

/// The disk as the journal has it so far.
#[derive(Clone, Default)]
pub(crate) struct Medium {
    files: BTreeMap<String, Platter>,
    /// A file that is being created: its size and content may be anything up to what was asked for.
    creating: Option<(String, u64)>,
    /// Deleted since the directory was synced, in order.
    removed: Vec<(String, Platter)>,
}

impl Medium {
    pub fn of(disk: &MemoryDisk) -> Self {
        let names = disk.list().unwrap();
        let platter = |name: &String| Platter { synced: disk.content(name), pending: Vec::new() };
        Self { files: names.iter().map(|name| (name.clone(), platter(name))).collect(), ..Self::default() }
    }

    pub fn follow(&mut self, event: &Event) {
        match event {
            Event::Creating(name, size) => self.creating = Some((name.clone(), *size)),
            Event::Created(name) => {
                let (_, size) = self.creating.take().unwrap();
                self.files.insert(name.clone(), Platter { synced: vec![0; size as usize], pending: Vec::new() });
                self.removed.clear();
            }
            Event::Write(name, at, bytes) => match self.files.get_mut(name) {
                Some(platter) => platter.pending.push((*at as usize, bytes.clone())),
                None => panic!("{name} is written before it exists"),
            },
            Event::Synced(name) => self.files.get_mut(name).unwrap().sync(),
            Event::Removed(name) => {
                let platter = self.files.remove(name).unwrap();
                self.removed.push((name.clone(), platter));
            }
            Event::Asked(_) | Event::Acknowledged(_) | Event::Published(_) => {}
        }
    }

    /// The disk after a power loss now. Deletions are lost in the reverse order of their making, as in a file system
    /// with a journal.
    pub fn after(&self, loss: Loss, random: &mut StdRng) -> MemoryDisk {
        let mut files: BTreeMap<String, Vec<u8>> =
            self.files.iter().map(|(name, platter)| (name.clone(), platter.after(loss, random))).collect();
        let gone = match loss {
            Loss::All => 0,
            Loss::Nothing => self.removed.len(),
            _ => random.random_range(0..=self.removed.len()),
        };
        for (name, platter) in &self.removed[gone..] {
            files.insert(name.clone(), platter.after(loss, random));
        }
        if let Some((name, size)) = &self.creating {
            let size = match loss {
                Loss::All => None,
                Loss::Nothing => Some(*size),
                _ => Some(random.random_range(0..=*size)),
            };
            files.extend(size.map(|size| (name.clone(), vec![0; size as usize])));
        }
        MemoryDisk::holding(files)
    }
}

/// One change of the log.
#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<LogEntry>),
    Vote(u64),
    Committed(EntryId),
    Truncate(Option<EntryId>),
    Purge(EntryId),
}

/// What the log has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    entries: Vec<LogEntry>,
    vote: Option<u64>,
    committed: Option<EntryId>,
    purged: Option<EntryId>,
}

impl Model {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Append(entries) => self.entries.extend(entries.iter().cloned()),
            Operation::Vote(term) => self.vote = Some(*term),
            Operation::Committed(id) => self.committed = Some(*id),
            Operation::Truncate(last) => self.entries.retain(|entry| Some(entry.id.index) <= last.map(|id| id.index)),
            Operation::Purge(upto) => {
                self.entries.retain(|entry| entry.id.index > upto.index);
                self.purged = Some(*upto);
            }
        }
    }

    fn last(&self) -> Option<EntryId> {
        self.entries.last().map(|entry| entry.id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |id| id.index + 1)
    }

    /// What recovery finds on a disk.
    fn recover(disk: &dyn Disk) -> Result<Self, WalError> {
        let recovered = recovery::recover(disk, &[GROUP])?;
        let state = &recovered.groups[&GROUP];
        let mut model = Self {
            entries: Vec::new(),
            vote: state.vote.map(|vote| vote.term),
            committed: state.committed,
            purged: state.purged,
        };
        for index in model.next_index()..=state.last().map_or(0, |id| id.index) {
            let Some(slot) = state.slot(index) else { break };
            let segment = recovered.segments.iter().find(|segment| segment.number == slot.segment).unwrap();
            let mut bytes = vec![0; format::RECORD_HEADER + slot.length as usize];
            segment.file.read_exact_at(&mut bytes, slot.offset).unwrap();
            let (record, _) = format::read_record(&bytes, slot.offset).unwrap();
            let payload = Bytes::copy_from_slice(record.payload);
            model.entries.push(LogEntry { id: EntryId { term: slot.term, index }, kind: slot.kind, payload });
        }
        assert_eq!(state.last(), model.last());
        Ok(model)
    }
}

/// One opening of the log, up to a power loss or a broken disk.
struct Life {
    before: MemoryDisk,
    /// What the log held when it was opened.
    model: Model,
    operations: Vec<Operation>,
    journal: Vec<Event>,
}

/// Draws a change that fits what the log holds.
fn draw(model: &Model, term: &mut u64, random: &mut StdRng) -> Vec<Operation> {
    let entry = |term: u64, index: u64, random: &mut StdRng| {
        let size = if random.random_bool(0.05) { random.random_range(0..6000) } else { random.random_range(0..400) };
        let payload = Bytes::from((0..size).map(|_| random.random::<u8>()).collect::<Vec<_>>());
        LogEntry { id: EntryId { term, index }, kind: EntryKind::Record, payload }
    };
    let held = model.entries.len();
    match random.random_range(0..100) {
        0..6 => {
            *term += 1;
            vec![Operation::Vote(*term)]
        }
        6..12 if held > 0 => {
            // A new primary's entries replace what the old one had not committed.
            let keep = random.random_range(held.saturating_sub(5)..held);
            let last = keep.checked_sub(1).map(|at| model.entries[at].id).or(model.purged);
            *term += 1;
            let next = last.map_or(0, |id| id.index + 1);
            vec![Operation::Truncate(last), Operation::Append(vec![entry(*term, next, random)])]
        }
        12..20 => model.last().map(Operation::Committed).into_iter().collect(),
        // A checkpoint was published.
        20..24 if held > 20 => vec![Operation::Purge(model.entries[random.random_range(held / 2..held)].id)],
        _ => {
            let count = random.random_range(1..4);
            let entries = (0..count).map(|i| entry(*term, model.next_index() + i, random)).collect();
            vec![Operation::Append(entries)]
        }
    }
}

fn perform(log: &GroupLog, operation: &Operation, done: Done) {
    match operation.clone() {
        Operation::Append(entries) => log.append(entries, done).unwrap(),
        Operation::Vote(term) => log.save_vote(StoredVote { term, node: 7, committed: false }, done),
        Operation::Committed(id) => log.save_committed(id),
        Operation::Truncate(last) => log.truncate_after(last, done),
        Operation::Purge(upto) => log.purge(upto),
    }
}

/// Runs `count` changes on what `disk` holds and ends with a power loss, or a disk that breaks.
fn live(disk: MemoryDisk, model: Model, count: usize, term: &mut u64, random: &mut StdRng) -> Life {
    let before = MemoryDisk::holding(disk.files());
    let journaled = JournaledDisk::new(disk);
    let segment_bytes = [4096, 16384][random.random_range(0..2)];
    let options = WalOptions { segment_bytes, cache_bytes: 512, queue_bytes_max: 1 << 20 };
    let wal = open(Arc::new(journaled.clone()), options, &[GROUP], Arc::new(|_| {})).unwrap();
    let log = wal.group(GROUP);
    let mut state = model.clone();
    let mut operations = Vec::new();
    let mut awaited = Vec::new();
    let breaks = [None, Some(Fault::Sync), Some(Fault::Write)][random.random_range(0..3)];
    while operations.len() < count {
        for operation in draw(&state, term, random) {
            let number = operations.len();
            let (done, receiver) = waiting();
            let journal = journaled.journal.clone();
            let done: Done = Box::new(move |result: Result<(), WalError>| {
                if result.is_ok() {
                    journal.lock().push(Event::Acknowledged(number));
                }
                done(result);
            });
            state.apply(&operation);
            journaled.note(Event::Asked(number));
            perform(&log, &operation, done);
            if !matches!(operation, Operation::Committed(_) | Operation::Purge(_)) {
                awaited.push(receiver);
            }
            operations.push(operation);
        }
        // Several may share a batch.
        if awaited.len() > random.random_range(0..6) {
            awaited.drain(..).for_each(|receiver| answer(&receiver).unwrap());
        }
    }
    awaited.drain(..).for_each(|receiver| answer(&receiver).unwrap());
    if let Some(fault) = breaks {
        journaled.inner.fail_next(fault);
    }
    // One more change whose fate is open.
    let last = Operation::Vote(*term + 1);
    *term += 1;
    journaled.note(Event::Asked(operations.len()));
    let (done, receiver) = waiting();
    perform(&log, &last, done);
    operations.push(last);
    if breaks.is_some() {
        answer(&receiver).unwrap_err();
    }
    let journal = journaled.journal.lock().clone();
    drop(wal);
    Life { before, model, operations, journal }
}

/// What was looked at.
#[derive(Default)]
struct Counts {
    points: AtomicU64,
    recoveries: AtomicU64,
    within_recovery: AtomicU64,
}

impl Life {
    /// The number of changes that the log of a crashed disk shows.
    fn found(&self, base: &Model, acknowledged: usize, asked: usize, found: &Model) -> Option<usize> {
        let mut model = base.clone();
        let mut number = acknowledged;
        loop {
            if model == *found {
                return Some(number);
            }
            if number == asked {
                return None;
            }
            model.apply(&self.operations[number]);
            number += 1;
        }
    }

    /// Recovers after a power loss at each `stride`-th event, the first of which is `phase`.
    fn check(&self, seed: u64, stride: usize, phase: usize, counts: &Counts) {
        let mut medium = Medium::of(&self.before);
        // What the changes up to the last acknowledged one make.
        let mut base = self.model.clone();
        let (mut acknowledged, mut asked) = (0, 0);
        for (at, event) in self.journal.iter().enumerate() {
            medium.follow(event);
            match event {
                Event::Asked(number) => asked = number + 1,
                Event::Acknowledged(number) => {
                    for operation in &self.operations[acknowledged..=*number] {
                        base.apply(operation);
                    }
                    acknowledged = number + 1;
                }
                _ => {}
            }
            if at % stride != phase % stride {
                continue;
            }
            counts.points.fetch_add(1, Ordering::Relaxed);
            for loss in Loss::EACH {
                let mut random = StdRng::seed_from_u64(seed ^ ((at as u64) << 8));
                let place = format!("seed {seed}, event {at}, loss {loss:?}");
                self.check_point(
                    &medium.after(loss, &mut random),
                    &base,
                    acknowledged,
                    asked,
                    &mut random,
                    &place,
                    counts,
                );
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn check_point(
        &self,
        disk: &MemoryDisk,
        base: &Model,
        acknowledged: usize,
        asked: usize,
        random: &mut StdRng,
        place: &str,
        counts: &Counts,
    ) {
        let mut medium = Medium::of(disk);
        let journaled = JournaledDisk::new(disk.clone());
        let model = Model::recover(&journaled).unwrap_or_else(|error| panic!("{place}: {error}"));
        counts.recoveries.fetch_add(1, Ordering::Relaxed);
        let number = self.found(base, acknowledged, asked, &model);
        assert!(number.is_some(), "{place}: {acknowledged} acknowledged, {asked} asked for, found {model:?}");
        let within = random.random_bool(0.1);
        for event in journaled.journal.lock().iter() {
            medium.follow(event);
            if within {
                // The power fails again while the log is recovered.
                let again = medium.after(Loss::EACH[random.random_range(0..4)], random);
                let model = Model::recover(&again).unwrap_or_else(|error| panic!("{place}, then again: {error}"));
                assert!(self.found(base, acknowledged, asked, &model).is_some(), "{place}, then again: {model:?}");
                counts.within_recovery.fetch_add(1, Ordering::Relaxed);
            }
        }
        // What was found may have been told: it stays.
        let again = Model::recover(&medium.after(Loss::All, random)).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(again, model, "{place}: what was recovered did not last");
    }
}

fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

pub(crate) fn seed() -> u64 {
    let seed = number("LOCKSTEP_SEED").map_or_else(rand::random::<u32>, |seed| seed as u32);
    println!("LOCKSTEP_SEED={seed}");
    seed.into()
}

#[test]
fn every_crash_point_recovers_what_was_acknowledged() {
    const LIFE: usize = 500;
    let seed = seed();
    let operations = number("LOCKSTEP_CRASH_OPERATIONS").unwrap_or(10_000);
    let stride = number("LOCKSTEP_CRASH_STRIDE").unwrap_or(25).max(1);
    let mut random = StdRng::seed_from_u64(seed);
    let (mut disk, mut model, mut term) = (MemoryDisk::default(), Model::default(), 1);
    let mut lives = Vec::new();
    for _ in 0..operations.div_ceil(LIFE) {
        let life = live(disk, model, LIFE, &mut term, &mut random);
        let mut medium = Medium::of(&life.before);
        life.journal.iter().for_each(|event| medium.follow(event));
        let loss = Loss::EACH[random.random_range(0..4)];
        disk = medium.after(loss, &mut random);
        model = Model::recover(&disk).unwrap();
        lives.push(life);
    }
    let counts = Counts::default();
    let performed: usize = lives.iter().map(|life| life.operations.len()).sum();
    let events: usize = lives.iter().map(|life| life.journal.len()).sum();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let check = || {
            while let Some(life) = lives.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                life.check(seed, stride, seed as usize, &counts);
            }
        };
        let threads: Vec<_> =
            (0..std::thread::available_parallelism().map_or(1, |n| n.get())).map(|_| scope.spawn(check)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let (points, recoveries, within) =
        (counts.points.into_inner(), counts.recoveries.into_inner(), counts.within_recovery.into_inner());
    println!(
        "{performed} changes, {events} events, {points} crash points: {recoveries} recoveries, {within} more of a log \
         whose recovery was cut short; all points with LOCKSTEP_CRASH_STRIDE=1"
    );
    assert!(points as usize >= events / stride / 2);
}
