//! How the process starts, refuses to start, ends, and comes back after `kill -9`.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::{Launch, READY_WITHIN};
use crate::target::launch;

/// Starts what must not start: gives the exit code and what was said.
fn refused(mut command: Command) -> (i32, String) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let deadline = Instant::now() + READY_WITHIN;
    while child.try_wait().expect("wait").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("kill");
            panic!("started: {command:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("output");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap_or_else(|| panic!("ended by a signal: {text}")), text)
}

pub fn assert_refused(launch: &Launch, words: &[&str]) {
    let (code, text) = refused(launch.command());
    assert_ne!(code, 0, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    // What counts is the last line; the log may stand before it.
    let last = text.trim().lines().last().unwrap_or_default().to_lowercase();
    for word in words {
        assert!(last.contains(&word.to_lowercase()), "no {word:?} in {text:?}");
    }
}

#[tokio::test]
async fn a_wrong_start_is_one_clear_sentence() {
    let dir = TempDir::new().expect("directory");
    let data = |name: &str| dir.path().join(name);

    let taken = launch("n", &data("taken"));
    let _listener = TcpListener::bind((taken.host.as_str(), taken.port)).expect("bind");
    assert_refused(&taken, &[&taken.port.to_string(), "in use"]);

    let foreign = data("foreign");
    std::fs::create_dir(&foreign).expect("directory");
    std::fs::write(foreign.join("holiday.txt"), "not a database").expect("file");
    assert_refused(&launch("n", &foreign), &["foreign"]);
    assert_eq!(std::fs::read_to_string(foreign.join("holiday.txt")).expect("untouched"), "not a database");

    let file = data("file");
    std::fs::write(&file, "a file").expect("file");
    assert_refused(&launch("n", &file), &["file"]);
    // Root writes anywhere but into the kernel's own tree.
    assert_refused(&launch("n", Path::new("/proc/lockstep")), &["/proc/lockstep"]);
    let locked = data("locked");
    std::fs::create_dir(&locked).expect("directory");
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o500)).expect("permissions");
    if std::fs::write(locked.join("probe"), "").is_err() {
        assert_refused(&launch("n", &locked), &["locked"]);
    }

    let running = launch("n", &data("running")).spawn().ready().await;
    assert_refused(&launch("n", &running.launch.data_dir), &["running"]);
    running.connect().await.batch_execute("SELECT 1").await.expect("the first process goes on");

    let mut open = launch("n", &data("open"));
    open.host = "0.0.0.0".into();
    assert_refused(&open, &["scram-sha-256"]);
}

#[test]
fn an_unknown_flag_or_setting_is_refused_by_name() {
    let dir = TempDir::new().expect("directory");
    let mut flag = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    flag.arg("--nothing-like-this").current_dir(&dir);
    let (code, text) = refused(flag);
    assert_ne!(code, 0);
    assert!(text.contains("--nothing-like-this"), "{text}");
    let file = dir.path().join("lockstep.toml");
    std::fs::write(&file, "nothing_like_this = 1\n").expect("file");
    let mut setting = launch("n", &dir.path().join("data"));
    setting.extra = vec!["--config".into(), file.display().to_string()];
    let (code, text) = refused(setting.command());
    assert_ne!(code, 0);
    assert!(text.contains("nothing_like_this"), "{text}");
}

#[tokio::test]
async fn it_prints_the_line_that_connects() {
    let dir = TempDir::new().expect("directory");
    let server = launch("n", &dir.path().join("data")).spawn().ready().await;
    // It answers as soon as it is the primary, and says so a moment later.
    let deadline = Instant::now() + READY_WITHIN;
    let line = loop {
        if let Some(line) = server.log.text().lines().find(|line| line.contains("psql")) {
            break line.to_owned();
        }
        assert!(Instant::now() < deadline, "no psql line in\n{}", server.log.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(line.contains("127.0.0.1") && line.contains(&server.launch.port.to_string()), "{line}");
}

#[tokio::test]
async fn sigterm_ends_it_with_everything_kept() {
    let dir = TempDir::new().expect("directory");
    let launch = launch("n", &dir.path().join("data"));
    for round in 0..3_i64 {
        let mut server = launch.spawn().ready().await;
        let client = server.connect().await;
        client.batch_execute("CREATE TABLE IF NOT EXISTS t (id bigserial PRIMARY KEY, v int)").await.expect("table");
        let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.expect("count").get(0);
        assert_eq!(count, round * 100);
        client.batch_execute("INSERT INTO t (v) SELECT g FROM generate_series(1, 100) AS g").await.expect("rows");
        server.terminate();
        let status = server.wait(Duration::from_secs(30));
        assert!(status.success(), "{status}: {}", server.log.text());
    }
}

#[tokio::test]
async fn kill_9_in_mid_load_keeps_every_acknowledged_row() {
    const WRITERS: i64 = 4;
    let dir = TempDir::new().expect("directory");
    let launch = launch("n", &dir.path().join("data"));
    let mut acknowledged = vec![0_i64; WRITERS as usize];
    for round in 0..4 {
        let mut server = launch.spawn().ready().await;
        let client = server.connect().await;
        if round == 0 {
            let ddl =
                "CREATE TABLE t (writer int, n bigint, pad text, PRIMARY KEY (writer, n)); CREATE INDEX t_n ON t (n)";
            client.batch_execute(ddl).await.expect("table");
        }
        for writer in 0..WRITERS {
            let row = client
                .query_one("SELECT count(*), coalesce(max(n), 0) FROM t WHERE writer = $1", &[&(writer as i32)])
                .await
                .expect("count");
            let (count, last): (i64, i64) = (row.get(0), row.get(1));
            assert_eq!(count, last, "writer {writer}: rows are missing in the middle");
            let sure = acknowledged[writer as usize];
            assert!(last == sure || last == sure + 1, "writer {writer}: {last} there, {sure} acknowledged");
            acknowledged[writer as usize] = last;
        }
        let total = Arc::new(AtomicI64::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (config, total, stopped) = (launch.config(), total.clone(), stopped.clone());
                let mut last = acknowledged[writer as usize];
                tokio::spawn(async move {
                    let client = crate::server::connect(&config).await.expect("connect");
                    let insert =
                        client.prepare("INSERT INTO t VALUES ($1, $2, repeat('x', 50))").await.expect("prepare");
                    while !stopped.load(Ordering::Relaxed) {
                        match client.execute(&insert, &[&(writer as i32), &(last + 1)]).await {
                            Ok(_) => last += 1,
                            Err(error) => {
                                assert!(error.is_closed() || error.code().is_none(), "{error:?}");
                                break;
                            }
                        }
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                    last
                })
            })
            .collect();
        while total.load(Ordering::Relaxed) < 300 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.kill();
        stopped.store(true, Ordering::Relaxed);
        for (writer, task) in writers.into_iter().enumerate() {
            acknowledged[writer] = task.await.expect("writer");
        }
    }
}
