//! A group of one voter.

use engine::commit_log::{AppendError, CommitLog, Epoch};
use replication::{NodeConfig, StartError};

use crate::{Member, founder, start};

#[tokio::test(flavor = "multi_thread")]
async fn commits_survive_a_crash_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut member = founder(&directory).await;
    let address = member.node().peer_address().to_owned();
    let mut expected = Vec::new();
    for round in 0..3 {
        let epoch = member.primary().await;
        let texts: Vec<String> = (0..200).map(|i| format!("{round}-{i}")).collect();
        let appended: Vec<_> = texts.iter().map(|t| member.node().append(epoch, t.clone().into())).collect();
        let mut last = None;
        for appended in appended {
            let position = appended.await.unwrap().unwrap();
            assert!(Some(position) > last);
            last = Some(position);
        }
        expected.extend(texts);
        assert_eq!(member.engine.records(), expected);
        if round == 1 {
            member.node().checkpoint().await.unwrap();
        }
        member.crash();
        tokio::task::block_in_place(|| member.restart(&address));
        member.primary().await;
        assert_eq!(member.engine.records(), expected);
        assert_eq!(member.engine.restored(), usize::from(round > 0));
    }
    assert!(member.fatal.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_present_epoch_may_append_and_reads_are_free() {
    let directory = tempfile::tempdir().unwrap();
    let member = founder(&directory).await;
    let epoch = member.primary().await;
    for wrong in [Epoch(epoch.0 - 1), Epoch(epoch.0 + 1)] {
        let refused = member.append(wrong, "never").await.unwrap_err();
        assert!(matches!(refused, AppendError::NotPrimary { .. }));
    }
    member.append(epoch, "once").await.unwrap();
    assert!(member.node().read_barrier_is_free());
    member.node().read_barrier().await.unwrap();
    assert_eq!(member.engine.records(), ["once"]);
    let status = member.node().status().await;
    assert_eq!(status.primary, Some(1));
    assert_eq!((status.nodes[0].role.as_str(), status.nodes[0].lag_bytes), ("primary", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_records_pass_whole() {
    let directory = tempfile::tempdir().unwrap();
    let member = founder(&directory).await;
    let epoch = member.primary().await;
    let large = "x".repeat(3 << 20);
    let appended: Vec<_> = ["a", &large, "b"].map(|t| member.node().append(epoch, t.to_owned().into())).into();
    for appended in appended {
        appended.await.unwrap().unwrap();
    }
    assert!(member.engine.records() == ["a", &large, "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let member = founder(&directory).await;
    let epoch = member.primary().await;
    tokio::task::block_in_place(|| member.node().stop());
    assert!(member.append(epoch, "late").await.is_err());
    assert!(member.node().checkpoint().await.is_err());
    assert_eq!(member.engine.records().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let member = founder(&directory).await;
    let address = member.node().peer_address().to_owned();
    let fails =
        |config: NodeConfig| async { tokio::task::spawn_blocking(|| Member::start(config).err()).await.unwrap() };
    let same = fails(member.config.clone()).await;
    assert!(matches!(same, Some(StartError::InUse(_))));
    let taken = NodeConfig { peer_listen: address.parse().unwrap(), ..Member::config(&directory, "b", &[]) };
    let taken = fails(taken).await.unwrap();
    assert!(matches!(taken, StartError::PeerListen { .. }));
    assert!(taken.to_string().contains(&address), "{taken}");
    let mut nobody = Member::config(&directory, "c", &["127.0.0.1:1".to_owned()]);
    nobody.timings.join = std::time::Duration::from_millis(300);
    let nobody = fails(nobody).await.unwrap();
    assert!(nobody.to_string().contains("127.0.0.1:1"), "{nobody}");
    // A name that is taken.
    let twin = Member::config(&directory, "d", &[address]);
    let twin = NodeConfig { node_name: "a".to_owned(), ..twin };
    let twin = fails(twin).await.unwrap();
    assert!(twin.to_string().contains("already a member"), "{twin}");
    drop(start(Member::config(&directory, "e", &[])).await);
}
