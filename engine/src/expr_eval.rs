//! Evaluation of bound expressions row by row: the point path, CHECK, DEFAULT, and constants of plans. Three-valued
//! logic throughout: NULL is "unknown".

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::{EvalContext, Function, cast_value};
use crate::sql::QueryExpr;
use crate::types::array::ArrayValue;
use crate::types::{Datum, PgType, TypeOid, compare, equal, record};

/// Where the columns of the row at hand are found.
pub trait ColumnSource {
    /// `None`: the expression names a column that this row does not have; our mistake.
    fn column(&self, id: ColumnId) -> Option<Datum>;

    /// The value of a subquery, where there is more than a row.
    fn subquery(&self, _query: &QueryExpr) -> Result<Datum> {
        Err(Error::internal("a subquery reached row evaluation"))
    }
}

/// A row without columns.
pub struct NoColumns;

impl ColumnSource for NoColumns {
    fn column(&self, _: ColumnId) -> Option<Datum> {
        None
    }
}

/// The value of `expr` on `row`.
pub fn eval(expr: &ScalarExpr, row: &dyn ColumnSource, params: &[Datum], context: &EvalContext) -> Result<Datum> {
    Evaluator { row, params, context }.value(expr)
}

/// Whether a condition holds: NULL does not.
pub fn holds(expr: &ScalarExpr, row: &dyn ColumnSource, params: &[Datum], context: &EvalContext) -> Result<bool> {
    Ok(matches!(eval(expr, row, params, context)?, Datum::Bool(true)))
}

struct Evaluator<'a> {
    row: &'a dyn ColumnSource,
    params: &'a [Datum],
    context: &'a EvalContext,
}

impl Evaluator<'_> {
    fn value(&self, expr: &ScalarExpr) -> Result<Datum> {
        match &expr.kind {
            ExprKind::Const(value) => Ok(value.clone()),
            ExprKind::Param(n) => {
                self.params.get(*n).cloned().ok_or_else(|| {
                    Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${}", n + 1))
                })
            }
            ExprKind::Column { id, .. } => {
                self.row.column(*id).ok_or_else(|| Error::internal(format!("column {} is not at hand", id.0)))
            }
            ExprKind::Call { function, args } => self.call(function, args, expr.ty),
            ExprKind::Cast(cast) => {
                let value = self.value(&cast.arg)?;
                cast_value(&value, cast.arg.ty, cast.to, cast.explicit, self.context)
            }
            ExprKind::Domain { arg, rule } => {
                let value = self.value(arg)?;
                rule.check(&value, self.context)?;
                Ok(value)
            }
            ExprKind::Fold { rows, rule } => rule.fold(&self.value(rows)?, self.context),
            ExprKind::And(parts) => self.and(parts),
            ExprKind::Or(parts) => self.or(parts),
            ExprKind::Not(arg) => Ok(negate(self.value(arg)?)),
            ExprKind::IsNull { arg, negated } => Ok(Datum::Bool(self.value(arg)?.is_null() != *negated)),
            ExprKind::IsBool { arg, value, negated } => {
                let found = match self.value(arg)? {
                    Datum::Bool(b) => Some(b),
                    _ => None,
                };
                Ok(Datum::Bool((found == *value) != *negated))
            }
            ExprKind::IsDistinct { left, right, negated } => {
                let ty = equal::common(left.ty.oid, right.ty.oid);
                let widened = |side: &ScalarExpr| match (self.value(side)?, ty) {
                    (value, Some(ty)) => cast_value(&value, side.ty, ty.into(), false, self.context),
                    (value, None) => Ok(value),
                };
                let (l, r) = (widened(left)?, widened(right)?);
                let distinct = match (l.is_null(), r.is_null()) {
                    (true, true) => false,
                    (false, false) => compare::compare(&l, &r, ty.map_or(left.ty, PgType::from)) != Ordering::Equal,
                    _ => true,
                };
                Ok(Datum::Bool(distinct != *negated))
            }
            ExprKind::Case { whens, otherwise, .. } => {
                for (condition, value) in whens {
                    if matches!(self.value(condition)?, Datum::Bool(true)) {
                        return self.value(value);
                    }
                }
                otherwise.as_ref().map_or(Ok(Datum::Null), |e| self.value(e))
            }
            ExprKind::Coalesce(items) => {
                for item in items {
                    let value = self.value(item)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            ExprKind::NullIf { left, right, equals } => {
                let (l, r) = (self.value(left)?, self.value(right)?);
                let same = equals.call(self.context, &[left.ty, right.ty], TypeOid::BOOL.into(), &[l.clone(), r])?;
                Ok(if matches!(same, Datum::Bool(true)) { Datum::Null } else { l })
            }
            ExprKind::Greatest(items) => self.extreme(items, Ordering::Greater),
            ExprKind::Least(items) => self.extreme(items, Ordering::Less),
            ExprKind::InList { arg, list, negated } => self.in_list(arg, list, *negated),
            ExprKind::AnyAll { arg, operator, array, all } => self.any_all(arg, operator, array, *all),
            ExprKind::Array(items) => {
                let nested = items.iter().any(|e| e.ty.oid == expr.ty.oid);
                let items = items.iter().map(|e| self.value(e)).collect::<Result<Vec<_>>>()?;
                // Arrays as members of one of their own type: a dimension more.
                if nested {
                    return crate::functions::array_shape::stack(&items).map(Datum::from);
                }
                Ok(Datum::from(items))
            }
            ExprKind::Subscript { array, index } => self.subscript(array, index),
            ExprKind::Row(items, names) => {
                let values = items.iter().map(|e| Ok((self.value(e)?, e.ty))).collect::<Result<Vec<_>>>()?;
                Ok(record::encode(expr.ty.oid, names.as_deref(), &values))
            }
            ExprKind::Query(query) => self.row.subquery(query),
        }
    }

    fn call(&self, function: &Function, args: &[ScalarExpr], ty: PgType) -> Result<Datum> {
        let mut values: SmallVec<[Datum; 4]> = SmallVec::with_capacity(args.len());
        for arg in args {
            let value = self.value(arg)?;
            if function.strict && value.is_null() {
                return Ok(Datum::Null);
            }
            values.push(value);
        }
        let types: SmallVec<[PgType; 4]> = args.iter().map(|a| a.ty).collect();
        function.call(self.context, &types, ty, &values)
    }

    fn and(&self, parts: &[ScalarExpr]) -> Result<Datum> {
        let mut unknown = false;
        for part in parts {
            match self.value(part)? {
                Datum::Bool(false) => return Ok(Datum::Bool(false)),
                Datum::Bool(true) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(true) })
    }

    fn or(&self, parts: &[ScalarExpr]) -> Result<Datum> {
        let mut unknown = false;
        for part in parts {
            match self.value(part)? {
                Datum::Bool(true) => return Ok(Datum::Bool(true)),
                Datum::Bool(false) => {}
                _ => unknown = true,
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(false) })
    }

    fn extreme(&self, items: &[ScalarExpr], wanted: Ordering) -> Result<Datum> {
        let mut best = Datum::Null;
        for item in items {
            let value = self.value(item)?;
            if !value.is_null() && (best.is_null() || compare::compare(&value, &best, item.ty) == wanted) {
                best = value;
            }
        }
        Ok(best)
    }

    fn in_list(&self, arg: &ScalarExpr, list: &[ScalarExpr], negated: bool) -> Result<Datum> {
        let value = self.value(arg)?;
        if value.is_null() {
            return Ok(Datum::Null);
        }
        let mut unknown = false;
        for item in list {
            let item = self.value(item)?;
            if item.is_null() {
                unknown = true;
            } else if compare::compare(&value, &item, arg.ty) == Ordering::Equal {
                return Ok(Datum::Bool(!negated));
            }
        }
        Ok(if unknown { Datum::Null } else { Datum::Bool(negated) })
    }

    fn any_all(&self, arg: &ScalarExpr, operator: &Function, array: &ScalarExpr, all: bool) -> Result<Datum> {
        let left = self.value(arg)?;
        let items = match self.value(array)? {
            Datum::Array(items) => items,
            _ => return Ok(Datum::Null),
        };
        any_all(&left, arg.ty, operator, &items, array.ty, all, self.context)
    }

    fn subscript(&self, array: &ScalarExpr, index: &ScalarExpr) -> Result<Datum> {
        let (items, at) = match (self.value(array)?, self.value(index)?) {
            (Datum::Array(items), Datum::Int4(at)) => (items, at),
            // Of a point its coordinates, of a segment or box its points.
            (Datum::Bytea(shape), Datum::Int4(at)) => {
                let width = if array.ty.oid == TypeOid::LSEG || array.ty.oid == TypeOid::BOX { 16 } else { 8 };
                return Ok(crate::types::geometry::part(&shape, at, width));
            }
            (Datum::Text(name), Datum::Int4(at)) => {
                let byte = usize::try_from(at).ok().and_then(|i| name.as_bytes().get(i).copied()).unwrap_or(0);
                let text = if byte == 0 { String::new() } else { char::from(byte).to_string() };
                return Ok(Datum::from(text.as_str()));
            }
            _ => return Ok(Datum::Null),
        };
        Ok(element(&items, array.ty, at))
    }
}

/// `left op ANY (items)` or `ALL`.
pub(crate) fn any_all(
    left: &Datum,
    left_type: PgType,
    operator: &Function,
    items: &[Datum],
    array_type: PgType,
    all: bool,
    context: &EvalContext,
) -> Result<Datum> {
    let element = PgType::new(array_type.oid.element().unwrap_or(TypeOid::TEXT), array_type.typmod);
    let mut unknown = false;
    for item in items {
        match operator.call(context, &[left_type, element], TypeOid::BOOL.into(), &[left.clone(), item.clone()])? {
            Datum::Bool(found) if found != all => return Ok(Datum::Bool(found)),
            Datum::Null => unknown = true,
            _ => {}
        }
    }
    Ok(if unknown { Datum::Null } else { Datum::Bool(all) })
}

/// An element of an array; vectors of the catalog count from 0. NULL outside the bounds.
pub(crate) fn element(array: &ArrayValue, array_type: PgType, at: i32) -> Datum {
    if array.dims().len() != 1 {
        return Datum::Null;
    }
    let first = array.first_lower(array_type.oid);
    usize::try_from(i64::from(at) - i64::from(first)).ok().and_then(|i| array.get(i).cloned()).unwrap_or(Datum::Null)
}

fn negate(value: Datum) -> Datum {
    match value {
        Datum::Bool(b) => Datum::Bool(!b),
        _ => Datum::Null,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bool_of(value: Option<bool>) -> ScalarExpr {
        ScalarExpr::constant(value.map_or(Datum::Null, Datum::Bool), TypeOid::BOOL)
    }

    fn run(kind: ExprKind) -> Datum {
        eval(&ScalarExpr::new(kind, TypeOid::BOOL), &NoColumns, &[], &EvalContext::default()).unwrap()
    }

    #[test]
    fn unknown_spreads_as_in_sql() {
        let (t, f, n) = (bool_of(Some(true)), bool_of(Some(false)), bool_of(None));
        assert_eq!(run(ExprKind::And(vec![n.clone(), f.clone()])), Datum::Bool(false));
        assert_eq!(run(ExprKind::And(vec![n.clone(), t.clone()])), Datum::Null);
        assert_eq!(run(ExprKind::Or(vec![n.clone(), t.clone()])), Datum::Bool(true));
        assert_eq!(run(ExprKind::Or(vec![f, n.clone()])), Datum::Null);
        assert_eq!(run(ExprKind::Not(Box::new(n.clone()))), Datum::Null);
        let distinct = ExprKind::IsDistinct { left: Box::new(n.clone()), right: Box::new(n), negated: false };
        assert_eq!(run(distinct), Datum::Bool(false));
    }

    #[test]
    fn not_in_with_null_is_unknown() {
        let int = |n| ScalarExpr::constant(Datum::Int4(n), TypeOid::INT4);
        let null = ScalarExpr::constant(Datum::Null, TypeOid::INT4);
        let list = |items, negated| ExprKind::InList { arg: Box::new(int(1)), list: items, negated };
        assert_eq!(run(list(vec![int(2), null.clone()], true)), Datum::Null);
        assert_eq!(run(list(vec![int(1), null], true)), Datum::Bool(false));
        assert_eq!(run(list(vec![int(2)], true)), Datum::Bool(true));
    }
}
