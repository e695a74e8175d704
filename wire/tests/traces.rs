//! Order and content of the answers to scripted messages. Every line of the table holds on PostgreSQL 15 as well:
//! `WIRE_TEST_POSTGRES=127.0.0.1:5432 cargo test -p lockstep-wire --test traces -- --ignored` asks one.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use support::client::*;

const FAILING: &str = "SELECT 1/(i-3) FROM generate_series(1, 5) i";
const SERIES: &str = "SELECT generate_series(1, 5)";
const ECHO: &str = "SELECT $1::int4, $2::text";

type Trace = (&'static str, Vec<Vec<u8>>, &'static str);

fn traces() -> Vec<Trace> {
    let p = |sql: &str| parse("", sql, &[]);
    let b = || bind("", "");
    let e = || execute("", 0);
    let text = |text: &'static str| Some(text.as_bytes());
    vec![
        ("simple", vec![query("SELECT 1")], "T1t D(1) C(SELECT 1) Z(I)"),
        ("several statements", vec![query("SELECT 1; SELECT 1;")], "T1t D(1) C(SELECT 1) T1t D(1) C(SELECT 1) Z(I)"),
        ("empty", vec![query(""), query(" ; ")], "I Z(I) I Z(I)"),
        ("no rows returned", vec![query("INSERT INTO t VALUES (1)")], "C(INSERT 0 1) Z(I)"),
        (
            "an error ends the string",
            vec![query(&format!("SELECT 1; {FAILING}; SELECT 1")), query("SELECT 1")],
            "T1t D(1) C(SELECT 1) T1t D(0) D(-1) E(22012 division by zero) Z(I) T1t D(1) C(SELECT 1) Z(I)",
        ),
        (
            "a syntax error runs nothing",
            vec![query("SELECT 1; SELCT")],
            r#"E(42601 syntax error at or near "SELCT") Z(I)"#,
        ),
        (
            "transaction status",
            vec![query("BEGIN"), query("SELCT"), query("SELECT 1"), query("COMMIT"), query("SELECT 1")],
            r#"C(BEGIN) Z(T) E(42601 syntax error at or near "SELCT") Z(E) E(25P02 current transaction is aborted, commands ignored until end of transaction block) Z(E) C(ROLLBACK) Z(I) T1t D(1) C(SELECT 1) Z(I)"#,
        ),
        (
            "a changed parameter is told before ReadyForQuery",
            vec![query("SET application_name = 'x'")],
            "C(SET) S(application_name=x) Z(I)",
        ),
        ("extended", vec![p("SELECT 1"), b(), describe('P', ""), e(), sync()], "1 2 T1t D(1) C(SELECT 1) Z(I)"),
        (
            "describe a statement",
            vec![p(ECHO), describe('S', ""), p("BEGIN"), describe('S', ""), sync()],
            "1 t(23 25) T2tt 1 t() n Z(I)",
        ),
        ("describe a portal without rows", vec![p("BEGIN"), b(), describe('P', ""), sync()], "1 2 n Z(I)"),
        ("empty statement", vec![p(""), b(), describe('P', ""), e(), sync()], "1 2 n I Z(I)"),
        (
            "after an error all is skipped to Sync",
            vec![p(FAILING), b(), e(), p("SELECT 1"), b(), e(), query("SELECT 1"), flush(), sync(), query("SELECT 1")],
            "1 2 D(0) D(-1) E(22012 division by zero) Z(I) T1t D(1) C(SELECT 1) Z(I)",
        ),
        (
            "pipelined",
            vec![p("SELECT 1"), b(), e(), sync(), b(), e(), b(), e(), sync()],
            "1 2 D(1) C(SELECT 1) Z(I) 2 D(1) C(SELECT 1) 2 D(1) C(SELECT 1) Z(I)",
        ),
        (
            "a portal with a row limit",
            vec![p(SERIES), bind("p", ""), execute("p", 2), execute("p", 2), execute("p", 2), sync()],
            "1 2 D(1) D(2) s D(3) D(4) s D(5) C(SELECT 1) Z(I)",
        ),
        (
            "a limit that is the number of rows suspends",
            vec![p(SERIES), b(), execute("", 5), execute("", 5), sync()],
            "1 2 D(1) D(2) D(3) D(4) D(5) s C(SELECT 0) Z(I)",
        ),
        (
            "two suspended portals in turn",
            vec![
                p(SERIES),
                bind("p", ""),
                bind("q", ""),
                execute("p", 1),
                execute("q", 2),
                execute("p", 1),
                close('P', "p"),
                execute("q", -1),
                sync(),
            ],
            "1 2 2 D(1) s D(1) D(2) s D(2) s 3 D(3) D(4) D(5) C(SELECT 3) Z(I)",
        ),
        (
            "a portal ends with its transaction",
            vec![p("SELECT 1"), bind("p", ""), sync(), execute("p", 0), sync()],
            r#"1 2 Z(I) E(34000 portal "p" does not exist) Z(I)"#,
        ),
        (
            "close",
            vec![
                parse("s", "SELECT 1", &[]),
                close('S', "s"),
                close('S', "s"),
                close('P', "nothing"),
                bind("", "s"),
                sync(),
            ],
            r#"1 3 3 3 E(26000 prepared statement "s" does not exist) Z(I)"#,
        ),
        (
            "a name is taken",
            vec![parse("s", "SELECT 1", &[]), parse("s", "SELECT 1", &[]), sync(), bind("", "s"), e(), sync()],
            r#"1 E(42P05 prepared statement "s" already exists) Z(I) 2 D(1) C(SELECT 1) Z(I)"#,
        ),
        (
            "unknown names",
            vec![
                describe('S', "x"),
                sync(),
                describe('P', "x"),
                sync(),
                execute("x", 0),
                sync(),
                bind("", "x"),
                sync(),
            ],
            r#"E(26000 prepared statement "x" does not exist) Z(I) E(34000 portal "x" does not exist) Z(I) E(34000 portal "x" does not exist) Z(I) E(26000 prepared statement "x" does not exist) Z(I)"#,
        ),
        (
            "a simple query takes the unnamed statement away",
            vec![p("SELECT 1"), sync(), query("SELECT 1"), b(), sync()],
            "1 Z(I) T1t D(1) C(SELECT 1) Z(I) E(26000 unnamed prepared statement does not exist) Z(I)",
        ),
        (
            "parameters and results in text and binary",
            vec![
                p(ECHO),
                bind_values("", "", &[], &[text("7"), text("a")], &[]),
                e(),
                bind_values("", "", &[1], &[Some(&[0, 0, 0, 7]), text("a")], &[1]),
                describe('P', ""),
                e(),
                bind_values("", "", &[1, 0], &[Some(&[0, 0, 0, 7]), None], &[1, 0]),
                describe('P', ""),
                e(),
                sync(),
            ],
            "1 2 D(7,a) C(SELECT 1) 2 T2bb D(00000007,a) C(SELECT 1) 2 T2bt D(00000007,NULL) C(SELECT 1) Z(I)",
        ),
        (
            "counts that do not fit",
            vec![
                p(ECHO),
                bind_values("", "", &[], &[text("7")], &[]),
                sync(),
                bind_values("", "", &[0, 0, 0], &[text("7"), text("a")], &[]),
                sync(),
                bind_values("", "", &[], &[text("7"), text("a")], &[0, 0, 0]),
                sync(),
                bind_values("", "", &[7], &[text("7"), text("a")], &[]),
                sync(),
            ],
            r#"1 E(08P01 bind message supplies 1 parameters, but prepared statement "" requires 2) Z(I) E(08P01 bind message has 3 parameter formats but 2 parameters) Z(I) E(08P01 bind message has 3 result formats but query has 2 columns) Z(I) E(22023 unsupported format code: 7) Z(I)"#,
        ),
        (
            "values that are none",
            vec![
                p(ECHO),
                bind_values("", "", &[], &[text("x"), None], &[]),
                sync(),
                bind_values("", "", &[1], &[Some(&[0, 0, 7]), None], &[]),
                sync(),
                bind_values("", "", &[1], &[Some(&[0, 0, 0, 0, 7]), None], &[]),
                sync(),
                bind_values("", "", &[], &[None, Some(b"a\xff")], &[]),
                sync(),
                bind_values("", "", &[], &[None, Some(b"a\0b")], &[]),
                sync(),
            ],
            r#"1 E(22P02 invalid input syntax for type integer: "x") Z(I) E(08P01 insufficient data left in message) Z(I) E(22P03 incorrect binary data format in bind parameter 1) Z(I) E(22021 invalid byte sequence for encoding "UTF8": 0xff) Z(I) E(22021 invalid byte sequence for encoding "UTF8": 0x00) Z(I)"#,
        ),
        (
            "no binary form",
            vec![p("SELECT '=r/postgres'::aclitem"), bind_values("", "", &[], &[], &[1]), e(), sync()],
            "1 2 E(42883 no binary output function available for type aclitem) Z(I)",
        ),
        (
            "malformed messages",
            vec![
                message(b'Q', b"SELECT 1"),
                message(b'Q', b"SELECT 1\0x"),
                message(b'Q', b"SELECT '\xff'\0"),
                p("SELECT 1"),
                message(b'B', b"\0\0\0"),
                sync(),
                message(b'D', b"Xs\0"),
                sync(),
                message(b'C', b"Xs\0"),
                sync(),
            ],
            r#"E(08P01 invalid string in message) Z(I) E(08P01 invalid message format) Z(I) E(22021 invalid byte sequence for encoding "UTF8": 0xff) Z(I) 1 E(08P01 insufficient data left in message) Z(I) E(08P01 invalid DESCRIBE message subtype 88) Z(I) E(08P01 invalid CLOSE message subtype 88) Z(I)"#,
        ),
        (
            "copy in",
            vec![query("COPY t FROM STDIN"), copy_data("1\n2"), flush(), copy_data("\n"), sync(), copy_done()],
            "G(0 1) C(COPY 2) Z(I)",
        ),
        (
            "copy in, abandoned",
            vec![query("BEGIN"), query("COPY t FROM STDIN"), copy_data("1\n"), copy_fail("no"), query("ROLLBACK")],
            "C(BEGIN) Z(T) G(0 1) E(57014 COPY from stdin failed: no) Z(E) C(ROLLBACK) Z(I)",
        ),
        (
            "copy in, failed: what still comes is ignored",
            vec![query("COPY t FROM STDIN"), copy_data("wrong\n"), copy_data("1\n"), copy_done(), query("SELECT 1")],
            r#"G(0 1) E(22P02 invalid input syntax for type integer: "wrong") Z(I) T1t D(1) C(SELECT 1) Z(I)"#,
        ),
        (
            "copy in, extended",
            vec![
                p("COPY t FROM STDIN"),
                b(),
                e(),
                sync(),
                copy_data("1\n"),
                copy_done(),
                p("SELECT 1"),
                b(),
                e(),
                sync(),
            ],
            "1 2 G(0 1) C(COPY 1) 1 2 D(1) C(SELECT 1) Z(I)",
        ),
        (
            "copy in, extended, failed",
            vec![
                p("COPY t FROM STDIN"),
                b(),
                e(),
                copy_data("wrong\n"),
                copy_data("1\n"),
                copy_done(),
                sync(),
                query("SELECT 1"),
            ],
            r#"1 2 G(0 1) E(22P02 invalid input syntax for type integer: "wrong") Z(I) T1t D(1) C(SELECT 1) Z(I)"#,
        ),
        (
            "copy in, interrupted by a query",
            vec![query("COPY t FROM STDIN"), query("SELECT 1"), query("SELECT 1")],
            "G(0 1) E(08P01 unexpected message type 0x51 during COPY from stdin) E(FATAL 08P01 terminating connection because protocol synchronization was lost)",
        ),
        (
            "copy messages out of place are ignored",
            vec![copy_data("1\n"), copy_done(), copy_fail("x"), query("SELECT 1")],
            "T1t D(1) C(SELECT 1) Z(I)",
        ),
        (
            "an unknown message ends the connection",
            vec![query("SELECT 1"), message(b'y', b"")],
            "T1t D(1) C(SELECT 1) Z(I) E(FATAL 08P01 invalid frontend message type 121)",
        ),
        ("flush", vec![p("SELECT 1"), flush(), b(), e(), flush()], "1 2 D(1) C(SELECT 1)"),
    ]
}

/// Sends a trace's messages and a Terminate; reads to the end.
async fn play(address: SocketAddr, before: &str, messages: &[Vec<u8>]) -> String {
    let (mut client, _) = Client::ready(address).await;
    if !before.is_empty() {
        client.send(&[query(before)]).await;
        client.until('Z').await;
    }
    client.send(&[messages.to_vec(), vec![terminate()]].concat()).await;
    show_with_messages(&client.rest().await)
}

#[tokio::test]
async fn answers_come_in_order() {
    let server = support::start(support::config());
    for (name, messages, expected) in traces() {
        assert_eq!(play(server.address, "", &messages).await, expected, "{name}");
        // The same byte by byte: no message depends on how the bytes arrive.
        let (mut client, _) = Client::ready(server.address).await;
        for byte in [messages.concat(), terminate()].concat() {
            client.send(&[vec![byte]]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(show_with_messages(&client.rest().await), expected, "{name}, byte by byte");
    }
    server.stopped().await;
}

#[tokio::test]
#[ignore = "needs WIRE_TEST_POSTGRES=host:port of a PostgreSQL 15 that trusts user postgres"]
async fn postgresql_agrees() {
    let address = std::env::var("WIRE_TEST_POSTGRES").unwrap().parse().unwrap();
    for (name, messages, expected) in traces() {
        let before = "CREATE TEMP TABLE t (a int)";
        assert_eq!(play(address, before, &messages).await, expected, "{name}");
    }
}

/// COPY TO STDOUT needs rows, which the table's temporary table has not.
#[tokio::test]
async fn copy_out() {
    let server = support::start(support::config());
    let played = play(server.address, "", &[query("COPY t TO STDOUT")]).await;
    assert_eq!(played, "H(0 1) d(1\n) d(2\n) c C(COPY 2) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn function_calls_are_refused() {
    let server = support::start(support::config());
    let played = play(server.address, "", &[message(b'F', b"\0\0\0\0\0\0\0\0\0\0"), query("SELECT 1")]).await;
    assert_eq!(played, "E(0A000 the function call message is not supported) Z(I) T1t D(1) C(SELECT 1) Z(I)");
    server.stopped().await;
}

#[tokio::test]
async fn notices_precede_their_statements_end() {
    let server = support::start(support::config());
    let played = play(server.address, "", &[query("DO notice")]).await;
    assert_eq!(played, "N C(DO) Z(I)");
    server.stopped().await;
}
