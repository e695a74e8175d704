//! Replication strategies: what is kept, what can be used, what is refused, and what psql and pg_dump see of it.

use std::time::Duration;

use tempfile::TempDir;
use tokio_postgres::Client;

use crate::cluster::{open, three, until};
use crate::faults::cluster::NODES;
use crate::target::launch;

const SOON: Duration = Duration::from_secs(60);

/// SQLSTATE of a statement that fails.
async fn refused(client: &Client, sql: &str, code: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    assert_eq!(error.code().code(), code, "{sql}: {}", error.message());
    error.message().to_owned()
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// What `\d+` prints and pg_dump writes: name, relkind and access method.
const METHODS: &str = "SELECT string_agg(c.relname || ' ' || a.amname, ' ' ORDER BY c.relname) FROM pg_class c \
                       JOIN pg_am a ON a.oid = c.relam WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace";

#[tokio::test]
async fn one_node_has_strategies_over_itself() {
    let dir = TempDir::new().expect("directory");
    let mut server = launch("node1", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    let unknown =
        refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1 node2 USING RANDOM", "42704").await;
    assert_eq!(unknown, "node \"node2\" does not exist");
    refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1, node1 USING RANDOM", "22023").await;
    refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1 USING RANDOM WITH (factor = 2)", "22023").await;
    refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1 USING RANDOM WITH (factor = 0)", "22023").await;
    refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1 USING RANDOM WITH (copies = 1)", "22023").await;
    refused(&client, "CREATE REPLICATION STRATEGY heap REPLICATE TO node1 USING RANDOM", "42710").await;
    run(&client, "CREATE REPLICATION STRATEGY \"s\" REPLICATE TO \"node1\" USING RANDOM WITH (factor = 1)").await;
    refused(&client, "CREATE REPLICATION STRATEGY s REPLICATE TO node1 USING RANDOM", "42710").await;
    run(&client, "CREATE REPLICATION STRATEGY IF NOT EXISTS s REPLICATE TO node1 USING RANDOM").await;

    run(&client, "CREATE TABLE plain (id int PRIMARY KEY)").await;
    run(&client, "CREATE TABLE a (id int PRIMARY KEY, v text) USING s").await;
    run(&client, "CREATE TABLE b (id int) USING \"s\" WITH (fillfactor = 70)").await;
    run(&client, "CREATE TABLE c USING s AS SELECT p.id FROM plain p JOIN plain q USING (id)").await;
    run(&client, "CREATE TABLE d (id int) USING heap").await;
    until(&client, METHODS, "a s b s c s d heap plain heap").await;
    until(&client, "SELECT reloptions::text FROM pg_class WHERE relname = 'b'", "{fillfactor=70}").await;
    refused(&client, "CREATE TABLE e (id int) USING nothing", "42704").await;

    // A table that exists.
    run(&client, "CREATE TABLE IF NOT EXISTS plain USING \"s\"").await;
    run(&client, "CREATE TABLE IF NOT EXISTS d (id int) USING s").await;
    until(&client, METHODS, "a s b s c s d s plain s").await;
    refused(&client, "CREATE TABLE plain USING s", "42P07").await;
    refused(&client, "CREATE TABLE IF NOT EXISTS missing USING s", "42P01").await;
    refused(&client, "CREATE TABLE IF NOT EXISTS plain USING nothing", "42704").await;

    // It is transactional.
    run(&client, "BEGIN; ALTER TABLE a SET REPLICATION STRATEGY DEFAULT; ROLLBACK").await;
    until(&client, METHODS, "a s b s c s d s plain s").await;
    run(&client, "ALTER TABLE a SET REPLICATION STRATEGY DEFAULT").await;
    run(&client, "ALTER TABLE b SET ACCESS METHOD heap").await;
    run(&client, "ALTER TABLE c SET REPLICATION STRATEGY heap").await;
    run(&client, "ALTER TABLE a RENAME TO aa").await;
    run(&client, "DROP TABLE d").await;
    until(&client, METHODS, "aa heap b heap c heap plain s").await;
    let used = refused(&client, "DROP REPLICATION STRATEGY s", "2BP01").await;
    assert_eq!(used, "cannot drop replication strategy s because other objects depend on it");
    refused(&client, "DROP REPLICATION STRATEGY s CASCADE", "0A000").await;
    let view = "SELECT concat_ws(' ', name, owner, policy, factor, nodes, state, missing, tables) \
                FROM lockstep_replication_strategies ORDER BY name";
    until(&client, view, "s postgres RANDOM 1 {node1} usable {} {public.plain}").await;

    let handlers = "SELECT string_agg(amname || ' ' || amhandler::text, ' ' ORDER BY amname) FROM pg_am";
    let wanted = "brin brinhandler btree bthandler gin ginhandler gist gisthandler hash hashhandler \
                  heap heap_tableam_handler s heap_tableam_handler spgist spghandler";
    until(&client, handlers, wanted).await;
    // What pg_dump writes can be read: here, and by a cluster whose nodes have other names.
    run(&client, "CREATE ACCESS METHOD dumped TYPE TABLE HANDLER heap_tableam_handler").await;
    run(&client, "SET default_table_access_method = dumped; CREATE TABLE f (id int); CREATE TABLE g AS SELECT 1 AS id")
        .await;
    run(&client, "SET default_table_access_method = heap; CREATE TABLE h (id int)").await;
    until(&client, METHODS, "aa heap b heap c heap f dumped g dumped h heap plain s").await;
    run(&client, "DROP TABLE f, g; DROP ACCESS METHOD dumped").await;
    run(&client, "ALTER REPLICATION STRATEGY s RENAME TO \"Über\"").await;

    // ROW and REGION are kept.
    for policy in ["ROW", "REGION"] {
        run(&client, &format!("CREATE REPLICATION STRATEGY {policy}s REPLICATE TO node1 USING {policy}")).await;
        let refusal = refused(&client, &format!("CREATE TABLE z (id int) USING {policy}s"), "0A000").await;
        assert!(refusal.contains(&format!("USING {policy}")), "{refusal}");
    }
    run(&client, "CREATE ROLE ada LOGIN").await;
    let mut config = server.launch.config();
    let ada = crate::server::connect(config.user("ada")).await.expect("connect as ada");
    refused(&ada, "CREATE REPLICATION STRATEGY t REPLICATE TO node1 USING RANDOM", "42501").await;
    refused(&ada, "DROP REPLICATION STRATEGY rows", "42501").await;

    // From the log, and from a checkpoint.
    let kept = "SELECT string_agg(name || ' ' || policy || ' ' || tables::text, ' ' ORDER BY name) \
                FROM lockstep_replication_strategies";
    let wanted = "regions REGION {} rows ROW {} Über RANDOM {public.plain}";
    until(&client, kept, wanted).await;
    server.kill();
    let mut server = server.launch.spawn().ready().await;
    let client = server.connect().await;
    until(&client, kept, wanted).await;
    run(&client, "CHECKPOINT").await;
    server.kill();
    let mut server = server.launch.spawn().ready().await;
    let client = server.connect().await;
    until(&client, kept, wanted).await;
    until(&client, METHODS, "aa heap b heap c heap h heap plain Über").await;
    server.terminate();
    server.wait(SOON);
}

#[tokio::test]
async fn a_part_of_the_voters_is_kept_and_refused_where_it_is_used() {
    let dir = TempDir::new().expect("directory");
    let (cluster, primary) = three(&dir).await;
    let client = open(&cluster, primary).await;
    until(&client, "SELECT count(*)::text FROM lockstep_nodes WHERE membership = 'voter'", "3").await;
    run(&client, "CREATE REPLICATION STRATEGY \"all\" REPLICATE TO \"node1\" \"node2\" \"node3\" USING RANDOM").await;
    run(&client, "CREATE REPLICATION STRATEGY two REPLICATE TO node1, node2 USING RANDOM").await;
    run(&client, "CREATE REPLICATION STRATEGY some REPLICATE TO node1 node2 node3 USING RANDOM WITH (factor = 2)")
        .await;
    run(&client, "CREATE TABLE t (id int PRIMARY KEY)").await;
    run(&client, "CREATE TABLE IF NOT EXISTS t USING \"all\"").await;
    let two = refused(&client, "ALTER TABLE t SET REPLICATION STRATEGY two", "0A000").await;
    assert!(two.contains("leaves out node3"), "{two}");
    refused(&client, "CREATE TABLE u (id int) USING some", "0A000").await;
    // A strategy that a table uses cannot become one that it could not.
    refused(&client, "ALTER REPLICATION STRATEGY \"all\" REPLICATE TO node1 USING RANDOM", "0A000").await;
    run(&client, "ALTER REPLICATION STRATEGY two REPLICATE TO node3 node2 node1 USING RANDOM").await;
    run(&client, "ALTER TABLE t SET REPLICATION STRATEGY two").await;
    // Every node knows it.
    let view = "SELECT string_agg(concat_ws(' ', name, nodes, state, tables), ' ' ORDER BY name) \
                FROM lockstep_replication_strategies";
    let wanted = "all {node1,node2,node3} usable {} some {node1,node2,node3} part of the nodes {} \
                  two {node3,node2,node1} usable {public.t}";
    for node in 0..NODES {
        let reader = open(&cluster, node).await;
        until(&reader, view, wanted).await;
        until(&reader, METHODS, "t two").await;
        if node != primary {
            refused(&reader, "CREATE REPLICATION STRATEGY x REPLICATE TO node1 USING RANDOM", "25006").await;
        }
    }
}
