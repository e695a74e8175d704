//! The point path against the general path: the same random statements on both give the same answers.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::Database;

fn statement(random: &mut StdRng) -> String {
    let id = random.random_range(0..40);
    let other = random.random_range(0..40);
    let n = random.random_range(-5..15);
    let (a, b) = (id % 5, other % 8);
    let direction = ["", "DESC", "NULLS FIRST", "DESC NULLS LAST"][random.random_range(0..4)];
    let limit = random.random_range(0..6);
    match random.random_range(0..32) {
        0 => format!("SELECT * FROM t WHERE id = {id}"),
        1 => format!("SELECT v, id + 1 FROM t WHERE id = {id} AND n > {n}"),
        2 => format!("SELECT id FROM t WHERE n = {n} ORDER BY id"),
        3 => format!("SELECT id, n FROM t WHERE n >= {n} AND n < {n} + 4 ORDER BY n DESC NULLS LAST, id LIMIT 5"),
        4 => format!("SELECT id FROM t WHERE v = 'v{other}' ORDER BY 1 OFFSET 1"),
        5 => format!("SELECT count(*), sum(n) FROM t WHERE id = {id} OR n = {n}"),
        6 => format!("INSERT INTO t VALUES ({id}, {n}, 'v{other}')"),
        7 => {
            format!("INSERT INTO t VALUES ({id}, {n}, NULL) ON CONFLICT (id) DO UPDATE SET n = excluded.n RETURNING *")
        }
        8 => format!("UPDATE t SET n = n + 1 WHERE id = {id} RETURNING id, n"),
        9 => format!("UPDATE t SET v = 'u{n}' WHERE n = {n}"),
        10 => format!("UPDATE t SET id = {other} WHERE id = {id}"),
        11 => format!("DELETE FROM t WHERE id = {id} AND n < {n} RETURNING v"),
        12 => format!("SELECT {n} + {id}, 'x' || {other}, NULL, {n} > {id}"),
        13 => format!("SELECT id FROM t WHERE id = {id} FOR UPDATE"),
        14 => format!("SELECT n FROM t WHERE id = {id} AND v IS NULL"),
        15 => format!("SELECT * FROM t WHERE id BETWEEN {id} AND {other} ORDER BY id"),
        16 => format!("SELECT id, n FROM t WHERE id > {id} ORDER BY id LIMIT {limit}"),
        17 => format!("SELECT id FROM t WHERE id > {id} AND n < {n} ORDER BY id DESC LIMIT {limit}"),
        18 => format!("SELECT id FROM t ORDER BY id {direction} LIMIT {limit} OFFSET 1"),
        19 => format!("SELECT v, n FROM t ORDER BY v {direction}, n {direction} LIMIT {limit}"),
        20 => format!("SELECT v, n FROM t WHERE v = 'v{other}' ORDER BY v, n DESC LIMIT {limit}"),
        21 => format!("SELECT n FROM t WHERE n > {n} AND n > {n} - 2 ORDER BY n {direction} LIMIT {limit}"),
        22 => format!("INSERT INTO p VALUES ({a}, {b}, 'p{n}')"),
        23 => format!("UPDATE p SET b = {limit} WHERE a = {a} AND b = {b}"),
        24 => format!("UPDATE p SET c = 'all' WHERE a = {a}"),
        25 => format!("DELETE FROM p WHERE a = {a} AND b BETWEEN {limit} AND {b}"),
        26 => format!("SELECT * FROM p WHERE a = {a} ORDER BY b {direction} LIMIT {limit}"),
        27 => format!("SELECT a, b FROM p WHERE a = {a} AND b >= {limit} ORDER BY a, b"),
        28 => format!("SELECT a, b FROM p ORDER BY a DESC, b DESC LIMIT {limit}"),
        29 => format!("SELECT a, b FROM p WHERE a > {a} ORDER BY a, b DESC LIMIT {limit}"),
        30 => format!("SELECT b, c FROM p WHERE a IN ({a}, 1) AND b = {b} ORDER BY a LIMIT {limit}"),
        _ => format!("SELECT u FROM t WHERE u = {n} AND id < {id}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_paths_agree() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (first, second) = (Database::new(), Database::new());
    let (mut point, mut general) = (first.client().await, second.client().await);
    general.rows("SET lockstep.point_path = off").await;
    for client in [&mut point, &mut general] {
        client.rows("CREATE TABLE t (id int PRIMARY KEY, n int, v text, u bigint UNIQUE)").await;
        client.rows("CREATE INDEX t_n ON t (n)").await;
        client.rows("CREATE INDEX t_v ON t (v, n)").await;
        client.rows("CREATE TABLE p (a int, b int, c text, PRIMARY KEY (a, b))").await;
    }
    let mut history = String::new();
    let mut in_block = false;
    for _ in 0..1200 {
        let sql = match random.random_range(0..20) {
            0 if !in_block => "BEGIN".to_string(),
            0 if random.random() => "COMMIT".to_string(),
            0 => "ROLLBACK".to_string(),
            _ => statement(&mut random),
        };
        writeln!(history, "{sql};").unwrap();
        let (a, b) = (point.psql(&sql, "").await, general.psql(&sql, "").await);
        assert_eq!(a, b, "SEED={seed}\n{history}");
        in_block = point.session.transaction_status() != engine::session::TransactionStatus::Idle;
        assert!(!a.contains("XX000") && !a.contains("0A000"), "SEED={seed}: {sql}: {a}");
    }
    let all = "SELECT * FROM t ORDER BY id";
    if in_block {
        point.psql("ROLLBACK", "").await;
        general.psql("ROLLBACK", "").await;
    }
    assert_eq!(point.psql(all, "").await, general.psql(all, "").await, "SEED={seed}");
    let explained = point.rows("EXPLAIN SELECT * FROM t WHERE id = 1").await[0][0].clone();
    assert!(explained.starts_with("Point path: primary key"), "{explained}");
    for (query, wanted) in [
        ("SELECT c FROM p WHERE a = 1", "Point path: index range"),
        ("SELECT c FROM p WHERE a = 1 ORDER BY b DESC LIMIT 1", "Point path: index order"),
        ("SELECT v FROM t ORDER BY id LIMIT 1", "Point path: index order"),
        ("SELECT v FROM t WHERE id > 1 ORDER BY id LIMIT 1", "Point path: index order"),
        ("SELECT v FROM t WHERE id BETWEEN 1 AND 9", "Point path: index range"),
    ] {
        let explained = point.rows(&format!("EXPLAIN {query}")).await[0][0].clone();
        assert!(explained.starts_with(wanted), "{query}: {explained}");
    }
    for query in [
        "SELECT v FROM t WHERE id > 1",
        "SELECT b FROM p ORDER BY a, b DESC LIMIT 1",
        "SELECT v FROM t ORDER BY n + 1 LIMIT 1",
    ] {
        let explained = point.rows(&format!("EXPLAIN {query}")).await[0][0].clone();
        assert!(!explained.starts_with("Point path"), "{query}: {explained}");
    }
    let explained = general.rows("EXPLAIN SELECT * FROM t WHERE id = 1").await[0][0].clone();
    assert!(!explained.starts_with("Point path"), "{explained}");
}

/// A comment keeps a statement's literals where they are: with and without it the answers must be the same, errors and
/// their places included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn literals_mean_the_same_in_plans_that_are_shared() {
    let (shared, own) = (Database::new(), Database::new());
    let (mut shared, mut own) = (shared.client().await, own.client().await);
    for client in [&mut shared, &mut own] {
        client
            .rows(
                "CREATE TABLE v (id int PRIMARY KEY, l bigint, s smallint, n numeric(6,2), f float8, t text, c char(4), \
                 w varchar(3), d date, z timestamptz, b bool, u uuid)",
            )
            .await;
        client.rows("CREATE INDEX ON v (l)").await;
        client.rows("CREATE INDEX ON v (t)").await;
    }
    let columns = "l s n f t c w d z b u".split(' ');
    let values =
        ["0", "1", "-7", "'7'", "40000", "3000000000", "-2147483648", "1.5", "-0.004", "12345.6", "'x'", "'it''s'"];
    let values =
        values.into_iter().chain(["'1999-02-29'", "'2024-02-29'", "'t'", "'long text'", "''", "' 5 '", "'\\x'"]);
    let values: Vec<&str> = values.collect();
    let mut statements = vec!["INSERT INTO v (id) VALUES (1)".to_owned(), "INSERT INTO v (id) VALUES (2)".to_owned()];
    for column in columns {
        for value in &values {
            statements.push(format!("UPDATE v SET {column} = {value} WHERE id = 1"));
            statements.push(format!("UPDATE v SET {column} = {column} + {value} WHERE id = 1"));
            statements.push(format!("UPDATE v SET {column} = {column} - {value} WHERE {value} = id"));
            statements.push(format!("SELECT * FROM v WHERE id = 1 AND {column} = {value}"));
            statements.push(format!("SELECT id FROM v WHERE {column} = {value}"));
            statements.push(format!("SELECT id FROM v WHERE {column} >= {value} ORDER BY id LIMIT 1"));
            statements.push(format!("INSERT INTO v (id, {column}) VALUES (3, {value}) ON CONFLICT DO NOTHING"));
            statements.push(format!("DELETE FROM v WHERE id = 3 AND {column} <> {value}"));
        }
        statements.push(format!("SELECT id FROM v WHERE {column} IN (1, '2', 3.5)"));
        statements.push(format!("SELECT id FROM v WHERE id = 1 AND {column} BETWEEN '1' AND 2"));
    }
    for value in &values {
        statements.push(format!("SELECT id, l FROM v WHERE id = {value}"));
        statements.push(format!("SELECT id FROM v WHERE id IN (1, {value}) ORDER BY id"));
        statements.push(format!("SELECT id FROM v WHERE id = 1 LIMIT {value}"));
    }
    for sql in &statements {
        let (a, b) = (shared.psql(sql, "").await, own.psql(&format!("{sql} /* */"), "").await);
        assert_eq!(a, b, "{sql}");
    }
}
