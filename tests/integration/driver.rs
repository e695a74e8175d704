//! What a PostgreSQL driver relies on, seen through tokio-postgres: types, pipelining, portals, COPY, cancel, errors.
//!
//! Runs unchanged against PostgreSQL (`LOCKSTEP_TEST_POSTGRES`), except what concerns several nodes or own flags.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, channel::mpsc, future};
use tempfile::TempDir;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::error::{DbError, ErrorPosition};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};
use uuid::Uuid;

use crate::server::{connect, free_port};
use crate::target::{Target, launch};

async fn fails(client: &Client, sql: &str) -> DbError {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone()
}

async fn code(client: &Client, sql: &str) -> String {
    fails(client, sql).await.code().code().to_owned()
}

async fn single(client: &Client, sql: &str) -> Option<String> {
    let messages = client.simple_query(sql).await.expect(sql);
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// A value goes out in binary, through a column, and comes back in binary and in text.
async fn round_trip<T>(client: &Client, type_: &str, value: T, text: &str)
where
    T: ToSql + Sync + for<'a> tokio_postgres::types::FromSql<'a> + PartialEq + std::fmt::Debug,
{
    client.batch_execute(&format!("DROP TABLE IF EXISTS trip; CREATE TABLE trip (v {type_})")).await.expect(type_);
    let inserted = client.execute("INSERT INTO trip VALUES ($1)", &[&value]).await.expect(type_);
    assert_eq!(inserted, 1, "{type_}");
    let back: T = client.query_one("SELECT v FROM trip", &[]).await.expect(type_).get(0);
    assert_eq!(back, value, "{type_} from a column");
    let found = client.query("SELECT v FROM trip WHERE v = $1", &[&value]).await.expect(type_);
    assert_eq!(found.len(), 1, "{type_} as a parameter of a comparison");
    let cast: T = client.query_one(&format!("SELECT $1::{type_}"), &[&value]).await.expect(type_).get(0);
    assert_eq!(cast, value, "{type_} from a parameter");
    assert_eq!(single(client, "SELECT v FROM trip").await.as_deref(), Some(text), "{type_} as text");
    client.execute("UPDATE trip SET v = $1", &[&None::<T>]).await.expect(type_);
    let null: Option<T> = client.query_one("SELECT v FROM trip", &[]).await.expect(type_).get(0);
    assert_eq!(null, None, "{type_} NULL");
}

#[tokio::test]
async fn every_type_goes_there_and_back_in_binary_and_text() {
    let target = Target::start().await;
    let client = target.client().await;
    client.batch_execute("SET TimeZone = 'UTC'").await.expect("time zone");
    round_trip(&client, "bool", true, "t").await;
    round_trip(&client, "smallint", i16::MIN, "-32768").await;
    round_trip(&client, "integer", i32::MAX, "2147483647").await;
    round_trip(&client, "bigint", i64::MIN, "-9223372036854775808").await;
    round_trip(&client, "real", 1.25e-7_f32, "1.25e-07").await;
    round_trip(&client, "double precision", 0.1_f64, "0.1").await;
    round_trip(&client, "text", "päper \u{1F980}\n\"'".to_owned(), "päper \u{1F980}\n\"'").await;
    round_trip(&client, "varchar(5)", "abc".to_owned(), "abc").await;
    round_trip(&client, "char(3)", "ab ".to_owned(), "ab ").await;
    round_trip(&client, "bytea", vec![0_u8, 1, 255], "\\x0001ff").await;
    let date = NaiveDate::from_ymd_opt(2024, 2, 29).expect("date");
    let time = NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).expect("time");
    round_trip(&client, "date", date, "2024-02-29").await;
    round_trip(&client, "time", time, "23:59:59.999999").await;
    round_trip(&client, "timestamp", NaiveDateTime::new(date, time), "2024-02-29 23:59:59.999999").await;
    let moment: DateTime<Utc> = NaiveDateTime::new(date, time).and_utc();
    round_trip(&client, "timestamptz", moment, "2024-02-29 23:59:59.999999+00").await;
    let uuid = Uuid::parse_str("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").expect("uuid");
    round_trip(&client, "uuid", uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").await;
}

#[tokio::test]
async fn describe_infers_the_types_of_parameters_and_columns() {
    let target = Target::start().await;
    let client = target.client().await;
    client
        .batch_execute("CREATE TABLE acc (id int PRIMARY KEY, bal numeric(10,2), name text, at date)")
        .await
        .expect("table");
    let cases: &[(&str, &[Type], &[Type])] = &[
        ("SELECT name FROM acc WHERE id = $1", &[Type::INT4], &[Type::TEXT]),
        ("INSERT INTO acc VALUES ($1, $2, $3, $4)", &[Type::INT4, Type::NUMERIC, Type::TEXT, Type::DATE], &[]),
        ("UPDATE acc SET bal = bal + $1 WHERE id = $2", &[Type::NUMERIC, Type::INT4], &[]),
        ("SELECT $1", &[Type::TEXT], &[Type::TEXT]),
        ("SELECT $1 + 1, $2 || 'x'", &[Type::INT4, Type::TEXT], &[Type::INT4, Type::TEXT]),
        ("SELECT $1::int8, count(*), sum(id) FROM acc", &[Type::INT8], &[Type::INT8, Type::INT8, Type::INT8]),
        ("SELECT id FROM acc WHERE at > $1 AND id IN ($2, $3)", &[Type::DATE, Type::INT4, Type::INT4], &[Type::INT4]),
        ("SELECT id FROM acc LIMIT $1 OFFSET $2", &[Type::INT8, Type::INT8], &[Type::INT4]),
        ("DELETE FROM acc WHERE name = $1 RETURNING id, bal", &[Type::TEXT], &[Type::INT4, Type::NUMERIC]),
        (
            "SELECT coalesce(name, $1), CASE WHEN id = $2 THEN bal END FROM acc",
            &[Type::TEXT, Type::INT4],
            &[Type::TEXT, Type::NUMERIC],
        ),
        ("SELECT at + $1::int FROM acc", &[Type::INT4], &[Type::DATE]),
        ("BEGIN", &[], &[]),
    ];
    for (sql, parameters, columns) in cases {
        let statement = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert_eq!(statement.params(), *parameters, "{sql}");
        let actual: Vec<Type> = statement.columns().iter().map(|column| column.type_().clone()).collect();
        assert_eq!(actual, *columns, "{sql}");
    }
    let typed = client.prepare_typed("SELECT $1", &[Type::INT8]).await.expect("typed");
    assert_eq!(typed.params(), [Type::INT8]);
    let columns = client.prepare("SELECT id, id AS id, bal * 2 FROM acc").await.expect("names");
    let names: Vec<_> = columns.columns().iter().map(|column| column.name()).collect();
    assert_eq!(names, ["id", "id", "?column?"]);
    let undecided = client.prepare("SELECT $1 = $2").await;
    assert!(undecided.is_ok() || undecided.is_err_and(|error| error.code().is_some_and(|it| it.code() == "42P18")));
}

#[tokio::test]
async fn a_text_that_is_sent_again_means_its_own_now() {
    let target = Target::start().await;
    let client = target.client().await;
    for sql in ["SELECT 'now'::timestamptz", "SELECT timestamptz ' NOW '", "SELECT now()"] {
        let mut before: Option<DateTime<Utc>> = None;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let now = client.query_one(sql, &[]).await.expect(sql).get(0);
            assert!(before < Some(now), "{sql}: {before:?}, then {now}");
            before = Some(now);
        }
    }
}

#[tokio::test]
async fn pipelined_statements_answer_in_order_and_prepared_ones_last() {
    let target = Target::start().await;
    let client = target.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v int)").await.expect("table");
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.expect("prepare");
    let rows: Vec<(i32, i32)> = (0..200).map(|id| (id, id * id)).collect();
    let sent = rows.iter().map(|(id, v)| {
        let parameters: [&(dyn ToSql + Sync); 2] = [id, v];
        let (client, insert) = (&client, &insert);
        async move { client.execute(insert, &parameters).await }
    });
    assert_eq!(future::try_join_all(sent).await.expect("pipeline"), vec![1; 200]);
    let read = client.prepare("SELECT v FROM t WHERE id = $1").await.expect("prepare");
    let answers = future::try_join_all((0..200).map(|id| {
        let (client, read) = (&client, &read);
        async move { client.query_one(read, &[&id]).await.map(|row| row.get::<_, i32>(0)) }
    }));
    assert_eq!(answers.await.expect("pipeline"), rows.iter().map(|(_, v)| *v).collect::<Vec<_>>());
    let (bad, good) = future::join(client.execute(&insert, &[&1, &1]), client.query_one(&read, &[&2])).await;
    assert_eq!(bad.expect_err("duplicate").code().map(|code| code.code()), Some("23505"));
    assert_eq!(good.expect("after the error").get::<_, i32>(0), 4);
    client.batch_execute("ALTER TABLE t ADD COLUMN w int DEFAULT 3").await.expect("alter");
    assert_eq!(client.query_one(&read, &[&3]).await.expect("after DDL").get::<_, i32>(0), 9);
}

#[tokio::test]
async fn portals_give_their_rows_in_parts_and_side_by_side() {
    let target = Target::start().await;
    let mut client = target.client().await;
    let transaction = client.transaction().await.expect("begin");
    let statement =
        transaction.prepare("SELECT g FROM generate_series(1, $1::int) AS g ORDER BY g").await.expect("prepare");
    let ten = transaction.bind(&statement, &[&10_i32]).await.expect("bind");
    let five = transaction.bind(&statement, &[&5_i32]).await.expect("bind");
    let numbers = |rows: Vec<tokio_postgres::Row>| rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>();
    assert_eq!(numbers(transaction.query_portal(&ten, 4).await.expect("part")), [1, 2, 3, 4]);
    assert_eq!(numbers(transaction.query_portal(&five, 5).await.expect("part")), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(transaction.query_portal(&ten, 4).await.expect("part")), [5, 6, 7, 8]);
    assert_eq!(numbers(transaction.query_portal(&five, 5).await.expect("part")), [0; 0]);
    let other = transaction.query_one("SELECT 42", &[]).await.expect("between").get::<_, i32>(0);
    assert_eq!(other, 42);
    assert_eq!(numbers(transaction.query_portal(&ten, 0).await.expect("rest")), [9, 10]);
    transaction.commit().await.expect("commit");
}

#[tokio::test]
async fn copy_moves_rows_in_and_out_in_text_and_csv() {
    let target = Target::start().await;
    let client = target.client().await;
    client.batch_execute("CREATE TABLE c (id int PRIMARY KEY, t text, n numeric, d date)").await.expect("table");
    let copy_in = async |sql: &str, data: &'static str| -> Result<u64, tokio_postgres::Error> {
        let mut sink = pin!(client.copy_in::<_, Bytes>(sql).await?);
        for part in data.as_bytes().chunks(7) {
            sink.send(Bytes::from_static(part)).await?;
        }
        sink.finish().await
    };
    let copy_out = async |sql: &str| -> String {
        let parts: Vec<Bytes> = client.copy_out(sql).await.expect(sql).try_collect().await.expect(sql);
        String::from_utf8(parts.concat()).expect("utf-8")
    };
    let text = "1\ta\\tb\t1.50\t2024-01-01\n2\t\\N\t\\N\t\\N\n3\tline\\nbreak\\\\\t-0.001\t1999-12-31\n";
    assert_eq!(copy_in("COPY c FROM STDIN", text).await.expect("text"), 3);
    let out = copy_out("COPY c TO STDOUT").await;
    let mut lines: Vec<&str> = out.split_inclusive('\n').collect();
    lines.sort_unstable();
    assert_eq!(lines.concat(), text);
    let csv = "id,t,n,d\n4,\"a,\"\"b\"\"\",2,2024-02-29\n5,,,\n6,\"\",0,\n";
    assert_eq!(copy_in("COPY c FROM STDIN WITH (FORMAT csv, HEADER true)", csv).await.expect("csv"), 3);
    let out = copy_out("COPY (SELECT * FROM c WHERE id >= 4 ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER)").await;
    assert_eq!(out, csv);
    assert_eq!(
        copy_in("COPY c (t, id) FROM STDIN WITH (DELIMITER '|', NULL 'nil')", "nil|7\nx|8\n").await.expect("columns"),
        2
    );
    assert_eq!(single(&client, "SELECT count(*) FROM c WHERE t IS NULL").await.as_deref(), Some("3"));
    let cases = [
        ("9\tx\n", "22P04"),
        ("x\ty\t1\t2024-01-01\n", "22P02"),
        ("9\ty\t1\t2024-02-30\n", "22008"),
        ("1\ty\t1\t\\N\n", "23505"),
    ];
    for (data, expected) in cases {
        let error = copy_in("COPY c FROM STDIN", data).await.expect_err(expected);
        assert_eq!(error.code().map(|code| code.code()), Some(expected), "{data:?}");
    }
    assert_eq!(single(&client, "SELECT count(*) FROM c").await.as_deref(), Some("8"), "nothing of a failed COPY stays");
    {
        let mut sink = pin!(client.copy_in::<_, Bytes>("COPY c FROM STDIN").await.expect("copy"));
        sink.send(Bytes::from_static(b"10\tx\t1\t\\N\n")).await.expect("send");
        // Dropped without an end: the driver sends CopyFail.
    }
    assert_eq!(single(&client, "SELECT count(*) FROM c").await.as_deref(), Some("8"));
    assert_eq!(code(&client, "COPY nothing TO STDOUT").await, "42P01");
}

#[tokio::test]
async fn copy_reads_names_of_objects() {
    let target = Target::start().await;
    let client = target.client().await;
    let table = "CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE names (c regclass, t regtype, all_of regclass[])";
    client.batch_execute(table).await.expect("table");
    let copy_in = async |data: &'static str| -> Result<u64, tokio_postgres::Error> {
        let mut sink = pin!(client.copy_in::<_, Bytes>("COPY names FROM STDIN").await?);
        sink.send(Bytes::from_static(data.as_bytes())).await?;
        sink.finish().await
    };
    assert_eq!(copy_in("names\tmood\t{pg_class,names}\n1259\tint4\t{}\n\\N\t\\N\t\\N\n").await.expect("names"), 3);
    let found = "SELECT string_agg(c::text || t || cardinality(all_of), ',' ORDER BY t::text) FROM names";
    assert_eq!(single(&client, found).await.as_deref(), Some("pg_classinteger0,namesmood2"));
    let error = copy_in("nothing\tint4\t{}\n").await.expect_err("no such relation");
    assert_eq!(error.code().map(|code| code.code()), Some("42P01"));
}

#[tokio::test]
async fn a_query_can_be_cancelled_and_the_session_lives_on() {
    let target = Target::start().await;
    let client = target.client().await;
    let token = client.cancel_token();
    let slow = client.batch_execute("SELECT pg_sleep(60)");
    let cancel = async {
        let control = target.client().await;
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'";
        while single(&control, busy).await.as_deref() != Some("1") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        token.cancel_query(NoTls).await.expect("cancel");
    };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(30), future::join(slow, cancel)).await.expect("time");
    assert_eq!(answer.expect_err("cancelled").code().map(|code| code.code()), Some("57014"));
    assert_eq!(single(&client, "SELECT 1").await.as_deref(), Some("1"));
    client.batch_execute("SET statement_timeout = '100ms'").await.expect("set");
    assert_eq!(
        code(&client, "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b").await,
        "57014"
    );
}

#[tokio::test]
async fn errors_carry_their_fields() {
    let target = Target::start().await;
    let client = target.client().await;
    let ddl = "CREATE TABLE par (id int PRIMARY KEY, v int NOT NULL, w int UNIQUE CHECK (w > 0)); \
               CREATE TABLE kid (id int, par_id int REFERENCES par); INSERT INTO par VALUES (1, 1, 1)";
    client.batch_execute(ddl).await.expect("tables");
    let cases: &[(&str, &str, Option<&str>, Option<&str>)] = &[
        ("INSERT INTO par VALUES (1, 1, 2)", "23505", Some("par_pkey"), None),
        ("INSERT INTO par VALUES (2, 1, 1)", "23505", Some("par_w_key"), None),
        ("INSERT INTO par VALUES (2, NULL, 2)", "23502", None, Some("v")),
        ("INSERT INTO par VALUES (2, 2, -1)", "23514", Some("par_w_check"), None),
        ("INSERT INTO kid VALUES (1, 9)", "23503", Some("kid_par_id_fkey"), None),
    ];
    for (sql, code, constraint, column) in cases {
        let error = fails(&client, sql).await;
        assert_eq!(error.code().code(), *code, "{sql}");
        assert_eq!(error.constraint(), *constraint, "{sql}");
        assert_eq!(error.column(), *column, "{sql}");
        assert_eq!(error.schema(), Some("public"), "{sql}");
        assert_eq!(error.table(), Some(if sql.contains("kid") { "kid" } else { "par" }), "{sql}");
        assert_eq!(error.severity(), "ERROR");
    }
    let duplicate = fails(&client, "INSERT INTO par VALUES (1, 1, 2)").await;
    assert_eq!(duplicate.message(), "duplicate key value violates unique constraint \"par_pkey\"");
    assert_eq!(duplicate.detail(), Some("Key (id)=(1) already exists."));
    // The other row is of the statement itself.
    let duplicate = fails(&client, "INSERT INTO par SELECT x, 1, 5 FROM generate_series(2, 4) x").await;
    assert_eq!(duplicate.detail(), Some("Key (w)=(5) already exists."));
    for (sql, code, position) in [
        ("SELEC 1", "42601", 1),
        ("SELECT 1 FROM nothing", "42P01", 15),
        ("SELECT 'é', nothing FROM par", "42703", 13),
        ("SELECT nothing(1)", "42883", 8),
    ] {
        let error = fails(&client, sql).await;
        assert_eq!(error.code().code(), code, "{sql}");
        assert_eq!(error.position(), Some(&ErrorPosition::Original(position)), "{sql}");
    }
}

#[tokio::test]
async fn transaction_status_notices_and_parameters() {
    let target = Target::start().await;
    let (client, mut connection) = target.config().connect(NoTls).await.expect("connect");
    assert!(connection.parameter("server_version").is_some_and(|version| version.starts_with("15")));
    for (name, value) in [("client_encoding", "UTF8"), ("integer_datetimes", "on"), ("in_hot_standby", "off")] {
        assert_eq!(connection.parameter(name), Some(value), "{name}");
    }
    let (mut notices, received) = mpsc::unbounded();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notice(notice) = message {
                drop(notices.send(notice).await);
            }
        }
    });
    client.batch_execute("DROP TABLE IF EXISTS nothing").await.expect("drop");
    client.batch_execute("COMMIT").await.expect("commit outside a block is a warning");
    assert_eq!(code(&client, "BEGIN; SELECT 1 / 0").await, "22012");
    assert_eq!(code(&client, "SELECT 1").await, "25P02");
    client.batch_execute("ROLLBACK").await.expect("rollback");
    // Statements of one simple query are one transaction: the error undoes the table.
    assert_eq!(code(&client, "CREATE TABLE half (id int); INSERT INTO half VALUES (1); SELECT 1 / 0").await, "22012");
    assert_eq!(code(&client, "SELECT * FROM half").await, "42P01");
    client.batch_execute("").await.expect("empty query");
    drop(client);
    let codes: Vec<String> = received.map(|notice: DbError| notice.code().code().to_owned()).collect().await;
    assert_eq!(codes, ["00000", "25P01"]);
}

#[tokio::test]
async fn startup_is_refused_with_the_code_that_says_why() {
    let target = Target::start().await;
    let mut config = target.config();
    config.options("-c nothing_like_this=1");
    let error = connect(&config).await.expect_err("unknown parameter");
    assert_eq!(error.code().map(|code| code.code()), Some("42704"));
    config.options("-c statement_timeout=1234");
    let client = connect(&config).await.expect("options");
    assert_eq!(single(&client, "SHOW statement_timeout").await.as_deref(), Some("1234ms"));
    let mut config = target.config();
    config.dbname("nothing_like_this");
    let error = connect(&config).await.expect_err("unknown database");
    assert_eq!(error.code().map(|code| code.code()), Some("3D000"));
}

#[tokio::test]
async fn one_connection_too_many_gets_53300() {
    let dir = TempDir::new().expect("directory");
    let mut launch = launch("node1", &dir.path().join("data"));
    launch.extra = ["--max-connections", "3"].map(String::from).to_vec();
    let server = launch.spawn().ready().await;
    let control = server.connect().await;
    // The connection that found the server ready may still be on its way out.
    let others =
        "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let gone = async {
        while single(&control, others).await.as_deref() != Some("0") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("an ended connection is still listed");
    let _held = [server.connect().await, server.connect().await];
    let error = connect(&server.launch.config()).await.expect_err("fourth connection");
    assert_eq!(error.code().map(|code| code.code()), Some("53300"));
    assert_eq!(single(&control, "SELECT 1").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn scram_lets_in_whoever_knows_the_password() {
    let dir = TempDir::new().expect("directory");
    let mut launch = launch("node1", &dir.path().join("data"));
    {
        let server = launch.spawn().ready().await;
        let client = server.connect().await;
        client.batch_execute("CREATE ROLE ada LOGIN PASSWORD 'l0velace'").await.expect("role");
    }
    launch.extra = ["--auth", "scram-sha-256"].map(String::from).to_vec();
    let mut server = launch.spawn();
    let mut config = launch.config();
    config.user("ada").password("l0velace");
    let deadline = std::time::Instant::now() + crate::server::READY_WITHIN;
    let client = loop {
        match connect(&config).await {
            Ok(client) => break client,
            Err(error)
                if std::time::Instant::now() > deadline
                    || error.as_db_error().is_some_and(|it| it.code().code() == "28P01") =>
            {
                panic!("{error:?}\n{}", server.log.text())
            }
            Err(_) => {
                assert!(server.exited().is_none(), "{}", server.log.text());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    assert_eq!(single(&client, "SELECT current_user").await.as_deref(), Some("ada"));
    for (user, password) in [("ada", "wrong"), ("nobody", "l0velace")] {
        let error = connect(config.user(user).password(password)).await.expect_err("refused");
        assert_eq!(error.code().map(|code| code.code()), Some("28P01"), "{user}");
    }
}

#[tokio::test]
async fn a_list_of_hosts_leads_past_a_dead_one() {
    let target = Target::start().await;
    if target.is_postgres() {
        return;
    }
    let live = target.config().get_ports()[0];
    let mut config = tokio_postgres::Config::new();
    config.user("postgres").dbname("postgres").target_session_attrs(TargetSessionAttrs::ReadWrite);
    config.host("127.0.0.1").port(free_port()).host("127.0.0.1").port(live);
    let client = connect(&config).await.expect("second host");
    assert_eq!(single(&client, "SHOW transaction_read_only").await.as_deref(), Some("off"));
}
