//! Backups of running nodes, new clusters from them, and the archived log up to a moment: all with the real binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tempfile::TempDir;

use crate::cluster::until;
use crate::server::{Launch, READY_WITHIN, Server};
use crate::target::launch;

fn run(arguments: &[&str]) -> Output {
    let binary = launch("none", Path::new("none")).binary;
    Command::new(binary).args(arguments).output().expect("the binary runs")
}

fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.into_owned()
}

fn refused(arguments: &[&str], words: &str) {
    let output = run(arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains(words), "{arguments:?}: {err}");
    assert!(!err.contains("panicked"), "{err}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8 path")
}

async fn value(server: &Server, sql: &str) -> String {
    let row = server.connect().await.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.get(0)
}

/// Starts a node of its own on a restored directory.
async fn started(dir: &Path) -> Server {
    launch("restored1", dir).spawn().ready().await
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("directory").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_is_one_state_and_begins_a_new_cluster() {
    let dir = TempDir::new().expect("directory");
    let server = launch("node1", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE accounts (id int PRIMARY KEY, balance int8 NOT NULL);
             CREATE TABLE journal (n int8, writer int, PRIMARY KEY (writer, n));
             INSERT INTO accounts SELECT g, 1000 FROM generate_series(0, 99) AS g; CREATE SEQUENCE s START 7",
        )
        .await
        .expect("tables");
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let mut writers = Vec::new();
    for writer in 0..4_i32 {
        let (client, stop, acknowledged) = (server.connect().await, stop.clone(), acknowledged.clone());
        writers.push(tokio::spawn(async move {
            for n in 0_i32.. {
                let (from, to) = ((n * 7 + writer * 13) % 100, (n * 3 + writer * 31 + 1) % 100);
                let transfer = format!(
                    "BEGIN; UPDATE accounts SET balance = balance - 5 WHERE id = {};
                     UPDATE accounts SET balance = balance + 5 WHERE id = {};
                     INSERT INTO journal VALUES ({n}, {writer}); COMMIT",
                    from.min(to),
                    from.max(to)
                );
                client.batch_execute(&transfer).await.expect("transfer");
                acknowledged.fetch_add(1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        }));
    }
    while acknowledged.load(Ordering::SeqCst) < 20 {
        tokio::task::yield_now().await;
    }
    let backup = dir.path().join("backup");
    let url = format!("file://{}", backup.display());
    let before = acknowledged.load(Ordering::SeqCst);
    let (address, to) = (server.launch.peer_address(), url.clone());
    let taken = tokio::task::spawn_blocking(move || succeed(&["backup", "--connect", &address, "--to", &to]));
    let said = taken.await.expect("backup");
    assert!(said.contains("backed up and verified"), "{said}");
    let after = acknowledged.load(Ordering::SeqCst) + 4;
    assert!(after > before + 4, "there was no load");
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("writer");
    }
    refused(&["backup", "--connect", &server.launch.peer_address(), "--to", &url], "is not empty");
    refused(&["backup", "--connect", &server.launch.peer_address(), "--to", "s3://bucket/x"], "not built in");
    refused(&["backup", "--connect", "127.0.0.1:1", "--to", text(&dir.path().join("other"))], "cannot be backed up");

    let restored = dir.path().join("restored");
    let restore = ["restore", "--from", &url, "--data-dir", text(&restored)];
    succeed(&restore);
    refused(&restore, "is not empty");
    let first = started(&restored).await;
    assert_eq!(value(&first, "SELECT sum(balance)::text FROM accounts").await, "100000");
    let journal: i64 = value(&first, "SELECT count(*)::text FROM journal").await.parse().expect("number");
    assert!((before..=after).contains(&journal), "{before} {journal} {after}");
    // What each writer did is there without a hole.
    let holes =
        "SELECT count(*)::text FROM (SELECT writer FROM journal GROUP BY writer HAVING max(n) + 1 <> count(*)) h";
    assert_eq!(value(&first, holes).await, "0");
    assert_eq!(value(&first, "SELECT nextval('s')::text").await, "7");
    let cluster = "SELECT count(*)::text FROM lockstep_nodes";
    assert_eq!(value(&first, cluster).await, "1");

    // A cluster of another size, with the old one still there.
    let join = |name: &str| launch(name, &dir.path().join(name)).joining(&first.launch);
    let launches: Vec<Launch> = ["restored2", "restored3"].map(join).into();
    let others: Vec<Server> = launches.iter().map(Launch::spawn).collect();
    let client = first.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    until(&client, "SELECT name FROM lockstep_nodes WHERE id = 1", "restored1").await;
    client.execute("INSERT INTO journal VALUES (-1, -1)", &[]).await.expect("write");
    for other in &others {
        let client = other.connect().await;
        until(&client, "SELECT count(*)::text FROM journal", &(journal + 1).to_string()).await;
        until(&client, "SELECT sum(balance)::text FROM accounts", "100000").await;
    }
    let count: i64 = value(&server, "SELECT count(*)::text FROM journal WHERE n < 0").await.parse().expect("number");
    assert_eq!(count, 0, "the old cluster is another one");
}

#[tokio::test]
async fn a_damaged_backup_is_refused_and_leaves_nothing_behind() {
    let dir = TempDir::new().expect("directory");
    let server = launch("node1", &dir.path().join("data")).spawn().ready().await;
    let rows = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'one'), (2, 'two')";
    server.connect().await.batch_execute(rows).await.expect("rows");
    let backup = dir.path().join("backup");
    succeed(&["backup", "--connect", &server.launch.peer_address(), "--to", text(&backup)]);
    let restored = dir.path().join("restored");
    let restore = ["restore", "--from", text(&backup), "--data-dir", text(&restored)];
    let files = files_below(&backup);
    assert!(files.len() >= 3, "{files:?}");
    for path in files {
        let whole = std::fs::read(&path).expect("file");
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).expect("file");
        refused(&restore, "the backup is damaged");
        std::fs::write(&path, &whole[..middle]).expect("file");
        refused(&restore, "the backup is damaged");
        std::fs::remove_file(&path).expect("file");
        let words = if path.ends_with("backup.toml") { "holds no finished backup" } else { "is missing" };
        refused(&restore, words);
        std::fs::write(&path, whole).expect("file");
        assert!(!restored.exists());
    }
    succeed(&restore);
    assert_eq!(value(&started(&restored).await, "SELECT string_agg(v, ' ' ORDER BY id) FROM t").await, "one two");
}

/// True when everything that this node has applied is archived.
const ARCHIVED: &str =
    "SELECT coalesce((split_part(split_part(last_archived_wal, '-', 2), '.', 1)::int8 >= (applied_position >> 16) - 1)::text, 'false')
                        FROM pg_stat_archiver, lockstep_nodes WHERE this_node";

#[tokio::test]
async fn the_log_is_replayed_to_a_moment_between_two_commits() {
    let dir = TempDir::new().expect("directory");
    let (archive, backup) = (dir.path().join("archive"), dir.path().join("backup"));
    let mut launch = launch("node1", &dir.path().join("data"));
    launch.extra = ["--archive-to", text(&archive), "--archive-interval", "50ms"].map(str::to_owned).into();
    let mut server = launch.spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)").await.expect("table");
    let moment = "SELECT clock_timestamp()::text";
    let too_early = value(&server, moment).await;
    client.execute("INSERT INTO t VALUES (1)", &[]).await.expect("row");
    succeed(&["backup", "--connect", &server.launch.peer_address(), "--to", text(&backup)]);
    client.execute("INSERT INTO t VALUES (2)", &[]).await.expect("row");
    let two = value(&server, moment).await;
    let position = "SELECT applied_position::text FROM lockstep_nodes WHERE this_node";
    let at_two = value(&server, position).await;
    client.batch_execute("INSERT INTO t SELECT g FROM generate_series(1000, 200000) AS g").await.expect("rows");
    let three = value(&server, moment).await;
    until(&client, ARCHIVED, "true").await;
    // The archive goes on over a crash and a restart.
    server.kill();
    let server = launch.spawn().ready().await;
    let client = server.connect().await;
    client.execute("INSERT INTO t VALUES (4)", &[]).await.expect("row");
    until(&client, ARCHIVED, "true").await;
    // One more file of the archive, behind that of the last row.
    client.batch_execute("CREATE TABLE behind ()").await.expect("table");
    until(&client, ARCHIVED, "true").await;

    let mut number = 0;
    let mut fresh = || {
        number += 1;
        dir.path().join(format!("restored{number}"))
    };
    let ids = "SELECT coalesce(string_agg(id::text, ' ' ORDER BY id) FILTER (WHERE id < 1000), '') || '+' || count(*) FILTER (WHERE id >= 1000) FROM t";
    let base = ["restore", "--from", text(&backup)];
    let cases: [(&[&str], &str); 5] = [
        (&[], "0 1+0"),
        (&["--archive", text(&archive), "--to-time", &two], "0 1 2+0"),
        (&["--archive", text(&archive), "--to-position", &at_two], "0 1 2+0"),
        (&["--archive", text(&archive), "--to-time", &three], "0 1 2+199001"),
        (&["--archive", text(&archive)], "0 1 2 4+199001"),
    ];
    for (more, wanted) in cases {
        let data = fresh();
        succeed(&[&base[..], &["--data-dir", text(&data)], more].concat());
        let server = started(&data).await;
        assert_eq!(value(&server, ids).await, wanted, "{more:?}");
        // It goes on from there.
        server.connect().await.execute("INSERT INTO t VALUES (5)", &[]).await.expect("row");
    }
    let data = fresh();
    let to = |target: &[&'static str]| {
        [&base[..], &["--data-dir", text(&data), "--archive", text(&archive)], target].concat()
    };
    refused(&[&to(&["--to-time"])[..], &[&too_early]].concat(), "of a later state");
    refused(&to(&["--to-time", "2100-01-01 00:00:00"]), "ends before the target");
    refused(&to(&["--to-time", "soon"]), "to-time");
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("directory");
    let wrong = ["--data-dir", text(&data), "--archive", text(&elsewhere)];
    refused(&[&base[..], &wrong].concat(), "it holds no log of cluster");
    let files = files_below(&archive);
    assert!(files.len() > 2, "{files:?}");
    let mut files = files;
    files.sort();
    let middle = &files[files.len() - 2];
    let whole = std::fs::read(middle).expect("archive");
    let mut bytes = whole.clone();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    std::fs::write(middle, bytes).expect("archive");
    refused(&to(&[]), "checksum");
    std::fs::remove_file(middle).expect("archive");
    refused(&to(&[]), "it has a gap");
    assert!(!data.exists());
}

#[tokio::test]
async fn an_archive_that_fails_is_loud_and_loses_nothing() {
    let dir = TempDir::new().expect("directory");
    let (archive, backup) = (dir.path().join("in-the-way"), dir.path().join("backup"));
    std::fs::write(&archive, "a file").expect("file");
    let mut launch = launch("node1", &dir.path().join("data"));
    launch.extra = ["--archive-to", text(&archive), "--archive-interval", "50ms"].map(str::to_owned).into();
    let server = launch.spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)").await.expect("table");
    until(&client, "SELECT (failed_count > 0 AND archived_count = 0)::text FROM pg_stat_archiver", "true").await;
    assert!(server.log.text().contains("NOT ARCHIVED"), "{}", server.log.text());
    let problems = "SELECT coalesce(string_agg(problem, ' '), '') FROM lockstep_health";
    until(&client, problems, "archive_failing").await;
    succeed(&["backup", "--connect", &server.launch.peer_address(), "--to", text(&backup)]);
    for id in 1..20_i32 {
        client.execute("INSERT INTO t VALUES ($1)", &[&id]).await.expect("row");
    }
    std::fs::remove_file(&archive).expect("file");
    until(&client, ARCHIVED, "true").await;
    let deadline = std::time::Instant::now() + READY_WITHIN;
    until(&client, problems, "").await;
    while !server.log.text().contains("archived again") {
        assert!(std::time::Instant::now() < deadline, "{}", server.log.text());
        tokio::task::yield_now().await;
    }
    let data = dir.path().join("restored");
    succeed(&["restore", "--from", text(&backup), "--archive", text(&archive), "--data-dir", text(&data)]);
    assert_eq!(value(&started(&data).await, "SELECT count(*)::text FROM t").await, "20");
}
