//! Expressions that the catalog keeps: DEFAULT and CHECK, bound once to find mistakes and kept as normal text; and their
//! evaluation when existing rows must be checked or filled.

use sqlparser::ast;

use super::DdlContext;
use std::sync::Arc;

use crate::catalog::{Oid, TableDef};
use crate::domain::DomainRule;
use crate::error::{Error, Result, SqlState};
use crate::expr::{ColumnId, ScalarExpr};
use crate::expr_eval::{ColumnSource, NoColumns, eval};
use crate::functions::EvalContext;
use crate::sql::bind::row_security::Policing;
use crate::sql::parse::parse_expression;
use crate::sql::{Binder, Environment, Scope, Source};
use crate::system::deparse;
use crate::txn::Transaction;
use crate::types::user::UserKind;
use crate::types::{Datum, PgType, TypeOid};

/// A binder over the transaction's catalog, for definitions: nothing that it binds reads rows of a table by itself.
pub fn binder(source: Source, tx: &Transaction, context: &DdlContext<'_>) -> Binder {
    let catalog = tx.catalog();
    let search_path = context.path(&catalog);
    let policing = Policing::Unasked;
    Binder::new(Environment { catalog, search_path, eval: context.eval.clone(), policing }, source, &[])
}

/// The type of a column (42704 for a name that is none, 42P16 for one that no column can have).
pub fn column_type(ty: &ast::DataType, column: &str, tx: &Transaction, context: &DdlContext<'_>) -> Result<PgType> {
    let written = binder(context.source.clone(), tx, context).bind_type(ty)?;
    let ty = tx.catalog().base_type(written);
    super::column::check_type(column, ty)?;
    super::privilege::check_type(&tx.catalog(), context.user, written.oid)?;
    Ok(ty)
}

/// The domain that a column's type is, or whose array it is.
pub fn column_domain(ty: &ast::DataType, tx: &Transaction, context: &DdlContext<'_>) -> Result<Option<Oid>> {
    let ty = binder(context.source.clone(), tx, context).bind_type(ty)?;
    Ok((ty.oid.user_kind() == Some(UserKind::Domain)).then_some(Oid(ty.oid.0)))
}

/// A domain's conditions, to be checked against values that are there.
pub fn domain_rule(domain: Oid, tx: &Transaction, context: &DdlContext<'_>) -> Result<Arc<DomainRule>> {
    binder(context.source.clone(), tx, context).domain_rule(domain)
}

/// A condition of a domain in its normal form; VALUE is the column `value`.
pub fn domain_check(
    expr: &ast::Expr,
    base: PgType,
    collation: Option<Oid>,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<String> {
    let mut binder = binder(context.source.clone(), tx, context);
    let scope = binder.value_scope(base, collation);
    let mut bound = binder.bind_condition(expr, &scope, "CHECK")?;
    fix_names(&mut bound, &context.eval)?;
    deparse::stored(&bound, &scope)
}

/// DEFAULT, checked and in normal form. `None`: `DEFAULT NULL`, which is none.
pub fn default(
    expr: &ast::Expr,
    column: &str,
    ty: PgType,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<Option<String>> {
    let mut binder = binder(context.source.clone(), tx, context);
    let mut bound = binder.bind_assignment(expr, &Scope::default(), column, ty).map_err(|e| {
        if e.state() == SqlState::UndefinedColumn {
            return Error::new(SqlState::FeatureNotSupported, "cannot use column reference in DEFAULT expression");
        }
        e
    })?;
    fix_names(&mut bound, &context.eval)?;
    if matches!(bound.kind, crate::expr::ExprKind::Const(Datum::Null)) {
        return Ok(None);
    }
    Ok(Some(deparse::stored(&bound, &Scope::default())?))
}

/// A CHECK condition over a table's columns: its normal form and the columns that it reads.
pub fn check(
    expr: &ast::Expr,
    table: &TableDef,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(String, Vec<i16>)> {
    let mut binder = binder(context.source.clone(), tx, context);
    let scope = binder.table_scope(table, None);
    let mut bound = binder.bind_condition(expr, &scope, "CHECK")?;
    fix_names(&mut bound, &context.eval)?;
    let mut columns = deparse::columns(&bound, &scope);
    columns.sort_unstable();
    columns.dedup();
    Ok((deparse::stored(&bound, &scope)?, columns))
}

/// An expression over a table's columns, bound; `place` as messages name it.
pub fn over_table(
    expr: &ast::Expr,
    table: &TableDef,
    place: &'static str,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(ScalarExpr, Scope)> {
    collated_over_table(expr, table, place, tx, context).map(|(bound, scope, _)| (bound, scope))
}

/// [`over_table`], with the expression's collation if it is not its type's.
pub fn collated_over_table(
    expr: &ast::Expr,
    table: &TableDef,
    place: &'static str,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(ScalarExpr, Scope, Option<Oid>)> {
    let mut binder = binder(context.source.clone(), tx, context).without_parameters();
    let scope = binder.table_scope(table, None);
    binder.set_clause(place);
    let mut bound = binder.bind_expr(expr, &scope)?;
    let collation = binder.collation_of(&bound)?;
    fix_names(&mut bound, &context.eval)?;
    refuse_queries(&bound, place)?;
    Ok((bound, scope, collation))
}

/// A condition over a table's columns, bound.
pub fn condition_over_table(
    expr: &ast::Expr,
    table: &TableDef,
    place: &'static str,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<(ScalarExpr, Scope)> {
    let mut binder = binder(context.source.clone(), tx, context).without_parameters();
    let scope = binder.table_scope(table, None);
    let mut bound = binder.bind_condition(expr, &scope, "WHERE")?;
    fix_names(&mut bound, &context.eval)?;
    refuse_queries(&bound, place)?;
    Ok((bound, scope))
}

pub fn refuse_queries(bound: &ScalarExpr, place: &str) -> Result<()> {
    match crate::dml::insert::has_query(bound) {
        // `index expressions`, `generation expressions`: PostgreSQL says it in the singular.
        true => Err(Error::new(
            SqlState::FeatureNotSupported,
            format!("cannot use subquery in {}", place.strip_suffix('s').unwrap_or(place)),
        )),
        false => Ok(()),
    }
}

/// Columns that a stored expression names.
pub fn names_read(text: &str, table: &TableDef) -> Result<Vec<i16>> {
    struct Idents(Vec<String>);
    impl ast::Visitor for Idents {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &ast::Expr) -> std::ops::ControlFlow<()> {
            if let ast::Expr::Identifier(ident) = expr {
                self.0.push(super::names::ident(ident));
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut idents = Idents(Vec::new());
    let _ = ast::Visit::visit(&parse_expression(text)?.0, &mut idents);
    Ok(table.live_columns().filter(|c| idents.0.contains(&c.name)).map(|c| c.attnum).collect())
}

/// Whether an expression gives the same value for the same columns, whoever computes it and when.
pub fn is_immutable(expr: &ScalarExpr) -> bool {
    use crate::expr::ExprKind;
    use crate::functions::{CastContext, CastPath, Volatility, find_cast};
    fn path_is_immutable(path: &CastPath, from: TypeOid, to: TypeOid) -> bool {
        const STABLE_TEXT: [TypeOid; 6] = [
            TypeOid::DATE,
            TypeOid::TIME,
            TypeOid::TIMESTAMP,
            TypeOid::TIMESTAMPTZ,
            TypeOid::INTERVAL,
            TypeOid::REGCLASS,
        ];
        match path {
            CastPath::Relabel => true,
            CastPath::Function(function) => function.volatility == Volatility::Immutable,
            // Labels may be renamed.
            CastPath::InOut if from.user_kind().is_some() || to.user_kind().is_some() => false,
            CastPath::InOut => !STABLE_TEXT.contains(&from) && !STABLE_TEXT.contains(&to),
            CastPath::Row => false,
            CastPath::Elements(inner) => path_is_immutable(inner, from, to),
        }
    }
    fn own(expr: &ScalarExpr) -> bool {
        match &expr.kind {
            ExprKind::Call { function, .. } => function.volatility == Volatility::Immutable,
            ExprKind::Cast(cast) => {
                let (from, to) = (cast.arg.ty.oid, cast.to.oid);
                from == to
                    || find_cast(from, to, CastContext::Explicit).is_none_or(|path| path_is_immutable(&path, from, to))
            }
            ExprKind::AnyAll { operator, .. } => operator.volatility == Volatility::Immutable,
            ExprKind::NullIf { equals, .. } => equals.volatility == Volatility::Immutable,
            ExprKind::Query(_) => false,
            _ => true,
        }
    }
    let mut all = true;
    deparse::walk(expr, &mut |e| all &= own(e));
    all
}

/// Names in constants of the reg types mean what they mean now: `'q'::regclass` becomes the OID.
fn fix_names(expr: &mut ScalarExpr, context: &EvalContext) -> Result<()> {
    use crate::expr::ExprKind as K;
    const REG: [TypeOid; 5] =
        [TypeOid::REGCLASS, TypeOid::REGTYPE, TypeOid::REGPROC, TypeOid::REGNAMESPACE, TypeOid::REGROLE];
    match &mut expr.kind {
        K::Cast(cast) if REG.contains(&cast.to.oid) && matches!(cast.arg.kind, K::Const(_)) => {
            expr.kind = K::Const(evaluate(expr, context)?);
            Ok(())
        }
        K::Cast(cast) => fix_names(&mut cast.arg, context),
        K::Call { args, .. } | K::And(args) | K::Or(args) | K::Coalesce(args) => {
            args.iter_mut().try_for_each(|a| fix_names(a, context))
        }
        K::Not(arg) => fix_names(arg, context),
        _ => Ok(()),
    }
}

/// A stored expression ready to run on rows of a table, given by attnum - 1.
pub struct RowCheck {
    expr: ScalarExpr,
    scope: Scope,
}

impl RowCheck {
    /// A stored condition of the table.
    pub fn condition(text: &str, table: &TableDef, tx: &Transaction, context: &DdlContext<'_>) -> Result<RowCheck> {
        let (expr, source) = parse_expression(text)?;
        let mut binder = binder(source, tx, context);
        let scope = binder.table_scope(table, None);
        let expr = binder.bind_condition(&expr, &scope, "CHECK")?;
        Ok(RowCheck { expr, scope })
    }

    /// False only where the condition is false: NULL passes.
    pub fn passes(&self, row: &[Datum], eval_context: &EvalContext) -> Result<bool> {
        let value = eval(&self.expr, &TableRow { row, scope: &self.scope }, &[], eval_context)?;
        Ok(value != Datum::Bool(false))
    }
}

/// A stored DEFAULT, bound: to be evaluated once per row.
pub fn bind_default(
    text: &str,
    column: &str,
    ty: PgType,
    tx: &Transaction,
    context: &DdlContext<'_>,
) -> Result<ScalarExpr> {
    let (expr, source) = parse_expression(text)?;
    binder(source, tx, context).bind_assignment(&expr, &Scope::default(), column, ty)
}

/// The value of an expression without columns.
pub fn evaluate(expr: &ScalarExpr, context: &EvalContext) -> Result<Datum> {
    eval(expr, &NoColumns, &[], context)
}

struct TableRow<'a> {
    row: &'a [Datum],
    scope: &'a Scope,
}

impl ColumnSource for TableRow<'_> {
    fn column(&self, id: ColumnId) -> Option<Datum> {
        let attnum = self.scope.attribute_of(id)?;
        self.row.get(usize::try_from(attnum).ok()?.checked_sub(1)?).cloned()
    }
}

/// The value of an expression on a row of the table that `scope` was made for.
pub fn evaluate_on(expr: &ScalarExpr, scope: &Scope, row: &[Datum], context: &EvalContext) -> Result<Datum> {
    eval(expr, &TableRow { row, scope }, &[], context)
}
