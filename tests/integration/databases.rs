//! Several databases: what is in one is not in another, all of it survives a restart of either kind, and roles, privileges and
//! the settings of roles are those of the cluster.

use tempfile::TempDir;
use tokio_postgres::{Client, Config};

use crate::server::{READY_WITHIN, Server, connect};
use crate::target::launch;

fn config(server: &Server, user: &str, database: &str) -> Config {
    let mut config = server.launch.config();
    config.user(user).dbname(database);
    config
}

async fn client(server: &Server, user: &str, database: &str) -> Client {
    connect(&config(server, user, database)).await.unwrap_or_else(|error| panic!("{user} to {database}: {error}"))
}

async fn refused(server: &Server, user: &str, database: &str) -> String {
    let Err(error) = connect(&config(server, user, database)).await else { panic!("not refused") };
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

async fn state_of(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.code().map_or_else(|| error.to_string(), |code| code.code().to_owned())
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.expect(sql).get(0)
}

async fn prepare(server: &Server) {
    let first = client(server, "postgres", "postgres").await;
    first.batch_execute("CREATE ROLE ada LOGIN; CREATE ROLE bob LOGIN CREATEDB").await.expect("roles");
    first.batch_execute("CREATE DATABASE one OWNER ada").await.expect("one");
    first.batch_execute("CREATE DATABASE two TEMPLATE template0").await.expect("two");
    first.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (0)").await.expect("t");
    first
        .batch_execute("ALTER ROLE ada SET work_mem = '3MB'; ALTER DATABASE one SET lock_timeout = '7s'")
        .await
        .expect("set");
    first.batch_execute("ALTER ROLE ada IN DATABASE two SET work_mem = '5MB'").await.expect("set");
    first
        .batch_execute("REVOKE CONNECT ON DATABASE two FROM PUBLIC; GRANT CONNECT ON DATABASE two TO ada")
        .await
        .expect("grant");
    let one = client(server, "ada", "one").await;
    one.batch_execute(
        "CREATE SCHEMA s; CREATE TABLE s.t (a serial PRIMARY KEY, b text); INSERT INTO s.t (b) VALUES ('x'), ('y')",
    )
    .await
    .expect("tables of one");
    one.batch_execute("GRANT USAGE ON SCHEMA s TO bob; GRANT SELECT (a) ON s.t TO bob").await.expect("grant");
    let two = client(server, "postgres", "two").await;
    two.batch_execute(
        "DROP SCHEMA public; CREATE SCHEMA other; CREATE TABLE other.t (c int); INSERT INTO other.t VALUES (7)",
    )
    .await
    .expect("tables of two");
}

async fn check(server: &Server) {
    let first = client(server, "postgres", "postgres").await;
    let databases =
        "SELECT string_agg(datname::text, ' ' ORDER BY datname::text) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(text(&first, databases).await, "one postgres two");
    assert_eq!(text(&first, "SELECT a::text FROM t").await, "0");
    assert_eq!(state_of(&first, "SELECT * FROM s.t").await, "42P01");

    let one = client(server, "ada", "one").await;
    assert_eq!(text(&one, "SELECT current_database()::text").await, "one");
    assert_eq!(text(&one, "SELECT string_agg(b, '' ORDER BY a) FROM s.t").await, "xy");
    assert_eq!(text(&one, "SHOW work_mem").await, "3MB");
    assert_eq!(text(&one, "SHOW lock_timeout").await, "7s");
    assert_eq!(state_of(&one, "SELECT * FROM t").await, "42P01");
    let tables = "SELECT string_agg(relname::text, ' ') FROM pg_class WHERE relkind = 'r' AND oid >= 16384";
    assert_eq!(text(&one, tables).await, "t");

    let two = client(server, "ada", "two").await;
    assert_eq!(text(&two, "SHOW work_mem").await, "5MB");
    assert_eq!(state_of(&two, "SELECT * FROM other.t").await, "42501");
    let schemas =
        "SELECT string_agg(nspname::text, ' ' ORDER BY nspname::text) FROM pg_namespace WHERE nspname !~ '^(pg_|info)'";
    assert_eq!(text(&two, schemas).await, "other");
    assert_eq!(refused(server, "bob", "two").await, "42501");
    assert_eq!(refused(server, "ada", "three").await, "3D000");
    assert_eq!(refused(server, "postgres", "template0").await, "55000");

    let bob = client(server, "bob", "one").await;
    assert_eq!(text(&bob, "SELECT sum(a)::text FROM s.t").await, "3");
    assert_eq!(state_of(&bob, "SELECT b FROM s.t").await, "42501");
    assert_eq!(state_of(&bob, "INSERT INTO s.t (b) VALUES ('z')").await, "42501");
}

#[tokio::test]
async fn databases_are_apart_and_survive_restarts() {
    let dir = TempDir::new().expect("directory");
    let launch = launch("n", dir.path());
    let server = launch.spawn().ready().await;
    prepare(&server).await;
    check(&server).await;

    // From the log alone, then from a checkpoint.
    let mut server = server;
    server.kill();
    server.wait(READY_WITHIN);
    let server = launch.spawn().ready().await;
    check(&server).await;
    client(&server, "postgres", "two").await.batch_execute("CHECKPOINT").await.expect("checkpoint");
    let mut server = server;
    server.kill();
    server.wait(READY_WITHIN);
    let server = launch.spawn().ready().await;
    check(&server).await;
    let mut server = server;
    server.terminate();
    server.wait(READY_WITHIN);
    let server = launch.spawn().ready().await;
    check(&server).await;

    let first = client(&server, "postgres", "postgres").await;
    let one = client(&server, "ada", "one").await;
    assert_eq!(state_of(&first, "DROP DATABASE one").await, "55006");
    assert_eq!(state_of(&first, "ALTER DATABASE one RENAME TO uno").await, "55006");
    assert_eq!(state_of(&one, "DROP DATABASE one").await, "55006");
    assert_eq!(state_of(&first, "BEGIN; CREATE DATABASE three").await, "25001");
    first.batch_execute("ROLLBACK").await.expect("rollback");
    assert_eq!(state_of(&first, "CREATE DATABASE one").await, "42P04");
    assert_eq!(state_of(&first, "DROP ROLE ada").await, "2BP01");
    first.batch_execute("DROP DATABASE one WITH (FORCE)").await.expect("drop");
    assert!(one.batch_execute("SELECT 1").await.is_err(), "its session has ended");
    assert_eq!(refused(&server, "ada", "one").await, "3D000");
    first.batch_execute("ALTER DATABASE two RENAME TO zwei").await.expect("rename");
    first.batch_execute("DROP DATABASE IF EXISTS nothing").await.expect("a notice");
    let zwei = client(&server, "postgres", "zwei").await;
    assert_eq!(text(&zwei, "SELECT c::text FROM other.t").await, "7");

    // A role may be limited, and a limit counts sessions.
    first.batch_execute("ALTER ROLE bob CONNECTION LIMIT 1").await.expect("limit");
    let _bob = client(&server, "bob", "postgres").await;
    assert_eq!(refused(&server, "bob", "postgres").await, "53300");
}
