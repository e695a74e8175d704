//! Nodes come, go, are promoted and demoted while the cluster works, by SQL and from the command line; what would lose
//! the quorum is refused; ids are never given twice; a node of another cluster stays outside.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::cluster::until;
use crate::server::{Launch, READY_WITHIN, Server};

pub fn node(dir: &TempDir, name: &str) -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_lockstep"), name, dir.path().join(name))
}

/// Waits until a node answers reads.
pub async fn answers(mut server: Server) -> Server {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let ended = server.exited();
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "{} {ended:?}\n{}",
            server.launch.name,
            server.log.text()
        );
        if let Ok(client) = crate::server::connect(&server.launch.config()).await
            && client.batch_execute("SELECT count(*) FROM pg_class").await.is_ok()
        {
            return server;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a process printed something.
pub async fn prints(server: &Server, words: &str) {
    let deadline = Instant::now() + READY_WITHIN;
    while !server.log.text().contains(words) {
        assert!(Instant::now() < deadline, "{} does not say {words:?}:\n{}", server.launch.name, server.log.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Three voters, the first of which is the primary, and a client of it.
async fn three(dir: &TempDir) -> (Vec<Server>, Client) {
    let first = node(dir, "n1").spawn().ready().await;
    let client = first.connect().await;
    let mut servers = vec![first];
    for name in ["n2", "n3"] {
        let launch = node(dir, name).joining(&servers[0].launch);
        servers.push(answers(launch.spawn()).await);
        let voters = servers.len().to_string();
        until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", &voters).await;
    }
    (servers, client)
}

/// `lockstep node …` beside a node; what it printed, and whether it succeeded.
async fn command(beside: &Launch, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(&beside.binary);
    command.arg("node").args(arguments).arg("--data-dir").arg(&beside.data_dir);
    command.args(["--connect", &beside.peer_address()]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("task").expect("command");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// The SQLSTATE, message and detail of a statement that fails.
async fn refused(client: &Client, sql: &str, code: &str, words: &str) {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let report = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let text = format!("{} {}", report.message(), report.detail().unwrap_or_default());
    assert!(report.code().code() == code && text.contains(words), "{sql}: {} {text}", report.code().code());
}

async fn membership(client: &Client, name: &str, wanted: &str) {
    until(client, &format!("SELECT membership FROM lockstep_nodes WHERE name = '{name}'"), wanted).await;
}

/// Writes without a pause and must never fail.
struct Writer {
    stopped: Arc<AtomicBool>,
    written: Arc<AtomicI64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    async fn start(client: Client) -> Self {
        client.batch_execute("CREATE TABLE t (id bigint PRIMARY KEY)").await.expect("table");
        let (stopped, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
        let (stop, count) = (stopped.clone(), written.clone());
        let task = tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let id = count.load(Ordering::Relaxed);
                client
                    .execute("INSERT INTO t VALUES ($1)", &[&id])
                    .await
                    .expect("a write while the membership changes");
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stopped, written, task }
    }

    async fn finish(self) -> i64 {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.await.expect("writer");
        self.written.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_come_and_go_while_writes_go_on() {
    let dir = TempDir::new().expect("directory");
    let (mut servers, client) = three(&dir).await;
    let writer = Writer::start(servers[0].connect().await).await;
    let (one, two) = (servers[0].launch.clone(), servers[1].launch.clone());

    let (worked, list) = command(&one, &["list"]).await;
    assert!(worked && ["n1", "n2", "n3", "primary", "standby"].iter().all(|word| list.contains(word)), "{list}");
    // Asked on a standby, done by the primary.
    let (worked, said) = command(&two, &["demote", "n3"]).await;
    assert!(worked && said.contains("WARNING: with 2 voters"), "{said}");
    membership(&client, "n3", "learner").await;
    servers[2].kill();
    servers[2] = answers(servers[2].launch.spawn()).await;
    until(&client, "SELECT state FROM lockstep_nodes WHERE name = 'n3'", "streaming").await;

    let mut waiting = node(&dir, "n4");
    waiting.extra = vec!["--await-invitation".into()];
    let mut fourth = waiting.spawn();
    prints(&fourth, "waiting for a cluster to invite").await;
    let (worked, said) = command(&two, &["add", &waiting.peer_address(), "--learner"]).await;
    assert!(worked && said.contains("n4"), "{said}");
    fourth = answers(fourth).await;
    until(&client, "SELECT state FROM lockstep_nodes WHERE name = 'n4'", "streaming").await;
    membership(&client, "n4", "learner").await;
    membership(&client, "n3", "learner").await;
    refused(&client, &format!("ALTER SYSTEM ADD NODE '{}'", waiting.peer_address()), "42710", "n4").await;

    let standby = servers[1].connect().await;
    standby.batch_execute("ALTER SYSTEM PROMOTE NODE n3").await.expect("promote, asked on a standby");
    membership(&client, "n3", "voter").await;
    let (worked, said) = command(&one, &["promote", "n4"]).await;
    assert!(worked && (said.contains("buys nothing") || said.contains("caught up")), "{said}");
    membership(&client, "n4", "voter").await;
    until(&client, "SELECT id::text FROM lockstep_nodes WHERE name = 'n4'", "4").await;

    client.batch_execute("ALTER SYSTEM REMOVE NODE \"n4\"").await.expect("remove");
    until(&client, "SELECT count(*)::text FROM lockstep_nodes", "3").await;
    assert!(!fourth.wait(READY_WITHIN).success());
    assert!(fourth.log.text().contains("node 4 was removed from cluster"), "{}", fourth.log.text());
    // It does not come back with what it had.
    let mut again = waiting.spawn();
    assert!(!again.wait(READY_WITHIN).success());
    assert!(again.log.text().contains("was removed from cluster"), "{}", again.log.text());
    // With an empty disk it is a new node.
    std::fs::remove_dir_all(&waiting.data_dir).expect("wiped");
    let again = answers(Launch { extra: Vec::new(), ..waiting.clone() }.joining(&one).spawn()).await;
    membership(&client, "n4", "voter").await;
    until(&client, "SELECT id::text FROM lockstep_nodes WHERE name = 'n4'", "5").await;

    let written = writer.finish().await;
    assert!(written > 100, "{written}");
    for server in servers.iter().chain([&again]) {
        until(&server.connect().await, "SELECT count(*)::text FROM t", &written.to_string()).await;
    }
}

#[tokio::test]
async fn changes_that_would_lose_the_quorum_are_refused() {
    let dir = TempDir::new().expect("directory");
    let (mut servers, client) = three(&dir).await;
    client.batch_execute("CREATE ROLE guest LOGIN").await.expect("role");
    refused(&client, "ALTER SYSTEM REMOVE NODE n1", "55000", "is the primary").await;
    refused(&client, "ALTER SYSTEM DEMOTE NODE n1", "55000", "is the primary").await;
    refused(&client, "ALTER SYSTEM REMOVE NODE nobody", "42704", "nobody").await;
    refused(&client, "BEGIN; ALTER SYSTEM REMOVE NODE n3", "25001", "transaction block").await;
    client.batch_execute("ROLLBACK").await.expect("rollback");
    refused(&client, "ALTER SYSTEM REMOVE NODE", "42601", "").await;
    let mut config = servers[0].launch.config();
    let guest = crate::server::connect(config.user("guest")).await.expect("guest");
    refused(&guest, "ALTER SYSTEM REMOVE NODE n3", "42501", "permission denied").await;

    servers[2].kill();
    let silent = "SELECT (last_contact > interval '2 s')::text FROM lockstep_nodes WHERE name = 'n3'";
    until(&client, silent, "true").await;
    refused(&client, "ALTER SYSTEM REMOVE NODE n2", "55000", "would lose its quorum").await;
    refused(&client, "ALTER SYSTEM DEMOTE NODE n2", "55000", "n3").await;
    client.batch_execute("CREATE TABLE t (id int)").await.expect("the cluster goes on");
    client.batch_execute("ALTER SYSTEM REMOVE NODE n3").await.expect("one that is gone may go");
    client.batch_execute("ALTER SYSTEM REMOVE NODE n2").await.expect("the primary is the majority of one");
    until(&client, "SELECT count(*)::text FROM lockstep_nodes", "1").await;
    client.batch_execute("INSERT INTO t VALUES (1)").await.expect("alone");
    // The one that was down learns of it when it comes back.
    let mut third = servers[2].launch.spawn();
    assert!(!third.wait(READY_WITHIN).success());
    assert!(third.log.text().contains("node 3 was removed from cluster"), "{}", third.log.text());
}

#[tokio::test]
async fn a_node_that_is_down_gets_no_vote() {
    let dir = TempDir::new().expect("directory");
    let (mut servers, client) = three(&dir).await;
    let mut learner = node(&dir, "n4");
    learner.extra = vec!["--learner".into()];
    let mut learner = answers(learner.joining(&servers[0].launch).spawn()).await;
    membership(&client, "n4", "learner").await;
    learner.kill();
    servers[2].kill();
    for name in ["n3", "n4"] {
        let silent = format!("SELECT (last_contact > interval '2 s')::text FROM lockstep_nodes WHERE name = '{name}'");
        until(&client, &silent, "true").await;
    }
    refused(&client, "ALTER SYSTEM PROMOTE NODE n4", "55000", "cannot become a voter now It does not answer").await;
    client.batch_execute("CREATE TABLE t (id int)").await.expect("the cluster goes on");
    membership(&client, "n4", "learner").await;
    let _third = answers(servers[2].launch.spawn()).await;
    let _fourth = answers(learner.launch.spawn()).await;
    client.batch_execute("ALTER SYSTEM PROMOTE NODE n4").await.expect("it is back");
    membership(&client, "n4", "voter").await;
}

#[tokio::test]
async fn a_node_does_not_come_back_under_the_name_of_another() {
    let dir = TempDir::new().expect("directory");
    let (mut servers, client) = three(&dir).await;
    servers[2].kill();
    let disguised = Launch { name: "n2".into(), ..servers[2].launch.clone() };
    let mut disguised = disguised.spawn();
    assert!(!disguised.wait(READY_WITHIN).success());
    let said = disguised.log.text();
    assert!(said.contains("the name \"n2\" belongs to node 2") && said.contains("is called \"n3\""), "{said}");
    let names = "SELECT string_agg(name, ' ' ORDER BY id) FROM lockstep_nodes";
    until(&client, names, "n1 n2 n3").await;
    // A name that nobody has is free.
    let renamed = Launch { name: "n9".into(), ..servers[2].launch.clone() };
    let _renamed = answers(renamed.spawn()).await;
    until(&client, names, "n1 n2 n9").await;
}

fn cluster_id(data_dir: &Path) -> String {
    let text = std::fs::read_to_string(data_dir.join("cluster.toml")).expect("identity");
    let line = text.lines().find(|line| line.starts_with("cluster_id")).expect("cluster id").to_owned();
    line.split('"').nth(1).expect("quoted").to_owned()
}

#[tokio::test]
async fn a_node_of_another_cluster_stays_outside() {
    let dir = TempDir::new().expect("directory");
    let (mut servers, client) = three(&dir).await;
    let stranger = node(&dir, "stranger");
    let other = stranger.spawn().ready().await;
    let foreign = cluster_id(&stranger.data_dir);
    refused(&client, &format!("ALTER SYSTEM ADD NODE '{}'", stranger.peer_address()), "55000", &foreign).await;
    drop(other);
    // What it has is of its own cluster, whatever it is told to join.
    let mut lost = stranger.clone().joining(&servers[0].launch).spawn();
    assert!(!lost.wait(READY_WITHIN).success());
    assert!(lost.log.text().contains("the data directory belongs to another cluster"), "{}", lost.log.text());
    // Its address is one that this cluster knows.
    servers[2].kill();
    let disguised = Launch { peer_port: servers[2].launch.peer_port, ..stranger };
    let _other = disguised.spawn().ready().await;
    prints(&servers[0], &format!("this node belongs to cluster {foreign}")).await;
    client.batch_execute("CREATE TABLE t (id int)").await.expect("the cluster goes on");
}
