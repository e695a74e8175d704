//! `SET a[1] = x`, `SET j['k'] = x`: the new value of the whole column (see [`crate::sql::subscripted`]).

use sqlparser::ast::{self, Expr, Spanned};
use sqlparser::tokenizer::Span;

use super::{Binder, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::subscript_assignment::{Part, assignment};
use crate::sql::subscripted::{INDEX, OPEN_END, SLICE, TARGET};
use crate::types::{Datum, PgType, TypeOid};

fn call_of(expr: &Expr) -> Option<(String, Vec<&Expr>)> {
    let Expr::Function(call) = expr else { return None };
    let name = call.name.0.last()?.as_ident().map(fold)?;
    let ast::FunctionArguments::List(list) = &call.args else { return Some((name, Vec::new())) };
    let args = list.args.iter().filter_map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    });
    Some((name, args.collect()))
}

impl Binder {
    pub(super) fn assign_part(&mut self, args: &[&Expr], span: Span) -> Result<ScalarExpr> {
        let [whole, value, subscripts @ ..] = args else {
            return Err(Error::internal("an assignment to a part without its parts"));
        };
        let whole = match (call_of(whole), self.part_target) {
            (Some((name, _)), Some(target)) if name == TARGET => ScalarExpr::constant(Datum::Null, target),
            _ => self.expr(whole)?,
        };
        if matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
        {
            let error = Error::new(SqlState::FeatureNotSupported, "cannot set an array element to DEFAULT");
            return Err(self.source.locate(error, span));
        }
        let ty = whole.ty;
        let mut written = Vec::new();
        for subscript in subscripts {
            let (name, args) = call_of(subscript).ok_or_else(|| Error::internal("a subscript of another form"))?;
            written.push((name == SLICE, args));
        }
        let sliced = written.iter().any(|(slice, _)| *slice);
        let value_span = value.span();
        let value = self.expr(value)?;
        if ty.oid == TypeOid::JSONB {
            if sliced {
                let error = Error::new(SqlState::DatatypeMismatch, "jsonb subscript does not support slices");
                return Err(self.source.locate(error, span));
            }
            let value = self.part_value(value, TypeOid::JSONB.into(), value_span)?;
            let steps = written.iter().filter_map(|(_, args)| args.first()).map(|e| self.json_step(e));
            let steps = steps.collect::<Result<Vec<_>>>()?;
            let path = ScalarExpr::new(ExprKind::Array(steps), TypeOid::TEXT_ARRAY);
            let function = assignment(Part::Json, ty.oid);
            return Ok(ScalarExpr::new(ExprKind::Call { function, args: vec![whole, value, path] }, ty));
        }
        let Some(element) = ty.oid.element() else {
            let name = super::resolve::type_name(ty);
            let error = Error::new(
                SqlState::DatatypeMismatch,
                format!("cannot subscript type {name} because it does not support subscripting"),
            );
            return Err(self.source.locate(error, span));
        };
        let target = if sliced { ty } else { PgType::new(element, ty.typmod) };
        let value = self.part_value(value, target, value_span)?;
        let (mut marks, mut bounds) = (String::new(), Vec::new());
        for (slice, args) in &written {
            match (slice, args.as_slice()) {
                (true, [lower, upper]) => {
                    for (end, mark) in [(lower, 'l'), (upper, 'u')] {
                        if call_of(end).is_some_and(|(name, _)| name == OPEN_END) {
                            marks.push('-');
                            bounds.push(ScalarExpr::constant(Datum::Int4(0), TypeOid::INT4));
                        } else {
                            marks.push(mark);
                            bounds.push(self.integer_subscript(end)?);
                        }
                    }
                }
                (false, [index]) => {
                    if sliced {
                        bounds.push(ScalarExpr::constant(Datum::Int4(1), TypeOid::INT4));
                    }
                    marks.push_str("lu");
                    bounds.push(self.integer_subscript(index)?);
                }
                _ => return Err(Error::internal(format!("a subscript that is no {INDEX}"))),
            }
        }
        let mut args = vec![whole, value, ScalarExpr::constant(Datum::from(marks), TypeOid::TEXT)];
        args.extend(bounds);
        let function = assignment(if sliced { Part::Slice } else { Part::Element }, ty.oid);
        Ok(ScalarExpr::new(ExprKind::Call { function, args }, ty))
    }

    fn part_value(&mut self, value: ScalarExpr, to: PgType, span: Span) -> Result<ScalarExpr> {
        let from = value.ty;
        match self.coerce(value, to, super::coerce::Situation::Assignment, span)? {
            Some(value) => Ok(value),
            None => {
                let error = Error::new(
                    SqlState::DatatypeMismatch,
                    format!(
                        "subscripted assignment requires type {} but expression is of type {}",
                        super::resolve::type_name(to.oid.into()),
                        super::resolve::type_name(from)
                    ),
                )
                .hint("You will need to rewrite or cast the expression.");
                Err(self.source.locate(error, span))
            }
        }
    }
}
