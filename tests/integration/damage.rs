//! Damaged files and full disks: nothing acknowledged is lost, nothing is made up, and the process says what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::cluster::{open, three, until};
use crate::faults::cluster::{NODES, flip};
use crate::faults::run::find_primary;
use crate::server::READY_WITHIN;
use crate::startup::assert_refused;
use crate::target::launch;

/// Waits until a node has written down where so many others are.
async fn knows(data_dir: &Path, others: usize) {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let text = std::fs::read_to_string(data_dir.join("members.toml")).unwrap_or_default();
        if text.matches("127.0.0.1").count() == others {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_node_with_a_flipped_bit_in_its_log_is_rebuilt_from_its_peers() {
    let dir = TempDir::new().expect("directory");
    let (mut cluster, primary) = three(&dir).await;
    let writer = open(&cluster, primary).await;
    writer.batch_execute("CREATE TABLE t (id int PRIMARY KEY, pad text)").await.expect("table");
    let fill = "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($1::int, $1::int + 999) AS g";
    writer.execute(fill, &[&0]).await.expect("rows");
    let mut damaged = (primary + 1) % NODES;
    // The second time it is the primary itself.
    for round in 1..=2 {
        let name = cluster.door(damaged).name.clone();
        let data_dir = dir.path().join(&name);
        knows(&data_dir, 2).await;
        let client = open(&cluster, damaged).await;
        until(&client, "SELECT count(*)::text FROM t", &format!("{}", round * 2000 - 1000)).await;
        cluster.kill(damaged);
        flip(&data_dir);
        let primary = find_primary(&cluster, READY_WITHIN).await.expect("primary");
        let writer = open(&cluster, primary).await;
        writer.execute(fill, &[&(round * 2000 - 1000)]).await.expect("rows without one node");
        cluster.restart(damaged);
        cluster.answers(damaged).await;
        let client = open(&cluster, damaged).await;
        until(&client, "SELECT count(*)::text FROM t", &format!("{}", round * 2000)).await;
        let log = cluster.log(damaged);
        assert!(
            log.contains("DAMAGED: the log is corrupt") && log.contains("is rebuilt from the other members"),
            "{log}"
        );
        let new = (NODES as i32 + round).to_string();
        until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
        until(&client, &format!("SELECT id::text FROM lockstep_nodes WHERE name = '{name}'"), &new).await;
        let primary = find_primary(&cluster, READY_WITHIN).await.expect("primary");
        let writer = open(&cluster, primary).await;
        writer.execute(fill, &[&(round * 2000)]).await.expect("rows with it");
        until(&client, "SELECT count(*)::text FROM t", &format!("{}", round * 2000 + 1000)).await;
        damaged = primary;
    }
}

#[tokio::test]
async fn a_node_alone_refuses_to_start_with_damage_and_leaves_it_as_it_is() {
    let dir = TempDir::new().expect("directory");
    let launch = launch("n", &dir.path().join("data"));
    let mut server = launch.spawn().ready().await;
    server.connect().await.batch_execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2)").await.expect("rows");
    server.kill();
    let words = ["the log is corrupt", "does not start", "no other node is known", "backup"];
    flip(&launch.data_dir);
    assert_refused(&launch, &words);
    assert_refused(&launch, &words);
    flip(&launch.data_dir);
    let mut server = launch.spawn().ready().await;
    let count: i64 = server.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
    assert_eq!(count, 2);
    // The end writes a checkpoint.
    server.terminate();
    assert!(server.wait(READY_WITHIN).success());
    let checkpoint = std::fs::read_dir(launch.data_dir.join("checkpoints")).expect("checkpoints").next();
    let state = checkpoint.expect("one").expect("entry").path().join("state");
    for file in std::fs::read_dir(state).expect("state") {
        let path = file.expect("file").path();
        let whole = std::fs::read(&path).expect("file");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("file");
        assert_refused(&launch, &["the checkpoint is corrupt", "no other node is known"]);
        std::fs::write(&path, whole).expect("file");
    }
    let server = launch.spawn().ready().await;
    let count: i64 = server.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("read").get(0);
    assert_eq!(count, 2);
}

/// A file system of its own with a size that can be changed. It takes the right to mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: PathBuf, megabytes: usize) -> Option<Self> {
        std::fs::create_dir(&path).expect("directory");
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path))
    }

    fn resize(&self, megabytes: usize) {
        let size = format!("remount,size={megabytes}m");
        let mounted = Command::new("mount").args(["-o", &size]).arg(&self.0).status().expect("mount");
        assert!(mounted.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Inserts rows of a megabyte until one is refused; gives the number of those that were acknowledged and the error's code.
async fn fill(client: &Client, from: i32) -> (i32, String) {
    for id in from.. {
        let insert = "INSERT INTO t VALUES ($1, repeat('x', 1000000))";
        if let Err(error) = client.execute(insert, &[&id]).await {
            return (id - from, error.code().map_or_else(|| format!("{error:?}"), |code| code.code().to_owned()));
        }
        assert!(id - from < 500, "the disk does not fill up");
    }
    unreachable!("integers end later")
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let dir = TempDir::new().expect("directory");
    // One segment of the log and a half.
    let Some(disk) = SmallDisk::new(dir.path().join("disk"), 96) else {
        println!("this user may not mount: not tested");
        return;
    };
    let launch = launch("n", &disk.0.join("data"));
    let mut server = launch.spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, pad text)").await.expect("table");
    let (acknowledged, code) = fill(&client, 0).await;
    assert!(acknowledged > 10 && code == "53100", "{acknowledged} {code}");
    let count = "SELECT count(*) FROM t";
    let seen: i64 = client.query_one(count, &[]).await.expect("reads go on").get(0);
    assert_eq!(seen, i64::from(acknowledged));
    // Killed and started on the full disk: everything is there.
    server.kill();
    let mut server = launch.spawn();
    let client = loop {
        if let Ok(client) = crate::server::connect(&launch.config()).await {
            break client;
        }
        assert!(server.exited().is_none(), "{}", server.log.text());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let seen: i64 = client.query_one(count, &[]).await.expect("read").get(0);
    assert_eq!(seen, i64::from(acknowledged));
    let (more, code) = fill(&client, acknowledged).await;
    assert_eq!(code, "53100");
    disk.resize(400);
    let deadline = Instant::now() + READY_WITHIN;
    while let Err(error) = client.execute("INSERT INTO t VALUES (-1, '')", &[]).await {
        assert_eq!(error.code().map(|code| code.code()), Some("53100"), "{error:?}");
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.kill();
    let server = launch.spawn().ready().await;
    let seen: i64 = server.connect().await.query_one(count, &[]).await.expect("read").get(0);
    assert_eq!(seen, i64::from(acknowledged + more) + 1);
}

#[tokio::test]
async fn a_primary_with_a_full_disk_hands_over() {
    let dir = TempDir::new().expect("directory");
    let Some(disk) = SmallDisk::new(dir.path().join("node1"), 96) else {
        println!("this user may not mount: not tested");
        return;
    };
    // The first node of the cluster is its first primary.
    let (mut cluster, primary) = three(&dir).await;
    assert_eq!(primary, 0);
    let client = open(&cluster, primary).await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, pad text)").await.expect("table");
    let (acknowledged, code) = fill(&client, 0).await;
    assert!(["53100", "25006", "40001", "08007"].contains(&code.as_str()), "{code}");
    let deadline = Instant::now() + READY_WITHIN;
    let next = loop {
        match find_primary(&cluster, READY_WITHIN).await.expect("primary") {
            0 => assert!(Instant::now() < deadline, "{}", cluster.log(0)),
            next => break next,
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let client = open(&cluster, next).await;
    client.execute("INSERT INTO t VALUES (-1, '')", &[]).await.expect("write");
    let seen: i64 = client.query_one("SELECT count(*) FROM t WHERE id >= 0", &[]).await.expect("read").get(0);
    let unknown = i64::from(code == "08007");
    assert!(
        (i64::from(acknowledged)..=i64::from(acknowledged) + unknown).contains(&seen),
        "{seen} {acknowledged} {code}"
    );
    disk.resize(400);
    let client = open(&cluster, 0).await;
    until(&client, "SELECT count(*)::text FROM t WHERE id < 0", "1").await;
    assert!(cluster.ended(0).is_none());
}
