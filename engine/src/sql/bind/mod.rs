//! The binder: resolves the names and types of one statement as PostgreSQL does. [`query`](self) binds SELECT, the other
//! files one kind of syntax each.
//!
//! Invariants:
//! 1. An expression that leaves the binder holds no unknown type.
//! 2. A parameter has one type in the whole statement (42P08 otherwise).
//! 3. Errors about a name or an operator carry its position.

pub(crate) mod access;
mod aggregate;
mod arguments;
mod assign_part;
mod blurred;
mod coerce;
pub(crate) mod collation;
pub(crate) mod column;
mod cte;
mod describe;
mod domain;
mod expr;
pub(crate) mod from;
mod function;
mod group;
mod inherited;
mod join;
mod limits;
mod names;
mod natural;
mod ordered_set;
mod outer_aggregate;
pub(crate) mod parts;
mod postponed;
mod pushed_locks;
mod query;
mod range;
mod record_columns;
mod recursion;
mod resolve;
mod routine;
mod routine_run;
mod row;
pub(crate) mod row_security;
mod select;
mod set_routine;
mod subquery;
mod subscript;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod traversal;
pub mod types;
pub mod view_target;
mod window;

pub(crate) use names::expression_name;
pub(crate) use ordered_set::is_ordered_set;

pub use routine_run::RoutineRun;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use sqlparser::ast::{self, Spanned};
use sqlparser::tokenizer::Span;

use crate::catalog::{Catalog, LATER, Oid, SearchPath, TableDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::functions::EvalContext;
use crate::session::Column;
use crate::sql::parse::Source;
use crate::sql::rel::{Output, Rel, Scan, SetCall, SortKey};
use crate::sql::scope::{Scope, ScopeColumn, ScopeRelation};
use crate::types::user::{self, UserTypes};
use crate::types::{PgType, TypeOid};

/// Deepest nesting of expressions and queries.
const MAX_DEPTH: usize = 1000;

/// What names of a statement are resolved against.
#[derive(Clone)]
pub struct Environment {
    pub catalog: Arc<Catalog>,
    pub search_path: SearchPath,
    /// For text input of constants and `current_user` and the like.
    pub eval: Arc<EvalContext>,
    pub policing: row_security::Policing,
}

/// FOR UPDATE and its weaker forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

impl LockStrength {
    /// As the clause is written.
    pub fn clause(self) -> &'static str {
        match self {
            LockStrength::KeyShare => "FOR KEY SHARE",
            LockStrength::Share => "FOR SHARE",
            LockStrength::NoKeyUpdate => "FOR NO KEY UPDATE",
            LockStrength::Update => "FOR UPDATE",
        }
    }
}

/// Rows of `table` that the query returns are to be locked.
#[derive(Debug, Clone)]
pub struct LockRequest {
    pub table: Oid,
    pub strength: LockStrength,
    pub nowait: bool,
    pub skip_locked: bool,
    /// Column of the plan's output, behind `columns`, that holds the row's id.
    pub row_id: usize,
    /// The one that holds the OID of the row's table, where that may be one that inherits from `table`.
    pub row_table: Option<usize>,
}

/// A query over one real table without joins, aggregates, windows, set-returning calls or subqueries: enough for the
/// point path, which needs no plan.
#[derive(Debug, Clone)]
pub struct SimpleSelect {
    /// Maps the ids of the expressions to attribute numbers.
    pub scan: Scan,
    pub filter: Option<ScalarExpr>,
    pub projection: Vec<ScalarExpr>,
    pub order_by: Vec<SortKey>,
    pub limit: Option<ScalarExpr>,
    pub offset: Option<ScalarExpr>,
}

/// A bound query: what it returns and how, in the form that both paths start from.
#[derive(Debug)]
pub struct BoundQuery {
    pub columns: Vec<Column>,
    /// The whole query; its outputs are `outputs`.
    pub rel: Rel,
    /// One per column, then one or two per lock request.
    pub outputs: Vec<Output>,
    pub simple: Option<SimpleSelect>,
    /// SELECT without FROM, aggregates and subqueries (`SELECT 1`, `SELECT now()`): one row of these.
    pub constant: Option<Vec<ScalarExpr>>,
    /// Tables, views and sequences that were resolved.
    pub reads: Vec<Oid>,
    pub locks: Vec<LockRequest>,
    /// Collations of the columns that have another than their type's; `None`: it could not be determined.
    pub collations: Vec<(usize, Option<Oid>)>,
    /// Columns whose type is a domain, or an array over one: plain references to such columns, and casts.
    pub domains: Vec<(usize, Oid)>,
    /// Subqueries that run first, in this order.
    pub locked: Vec<Arc<LockedSubquery>>,
    /// Functions to be run before it.
    pub runs: Vec<Arc<RoutineRun>>,
    /// What the general path remembers between executions of a prepared statement.
    pub(crate) cache: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

impl BoundQuery {
    /// Whether it reads rows that exist only while its statement runs: of other parts of it, or locked ones.
    pub fn scans_transients(&self) -> bool {
        parts::scans_transients(&self.rel)
    }
}

/// FOR UPDATE in a subquery, or a query of WITH with volatile functions: it returns its rows once, locked if it is to, before
/// the query around it, which scans them as a relation of the system.
#[derive(Debug)]
pub struct LockedSubquery {
    /// What the scan names.
    pub table: Oid,
    pub query: BoundQuery,
    /// Counted after rows were locked.
    pub limit: Option<ScalarExpr>,
    pub offset: Option<ScalarExpr>,
}

/// The row set of an UPDATE, DELETE or INSERT … ON CONFLICT: the target's rows joined with FROM/USING and filtered.
#[derive(Debug)]
pub struct Target {
    /// Names for SET, WHERE and RETURNING.
    pub scope: Scope,
    /// Joined and filtered rows; defines `row_id` and the columns of the scope.
    pub rel: Rel,
    pub row_id: ColumnId,
    /// All columns of the table, those included that no view over it shows.
    pub columns: Vec<crate::sql::rel::ScanColumn>,
    /// Set when there is no FROM/USING and no subquery: the target's own scan and filter, for the point path.
    pub simple: Option<(Scan, Option<ScalarExpr>)>,
}

/// Which clause is being bound: decides what it may hold, and names it in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expects {
    SelectList,
    Where,
    Having,
    GroupBy,
    OrderBy,
    On,
    From,
    Values,
    Frame,
    Other(&'static str),
}

impl Expects {
    pub(crate) fn clause(self) -> &'static str {
        match self {
            Expects::SelectList => "SELECT",
            Expects::Where => "WHERE",
            Expects::Having => "HAVING",
            Expects::GroupBy => "GROUP BY",
            Expects::OrderBy => "ORDER BY",
            Expects::On => "JOIN conditions",
            Expects::From => "functions in FROM",
            Expects::Values => "VALUES",
            Expects::Frame => "window ROWS",
            Expects::Other(name) => name,
        }
    }

    fn allows_aggregates(self) -> bool {
        matches!(self, Expects::SelectList | Expects::Having | Expects::OrderBy)
    }

    fn allows_windows(self) -> bool {
        matches!(self, Expects::SelectList | Expects::OrderBy)
    }
}

/// Binds one statement.
pub struct Binder {
    environment: Environment,
    source: Source,
    params: Vec<Option<TypeOid>>,
    /// Where parameters stand that nothing there gives a type.
    untyped: Vec<(usize, Span)>,
    /// Stored texts (views, defaults) have no parameters.
    no_params: bool,
    reads: Vec<Oid>,
    next_column: u32,
    depth: usize,
    /// Innermost last.
    scopes: Vec<Scope>,
    ctes: Vec<cte::CteScope>,
    expects: Expects,
    in_aggregate: bool,
    /// The queries around the one at hand, innermost last.
    enclosing: Vec<outer_aggregate::Enclosing>,
    outer_aggregates: Vec<outer_aggregate::OuterAggregate>,
    in_window: bool,
    /// The type of the column that the expression at hand is assigned to.
    part_target: Option<(PgType, String)>,
    /// Named windows of the query at hand.
    windows: Vec<ast::NamedWindowDefinition>,
    /// Calls of the select list that yield rows of several columns.
    series_fields: Vec<SetCall>,
    /// Columns of subqueries that are rows, with the names and columns of their fields.
    row_columns: HashMap<ColumnId, Vec<(String, ColumnId, PgType)>>,
    /// Set while the text of a query is made.
    described: Option<describe::Described>,
    /// Columns of the query at hand where they were named, for messages about grouping.
    uses: Vec<(ColumnId, Span, String)>,
    /// Set-returning rows, views and CTEs share this counter of work tables.
    next_table: u32,
    /// Names that the view at hand has for columns that were renamed.
    known_as: Arc<[(Oid, i16, String)]>,
    /// Parameters of the SQL function whose body is at hand.
    frame: Option<routine::Frame>,
    /// Bodies stood in bodies more often than is followed.
    too_nested: bool,
    /// A literal, also in the body of a function, may be a moment that passes, as 'now' is one.
    names_moment: bool,
    /// Whether what is being bound is evaluated depends on a condition.
    unsure: bool,
    runs: Vec<Arc<RoutineRun>>,
    locked: Vec<Arc<LockedSubquery>>,
    pushed_locks: pushed_locks::PushedLocks,
    /// Relations of rows that exist only while the statement runs.
    transients: u32,
    /// Columns that stand for expressions: those of views that are changed.
    computed: HashMap<ColumnId, ScalarExpr>,
    /// What the statement does with which relations, for privileges.
    uses_of: access::Uses,
    /// What the statement changes, if policies decide on its rows.
    policed: Option<row_security::PolicedTarget>,
    /// Tables whose policies are being bound and read others.
    policing_of: Vec<Oid>,
    /// Functions of users that the text at hand calls, in order, while somebody wants to know.
    calls: Option<Vec<Oid>>,
    /// Primary keys by which columns of the text at hand follow from its GROUP BY.
    relied_on: Vec<Oid>,
    /// What the NATURAL joins of the text at hand merge, by where in memory they say so, while somebody wants to know.
    naturals: Option<HashMap<usize, Vec<String>>>,
    /// The columns of relations that the text at hand names, while somebody wants to know.
    named: Option<access::Named>,
    collations: collation::Collations,
    /// Columns whose type is a domain, or an array over one.
    domains: HashMap<ColumnId, Oid>,
    /// Unions of families, by their `tableoid`, with the places of their rows where they were asked for.
    families: HashMap<ColumnId, Option<ColumnId>>,
}

impl Binder {
    /// `param_types`: what the client declared; OID 0 and missing ones are inferred.
    pub fn new(mut environment: Environment, source: Source, param_types: &[TypeOid]) -> Binder {
        if !environment.eval.format.types.is_of(&environment.catalog) {
            let mut eval = (*environment.eval).clone();
            eval.format.types = UserTypes::of(&environment.catalog, &environment.search_path);
            environment.eval = Arc::new(eval);
        }
        user::use_names(environment.eval.format.types.clone());
        let known = |t: &TypeOid| (t.0 != 0 && *t != TypeOid::UNKNOWN).then_some(*t);
        let uses_of = access::Uses::of(environment.search_path.user);
        Binder {
            uses_of,
            policed: None,
            policing_of: Vec::new(),
            calls: None,
            relied_on: Vec::new(),
            naturals: None,
            named: None,
            environment,
            source,
            params: param_types.iter().map(known).collect(),
            untyped: Vec::new(),
            no_params: false,
            reads: Vec::new(),
            next_column: 1,
            depth: 0,
            scopes: Vec::new(),
            ctes: Vec::new(),
            expects: Expects::Other("this context"),
            in_aggregate: false,
            enclosing: Vec::new(),
            outer_aggregates: Vec::new(),
            in_window: false,
            part_target: None,
            windows: Vec::new(),
            series_fields: Vec::new(),
            row_columns: HashMap::new(),
            described: None,
            uses: Vec::new(),
            next_table: 0,
            known_as: Arc::from([]),
            frame: None,
            too_nested: false,
            names_moment: false,
            unsure: false,
            locked: Vec::new(),
            pushed_locks: Default::default(),
            runs: Vec::new(),
            transients: 0,
            computed: HashMap::new(),
            collations: Default::default(),
            domains: HashMap::new(),
            families: HashMap::new(),
        }
    }

    /// For texts that were stored earlier (DEFAULT, CHECK): they have no parameters.
    pub fn without_parameters(mut self) -> Binder {
        self.no_params = true;
        self
    }

    /// Names of one table: for CHECK, RETURNING and ON CONFLICT (DEFAULT has an empty scope).
    pub fn table_scope(&mut self, table: &TableDef, alias: Option<&str>) -> Scope {
        let mut scope = Scope::default();
        self.add_relation(&mut scope, table, alias.unwrap_or(&table.name));
        if let (Some(relation), None) = (scope.relations.first_mut(), alias) {
            relation.schema = Some(self.environment.catalog.schema_name(table.schema).to_string());
        }
        scope
    }

    /// Another relation with the table's columns: EXCLUDED beside the target, for ON CONFLICT DO UPDATE. Its columns
    /// are found by qualified names only.
    pub fn add_relation(&mut self, scope: &mut Scope, table: &TableDef, name: &str) {
        let first = scope.relations.is_empty();
        let columns: Vec<ScopeColumn> = table
            .live_columns()
            .map(|c| ScopeColumn {
                name: c.name.clone(),
                id: self.fresh(),
                ty: c.ty,
                table: table.oid.0,
                attribute: c.attnum,
                visible: true,
            })
            .collect();
        self.note_target_columns(table.oid, &columns);
        self.note_table_collations(table, &columns);
        if first {
            self.note_policed(&columns);
            scope.star = columns.clone();
        }
        scope.relations.push(ScopeRelation::new(name.to_string(), table.oid.0, columns));
    }

    /// An expression of any type; an unknown one becomes text.
    pub fn bind_expr(&mut self, expr: &ast::Expr, scope: &Scope) -> Result<ScalarExpr> {
        let expects = self.expects;
        self.in_scope(scope, expects, |b| b.known(expr))
    }

    /// A boolean (42804 `argument of WHERE must be type boolean, not type integer`).
    pub fn bind_condition(&mut self, expr: &ast::Expr, scope: &Scope, clause: &'static str) -> Result<ScalarExpr> {
        self.in_scope(scope, Expects::Other(clause), |b| b.boolean(expr, clause))
    }

    /// The value for a column: `expr` coerced by assignment.
    pub fn bind_assignment(&mut self, expr: &ast::Expr, scope: &Scope, column: &str, to: PgType) -> Result<ScalarExpr> {
        let expects = self.expects;
        let outer = self.part_target.replace((to, column.to_owned()));
        let bound = self.in_scope(scope, expects, |b| {
            let bound = b.expr(expr)?;
            b.assign(bound, column, to, expr.span())
        });
        self.part_target = outer;
        bound
    }

    /// Names the clause for messages: `aggregate functions are not allowed in CHECK constraints`.
    pub fn set_clause(&mut self, clause: &'static str) {
        self.expects = Expects::Other(clause);
    }

    /// Whether the same text, bound again, may mean another moment.
    pub fn names_moment(&self) -> bool {
        self.names_moment
    }

    /// Types of `$1`, `$2`, … (42P18 for one that nothing determined).
    pub fn params(&self) -> Result<Vec<TypeOid>> {
        let settled = |n: &usize| self.params.get(*n).copied().flatten().is_some();
        if let Some((n, span)) = self.untyped.iter().find(|(n, _)| settled(n)) {
            let message = format!("could not determine data type of parameter ${}", n + 1);
            return Err(self.source.locate(Error::new(SqlState::AmbiguousParameter, message), *span));
        }
        self.params
            .iter()
            .enumerate()
            .map(|(i, t)| {
                t.ok_or_else(|| {
                    Error::new(
                        SqlState::IndeterminateDatatype,
                        format!("could not determine data type of parameter ${}", i + 1),
                    )
                })
            })
            .collect()
    }

    /// What was resolved so far.
    pub fn reads(&self) -> &[Oid] {
        &self.reads
    }

    /// Constraints without which the text would not bind: it groups by the columns of a primary key, and names others.
    pub fn relied_on(&self) -> &[Oid] {
        &self.relied_on
    }

    fn fresh(&mut self) -> ColumnId {
        let id = ColumnId(self.next_column);
        self.next_column += 1;
        id
    }

    /// For the text of a view's query: the names that it has for columns that were renamed.
    pub fn know_as(&mut self, view: &crate::catalog::ViewDef) {
        self.known_as = view.known_as.as_slice().into();
    }

    /// The name of a relation's column in the text at hand.
    fn column_known_as<'a>(&'a self, relation: Oid, attnum: i16, name: &'a str) -> &'a str {
        let mut own = self.known_as.iter().filter(|(oid, ..)| *oid == relation);
        match own.clone().find(|(_, number, _)| *number == attnum) {
            Some((.., known)) => known,
            // A later column may have the name that the text means another one by.
            None if own.any(|(.., known)| known == name) => LATER,
            None => name,
        }
    }

    /// Runs `f` with `scope` as the innermost one.
    fn in_scope<T>(&mut self, scope: &Scope, expects: Expects, f: impl FnOnce(&mut Binder) -> Result<T>) -> Result<T> {
        self.scopes.push(scope.clone());
        let outer = std::mem::replace(&mut self.expects, expects);
        let out = f(self);
        self.expects = outer;
        self.scopes.pop();
        out
    }

    /// `error` with the position of `span`, if it has none yet.
    pub fn locate(&self, error: Error, span: Span) -> Error {
        if error.report().position.is_some() { error } else { self.source.locate(error, span) }
    }

    /// Runs `f` on another text, without any of the names around: a view's body.
    fn isolated<T>(&mut self, source: Source, f: impl FnOnce(&mut Binder) -> Result<T>) -> Result<T> {
        let outer_source = std::mem::replace(&mut self.source, source);
        let scopes = std::mem::take(&mut self.scopes);
        let ctes = std::mem::take(&mut self.ctes);
        let no_params = std::mem::replace(&mut self.no_params, true);
        let out = f(self);
        self.source = outer_source;
        self.scopes = scopes;
        self.ctes = ctes;
        self.no_params = no_params;
        out
    }
}

/// A name as PostgreSQL stores it: unquoted ones with ASCII letters in lower case, cut to 63 bytes.
pub fn fold(ident: &ast::Ident) -> String {
    let name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() };
    crate::types::text::truncate_name(&name).to_string()
}

fn too_deep() -> Error {
    Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
        .hint("Simplify the statement: it nests expressions or queries too deeply.")
}

/// Runs one step of a recursion with room on the stack.
fn grow_stack<T>(f: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(128 * 1024, 2 * 1024 * 1024, f)
}
