//! Three voters: crashes, catching up, reads.

use std::sync::Arc;
use std::time::Instant;

use engine::commit_log::{AppendError, CommitLog, Epoch, Role};
use replication::NodeConfig;

use crate::{DEADLINE, Member, new_primary, start, three, voters};

#[tokio::test(flavor = "multi_thread")]
async fn commits_survive_the_loss_of_the_primary() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let mut acknowledged = Vec::new();
    let mut epoch = Epoch(0);
    for round in 0..3 {
        let (at, found) = new_primary(&members, epoch).await;
        epoch = found;
        let mut sent = Vec::new();
        for i in 0..300 {
            let text = format!("{round}-{i}");
            sent.push((text.clone(), members[at].node().append(epoch, text.into())));
        }
        // Some are answered, some are on their way when the primary dies.
        for (text, appended) in sent.drain(..150) {
            appended.await.unwrap().unwrap();
            acknowledged.push(text);
        }
        let address = members[at].node().peer_address().to_owned();
        tokio::task::block_in_place(|| members[at].crash());
        for (text, appended) in sent {
            match appended.await {
                Ok(Ok(_)) => acknowledged.push(text),
                Ok(Err(AppendError::Unknown(_))) | Err(_) => {}
                Ok(Err(other)) => panic!("{text}: {other}"),
            }
        }
        let started = Instant::now();
        let (successor, next) = new_primary(&members, epoch).await;
        println!("a new primary after {:?}", started.elapsed());
        assert_ne!(successor, at);
        members[successor].append(next, &format!("{round}-after")).await.unwrap();
        acknowledged.push(format!("{round}-after"));
        tokio::task::block_in_place(|| members[at].restart(&address));
        members[at].node().read_barrier().await.unwrap();
        epoch = Epoch(next.0 - 1);
        voters(&members[successor], 3).await;
    }
    for member in &members {
        member.node().read_barrier().await.unwrap();
        let records = member.engine.records();
        for text in &acknowledged {
            assert_eq!(records.iter().filter(|record| *record == text).count(), 1, "{text}");
        }
    }
    let records = members[0].engine.records();
    for member in &members[1..] {
        assert_eq!(member.engine.records(), records);
    }
    assert!(members.iter().all(|member| member.fatal.lock().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_catches_up_by_checkpoint_and_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = NodeConfig { entries_kept: 10, segment_bytes: 1 << 14, ..Member::config(&directory, "a", &[]) };
    let first = start(config).await;
    let epoch = first.primary().await;
    for i in 0..200 {
        first.append(epoch, &format!("{i}-{}", "x".repeat(500))).await.unwrap();
    }
    let gone = first.config.data_dir.join("wal/0000000000000001.wal");
    assert!(gone.exists());
    first.node().checkpoint().await.unwrap();
    for i in 200..300 {
        first.append(epoch, &format!("{i}")).await.unwrap();
    }
    // The log is dropped behind the checkpoint by and by.
    let started = Instant::now();
    while gone.exists() {
        assert!(started.elapsed() < DEADLINE);
        first.append(epoch, "more").await.unwrap();
    }
    let join = vec![first.node().peer_address().to_owned()];
    let second = start(Member::config(&directory, "b", &join)).await;
    second.engine.has(first.engine.records().len()).await;
    assert_eq!(second.engine.restored(), 1);
    assert_eq!(second.engine.records(), first.engine.records());
    voters(&first, 2).await;
    assert_eq!(second.node().id(), 2);
    let status = second.node().status().await;
    assert_eq!((status.this_node, status.primary), (2, Some(1)));
    assert_eq!(status.nodes.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_is_never_stale() {
    let directory = tempfile::tempdir().unwrap();
    let members = Arc::new(three(&directory).await);
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    assert!(!members[at].node().read_barrier_is_free());
    for i in 0..100 {
        let text = format!("{i}");
        members[at].append(epoch, &text).await.unwrap();
        let mut readers = Vec::new();
        for reader in 0..members.len() {
            let (members, text) = (members.clone(), text.clone());
            readers.push(tokio::spawn(async move {
                members[reader].node().read_barrier().await.unwrap();
                assert!(members[reader].engine.records().contains(&text), "node {reader} misses {text}");
            }));
        }
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_quorum_stops_being_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    members[at].append(epoch, "before").await.unwrap();
    let addresses: Vec<_> = members.iter().map(|member| member.node().peer_address().to_owned()).collect();
    for other in (0..3).filter(|other| *other != at) {
        tokio::task::block_in_place(|| members[other].crash());
    }
    let outcome = members[at].append(epoch, "alone").await.unwrap_err();
    assert!(matches!(outcome, AppendError::Unknown(_) | AppendError::NotPrimary { .. }), "{outcome}");
    let standby = || matches!(members[at].engine.role(), Some(Role::Standby { .. })).then_some(());
    members[at].engine.changed(standby).await;
    members[at].node().read_barrier().await.unwrap_err();
    let refused = members[at].append(epoch, "later").await.unwrap_err();
    assert!(matches!(refused, AppendError::NotPrimary { primary: None }), "{refused}");
    let status = members[at].node().status().await;
    let own = status.nodes.iter().find(|node| node.id == status.this_node).unwrap();
    assert_eq!((own.role.as_str(), own.state.as_str()), ("standby", "no quorum"), "{status:#?}");
    // With one of the others a new epoch begins, whoever leads it, and what was unknown is settled by then.
    let other = (at + 1) % 3;
    let config = members[other].config.clone();
    members[other] = start(NodeConfig { peer_listen: addresses[other].parse().unwrap(), ..config }).await;
    let (next, later) = new_primary(&members, epoch).await;
    members[next].append(later, "after").await.unwrap();
    let records = members[next].engine.records();
    for (text, times) in [("before", 1..=1), ("alone", 0..=1), ("later", 0..=0), ("after", 1..=1)] {
        assert!(times.contains(&records.iter().filter(|record| *record == text).count()), "{text}: {records:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_stop_hands_leadership_over() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    members[at].append(epoch, "before").await.unwrap();
    let stopping = members[at].node.take().unwrap();
    let stopped = tokio::task::spawn_blocking(move || stopping.stop());
    let (successor, next) = new_primary(&members, epoch).await;
    members[successor].append(next, "after").await.unwrap();
    tokio::time::timeout(DEADLINE, stopped).await.unwrap().unwrap();
    assert!(members[successor].engine.records().ends_with(&["before".to_owned(), "after".to_owned()]));
}
