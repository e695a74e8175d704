//! COPY in bulk.

use std::fmt::Write;

use bytes::Bytes;
use engine::session::Step;

use crate::client::Database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rows_in_large_pieces() {
    let database = Database::new();
    let mut client = database.client().await;
    client.rows("CREATE TABLE t (id int PRIMARY KEY, v text, w char(10))").await;
    let mut data = String::new();
    for i in 0..100_000 {
        writeln!(data, "{i}\tvalue {i}\tx").unwrap();
    }
    assert_eq!(client.session.begin_simple("COPY t FROM STDIN").unwrap(), 1);
    client.session.next_simple().await.unwrap();
    assert!(matches!(client.session.step("", 0).await.unwrap(), Step::CopyIn(_)));
    for piece in data.as_bytes().chunks(60_000) {
        client.session.copy_data(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(client.session.copy_done().await.unwrap(), "COPY 100000");
    client.session.sync().await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t").await, "100000");
    assert_eq!(client.value("SELECT v FROM t WHERE id = 77777").await, "value 77777");
    assert_eq!(client.value("SELECT sum(id) FROM t").await, "4999950000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_copy_leaves_nothing() {
    let database = Database::new();
    let mut client = database.client().await;
    client.rows("CREATE TABLE t (id int PRIMARY KEY)").await;
    let error = client.simple("COPY t FROM STDIN", "1\n2\nx\n").await.unwrap_err();
    assert_eq!(error.state().code(), "22P02");
    assert_eq!(error.report().context.as_deref(), Some("COPY t, line 3, column id: \"x\""));
    assert_eq!(client.value("SELECT count(*) FROM t").await, "0");
}
