//! Calls of SQL functions: the body is bound where it is called, its parameters being the call's arguments. A body that is
//! one expression becomes part of the expression around it, any other a subquery.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr};
use sqlparser::tokenizer::Span;

use super::expr::query;
use super::query::Bound;
use super::{Binder, fold};
use crate::catalog::{ArgMode, Catalog, RoutineArg, RoutineDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::resolve::{Generics, is_polymorphic};
use crate::functions::{CastContext, find_cast};
use crate::session::Column;
use crate::sql::parse::{Source, parse_expression, parse_query};
use crate::sql::rel::{self, FrameBound, FrameUnits, QueryExpr, Rel, WindowCall};
use crate::sql::rewrite::VARIADIC_MARK;
use crate::sql::scope::{Scope, ScopeColumn};
use crate::types::names::element_of;
use crate::types::{Datum, PgType, TypeOid};

/// Deepest nesting of calls: a function that calls itself has no end here.
const NESTED_MAX: usize = 32;

const NO_FUNCTION: &str =
    "No function matches the given name and argument types. You might need to add explicit type casts.";
const NO_PROCEDURE: &str =
    "No procedure matches the given name and argument types. You might need to add explicit type casts.";

/// What the parameters of the body at hand stand for.
#[derive(Debug, Clone)]
pub struct Frame {
    function: String,
    names: Vec<Option<String>>,
    values: Vec<ScalarExpr>,
    /// Frames around it.
    nested: usize,
    /// The body stands where a call stood: it is no statement of its own.
    pub inlined: bool,
}

impl Frame {
    /// Puts the parameters out of reach.
    pub(super) fn hide(&mut self) {
        self.function.clear();
        self.names.clear();
        self.values.clear();
    }
}

/// A body, bound for its shape.
pub struct RoutineShape {
    pub columns: Vec<(String, PgType)>,
    pub reads: Vec<crate::catalog::Oid>,
}

/// The arguments of a call: positional ones first.
struct Given<'a> {
    name: Option<String>,
    expr: &'a ast::Expr,
}

impl Binder {
    /// The parameters of a routine as parameters of the statement: for CREATE, and for the statements of procedures.
    pub fn with_routine(&mut self, routine: &RoutineDef) {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (i, arg) in routine.inputs().enumerate() {
            if self.params.len() <= i {
                self.params.resize(i + 1, None);
            }
            let ty = self.environment.catalog.base_type(arg.ty).oid;
            self.params[i] = Some(ty);
            names.push(arg.name.clone());
            values.push(ScalarExpr::new(ExprKind::Param(i), PgType::from(ty)));
        }
        self.frame = Some(Frame { function: routine.name.clone(), names, values, nested: 0, inlined: false });
    }

    /// Binds a body on its own.
    pub fn bind_routine(&mut self, body: &ast::Query, routine: &RoutineDef) -> Result<RoutineShape> {
        self.with_routine(routine);
        let bound = self.bind_query(body)?;
        let shape = |c: &Column| (c.name.clone(), c.ty);
        Ok(RoutineShape { columns: bound.columns.iter().map(shape).collect(), reads: bound.reads })
    }

    /// A parameter of the body at hand by its number.
    pub(super) fn frame_parameter(&self, number: usize) -> Option<Result<ScalarExpr>> {
        let frame = self.frame.as_ref()?;
        Some(match number.checked_sub(1).and_then(|i| frame.values.get(i)) {
            Some(value) => Ok(self.shifted(value)),
            None => Err(Error::new(SqlState::UndefinedParameter, format!("there is no parameter ${number}"))),
        })
    }

    /// A parameter of the body at hand by its name, the function's before it or not.
    pub(super) fn frame_name(&self, function: Option<&str>, name: &str) -> Option<ScalarExpr> {
        let frame = self.frame.as_ref()?;
        if function.is_some_and(|f| f != frame.function) {
            return None;
        }
        let at = frame.names.iter().position(|n| n.as_deref() == Some(name))?;
        frame.values.get(at).map(|value| self.shifted(value))
    }

    /// An argument as seen from inside the body, where the call's own query is further out.
    fn shifted(&self, value: &ScalarExpr) -> ScalarExpr {
        fn walk(expr: &mut ScalarExpr, by: usize) {
            if let ExprKind::Column { depth, .. } = &mut expr.kind {
                *depth += by;
            }
            crate::dml::sequence::children(&mut expr.kind).into_iter().for_each(|e| walk(e, by));
        }
        let mut value = value.clone();
        walk(&mut value, self.scopes.len());
        value
    }

    /// The SQL function that a name and arguments mean. `None`: no function has this name.
    pub(super) fn find_routine(
        &mut self,
        parts: &[String],
        args: &[FunctionArg],
        span: Span,
    ) -> Result<Option<(Arc<RoutineDef>, Vec<ScalarExpr>)>> {
        self.find_named_routine(parts, args, false, span)
    }

    fn find_named_routine(
        &mut self,
        parts: &[String],
        args: &[FunctionArg],
        procedure: bool,
        span: Span,
    ) -> Result<Option<(Arc<RoutineDef>, Vec<ScalarExpr>)>> {
        let (schema, name) = match parts {
            [name] => (None, name),
            [schema, name] => (Some(schema.as_str()), name),
            _ => return Ok(None),
        };
        let catalog = self.environment.catalog.clone();
        let candidates: Vec<Arc<RoutineDef>> =
            catalog.routines_named(schema, name, &self.environment.search_path).into_iter().cloned().collect();
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut given = Vec::with_capacity(args.len());
        let mut spread = false;
        for arg in args {
            given.push(match arg {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. }
                | FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), ..
                } if fold(name) == VARIADIC_MARK => {
                    spread = true;
                    Given { name: None, expr }
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Given { name: None, expr },
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    Given { name: Some(fold(name)), expr }
                }
                FunctionArg::ExprNamed {
                    name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), ..
                } => Given { name: Some(fold(name)), expr },
                _ => return Err(self.source.locate(Error::unsupported("this argument of a SQL function"), span)),
            });
        }
        let mut bound = Vec::with_capacity(given.len());
        for g in &given {
            bound.push(self.expr(g.expr)?);
        }
        let mut best: Option<(Arc<RoutineDef>, Fit)> = None;
        let mut ambiguous = false;
        for routine in candidates {
            let Some(fit) = Fit::new(&routine, &given, &bound, spread, &catalog) else { continue };
            match &best {
                Some((_, known)) if known.rank > fit.rank => {}
                Some((other, known)) if known.rank == fit.rank => {
                    ambiguous = other.schema == routine.schema;
                }
                _ => {
                    best = Some((routine, fit));
                    ambiguous = false;
                }
            }
        }
        let types: Vec<String> = bound.iter().map(|a| super::resolve::type_name(PgType::from(a.ty.oid))).collect();
        let signature = || format!("{}({})", parts.join("."), types.join(", "));
        let shown = || format!("{} {}", if procedure { "procedure" } else { "function" }, signature());
        if ambiguous {
            let error =
                Error::new(SqlState::AmbiguousFunction, format!("{} is not unique", shown())).hint(match procedure {
                    true => "Could not choose a best candidate procedure. You might need to add explicit type casts.",
                    false => "Could not choose a best candidate function. You might need to add explicit type casts.",
                });
            return Err(self.source.locate(error, span));
        }
        let Some((routine, fit)) = best else {
            let error = Error::new(SqlState::UndefinedFunction, format!("{} does not exist", shown()))
                .hint(if procedure { NO_PROCEDURE } else { NO_FUNCTION });
            return Err(self.source.locate(error, span));
        };
        if let Some(calls) = &mut self.calls
            && let Err(place) = calls.binary_search(&routine.oid)
        {
            calls.insert(place, routine.oid);
        }
        if routine.procedure != procedure {
            let shown = signature();
            let error = match procedure {
                true => Error::new(SqlState::WrongObjectType, format!("{shown} is not a procedure"))
                    .hint("To call a function, use SELECT."),
                false => Error::new(SqlState::WrongObjectType, format!("{shown} is a procedure"))
                    .hint("To call a procedure, use CALL."),
            };
            return Err(self.source.locate(error, span));
        }
        self.note_call(&routine);
        let routine = fit.settle(routine)?;
        let args = self.routine_args(&routine, &fit.places, bound, span)?;
        Ok(Some((routine, args)))
    }

    /// The procedure that CALL means, and the values of its input arguments.
    pub fn find_procedure(&mut self, call: &ast::Function, span: Span) -> Result<(Arc<RoutineDef>, Vec<ScalarExpr>)> {
        let parts: Vec<String> = call.name.0.iter().filter_map(|part| part.as_ident()).map(fold).collect();
        let args: &[FunctionArg] = match &call.args {
            ast::FunctionArguments::List(list) => &list.args,
            _ => &[],
        };
        if let Some(found) =
            self.in_scope(&Scope::default(), super::Expects::Other(super::subquery::CALL_ARGUMENTS), |b| {
                b.find_named_routine(&parts, args, true, span)
            })?
        {
            return Ok(found);
        }
        let bound = args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self
                .in_scope(&Scope::default(), super::Expects::Other(super::subquery::CALL_ARGUMENTS), |b| b.expr(expr))
                .map(|e| e.ty.oid),
            _ => Err(Error::unsupported("this argument of CALL")),
        });
        let types = bound.collect::<Result<Vec<_>>>()?;
        let shown: Vec<String> = types.iter().map(|ty| super::resolve::type_name(PgType::from(*ty))).collect();
        let shown = format!("{}({})", parts.join("."), shown.join(", "));
        let name = parts.last().map_or("", String::as_str);
        let error = match super::resolve::function(name, &types, false).is_ok() {
            true => Error::new(SqlState::WrongObjectType, format!("{shown} is not a procedure"))
                .hint("To call a function, use SELECT."),
            false => {
                Error::new(SqlState::UndefinedFunction, format!("procedure {shown} does not exist")).hint(NO_PROCEDURE)
            }
        };
        Err(self.source.locate(error, span))
    }

    /// Arguments in the order of the parameters, converted; defaults where none was given.
    fn routine_args(
        &mut self,
        routine: &RoutineDef,
        places: &[Place],
        bound: Vec<ScalarExpr>,
        span: Span,
    ) -> Result<Vec<ScalarExpr>> {
        let mut args = Vec::with_capacity(places.len());
        for (arg, place) in routine.given().zip(places) {
            // What only comes out is not even computed.
            if !arg.mode.is_input() {
                continue;
            }
            let to = PgType::from(self.environment.catalog.base_type(arg.ty).oid);
            let written = match place {
                Place::One(i) => bound.get(*i),
                Place::Default | Place::Rest(_) => None,
            };
            let value = match (written, place) {
                (Some(expr), _) => self.coerce_implicit(expr.clone(), to, span)?,
                (None, Place::Rest(from)) => {
                    let element = element_of(to.oid).ok_or_else(|| Error::internal("a VARIADIC that is no array"))?;
                    let rest = bound.iter().skip(*from).cloned();
                    let rest = rest.map(|e| self.coerce_implicit(e, element.into(), span)).collect::<Result<_>>()?;
                    ScalarExpr::new(ExprKind::Array(rest), to)
                }
                (None, _) => {
                    let text = arg.default.as_deref().unwrap_or("NULL");
                    let (expr, source) = parse_expression(text)?;
                    self.isolated(source, |b| b.bind_assignment(&expr, &Scope::default(), &routine.name, to))?
                }
            };
            args.push(self.as_declared(value, arg.ty)?);
        }
        Ok(args)
    }

    /// Runs `f` inside a body: nothing of the call's surroundings can be named there.
    fn in_body<T>(
        &mut self,
        routine: &RoutineDef,
        args: &[ScalarExpr],
        f: impl FnOnce(&mut Binder) -> Result<T>,
    ) -> Result<T> {
        let nested = self.frame.as_ref().map_or(0, |frame| frame.nested + 1);
        if nested > NESTED_MAX {
            self.too_nested = true;
            return Err(Error::unsupported("SQL functions that call themselves"));
        }
        let frame = Frame {
            function: routine.name.clone(),
            names: routine.inputs().map(|a| a.name.clone()).collect(),
            values: args.to_vec(),
            nested,
            inlined: true,
        };
        let outer = self.frame.replace(frame);
        let (calls, named) = (self.calls.take(), self.named.take());
        // A view's owner reads what the view reads, not what functions in it do.
        let runs_as = self.environment.search_path.user;
        let user = std::mem::replace(&mut self.uses_of.user, runs_as);
        let out = self.isolated(Source::new(&routine.body), f);
        self.uses_of.user = user;
        (self.calls, self.named) = (calls, named);
        self.frame = outer;
        out
    }

    /// A call in an expression. `None`: no function of users has this name.
    pub(super) fn routine_call(
        &mut self,
        parts: &[String],
        args: &[FunctionArg],
        span: Span,
    ) -> Result<Option<ScalarExpr>> {
        let Some((routine, args)) = self.find_routine(parts, args, span)? else { return Ok(None) };
        if routine.returns_set {
            let error =
                Error::unsupported("a set-returning SQL function in an expression").hint("Call it in the FROM clause.");
            return Err(self.source.locate(error, span));
        }
        if routine.runs {
            let (rel, columns) = self.run_of_routine(&routine, args, false, span)?;
            return self.first_of_run(&routine, rel, columns).map(Some);
        }
        let (body, _) = parse_query(query_of(&routine.body))?;
        if let Some(ty) = routine.row_type(&self.environment.catalog) {
            let row = self.routine_row(&routine, &body, &args, ty)?;
            let row = self.as_declared(row, routine.ret)?;
            return Ok(Some(self.unless_null(&routine, &args, row)));
        }
        let value = match self.inline(&routine, &body, &args) {
            Ok(Some(value)) => value,
            // Each level would try both ways.
            Err(error) if self.too_nested => return Err(error),
            _ => self.in_body(&routine, &args, |b| {
                let bound = b.subquery(&body)?;
                let (bound, columns) = b.routine_columns(&routine, bound)?;
                let Some((_, id, ty)) = columns.into_iter().next() else {
                    return Err(Error::internal("a function without a column"));
                };
                let rel = first_row(bound.rel);
                Ok(query(QueryExpr::Scalar { rel: Arc::new(rel), column: id }, ty))
            })?,
        };
        let value = self.as_declared(value, routine.ret)?;
        Ok(Some(self.unless_null(&routine, &args, value)))
    }

    /// The first row that a function returned, as its value.
    fn first_of_run(
        &mut self,
        routine: &RoutineDef,
        rel: Rel,
        columns: Vec<(String, ColumnId, PgType)>,
    ) -> Result<ScalarExpr> {
        let (rel, column, ty) = match (routine.row_type(&self.environment.catalog), columns.as_slice()) {
            (None, [(_, id, ty)]) => (rel, *id, *ty),
            (ty, _) => {
                let ty = ty.unwrap_or(TypeOid::RECORD);
                let names: Arc<[String]> = columns.iter().map(|(name, ..)| name.clone()).collect();
                let fields = columns.into_iter().map(|(_, id, ty)| ScalarExpr::column(id, ty)).collect();
                let row = ScalarExpr::new(ExprKind::Row(fields, (ty == TypeOid::RECORD).then_some(names)), ty);
                let id = self.fresh();
                (rel.project(vec![(id, row)]), id, PgType::from(ty))
            }
        };
        let value = query(QueryExpr::Scalar { rel: Arc::new(first_row(rel)), column }, ty);
        self.as_declared(value, routine.ret)
    }

    /// A value of a function as its declared type demands it.
    fn as_declared(&mut self, value: ScalarExpr, declared: PgType) -> Result<ScalarExpr> {
        let ty = value.ty;
        Ok(match self.domain_of(declared)? {
            Some(rule) => ScalarExpr::new(ExprKind::Domain { arg: Box::new(value), rule }, ty),
            None => value,
        })
    }

    /// The first row of a body as one value.
    fn routine_row(
        &mut self,
        routine: &RoutineDef,
        body: &ast::Query,
        args: &[ScalarExpr],
        ty: TypeOid,
    ) -> Result<ScalarExpr> {
        self.in_body(routine, args, |b| {
            let mut bound = b.subquery(body)?;
            let id = if b.is_whole_row(routine, &bound, ty) {
                b.routine_whole_row(routine, &mut bound, ty)?
            } else {
                let (rows, columns) = b.routine_columns(routine, bound)?;
                bound = rows;
                let names: Arc<[String]> = columns.iter().map(|(name, ..)| name.clone()).collect();
                let fields = columns.into_iter().map(|(_, id, ty)| ScalarExpr::column(id, ty)).collect();
                let row = ExprKind::Row(fields, (ty == TypeOid::RECORD).then_some(names));
                let id = b.fresh();
                bound.rel = first_row(bound.rel).project(vec![(id, ScalarExpr::new(row, ty))]);
                id
            };
            let rel = Arc::new(first_row(bound.rel));
            Ok(query(QueryExpr::Scalar { rel, column: id }, ty.into()))
        })
    }

    /// Whether the one column of a body is the row that the function returns.
    fn is_whole_row(&self, routine: &RoutineDef, bound: &Bound, ty: TypeOid) -> bool {
        let [column] = bound.columns.as_slice() else { return false };
        let is = column.ty.oid;
        ty != TypeOid::RECORD
            && (is == ty || matches!(is, TypeOid::RECORD | TypeOid::UNKNOWN) && routine.columns.len() != 1)
    }

    /// The column of a body that is the row itself, as one of the type.
    fn routine_whole_row(&mut self, routine: &RoutineDef, bound: &mut Bound, ty: TypeOid) -> Result<ColumnId> {
        let column = bound.columns.first().map(|c| (c.id, c.ty.oid));
        let (id, is) = column.ok_or_else(|| Error::internal("a body without a column"))?;
        if is == ty {
            return Ok(id);
        }
        let to = PgType::from(ty);
        let mut rel = std::mem::replace(&mut bound.rel, Rel::Unit);
        let done = self.coerce_output(&mut rel, id, to, &mut |b, e| b.coerce_assign(e, &routine.name, to))?;
        bound.rel = rel;
        if done {
            return Ok(id);
        }
        self.project_cast(bound, 0, |b, e| b.coerce_assign(e, &routine.name, to))?;
        Ok(bound.columns.first().map_or(id, |c| c.id))
    }

    /// A body that is one expression. `None`: it is not.
    pub(super) fn inline(
        &mut self,
        routine: &RoutineDef,
        body: &ast::Query,
        args: &[ScalarExpr],
    ) -> Result<Option<ScalarExpr>> {
        let ast::SetExpr::Select(select) = &*body.body else { return Ok(None) };
        let [ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }] =
            select.projection.as_slice()
        else {
            return Ok(None);
        };
        let plain = body.with.is_none()
            && body.order_by.is_none()
            && body.limit_clause.is_none()
            && body.fetch.is_none()
            && body.locks.is_empty()
            && select.from.is_empty()
            && select.selection.is_none()
            && select.having.is_none()
            && select.distinct.is_none();
        if !plain {
            return Ok(None);
        }
        let ty = PgType::from(self.environment.catalog.base_type(routine.ret).oid);
        let bound = self.in_body(routine, args, |b| {
            b.in_scope(&Scope::default(), super::Expects::Other("functions"), |b| {
                // No scope of its own: the expression stands where the call stands.
                let own = b.scopes.pop();
                let bound = b.expr(expr).and_then(|e| b.assign(e, &routine.name, ty, Span::empty()));
                b.scopes.extend(own);
                bound
            })
        })?;
        let mut aggregates = false;
        crate::system::deparse::walk(&bound, &mut |e| {
            if let ExprKind::Query(query) = &e.kind {
                aggregates |= matches!(**query, QueryExpr::Aggregate(_) | QueryExpr::Window(_) | QueryExpr::Series(_));
            }
        });
        Ok((!aggregates).then_some(bound))
    }

    /// STRICT: NULL if an argument is.
    fn unless_null(&self, routine: &RoutineDef, args: &[ScalarExpr], value: ScalarExpr) -> ScalarExpr {
        let Some(null) = any_null(routine, args) else { return value };
        let ty = value.ty;
        let nothing = ScalarExpr::constant(Datum::Null, ty);
        ScalarExpr::new(
            ExprKind::Case { simple: false, whens: vec![(null, nothing)], otherwise: Some(Box::new(value)) },
            ty,
        )
    }

    /// A call in FROM: its rows, and names, ids and types of the columns. `None`: no function of users has this name.
    #[allow(clippy::type_complexity)]
    pub(super) fn routine_rows(
        &mut self,
        parts: &[String],
        args: &[FunctionArg],
        span: Span,
    ) -> Result<Option<(Rel, Vec<(String, ColumnId, PgType)>, Shape)>> {
        let Some((routine, args)) = self.find_routine(parts, args, span)? else { return Ok(None) };
        if routine.runs {
            let (mut rel, columns) = self.run_of_routine(&routine, args, true, span)?;
            if !routine.returns_set {
                rel = first_row(rel);
            }
            let shape = self.shape_of(&routine);
            return Ok(Some((rel, columns, shape)));
        }
        let (body, _) = parse_query(query_of(&routine.body))?;
        let (mut rel, columns) = self.in_body(&routine, &args, |b| {
            let bound = b.subquery(&body)?;
            let (bound, columns) = b.routine_columns(&routine, bound)?;
            Ok((bound.rel, columns))
        })?;
        if !routine.returns_set {
            rel = first_row(rel);
        }
        if let Some(null) = any_null(&routine, &args) {
            // One level further out than the call's own query, as the body is.
            let predicate = ScalarExpr::new(ExprKind::Not(Box::new(null)), TypeOid::BOOL);
            rel = Rel::Filter { input: Box::new(rel), predicate };
        }
        let shape = self.shape_of(&routine);
        Ok(Some((rel, columns, shape)))
    }

    fn shape_of(&self, routine: &RoutineDef) -> Shape {
        let row = routine.row_type(&self.environment.catalog).is_some();
        Shape { scalar: routine.columns.len() == 1 && !row, named: routine.outputs().count() > 0 }
    }

    /// Rows with their numbers, in the order in which they come.
    fn numbered(&mut self, input: Rel) -> Result<(Rel, ColumnId)> {
        let function = crate::functions::registry().lookup("row_number").first().cloned();
        let call = WindowCall {
            function: function.ok_or_else(|| Error::internal("row_number is not in the registry"))?,
            aggregate: false,
            args: Vec::new(),
            filter: None,
            partition_by: Vec::new(),
            order_by: Vec::new(),
            frame: rel::Frame {
                units: FrameUnits::Rows,
                start: FrameBound::UnboundedPreceding,
                end: FrameBound::UnboundedFollowing,
                exclude: rel::Exclusion::NoOthers,
                computed: None,
            },
            ty: TypeOid::INT8.into(),
        };
        let id = self.fresh();
        Ok((Rel::Window { input: Box::new(input), calls: vec![(id, call)] }, id))
    }

    /// The rows of a SQL function as an item of FROM.
    pub(super) fn routine_factor(
        &mut self,
        mut rel: Rel,
        mut names: Vec<(String, ColumnId, PgType)>,
        shape: Shape,
        function: &str,
        (ordinality, alias): (bool, Option<&ast::TableAlias>),
    ) -> Result<(Rel, Scope, bool)> {
        let shown = alias.map_or_else(|| function.to_owned(), |a| fold(&a.name));
        if shape.scalar
            && !shape.named
            && let Some(alias) = alias
            && let Some(first) = names.first_mut()
        {
            first.0 = fold(&alias.name);
        }
        if ordinality {
            let (numbered, id) = self.numbered(rel)?;
            rel = numbered;
            names.push(("ordinality".to_owned(), id, TypeOid::INT8.into()));
        }
        let columns = names
            .into_iter()
            .map(|(name, id, ty)| ScopeColumn { name, id, ty, table: 0, attribute: 0, visible: true })
            .collect();
        let mut scope = self.relation_scope(shown, None, columns, alias)?;
        for relation in &mut scope.relations {
            relation.scalar = shape.scalar && !ordinality;
        }
        let lateral = rel.is_correlated();
        Ok((rel, scope, lateral))
    }

    /// The columns that the declaration promises, converted.
    #[allow(clippy::type_complexity)]
    fn routine_columns(
        &mut self,
        routine: &RoutineDef,
        mut bound: Bound,
    ) -> Result<(Bound, Vec<(String, ColumnId, PgType)>)> {
        let mut columns = Vec::with_capacity(bound.columns.len());
        if let Some(ty) = routine.row_type(&self.environment.catalog)
            && self.is_whole_row(routine, &bound, ty)
        {
            let id = self.routine_whole_row(routine, &mut bound, ty)?;
            let row = self.as_declared(ScalarExpr::column(id, ty), routine.ret)?;
            let fields = self.composite_fields(&row).ok_or_else(|| Error::internal("a row type without fields"))?;
            let mut projected = Vec::with_capacity(fields.len());
            for (name, field) in fields {
                let id = self.fresh();
                columns.push((name, id, field.ty));
                projected.push((id, field));
            }
            bound.rel = bound.rel.project(projected);
            return Ok((bound, columns));
        }
        // Rows of any kind, of a body that was not looked at before.
        let declares_none = routine.columns.is_empty() && routine.ret.oid == TypeOid::RECORD;
        if declares_none {
            columns.extend(bound.columns.iter().map(|c| (c.name.clone(), c.id, c.ty)));
            return Ok((bound, columns));
        }
        if routine.columns.len() != bound.columns.len() {
            return Err(Error::new(
                SqlState::InvalidFunctionDefinition,
                format!("function \"{}\" returns other columns than it was declared with", routine.name),
            ));
        }
        // Columns of a named type have its lengths and scales; those of a declaration have none.
        let of_type =
            routine.row_type(&self.environment.catalog).and_then(|ty| self.environment.catalog.attributes_of(ty));
        for (i, (name, ty)) in routine.columns.iter().enumerate() {
            let to = of_type.as_ref().and_then(|of_type| of_type.get(i)).map_or(PgType::from(ty.oid), |(_, ty)| *ty);
            let same = bound.columns.get(i).is_some_and(|c| c.ty.oid == to.oid && (c.ty == to || to.typmod < 0));
            if !same {
                self.project_cast(&mut bound, i, |b, e| b.coerce_assign(e, name, to))?;
            }
            if let Some(column) = bound.columns.get(i) {
                columns.push((name.clone(), column.id, column.ty));
            }
        }
        Ok((bound, columns))
    }
}

/// What the rows of a function are in FROM.
pub(super) struct Shape {
    /// Values of one column, not rows.
    pub scalar: bool,
    /// The declaration names the columns.
    pub named: bool,
}

/// A body without the semicolon that may end it.
pub(super) fn query_of(body: &str) -> &str {
    body.trim_end().trim_end_matches(';')
}

fn first_row(rel: Rel) -> Rel {
    let one = ScalarExpr::constant(Datum::Int8(1), TypeOid::INT8);
    Rel::Limit { input: Box::new(rel), offset: None, count: Some(one), with_ties: false }
}

/// Whether an argument of a STRICT function is NULL; `None`: it is not STRICT.
fn any_null(routine: &RoutineDef, args: &[ScalarExpr]) -> Option<ScalarExpr> {
    if !routine.strict || args.is_empty() {
        return None;
    }
    let null = |arg: &ScalarExpr| {
        ScalarExpr::new(ExprKind::IsNull { arg: Box::new(arg.clone()), negated: false }, TypeOid::BOOL)
    };
    let mut tests: Vec<ScalarExpr> = args.iter().map(null).collect();
    match tests.len() {
        1 => tests.pop(),
        _ => Some(ScalarExpr::new(ExprKind::Or(tests), TypeOid::BOOL)),
    }
}

/// What a parameter gets.
enum Place {
    Default,
    One(usize),
    /// An array of the arguments from here on.
    Rest(usize),
}

/// How the arguments of a call fit a routine.
struct Fit {
    /// How many have the very type of their parameter, and whether none is collected: the largest counts.
    rank: (usize, bool),
    places: Vec<Place>,
    generics: Generics,
}

impl Fit {
    /// `spread`: the last argument was written VARIADIC. `None`: they do not fit.
    fn new(
        routine: &RoutineDef,
        given: &[Given<'_>],
        bound: &[ScalarExpr],
        spread: bool,
        catalog: &Catalog,
    ) -> Option<Fit> {
        let inputs: Vec<&RoutineArg> = routine.given().collect();
        let element = routine.variadic_element();
        if spread && element.is_none() {
            return None;
        }
        let collected = element.filter(|_| !spread && given.len() >= inputs.len());
        let plain = if collected.is_some() { inputs.len() - 1 } else { inputs.len() };
        if given.len() > plain && collected.is_none() {
            return None;
        }
        let mut places: Vec<Place> = inputs.iter().map(|_| Place::Default).collect();
        for (i, g) in given.iter().enumerate().take(plain) {
            let at = match &g.name {
                None => i,
                Some(name) => inputs.iter().position(|a| a.name.as_ref() == Some(name))?,
            };
            // The array itself needs the word.
            if !spread && inputs.get(at)?.mode == ArgMode::Variadic {
                return None;
            }
            let place = places.get_mut(at)?;
            if !matches!(std::mem::replace(place, Place::One(i)), Place::Default) {
                return None;
            }
        }
        if collected.is_some() {
            if given.iter().any(|g| g.name.is_some()) {
                return None;
            }
            *places.last_mut()? = Place::Rest(plain);
        }
        let (mut declared, mut actual) = (Vec::new(), Vec::new());
        for (arg, place) in inputs.iter().zip(&places) {
            match place {
                Place::Default => {
                    arg.default.as_ref()?;
                }
                Place::One(i) => {
                    declared.push(catalog.base_type(arg.ty).oid);
                    actual.push(bound.get(*i)?.ty.oid);
                }
                Place::Rest(from) => {
                    let rest = bound.iter().skip(*from).map(|e| e.ty.oid);
                    actual.extend(rest);
                    declared.resize(actual.len(), collected?);
                }
            }
        }
        let mut exact = 0;
        for (is, to) in actual.iter().zip(&declared) {
            if is == to {
                exact += 1;
            } else if *is != TypeOid::UNKNOWN && !is_polymorphic(*to) {
                find_cast(*is, *to, CastContext::Implicit)?;
            }
        }
        let generics = Generics::solve(&declared, &actual).ok()?;
        Some(Fit { rank: (exact, collected.is_none()), places, generics })
    }

    fn settle(&self, routine: Arc<RoutineDef>) -> Result<Arc<RoutineDef>> {
        settle(routine, &self.generics)
    }
}

/// The routine with the types that a call gives to polymorphic ones (42804).
pub(super) fn settle(routine: Arc<RoutineDef>, generics: &Generics) -> Result<Arc<RoutineDef>> {
    if !routine.is_polymorphic() {
        return Ok(routine);
    }
    let mut settled = (*routine).clone();
    let types = settled.args.iter_mut().map(|a| &mut a.ty);
    let state = settled.aggregate.as_mut().map(|a| &mut a.state);
    let types = types.chain(settled.columns.iter_mut().map(|(_, ty)| ty)).chain([&mut settled.ret]).chain(state);
    for ty in types.filter(|ty| is_polymorphic(ty.oid)) {
        *ty = generics.result(ty.oid)?.into();
    }
    Ok(Arc::new(settled))
}
