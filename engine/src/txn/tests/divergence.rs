//! Digests: the same for the same content however it lies in memory, different for the least difference in content.

use std::time::{Duration, Instant};

use super::*;
use crate::commit_log::{DigestAnswer, LogPosition, NodeDigest, Record, StateMachine};
use crate::divergence::{NodeState, judge};
use crate::storage::CommitTs;

/// Appends a check to the log of `node` and gives its record.
async fn check(node: &Node) -> (CommitTs, Record) {
    let reign = node.shared.sequencer.primary_reign().unwrap();
    let (id, appended) = node.shared.sequencer.check(reign, node.log.as_ref()).unwrap();
    appended.await.unwrap().unwrap();
    (id, node.log.records().last().unwrap().clone())
}

fn answer(machine: &dyn StateMachine, id: CommitTs) -> DigestAnswer {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match machine.digest(id.0) {
            DigestAnswer::Pending => assert!(Instant::now() < deadline, "no digest"),
            answer => return answer,
        }
        std::thread::yield_now();
    }
}

/// An engine with other partitions, restored from a checkpoint of `node`.
fn copy(node: &Node, partitions: usize) -> (Arc<Transactions>, SharedStateMachine) {
    let dir = std::env::temp_dir().join(format!("lockstep-divergence-{:x}", rand::random::<u64>()));
    std::fs::create_dir_all(&dir).unwrap();
    node.machine.begin_checkpoint().write(&dir, None, &|| 1.0).unwrap();
    let storage = Storage::new(Catalog::bootstrap("postgres", "postgres"), 1 << 30, partitions);
    let shared = Transactions::new(Arc::new(storage));
    let machine: SharedStateMachine = Arc::new(Applier::new(shared.clone()));
    machine.restore(&dir).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    (shared, machine)
}

async fn filled() -> Node {
    let node = Node::new();
    let table = node.create(table_def(20000, vec![index(20001, 20000, &[1], true, true)])).await;
    let heap = node.create(table_def(30000, vec![])).await;
    for part in 0..4 {
        let mut t = node.open().await;
        for id in part * 1000..(part + 1) * 1000 {
            t.insert(&table, row(id, id % 7, "row")).await.unwrap().unwrap();
        }
        for _ in 0..3 {
            t.insert(&heap, row(part, 0, "equal rows")).await.unwrap().unwrap();
        }
        t.commit().await.unwrap();
        node.shared.storage.maintain();
    }
    node
}

fn states(answers: [&DigestAnswer; 2]) -> Vec<(NodeState, Option<String>)> {
    let node = |answer: &DigestAnswer| NodeDigest { node: 1, name: String::new(), answer: answer.clone() };
    judge(LogPosition(1), &answers.map(node)).into_iter().map(|v| (v.state, v.detail)).collect()
}

#[tokio::test]
async fn a_digest_knows_content_and_not_where_it_lies() {
    let node = filled().await;
    let table = node.table(20000);
    let (_, other) = copy(&node, 7);
    let first = node.log.records().len();
    // Rows that end where they were come to lie elsewhere on this node only, and what both apply is in other chunks.
    let mut t = node.open().await;
    for id in 0..500 {
        update_with(&mut t, &table, id, |a| a + 100).await.unwrap();
        delete(&mut t, &table, id + 1000).await.unwrap();
    }
    t.commit().await.unwrap();
    node.shared.storage.maintain();
    let (id, _) = check(&node).await;
    for (i, record) in node.log.records()[first..].iter().enumerate() {
        other.apply(LogPosition(other.applied().0 + 1 + i as u64), record);
    }
    let (own, others) = (answer(node.machine.as_ref(), id), answer(other.as_ref(), id));
    assert!(matches!(own, DigestAnswer::Ready(_)), "{own:?}");
    assert_eq!(own, others);
    assert!(states([&own, &others]).iter().all(|(state, _)| *state == NodeState::Equal));

    // A later check, between which nothing happened, has the same digest; one after a change has another.
    let (id, _) = check(&node).await;
    assert_eq!(answer(node.machine.as_ref(), id), own);
    let mut t = node.open().await;
    update_with(&mut t, &table, 0, |a| a + 1).await.unwrap();
    t.commit().await.unwrap();
    let (id, _) = check(&node).await;
    assert_ne!(answer(node.machine.as_ref(), id), own);
}

#[tokio::test]
async fn the_least_difference_is_found_and_named() {
    let node = filled().await;
    let (shared, other) = copy(&node, PARTITIONS);
    // Behind the log's back, visible to the snapshot of the check.
    let heap = shared.storage.table(Oid(30000)).unwrap();
    let layout = heap.store.layout();
    let mut keys = Vec::new();
    heap.store.for_each_live(&layout, |key, _| {
        keys.push(key);
        true
    });
    heap.store.apply_delete(&keys[0], shared.storage.snapshot().ts()).unwrap();
    let (id, record) = check(&node).await;
    other.apply(LogPosition(other.applied().0 + 1), &record);
    let found = states([&answer(node.machine.as_ref(), id), &answer(other.as_ref(), id)]);
    assert_eq!(found[0].0, NodeState::Equal);
    assert_eq!(found[1].0, NodeState::Diverged);
    assert!(found[1].1.as_ref().unwrap().contains("(30000)"), "{found:?}");
    assert!(!found[1].1.as_ref().unwrap().contains("(20000)"), "{found:?}");

    // A node that joined after the check has no digest.
    let (_, late) = copy(&node, PARTITIONS);
    assert!(matches!(late.digest(id.0), DigestAnswer::Unknown(_)));
}

#[tokio::test]
async fn a_node_out_of_service_refuses_statements_and_says_why() {
    let node = filled().await;
    node.machine.set_out_of_service(Some("at position 7 it differs in: table t".to_owned()));
    let mut t = node.begin(Isolation::ReadCommitted);
    let error = t.begin_statement(Reads::Snapshot).await.unwrap_err();
    assert_eq!(error.state(), crate::error::SqlState::CannotConnectNow);
    node.machine.set_out_of_service(None);
    t.begin_statement(Reads::Snapshot).await.unwrap();
}
