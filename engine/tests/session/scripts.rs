//! Every `scripts/*.sql` gives the output that PostgreSQL 15 gave (`scripts/*.out`), line by line.
//!
//! The expected files are psql's: `psql -X -A -P null=NULL -v VERBOSITY=verbose`, the lines LOCATION, LINE and the
//! caret taken out.

use std::fmt::Write;
use std::path::Path;

use crate::client::Database;

/// Statements end with a semicolon at the end of a line; what follows COPY … FROM STDIN up to `\.` is its input.
fn statements(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut sql = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if sql.is_empty() && (line.trim().is_empty() || line.starts_with("--")) {
            continue;
        }
        sql.push_str(line);
        sql.push('\n');
        if !line.trim_end().ends_with(';') {
            continue;
        }
        let mut input = String::new();
        if sql.to_lowercase().starts_with("copy ") && sql.to_lowercase().contains("from stdin") {
            for line in lines.by_ref() {
                if line == "\\." {
                    break;
                }
                writeln!(input, "{line}").unwrap();
            }
        }
        // psql sends what `\\;` joins as one query.
        out.push((std::mem::take(&mut sql).replace("\\;", ";"), input));
    }
    out
}

async fn run(name: &str) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/session/scripts");
    let script = std::fs::read_to_string(base.join(format!("{name}.sql"))).unwrap();
    let expected = std::fs::read_to_string(base.join(format!("{name}.out"))).unwrap();
    let database = Database::new();
    let mut client = database.client().await;
    let mut expected = expected.as_str();
    for (sql, input) in statements(&script) {
        let got = client.psql(&sql, &input).await;
        match expected.strip_prefix(got.as_str()) {
            Some(rest) => expected = rest,
            None => {
                let next: String = expected.lines().take(got.lines().count() + 3).map(|l| format!("{l}\n")).collect();
                panic!("{name}.sql: {sql}\ngot:\n{got}\nexpected:\n{next}");
            }
        }
    }
    assert_eq!(expected, "", "{name}.out has more");
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            run(stringify!($name)).await;
        }
    )* };
}

scripts!(select, dml, conflict, foreign_keys, transactions, settings, cursors, copies, sequences);
