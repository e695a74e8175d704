//! What a node says of itself and of the cluster: views, Prometheus, the paths for load balancers, and what it calls wrong.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::Client;

use crate::cluster::until;
use crate::server::{Launch, Server, free_port};
use crate::target::launch;

const SOON: Duration = Duration::from_secs(60);

/// A node that answers over HTTP too, and the port it does it on.
fn monitored(name: &str, dir: &TempDir) -> (Launch, u16) {
    let mut node = launch(name, &dir.path().join(name));
    let port = free_port();
    node.extra.extend(["--http-listen".to_owned(), format!("127.0.0.1:{port}")]);
    (node, port)
}

/// Status and body; `None`: nobody listens.
async fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn becomes(port: u16, path: &str, wanted: u16) {
    let deadline = Instant::now() + SOON;
    loop {
        let got = get(port, path).await;
        if got.as_ref().is_some_and(|(status, _)| *status == wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{path} on {port}: {got:?}, not {wanted}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The value of a series, named with its labels as the text has it.
fn series(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

async fn number(client: &Client, sql: &str) -> f64 {
    let row = client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    row.get::<_, f64>(0)
}

#[tokio::test]
async fn one_node_counts_what_was_done() {
    let dir = TempDir::new().expect("directory");
    let (node, http) = monitored("node1", &dir);
    let server = node.spawn().ready().await;
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int, w int); CREATE INDEX t_v ON t (v);
             INSERT INTO t SELECT g, g, g FROM generate_series(1, 1000) g",
        )
        .await
        .expect("table");
    client.batch_execute("UPDATE t SET w = 0 WHERE id <= 10; DELETE FROM t WHERE id > 990").await.expect("changes");
    for id in 0..20_i32 {
        client.query("SELECT w FROM t WHERE id = $1", &[&id]).await.expect("by key");
        client.query("SELECT w FROM t WHERE v = $1", &[&id]).await.expect("by index");
    }
    client.query("SELECT sum(w) FROM t", &[]).await.expect("scan");
    let error = client.query("SELECT 1 / (w - w) FROM t WHERE id = 20", &[]).await.expect_err("division");
    assert_eq!(error.code().map(|code| code.code()), Some("22012"));

    let table = "SELECT concat_ws(' ', n_tup_ins, n_tup_upd, n_tup_del, n_live_tup, seq_scan > 0, seq_tup_read >= 990) \
                 FROM pg_stat_user_tables WHERE relname = 't'";
    until(&client, table, "1000 10 10 990 t t").await;
    let indexes = "SELECT string_agg(indexrelname || ' ' || (idx_scan >= 20)::text, ' ' ORDER BY indexrelname) \
                   FROM pg_stat_user_indexes WHERE relname = 't'";
    until(&client, indexes, "t_pkey true t_v true").await;
    let statement = "SELECT concat_ws(' ', calls, rows, errors, p50_exec_time > 0, p50_exec_time <= p99_exec_time, \
                     p99_exec_time <= max_exec_time, total_exec_time >= max_exec_time) FROM lockstep_statements WHERE query = ";
    let by_key = format!("{statement} 'SELECT w FROM t WHERE id = $1'");
    until(&client, &by_key, "20 19 0 t t t t").await;
    let failed =
        "SELECT errors::text FROM lockstep_statements WHERE query = 'SELECT $1 / (w - w) FROM t WHERE id = $2'";
    until(&client, failed, "1").await;
    // Constants are never kept.
    client.batch_execute("CREATE ROLE r PASSWORD 'secret-word'").await.expect("role");
    until(&client, "SELECT count(*)::text FROM lockstep_statements WHERE query LIKE '%secret-w%'", "0").await;
    until(&client, "SELECT count(*)::text FROM lockstep_statements WHERE query LIKE 'CREATE ROLE r PASSWORD $%'", "1")
        .await;

    client.batch_execute("CHECKPOINT").await.expect("checkpoint");
    let log = "SELECT concat_ws(' ', segments > 0, bytes > 0, written_bytes > 0, syncs > 0, records > 0, \
               sync_p50_ms <= sync_p99_ms, durable_position = appended_position, full) FROM lockstep_wal";
    until(&client, log, "t t t t t t t f").await;
    let checkpoint = "SELECT concat_ws(' ', running, written, failed, bytes > 0, duration > '0 s', \
                      finished_at > now() - interval '1 hour', last_error IS NULL) FROM lockstep_checkpoints";
    until(&client, checkpoint, "f 1 0 t t t t").await;
    let partitions = "SELECT concat_ws(' ', sum(rows) >= 990, count(*) = (SELECT partitions FROM lockstep_tables \
                      WHERE relname = 't'), sum(hot_bytes + chunk_bytes) > 0) FROM lockstep_partitions WHERE relname = 't'";
    until(&client, partitions, "t t t").await;
    until(&client, "SELECT (skew BETWEEN 1 AND 2)::text FROM lockstep_tables WHERE relname = 't'", "true").await;
    let latency = "SELECT string_agg(kind || ' ' || (n > 0)::text, ' ' ORDER BY kind) FROM \
                   (SELECT kind, sum(count) AS n FROM lockstep_latency GROUP BY kind) s";
    until(&client, latency, "commit true statement true wal_sync true").await;
    until(&client, "SELECT count(*)::text FROM lockstep_health", "0").await;
    let database = "SELECT concat_ws(' ', xact_commit > 40, xact_rollback >= 1, tup_inserted >= 1000, numbackends) \
                    FROM pg_stat_database";
    until(&client, database, "t t t 1").await;
    until(&client, "SELECT concat_ws(' ', wal_bytes > 0, wal_sync > 0, wal_fpi) FROM pg_stat_wal", "t t 0").await;

    // The same figures for Prometheus.
    let (status, metrics) = get(http, "/metrics").await.expect("metrics");
    assert_eq!(status, 200);
    for (name, sql) in [
        ("lockstep_table_inserted_rows_total{schema=\"public\",table=\"t\"}", "SELECT 1000::float8"),
        ("lockstep_table_rows{schema=\"public\",table=\"t\"}", "SELECT 990::float8"),
        ("lockstep_checkpoints_written_total", "SELECT written::float8 FROM lockstep_checkpoints"),
        ("lockstep_wal_full", "SELECT 0::float8"),
        ("lockstep_primary", "SELECT 1::float8"),
        ("lockstep_problems_critical", "SELECT 0::float8"),
        ("lockstep_sessions{state=\"active\"}", "SELECT 0::float8"),
        ("lockstep_sessions{state=\"idle\"}", "SELECT 1::float8"),
    ] {
        assert_eq!(series(&metrics, name), Some(number(&client, sql).await), "{name}\n{metrics}");
    }
    let bucket = |name: &str| series(&metrics, name).unwrap_or_else(|| panic!("{name}\n{metrics}"));
    let (all, count) = (
        bucket("lockstep_commit_duration_seconds_bucket{le=\"+Inf\"}"),
        bucket("lockstep_commit_duration_seconds_count"),
    );
    assert!(all == count && count > 0.0);
    assert!(!metrics.contains("secret-word") && !metrics.contains("SELECT"), "{metrics}");
    for (path, wanted, body) in [
        ("/livez", 200, "alive\n"),
        ("/readyz", 200, "primary\n"),
        ("/primary", 200, "primary\n"),
        ("/replica", 503, "primary\n"),
    ] {
        assert_eq!(get(http, path).await, Some((wanted, body.to_owned())), "{path}");
    }
}

#[tokio::test]
async fn texts_of_others_are_hidden_from_ordinary_roles() {
    let dir = TempDir::new().expect("directory");
    let server = launch("node1", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("CREATE ROLE ada LOGIN; SELECT 'by the superuser'").await.expect("role");
    let mut config = server.launch.config();
    let ada = crate::server::connect(config.user("ada")).await.expect("connect as ada");
    ada.batch_execute("SELECT 'by ada'").await.expect("query");
    let seen = "SELECT DISTINCT (userid = 'ada'::regrole)::text || ' ' || (query = '<insufficient privilege>')::text \
                FROM lockstep_statements ORDER BY 1";
    until(&ada, seen, "false true true false").await;
}

#[tokio::test]
async fn a_cluster_says_what_is_wrong_with_it_and_when_it_is_over() {
    let dir = TempDir::new().expect("directory");
    let (first, first_http) = monitored("node1", &dir);
    let mut ports = vec![first_http];
    let mut servers: Vec<Server> = vec![first.spawn().ready().await];
    let client = servers[0].connect().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("table");
    for name in ["node2", "node3"] {
        let (mut node, http) = monitored(name, &dir);
        node = node.joining(&first);
        ports.push(http);
        servers.push(node.spawn());
    }
    for (server, http) in servers.iter().zip(&ports).skip(1) {
        becomes(*http, "/replica", 200).await;
        assert_eq!(get(*http, "/primary").await, Some((503, "standby\n".to_owned())), "{}", server.launch.name);
    }
    // Every node says the same of the cluster.
    let healthy = "SELECT coalesce(string_agg(problem || ':' || coalesce(node, '-'), ' ' ORDER BY problem, node), 'none') \
                   FROM lockstep_health";
    for server in &servers {
        let client = server.connect().await;
        until(&client, healthy, "none").await;
        until(
            &client,
            "SELECT count(*)::text FROM lockstep_replication WHERE bytes_behind = 0 AND seconds_behind = 0",
            "2",
        )
        .await;
    }
    client.batch_execute("INSERT INTO t VALUES (1), (2)").await.expect("rows");
    let standby = servers[1].connect().await;
    until(&standby, "SELECT n_tup_ins::text FROM pg_stat_user_tables WHERE relname = 't'", "2").await;

    servers[2].kill();
    let down = "no_spare_voter:- voter_down:node3";
    until(&client, healthy, down).await;
    until(&standby, healthy, down).await;
    let (_, metrics) = get(ports[1], "/metrics").await.expect("metrics");
    let named = "lockstep_problem{problem=\"voter_down\",node=\"node3\",severity=\"critical\"}";
    assert_eq!(series(&metrics, named), Some(1.0), "{metrics}");
    servers[1].kill();
    // No quorum: alive, and neither ready nor primary.
    becomes(ports[0], "/primary", 503).await;
    becomes(ports[0], "/readyz", 503).await;
    assert_eq!(get(ports[0], "/livez").await.map(|answer| answer.0), Some(200));

    let again: Vec<Server> = servers[1..].iter().map(|server| server.launch.spawn()).collect();
    let deadline = Instant::now() + SOON;
    loop {
        let told = servers[0].log.text();
        let of_node3 = || told.lines().filter(|line| line.contains("problem=\"voter_down\" node=\"node3\""));
        if of_node3().any(|line| line.contains("ERROR")) && of_node3().any(|line| line.contains("no longer: ")) {
            break;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    becomes(ports[1], "/readyz", 200).await;
    let client = again[0].connect().await;
    until(&client, healthy, "none").await;

    // A standby that is left alone serves nobody, and does not call the dead one the primary.
    let mut all: Vec<Server> = servers.drain(..1).chain(again).collect();
    let mut primary = None;
    for (place, port) in ports.iter().enumerate() {
        if get(*port, "/primary").await.is_some_and(|(status, _)| status == 200) {
            primary = Some(place);
        }
    }
    let left = (primary.expect("a primary") + 1) % all.len();
    for (place, server) in all.iter_mut().enumerate() {
        if place != left {
            server.kill();
        }
    }
    becomes(ports[left], "/replica", 503).await;
    becomes(ports[left], "/readyz", 503).await;
    let deadline = Instant::now() + SOON;
    loop {
        let (_, metrics) = get(ports[left], "/metrics").await.expect("metrics");
        if !metrics.contains("role=\"primary\"") {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    }
    assert_eq!(get(ports[left], "/replica").await.map(|answer| answer.0), Some(503));
    let client = all[left].connect().await;
    let critical = "SELECT (count(*) > 0)::text FROM lockstep_health WHERE severity = 'critical'";
    until(&client, critical, "true").await;
}

#[tokio::test]
async fn a_witness_is_ready_and_well() {
    let dir = TempDir::new().expect("directory");
    let (first, _) = monitored("node1", &dir);
    let one = first.spawn().ready().await;
    let (second, _) = monitored("node2", &dir);
    let _two = second.joining(&first).spawn();
    let (mut third, http) = monitored("node3", &dir);
    third.extra.push("--witness".into());
    let _witness = third.joining(&first).spawn();
    let client = one.connect().await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    becomes(http, "/readyz", 200).await;
    assert_eq!(get(http, "/readyz").await, Some((200, "witness\n".to_owned())));
    assert_eq!(get(http, "/replica").await, Some((503, "witness\n".to_owned())));
    let deadline = Instant::now() + SOON;
    let metrics = loop {
        let (_, metrics) = get(http, "/metrics").await.expect("metrics");
        if series(&metrics, "lockstep_problems_critical") == Some(0.0) {
            break metrics;
        }
        assert!(Instant::now() < deadline, "{metrics}");
    };
    assert_eq!(series(&metrics, "lockstep_up"), Some(1.0), "{metrics}");
    assert!(series(&metrics, "lockstep_term").is_some_and(|term| term > 0.0), "{metrics}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_before_anything_else() {
    let dir = TempDir::new().expect("directory");
    let (node, http) = monitored("node1", &dir);
    let _holder = std::net::TcpListener::bind(("127.0.0.1", http)).expect("hold the port");
    let mut server = node.spawn();
    assert!(!server.wait(SOON).success());
    assert!(server.log.text().contains(&format!("could not listen on 127.0.0.1:{http}")), "{}", server.log.text());
    assert!(!dir.path().join("node1").exists());
}
