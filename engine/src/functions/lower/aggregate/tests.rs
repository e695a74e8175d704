//! Aggregates as DataFusion runs them, in two stages over four partitions, against PostgreSQL 15:
//! `testdata/aggregates.tsv` holds function, column, option, group and what its server showed for the rows that
//! [`rows`] makes.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use arrow::datatypes::{Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::col;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::*;
use crate::functions::casts::output;
use crate::functions::{EvalContext, Resolution, resolve_function};
use crate::types::arrow::{ColumnReader, to_array};
use crate::types::numeric::Numeric;
use crate::types::{Datum, Interval};

fn columns() -> Vec<(&'static str, PgType)> {
    use TypeOid as T;
    vec![
        ("a", T::INT2.into()),
        ("b", T::INT4.into()),
        ("c", T::INT8.into()),
        ("d", T::FLOAT8.into()),
        ("e", PgType::new(T::NUMERIC, PgType::numeric_typmod(15, 2))),
        ("f", T::NUMERIC.into()),
        ("t", T::TEXT.into()),
        ("v", T::INTERVAL.into()),
        ("o", T::BOOL.into()),
        ("p", T::DATE.into()),
    ]
}

/// Row `i` of the table, NULL in the column that `i` modulo 11 names.
fn row(i: i64) -> Vec<Datum> {
    let seventh = Numeric::from(i).div(&Numeric::parse("7.0").unwrap()).unwrap();
    let mut row = vec![
        Datum::Int2((i % 7 - 3) as i16),
        Datum::Int4((i * 37 % 1000) as i32),
        Datum::Int8(i * 1_000_003),
        Datum::Float8(i as f64 / 8.0),
        Datum::from(Numeric::from_i128(i128::from(i * 31 % 10007), 2)),
        Datum::from(seventh.round(i % 5)),
        Datum::from(format!("k{}", i % 50)),
        Datum::Interval(Interval::new((i % 4) as i32, (i % 9) as i32, i * 1_000_000)),
        Datum::Bool(i % 2 == 0),
        Datum::Date(18262 + i as i32),
    ];
    if let Some(value) = row.get_mut((i % 11) as usize) {
        *value = Datum::Null;
    }
    row
}

fn batch(numbers: &[i64]) -> RecordBatch {
    let rows: Vec<Vec<Datum>> = numbers.iter().map(|i| row(*i)).collect();
    let groups: Int32Array = numbers.iter().map(|i| Some((i % 3) as i32)).collect();
    let mut fields = vec![Field::new("g", DataType::Int32, true)];
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(groups)];
    for (at, (name, ty)) in columns().into_iter().enumerate() {
        fields.push(Field::new(name, ty.arrow(), true));
        arrays.push(to_array(rows.iter().map(|r| &r[at]).collect::<Vec<_>>(), ty).unwrap());
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn lowered(name: &str, argument: &str, option: &str) -> Lowered {
    let ty = columns().iter().find(|(n, _)| *n == argument).unwrap().1;
    let Resolution::Function(resolved) = resolve_function(name, &[ty.oid]).unwrap() else { panic!("{name} is a cast") };
    let column = Lowered::plain(col(argument), ty);
    let arg = crate::functions::lower::cast(column.clone(), PgType::new(resolved.args[0], ty.typmod), false).unwrap();
    let early = crate::functions::lower::literal(&Datum::Date(18302), TypeOid::DATE.into()).unwrap();
    aggregate(AggregateCall {
        function: resolved.function,
        args: vec![arg],
        distinct: option == "distinct",
        filter: (option == "order by").then(|| col("p").lt(early.expr)),
        order_by: match option {
            "order by" => vec![OrderKey { arg: column, descending: true, nulls_first: true }],
            _ => vec![],
        },
        ret: resolved.ret.into(),
    })
    .unwrap()
}

#[test]
fn aggregates_match_postgresql() {
    let config = SessionConfig::new().with_target_partitions(4).with_batch_size(64);
    let context = SessionContext::new_with_config(config);
    let numbers: Vec<i64> = (1..=1000).collect();
    let partitions: Vec<Vec<RecordBatch>> = numbers.chunks(250).map(|c| c.chunks(60).map(batch).collect()).collect();
    let schema = partitions[0][0].schema();
    let table = Arc::new(MemTable::try_new(schema, partitions).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut expected: HashMap<(&str, &str, &str), Vec<&str>> = HashMap::new();
    for line in include_str!("../../testdata/aggregates.tsv").lines() {
        let f: Vec<&str> = line.split('\t').collect();
        expected.entry((f[0], f[1], f[2])).or_default().push(f[4]);
    }
    let mut wrong = Vec::new();
    for ((name, argument, option), want) in &expected {
        let lowered = lowered(name, argument, option);
        let frame = context.read_table(Arc::clone(&table) as _).unwrap();
        let frame = frame.aggregate(vec![col("g")], vec![lowered.expr.clone().alias("x")]).unwrap();
        let batches = runtime.block_on(frame.collect()).unwrap_or_else(|e| panic!("{name}({argument} {option}): {e}"));
        let mut shown: Vec<(i32, String)> = Vec::new();
        for batch in &batches {
            assert_eq!(batch.column(1).data_type(), &lowered.arrow, "{name}({argument} {option})");
            let reader = ColumnReader::new(batch.column(1).as_ref(), lowered.ty).unwrap();
            for i in 0..batch.num_rows() {
                let value = match reader.get(i) {
                    Datum::Null => "NULL".to_string(),
                    Datum::Bool(v) => v.to_string(),
                    value => output(&value, lowered.ty, &EvalContext::default()).unwrap(),
                };
                shown.push((batch.column(0).as_primitive::<Int32Type>().value(i), value));
            }
        }
        shown.sort();
        let got: Vec<&str> = shown.iter().map(|(_, v)| v.as_str()).collect();
        if got != *want {
            wrong.push(format!("{name}({argument} {option}): {got:?}, PostgreSQL {want:?}"));
        }
    }
    assert!(expected.len() > 80);
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), expected.len(), wrong.join("\n"));
}

#[test]
fn sums_do_not_wrap() {
    let sum = ExactSum::new(false, &DataType::Int32, TypeOid::INT8.into()).unwrap();
    assert_eq!(sum.result(), DataType::Int64);
    let big = PgType::new(TypeOid::NUMERIC, PgType::numeric_typmod(38, 0));
    let top = Datum::from(Numeric::from_i128(10i128.pow(38) - 1, 0));
    let schema = Arc::new(Schema::new(vec![Field::new("x", big.arrow(), true)]));
    let batch = RecordBatch::try_new(schema, vec![to_array([&top, &top], big).unwrap()]).unwrap();
    let Ok(Resolution::Function(resolved)) = resolve_function("sum", &[TypeOid::NUMERIC]) else { panic!("no sum") };
    let lowered = aggregate(AggregateCall {
        function: resolved.function,
        args: vec![Lowered::plain(col("x"), big)],
        distinct: false,
        filter: None,
        order_by: vec![],
        ret: resolved.ret.into(),
    })
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let frame = SessionContext::new().read_batch(batch).unwrap().aggregate(vec![], vec![lowered.expr]).unwrap();
    let error = runtime.block_on(frame.collect()).unwrap_err();
    assert!(error.to_string().contains("22003"), "{error}");
}
