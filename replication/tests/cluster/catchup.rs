//! Checkpoints on their way to a node that crashes meanwhile.

use super::*;

/// The bytes of a checkpoint that a member has, as the primary sees it.
async fn arrived(first: &Member) -> u64 {
    let started = Instant::now();
    loop {
        let status = first.node().status().await;
        if let Some((done, total)) = status.nodes.iter().find_map(|node| node.arrived) {
            assert!(done <= total && total > 6 << 20, "{done} of {total}");
            return done;
        }
        assert!(started.elapsed() < DEADLINE, "{status:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_was_cut_short_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let config = NodeConfig {
        entries_kept: 10,
        segment_bytes: 1 << 14,
        transfer_bytes_per_second: 1 << 20,
        ..Member::config(&directory, "a", &[])
    };
    let first = start(config).await;
    // Twelve files of half a megabyte go along with each checkpoint.
    first.engine.weigh(12, 1 << 19);
    let epoch = first.primary().await;
    for i in 0..200 {
        first.append(epoch, &format!("{i}-{}", "x".repeat(500))).await.unwrap();
    }
    let gone = first.config.data_dir.join("wal/0000000000000001.wal");
    first.node().checkpoint().await.unwrap();
    let started = Instant::now();
    while gone.exists() {
        assert!(started.elapsed() < DEADLINE);
        first.append(epoch, "more").await.unwrap();
    }
    let join = vec![first.node().peer_address().to_owned()];
    let mut second = start(Member::config(&directory, "b", &join)).await;
    let address = second.node().peer_address().to_owned();
    while arrived(&first).await < 3 << 20 {
        tokio::task::yield_now().await;
    }
    tokio::task::block_in_place(|| second.crash());
    tokio::task::block_in_place(|| second.restart(&address));
    let first_sight = arrived(&first).await;
    assert!(first_sight >= 2 << 20, "{first_sight} bytes were still there");
    second.engine.has(first.engine.records().len()).await;
    assert_eq!(second.engine.records(), first.engine.records());
    assert!(!second.config.data_dir.join("checkpoints/partial").exists());
    assert!(second.fatal.lock().is_empty());
}
