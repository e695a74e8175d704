//! Types that users make: how a driver sees them, and that they outlive rollbacks, crashes and checkpoints.
//!
//! The first test runs unchanged against PostgreSQL (`LOCKSTEP_TEST_POSTGRES`).

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tempfile::TempDir;
use tokio_postgres::types::{IsNull, Kind, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::target::{Target, launch};
use crate::values::Raw;

/// A parameter's bytes as they go over the wire.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl ToSql for Bytes {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

async fn lines(client: &Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).await.expect(sql);
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect::<Vec<_>>().join("|")).collect()
}

#[tokio::test]
async fn drivers_look_the_types_up_and_send_values_in_binary() {
    let target = Target::start().await;
    let client = target.client().await;
    client
        .batch_execute(
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE DOMAIN small AS int CHECK (VALUE < 10);
             CREATE TYPE pair AS (a int, m mood); CREATE TABLE t (id small PRIMARY KEY, m mood, p pair, l mood[])",
        )
        .await
        .expect("types");

    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4)").await.expect("prepare");
    let [_, mood, pair, list] = insert.params() else { panic!("{:?}", insert.params()) };
    let labels = vec!["sad".to_owned(), "ok".to_owned(), "happy".to_owned()];
    assert_eq!((mood.name(), mood.kind()), ("mood", &Kind::Enum(labels)));
    let Kind::Composite(fields) = pair.kind() else { panic!("{pair:?}") };
    let fields: Vec<(&str, &str)> = fields.iter().map(|f| (f.name(), f.type_().name())).collect();
    assert_eq!(fields, [("a", "int4"), ("m", "mood")]);
    assert_eq!(list.kind(), &Kind::Array(mood.clone()));

    // A row: number of fields; of each its type, its length and its bytes.
    let mut row = vec![0, 0, 0, 2, 0, 0, 0, 23, 0, 0, 0, 4, 0, 0, 0, 7];
    row.extend(mood.oid().to_be_bytes());
    row.extend([0, 0, 0, 2]);
    row.extend(b"ok");
    let mut array = vec![0, 0, 0, 1, 0, 0, 0, 0];
    array.extend(mood.oid().to_be_bytes());
    array.extend([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5]);
    array.extend(b"happy");
    let params: [&(dyn ToSql + Sync); 4] =
        [&5i32, &Bytes(b"happy".to_vec()), &Bytes(row.clone()), &Bytes(array.clone())];
    assert_eq!(client.execute(&insert, &params).await.expect("insert"), 1);

    let select = client.prepare("SELECT id, m, p, l FROM t WHERE m = $1 AND p = $2::pair").await.expect("prepare");
    let types: Vec<&str> = select.columns().iter().map(|c| c.type_().name()).collect();
    // A column of a domain is described by its base type.
    assert_eq!(types, ["int4", "mood", "pair", "_mood"]);
    let found = client.query_one(&select, &[&Bytes(b"happy".to_vec()), &Bytes(row.clone())]).await.expect("select");
    assert_eq!(found.get::<_, i32>(0), 5);
    let back: Vec<Vec<u8>> = (1..4).map(|i| found.get::<_, Raw>(i).0).collect();
    assert_eq!(back, [b"happy".to_vec(), row, array]);
    assert_eq!(lines(&client, "SELECT * FROM t").await, ["5|happy|(7,ok)|{happy}"]);

    let wrong: [&(dyn ToSql + Sync); 2] = [&Bytes(b"bad".to_vec()), &Bytes(vec![0, 0, 0, 1])];
    let error = client.query(&select, &wrong).await.expect_err("no label").code().expect("code").code().to_owned();
    assert_eq!(error, "22P02");
    client.batch_execute("DROP TABLE t; DROP TYPE pair; DROP TYPE mood; DROP DOMAIN small").await.expect("drop");
}

const QUESTIONS: [&str; 4] = [
    "SELECT * FROM t ORDER BY m DESC, id",
    "SELECT json_agg(t ORDER BY id) FROM t WHERE m >= 'ok'",
    "SELECT typname, typtype, enumlabel FROM pg_type LEFT JOIN pg_enum ON enumtypid = pg_type.oid
     WHERE typname IN ('mood', 'small', 'pair', 'citext') ORDER BY 1, enumsortorder",
    "SELECT extname FROM pg_extension ORDER BY 1",
];

async fn answers(client: &Client) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for sql in QUESTIONS {
        all.push(lines(client, sql).await);
    }
    all
}

async fn refused(client: &Client, sql: &str) -> String {
    client.batch_execute(sql).await.expect_err(sql).code().expect(sql).code().to_owned()
}

#[tokio::test]
async fn types_outlive_rollback_crash_and_checkpoint() {
    let dir = TempDir::new().expect("directory");
    let mut server = launch("n", &dir.path().join("data")).spawn().ready().await;
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('sad', 'happy');
             CREATE DOMAIN small AS int CHECK (VALUE < 10) DEFAULT 3; CREATE TYPE pair AS (a int, m mood);
             CREATE TABLE t (id int PRIMARY KEY, m mood DEFAULT 'sad', s small, p pair, c citext UNIQUE);
             CREATE INDEX ON t (m); INSERT INTO t (id, m, p, c) VALUES (1, 'happy', (1, 'sad'), 'One'), (2, 'sad', NULL, 'Two');
             ALTER TYPE mood ADD VALUE 'ok' BEFORE 'happy'; INSERT INTO t VALUES (3, 'ok', 9, (2, 'ok'), 'three');
             ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'; ALTER TABLE t ADD COLUMN n mood NOT NULL DEFAULT 'happy';
             INSERT INTO t (id) VALUES (4)",
        )
        .await
        .expect("types");
    client
        .batch_execute(
            "BEGIN; CREATE TYPE gone AS ENUM ('x'); ALTER TYPE mood ADD VALUE 'lost'; SAVEPOINT s; DROP TYPE pair CASCADE;
             ROLLBACK TO s; DROP EXTENSION citext CASCADE; ROLLBACK",
        )
        .await
        .expect("rolled back");
    assert_eq!(refused(&client, "SELECT 'x'::gone").await, "42704");
    assert_eq!(refused(&client, "SELECT 'lost'::mood").await, "22P02");
    let before = answers(&client).await;
    assert_eq!(before[0][0], "1|happy|3|(1,blue)|One|happy");
    assert_eq!(before[0][3], "4|blue|3|NULL|NULL|happy");

    // From the log, then from a checkpoint and an empty log behind it.
    for checkpoint in [false, true] {
        if checkpoint {
            server.connect().await.batch_execute("CHECKPOINT").await.expect("checkpoint");
        }
        server.kill();
        server = server.launch.spawn().ready().await;
        let client = server.connect().await;
        assert_eq!(answers(&client).await, before, "checkpoint: {checkpoint}");
        assert_eq!(refused(&client, "INSERT INTO t VALUES (5, 'sad')").await, "22P02");
        assert_eq!(refused(&client, "INSERT INTO t (id, s) VALUES (5, 11)").await, "23514");
        assert_eq!(refused(&client, "INSERT INTO t (id, c) VALUES (5, 'ONE')").await, "23505");
        assert_eq!(lines(&client, "SELECT id FROM t WHERE m = 'ok' OR c = 'TWO' ORDER BY 1").await, ["2", "3"]);
    }
    let client = server.connect().await;
    client.batch_execute("ALTER TYPE mood ADD VALUE 'new' AFTER 'blue'").await.expect("another value");
    assert_eq!(lines(&client, "SELECT enum_range(NULL::mood)").await, ["{blue,new,ok,happy}"]);
}
