//! The extended protocol: prepared statements, portals, row limits, implicit transactions.

use engine::session::{Rows, Step, TransactionStatus};
use engine::types::{Datum, TypeOid};

use crate::client::{Client, Database};

async fn filled() -> (Database, Client) {
    let database = Database::new();
    let mut client = database.client().await;
    client.rows("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    client.rows("INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) AS g(i)").await;
    (database, client)
}

fn count(rows: &Rows) -> usize {
    match rows {
        Rows::Batch(batch) => batch.num_rows(),
        Rows::Tuples(rows) => rows.len(),
    }
}

/// Runs a portal to its next stop: rows seen, and the step that stopped it.
async fn run(client: &mut Client, portal: &str, limit: usize) -> (usize, Step) {
    let mut seen = 0;
    loop {
        match client.session.step(portal, limit).await.unwrap() {
            Step::Rows(rows) => seen += count(&rows),
            step => return (seen, step),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_inferred_and_results_described() {
    let (_database, mut client) = filled().await;
    client.session.prepare("s", "SELECT v, id FROM t WHERE id = $1", &[]).await.unwrap();
    let shape = client.session.statement("s").unwrap();
    assert_eq!(&*shape.parameters, [TypeOid::INT4]);
    let columns = shape.columns.unwrap();
    assert_eq!(columns[0].name, "v");
    assert_eq!(columns[0].attribute, 2);
    assert_ne!(columns[0].table, 0);
    client.session.bind("", "s", vec![Datum::Int4(7)]).await.unwrap();
    let Step::Rows(Rows::Tuples(rows)) = client.session.step("", 0).await.unwrap() else { panic!("no tuples") };
    assert_eq!(rows[0][0], Datum::from("v7"));
    assert!(matches!(client.session.step("", 0).await.unwrap(), Step::Complete(tag) if tag == "SELECT 1"));
    client.session.sync().await.unwrap();
    assert_eq!(client.session.transaction_status(), TransactionStatus::Idle);
    let error = client.session.prepare("s", "SELECT 1", &[]).await.unwrap_err();
    assert_eq!(error.state().code(), "42P05");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn portals_suspend_at_their_limit_and_interleave() {
    let (_database, mut client) = filled().await;
    client.rows("BEGIN").await;
    client.session.prepare("all", "SELECT id FROM t ORDER BY id", &[]).await.unwrap();
    client.session.bind("a", "all", vec![]).await.unwrap();
    client.session.bind("b", "all", vec![]).await.unwrap();
    assert!(matches!(run(&mut client, "a", 4).await, (4, Step::Suspended)));
    assert!(matches!(run(&mut client, "b", 9).await, (9, Step::Suspended)));
    assert!(matches!(run(&mut client, "a", 6).await, (6, Step::Suspended)));
    assert!(matches!(run(&mut client, "a", 4).await, (0, Step::Complete(tag)) if tag == "SELECT 0"));
    assert!(matches!(run(&mut client, "b", 0).await, (1, Step::Complete(tag)) if tag == "SELECT 1"));
    client.session.sync().await.unwrap();
    client.rows("COMMIT").await;
    assert_eq!(client.session.step("b", 0).await.unwrap_err().state().code(), "34000");
    client.session.sync().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_commits_and_an_error_rolls_back() {
    let (database, mut client) = filled().await;
    let mut other = database.client().await;
    client.session.prepare("", "INSERT INTO t VALUES ($1, $2)", &[]).await.unwrap();
    client.session.bind("", "", vec![Datum::Int4(11), Datum::from("x")]).await.unwrap();
    assert!(matches!(run(&mut client, "", 0).await, (0, Step::Complete(tag)) if tag == "INSERT 0 1"));
    assert_eq!(other.value("SELECT count(*) FROM t").await, "10");
    client.session.sync().await.unwrap();
    assert_eq!(other.value("SELECT count(*) FROM t").await, "11");
    client.session.bind("", "", vec![Datum::Int4(12), Datum::Null]).await.unwrap();
    run(&mut client, "", 0).await;
    client.session.bind("", "", vec![Datum::Int4(12), Datum::Null]).await.unwrap();
    let error = client.session.step("", 0).await.unwrap_err();
    assert_eq!(error.state().code(), "23505");
    client.session.sync().await.unwrap();
    assert_eq!(other.value("SELECT count(*) FROM t").await, "11");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_statement_follows_the_catalog() {
    let (_database, mut client) = filled().await;
    client.session.prepare("one", "SELECT id FROM t WHERE id = $1", &[]).await.unwrap();
    client.session.prepare("all", "SELECT * FROM t WHERE id = 1", &[]).await.unwrap();
    client.rows("ALTER TABLE t ADD COLUMN extra int DEFAULT 5").await;
    client.session.bind("", "one", vec![Datum::Int4(3)]).await.unwrap();
    assert!(matches!(run(&mut client, "", 0).await, (1, Step::Complete(_))));
    let error = client.session.bind("", "all", vec![]).await.unwrap_err();
    assert_eq!(error.message(), "cached plan must not change result type");
    client.session.sync().await.unwrap();
}
