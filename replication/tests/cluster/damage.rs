//! Nodes whose files are damaged or gone: they do not vote with what is left, and are rebuilt where somebody can.

use std::path::{Path, PathBuf};
use std::time::Instant;

use engine::commit_log::{CommitLog, Epoch};
use replication::{NodeConfig, StartError};

use crate::{DEADLINE, Member, founder, new_primary, start, three, voters};

/// Waits until a node has written down where so many others are.
async fn knows(member: &Member, others: usize) {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(member.config.data_dir.join("members.toml")).unwrap_or_default();
        if text.matches("127.0.0.1").count() == others {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{text}");
        tokio::task::yield_now().await;
    }
}

/// Damages a byte at or behind `at`, not zero: that could be padding. Done twice, it makes it good.
fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    let at = (at..).find(|at| !matches!(bytes[*at], 0 | 0xff)).unwrap();
    bytes[at] = !bytes[at];
    std::fs::write(file, bytes).unwrap();
}

fn first_segment(directory: &Path) -> PathBuf {
    directory.join("wal/0000000000000001.wal")
}

async fn fails(config: NodeConfig) -> StartError {
    tokio::task::spawn_blocking(|| Member::start(config).err()).await.unwrap().unwrap()
}

/// Ids and names in the cluster, once it has three voters.
async fn ids(member: &Member) -> Vec<(u64, String)> {
    let started = Instant::now();
    loop {
        let nodes = member.node().status().await.nodes;
        if nodes.len() == 3 && nodes.iter().all(|node| node.membership == "voter") {
            return nodes.into_iter().map(|node| (node.id, node.name)).collect();
        }
        assert!(started.elapsed() < DEADLINE, "{nodes:#?}");
    }
}

/// Damages one node of three in some way; the others rebuild it under a new id.
async fn is_rebuilt(which: usize, damage: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    for i in 0..50 {
        members[at].append(epoch, &format!("{i}")).await.unwrap();
    }
    members[which].node().read_barrier().await.unwrap();
    members[which].node().checkpoint().await.unwrap();
    knows(&members[which], 2).await;
    let (old, address) = (members[which].node().id(), members[which].node().peer_address().to_owned());
    tokio::task::block_in_place(|| members[which].crash());
    damage(&members[which].config.data_dir);
    let rest: Vec<usize> = (0..3).filter(|other| *other != which).collect();
    let started = Instant::now();
    let (at, epoch) = loop {
        let reigns = |i: &usize| members[*i].reign().map(|epoch| (*i, epoch));
        if let Some(found) = rest.iter().find_map(reigns) {
            break found;
        }
        assert!(started.elapsed() < DEADLINE);
        tokio::task::yield_now().await;
    };
    members[at].append(epoch, "meanwhile").await.unwrap();
    tokio::task::block_in_place(|| members[which].restart(&address));
    let new = members[which].node().id();
    assert!(new > 3 && new != old, "an id is never used twice: {new}");
    voters(&members[at], 3).await;
    members[which].node().read_barrier().await.unwrap();
    assert_eq!(members[which].engine.records(), members[at].engine.records());
    assert_eq!(members[which].engine.records().len(), 51);
    let names = ids(&members[at]).await;
    assert!(!names.iter().any(|(id, _)| *id == old) && names.iter().any(|(id, _)| *id == new), "{names:?}");
    assert!(members[which].config.data_dir.join(format!("damaged-node{old}")).exists());
    // It is a member like any other: it comes back as itself, and counts for a majority.
    tokio::task::block_in_place(|| members[which].restart(&address));
    assert_eq!(members[which].node().id(), new);
    let third = rest.into_iter().find(|other| *other != at).unwrap();
    tokio::task::block_in_place(|| members[third].crash());
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    members[at].append(epoch, "by two").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_founder_with_a_flipped_byte_in_its_log_is_rebuilt() {
    is_rebuilt(0, |directory| flip(&first_segment(directory), 300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_checkpoint_is_rebuilt() {
    is_rebuilt(1, |directory| {
        let published = std::fs::read_dir(directory.join("checkpoints")).unwrap();
        let checkpoint = published.map(|entry| entry.unwrap().path()).next().unwrap();
        flip(&checkpoint.join("meta"), 6);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_whose_log_is_gone_founds_no_second_cluster() {
    is_rebuilt(0, |directory| std::fs::remove_dir_all(directory.join("wal")).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_does_not_start_with_damage_and_touches_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut member = founder(&directory).await;
    let epoch = member.primary().await;
    for i in 0..50 {
        member.append(epoch, &format!("{i}")).await.unwrap();
    }
    knows(&member, 0).await;
    while !member.config.data_dir.join("members.toml").exists() {
        tokio::task::yield_now().await;
    }
    member.crash();
    let (config, segment) = (member.config.clone(), first_segment(&member.config.data_dir));
    flip(&segment, 300);
    for _ in 0..2 {
        let error = fails(config.clone()).await;
        assert!(matches!(error, StartError::Unrecoverable { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("is damaged at offset") && text.contains("no other node is known"), "{text}");
    }
    // Whole again, it starts as if nothing had been.
    flip(&segment, 300);
    let mut member = start(config.clone()).await;
    member.primary().await;
    assert_eq!((member.node().id(), member.engine.records().len()), (1, 50));
    member.crash();
    std::fs::remove_dir_all(config.data_dir.join("wal")).unwrap();
    let error = fails(config).await;
    assert!(error.to_string().contains("its files are gone"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_acknowledged_entry_is_not_taken_for_a_torn_write() {
    let directory = tempfile::tempdir().unwrap();
    let mut member = founder(&directory).await;
    let epoch = member.primary().await;
    member.append(epoch, "the last one, acknowledged").await.unwrap();
    member.crash();
    let segment = first_segment(&member.config.data_dir);
    let bytes = std::fs::read(&segment).unwrap();
    let text = b"the last one, acknowledged";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    flip(&segment, at);
    let error = fails(member.config.clone()).await;
    assert!(matches!(error, StartError::Unrecoverable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_node_waits_for_somebody_to_rebuild_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    members[at].append(epoch, "kept").await.unwrap();
    for member in &members {
        knows(member, 2).await;
    }
    let addresses: Vec<_> = members.iter().map(|member| member.node().peer_address().to_owned()).collect();
    for member in &mut members {
        tokio::task::block_in_place(|| member.crash());
    }
    let directory = members[2].config.data_dir.clone();
    flip(&first_segment(&directory), 300);
    let mut config = NodeConfig { peer_listen: addresses[2].parse().unwrap(), ..members[2].config.clone() };
    config.timings.join = std::time::Duration::from_millis(500);
    let error = fails(config.clone()).await;
    assert!(matches!(error, StartError::NotRebuilt { .. }), "{error}");
    assert!(first_segment(&directory).exists(), "what is damaged stays where it is");
    config.timings.join = DEADLINE;
    members[2].config = config.clone();
    let rebuilding = tokio::task::spawn_blocking(|| Member::start(config));
    for i in [0, 1] {
        tokio::task::block_in_place(|| members[i].restart(&addresses[i]));
    }
    members[2] = rebuilding.await.unwrap().unwrap();
    members[2].node().read_barrier().await.unwrap();
    assert_eq!(members[2].engine.records(), ["kept"]);
    let (at, _) = new_primary(&members, epoch).await;
    voters(&members[at], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_of_the_primary_is_neither_installed_nor_kept() {
    let directory = tempfile::tempdir().unwrap();
    let config = NodeConfig { entries_kept: 0, segment_bytes: 1 << 14, ..Member::config(&directory, "a", &[]) };
    let first = start(config).await;
    let epoch = first.primary().await;
    for i in 0..100 {
        first.append(epoch, &format!("{i}-{}", "x".repeat(500))).await.unwrap();
    }
    first.node().checkpoint().await.unwrap();
    // The log is dropped behind the checkpoint by and by.
    let started = Instant::now();
    while first_segment(&first.config.data_dir).exists() {
        assert!(started.elapsed() < DEADLINE);
        first.append(epoch, "more").await.unwrap();
    }
    let published = std::fs::read_dir(first.config.data_dir.join("checkpoints")).unwrap();
    let checkpoint = published.map(|entry| entry.unwrap().path()).next().unwrap();
    flip(&checkpoint.join("state/records"), 100);
    let join = vec![first.node().peer_address().to_owned()];
    let second = start(Member::config(&directory, "b", &join)).await;
    second.engine.has(first.engine.records().len()).await;
    assert_eq!(second.engine.records(), first.engine.records());
    assert_eq!(second.engine.restored(), 1);
    assert!(second.fatal.lock().is_empty() && !checkpoint.exists());
}
