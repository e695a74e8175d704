//! Calls: functions, operators, aggregates, window functions, set-returning functions, and the forms that look like
//! functions and are none.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use sqlparser::ast::{self, Expr, FunctionArguments, Spanned};
use sqlparser::tokenizer::Span;

use super::expr::query;
use super::resolve::{self, Kind, Resolution};
use super::select::unkeyed;
use super::{Binder, Expects, fold};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ExprKind, ScalarExpr};
use crate::functions::{Function, registry};
use crate::sql::rel::{Aggregate, Output, QueryExpr, SetCall, SortKey};
use crate::types::{Datum, PgType, TypeOid};

/// Functions that are written without parentheses.
pub(super) fn is_value_function(name: &str) -> bool {
    matches!(
        name,
        "current_date"
            | "current_time"
            | "current_timestamp"
            | "localtime"
            | "localtimestamp"
            | "current_user"
            | "session_user"
            | "user"
            | "current_role"
            | "current_catalog"
            | "current_schema"
    )
}

/// The function that a possibly qualified name means. Those of the information schema are found by their full name only.
pub(super) fn called_name(parts: &[String]) -> Option<&str> {
    let (schema, name) = match parts {
        [name] => ("pg_catalog", name),
        [schema, name] => (schema.as_str(), name),
        _ => return None,
    };
    let home = if name.starts_with("_pg_") { "information_schema" } else { "pg_catalog" };
    (schema == home).then_some(name.as_str())
}

/// `now()` under the names of the keywords, which definitions show again.
static NOW: LazyLock<HashMap<&'static str, Arc<Function>>> = LazyLock::new(|| {
    let names = [
        ("current_date", "CURRENT_DATE"),
        ("current_time", "CURRENT_TIME"),
        ("current_timestamp", "CURRENT_TIMESTAMP"),
        ("localtime", "LOCALTIME"),
        ("localtimestamp", "LOCALTIMESTAMP"),
    ];
    let now = registry().lookup("now").first();
    let named = now
        .into_iter()
        .flat_map(|now| names.map(|(keyword, name)| (keyword, Arc::new(Function { name, ..Function::clone(now) }))));
    named.collect()
});

/// The overloads of `substring` under the name that stands for `SUBSTRING(x FROM a FOR b)`.
static SUBSTRING: LazyLock<HashMap<u32, Arc<Function>>> = LazyLock::new(|| {
    let named = |f: &Arc<Function>| (f.oid, Arc::new(Function { name: "SUBSTRING", ..Function::clone(f) }));
    registry().lookup("substring").iter().map(named).collect()
});

/// A function that was called in SQL's own syntax: definitions show that again.
pub(super) fn with_keywords(function: &Arc<Function>) -> Arc<Function> {
    SUBSTRING.get(&function.oid).unwrap_or(function).clone()
}

/// A call whose last argument was written VARIADIC: of a function that takes any number of anything the array's elements
/// are the arguments, which is done when it runs.
fn spread_last(resolution: Resolution) -> Result<Resolution> {
    let Resolution::Function(mut resolved) = resolution else { return Ok(resolution) };
    match resolved.function.variadic {
        None => {
            let last = resolved.args.last().copied().unwrap_or(TypeOid::ANY);
            if last.element().is_none() {
                return Err(Error::new(SqlState::DatatypeMismatch, "VARIADIC argument must be an array"));
            }
        }
        Some(TypeOid::ANY) => {
            if resolved.args.last().is_none_or(|last| last.element().is_none()) {
                return Err(Error::new(SqlState::DatatypeMismatch, "VARIADIC argument must be an array"));
            }
            let spread = Function { variadic: Some(crate::functions::SPREAD), ..Function::clone(&resolved.function) };
            resolved.function = Arc::new(spread);
        }
        Some(_) => {}
    }
    Ok(Resolution::Function(resolved))
}

impl Binder {
    /// `left op right`, or `op right` when there is no left operand.
    pub(super) fn operator(
        &mut self,
        name: &str,
        left: Option<ScalarExpr>,
        right: ScalarExpr,
        span: Span,
    ) -> Result<ScalarExpr> {
        let resolved = resolve::operator(name, left.as_ref().map(|l| l.ty.oid), right.ty.oid)
            .map_err(|e| self.source.locate(e, span))?;
        let args = left.into_iter().chain([right]).collect();
        self.finish_call(resolved, args, span)
    }

    /// A call of a plain function by name.
    pub(super) fn call(&mut self, name: &str, args: Vec<ScalarExpr>, span: Span) -> Result<ScalarExpr> {
        if let Some(value) = self.value_function(name, &args, span)? {
            return Ok(value);
        }
        // Drivers declare the OUT parameters of {? = call f(?)} as void and leave them in the list.
        let left_out = |a: &ScalarExpr| a.ty.oid == TypeOid::VOID && matches!(a.kind, ExprKind::Param(_));
        let args: Vec<ScalarExpr> = args.into_iter().filter(|a| !left_out(a)).collect();
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        match resolve::function(name, &types, false).map_err(|e| self.source.locate(e, span))? {
            Resolution::Function(resolved) => {
                self.check_created(&resolved, &types, span)?;
                self.note_built_in(&resolved.function);
                self.finish_call(resolved, args, span)
            }
            Resolution::Cast(ty) => self.call_as_cast(args, ty, span),
        }
    }

    fn call_as_cast(&mut self, args: Vec<ScalarExpr>, ty: PgType, span: Span) -> Result<ScalarExpr> {
        let arg = args.into_iter().next().ok_or_else(|| Error::internal("a cast without an argument"))?;
        self.coerce_explicit(arg, ty, span)
    }

    /// CURRENT_DATE and its kin, which are syntax and not in pg_proc.
    fn value_function(&mut self, name: &str, args: &[ScalarExpr], span: Span) -> Result<Option<ScalarExpr>> {
        let ty = match name {
            "current_date" => TypeOid::DATE,
            "current_time" => TypeOid::TIMETZ,
            "current_timestamp" => TypeOid::TIMESTAMPTZ,
            "localtime" => TypeOid::TIME,
            "localtimestamp" => TypeOid::TIMESTAMP,
            "user" | "current_role" => return self.call("current_user", vec![], span).map(Some),
            "current_catalog" => return self.call("current_database", vec![], span).map(Some),
            _ => return Ok(None),
        };
        let typmod = match args.first().map(|a| &a.kind) {
            Some(ExprKind::Const(Datum::Int4(precision))) => (*precision).clamp(0, 6),
            _ => -1,
        };
        let mut now = self.call("now", vec![], span)?;
        if let (ExprKind::Call { function, .. }, Some(named)) = (&mut now.kind, NOW.get(name)) {
            *function = named.clone();
        }
        self.coerce_explicit(now, PgType::new(ty, typmod), span).map(Some)
    }

    /// 42883 for a function of an extension that is not created.
    fn check_created(&self, resolved: &resolve::Resolved, args: &[TypeOid], span: Span) -> Result<()> {
        let function = &resolved.function;
        let Some(extension) = crate::functions::extension::of(function.oid) else { return Ok(()) };
        if self.environment.catalog.extension(extension.name).is_some() {
            return Ok(());
        }
        let shown = crate::functions::resolve::signature(function.name, args);
        let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
        let error = Error::new(SqlState::UndefinedFunction, format!("function {shown} does not exist")).hint(hint);
        Err(self.source.locate(error, span))
    }

    fn finish_call(&mut self, resolved: resolve::Resolved, args: Vec<ScalarExpr>, span: Span) -> Result<ScalarExpr> {
        let ty = resolved.ty;
        let args = self.coerce_call_args(&resolved, args, span)?;
        self.finished_call(resolved.function, args, ty)
    }

    fn finished_call(&mut self, function: Arc<Function>, args: Vec<ScalarExpr>, ty: PgType) -> Result<ScalarExpr> {
        if self.collations.noticed {
            return self.collated_call(function, args, ty);
        }
        let populates = matches!(function.name, "json_populate_record" | "jsonb_populate_record");
        let value = ScalarExpr::new(ExprKind::Call { function, args }, ty);
        if populates { self.as_its_domains_say(value) } else { Ok(value) }
    }

    pub(super) fn coerce_call_args(
        &mut self,
        resolved: &resolve::Resolved,
        args: Vec<ScalarExpr>,
        span: Span,
    ) -> Result<Vec<ScalarExpr>> {
        let mut out = Vec::with_capacity(args.len());
        for (i, arg) in args.into_iter().enumerate() {
            let to = resolved.args.get(i).copied().unwrap_or(TypeOid::ANY);
            // VARIADIC "any" and the like take what they get, an unknown literal as text.
            let arg = if to == TypeOid::ANY {
                self.resolve_unknown(arg)?
            } else {
                self.coerce_implicit(arg, to.into(), span)?
            };
            out.push(arg);
        }
        for (value, ty) in resolved.function.default_args(out.len())? {
            out.push(ScalarExpr::constant(value, ty));
        }
        if resolved.variadic_from < out.len() {
            let rest = out.split_off(resolved.variadic_from);
            let element = rest.first().map_or(TypeOid::TEXT, |e| e.ty.oid);
            let array = element.array().ok_or_else(|| Error::unsupported("VARIADIC of this type"))?;
            out.push(ScalarExpr::new(ExprKind::Array(rest), array));
        }
        Ok(out)
    }

    pub(super) fn function(&mut self, call: &ast::Function, span: Span) -> Result<ScalarExpr> {
        let parts: Vec<String> = call.name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let users = match called_name(&parts) {
            None => true,
            Some(name) => resolve::kind(name).is_none(),
        };
        if users
            && !self.environment.catalog.routines.is_empty()
            && let FunctionArguments::List(list) = &call.args
            && let Some(value) = self.user_aggregate(&parts, call, list, span)?
        {
            return Ok(value);
        }
        if users
            && call.over.is_none()
            && !self.environment.catalog.routines.is_empty()
            && let FunctionArguments::List(list) = &call.args
            && let Some(value) = self.routine_call(&parts, &list.args, span)?
        {
            return Ok(value);
        }
        if users
            && call.over.is_none()
            && self.environment.catalog.has_types()
            && let FunctionArguments::List(list) = &call.args
            && let Some(value) = self.range_constructor(&parts, &list.args, span)?
        {
            return Ok(value);
        }
        let Some(name) = called_name(&parts) else {
            let error =
                Error::new(SqlState::UndefinedFunction, format!("function {}() does not exist", parts.join(".")));
            return Err(self.source.locate(error, span));
        };
        if call.null_treatment.is_some() {
            return Err(Error::unsupported("RESPECT NULLS and IGNORE NULLS"));
        }
        let list = match &call.args {
            FunctionArguments::None => return self.call(name, vec![], span),
            FunctionArguments::Subquery(subquery) if name == "array" => return self.array_subquery(subquery),
            FunctionArguments::Subquery(subquery) if name == "exists" => return self.exists(subquery, span),
            FunctionArguments::Subquery(subquery) => {
                let arg = self.scalar_subquery(subquery, span)?;
                return self.call(name, vec![arg], span);
            }
            FunctionArguments::List(list) => list,
        };
        let arguments = self.arguments(name, &list.args, span)?;
        let (star, variadic, exprs) = (arguments.star, arguments.variadic, arguments.written());
        if name == crate::sql::subscripted::ASSIGN {
            return self.assign_part(&exprs, span);
        }
        let plain = parts.len() == 1 && call.over.is_none();
        if plain && let Some(special) = self.special_form(name, &exprs, span)? {
            return Ok(special);
        }
        let mut order_by = Vec::new();
        for clause in &list.clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => order_by = keys.clone(),
                other => return Err(Error::unsupported(format!("{other} in a call"))),
            }
        }
        let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
        let within = !call.within_group.is_empty();
        // What an aggregate's arguments may hold is decided below; inside, aggregates are refused.
        let outer_aggregates = self.in_aggregate;
        let kind = resolve::kind(name);
        if call.over.is_none() && kind == Some(Kind::Aggregate) {
            self.in_aggregate = true;
        }
        let mut args = match (name, exprs.as_slice()) {
            // The form is a keyword.
            ("normalize", [text, Expr::Identifier(form)]) if form.quote_style.is_none() => {
                self.expr(text).map(|text| vec![text, super::expr::text_constant(&form.value)])
            }
            _ => self.bind_arguments(&arguments.list),
        };
        let set = match (within, &mut args) {
            (true, Ok(args)) => Some(self.ordered_set(name, std::mem::take(args), &call.within_group, span)),
            _ => None,
        };
        self.in_aggregate = outer_aggregates;
        let args = args?;
        if let Some(set) = set {
            let (resolved, args, keys) = set?;
            self.note_built_in(&resolved.function);
            if call.over.is_some() {
                return Err(self.source.locate(super::ordered_set::misused(name, true), span));
            }
            if distinct {
                let error = Error::new(SqlState::SyntaxError, "cannot use DISTINCT with WITHIN GROUP");
                return Err(self.source.locate(error, span));
            }
            let filter = call.filter.as_ref().map(|f| self.boolean(f, "FILTER")).transpose()?;
            return self.aggregate_call(resolved, args, false, keys, filter, span);
        }
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        if let Some(value) = self.value_function(name, &args, span)? {
            return Ok(value);
        }
        let resolution = if star {
            if name != "count" {
                let error = Error::new(
                    SqlState::WrongObjectType,
                    format!("{name}(*) specified, but {name} is not an aggregate function"),
                );
                return Err(self.source.locate(error, span));
            }
            resolve::function("count", &[], false)
        } else {
            resolve::function(name, &types, variadic)
        };
        let resolution = resolution.and_then(|found| if variadic { spread_last(found) } else { Ok(found) });
        let resolved = match resolution.map_err(|e| self.source.locate(e, span))? {
            Resolution::Function(resolved) => resolved,
            Resolution::Cast(ty) => return self.call_as_cast(args, ty, span),
        };
        self.check_created(&resolved, &types, span)?;
        self.note_built_in(&resolved.function);
        if kind != Some(Kind::Aggregate) && call.over.is_none() {
            let what = if distinct {
                Some("DISTINCT")
            } else if !order_by.is_empty() {
                Some("ORDER BY")
            } else if call.filter.is_some() {
                Some("FILTER")
            } else {
                None
            };
            if let Some(what) = what {
                let error = Error::new(
                    SqlState::WrongObjectType,
                    format!("{what} specified, but {name} is not an aggregate function"),
                );
                return Err(self.source.locate(error, span));
            }
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
        if let Some(over) = &call.over {
            let args = self.coerce_call_args(&resolved, args, span)?;
            let refused = match (distinct, order_by.is_empty()) {
                (true, _) => Some("DISTINCT"),
                (false, false) => Some("aggregate ORDER BY"),
                (false, true) => None,
            };
            if let Some(what) = refused {
                let message = format!("{what} is not implemented for window functions");
                return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span));
            }
            return self.window_call(resolved, args, filter, over, span);
        }
        match resolved.kind {
            Kind::Scalar => {
                let ty = resolved.ty;
                if let ("pg_collation_for", [arg]) = (name, args.as_slice()) {
                    return self.collation_for(arg);
                }
                let args = self.coerce_call_args(&resolved, args, span)?;
                self.finished_call(resolved.function, args, ty)
            }
            Kind::Aggregate => {
                if super::ordered_set::is_ordered_set(name) {
                    return Err(self.source.locate(super::ordered_set::misused(name, false), span));
                }
                let mut keys = Vec::new();
                for key in &order_by {
                    keys.push(self.sort_key(key)?);
                }
                let written = args.clone();
                let args = self.coerce_call_args(&resolved, args, span)?;
                let listed = |key: &SortKey| args.iter().chain(&written).any(|arg| arg.same(unkeyed(&key.expr)));
                if let Some(at) = keys.iter().position(|key| distinct && !listed(key)) {
                    let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                    let error = Error::new(SqlState::InvalidColumnReference, message);
                    return Err(self.source.locate(error, order_by.get(at).map_or(span, |key| key.expr.span())));
                }
                self.aggregate_call(resolved, args, distinct, keys, filter, span)
            }
            Kind::Window => {
                let error =
                    Error::new(SqlState::WindowingError, format!("window function {name} requires an OVER clause"));
                Err(self.source.locate(error, span))
            }
            Kind::Set => {
                self.check_set_place(span)?;
                let args = self.coerce_call_args(&resolved, args, span)?;
                if resolved.function.ret == TypeOid::RECORD {
                    return Ok(super::row::row_of(&self.series_row(resolved, args)));
                }
                let call = self.set_call(resolved, args);
                let Some(output) = call.outputs.first() else {
                    return Err(Error::internal("a set-returning function without a column"));
                };
                let ty = output.ty;
                Ok(query(QueryExpr::Series(call), ty))
            }
        }
    }

    /// 0A000 where no row can become several.
    pub(super) fn check_set_place(&self, span: Span) -> Result<()> {
        if self.in_aggregate {
            return Err(self.set_in_call("aggregate", span));
        }
        if matches!(self.expects, Expects::SelectList | Expects::GroupBy | Expects::OrderBy) {
            return Ok(());
        }
        let message = format!("set-returning functions are not allowed in {}", self.expects.clause());
        Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span))
    }

    pub(super) fn set_function(&mut self, name: &str, types: &[TypeOid], span: Span) -> Result<resolve::Resolved> {
        match resolve::function(name, types, false).map_err(|e| self.source.locate(e, span))? {
            Resolution::Function(resolved) => {
                self.note_built_in(&resolved.function);
                Ok(resolved)
            }
            Resolution::Cast(_) => Err(Error::internal("a set-returning cast")),
        }
    }

    pub(super) fn set_call(&mut self, resolved: resolve::Resolved, args: Vec<ScalarExpr>) -> SetCall {
        let outputs: Vec<Output> =
            resolve::set_columns(&resolved).into_iter().map(|(_, ty)| Output { id: self.fresh(), ty }).collect();
        self.note_rows(&args, &outputs);
        SetCall { function: resolved.function, args, outputs }
    }

    /// COALESCE and its kin: syntax with a function's look.
    fn special_form(&mut self, name: &str, args: &[&Expr], span: Span) -> Result<Option<ScalarExpr>> {
        let what = match name {
            "coalesce" => "COALESCE",
            "greatest" => "GREATEST",
            "least" => "LEAST",
            "nullif" => {
                let [left, right] = args else {
                    return Err(self.syntax_at(")", span));
                };
                return self.null_if(left, right, span).map(Some);
            }
            "row" => {
                let mut items = Vec::with_capacity(args.len());
                for arg in args {
                    for item in self.spread(std::slice::from_ref(*arg))?.iter() {
                        items.push(self.known(item)?);
                    }
                }
                return Ok(Some(ScalarExpr::new(ExprKind::Row(items, None), TypeOid::RECORD)));
            }
            "grouping" => return self.grouping_call(args, span).map(Some),
            _ => return Ok(None),
        };
        let mut items = Vec::new();
        for arg in args {
            items.push((self.expr(arg)?, arg.span()));
        }
        if items.is_empty() {
            return Err(self.syntax_at(")", span));
        }
        let (items, ty) = self.unify(items, what, span)?;
        if name != "coalesce" && crate::types::names::is_unordered(ty.oid) {
            let name = resolve::type_name(ty);
            let message = format!("could not identify a comparison function for type {name}");
            return Err(Error::new(SqlState::UndefinedFunction, message));
        }
        match name {
            "coalesce" => Ok(Some(ScalarExpr::new(ExprKind::Coalesce(items), ty))),
            "greatest" => self.extreme(items, ty, ExprKind::Greatest).map(Some),
            _ => self.extreme(items, ty, ExprKind::Least).map(Some),
        }
    }

    fn null_if(&mut self, left: &Expr, right: &Expr, span: Span) -> Result<ScalarExpr> {
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let equals = self.operator("=", Some(left.clone()), right, span)?;
        if is_key(&equals) {
            let ty = left.ty;
            let null = ScalarExpr::constant(Datum::Null, ty);
            let kind = ExprKind::Case { simple: false, whens: vec![(equals, null)], otherwise: Some(Box::new(left)) };
            return Ok(ScalarExpr::new(kind, ty));
        }
        let ExprKind::Call { function, args } = equals.kind else {
            return Err(Error::internal("equality is not a call"));
        };
        let mut args = args.into_iter();
        let (Some(l), Some(r)) = (args.next(), args.next()) else {
            return Err(Error::internal("equality without operands"));
        };
        // The result keeps the first argument's type when the comparison did not change it.
        let ty = if left.ty.oid == l.ty.oid { left.ty } else { l.ty };
        Ok(ScalarExpr::new(ExprKind::NullIf { left: Box::new(l), right: Box::new(r), equals: function }, ty))
    }

    pub(super) fn aggregate_call(
        &mut self,
        resolved: resolve::Resolved,
        args: Vec<ScalarExpr>,
        distinct: bool,
        order_by: Vec<SortKey>,
        filter: Option<ScalarExpr>,
        span: Span,
    ) -> Result<ScalarExpr> {
        if distinct {
            args.iter().try_for_each(|arg| self.check_distinct(arg.ty, span))?;
        }
        self.check_aggregate_parts(args.iter().chain(order_by.iter().map(|key| &key.expr)), span)?;
        let mut named = std::collections::HashSet::new();
        let parts = args.iter().chain(order_by.iter().map(|key| &key.expr)).chain(&filter);
        parts.for_each(|part| part.free_columns(&mut named));
        let outer = self.outer_owner(&named);
        match outer {
            Some((depth, _)) => self.check_outer_aggregate(depth, span)?,
            None => self.check_aggregate_place(self.expects, self.in_aggregate, span)?,
        }
        let owner = self.scopes.iter().rev().nth(outer.map_or(0, |(depth, _)| depth));
        if owner.is_some_and(|scope| scope.relations.iter().any(|r| r.recursive)) {
            let message = "aggregate functions are not allowed in a recursive query's recursive term";
            return Err(self.source.locate(Error::new(SqlState::InvalidRecursion, message), span));
        }
        let ty = resolved.ty;
        let aggregate = Aggregate { function: resolved.function, args, distinct, order_by, filter, ty };
        let call = self.collated_aggregate(aggregate)?;
        match outer {
            Some((depth, of)) => self.leave_to_outer(call, depth, of),
            None => Ok(call),
        }
    }

    /// Neither window functions nor functions that return rows stand in an aggregate.
    fn check_aggregate_parts<'a>(&self, mut parts: impl Iterator<Item = &'a ScalarExpr>, span: Span) -> Result<()> {
        match parts.find_map(holds_set_or_window) {
            Some(Kind::Window) => Err(self.window_in_aggregate(span)),
            Some(_) => Err(self.set_in_call("aggregate", span)),
            None => Ok(()),
        }
    }

    pub(super) fn window_in_aggregate(&self, span: Span) -> Error {
        let message = "aggregate function calls cannot contain window function calls";
        self.source.locate(Error::new(SqlState::GroupingError, message), span)
    }

    /// 0A000 for a call of a set-returning function within a call of another kind.
    pub(super) fn set_in_call(&self, kind: &str, span: Span) -> Error {
        let message = format!("{kind} function calls cannot contain set-returning function calls");
        let error = Error::new(SqlState::FeatureNotSupported, message)
            .hint("You might be able to move the set-returning function into a LATERAL FROM item.");
        self.source.locate(error, span)
    }

    pub(super) fn sort_key(&mut self, key: &ast::OrderByExpr) -> Result<SortKey> {
        let expr = self.known(&key.expr)?;
        self.make_sort_key(expr, &key.options, key.expr.span())
    }

    pub(super) fn make_sort_key(
        &mut self,
        expr: ScalarExpr,
        options: &ast::OrderByOptions,
        span: Span,
    ) -> Result<SortKey> {
        self.check_sortable(expr.ty, span)?;
        let expr = self.ordered(expr, span)?;
        let descending = options.asc == Some(false);
        Ok(SortKey { expr, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
    }

    /// 42883 for a type without an order.
    pub(super) fn check_sortable(&self, ty: PgType, span: Span) -> Result<()> {
        if crate::types::names::is_unordered(ty.oid) || ty.oid == TypeOid::ACLITEM {
            let error = Error::new(
                SqlState::UndefinedFunction,
                format!("could not identify an ordering operator for type {}", resolve::type_name(ty)),
            )
            .hint("Use an explicit ordering operator or modify the query.");
            return Err(self.source.locate(error, span));
        }
        Ok(())
    }
}

/// Whether a window call or a set-returning one is somewhere in an expression.
pub(super) fn holds_set_or_window(expr: &ScalarExpr) -> Option<Kind> {
    let own = match &expr.kind {
        ExprKind::Query(query) => match &**query {
            QueryExpr::Window(_) => Some(Kind::Window),
            QueryExpr::Series(_) => Some(Kind::Set),
            _ => None,
        },
        _ => None,
    };
    own.or_else(|| expr.children().into_iter().find_map(holds_set_or_window))
}

/// A comparison that is one of keys.
fn is_key(comparison: &ScalarExpr) -> bool {
    let ExprKind::Call { args, .. } = &comparison.kind else { return false };
    let key = args.first().map(|a| &a.kind);
    matches!(key, Some(ExprKind::Call { function, .. }) if Arc::ptr_eq(function, &crate::functions::collation::KEY))
}
