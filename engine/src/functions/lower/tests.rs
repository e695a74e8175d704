//! Invariant 2 of `functions`: a lowered call gives what the row function gives. Every operator and cast between the
//! types below runs over random columns (seed printed) both ways, values and errors alike.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::logical_expr::col;
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::execution_props::ExecutionProps;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::functions::casts::follow;
use crate::functions::registry::registry;
use crate::types::arrow::{ColumnReader, to_array};
use crate::types::interval::MICROS_PER_DAY;
use crate::types::numeric::Numeric;
use crate::types::{Interval, compare};

const ROWS: usize = 60;

fn types() -> Vec<PgType> {
    use TypeOid as T;
    let mut types: Vec<PgType> = [
        T::BOOL,
        T::INT2,
        T::INT4,
        T::INT8,
        T::FLOAT4,
        T::FLOAT8,
        T::NUMERIC,
        T::TEXT,
        T::DATE,
        T::TIME,
        T::TIMESTAMP,
        T::TIMESTAMPTZ,
        T::INTERVAL,
        T::OID,
        T::MONEY,
    ]
    .map(PgType::from)
    .to_vec();
    types.push(PgType::new(T::NUMERIC, PgType::numeric_typmod(9, 2)));
    types.push(PgType::new(T::NUMERIC, PgType::numeric_typmod(30, 6)));
    types.push(PgType::new(T::BPCHAR, 9));
    types
}

/// A value of the type: mostly small, sometimes extreme (`wild`).
fn value(ty: PgType, wild: bool, rng: &mut StdRng) -> Datum {
    if rng.random_ratio(1, 8) {
        return Datum::Null;
    }
    let extreme = wild && rng.random_ratio(1, 3);
    let small: i64 = rng.random_range(-20..=20);
    let one_of = |rng: &mut StdRng, words: &[&str]| Datum::from(words[rng.random_range(0..words.len())]);
    match ty.oid {
        TypeOid::BOOL => Datum::Bool(small > 0),
        TypeOid::INT2 if extreme => Datum::Int2([i16::MIN, i16::MAX][rng.random_range(0..2)]),
        TypeOid::INT2 => Datum::Int2(small as i16),
        TypeOid::INT4 if extreme => Datum::Int4([i32::MIN, i32::MAX][rng.random_range(0..2)]),
        TypeOid::INT4 => Datum::Int4(small as i32),
        TypeOid::INT8 if extreme => Datum::Int8([i64::MIN, i64::MAX][rng.random_range(0..2)]),
        TypeOid::INT8 | TypeOid::MONEY => Datum::Int8(small),
        TypeOid::FLOAT4 => {
            Datum::Float4(if extreme { [f32::MAX, f32::NAN, -0.0][rng.random_range(0..3)] } else { small as f32 / 4.0 })
        }
        TypeOid::FLOAT8 => Datum::Float8(if extreme {
            [f64::MAX, f64::NAN, f64::INFINITY, -0.0][rng.random_range(0..4)]
        } else {
            small as f64 / 4.0
        }),
        TypeOid::NUMERIC => match ty.numeric_precision_scale() {
            Some((precision, scale)) => {
                // Products of these stay below 38 digits: see the deviation in `lower`.
                let top = 10i128.pow(u32::from(precision).min(17)) - 1;
                Datum::from(Numeric::from_i128(if extreme { top } else { i128::from(small) * 37 }, scale as i8))
            }
            None if extreme => Datum::from(Numeric::NaN),
            None => Datum::from(Numeric::from_i128(i128::from(small), rng.random_range(0..4))),
        },
        TypeOid::BPCHAR => crate::types::text::pad(["a", "ab", "b", ""][rng.random_range(0..4)], ty.typmod),
        TypeOid::TEXT => one_of(rng, &["", "a", "ab", "b ", "1", "é%", "_x"]),
        TypeOid::DATE if extreme => Datum::Date([i32::MIN, i32::MAX][rng.random_range(0..2)]),
        TypeOid::DATE => Datum::Date(small as i32 * 50),
        TypeOid::TIME => Datum::Time((small + 20) * 1_000_003),
        TypeOid::TIMESTAMP if extreme => Datum::Timestamp([i64::MIN, i64::MAX][rng.random_range(0..2)]),
        TypeOid::TIMESTAMP => Datum::Timestamp(small * 50 * MICROS_PER_DAY + rng.random_range(0..2) * 3_600_000_000),
        TypeOid::TIMESTAMPTZ => Datum::Timestamptz(small * MICROS_PER_DAY),
        TypeOid::INTERVAL => Datum::Interval(Interval::new(small as i32 % 3, small as i32, small * 1_000_000)),
        TypeOid::OID => Datum::Oid(small.unsigned_abs() as u32),
        other => panic!("no values of type {other:?}"),
    }
}

struct Table {
    types: Vec<PgType>,
    columns: Vec<Vec<Datum>>,
    batch: RecordBatch,
    schema: DFSchema,
}

impl Table {
    fn new(types: Vec<PgType>, wild: bool, rng: &mut StdRng) -> Table {
        let columns: Vec<Vec<Datum>> =
            types.iter().map(|t| (0..ROWS).map(|_| value(*t, wild, rng)).collect()).collect();
        Table::of(types, columns)
    }

    fn of(types: Vec<PgType>, columns: Vec<Vec<Datum>>) -> Table {
        let arrays: Vec<ArrayRef> = columns.iter().zip(&types).map(|(c, t)| to_array(c, *t).unwrap()).collect();
        let fields: Vec<Field> =
            types.iter().enumerate().map(|(i, t)| Field::new(format!("c{i}"), t.arrow(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let schema = DFSchema::try_from(batch.schema().as_ref().clone()).unwrap();
        Table { types, columns, batch, schema }
    }

    fn column(&self, i: usize) -> Lowered {
        Lowered::plain(col(format!("c{i}")), self.types[i])
    }

    /// The lowered expression over the table, or the SQLSTATE of its error.
    fn run(&self, lowered: &Lowered) -> Result<Vec<Datum>, String> {
        let physical =
            create_physical_expr(&lowered.expr, &self.schema, &ExecutionProps::new(), &Default::default()).unwrap();
        let array = physical.evaluate(&self.batch).and_then(|v| v.into_array(ROWS)).map_err(|error| {
            let root = error.find_root();
            match root {
                datafusion::common::DataFusionError::External(inner) => inner
                    .downcast_ref::<crate::Error>()
                    .map_or_else(|| root.to_string(), |e| e.state().code().to_string()),
                other => other.to_string(),
            }
        })?;
        assert_eq!(array.data_type(), &lowered.arrow, "{:?}", lowered.expr);
        let reader = ColumnReader::new(array.as_ref(), lowered.ty).unwrap();
        Ok((0..ROWS).map(|i| reader.get(i)).collect())
    }
}

fn same(a: &Datum, b: &Datum, ty: PgType) -> bool {
    // Display scales count, so compare what is shown as well.
    let shown = |d: &Datum| crate::types::text::to_string(d, ty, &Default::default());
    a.is_null() == b.is_null()
        && compare::compare(a, b, ty).is_eq()
        && (shown(a) == shown(b) || matches!(a, Datum::Float4(_) | Datum::Float8(_)))
}

fn agree(
    what: &str,
    table: &Table,
    lowered: Result<Lowered>,
    row: impl Fn(usize) -> Result<Datum>,
    wrong: &mut Vec<String>,
) -> usize {
    let lowered = lowered.unwrap();
    let expected: Result<Vec<Datum>> = (0..ROWS).map(&row).collect();
    match (table.run(&lowered), expected) {
        (Ok(got), Ok(want)) => {
            for i in 0..ROWS {
                if !same(&got[i], &want[i], lowered.ty) {
                    wrong.push(format!("{what}: {:?}, row function {:?} ({:?})", got[i], want[i], lowered.expr));
                    break;
                }
            }
            return 1;
        }
        (Err(got), Err(want)) if got == want.state().code() => return 1,
        (Ok(_), Err(want)) => wrong.push(format!("{what}: succeeds, row function {want}")),
        (Err(got), Ok(_)) => wrong.push(format!("{what}: fails with {got}, row function succeeds")),
        // The first of two errors may be either's.
        (Err(_), Err(_)) => return 1,
    }
    0
}

#[test]
fn operators_agree_with_their_row_functions() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let context = EvalContext::default();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for wild in [false, true] {
        let table = Table::new(types(), wild, &mut rng);
        for operator in registry().operators() {
            let Some(left) = operator.left.filter(|_| operator.function.scalar.is_some()) else { continue };
            for (i, l) in table.types.iter().enumerate().filter(|(_, t)| t.oid == left) {
                for (j, r) in table.types.iter().enumerate().filter(|(_, t)| t.oid == operator.right) {
                    let ret = PgType::from(operator.ret);
                    let function = &operator.function;
                    let what = format!("{:?} {} {:?} wild {wild}", l, operator.name, r);
                    // 4713 BC and beyond: no test of ours.
                    let lowered = call(function, vec![table.column(i), table.column(j)], ret);
                    let row = |k: usize| {
                        function.call(
                            &context,
                            &[*l, *r],
                            ret,
                            &[table.columns[i][k].clone(), table.columns[j][k].clone()],
                        )
                    };
                    checked += agree(&what, &table, lowered, row, &mut wrong);
                    let constant = table.columns[j].iter().find(|d| !d.is_null()).unwrap().clone();
                    let lowered = call(function, vec![table.column(i), literal(&constant, *r).unwrap()], ret);
                    let row = |k: usize| {
                        function.call(&context, &[*l, *r], ret, &[table.columns[i][k].clone(), constant.clone()])
                    };
                    checked += agree(&format!("{what} {constant:?}"), &table, lowered, row, &mut wrong);
                    let lowered = call(function, vec![literal(&constant, *r).unwrap(), table.column(i)], ret);
                    if l.oid == r.oid {
                        let row = |k: usize| {
                            function.call(&context, &[*r, *l], ret, &[constant.clone(), table.columns[i][k].clone()])
                        };
                        checked += agree(&format!("{what} flipped {constant:?}"), &table, lowered, row, &mut wrong);
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 500, "{checked}");
}

#[test]
fn casts_agree_with_the_row_casts() {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let context = EvalContext::default();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for wild in [false, true] {
        let table = Table::new(types(), wild, &mut rng);
        for (i, from) in table.types.iter().enumerate() {
            for to in &table.types {
                let Some(path) = find_cast(from.oid, to.oid, CastContext::Explicit) else { continue };
                // NaN has no place in Decimal128: numeric(p, s) refuses it.
                if wild && from.oid == TypeOid::NUMERIC && from.typmod < 0 && to.typmod >= 0 {
                    continue;
                }
                let lowered = cast(table.column(i), *to, true);
                let row = |k: usize| follow(&path, &table.columns[i][k], *from, *to, true, &context);
                checked += agree(&format!("{from:?} to {to:?} wild {wild}"), &table, lowered, row, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 100, "{checked}");
}

#[test]
fn functions_of_hot_queries_agree() {
    let mut rng = StdRng::seed_from_u64(7);
    let context = EvalContext::default();
    let table = Table::new(types(), false, &mut rng);
    let mut wrong = Vec::new();
    let at = |oid: TypeOid| table.types.iter().position(|t| t.oid == oid).unwrap();
    let find = |name: &str, args: &[TypeOid]| match crate::functions::resolve_function(name, args).unwrap() {
        crate::functions::Resolution::Function(r) => (r.function, PgType::from(r.ret)),
        other => panic!("{other:?}"),
    };
    for field in ["year", "month", "day", "quarter", "week", "second", "epoch", "dow"] {
        for oid in [TypeOid::DATE, TypeOid::TIMESTAMP] {
            let (function, ret) = find("extract", &[TypeOid::TEXT, oid]);
            if oid == TypeOid::DATE && field == "second" {
                continue;
            }
            let lowered = call(
                &function,
                vec![literal(&Datum::from(field), TypeOid::TEXT.into()).unwrap(), table.column(at(oid))],
                ret,
            );
            let row = |k: usize| {
                function.call(
                    &context,
                    &[TypeOid::TEXT.into(), oid.into()],
                    ret,
                    &[Datum::from(field), table.columns[at(oid)][k].clone()],
                )
            };
            agree(&format!("extract {field} {oid:?}"), &table, lowered, row, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn branches_meet_in_one_layout() {
    let money = PgType::new(TypeOid::NUMERIC, PgType::numeric_typmod(15, 2));
    let table = Table::of(vec![money], vec![vec![Datum::from(Numeric::from_i128(150, 2)); ROWS]]);
    let zero = literal(&Datum::from(Numeric::from(0i32)), TypeOid::NUMERIC.into()).unwrap();
    for (exact, shown) in [(true, "0"), (false, "0.00")] {
        let branches = unify(vec![table.column(0), zero.clone()], TypeOid::NUMERIC.into(), exact).unwrap();
        assert_eq!(branches[0].arrow, branches[1].arrow);
        let values = table.run(&branches[1]).unwrap();
        assert_eq!(crate::types::text::to_string(&values[0], money, &Default::default()), shown);
        let values = table.run(&branches[0]).unwrap();
        assert_eq!(crate::types::text::to_string(&values[0], money, &Default::default()), "1.50");
    }
}
