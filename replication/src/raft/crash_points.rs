//! The engine behind every power loss: records that SQL made go through the log and into checkpoints, the power fails
//! at each event, and a new engine that restores the checkpoint and applies what the log still holds has to show a
//! state that was acknowledged, or a later one, and never one in between two commits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use engine::commit_log::{GroupId, Record, Role, SharedStateMachine};
use engine::session::{Startup, Step};
use engine::txn::memory_log::MemoryLog;
use engine::{Engine, EngineConfig, Session};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::checkpoints::{CheckpointMeta, Checkpoints, StoredCheckpoint};
use super::types::{self, StoredMembership};
use crate::wal::crash_points::{Event, JournaledDisk, Loss, Medium, seed};
use crate::wal::memory_disk::MemoryDisk;
use crate::wal::{self, EntryId, EntryKind, LogEntry, WalOptions};

const COMMITS: usize = 400;
const KEYS: i32 = 30;
const READ: &str = "SELECT '[' || coalesce(string_agg(k || '=' || v, ' ' ORDER BY k), '') || ']' FROM t";

fn engine() -> Arc<Engine> {
    Engine::new(EngineConfig { partitions: 2, query_threads: 1, memory_limit: 1 << 28, ..EngineConfig::default() })
}

async fn connect(engine: &Arc<Engine>) -> Session {
    let startup =
        Startup { user: "postgres".into(), database: "postgres".into(), parameters: Vec::new(), client: None };
    engine.connect(startup).await.unwrap()
}

/// Runs one query and gives what it answered, in whatever form.
async fn run(session: &mut Session, sql: &str) -> String {
    let mut rows = String::new();
    for _ in 0..session.begin_simple(sql).unwrap() {
        session.next_simple().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        loop {
            match session.step("", 0).await.unwrap_or_else(|error| panic!("{sql}: {error}")) {
                Step::Rows(some) => rows.push_str(&format!("{some:?}")),
                Step::Complete(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    session.sync().await.unwrap();
    rows
}

fn shown(model: &BTreeMap<i32, i32>) -> String {
    let pairs: Vec<String> = model.iter().map(|(k, v)| format!("{k}={v}")).collect();
    format!("[{}]", pairs.join(" "))
}

/// The records of random commits, and what the table shows after each of them.
async fn commits(random: &mut StdRng) -> (Vec<Record>, Vec<String>) {
    let engine = engine();
    let log = MemoryLog::start(engine.state_machine());
    engine.attach_log(log.clone());
    let mut session = connect(&engine).await;
    run(&mut session, "CREATE TABLE t (k int PRIMARY KEY, v int NOT NULL)").await;
    let mut model = BTreeMap::new();
    let mut states = vec![shown(&model)];
    while states.len() < COMMITS {
        // Several rows in one commit: half of it must never be seen.
        let mut sql = String::from("BEGIN;");
        let before = model.clone();
        for _ in 0..random.random_range(1..4) {
            let (k, v) = (random.random_range(0..KEYS), random.random_range(0..1_000_000));
            if random.random_bool(0.2) {
                model.remove(&k);
                sql.push_str(&format!("DELETE FROM t WHERE k = {k};"));
            } else {
                model.insert(k, v);
                sql.push_str(&format!("INSERT INTO t VALUES ({k}, {v}) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v;"));
            }
        }
        if model != before {
            run(&mut session, &format!("{sql}COMMIT")).await;
            states.push(shown(&model));
        }
    }
    assert!(run(&mut session, READ).await.contains(&states[COMMITS - 1]));
    let records = log.records();
    assert_eq!(records.len(), states.len(), "one record a commit");
    (records, states)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A node that follows the log, and what it published.
struct Node {
    machine: SharedStateMachine,
    checkpoints: Checkpoints,
    /// Copies of the published checkpoints: directory, last entry.
    kept: Vec<(PathBuf, EntryId)>,
    directory: tempfile::TempDir,
    applied: usize,
}

impl Node {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(directory.path().join("checkpoints")).unwrap();
        Self { machine: engine().state_machine(), checkpoints, kept: Vec::new(), directory, applied: 0 }
    }

    fn publish(&mut self, last: EntryId) -> Arc<StoredCheckpoint> {
        let position = types::position(last.index, 0);
        let meta = CheckpointMeta { last: Some(last), membership: StoredMembership::default(), position };
        let stored = self.checkpoints.write(self.machine.begin_checkpoint(), meta, &|| 1.0).unwrap();
        let kept = self.directory.path().join(format!("kept-{}", self.kept.len()));
        copy(&stored.state(), &kept);
        self.kept.push((kept, last));
        stored
    }
}

/// Restores, applies and asks.
async fn recovered(checkpoint: Option<&Path>, records: &[Record], from: usize, to: usize) -> String {
    let engine = engine();
    let machine = engine.state_machine();
    if let Some(checkpoint) = checkpoint {
        machine.restore(checkpoint).unwrap();
    }
    for (index, record) in records.iter().enumerate().take(to).skip(from) {
        machine.apply(types::position(index as u64, 0), record);
    }
    let log = MemoryLog::start(machine.clone());
    log.lose_leadership(false);
    machine.set_role(Role::Standby { primary: None });
    engine.attach_log(log);
    run(&mut connect(&engine).await, READ).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_crash_point_shows_a_state_of_the_tables_that_was_committed() {
    const GROUP: GroupId = GroupId::FIRST;
    let seed = seed();
    let stride = std::env::var("LOCKSTEP_CRASH_STRIDE").ok().map_or(16, |text| text.parse::<usize>().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let (records, states) = commits(&mut random).await;
    let disk = JournaledDisk::new(MemoryDisk::default());
    let options = WalOptions { segment_bytes: 8192, cache_bytes: 512, queue_bytes_max: 1 << 20 };
    let wal = wal::open(Arc::new(disk.clone()), options, &[GROUP], Arc::new(|_| {})).unwrap();
    let log = wal.group(GROUP);
    let mut node = Node::new();
    let mut term = 1;
    while node.applied < records.len() {
        let next = log.last().map_or(0, |id| id.index as usize + 1);
        let count = random.random_range(1..5).min(records.len() - next);
        let entry = |index: usize| LogEntry {
            id: EntryId { term, index: index as u64 },
            kind: EntryKind::Record,
            payload: Bytes::clone(&records[index]),
        };
        let (done, written) = std::sync::mpsc::channel();
        log.append((next..next + count).map(entry).collect(), Box::new(move |result| drop(done.send(result)))).unwrap();
        written.recv().unwrap().unwrap();
        let end = next + count;
        if end - node.applied > 1 && random.random_bool(0.1) {
            // Another primary, which does not have all of them.
            let keep = random.random_range(node.applied + 1..end) as u64 - 1;
            let last = log.entry_id(keep);
            let (done, written) = std::sync::mpsc::channel();
            log.truncate_after(last, Box::new(move |result| drop(done.send(result))));
            written.recv().unwrap().unwrap();
            term += 1;
        }
        // Committed and acknowledged: some of what is written, at the end all.
        let end = log.last().map_or(0, |id| id.index as usize + 1);
        let upto = if end == records.len() { end } else { random.random_range(node.applied..=end) };
        for index in node.applied..upto {
            node.machine.apply(types::position(index as u64, 0), &records[index]);
        }
        node.applied = upto;
        if upto > 0 {
            disk.journal.lock().push(Event::Acknowledged(upto - 1));
        }
        if upto > 0 && random.random_bool(0.08) {
            let last = log.entry_id(upto as u64 - 1);
            if let Some(last) = last.filter(|last| node.kept.last().is_none_or(|(_, kept)| kept < last)) {
                node.publish(last);
                disk.journal.lock().push(Event::Published(node.kept.len()));
                log.purge(last);
            }
        }
    }
    let journal = disk.journal.lock().clone();
    drop(wal);

    let (mut medium, mut acknowledged, mut published) = (Medium::default(), 0, 0);
    let mut points = 0;
    for (at, event) in journal.iter().enumerate() {
        medium.follow(event);
        match event {
            Event::Acknowledged(index) => acknowledged = index + 1,
            Event::Published(number) => published = *number,
            _ => {}
        }
        if at % stride != seed as usize % stride || acknowledged == 0 {
            continue;
        }
        let loss = Loss::EACH[random.random_range(0..4)];
        let crashed = medium.after(loss, &mut random);
        let wal = wal::open(Arc::new(crashed), options, &[GROUP], Arc::new(|_| {})).unwrap();
        let log = wal.group(GROUP);
        let held = log.last().map_or(0, |id| id.index as usize + 1);
        let checkpoint = published.checked_sub(1).map(|number| &node.kept[number]);
        let from = checkpoint.map_or(0, |(_, last)| last.index as usize + 1);
        let purged = log.purged().map_or(0, |id| id.index as usize + 1);
        let place = format!("seed {seed}, event {at}, loss {loss:?}");
        assert!(purged <= from, "{place}: purged to {purged}, the checkpoint ends at {from}");
        assert!(held.max(from) >= acknowledged, "{place}: {held} of {acknowledged} acknowledged");
        let from_log = log.span(from as u64..u64::MAX, u64::MAX).load().unwrap();
        let payloads: Vec<Record> = from_log.into_iter().map(|entry| entry.payload).collect();
        assert_eq!(payloads, records[from..held.max(from)], "{place}");
        let end = held.max(from);
        let shown = recovered(checkpoint.map(|(path, _)| path.as_path()), &records, from, end).await;
        assert!(shown.contains(&states[end - 1]), "{place}: {shown} and not {}", states[end - 1]);
        points += 1;
    }
    println!(
        "{} commits, {} checkpoints, {} events, {points} crash points; all with LOCKSTEP_CRASH_STRIDE=1",
        records.len(),
        node.kept.len(),
        journal.len()
    );
    assert!(points > 0 && node.kept.len() > 5);
}

/// What a checkpoint's directory looks like after each step of writing and publishing the next one.
fn stages(old: &Path, new: &Path, root: &Path) -> Vec<(String, PathBuf)> {
    let mut stages = Vec::new();
    let mut stage = |what: String, make: &dyn Fn(&Path)| {
        let directory = root.join(format!("stage-{}", stages.len()));
        std::fs::create_dir_all(&directory).unwrap();
        make(&directory);
        stages.push((what, directory));
    };
    let old_name = old.file_name().unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(new.join("state")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let part = |from: &Path, to: &Path, share: usize| {
        let bytes = std::fs::read(from).unwrap();
        std::fs::write(to, &bytes[..bytes.len() * share / 3]).unwrap();
    };
    for (i, file) in files.iter().enumerate() {
        for share in 0..3 {
            stage(format!("{share}/3 of file {i}"), &|directory| {
                copy(old, &directory.join(old_name));
                let state = directory.join("writing-0/state");
                std::fs::create_dir_all(&state).unwrap();
                for whole in &files[..i] {
                    std::fs::copy(whole, state.join(whole.file_name().unwrap())).unwrap();
                }
                part(file, &state.join(file.file_name().unwrap()), share);
            });
        }
    }
    for share in 0..4 {
        stage(format!("{share}/3 of the description"), &|directory| {
            copy(old, &directory.join(old_name));
            copy(&new.join("state"), &directory.join("writing-0/state"));
            part(&new.join("meta"), &directory.join("writing-0/meta.new"), share);
        });
    }
    stage("not renamed".into(), &|directory| {
        copy(old, &directory.join(old_name));
        copy(new, &directory.join("writing-0"));
    });
    stage("renamed".into(), &|directory| {
        copy(old, &directory.join(old_name));
        copy(new, &directory.join(new.file_name().unwrap()));
    });
    stage("the old one partly deleted".into(), &|directory| {
        copy(old, &directory.join(old_name));
        std::fs::remove_file(directory.join(old_name).join("meta")).unwrap();
        copy(new, &directory.join(new.file_name().unwrap()));
    });
    stages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_cut_short_leaves_the_one_before_it() {
    let mut random = StdRng::seed_from_u64(seed());
    let (records, states) = commits(&mut random).await;
    let mut node = Node::new();
    let mut published = Vec::new();
    for end in [120, 260] {
        for index in node.applied..end {
            node.machine.apply(types::position(index as u64, 0), &records[index]);
        }
        node.applied = end;
        let stored = node.publish(EntryId { term: 1, index: end as u64 - 1 });
        let directory = stored.state().parent().unwrap().to_owned();
        // The next one takes its place.
        let kept = node.directory.path().join("whole").join(directory.file_name().unwrap());
        copy(&directory, &kept);
        published.push(kept);
    }
    let stages = stages(&published[0], &published[1], node.directory.path());
    let (mut old, mut new) = (0, 0);
    for (what, directory) in stages {
        let checkpoints = Checkpoints::open(directory).unwrap_or_else(|error| panic!("{what}: {error}"));
        let current = checkpoints.current().unwrap();
        let end = current.meta.last.unwrap().index as usize + 1;
        if end == 120 {
            old += 1
        } else {
            new += 1
        }
        // From there the log, which is not purged beyond it, leads to the same state.
        let shown = recovered(Some(&current.state()), &records, end, 300).await;
        assert!(shown.contains(&states[299]), "{what}: {shown}");
    }
    assert!(old > 5 && new == 2, "{old} show the old one, {new} the new one");
}
