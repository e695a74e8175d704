//! Nodes that live and do not hear each other, and nodes that come back as somebody else.

use std::time::Instant;

use engine::commit_log::{AppendError, CommitLog, Epoch, Role};
use replication::NodeConfig;

use crate::proxy::{Net, free_address};
use crate::{DEADLINE, Member, new_primary, start, three, voters};

/// Three voters that reach each other through doors.
async fn three_with_doors(directory: &tempfile::TempDir, net: &Net) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for name in ["a", "b", "c"] {
        let (door, address) = (net.door().await, free_address().await);
        door.leads_to(address);
        let join = members.iter().map(|member| member.node().peer_address().to_owned()).collect::<Vec<_>>();
        let config = Member::config(directory, name, &join);
        let config = NodeConfig { peer_listen: address, peer_advertise: Some(door.address.clone()), ..config };
        members.push(start(config).await);
        door.belongs_to(members[members.len() - 1].node().id());
        new_primary(&members, Epoch(0)).await;
        voters(&members[0], members.len()).await;
    }
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_cut_off_acknowledges_nothing_and_comes_back_as_standby() {
    let directory = tempfile::tempdir().unwrap();
    let net = Net::default();
    let members = three_with_doors(&directory, &net).await;
    let (mut at, mut epoch) = new_primary(&members, Epoch(0)).await;
    for round in 0..3 {
        members[at].append(epoch, &format!("{round} before")).await.unwrap();
        net.cut_off(members[at].node().id());
        let text = format!("{round} alone");
        let alone = members[at].append(epoch, &text);
        let barrier = members[at].node().read_barrier();
        let rest: Vec<usize> = (0..3).filter(|other| *other != at).collect();
        let others = async {
            let started = Instant::now();
            let found = loop {
                let reigns = |i: &&usize| members[**i].reign().is_some_and(|reign| reign > epoch);
                if let Some(next) = rest.iter().find(reigns) {
                    break *next;
                }
                assert!(started.elapsed() < DEADLINE);
                tokio::task::yield_now().await;
            };
            let next = members[found].primary().await;
            members[found].append(next, &format!("{round} after")).await.unwrap();
            (found, next)
        };
        let (alone, barrier, (next, later)) = tokio::join!(alone, barrier, others);
        let alone = alone.unwrap_err();
        assert!(matches!(alone, AppendError::Unknown(_) | AppendError::NotPrimary { .. }), "{alone}");
        assert!(barrier.is_err(), "the old primary answered a read");
        assert!(matches!(members[at].engine.role(), Some(Role::Standby { .. })));
        net.heal();
        // The node that was cut off reads what was written without it. What it wrote alone is gone, unless it got out
        // just before the cut; refused, it never was there.
        members[at].node().read_barrier().await.unwrap();
        let records = members[at].engine.records();
        assert!(records.contains(&format!("{round} after")));
        let written = records.iter().filter(|record| **record == text).count();
        assert!(written <= usize::from(matches!(alone, AppendError::Unknown(_))), "{alone}");
        (at, epoch) = (next, later);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_was_cut_off_does_not_unseat_the_primary() {
    let directory = tempfile::tempdir().unwrap();
    let net = Net::default();
    let members = three_with_doors(&directory, &net).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    let other = (at + 1) % 3;
    net.cut_off(members[other].node().id());
    let unreachable = async {
        loop {
            let status = members[at].node().status().await;
            if status.nodes.iter().any(|node| node.state == "unreachable") {
                return status;
            }
        }
    };
    let status = tokio::time::timeout(DEADLINE, unreachable).await.unwrap();
    assert_eq!(status.primary, Some(members[at].node().id()));
    // Long enough for several elections that it cannot win.
    let started = Instant::now();
    let mut written = 0;
    while started.elapsed().as_secs() < 3 {
        members[at].append(epoch, &format!("{written}")).await.unwrap();
        written += 1;
    }
    net.heal();
    members[other].engine.has(written).await;
    members[other].node().read_barrier().await.unwrap();
    members[at].append(epoch, "last").await.unwrap();
    assert_eq!(members[at].reign(), Some(epoch));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_disk_comes_back_as_another_member() {
    let directory = tempfile::tempdir().unwrap();
    let mut members = three(&directory).await;
    let (at, epoch) = new_primary(&members, Epoch(0)).await;
    members[at].append(epoch, "kept").await.unwrap();
    let lost = (at + 1) % 3;
    let address = members[lost].node().peer_address().to_owned();
    let config = members[lost].config.clone();
    tokio::task::block_in_place(|| members[lost].crash());
    std::fs::remove_dir_all(&config.data_dir).unwrap();
    let join = vec![members[at].node().peer_address().to_owned()];
    members[lost] = start(NodeConfig { peer_listen: address.parse().unwrap(), join, ..config }).await;
    assert_eq!(members[lost].node().id(), 4);
    voters(&members[at], 3).await;
    members[lost].node().read_barrier().await.unwrap();
    assert_eq!(members[lost].engine.records(), ["kept"]);
    let replaced = async {
        loop {
            let ids: Vec<u64> = members[at].node().status().await.nodes.iter().map(|node| node.id).collect();
            if ids.len() == 3 {
                return ids;
            }
        }
    };
    assert!(tokio::time::timeout(DEADLINE, replaced).await.unwrap().contains(&4));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_different_clusters_do_not_mix() {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let first = NodeConfig { peer_listen: address, ..Member::config(&directory, "a", &[]) };
    let mut first = start(first).await;
    first.primary().await;
    let join = vec![address.to_string()];
    let second = start(Member::config(&directory, "b", &join)).await;
    voters(&first, 2).await;
    // Another cluster takes over the first node's address.
    tokio::task::block_in_place(|| first.crash());
    let stranger = NodeConfig { peer_listen: address, ..Member::config(&directory, "x", &[]) };
    let stranger = start(stranger).await;
    let epoch = stranger.primary().await;
    stranger.append(epoch, "theirs").await.unwrap();
    let status = second.node().status().await;
    assert!(status.nodes.iter().any(|node| node.name == "a" && node.state == "unreachable"), "{status:#?}");
    second.node().read_barrier().await.unwrap_err();
    assert!(second.engine.records().is_empty());
}
