//! The transactions that are interleaved. Within a theme every pair is taken, a transaction with itself included; the
//! longer ones and the threes are listed one by one.

/// One set of transactions that run at once.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub transactions: Vec<&'static [&'static str]>,
}

pub const SCHEMA: &str = "DROP TABLE IF EXISTS c, p, t, q; \
    CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL); \
    CREATE TABLE p (id int PRIMARY KEY, v int); \
    CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p, v int); \
    CREATE TABLE q (id int PRIMARY KEY, k int UNIQUE, v int)";

/// Ranges of keys are short statements: most of a run is spent here.
pub const RESET: &str = "DELETE FROM c WHERE id BETWEEN 0 AND 1000; DELETE FROM p WHERE id BETWEEN 0 AND 1000; \
    DELETE FROM t WHERE id BETWEEN 0 AND 1000; DELETE FROM q WHERE id BETWEEN 0 AND 1000; \
    INSERT INTO t VALUES (1, 10), (2, 20); INSERT INTO p VALUES (1, 10), (2, 20); \
    INSERT INTO c VALUES (1, 2, 0); INSERT INTO q VALUES (1, 1, 10)";

/// Name and content of each table.
pub const STATE: [(&str, &str); 4] = [
    ("t", "SELECT id, v FROM t WHERE id BETWEEN 0 AND 1000"),
    ("p", "SELECT id, v FROM p WHERE id BETWEEN 0 AND 1000"),
    ("c", "SELECT id, p FROM c WHERE id BETWEEN 0 AND 1000"),
    ("q", "SELECT id, k, v FROM q WHERE id BETWEEN 0 AND 1000"),
];

type Transaction = (&'static str, &'static [&'static str]);

/// Rows by key: reads, writes in both orders, deletions, locks.
const ROWS: &[Transaction] = &[
    ("increment", &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 1"]),
    ("skew", &["SELECT v FROM t WHERE id = 2", "UPDATE t SET v = v - 100 WHERE id = 1"]),
    ("sum", &["SELECT sum(v) FROM t", "UPDATE t SET v = v - 25 WHERE id = 2"]),
    ("double", &["UPDATE t SET v = v * 2 WHERE id = 1", "UPDATE t SET v = v * 2 WHERE id = 2"]),
    ("backwards", &["UPDATE t SET v = v + 3 WHERE id = 2", "UPDATE t SET v = v + 3 WHERE id = 1"]),
    ("delete", &["DELETE FROM t WHERE id = 1", "SELECT count(*) FROM t"]),
    ("reader", &["SELECT v FROM t WHERE id = 1", "SELECT v FROM t WHERE id = 2"]),
    ("locker", &["SELECT v FROM t WHERE id = 1 FOR UPDATE", "UPDATE t SET v = v + 7 WHERE id = 1"]),
    ("rekey", &["UPDATE t SET id = 7 WHERE id = 1", "SELECT id FROM t ORDER BY id"]),
];

/// Sets of rows by predicate, and rows that come and go.
const PREDICATES: &[Transaction] = &[
    ("count 3", &["SELECT count(*) FROM t WHERE v > 15", "INSERT INTO t VALUES (3, 30)"]),
    ("count 4", &["SELECT count(*) FROM t WHERE v > 15", "INSERT INTO t VALUES (4, 40)"]),
    ("raise", &["UPDATE t SET v = v + 10 WHERE v < 15", "SELECT sum(v) FROM t"]),
    ("replace", &["DELETE FROM t WHERE v >= 20", "INSERT INTO t VALUES (5, 50)"]),
    ("lower", &["UPDATE t SET v = v - 10 WHERE v >= 20", "SELECT id FROM t WHERE v < 15 ORDER BY id"]),
    ("absent", &["SELECT v FROM t WHERE id = 3", "INSERT INTO t VALUES (3, 33)"]),
    ("all", &["UPDATE t SET v = v + 1", "SELECT v FROM t WHERE id BETWEEN 2 AND 4 ORDER BY id"]),
    ("totals", &["INSERT INTO t SELECT 10 + count(*), sum(v) FROM t", "SELECT max(id) FROM t"]),
];

/// INSERT … ON CONFLICT and unique keys.
const CONFLICTS: &[Transaction] = &[
    ("upsert", &["INSERT INTO q VALUES (1, 1, 5) ON CONFLICT (id) DO UPDATE SET v = q.v + 5", "SELECT sum(v) FROM q"]),
    ("nothing", &["INSERT INTO q VALUES (2, 2, 7) ON CONFLICT DO NOTHING", "SELECT count(*) FROM q"]),
    (
        "upsert by k",
        &[
            "INSERT INTO q VALUES (3, 2, 9) ON CONFLICT (k) DO UPDATE SET v = q.v + 9",
            "SELECT id, v FROM q ORDER BY id",
        ],
    ),
    ("again", &["DELETE FROM q WHERE id = 1", "INSERT INTO q VALUES (1, 1, 100)"]),
    ("move", &["UPDATE q SET k = 2 WHERE id = 1", "SELECT v FROM q WHERE k = 2"]),
    ("insert", &["INSERT INTO q VALUES (2, 2, 1)", "SELECT v FROM q WHERE id = 2"]),
    (
        "if high",
        &[
            "INSERT INTO q VALUES (1, 1, 1) ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v WHERE q.v > 9",
            "UPDATE q SET v = v + 2 WHERE k = 1",
        ],
    ),
];

/// Foreign keys.
const KEYS: &[Transaction] = &[
    ("child", &["INSERT INTO c VALUES (2, 1, 0)", "SELECT count(*) FROM c WHERE p = 1"]),
    ("no parent", &["DELETE FROM p WHERE id = 1", "SELECT count(*) FROM c"]),
    ("touch parent", &["UPDATE p SET v = v + 1 WHERE id = 1", "SELECT v FROM p WHERE id = 1"]),
    ("move child", &["UPDATE c SET p = 1 WHERE id = 1", "SELECT count(*) FROM c WHERE p = 2"]),
    ("both go", &["DELETE FROM c WHERE id = 1", "DELETE FROM p WHERE id = 2"]),
    ("both come", &["INSERT INTO p VALUES (3, 30)", "INSERT INTO c VALUES (3, 3, 0)"]),
    ("rekey parent", &["UPDATE p SET id = 9 WHERE id = 1", "SELECT id FROM p ORDER BY id"]),
];

type Listed = (&'static str, &'static [&'static [&'static str]]);

/// Three and four statements.
const LONGER: &[Listed] = &[
    (
        "transfer and audit",
        &[
            &["UPDATE t SET v = v - 5 WHERE id = 1", "UPDATE t SET v = v + 5 WHERE id = 2", "SELECT sum(v) FROM t"],
            &["SELECT v FROM t WHERE id = 1", "SELECT v FROM t WHERE id = 2", "SELECT sum(v) FROM t"],
        ],
    ),
    (
        "transfers both ways",
        &[
            &[
                "SELECT v FROM t WHERE id = 1",
                "UPDATE t SET v = v - 5 WHERE id = 1",
                "UPDATE t SET v = v + 5 WHERE id = 2",
            ],
            &[
                "SELECT v FROM t WHERE id = 2",
                "UPDATE t SET v = v - 7 WHERE id = 2",
                "UPDATE t SET v = v + 7 WHERE id = 1",
            ],
        ],
    ),
    (
        "four statements",
        &[
            &[
                "SELECT count(*) FROM t",
                "INSERT INTO t VALUES (3, 30)",
                "UPDATE t SET v = v + 1 WHERE v > 15",
                "SELECT sum(v) FROM t",
            ],
            &[
                "SELECT max(v) FROM t",
                "DELETE FROM t WHERE id = 2",
                "INSERT INTO t VALUES (4, 5)",
                "SELECT count(*) FROM t",
            ],
        ],
    ),
    (
        "a parent for each",
        &[
            &["SELECT count(*) FROM p", "INSERT INTO p VALUES (3, 0)", "INSERT INTO c VALUES (3, 3, 0)"],
            &["SELECT count(*) FROM c", "DELETE FROM c WHERE id = 1", "DELETE FROM p WHERE id = 2"],
        ],
    ),
    (
        "upserts of two keys",
        &[
            &[
                "INSERT INTO q VALUES (2, 2, 1) ON CONFLICT (id) DO UPDATE SET v = q.v + 1",
                "INSERT INTO q VALUES (1, 1, 1) ON CONFLICT (id) DO UPDATE SET v = q.v + 1",
                "SELECT sum(v) FROM q",
            ],
            &[
                "INSERT INTO q VALUES (2, 2, 10) ON CONFLICT (id) DO UPDATE SET v = q.v + 10",
                "SELECT count(*) FROM q",
                "DELETE FROM q WHERE k = 1",
            ],
        ],
    ),
    (
        "savepoints",
        &[
            &["UPDATE t SET v = v + 1 WHERE id = 1; SAVEPOINT s", "UPDATE t SET v = 0 WHERE id = 2", "ROLLBACK TO s"],
            &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v + 50 WHERE id = 2", "SELECT sum(v) FROM t"],
        ],
    ),
];

/// Three transactions.
const THREES: &[Listed] = &[
    (
        "read-only anomaly",
        &[
            &["SELECT v FROM t WHERE id = 1", "UPDATE t SET v = v - 1 WHERE id = 2"],
            &["UPDATE t SET v = v + 20 WHERE id = 1"],
            &["SELECT sum(v) FROM t"],
        ],
    ),
    (
        "long fork",
        &[
            &["INSERT INTO t VALUES (3, 30)"],
            &["INSERT INTO t VALUES (4, 40)"],
            &["SELECT count(*) FROM t WHERE id = 3", "SELECT count(*) FROM t WHERE id = 4"],
        ],
    ),
    (
        "ring of skews",
        &[
            &["UPDATE t SET v = (SELECT v FROM t WHERE id = 2) + 1 WHERE id = 1"],
            &["INSERT INTO q SELECT 5, 5, v FROM t WHERE id = 1"],
            &["UPDATE t SET v = (SELECT count(*) FROM q) WHERE id = 2"],
        ],
    ),
    (
        "three on one row",
        &[
            &["UPDATE t SET v = v + 1 WHERE id = 1"],
            &["UPDATE t SET v = v * 2 WHERE id = 1"],
            &["SELECT v FROM t WHERE id = 1", "DELETE FROM t WHERE id = 1"],
        ],
    ),
    (
        "three inserts of one key",
        &[
            &["INSERT INTO q VALUES (2, 2, 1)"],
            &["INSERT INTO q VALUES (2, 2, 2) ON CONFLICT DO NOTHING"],
            &["INSERT INTO q VALUES (3, 2, 3) ON CONFLICT (k) DO UPDATE SET v = q.v + 3"],
        ],
    ),
    (
        "parent, child and key",
        &[
            &["DELETE FROM p WHERE id = 1"],
            &["INSERT INTO c VALUES (2, 1, 0)"],
            &["UPDATE p SET v = 5 WHERE id = 1", "SELECT count(*) FROM c"],
        ],
    ),
    (
        "locks in a ring",
        &[
            &["UPDATE t SET v = v + 1 WHERE id = 1", "UPDATE t SET v = v + 1 WHERE id = 2"],
            &["UPDATE t SET v = v + 10 WHERE id = 2", "UPDATE p SET v = v + 10 WHERE id = 1"],
            &["UPDATE p SET v = v + 100 WHERE id = 1", "UPDATE t SET v = v + 100 WHERE id = 1"],
        ],
    ),
];

pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (theme, transactions) in [("rows", ROWS), ("predicates", PREDICATES), ("conflicts", CONFLICTS), ("keys", KEYS)]
    {
        for (i, (one, first)) in transactions.iter().enumerate() {
            for (other, second) in &transactions[i..] {
                let name = format!("{theme}: {one}, {other}");
                cases.push(Case { name, transactions: vec![first, second] });
            }
        }
    }
    for (kind, listed) in [("longer", LONGER), ("three", THREES)] {
        for (name, transactions) in listed {
            cases.push(Case { name: format!("{kind}: {name}"), transactions: transactions.to_vec() });
        }
    }
    cases
}

impl Case {
    /// Every order of the steps (each statement, and the end of each transaction), as the numbers of the transactions.
    pub fn schedules(&self) -> Vec<Vec<u8>> {
        fn extend(left: &mut [usize], order: &mut Vec<u8>, all: &mut Vec<Vec<u8>>) {
            if left.iter().all(|count| *count == 0) {
                all.push(order.clone());
            }
            for i in 0..left.len() {
                if left[i] > 0 {
                    left[i] -= 1;
                    order.push(i as u8);
                    extend(left, order, all);
                    order.pop();
                    left[i] += 1;
                }
            }
        }
        let mut left: Vec<usize> = self.transactions.iter().map(|statements| statements.len() + 1).collect();
        let mut all = Vec::new();
        extend(&mut left, &mut Vec::new(), &mut all);
        all
    }
}
