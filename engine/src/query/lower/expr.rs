//! Scalar expressions.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Case, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};

use super::{Lowering, find_column, shell};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::lower::{self, Lowered};
use crate::functions::registry;
use crate::types::{Datum, PgType, TypeOid, equal};

pub(super) fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))
}

/// Operands of AND and OR up to which the tree leans to the left, as DataFusion's own do.
const CHAIN_MAX: usize = 64;

fn boolean(expr: Expr) -> Lowered {
    Lowered::new(expr, TypeOid::BOOL.into(), DataType::Boolean)
}

/// `CASE WHEN … THEN … ELSE … END`
fn case(whens: Vec<(Expr, Expr)>, otherwise: Option<Expr>) -> Expr {
    let whens = whens.into_iter().map(|(a, b)| (Box::new(a), Box::new(b))).collect();
    Expr::Case(Case::new(None, whens, otherwise.map(Box::new)))
}

impl Lowering<'_> {
    /// An expression over the columns of `schemas`.
    pub(super) fn expr(&mut self, expr: &ScalarExpr, schemas: &[&DFSchema]) -> Result<Lowered> {
        stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, || self.expr_inner(expr, schemas))
    }

    fn expr_inner(&mut self, expr: &ScalarExpr, schemas: &[&DFSchema]) -> Result<Lowered> {
        let ty = expr.ty;
        match &expr.kind {
            ExprKind::Const(value) => lower::literal(value, ty),
            ExprKind::Param(n) => match self.context.params.get(*n) {
                Some(value) => lower::literal(value, ty),
                None => Err(Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${}", n + 1))),
            },
            ExprKind::Column { id, .. } => {
                let (column, arrow) = find_column(schemas, *id)?;
                Ok(Lowered::new(column, ty, arrow))
            }
            ExprKind::Call { function, args } => {
                let args = self.exprs(args, schemas)?;
                lower::call(function, args, ty)
            }
            ExprKind::Cast(cast) => {
                let arg = self.expr(&cast.arg, schemas)?;
                lower::cast(arg, cast.to, cast.explicit)
            }
            ExprKind::And(parts) => self.chain(parts, Operator::And, schemas),
            ExprKind::Or(parts) => self.chain(parts, Operator::Or, schemas),
            ExprKind::Not(arg) => Ok(boolean(Expr::Not(Box::new(self.expr(arg, schemas)?.expr)))),
            ExprKind::IsNull { arg, negated } => {
                let arg = Box::new(self.expr(arg, schemas)?.expr);
                Ok(boolean(if *negated { Expr::IsNotNull(arg) } else { Expr::IsNull(arg) }))
            }
            ExprKind::IsBool { arg, value, negated } => {
                // DataFusion's own IS TRUE and its like are never NULL in a logical plan, and may be in a physical one.
                let arg = self.expr(arg, schemas)?.expr;
                let op = if *negated { Operator::IsDistinctFrom } else { Operator::IsNotDistinctFrom };
                Ok(boolean(match value {
                    Some(value) => binary(arg, op, lit(*value)),
                    None if *negated => Expr::IsNotNull(Box::new(arg)),
                    None => Expr::IsNull(Box::new(arg)),
                }))
            }
            ExprKind::IsDistinct { left, right, negated } => {
                let (l, r) = self.comparable(left, right, schemas)?;
                let op = if *negated { Operator::IsNotDistinctFrom } else { Operator::IsDistinctFrom };
                Ok(boolean(binary(l, op, r)))
            }
            ExprKind::Case { whens, otherwise, .. } => {
                let mut values = Vec::new();
                let mut conditions = Vec::new();
                for (condition, value) in whens {
                    conditions.push(self.expr(condition, schemas)?.expr);
                    values.push(self.expr(value, schemas)?);
                }
                let has_else = otherwise.is_some();
                if let Some(otherwise) = otherwise {
                    values.push(self.expr(otherwise, schemas)?);
                }
                let mut values = lower::unify(values, ty, true)?;
                let arrow = values.first().map_or_else(|| ty.arrow(), |v| v.arrow.clone());
                let otherwise = if has_else { values.pop().map(|v| v.expr) } else { None };
                let whens = conditions.into_iter().zip(values.into_iter().map(|v| v.expr)).collect();
                Ok(Lowered::new(case(whens, otherwise), ty, arrow))
            }
            ExprKind::Coalesce(items) => {
                let items = self.exprs(items, schemas)?;
                let mut items = lower::unify(items, ty, true)?;
                let arrow = items.first().map_or_else(|| ty.arrow(), |v| v.arrow.clone());
                let last = items.pop().map(|v| v.expr);
                if items.is_empty() {
                    let only = last.ok_or_else(|| Error::internal("COALESCE of nothing"))?;
                    return Ok(Lowered::new(only, ty, arrow));
                }
                let whens = items.into_iter().map(|v| (Expr::IsNotNull(Box::new(v.expr.clone())), v.expr)).collect();
                Ok(Lowered::new(case(whens, last), ty, arrow))
            }
            ExprKind::NullIf { left, right, equals } => {
                let l = self.expr(left, schemas)?;
                let r = self.expr(right, schemas)?;
                let equal = lower::call(equals, vec![l.clone(), r], TypeOid::BOOL.into())?;
                let null = lower::to_layout(lower::literal(&Datum::Null, ty)?, &l.arrow)?;
                Ok(Lowered::new(case(vec![(equal.expr, null.expr)], Some(l.expr)), ty, l.arrow))
            }
            ExprKind::InList { arg, list, negated } => self.in_list(expr, arg, list, *negated, schemas),
            ExprKind::AnyAll { arg, operator, array, all } => {
                // `x = ANY (constant array)` is IN.
                let constant = match &array.kind {
                    ExprKind::Const(value) => Some(value),
                    ExprKind::Param(n) => self.context.params.get(*n),
                    _ => None,
                };
                let equality = registry().is_equality(operator.oid);
                if let (Some(Datum::Array(items)), true, false) = (constant, equality, *all) {
                    let element = PgType::new(array.ty.oid.element().unwrap_or(TypeOid::TEXT), array.ty.typmod);
                    if element.oid == arg.ty.oid && !items.is_empty() {
                        let list: Vec<ScalarExpr> =
                            items.iter().map(|v| ScalarExpr::constant(v.clone(), element)).collect();
                        return self.in_list(expr, &arg.clone(), &list, false, schemas);
                    }
                }
                self.shell(expr, schemas)
            }
            ExprKind::Greatest(_)
            | ExprKind::Least(_)
            | ExprKind::Array(_)
            | ExprKind::Row(..)
            | ExprKind::Domain { .. }
            | ExprKind::Fold { .. }
            | ExprKind::Subscript { .. } => self.shell(expr, schemas),
            ExprKind::Query(_) => Err(Error::internal("a subquery reached lowering")),
        }
    }

    pub(super) fn exprs(&mut self, exprs: &[ScalarExpr], schemas: &[&DFSchema]) -> Result<Vec<Lowered>> {
        exprs.iter().map(|e| self.expr(e, schemas)).collect()
    }

    /// A tree of little depth, however long the chain: what walks it recurses.
    fn chain(&mut self, parts: &[ScalarExpr], op: Operator, schemas: &[&DFSchema]) -> Result<Lowered> {
        let mut level = parts.iter().map(|p| Ok(self.expr(p, schemas)?.expr)).collect::<Result<Vec<Expr>>>()?;
        if level.len() <= CHAIN_MAX {
            let whole = level.into_iter().reduce(|left, right| binary(left, op, right));
            return Ok(boolean(whole.unwrap_or_else(|| lit(op == Operator::And))));
        }
        while level.len() > 1 {
            let mut pairs = level.into_iter();
            let mut next = Vec::with_capacity(pairs.len() / 2 + 1);
            while let Some(left) = pairs.next() {
                next.push(match pairs.next() {
                    Some(right) => binary(left, op, right),
                    None => left,
                });
            }
            level = next;
        }
        Ok(boolean(level.pop().unwrap_or_else(|| lit(op == Operator::And))))
    }

    /// Both sides as values that Arrow's equality compares as PostgreSQL does.
    fn comparable(&mut self, left: &ScalarExpr, right: &ScalarExpr, schemas: &[&DFSchema]) -> Result<(Expr, Expr)> {
        let mut both = vec![self.expr(left, schemas)?, self.expr(right, schemas)?];
        let mut ty = left.ty;
        if let Some(wider) = equal::common(left.ty.oid, right.ty.oid) {
            ty = wider.into();
            let widened = |side: Lowered| if side.ty.oid == wider { Ok(side) } else { lower::cast(side, ty, false) };
            both = both.into_iter().map(widened).collect::<Result<_>>()?;
        }
        if ty.oid == TypeOid::BPCHAR && left.ty != right.ty {
            // Padded to different lengths: neither is its own key.
            both.iter_mut().for_each(|side| side.ty.typmod = -1);
        }
        let both = lower::unify(both, ty, false)?;
        let mut keys = both.into_iter().map(|side| lower::key(&side).unwrap_or(side).expr);
        match (keys.next(), keys.next()) {
            (Some(l), Some(r)) => Ok((l, r)),
            _ => Err(Error::internal("a comparison of one side")),
        }
    }

    fn in_list(
        &mut self,
        whole: &ScalarExpr,
        arg: &ScalarExpr,
        list: &[ScalarExpr],
        negated: bool,
        schemas: &[&DFSchema],
    ) -> Result<Lowered> {
        if list.is_empty() {
            return self.shell(whole, schemas);
        }
        let operand = self.expr(arg, schemas)?;
        let mut items = self.exprs(list, schemas)?;
        if arg.ty.oid == TypeOid::BPCHAR {
            match lower::compare::padded_list(&operand, &items) {
                Some(padded) => items = padded,
                None => return self.shell(whole, schemas),
            }
        }
        let mut all = vec![operand];
        all.append(&mut items);
        let all = lower::unify(all, arg.ty, false)?;
        let mut keys = all.into_iter().map(|e| lower::key(&e).unwrap_or(e).expr);
        let arg = keys.next().ok_or_else(|| Error::internal("IN without an operand"))?;
        // DataFusion takes what it can evaluate without rows for constant, a CASE over columns among it.
        let (constant, computed): (Vec<Expr>, Vec<Expr>) = keys.partition(|key| matches!(key, Expr::Literal(..)));
        if computed.is_empty() {
            return Ok(boolean(Expr::InList(InList::new(Box::new(arg), constant, negated))));
        }
        if arg.is_volatile() {
            return self.shell(whole, schemas);
        }
        let mut any = (!constant.is_empty()).then(|| Expr::InList(InList::new(Box::new(arg.clone()), constant, false)));
        for key in computed {
            let test = binary(arg.clone(), Operator::Eq, key);
            any = Some(any.map_or(test.clone(), |tests| binary(tests, Operator::Or, test)));
        }
        let any = any.ok_or_else(|| Error::internal("IN without a list"))?;
        Ok(boolean(if negated { Expr::Not(Box::new(any)) } else { any }))
    }

    /// Evaluated row by row, its parts as arguments.
    fn shell(&mut self, expr: &ScalarExpr, schemas: &[&DFSchema]) -> Result<Lowered> {
        let mut args = Vec::new();
        let mut shell = expr.clone();
        shell.children_mut(&mut |child| {
            let lowered = self.expr(child, schemas)?;
            let place = crate::expr::ColumnId(args.len() as u32);
            *child = ScalarExpr::column(place, child.ty);
            args.push(lowered);
            Ok(())
        })?;
        Ok(shell::call(shell, args))
    }
}
