//! The binder: resolves the names and types of one statement as PostgreSQL does.
//!
//! Invariants:
//! 1. An expression that leaves the binder holds no unknown type.
//! 2. A parameter has one type in the whole statement (42P08 otherwise).
//! 3. Errors about a name or an operator carry its position.

use std::sync::{Arc, OnceLock};

use sqlparser::ast;

use crate::catalog::{Catalog, Oid, TableDef};
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::functions::EvalContext;
use crate::session::Column;
use crate::sql::parse::Source;
use crate::sql::rel::{Output, Rel, Scan, SortKey};
use crate::sql::scope::Scope;
use crate::types::{PgType, TypeOid};

/// What names of a statement are resolved against.
#[derive(Clone)]
pub struct Environment {
    pub catalog: Arc<Catalog>,
    /// Schemas in search order, `pg_catalog` included where it stands.
    pub search_path: Arc<[Oid]>,
    /// For text input of constants and `current_user` and the like.
    pub eval: Arc<EvalContext>,
}

/// FOR UPDATE and its weaker forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
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
    /// One per column, then one per lock request.
    pub outputs: Vec<Output>,
    pub simple: Option<SimpleSelect>,
    /// SELECT without FROM, aggregates and subqueries (`SELECT 1`, `SELECT now()`): one row of these.
    pub constant: Option<Vec<ScalarExpr>>,
    /// Tables, views and sequences that were resolved.
    pub reads: Vec<Oid>,
    pub locks: Vec<LockRequest>,
    /// What the general path remembers between executions of a prepared statement.
    pub(crate) cache: OnceLock<Arc<dyn std::any::Any + Send + Sync>>,
}

/// The row set of an UPDATE, DELETE or INSERT … ON CONFLICT: the target's rows joined with FROM/USING and filtered.
#[derive(Debug)]
pub struct Target {
    /// Names for SET, WHERE and RETURNING.
    pub scope: Scope,
    /// Joined and filtered rows; defines `row_id` and the columns of the scope.
    pub rel: Rel,
    pub row_id: ColumnId,
    /// Set when there is no FROM/USING and no subquery: the target's own scan and filter, for the point path.
    pub simple: Option<(Scan, Option<ScalarExpr>)>,
}

/// Binds one statement.
pub struct Binder {
    pub(crate) environment: Environment,
    pub(crate) source: Source,
    pub(crate) params: Vec<Option<TypeOid>>,
    pub(crate) reads: Vec<Oid>,
}

impl Binder {
    /// `param_types`: what the client declared; OID 0 and missing ones are inferred.
    pub fn new(environment: Environment, source: Source, param_types: &[TypeOid]) -> Binder {
        let params = param_types.iter().map(|t| (t.0 != 0).then_some(*t)).collect();
        Binder { environment, source, params, reads: Vec::new() }
    }

    /// SELECT, VALUES, TABLE, with everything around it.
    pub fn bind_query(&mut self, _query: &ast::Query) -> Result<BoundQuery> {
        Err(Error::unsupported("SELECT"))
    }

    /// Like [`Self::bind_query`] with its columns coerced by assignment to `targets` (INSERT … SELECT): unknown
    /// literals and parameters of the query take the target's type. `names` are the target columns, for messages.
    pub fn bind_query_as(&mut self, _query: &ast::Query, _targets: &[(String, PgType)]) -> Result<BoundQuery> {
        Err(Error::unsupported("SELECT"))
    }

    /// Names of one table: for CHECK, DEFAULT (an empty scope does there), RETURNING and ON CONFLICT.
    pub fn table_scope(&mut self, _table: &TableDef, _alias: Option<&str>) -> Scope {
        Scope::default()
    }

    /// The pseudo-relation EXCLUDED beside the target, for ON CONFLICT DO UPDATE.
    pub fn add_relation(&mut self, _scope: &mut Scope, _table: &TableDef, _name: &str) {}

    /// UPDATE and DELETE: the rows to change.
    pub fn bind_target(
        &mut self,
        _table: &TableDef,
        _alias: Option<&ast::TableAlias>,
        _from: &[ast::TableWithJoins],
        _selection: Option<&ast::Expr>,
    ) -> Result<Target> {
        Err(Error::unsupported("UPDATE"))
    }

    /// The target's rows with `expressions` (bound over its scope) computed, as a query that returns
    /// row id, then the expressions. For the general path.
    pub fn target_query(&mut self, _target: Target, _expressions: Vec<ScalarExpr>) -> Result<BoundQuery> {
        Err(Error::unsupported("UPDATE"))
    }

    /// A select list over a scope, as RETURNING has it: `*`, `t.*`, expressions with aliases.
    pub fn bind_returning(&mut self, _items: &[ast::SelectItem], _scope: &Scope) -> Result<Vec<(Column, ScalarExpr)>> {
        Err(Error::unsupported("RETURNING"))
    }

    /// An expression of any type; an unknown one becomes text.
    pub fn bind_expr(&mut self, _expr: &ast::Expr, _scope: &Scope) -> Result<ScalarExpr> {
        Err(Error::unsupported("expressions"))
    }

    /// A boolean (42804 `argument of WHERE must be type boolean, not type integer`).
    pub fn bind_condition(&mut self, _expr: &ast::Expr, _scope: &Scope, _clause: &str) -> Result<ScalarExpr> {
        Err(Error::unsupported("expressions"))
    }

    /// The value for a column: `expr` coerced by assignment.
    pub fn bind_assignment(
        &mut self,
        _expr: &ast::Expr,
        _scope: &Scope,
        _column: &str,
        _to: PgType,
    ) -> Result<ScalarExpr> {
        Err(Error::unsupported("expressions"))
    }

    /// Assignment cast of a bound expression (42804 `column "a" is of type integer but expression is of type text`).
    pub fn coerce_assign(&mut self, _expr: ScalarExpr, _column: &str, _to: PgType) -> Result<ScalarExpr> {
        Err(Error::unsupported("expressions"))
    }

    /// The type that a type name means.
    pub fn bind_type(&mut self, _ty: &ast::DataType) -> Result<PgType> {
        Err(Error::unsupported("types"))
    }

    /// Types of `$1`, `$2`, … (42P18 for one that nothing determined).
    pub fn params(&self) -> Result<Vec<TypeOid>> {
        self.params
            .iter()
            .enumerate()
            .map(|(i, t)| {
                t.ok_or_else(|| {
                    Error::new(
                        crate::SqlState::IndeterminateDatatype,
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
}
