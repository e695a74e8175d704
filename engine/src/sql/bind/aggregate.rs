//! Calls of users' aggregates: `array_agg` of the arguments, folded where the array is at hand.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr};
use sqlparser::tokenizer::Span;

use super::resolve::{self, Resolution};
use super::{Binder, Expects};
use crate::catalog::{Oid, RoutineDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::expr_fold::FoldRule;
use crate::functions::registry;
use crate::functions::resolve::Generics;
use crate::sql::parse::parse_query;
use crate::sql::rel::SortKey;
use crate::types::{Datum, PgType, TypeOid};

impl Binder {
    /// A call of an aggregate that users made. `None`: no aggregate of users has this name.
    pub(super) fn user_aggregate(
        &mut self,
        parts: &[String],
        call: &ast::Function,
        list: &ast::FunctionArgumentList,
        span: Span,
    ) -> Result<Option<ScalarExpr>> {
        let (schema, name) = match parts {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return Ok(None),
        };
        let catalog = self.environment.catalog.clone();
        let named = catalog.routines_named(schema, name, &self.environment.search_path);
        if !named.iter().any(|r| r.aggregate.is_some()) {
            return Ok(None);
        }
        let outside = self.in_aggregate;
        if call.over.is_none() {
            self.in_aggregate = true;
        }
        let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        let found = self.find_routine(parts, if star { &[] } else { &list.args }, span);
        self.in_aggregate = outside;
        let Some((routine, args)) = found? else { return Ok(None) };
        if routine.aggregate.is_none() {
            return Ok(None);
        }
        if !call.within_group.is_empty() {
            let message = format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP");
            return Err(self.source.locate(Error::new(SqlState::WrongObjectType, message), span));
        }
        let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let mut order = Vec::new();
        for clause in &list.clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => {
                    for key in keys {
                        order.push(self.sort_key(key)?);
                    }
                }
                other => return Err(Error::unsupported(format!("{other} in a call"))),
            }
        }
        if distinct {
            order = self.distinct_order(&args, order, span)?;
        }
        let filter = match &call.filter {
            Some(filter) => {
                let outside = std::mem::replace(&mut self.expects, Expects::Other("FILTER"));
                let bound = self.boolean(filter, "FILTER");
                self.expects = outside;
                Some(bound?)
            }
            None => None,
        };
        let rule = self.fold_rule(&routine, &args, span)?;
        let item = match args.as_slice() {
            [] => ScalarExpr::constant(Datum::Bool(true), TypeOid::BOOL),
            [only] if !rule.in_rows => only.clone(),
            _ => ScalarExpr::new(ExprKind::Row(args, None), TypeOid::RECORD),
        };
        let collect = match resolve::function("array_agg", &[item.ty.oid], false)? {
            Resolution::Function(resolved) => resolved,
            Resolution::Cast(_) => return Err(Error::internal("array_agg is a cast")),
        };
        let items = self.coerce_call_args(&collect, vec![item], span)?;
        let rows = match &call.over {
            Some(_) if distinct => {
                let error =
                    Error::new(SqlState::FeatureNotSupported, "DISTINCT is not implemented for window functions");
                return Err(self.source.locate(error, span));
            }
            Some(_) if !order.is_empty() => {
                let message = "aggregate ORDER BY is not implemented for window functions";
                return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span));
            }
            Some(over) => self.window_call(collect, items, filter, over, span)?,
            None => self.aggregate_call(collect, items, distinct, order, filter, span)?,
        };
        let result = rule.result;
        let kind = ExprKind::Fold { rows: Box::new(rows), rule: Arc::new(rule) };
        Ok(Some(ScalarExpr::new(kind, result)))
    }

    /// DISTINCT rows come in the order of the arguments, what ORDER BY says first (42P10).
    fn distinct_order(&self, args: &[ScalarExpr], mut order: Vec<SortKey>, span: Span) -> Result<Vec<SortKey>> {
        let shown = |expr: &ScalarExpr| format!("{expr:?}");
        let known: Vec<String> = args.iter().map(shown).collect();
        if order.iter().any(|key| !known.contains(&shown(&key.expr))) {
            let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
            return Err(self.source.locate(Error::new(SqlState::InvalidColumnReference, message), span));
        }
        for arg in args {
            self.check_distinct(arg.ty, span)?;
            self.check_sortable(arg.ty, span)?;
            if !order.iter().any(|key| shown(&key.expr) == shown(arg)) {
                order.push(SortKey { expr: arg.clone(), descending: false, nulls_first: false });
            }
        }
        Ok(order)
    }

    fn fold_rule(&mut self, routine: &RoutineDef, args: &[ScalarExpr], span: Span) -> Result<FoldRule> {
        let aggregate = routine.aggregate.as_ref().ok_or_else(|| Error::internal("no aggregate"))?;
        let given = |i: usize, ty: PgType| ScalarExpr::column(ColumnId(i as u32), ty);
        let state = PgType::from(aggregate.state.oid);
        let inputs = args.iter().enumerate().map(|(i, arg)| given(i + 1, PgType::from(arg.ty.oid)));
        let all: Vec<ScalarExpr> = std::iter::once(given(0, state)).chain(inputs).collect();
        let (transition, transition_strict) = self.part(aggregate.transition, &all, state, span)?;
        let mut result = state;
        let (mut finish, mut finish_strict) = (None, false);
        if let Some(function) = aggregate.finish {
            let given = if aggregate.finish_extra { all.as_slice() } else { &all[..1] };
            result = PgType::from(routine.ret.oid);
            let (expr, strict) = self.part(function, given, result, span)?;
            (finish, finish_strict) = (Some(expr), strict);
        }
        let initial = match &aggregate.initial {
            Some(text) => self.coerce_explicit(super::expr::unknown(text), state, span)?,
            None => ScalarExpr::constant(Datum::Null, state),
        };
        let in_rows = match args {
            [] => false,
            [only] => only.ty.oid.element().is_some() || only.ty.oid.array().is_none(),
            _ => true,
        };
        let schema = self.environment.catalog.schema_name(routine.schema).to_owned();
        let (oid, name, arguments) = (routine.oid, routine.name.clone(), args.len());
        Ok(FoldRule {
            oid,
            schema,
            name,
            arguments,
            in_rows,
            initial,
            transition,
            transition_strict,
            finish,
            finish_strict,
            result,
        })
    }

    /// A call of one of the aggregate's functions, and whether it is strict.
    fn part(&mut self, oid: Oid, args: &[ScalarExpr], ret: PgType, span: Span) -> Result<(ScalarExpr, bool)> {
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        if let Some(function) = registry().function(oid.0) {
            if function.scalar.is_none() {
                return Err(self.source.locate(function.unsupported(), span));
            }
            let declared = &function.args;
            let generics = Generics::solve(declared, &types)?;
            let mut converted = Vec::with_capacity(args.len());
            for (arg, to) in args.iter().zip(declared) {
                let to = generics.argument(*to, arg.ty.oid);
                converted.push(match to {
                    TypeOid::ANY => arg.clone(),
                    to => self.coerce_implicit(arg.clone(), to.into(), span)?,
                });
            }
            let kind = ExprKind::Call { function: function.clone(), args: converted };
            return Ok((ScalarExpr::new(kind, ret), function.strict));
        }
        let routine = self.environment.catalog.routines.get(&oid).cloned();
        let routine = routine.ok_or_else(|| Error::internal("an aggregate without its function"))?;
        let generics = Generics::solve(&routine.input_types(), &types)?;
        let routine = super::routine::settle(routine, &generics)?;
        let mut converted = Vec::with_capacity(args.len());
        for (arg, to) in args.iter().zip(routine.input_types()) {
            converted.push(self.coerce_implicit(arg.clone(), to.into(), span)?);
        }
        let unsupported = || Error::unsupported("an aggregate of a function that is more than an expression");
        let (body, _) = parse_query(super::routine::query_of(&routine.body))?;
        let bound = self.inline(&routine, &body, &converted)?.ok_or_else(unsupported)?;
        let mut plain = true;
        crate::system::deparse::walk(&bound, &mut |e| plain &= !matches!(e.kind, ExprKind::Query(_)));
        if !plain {
            return Err(self.source.locate(unsupported(), span));
        }
        Ok((bound, routine.strict))
    }
}
