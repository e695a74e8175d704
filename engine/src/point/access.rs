//! How a short statement finds its rows: the columns of an index that its condition pins.
//!
//! Invariants:
//! 1. The rows found are a superset of those that the condition accepts; the condition is evaluated on each of them
//!    unless [`PointAccess::exact`].
//! 2. Key values name no columns and call nothing volatile, so they are the same for every row.

use std::ops::Bound;
use std::sync::Arc;

use crate::catalog::{IndexDef, Oid, TableDef};
use crate::error::Result;
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_eval::{NoColumns, eval};
use crate::functions::{EvalContext, Volatility};
use crate::session::Session;
use crate::sql::rel::Scan;
use crate::storage::{IndexRange, RowKey, Table};
use crate::txn::RowImage;
use crate::types::{Datum, PgType, TypeOid};

/// Rows above which a lookup is left to the general path.
pub const ROWS_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Eq,
    Lt,
    Le,
    Gt,
    Ge,
}

/// One conjunct `column op value`.
struct Pin {
    attnum: i16,
    comparison: Comparison,
    value: ScalarExpr,
    conjunct: usize,
}

/// Equalities on the first columns of an index, and perhaps a range on the next one.
#[derive(Debug, Clone)]
pub struct PointAccess {
    index: Oid,
    index_name: String,
    primary: bool,
    unique: bool,
    prefix: Vec<(ScalarExpr, PgType)>,
    lower: Bound<(ScalarExpr, PgType)>,
    upper: Bound<(ScalarExpr, PgType)>,
    /// The condition is nothing but the key: rows that are found satisfy it.
    pub exact: bool,
}

/// The key of one row, or rows that an index has.
pub enum Found {
    Key(RowKey),
    Rows(Vec<RowImage>),
    Nothing,
    TooMany,
}

impl PointAccess {
    pub fn choose(scan: &Scan, filter: Option<&ScalarExpr>, def: &TableDef) -> Option<PointAccess> {
        if scan.system {
            return None;
        }
        let mut conjuncts = Vec::new();
        flatten(filter?, &mut conjuncts);
        let attribute = |id: ColumnId| scan.columns.iter().find(|c| c.output.id == id).map(|c| c.attnum);
        let pins: Vec<Pin> = conjuncts.iter().enumerate().filter_map(|(i, c)| pin(c, i, &attribute, def)).collect();
        let candidates = def.indexes.iter().filter_map(|index| Self::over(index, &pins, def, conjuncts.len()));
        candidates.max_by_key(|a| (a.primary, a.unique && a.is_point(def), a.prefix.len()))
    }

    fn over(index: &IndexDef, pins: &[Pin], def: &TableDef, conjuncts: usize) -> Option<PointAccess> {
        let mut prefix = Vec::new();
        let mut lower = Bound::Unbounded;
        let mut upper = Bound::Unbounded;
        let mut used = Vec::new();
        for column in &index.columns {
            let ty = def.attribute(column.attnum)?.ty;
            let equal = pins.iter().find(|p| p.attnum == column.attnum && p.comparison == Comparison::Eq);
            if let Some(pin) = equal {
                prefix.push((pin.value.clone(), ty));
                used.push(pin.conjunct);
                continue;
            }
            for pin in pins.iter().filter(|p| p.attnum == column.attnum) {
                let value = (pin.value.clone(), ty);
                match pin.comparison {
                    Comparison::Gt => lower = Bound::Excluded(value),
                    Comparison::Ge => lower = Bound::Included(value),
                    Comparison::Lt => upper = Bound::Excluded(value),
                    Comparison::Le => upper = Bound::Included(value),
                    Comparison::Eq => {}
                }
            }
            break;
        }
        let whole = prefix.len() == index.columns.len();
        let ranged = !matches!((&lower, &upper), (Bound::Unbounded, Bound::Unbounded));
        // The primary key is a hash: all of it or nothing.
        if (index.primary && !whole) || (prefix.is_empty() && !ranged) {
            return None;
        }
        Some(PointAccess {
            index: index.oid,
            index_name: index.name.clone(),
            primary: index.primary,
            unique: index.unique,
            exact: whole && used.len() == conjuncts,
            prefix,
            lower,
            upper,
        })
    }

    fn is_point(&self, def: &TableDef) -> bool {
        def.index(self.index).is_some_and(|i| i.columns.len() == self.prefix.len())
    }

    /// Whether it names one row by its key, without reading anything.
    pub fn is_primary(&self) -> bool {
        self.primary
    }

    pub fn explain(&self, def: &TableDef) -> Vec<String> {
        let what = match (self.primary, self.is_point(def)) {
            (true, _) => "primary key lookup",
            (false, true) => "index lookup",
            (false, false) => "index range",
        };
        vec![format!("Point path: {what} using {} on {}", self.index_name, def.name)]
    }

    /// What the index has for these parameters.
    pub fn find(
        &self,
        session: &mut Session,
        table: &Arc<Table>,
        params: &[Datum],
        context: &EvalContext,
    ) -> Result<Found> {
        let mut prefix = Vec::with_capacity(self.prefix.len());
        for (expr, ty) in &self.prefix {
            match key_value(expr, *ty, params, context)? {
                Key::Value(value) => prefix.push(value),
                Key::Never => return Ok(Found::Nothing),
                Key::Unfit => return Ok(Found::TooMany),
            }
        }
        if self.primary {
            table.store.activity.key_lookups.add(1);
            return Ok(table.key(&prefix).map_or(Found::Nothing, Found::Key));
        }
        if !table.is_ordered(self.index) {
            return Ok(Found::TooMany);
        }
        let (Some(lower), Some(upper)) = (bound(&self.lower, params, context)?, bound(&self.upper, params, context)?)
        else {
            return Ok(Found::TooMany);
        };
        let range = IndexRange { prefix, lower, upper, reverse: false };
        let rows = session.transaction()?.lookup(table, self.index, &range, ROWS_MAX + 1)?;
        Ok(if rows.len() > ROWS_MAX { Found::TooMany } else { Found::Rows(rows) })
    }
}

enum Key {
    Value(Datum),
    /// NULL, or a number that the column can't hold: equal to nothing.
    Never,
    /// Of another family than the column: not for this path.
    Unfit,
}

fn key_value(expr: &ScalarExpr, ty: PgType, params: &[Datum], context: &EvalContext) -> Result<Key> {
    let value = match &expr.kind {
        ExprKind::Param(i) => params.get(*i).cloned().unwrap_or(Datum::Null),
        ExprKind::Const(value) => value.clone(),
        _ => eval(expr, &NoColumns, params, context)?,
    };
    Ok(fit(value, ty))
}

/// A value as the column's own type.
fn fit(value: Datum, ty: PgType) -> Key {
    let number = match &value {
        Datum::Null => return Key::Never,
        Datum::Int2(n) => Some(i64::from(*n)),
        Datum::Int4(n) => Some(i64::from(*n)),
        Datum::Int8(n) => Some(*n),
        _ => None,
    };
    let fitted = match (number, ty.oid) {
        (Some(n), TypeOid::INT2) => i16::try_from(n).ok().map(Datum::Int2),
        (Some(n), TypeOid::INT4) => i32::try_from(n).ok().map(Datum::Int4),
        (Some(n), TypeOid::INT8) => Some(Datum::Int8(n)),
        (Some(_), _) => return Key::Unfit,
        (None, _) => Some(value),
    };
    fitted.map_or(Key::Never, Key::Value)
}

/// `None` when the bound is not for this path.
fn bound(bound: &Bound<(ScalarExpr, PgType)>, params: &[Datum], context: &EvalContext) -> Result<Option<Bound<Datum>>> {
    let value = |(expr, ty): &(ScalarExpr, PgType)| {
        key_value(expr, *ty, params, context).map(|key| match key {
            Key::Value(value) => Some(value),
            _ => None,
        })
    };
    Ok(match bound {
        Bound::Unbounded => Some(Bound::Unbounded),
        Bound::Included(e) => value(e)?.map(Bound::Included),
        Bound::Excluded(e) => value(e)?.map(Bound::Excluded),
    })
}

fn flatten<'a>(expr: &'a ScalarExpr, out: &mut Vec<&'a ScalarExpr>) {
    match &expr.kind {
        ExprKind::And(list) => list.iter().for_each(|e| flatten(e, out)),
        _ => out.push(expr),
    }
}

/// `column op value` or `value op column`, of one type family.
fn pin(expr: &ScalarExpr, conjunct: usize, attribute: &dyn Fn(ColumnId) -> Option<i16>, def: &TableDef) -> Option<Pin> {
    let ExprKind::Call { function, args } = &expr.kind else { return None };
    let [left, right] = args.as_slice() else { return None };
    let comparison = comparison_of(function.name)?;
    let (column, value, comparison) = match (plain_column(left), plain_column(right)) {
        (Some(column), None) => (column, right, comparison),
        (None, Some(column)) => (column, left, flip(comparison)),
        _ => return None,
    };
    let attnum = attribute(column)?;
    let ty = def.attribute(attnum)?.ty;
    if !is_constant(value) || !same_family(ty.oid, value.ty.oid) {
        return None;
    }
    Some(Pin { attnum, comparison, value: value.clone(), conjunct })
}

/// A column, seen through casts that leave the value as it is.
fn plain_column(expr: &ScalarExpr) -> Option<ColumnId> {
    match &expr.kind {
        ExprKind::Column { id, depth: 0 } => Some(*id),
        ExprKind::Cast(cast) if cast.arg.ty.oid == TypeOid::VARCHAR && cast.to.oid == TypeOid::TEXT => {
            plain_column(&cast.arg)
        }
        _ => None,
    }
}

fn same_family(a: TypeOid, b: TypeOid) -> bool {
    let family = |t: TypeOid| match t {
        TypeOid::INT2 | TypeOid::INT4 | TypeOid::INT8 => TypeOid::INT8,
        TypeOid::VARCHAR => TypeOid::TEXT,
        t => t,
    };
    family(a) == family(b)
}

fn flip(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Eq => Comparison::Eq,
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
    }
}

/// The comparison that a function of pg_proc computes, for the types whose index order is the comparison's.
fn comparison_of(name: &str) -> Option<Comparison> {
    const TYPES: &[&str] = &[
        "int2",
        "int4",
        "int8",
        "int24",
        "int42",
        "int28",
        "int82",
        "int48",
        "int84",
        "text",
        "bpchar",
        "bool",
        "bytea",
        "oid",
        "char",
        "name",
        "uuid_",
        "date_",
        "time_",
        "timestamp_",
        "timestamptz_",
        "numeric_",
        "text_",
    ];
    let (stem, comparison) = [
        ("eq", Comparison::Eq),
        ("lt", Comparison::Lt),
        ("le", Comparison::Le),
        ("gt", Comparison::Gt),
        ("ge", Comparison::Ge),
    ]
    .into_iter()
    .find_map(|(suffix, comparison)| Some((name.strip_suffix(suffix)?, comparison)))?;
    TYPES.contains(&stem).then_some(comparison)
}

/// Whether an expression has one value for the whole statement.
pub fn is_constant(expr: &ScalarExpr) -> bool {
    fn walk(expr: &mut ScalarExpr) -> bool {
        let own = match &expr.kind {
            ExprKind::Column { .. } | ExprKind::Query(_) => false,
            ExprKind::Call { function, .. } => {
                function.volatility != Volatility::Volatile && !crate::dml::sequence::is_session_call(function)
            }
            _ => true,
        };
        own && crate::dml::sequence::children(&mut expr.kind).into_iter().all(walk)
    }
    walk(&mut expr.clone())
}
