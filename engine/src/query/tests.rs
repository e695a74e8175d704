//! The general path over batches in memory, held to what a PostgreSQL 15 answered: `testdata/queries.expected` is its
//! output for `queries.txt` over the tables of `setup.sql`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use tokio_util::sync::CancellationToken;

use super::{ColumnStatistics, QueryContext, QueryEngine, ScanRequest, ScanStream, TableAccess, TableStatistics};
use crate::catalog::Oid;
use crate::engine::EngineConfig;
use crate::error::{Error, Result};
use crate::functions::EvalContext;
use crate::sql::bind::tests::{bind_with, environment};
use crate::types::arrow::{ColumnReader, to_array};
use crate::types::{Datum, PgType, text};

/// Rows of each table, as text by column.
const T: &[[Option<&str>; 4]] = &[
    [Some("1"), Some("one"), Some("10.50"), Some("2024-01-01 00:00:00+00")],
    [Some("2"), Some("two"), Some("20.00"), Some("2024-02-01 12:30:00+00")],
    [Some("3"), Some("three"), None, None],
    [Some("4"), None, Some("5.25"), Some("2023-12-31 23:59:59+00")],
    [Some("5"), Some("one"), Some("10.50"), Some("2024-03-05 06:07:08.9+00")],
];
const U: &[[Option<&str>; 3]] = &[
    [Some("10"), Some("1"), Some("a")],
    [Some("11"), Some("1"), Some("b")],
    [Some("12"), Some("2"), None],
    [Some("13"), None, Some("c")],
    [Some("14"), Some("9"), Some("d")],
];

struct Fixture;

impl Fixture {
    fn columns(table: Oid) -> Vec<(PgType, Vec<Datum>)> {
        let catalog = environment().catalog;
        let def = catalog.tables.get(&table).unwrap().clone();
        let rows: Vec<Vec<Option<&str>>> = if def.name == "t" {
            T.iter().map(|r| r.to_vec()).collect()
        } else {
            U.iter().map(|r| r.to_vec()).collect()
        };
        def.columns
            .iter()
            .enumerate()
            .map(|(i, column)| {
                let values = rows
                    .iter()
                    .map(|row| row[i].map_or(Datum::Null, |v| text::parse(v, column.ty, &Default::default()).unwrap()))
                    .collect();
                (column.ty, values)
            })
            .collect()
    }
}

impl TableAccess for Fixture {
    fn scan(&self, request: &ScanRequest) -> Result<Vec<ScanStream>> {
        let columns = Fixture::columns(request.table);
        let mut arrays = Vec::new();
        for attnum in &request.attnums {
            let (ty, values) = &columns[*attnum as usize - 1];
            arrays.push((format!("a{attnum}"), to_array(values, *ty)?, true));
        }
        if arrays.is_empty() {
            let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(columns[0].1.len()));
            let schema = Arc::new(arrow::datatypes::Schema::empty());
            let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
            return Ok(vec![Box::new(std::iter::once(Ok(batch)))]);
        }
        let batch = RecordBatch::try_from_iter_with_nullable(arrays).unwrap();
        Ok(vec![Box::new(std::iter::once(Ok(batch)))])
    }

    fn statistics(&self, _table: Oid, attnums: &[i16]) -> TableStatistics {
        TableStatistics { rows: 5, columns: attnums.iter().map(|_| ColumnStatistics::default()).collect() }
    }

    fn system_rows(&self, _relation: Oid) -> Result<RecordBatch> {
        Err(Error::unsupported("system relations of the fixture"))
    }
}

fn context(params: &[Datum]) -> QueryContext {
    QueryContext {
        tables: Arc::new(Fixture),
        params: params.into(),
        eval: Arc::new(EvalContext::default()),
        cancel: CancellationToken::new(),
        deadline: None,
        hash_joins: true,
        only_planned: false,
    }
}

fn engine() -> QueryEngine {
    QueryEngine::new(&EngineConfig { query_threads: 2, ..EngineConfig::default() }).unwrap()
}

async fn run(engine: &QueryEngine, sql: &str, params: &[Datum]) -> Result<Vec<String>> {
    let (query, _) = bind_with(sql, &[])?;
    let batches = engine.execute(&query, context(params)).await?.collect().await?;
    let mut out = Vec::new();
    for batch in batches {
        let readers: Vec<ColumnReader<'_>> = query
            .columns
            .iter()
            .enumerate()
            .map(|(i, c)| ColumnReader::new(batch.column(i).as_ref(), c.ty).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = readers
                .iter()
                .zip(&query.columns)
                .map(|(reader, column)| match reader.get(row) {
                    Datum::Null => "NULL".to_string(),
                    value => crate::functions::casts::output(&value, column.ty, &EvalContext::default()).unwrap(),
                })
                .collect();
            out.push(values.join("|"));
        }
    }
    Ok(out)
}

#[tokio::test]
async fn queries_answer_as_postgresql_does() {
    let engine = engine();
    let expected = include_str!("testdata/queries.expected");
    let mut failures = Vec::new();
    let mut count = 0;
    let mut missing = Vec::new();
    for block in expected.split("\n> ") {
        let block = block.strip_prefix("> ").unwrap_or(block);
        let mut lines = block.lines();
        let sql = lines.next().unwrap();
        let mut wanted: Vec<String> = lines.map(|l| l[2..].to_string()).collect();
        let failed = block.lines().nth(1).is_some_and(|l| l.starts_with("! "));
        count += 1;
        let found = match run(&engine, sql, &[]).await {
            Ok(mut rows) => {
                if !sql.contains("order by") {
                    rows.sort();
                    wanted.sort();
                }
                if failed { vec![format!("no error but {rows:?}")] } else { rows }
            }
            Err(e) => vec![format!("{} {}", e.state().code(), e.message())],
        };
        if found.iter().any(|f| f.starts_with("0A000 function")) {
            missing.push(sql);
            continue;
        }
        if found != wanted {
            failures.push(format!("{sql}\n   found {found:?}\n  wanted {wanted:?}"));
        }
    }
    assert!(count > 150);
    assert!(missing.len() <= 25, "functions without an implementation: {missing:?}");
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}

#[tokio::test]
async fn parameters_reach_every_clause() {
    let engine = engine();
    let sql = "select id from t where id > $1 order by id limit $2";
    assert_eq!(run(&engine, sql, &[Datum::Int4(1), Datum::Int8(2)]).await.unwrap(), ["2", "3"]);
    let sql = "select id from t where id = any($1) order by id";
    let list = Datum::from(vec![Datum::Int4(5), Datum::Int4(1)]);
    assert_eq!(run(&engine, sql, &[list]).await.unwrap(), ["1", "5"]);
}

/// A query over 5^16 rows.
fn many_rows(what: &str) -> String {
    let tables: Vec<String> = (0..16).map(|i| format!("t a{i}")).collect();
    format!("select {what} from {}", tables.join(", "))
}

#[tokio::test]
async fn a_long_query_can_be_cancelled_and_timed_out() {
    let engine = engine();
    let (query, _) = bind_with(&many_rows("count(*)"), &[]).unwrap();
    let cancelled = context(&[]);
    let token = cancelled.cancel.clone();
    let mut stream = engine.execute(&query, cancelled).await.unwrap();
    token.cancel();
    assert_eq!(stream.next().await.unwrap().unwrap_err().state().code(), "57014");
    let mut late = context(&[]);
    late.deadline = Some(std::time::Instant::now());
    let end = match engine.execute(&query, late).await {
        Ok(mut stream) => stream.next().await.unwrap().unwrap_err(),
        Err(e) => e,
    };
    assert_eq!(end.message(), "canceling statement due to statement timeout");
}

#[tokio::test]
async fn a_slow_client_stops_the_query() {
    // Far more rows than the channel holds: the first batch arrives while the rest is not made.
    let engine = engine();
    let (query, _) = bind_with(&many_rows("a0.id"), &[]).unwrap();
    let mut stream = engine.execute(&query, context(&[])).await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
}

#[tokio::test]
async fn planning_ends_with_its_statement() {
    use datafusion::logical_expr::LogicalPlanBuilder;
    let engine = engine();
    let given_up = context(&[]);
    let (stop, waiting) = super::runtime::Stop::with_waiting(&given_up);
    let plan = LogicalPlanBuilder::empty(true).build().unwrap();
    let state = engine.runtime.state(&given_up, true);
    super::runtime::physical_plan(state.clone(), &plan, stop.clone()).await.unwrap();
    // Whoever waited for the plan has been dropped.
    drop(waiting);
    assert!(!given_up.cancel.is_cancelled());
    let end = super::runtime::physical_plan(state, &plan, stop.clone()).await.unwrap_err();
    assert_eq!(end.state().code(), "57014");
    let (query, _) = bind_with("select (select max(u.id) from u where u.t_id = t.id) from t", &[]).unwrap();
    let end = super::unnest::Unnester::new(&query.rel, stop).rel(query.rel.clone()).unwrap_err();
    assert_eq!(end.state().code(), "57014");
}

/// `depth` subqueries, each in the one before, that name what is around them on both sides of a join.
fn nested(depth: usize) -> String {
    (1..=depth).rev().fold("select 1 as v".to_string(), |inner, i| {
        let outer = i - 1;
        format!(
            "select max((select sum(v) from ({inner}) q{i}) + y.id) as v \
             from t t{i} left join t y on y.id = t{outer}.id where t{i}.id <> t{outer}.id"
        )
    })
}

#[tokio::test]
async fn copies_for_correlated_subqueries_are_bounded() {
    let engine = engine();
    let sql = |depth| format!("select (select v from ({}) q) from t t0 order by t0.id limit 1", nested(depth));
    assert_eq!(run(&engine, &sql(4), &[]).await.unwrap(), ["16"]);
    // Sessions have more stack than tests.
    let (query, _) = stacker::grow(64 << 20, || bind_with(&sql(24), &[])).unwrap();
    let unnested = |copied| {
        let mut unnester = super::unnest::Unnester::new(&query.rel, super::runtime::Stop::of(&context(&[])));
        unnester.copied = copied;
        stacker::grow(64 << 20, || unnester.rel(query.rel.clone()).map(drop))
    };
    assert!(unnested(0).is_ok());
    assert_eq!(unnested(super::unnest::MOST_COPIED).unwrap_err().state().code(), "54001");
}
