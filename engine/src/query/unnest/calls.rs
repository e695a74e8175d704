//! Expressions, calls and joins that unnesting puts into a tree.

use std::sync::Arc;

use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::{Function, registry};
use crate::query::unnest::SINGLE_VALUE;
use crate::sql::rel::{Aggregate, Exclusion, Frame, FrameBound, FrameUnits, Rel, SortKey, WindowCall};
use crate::types::{Datum, PgType, TypeOid};

pub(super) fn column(id: ColumnId, ty: TypeOid) -> ScalarExpr {
    ScalarExpr::column(id, ty)
}

pub(super) fn int8(value: i64) -> ScalarExpr {
    ScalarExpr::constant(Datum::Int8(value), TypeOid::INT8)
}

pub(super) fn boolean(value: Datum) -> ScalarExpr {
    ScalarExpr::constant(value, TypeOid::BOOL)
}

pub(super) fn not(expr: ScalarExpr) -> ScalarExpr {
    ScalarExpr::new(ExprKind::Not(Box::new(expr)), TypeOid::BOOL)
}

/// Null-safe equality.
pub(super) fn same(left: ScalarExpr, right: ScalarExpr) -> ScalarExpr {
    let kind = ExprKind::IsDistinct { left: Box::new(left), right: Box::new(right), negated: true };
    ScalarExpr::new(kind, TypeOid::BOOL)
}

pub(super) fn scalar_aggregate(input: Rel, aggregates: Vec<(ColumnId, Aggregate)>) -> Rel {
    Rel::Aggregate { input: Box::new(input), groups: vec![], sets: None, grouping: None, aggregates }
}

pub(super) fn lookup(name: &str) -> Result<Arc<Function>> {
    let found = registry().lookup(name).first().cloned();
    found.ok_or_else(|| Error::internal(format!("{name} is not in the registry")))
}

/// A call of a built-in aggregate: the overload with as many arguments.
pub(super) fn aggregate(name: &str, args: Vec<ScalarExpr>, ty: PgType) -> Result<Aggregate> {
    let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
    let function = match crate::functions::resolve_function(name, &types)? {
        crate::functions::Resolution::Function(found) => found.function,
        crate::functions::Resolution::Cast(_) => return Err(Error::internal("an aggregate is a cast")),
    };
    Ok(Aggregate { function, args, distinct: false, order_by: vec![], filter: None, ty })
}

/// The aggregate behind scalar subqueries: not in pg_proc, known to lowering by its name.
pub(super) fn single_value() -> Result<Arc<Function>> {
    let mut function = (*lookup("count")?).clone();
    function.name = SINGLE_VALUE;
    function.symbol = SINGLE_VALUE;
    function.oid = 0;
    Ok(Arc::new(function))
}

/// A call of a built-in operator on two int8.
pub(super) fn compare(operator: &str, left: ScalarExpr, right: ScalarExpr) -> Result<ScalarExpr> {
    let resolved = crate::functions::resolve_operator(operator, Some(TypeOid::INT8), TypeOid::INT8)?;
    let function = resolved.operator.function.clone();
    Ok(ScalarExpr::new(ExprKind::Call { function, args: vec![left, right] }, resolved.ret))
}

pub(super) fn window(name: &str, partition_by: Vec<ScalarExpr>, order_by: Vec<SortKey>) -> Result<WindowCall> {
    Ok(WindowCall {
        function: lookup(name)?,
        aggregate: false,
        args: vec![],
        filter: None,
        partition_by,
        order_by,
        frame: Frame {
            units: FrameUnits::Range,
            start: FrameBound::UnboundedPreceding,
            end: FrameBound::CurrentRow,
            exclude: Exclusion::NoOthers,
            computed: None,
        },
        ty: TypeOid::INT8.into(),
    })
}

/// Numbers the rows of each group of equal keys from 1, in column `id`.
pub(super) fn numbered(input: Rel, id: ColumnId, keys: Vec<ScalarExpr>, order: Vec<SortKey>) -> Result<Rel> {
    let call = window("row_number", keys, order)?;
    Ok(Rel::Window { input: Box::new(input), calls: vec![(id, call)] })
}

/// What a number of rows means in LIMIT or OFFSET: functions that are not in pg_proc.
pub(super) struct RowCount {
    name: &'static str,
    oid: u32,
    scalar: crate::functions::RowFunction,
}

pub(super) const LIMIT_ROWS: RowCount = RowCount {
    name: "lockstep_limit",
    oid: 1,
    scalar: |_, args| rows_of(args, "LIMIT", SqlState::InvalidRowCountInLimitClause, i64::MAX),
};

pub(super) const OFFSET_ROWS: RowCount = RowCount {
    name: "lockstep_offset",
    oid: 2,
    scalar: |_, args| rows_of(args, "OFFSET", SqlState::InvalidRowCountInOffsetClause, 0),
};

fn rows_of(args: &[Datum], clause: &str, state: SqlState, none: i64) -> Result<Datum> {
    match args.first() {
        Some(Datum::Int8(n)) if *n < 0 => Err(Error::new(state, format!("{clause} must not be negative"))),
        Some(Datum::Int8(n)) => Ok(Datum::Int8(*n)),
        _ => Ok(Datum::Int8(none)),
    }
}

pub(super) fn row_count(rule: &RowCount, count: ScalarExpr) -> Result<ScalarExpr> {
    let mut function = (*lookup("int8um")?).clone();
    function.name = rule.name;
    function.symbol = rule.name;
    function.oid = rule.oid;
    function.strict = false;
    function.scalar = Some(rule.scalar);
    Ok(ScalarExpr::new(ExprKind::Call { function: Arc::new(function), args: vec![count] }, TypeOid::INT8))
}
