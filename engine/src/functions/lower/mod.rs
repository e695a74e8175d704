//! Bound calls as DataFusion expressions.
//!
//! Native expressions where DataFusion does exactly what PostgreSQL does (comparisons of equal layouts, LIKE, widening
//! casts); else a [`row_udf`] around the row function, with a vectorised kernel in front of it where one exists
//! ([`vector`], [`decimal`]). A kernel that meets anything but plain success gives up, and the row function decides.
//!
//! Layouts: a [`Lowered`] says in which Arrow type its values lie. Numerics are Decimal128 as long as scales are
//! certain, else encoded bytes; [`unify`] brings branches of one expression to one layout.
//!
//! Deviation: a product whose declared digits exceed 38 stays Decimal128 while its scale is at most 18, and answers
//! 22003 if a value really has more than 38 digits. PostgreSQL would go on; a cast of an operand to plain `numeric`
//! makes us go on too.

pub mod aggregate;
pub mod compare;
mod decimal;
mod row_udf;
mod vector;
pub mod window;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, cast as arrow_cast, lit};

use super::casts::{CastContext, CastPath, find_cast, no_cast};
use super::{EvalContext, Function, Volatility};
use crate::error::Result;
use crate::types::arrow::{from_scalar, numeric_literal, to_scalar};
use crate::types::{Datum, PgType, TypeOid};

use row_udf::{RowOperation, RowUdf};
pub use row_udf::{StatementContext, into_datafusion_error};

/// An expression of DataFusion, its SQL type and the layout of its values.
#[derive(Debug, Clone)]
pub struct Lowered {
    pub expr: Expr,
    pub ty: PgType,
    pub arrow: DataType,
}

impl Lowered {
    pub fn new(expr: Expr, ty: PgType, arrow: DataType) -> Self {
        Lowered { expr, ty, arrow }
    }

    /// An expression whose values lie as [`PgType::arrow`] says (a column of a table).
    pub fn plain(expr: Expr, ty: PgType) -> Self {
        Lowered { expr, ty, arrow: ty.arrow() }
    }

    fn literal(&self) -> Option<&ScalarValue> {
        match &self.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }
    }

    fn constant(&self) -> Option<Datum> {
        self.literal().and_then(|v| from_scalar(v, self.ty).ok())
    }

    fn boolean(expr: Expr) -> Lowered {
        Lowered::plain(expr, TypeOid::BOOL.into())
    }
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

/// A constant. Numerics without a modifier take the narrowest layout that shows them right.
pub fn literal(value: &Datum, ty: PgType) -> Result<Lowered> {
    if let (Datum::Numeric(number), true) = (value, ty.numeric_precision_scale().is_none()) {
        let scalar = numeric_literal(number);
        let arrow = scalar.data_type();
        return Ok(Lowered::new(lit(scalar), ty, arrow));
    }
    if value.is_null() {
        return null(ty, ty.arrow());
    }
    Ok(Lowered::plain(lit(to_scalar(value, ty)?), ty))
}

fn null(ty: PgType, arrow: DataType) -> Result<Lowered> {
    let scalar = ScalarValue::try_new_null(&arrow).map_err(|e| crate::Error::internal(e.to_string()))?;
    Ok(Lowered::new(lit(scalar), ty, arrow))
}

/// A call of a scalar function or operator. The arguments have the types that resolution asked for.
pub fn call(function: &Arc<Function>, args: Vec<Lowered>, ret: PgType) -> Result<Lowered> {
    if super::collation::is_transparent(function)
        && let Some(arg) = args.first()
    {
        return Ok(arg.clone());
    }
    if let Some(folded) = fold(function, &args, ret)? {
        return Ok(folded);
    }
    if let (Some(test), [left, right]) = (super::comparison::test_of(function.symbol), args.as_slice()) {
        return compare::lower(function, test, left.clone(), right.clone());
    }
    if let Some(native) = native(function, &args) {
        return Ok(native);
    }
    if let Some(lowered) = decimal::lower(function, &args, ret)? {
        return Ok(lowered);
    }
    let arrow = vector::layout(function, &args).unwrap_or_else(|| ret.arrow());
    Ok(row_call(RowOperation::Call(Arc::clone(function)), args, ret, arrow))
}

/// An immutable call of constants is a constant; one that fails is left to fail when it runs.
fn fold(function: &Function, args: &[Lowered], ret: PgType) -> Result<Option<Lowered>> {
    if function.volatility != Volatility::Immutable || args.is_empty() {
        return Ok(None);
    }
    let Some(values) = args.iter().map(Lowered::constant).collect::<Option<Vec<Datum>>>() else {
        return Ok(None);
    };
    let types: Vec<PgType> = args.iter().map(|a| a.ty).collect();
    match function.call(&EvalContext::default(), &types, ret, &values) {
        Ok(value) => literal(&value, ret).map(Some),
        Err(_) => Ok(None),
    }
}

fn row_call(operation: RowOperation, args: Vec<Lowered>, ret: PgType, arrow: DataType) -> Lowered {
    let types = args.iter().map(|a| a.ty).collect();
    let exprs = args.into_iter().map(|a| a.expr).collect();
    Lowered::new(RowUdf::call(operation, types, ret, arrow.clone(), exprs), ret, arrow)
}

/// What DataFusion's own expressions do right.
fn native(function: &Function, args: &[Lowered]) -> Option<Lowered> {
    let like = |negated: bool| {
        let [text, pattern] = args else { return None };
        let fits = text.arrow == DataType::Utf8 && text.ty.oid != TypeOid::BPCHAR;
        // A pattern that ends in its escape is an error of PostgreSQL's; other escapes mean the same.
        let Some(ScalarValue::Utf8(Some(literal))) = pattern.literal() else { return None };
        let trailing = literal.chars().rev().take_while(|c| *c == '\\').count();
        (fits && trailing % 2 == 0).then(|| {
            let (text, pattern) = (Box::new(text.expr.clone()), Box::new(pattern.expr.clone()));
            Lowered::boolean(Expr::Like(Like::new(negated, text, pattern, None, false)))
        })
    };
    match function.symbol {
        "textlike" | "namelike" => like(false),
        "textnlike" | "namenlike" => like(true),
        _ => None,
    }
}

/// A cast, type modifier included.
pub fn cast(arg: Lowered, to: PgType, explicit: bool) -> Result<Lowered> {
    if arg.ty == to {
        return Ok(arg);
    }
    let kind = if explicit { CastContext::Explicit } else { CastContext::Assignment };
    let path = find_cast(arg.ty.oid, to.oid, kind)
        .or_else(|| find_cast(arg.ty.oid, to.oid, CastContext::Explicit))
        .ok_or_else(|| no_cast(arg.ty.oid, to.oid))?;
    if let Some(value) = arg.constant() {
        let immutable = match &path {
            CastPath::Function(function) => function.volatility == Volatility::Immutable,
            CastPath::Relabel => true,
            CastPath::InOut => {
                value.is_null() || matches!(to.oid, TypeOid::TEXT | TypeOid::VARCHAR) && !timed(arg.ty.oid)
            }
            CastPath::Elements(_) | CastPath::Row => false,
        };
        if immutable {
            let folded = super::casts::follow(&path, &value, arg.ty, to, explicit, &EvalContext::default());
            if let Ok(value) = folded {
                return literal(&value, to);
            }
        }
    }
    if let Some(lowered) = decimal::lower_cast(&arg, to) {
        return Ok(lowered);
    }
    if to.typmod < 0 {
        match (&path, &arg.arrow, to.arrow()) {
            // Only the name changes.
            (CastPath::Relabel, from, target) if *from == target => return Ok(Lowered::new(arg.expr, to, target)),
            // Widening casts of numbers can't fail.
            (CastPath::Function(_), from, target)
                if is_number(arg.ty.oid) && is_number(to.oid) && widens(from, &target) =>
            {
                return Ok(Lowered::new(arrow_cast(arg.expr, target.clone()), to, target));
            }
            _ => {}
        }
    }
    let arrow = to.arrow();
    Ok(row_call(RowOperation::Cast { path, from: arg.ty, to, explicit }, vec![arg], to, arrow))
}

/// Types whose text form depends on settings.
fn timed(oid: TypeOid) -> bool {
    use TypeOid as T;
    let oid = oid.element().unwrap_or(oid);
    oid.user_kind().is_some()
        || oid == T::RECORD
        || oid.is_range()
        || oid.is_multirange()
        || matches!(
            oid,
            T::DATE
                | T::TIMESTAMP
                | T::TIMESTAMPTZ
                | T::INTERVAL
                | T::FLOAT4
                | T::FLOAT8
                | T::BYTEA
                | T::REGCLASS
                | T::REGPROC
        )
}

/// Numbers whose layout is what they are: a layout of integers alone does not say so, money has one.
fn is_number(oid: TypeOid) -> bool {
    use TypeOid as T;
    matches!(oid, T::INT2 | T::INT4 | T::INT8 | T::FLOAT4 | T::FLOAT8 | T::NUMERIC | T::OID)
}

fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    matches!(
        (from, to),
        (D::Int16, D::Int32 | D::Int64 | D::Float32 | D::Float64)
            | (D::Int32, D::Int64 | D::Float64)
            | (D::Float32, D::Float64)
            | (D::UInt32, D::Int64)
    )
}

/// Brings expressions of one SQL type to one layout (branches of CASE and COALESCE, columns of UNION). With `exact`
/// numerics of different display scales go to the layout that keeps each one's scale; without it (arguments of
/// aggregates, sides of a comparison) to a common Decimal128.
pub fn unify(args: Vec<Lowered>, ty: PgType, exact: bool) -> Result<Vec<Lowered>> {
    let layouts: Vec<&DataType> =
        args.iter().filter(|a| !a.literal().is_some_and(ScalarValue::is_null)).map(|a| &a.arrow).collect();
    let target = match layouts.split_first() {
        None => ty.arrow(),
        Some((first, rest)) if rest.iter().all(|a| a == first) => (*first).clone(),
        Some(_) if ty.oid == TypeOid::NUMERIC => decimal::common(&layouts, exact),
        Some(_) => ty.arrow(),
    };
    args.into_iter().map(|arg| to_layout(arg, &target)).collect()
}

/// The same values in another layout of their type.
pub fn to_layout(arg: Lowered, target: &DataType) -> Result<Lowered> {
    if arg.arrow == *target {
        return Ok(arg);
    }
    if arg.literal().is_some_and(ScalarValue::is_null) {
        return null(arg.ty, target.clone());
    }
    if let (Some(Datum::Numeric(value)), DataType::Decimal128(precision, scale)) = (arg.constant(), target)
        && let Some(mantissa) = value.to_i128(*scale).filter(|_| i32::from(value.scale()) <= i32::from(*scale))
    {
        let scalar = ScalarValue::Decimal128(Some(mantissa), *precision, *scale);
        return Ok(Lowered::new(lit(scalar), arg.ty, target.clone()));
    }
    if let (DataType::Decimal128(p, s), DataType::Decimal128(q, t)) = (&arg.arrow, target)
        && t >= s
        && i16::from(*q) - i16::from(*t) >= i16::from(*p) - i16::from(*s)
    {
        return Ok(Lowered::new(arrow_cast(arg.expr, target.clone()), arg.ty, target.clone()));
    }
    let ty = arg.ty;
    Ok(row_call(RowOperation::Layout, vec![arg], ty, target.clone()))
}

/// What to group, join or hash by if Arrow's equality of the values is not PostgreSQL's (numerics of any scale,
/// floats' zeros, char(n) of any length, intervals, jsonb and arrays): memcomparable bytes. `None`: the value itself will
/// do. A representative of a group is then `min(value)` or `first_value(value)`.
pub fn key(arg: &Lowered) -> Option<Lowered> {
    let needed = match arg.ty.oid {
        array if array.element().is_some() => true,
        TypeOid::NUMERIC => !matches!(arg.arrow, DataType::Decimal128(..)),
        TypeOid::BPCHAR => arg.ty.typmod < 0,
        TypeOid::FLOAT4 | TypeOid::FLOAT8 | TypeOid::INTERVAL | TypeOid::JSONB => true,
        TypeOid::CITEXT => true,
        oid if oid.is_row() || oid.is_range() || oid.is_multirange() => true,
        _ => false,
    };
    needed.then(|| {
        let ty = TypeOid::BYTEA.into();
        row_call(RowOperation::Key, vec![arg.clone()], ty, DataType::Binary)
    })
}

/// What to sort by if Arrow's order of the values is not PostgreSQL's; NULL stays NULL. `None`: the value itself.
pub fn sort_key(arg: &Lowered) -> Option<Lowered> {
    key(arg).or_else(|| {
        let special = matches!(arg.ty.oid, TypeOid::PG_LSN | TypeOid::XID8);
        special.then(|| row_call(RowOperation::Key, vec![arg.clone()], TypeOid::BYTEA.into(), DataType::Binary))
    })
}

#[cfg(test)]
mod tests;
