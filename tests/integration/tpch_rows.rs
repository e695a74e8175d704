//! TPC-H at scale 0.01: the rows of all 22 queries are PostgreSQL's.

use crate::target::Target;
use crate::tpch;

const SCALE: f64 = 0.01;

#[tokio::test]
async fn the_22_queries_of_tpch_give_the_rows_of_postgresql() {
    let target = Target::start().await;
    let client = target.client().await;
    assert_eq!(tpch::load(&client, SCALE).await.expect("load"), 86_805);
    let record = target.is_postgres() && std::env::var_os("LOCKSTEP_RECORD").is_some();
    let mut wrong = Vec::new();
    for number in 1..=22 {
        let file = tpch::directory().join(format!("expected/q{number:02}.out"));
        match tpch::run(&client, &tpch::query(number)).await {
            Err(error) => wrong.push(format!("q{number:02}: {error:?}")),
            Ok(rows) if record => std::fs::write(&file, rows).expect("write"),
            Ok(rows) => {
                let expected = std::fs::read_to_string(&file).expect("expected");
                let line = expected.lines().zip(rows.lines()).find(|(expected, actual)| expected != actual);
                let (lines, count) = (expected.lines().count(), rows.lines().count());
                if line.is_some() || lines != count {
                    wrong.push(format!("q{number:02}: {count} rows, expected {lines}; first difference {line:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
