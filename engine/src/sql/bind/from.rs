//! FROM: tables, views, subqueries and functions.

use sqlparser::ast::{self, Spanned, TableFactor, TableWithJoins};
use sqlparser::tokenizer::Span;

use super::column::find_relation;
use super::resolve::{self, Kind};
use super::{Binder, Expects, fold};
use crate::catalog::acl::Rights;
use crate::catalog::{LATER, Relation, TableDef, ViewDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ExprKind, ScalarExpr};
use crate::functions::{self, Function};
use crate::sql::rel::{JoinKind, Output, Rel, Scan, ScanColumn, SetCall};
use crate::sql::rewrite::KEY_MARK;
use crate::sql::rewrite::only;
use crate::sql::scope::{RowsOf, Scope, ScopeColumn, ScopeRelation};
use crate::types::user::UserKind;
use crate::types::{Datum, TypeOid};

/// What a query in FROM is to the query around it, in messages.
const LATERAL_QUERY: &str = "FROM clause of their own query level";

impl Binder {
    /// The whole clause: items side by side. Without any, one row.
    pub(super) fn from(&mut self, items: &[TableWithJoins]) -> Result<(Rel, Scope)> {
        let mut rel = Rel::Unit;
        let mut scope = Scope::default();
        for (i, item) in items.iter().enumerate() {
            let (right, right_scope, lateral) = self.table_with_joins(item, &scope)?;
            rel = if i == 0 {
                right
            } else {
                Rel::Join {
                    left: Box::new(rel),
                    right: Box::new(right),
                    kind: JoinKind::Inner,
                    condition: None,
                    lateral,
                }
            };
            scope = self.combine(scope, right_scope)?;
        }
        Ok((rel, scope))
    }

    pub(super) fn factor(&mut self, factor: &TableFactor, left: &Scope) -> Result<(Rel, Scope, bool)> {
        match factor {
            // What has to wait for the other nodes is gathered like a system relation, before the statement runs.
            TableFactor::Table { name, alias, args: Some(args), with_ordinality: false, .. }
                if args.args.is_empty() && is_check(name) =>
            {
                let (rel, scope) = self.named_relation(name, alias.as_ref())?;
                Ok((rel, scope, false))
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                let args: Vec<_> = args.args.clone();
                self.function_factor(name, &args, *with_ordinality, alias.as_ref(), left, factor.span())
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.function_factor(name, args, *with_ordinality, alias.as_ref(), left, factor.span())
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, .. } => {
                let name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                let args: Vec<_> = array_exprs
                    .iter()
                    .map(|e| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e.clone())))
                    .collect();
                self.function_factor(&name, &args, *with_ordinality, alias.as_ref(), left, factor.span())
            }
            TableFactor::Table { name, alias, args: None, sample, .. } => {
                let (rel, scope) = self.named_relation(name, alias.as_ref())?;
                match sample {
                    None => Ok((rel, scope, false)),
                    Some(
                        ast::TableSampleKind::BeforeTableAlias(sample) | ast::TableSampleKind::AfterTableAlias(sample),
                    ) => {
                        let rel = self.sampled(rel, &scope, sample, factor.span())?;
                        Ok((rel, scope, false))
                    }
                }
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let Some(alias) = alias else {
                    let error = Error::new(SqlState::SyntaxError, "subquery in FROM must have an alias")
                        .hint("For example, FROM (SELECT ...) [AS] foo.");
                    return Err(self.source.locate(error, factor.span()));
                };
                let mut visible = left.clone();
                for relation in &mut visible.relations {
                    relation.lateral_ok &= *lateral;
                }
                if !lateral {
                    visible.merged.clear();
                }
                self.scopes.push(visible);
                let outer = std::mem::replace(&mut self.expects, Expects::Other(LATERAL_QUERY));
                // With clauses of its own it locks its rows by itself.
                if subquery.locks.is_empty() {
                    self.pushed_locks.push(&fold(&alias.name));
                }
                let bound = self.subquery(subquery);
                self.expects = outer;
                self.scopes.pop();
                let mut bound = bound?;
                let locks = std::mem::take(&mut bound.locks);
                self.pushed_locks.leave(bound.columns.first().map(|c| c.id), locks);
                let columns = bound.columns.iter().map(|c| ScopeColumn {
                    name: c.name.clone(),
                    id: c.id,
                    ty: c.ty,
                    table: c.table,
                    attribute: c.attribute,
                    visible: true,
                });
                let scope = self.relation_scope(fold(&alias.name), None, columns.collect(), Some(alias))?;
                let uses_left = *lateral && bound.rel.is_correlated();
                Ok((bound.rel, scope, uses_left))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let (rel, scope, lateral) = self.table_with_joins(table_with_joins, left)?;
                let Some(alias) = alias else {
                    return Ok((rel, scope, lateral));
                };
                let scope = self.relation_scope(fold(&alias.name), None, scope.star, Some(alias))?;
                Ok((rel, scope, lateral))
            }
            _ => Err(self.source.locate(Error::unsupported("this form of table"), factor.span())),
        }
    }

    /// TABLESAMPLE: a row is chosen by a function of its own, whatever the method.
    fn sampled(&mut self, rel: Rel, scope: &Scope, sample: &ast::TableSample, span: Span) -> Result<Rel> {
        let of_table = |r: &ScopeRelation| self.environment.catalog.tables.contains_key(&crate::catalog::Oid(r.table));
        if !scope.relations.iter().all(of_table) {
            let message = "TABLESAMPLE clause can only be applied to tables and materialized views";
            return Err(self.source.locate(Error::new(SqlState::FeatureNotSupported, message), span));
        }
        if !matches!(sample.name, Some(ast::TableSampleMethod::Bernoulli | ast::TableSampleMethod::System)) {
            return Err(Error::unsupported("this form of TABLESAMPLE"));
        }
        let Some(quantity) = &sample.quantity else { return Err(Error::unsupported("this form of TABLESAMPLE")) };
        let empty = Scope::default();
        let number = |b: &mut Binder, expr: &ast::Expr| {
            let to = TypeOid::FLOAT8.into();
            b.in_scope(&empty, Expects::From, |b| {
                let bound = b.expr(expr)?;
                b.coerce_implicit(bound, to, expr.span())
            })
        };
        let share = number(self, &quantity.value)?;
        let seed = match &sample.seed {
            // Each row by a seed of its own.
            None => self.call("random", Vec::new(), span)?,
            Some(seed) => {
                let seed = ast::Expr::Value(seed.value.clone());
                number(self, &seed)?
            }
        };
        let columns = scope.relations.iter().flat_map(|r| &r.columns).map(|c| ScalarExpr::column(c.id, c.ty));
        let args = [share, seed].into_iter().chain(columns).collect();
        let function = functions::row_version::sample();
        Ok(rel.filter(Some(ScalarExpr::new(ExprKind::Call { function, args }, TypeOid::BOOL))))
    }

    /// A scope of one relation, its columns renamed by the alias's list.
    pub(super) fn relation_scope(
        &mut self,
        name: String,
        schema: Option<String>,
        columns: Vec<ScopeColumn>,
        alias: Option<&ast::TableAlias>,
    ) -> Result<Scope> {
        let (later, mut columns): (Vec<_>, Vec<_>) = columns.into_iter().partition(|c| c.name == LATER);
        if let Some(alias) = alias {
            if alias.columns.len() > columns.len() {
                let error = Error::new(
                    SqlState::InvalidColumnReference,
                    format!(
                        "table \"{name}\" has {} columns available but {} columns specified",
                        columns.len(),
                        alias.columns.len()
                    ),
                );
                return Err(self.source.locate(error, alias.name.span));
            }
            for (column, new) in columns.iter_mut().zip(&alias.columns) {
                column.name = fold(&new.name);
            }
        }
        let star = columns.clone();
        let relation = ScopeRelation { schema, later, ..ScopeRelation::new(name, 0, columns) };
        Ok(Scope { relations: vec![relation], merged: vec![], star })
    }

    fn named_relation(&mut self, name: &ast::ObjectName, alias: Option<&ast::TableAlias>) -> Result<(Rel, Scope)> {
        let (name, only) = only::split(name);
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let span = name.span();
        let (schema, table) = match parts.as_slice() {
            [table] => {
                if let Some((rel, columns)) = self.cte_reference(table, span)? {
                    let shown = alias.map_or_else(|| table.clone(), |a| fold(&a.name));
                    let (columns, hidden): (Vec<_>, Vec<_>) = columns.into_iter().partition(|c| c.visible);
                    let mut scope = self.relation_scope(shown, None, columns, alias)?;
                    scope.relations.iter_mut().for_each(|r| r.recursive = matches!(rel, Rel::WorkTable { .. }));
                    scope.merged.extend(hidden);
                    return Ok((rel, scope));
                }
                (None, table)
            }
            [schema, table] => (Some(schema.as_str()), table),
            [database, schema, table] if *database == self.environment.catalog.database.name => {
                (Some(schema.as_str()), table)
            }
            _ => {
                let error = Error::new(
                    SqlState::FeatureNotSupported,
                    format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
                );
                return Err(self.source.locate(error, span));
            }
        };
        let catalog = self.environment.catalog.clone();
        let relation = catalog
            .resolve_relation(schema, table, &self.environment.search_path)
            .map_err(|e| self.source.locate(e, span))?;
        self.reads.push(relation.oid());
        let shown = alias.map_or_else(|| table.clone(), |a| fold(&a.name));
        let in_schema = alias.is_none().then(|| catalog.schema_name(relation.schema()).to_string());
        let mut rows_of = RowsOf::Named;
        let (rel, columns) = match &relation {
            Relation::Table(def) => {
                let (rel, columns, of) = self.family_scan(def, only);
                rows_of = of;
                match of {
                    RowsOf::Named => (self.policed_scan(rel, def)?, columns),
                    _ if self.is_policed_here(def)? => return Err(super::inherited::policed_family()),
                    _ => (rel, columns),
                }
            }
            Relation::View(view) => self.view(view, &shown)?,
            Relation::System(system) => {
                let columns: Vec<(i16, &str, crate::types::PgType)> =
                    system.columns.iter().enumerate().map(|(i, c)| (i as i16 + 1, c.name, c.ty)).collect();
                self.scan_columns(system.oid.0, system.name, &columns, true)
            }
            Relation::Sequence(sequence) => self.sequence_row(sequence.oid),
            Relation::Index(_, index) => {
                let error = Error::new(SqlState::WrongObjectType, format!("cannot open relation \"{}\"", index.name))
                    .detail("This operation is not supported for indexes.");
                return Err(self.source.locate(error, span));
            }
        };
        self.note_relation(&relation, &columns, Rights::SELECT);
        let mut scope = self.relation_scope(shown, in_schema, columns, alias)?;
        for entry in &mut scope.relations {
            entry.table = relation.oid().0;
            entry.real_name = alias.map(|_| table.clone());
            entry.rows_of = rows_of;
        }
        Ok((rel, scope))
    }

    pub(super) fn scan(&mut self, def: &TableDef) -> (Rel, Vec<ScopeColumn>) {
        if self.known_as.is_empty() {
            let columns: Vec<_> = def.live_columns().map(|c| (c.attnum, c.name.as_str(), c.ty)).collect();
            let scan = self.scan_columns(def.oid.0, &def.name, &columns, false);
            self.note_table_collations(def, &scan.1);
            self.note_table_domains(def, &scan.1);
            return scan;
        }
        let known = |c: &crate::catalog::ColumnDef| self.column_known_as(def.oid, c.attnum, &c.name).to_owned();
        let names: Vec<String> = def.live_columns().map(known).collect();
        let columns: Vec<_> = def.live_columns().zip(&names).map(|(c, name)| (c.attnum, name.as_str(), c.ty)).collect();
        let scan = self.scan_columns(def.oid.0, &def.name, &columns, false);
        self.note_table_collations(def, &scan.1);
        self.note_table_domains(def, &scan.1);
        scan
    }

    fn scan_columns(
        &mut self,
        table: u32,
        name: &str,
        columns: &[(i16, &str, crate::types::PgType)],
        system: bool,
    ) -> (Rel, Vec<ScopeColumn>) {
        let scope: Vec<ScopeColumn> = columns
            .iter()
            .map(|(attnum, name, ty)| ScopeColumn {
                name: name.to_string(),
                id: self.fresh(),
                ty: *ty,
                table,
                attribute: *attnum,
                visible: true,
            })
            .collect();
        let scan = Scan {
            table: crate::catalog::Oid(table),
            name: name.to_string(),
            columns: scope
                .iter()
                .map(|c| ScanColumn { attnum: c.attribute, output: Output { id: c.id, ty: c.ty } })
                .collect(),
            row_id: None,
            system,
        };
        (Rel::Scan(scan), scope)
    }

    /// The one row of a sequence.
    fn sequence_row(&mut self, sequence: crate::catalog::Oid) -> (Rel, Vec<ScopeColumn>) {
        let values = [
            ("last_value", sequence_state(SEQUENCE_VALUE, TypeOid::INT8, sequence.0)),
            // Values that are handed out ahead are not counted by a row.
            ("log_cnt", ScalarExpr::constant(Datum::Int8(0), TypeOid::INT8)),
            ("is_called", sequence_state(SEQUENCE_CALLED, TypeOid::BOOL, sequence.0)),
        ];
        let mut columns = Vec::new();
        let mut scope = Vec::new();
        for (attribute, (name, value)) in (1..).zip(values) {
            let (id, ty) = (self.fresh(), value.ty);
            columns.push((id, value));
            scope.push(ScopeColumn { name: name.into(), id, ty, table: sequence.0, attribute, visible: true });
        }
        (Rel::Unit.project(columns), scope)
    }

    /// A view: its query bound anew, in names of its own.
    fn view(&mut self, view: &ViewDef, shown: &str) -> Result<(Rel, Vec<ScopeColumn>)> {
        let (query, source) = crate::sql::parse::parse_query(&view.query)?;
        // Rows of a view that combines others are not locked, which PostgreSQL does not say.
        if !matches!(*query.body, ast::SetExpr::SetOperation { .. }) {
            self.pushed_locks.push(shown);
        }
        let outer = std::mem::replace(&mut self.known_as, view.known_as.as_slice().into());
        let as_user = self.user_of_view(view);
        let user = std::mem::replace(&mut self.uses_of.user, as_user);
        let (calls, relied_on) = (self.calls.take(), std::mem::take(&mut self.relied_on));
        let named = self.named.take();
        let bound = self.isolated(source, |b| b.subquery(&query));
        (self.calls, self.relied_on, self.named) = (calls, relied_on, named);
        self.uses_of.user = user;
        self.known_as = outer;
        let bound = bound?;
        let columns = bound
            .columns
            .iter()
            .zip(&view.columns)
            .enumerate()
            .map(|(i, (c, (name, _)))| ScopeColumn {
                name: self.column_known_as(view.oid, i as i16 + 1, name).to_owned(),
                id: c.id,
                ty: c.ty,
                table: view.oid.0,
                attribute: 0,
                visible: true,
            })
            .enumerate()
            .map(|(i, c)| ScopeColumn { attribute: i as i16 + 1, ..c })
            .collect();
        self.pushed_locks.leave(bound.columns.first().map(|c| c.id), bound.locks);
        let rel = if view.is_barrier() { bound.rel.barrier() } else { bound.rel };
        Ok((rel, columns))
    }

    fn function_factor(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        left: &Scope,
        span: Span,
    ) -> Result<(Rel, Scope, bool)> {
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
        let function = parts.last().cloned().unwrap_or_default();
        if !self.environment.catalog.routines.is_empty() && resolve::kind(&function).is_none() {
            self.scopes.push(left.clone());
            let outer = std::mem::replace(&mut self.expects, Expects::From);
            let bound = self.routine_rows(&parts, args, span);
            self.expects = outer;
            self.scopes.pop();
            if let Some((rel, names, shape)) = bound? {
                return self.routine_factor(rel, names, shape, &function, (ordinality, alias));
            }
        }
        let args: Vec<&ast::Expr> = args
            .iter()
            .map(|a| match a {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) => Ok(e),
                _ => Err(Error::unsupported("this argument of a function in FROM")),
            })
            .collect::<Result<_>>()?;
        if let Some(found) = self.record_columns(&function, &args, (ordinality, alias), left, span)? {
            return Ok(found);
        }
        self.scopes.push(left.clone());
        let outer = std::mem::replace(&mut self.expects, Expects::From);
        let bound = self.function_rows(&function, &args, ordinality, span);
        self.expects = outer;
        self.scopes.pop();
        let (rel, mut names, scalar) = bound?;
        let shown = alias.map_or_else(|| function.clone(), |a| fold(&a.name));
        // An alias of a function with one column names the column too, unless the function does.
        if scalar
            && !resolve::names_columns(&function)
            && let Some(alias) = alias
            && let Some(first) = names.first_mut()
        {
            first.0 = fold(&alias.name);
        }
        let columns = names
            .into_iter()
            .map(|(name, id, ty)| ScopeColumn { name, id, ty, table: 0, attribute: 0, visible: true })
            .collect();
        let mut scope = self.relation_scope(shown, None, columns, alias)?;
        for relation in &mut scope.relations {
            relation.scalar = scalar && !ordinality;
        }
        let lateral = rel.is_correlated();
        Ok((rel, scope, lateral))
    }

    #[allow(clippy::type_complexity)]
    fn function_rows(
        &mut self,
        function: &str,
        args: &[&ast::Expr],
        ordinality: bool,
        span: Span,
    ) -> Result<(Rel, Vec<(String, ColumnId, crate::types::PgType)>, bool)> {
        let mut names = Vec::new();
        let mut calls: Vec<SetCall> = Vec::new();
        let kind = resolve::kind(function);
        let mut rel = Rel::Unit;
        if function == crate::sql::rewrite::ROWS_FROM {
            for arg in args {
                let ast::Expr::Function(inner) = arg else {
                    return Err(self.syntax_at("(", span));
                };
                let parts: Vec<String> = inner.name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
                let name = parts.last().cloned().unwrap_or_default();
                let ast::FunctionArguments::List(list) = &inner.args else {
                    return Err(self.source.locate(Error::unsupported(format!("{name} in ROWS FROM")), span));
                };
                let arguments = self.arguments(&name, &list.args, span)?;
                let written = arguments.written();
                if resolve::kind(&name) != Some(Kind::Set) {
                    return Err(self.source.locate(Error::unsupported(format!("{name} in ROWS FROM")), span));
                }
                let each: Vec<Vec<&ast::Expr>> = match name.as_str() {
                    "unnest" => written.into_iter().map(|e| vec![e]).collect(),
                    _ => vec![written],
                };
                for args in each {
                    let call = self.one_set_call(&name, &args, span)?;
                    names.extend(call.1);
                    calls.push(call.0);
                }
            }
        } else if function == "unnest" && args.len() > 1 {
            for arg in args {
                let call = self.one_set_call(function, &[arg], span)?;
                names.extend(call.1);
                calls.push(call.0);
            }
        } else if kind == Some(Kind::Set) {
            let call = self.one_set_call(function, args, span)?;
            names = call.1;
            calls.push(call.0);
        } else {
            let args = args.iter().map(|a| self.expr(a)).collect::<Result<Vec<_>>>()?;
            let value = if super::function::is_value_function(function) {
                self.call(function, vec![], span)?
            } else {
                self.call(function, args, span)?
            };
            let (id, ty) = (self.fresh(), value.ty);
            names.push((function.to_string(), id, ty));
            rel = rel.project(vec![(id, value)]);
        }
        let composite = match names.as_slice() {
            [(_, id, ty)] if ty.oid.user_scalar() == Some(UserKind::Composite) => {
                self.composite_fields(&ScalarExpr::column(*id, *ty))
            }
            _ => None,
        };
        let scalar = names.len() == 1 && composite.is_none();
        let ordinality = ordinality.then(|| self.fresh());
        if let Some(id) = ordinality {
            names.push(("ordinality".into(), id, TypeOid::INT8.into()));
        }
        if calls.is_empty() {
            if let Some(id) = ordinality
                && let Rel::Project { columns, .. } = &mut rel
            {
                columns.push((id, ScalarExpr::constant(crate::types::Datum::Int8(1), TypeOid::INT8)));
            }
        } else {
            rel = Rel::Series { input: Box::new(rel), calls, ordinality };
        }
        if let Some(fields) = composite {
            // A row in FROM is its columns.
            let own: Vec<_> = fields.into_iter().map(|(name, value)| (name, self.fresh(), value)).collect();
            let last = ordinality.map(|id| (id, ScalarExpr::column(id, crate::types::PgType::from(TypeOid::INT8))));
            let values = own.iter().map(|(_, id, value)| (*id, value.clone())).chain(last).collect();
            names.remove(0);
            names.splice(0..0, own.into_iter().map(|(name, id, value)| (name, id, value.ty)));
            rel = rel.project(values);
        }
        Ok((rel, names, scalar))
    }

    #[allow(clippy::type_complexity)]
    fn one_set_call(
        &mut self,
        function: &str,
        args: &[&ast::Expr],
        span: Span,
    ) -> Result<(SetCall, Vec<(String, ColumnId, crate::types::PgType)>)> {
        let args = args.iter().map(|a| self.expr(a)).collect::<Result<Vec<_>>>()?;
        let types: Vec<TypeOid> = args.iter().map(|a| a.ty.oid).collect();
        let resolved = self.set_function(function, &types, span)?;
        let columns = resolve::set_columns(&resolved);
        let args = self.coerce_call_args(&resolved, args, span)?;
        let call = self.set_call(resolved, args);
        let names = columns.into_iter().zip(&call.outputs).map(|((name, ty), o)| (name, o.id, ty)).collect();
        Ok((call, names))
    }

    /// Relations of a scope that FOR UPDATE OF names.
    pub(super) fn lockable<'a>(
        &self,
        scope: &'a Scope,
        of: Option<&ast::ObjectName>,
    ) -> Result<Vec<&'a ScopeRelation>> {
        let only_mark = |of: &&ast::ObjectName| matches!(of.0.as_slice(), [part] if part.as_ident().is_some_and(|name| name.value == KEY_MARK));
        let Some(of) = of.filter(|of| !only_mark(of)) else {
            return Ok(scope.relations.iter().collect());
        };
        let name = of.0.last().and_then(|p| p.as_ident()).map(fold).unwrap_or_default();
        find_relation(scope, None, &name).map(|r| vec![r]).ok_or_else(|| {
            let error = Error::new(
                SqlState::UndefinedTable,
                format!("relation \"{name}\" in FOR UPDATE clause not found in FROM clause"),
            );
            self.source.locate(error, of.span())
        })
    }
}

fn is_check(name: &ast::ObjectName) -> bool {
    name.0.last().and_then(|part| part.as_ident()).is_some_and(|part| fold(part) == "lockstep_check_divergence")
}

/// What a sequence's columns are read by; not in pg_proc.
pub const SEQUENCE_VALUE: &str = "lockstep_sequence_value";
pub const SEQUENCE_CALLED: &str = "lockstep_sequence_is_called";

fn sequence_state(name: &'static str, ret: TypeOid, sequence: u32) -> ScalarExpr {
    // Numbers that no function of PostgreSQL has.
    let oid = if name == SEQUENCE_VALUE { u32::MAX } else { u32::MAX - 1 };
    let function = Function {
        oid,
        name,
        args: vec![TypeOid::REGCLASS],
        variadic: None,
        defaults: 0,
        ret,
        kind: functions::Kind::Scalar,
        returns_set: false,
        strict: true,
        volatility: functions::Volatility::Volatile,
        symbol: name,
        all_args: vec![],
        arg_modes: vec![],
        arg_names: vec![],
        scalar: None,
        set: None,
    };
    let args = vec![ScalarExpr::constant(Datum::Oid(sequence), TypeOid::REGCLASS)];
    ScalarExpr::new(ExprKind::Call { function: std::sync::Arc::new(function), args }, ret)
}
