//! Memory is bounded: results stream, and a full server refuses writes and goes on reading.

use futures::TryStreamExt;
use tempfile::TempDir;

use crate::server::Server;
use crate::target::launch;

fn resident_mb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("kB") / 1024
}

#[tokio::test]
async fn a_large_result_streams() {
    const ROWS: i64 = 1_000_000;
    let dir = TempDir::new().expect("directory");
    let server = launch("n", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("SELECT g, repeat('x', 300) FROM generate_series(1, 1000) AS g").await.expect("warm");
    let before = resident_mb(&server);
    let sql = "SELECT g, repeat('x', 300) FROM generate_series(1, $1::bigint) AS g";
    let mut rows = std::pin::pin!(client.query_raw(sql, [ROWS]).await.expect("query"));
    let (mut count, mut most) = (0, before);
    while let Some(row) = rows.try_next().await.expect("row") {
        count += 1;
        if count % 100_000 == 0 {
            assert_eq!(row.get::<_, &str>(1).len(), 300);
            most = most.max(resident_mb(&server));
        }
    }
    assert_eq!(count, ROWS);
    assert!(most - before < 100, "300 MB of rows took {} MB of the server", most - before);
}

#[tokio::test]
async fn over_the_memory_limit_writes_get_53200_and_reads_go_on() {
    let dir = TempDir::new().expect("directory");
    let mut launch = launch("n", &dir.path().join("data"));
    launch.extra = ["--memory-limit", "128MB"].map(String::from).to_vec();
    let server = launch.spawn().ready().await;
    let client = server.connect().await;
    client.batch_execute("CREATE TABLE t (id bigserial PRIMARY KEY, pad text)").await.expect("table");
    let fill = "INSERT INTO t (pad) SELECT repeat('x', 1000) FROM generate_series(1, 5000)";
    let mut filled = 0_i64;
    let error = loop {
        assert!(filled < 1_000_000, "1 GB of rows in 128 MB");
        match client.batch_execute(fill).await {
            Ok(()) => filled += 5000,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code().map(|code| code.code()), Some("53200"), "{error:?}");
    assert!(filled > 20_000, "only {filled} rows of 1 kB in 128 MB");
    let count: i64 = client.query_one("SELECT count(*) FROM t", &[]).await.expect("reads go on").get(0);
    assert_eq!(count, filled);
    client.batch_execute("DROP TABLE t").await.expect("what frees memory is allowed");
    client.batch_execute("CREATE TABLE t (id bigserial PRIMARY KEY, pad text)").await.expect("table");
    client.batch_execute(fill).await.expect("room again");
}
