//! Checkpoints: what is written is what was applied then, and any damage is noticed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::commit_log::{CheckpointError, LogPosition};

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let path = std::env::temp_dir().join(format!("lockstep-checkpoint-{:x}", rand::random::<u64>()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }

    fn sub(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn filled() -> Node {
    let node = Node::new();
    let secondary = index(20002, 20000, &[2], false, false);
    let table = node.create(table_def(20000, vec![index(20001, 20000, &[1], true, true), secondary])).await;
    let heap = node.create(table_def(30000, vec![])).await;
    for part in 0..4 {
        let mut t = node.open().await;
        for id in part * 2000..(part + 1) * 2000 {
            t.insert(&table, row(id, id % 7, "row")).await.unwrap().unwrap();
        }
        t.insert(&heap, row(part, 0, "heap")).await.unwrap().unwrap();
        t.commit().await.unwrap();
    }
    let mut t = node.open().await;
    for id in 0..50 {
        update_with(&mut t, &table, id, |a| a + 100).await.unwrap();
        delete(&mut t, &table, id + 1000).await.unwrap();
    }
    t.commit().await.unwrap();
    node
}

fn restored(dir: &Path) -> Result<(Node, LogPosition), CheckpointError> {
    let (shared, machine) = empty_machine(1 << 30);
    let position = machine.restore(dir)?;
    Ok((Node::start(shared, machine), position))
}

#[tokio::test]
async fn restore_gives_what_was_applied_then() {
    let node = filled().await;
    let dir = Dir::new();
    let before = (node.rows(20000).await, node.rows(30000).await);
    let checkpoint = node.machine.begin_checkpoint();
    let position = checkpoint.position();
    // Changes after the checkpoint began are not in it.
    let table = node.table(20000);
    let mut t = node.open().await;
    for id in 100..2000 {
        delete(&mut t, &table, id).await.unwrap();
    }
    for id in 2000..2100 {
        update_with(&mut t, &table, id, |a| a + 1).await.unwrap();
        t.insert(&table, row(id + 10_000, 0, "later")).await.unwrap().unwrap();
    }
    t.commit().await.unwrap();
    node.shared.storage.maintain();
    checkpoint.write(&dir.sub("one"), None, &|| 1.0).unwrap();
    let (copy, at) = restored(&dir.0.join("one")).unwrap();
    assert_eq!(at, position);
    assert_eq!((copy.rows(20000).await, copy.rows(30000).await), before);

    // The log goes on from there.
    let (shared, machine) = empty_machine(1 << 30);
    machine.restore(&dir.0.join("one")).unwrap();
    for (i, record) in node.log.records().iter().enumerate().skip(position.0 as usize) {
        machine.apply(LogPosition(i as u64 + 1), record);
    }
    let replayed = Node::start(shared, machine);
    assert_eq!(replayed.rows(20000).await, node.rows(20000).await);
    let table = replayed.table(20000);
    let heap = replayed.table(30000);
    let mut t = replayed.open().await;
    assert!(t.insert(&table, row(3000, 0, "")).await.unwrap().is_err(), "the key index is back");
    let range = crate::storage::IndexRange::equal(vec![Datum::Int4(105)]);
    let wanted = replayed.rows(20000).await.iter().filter(|r| r.contains("|105|")).count();
    assert_eq!(t.lookup(&table, Oid(20002), &range, 1000).unwrap().len(), wanted);
    t.insert(&heap, row(9, 9, "new")).await.unwrap().unwrap();
    t.commit().await.unwrap();
    assert_eq!(replayed.rows(30000).await.len(), 5, "hidden keys go on behind the restored ones");
}

#[tokio::test]
async fn unchanged_chunks_are_linked() {
    let node = filled().await;
    let dir = Dir::new();
    let (one, two) = (dir.sub("one"), dir.sub("two"));
    node.shared.storage.maintain();
    node.machine.begin_checkpoint().write(&one, None, &|| 1.0).unwrap();
    let mut t = node.open().await;
    delete(&mut t, &node.table(20000), 5).await.unwrap();
    t.commit().await.unwrap();
    node.machine.begin_checkpoint().write(&two, Some(&one), &|| 1.0).unwrap();
    let linked = std::fs::read_dir(&two).unwrap().filter(|f| f.as_ref().unwrap().metadata().unwrap().nlink() == 2);
    assert!(linked.count() > 0);
    let (copy, _) = restored(&two).unwrap();
    assert_eq!(copy.rows(20000).await, node.rows(20000).await);
}

#[tokio::test]
async fn damage_is_an_error() {
    let node = filled().await;
    let dir = Dir::new();
    let good = dir.sub("good");
    node.machine.begin_checkpoint().write(&good, None, &|| 1.0).unwrap();
    let files: Vec<PathBuf> = std::fs::read_dir(&good).unwrap().map(|f| f.unwrap().path()).collect();
    assert!(files.len() > 2);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 23 + 1) {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&file, bad).unwrap();
            assert!(matches!(restored(&good), Err(CheckpointError::Corrupt(_))), "{} at {at}", file.display());
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(restored(&good), Err(CheckpointError::Corrupt(_))));
        std::fs::write(&file, bytes).unwrap();
    }
    restored(&good).unwrap();
}

/// Whichever file the disk has no room for, in whichever piece of it.
#[tokio::test]
async fn a_full_disk_ends_a_checkpoint_and_the_next_one_is_whole() {
    let node = filled().await;
    node.shared.storage.maintain();
    let dir = Dir::new();
    let good = dir.sub("good");
    node.machine.begin_checkpoint().write(&good, None, &|| 1.0).unwrap();
    let mut full = 0;
    for file in std::fs::read_dir(&good).unwrap() {
        let name = file.unwrap().file_name();
        let bad = dir.sub("bad");
        std::os::unix::fs::symlink("/dev/full", bad.join(&name)).unwrap();
        match node.machine.begin_checkpoint().write(&bad, None, &|| 1.0) {
            Err(CheckpointError::Io(error)) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
                full += 1;
            }
            Err(other) => panic!("{other}"),
            // What was hot has another name each time.
            Ok(()) => assert!(std::fs::symlink_metadata(bad.join(&name)).unwrap().is_symlink()),
        }
        std::fs::remove_dir_all(&bad).unwrap();
    }
    assert!(full > 2, "the manifest and some chunks");
    let after = dir.sub("after");
    node.machine.begin_checkpoint().write(&after, Some(&good), &|| 1.0).unwrap();
    let (copy, _) = restored(&after).unwrap();
    assert_eq!(copy.rows(20000).await, node.rows(20000).await);
}
