//! Rewrites of a whole table: a new store is filled with changed rows in the same transaction.

use sqlparser::ast::Expr;

use crate::catalog::{ColumnDef, TableDef};
use crate::ddl::{DdlContext, allocate, constraint, expression, put_table};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::session::Row;
use crate::sql::Scope;
use crate::system::deparse::type_name;
use crate::txn::Transaction;
use crate::types::{Datum, PgType, TypeOid};

/// What USING is, in messages.
const TRANSFORM: &str = "transform expressions";

/// How a column's values become those of its new type.
pub struct Conversion {
    expr: ScalarExpr,
    scope: Scope,
}

impl Conversion {
    /// Over the table as it was: USING, or the column itself under an assignment cast (42804 with a hint).
    pub fn bind(
        table: &TableDef,
        column: &ColumnDef,
        to: PgType,
        using: Option<&Expr>,
        tx: &Transaction,
        context: &DdlContext<'_>,
    ) -> Result<Conversion> {
        let mut binder = expression::binder(context.source.clone(), tx, context);
        let scope = binder.table_scope(table, None);
        binder.set_clause(TRANSFORM);
        let name = Expr::Identifier(sqlparser::ast::Ident::with_quote('"', column.name.clone()));
        let bound = binder.bind_assignment(using.unwrap_or(&name), &scope, &column.name, to);
        let expr = bound.map_err(|e| {
            if e.state() != SqlState::DatatypeMismatch || using.is_some() {
                return e;
            }
            let ty = type_name(to);
            Error::new(
                SqlState::DatatypeMismatch,
                format!("column \"{}\" cannot be cast automatically to type {ty}", column.name),
            )
            .hint(format!("You might need to specify \"USING {}::{ty}\".", column.name))
        })?;
        expression::refuse_queries(&expr, TRANSFORM)?;
        Ok(Conversion { expr, scope })
    }

    /// The values must belong to a domain, too.
    pub fn into_domain(mut self, rule: Option<std::sync::Arc<crate::domain::DomainRule>>) -> Conversion {
        if let Some(rule) = rule.filter(|rule| !rule.is_free()) {
            let ty = self.expr.ty;
            self.expr = ScalarExpr::new(crate::expr::ExprKind::Domain { arg: Box::new(self.expr), rule }, ty);
        }
        self
    }
}

pub async fn with_conversion(
    table: &TableDef,
    attnum: i16,
    conversion: &Conversion,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let slot = slot(attnum)?;
    let not_null = table.columns.get(slot).is_some_and(|c| c.not_null);
    let mut rows = rows(table, tx)?;
    for row in &mut rows {
        let value = expression::evaluate_on(&conversion.expr, &conversion.scope, row, &context.eval)?;
        if value.is_null() && not_null {
            let name = table.columns.get(slot).map_or("", |c| &c.name);
            let message = format!("column \"{name}\" of relation \"{}\" contains null values", table.name);
            return Err(Error::new(SqlState::NotNullViolation, message));
        }
        if let Some(cell) = row.get_mut(slot) {
            *cell = value;
        }
    }
    refill(table, rows, tx).await
}

/// Fills a new generated column.
pub async fn with_generation(
    table: &TableDef,
    attnum: i16,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let column = table.attribute(attnum).ok_or_else(|| Error::internal("a generated column is missing"))?;
    let text = column.default.as_deref().unwrap_or_default();
    let (expr, source) = crate::sql::parse::parse_expression(text)?;
    let mut binder = expression::binder(source, tx, context);
    let scope = binder.table_scope(table, None);
    let expr = binder.bind_assignment(&expr, &scope, &column.name, column.ty)?;
    with_conversion(table, attnum, &Conversion { expr, scope }, tx, context).await
}

/// Fills a new column with a value of its own in every row.
pub async fn with_default(
    table: &TableDef,
    attnum: i16,
    default: &ScalarExpr,
    tx: &mut Transaction,
    context: &mut DdlContext<'_>,
) -> Result<()> {
    let slot = slot(attnum)?;
    let mut rows = rows(table, tx)?;
    for row in &mut rows {
        let value = match sequence_of(default) {
            Some(oid) => {
                let sequence = tx.catalog().sequences.get(&oid).cloned();
                let sequence = sequence.ok_or_else(|| Error::internal("a default without its sequence"))?;
                let value = tx.nextval(&sequence).await?;
                integer(value, table.columns.get(slot).map_or(TypeOid::INT8.into(), |c| c.ty))?
            }
            None => expression::evaluate(default, &context.eval)?,
        };
        if let Some(cell) = row.get_mut(slot) {
            *cell = value;
        }
    }
    refill(table, rows, tx).await
}

/// The sequence of `nextval('…'::regclass)`, through implicit casts.
fn sequence_of(expr: &ScalarExpr) -> Option<crate::catalog::Oid> {
    use crate::expr::ExprKind;
    match &expr.kind {
        ExprKind::Cast(cast) => sequence_of(&cast.arg),
        ExprKind::Call { function, args } if function.name == "nextval" => match args.as_slice() {
            [ScalarExpr { kind: ExprKind::Const(Datum::Oid(oid)), .. }] => Some(crate::catalog::Oid(*oid)),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: i64, ty: PgType) -> Result<Datum> {
    let out_of_range = |_| Error::new(SqlState::NumericValueOutOfRange, format!("{} out of range", type_name(ty)));
    Ok(match ty.oid {
        TypeOid::INT2 => Datum::Int2(i16::try_from(value).map_err(out_of_range)?),
        TypeOid::INT4 => Datum::Int4(i32::try_from(value).map_err(out_of_range)?),
        _ => Datum::Int8(value),
    })
}

fn slot(attnum: i16) -> Result<usize> {
    usize::try_from(attnum - 1).map_err(|_| Error::internal("a column without a number"))
}

fn rows(table: &TableDef, tx: &mut Transaction) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    constraint::for_each_row(table, tx, |row| {
        rows.push(row.iter().cloned().collect());
        Ok(())
    })?;
    Ok(rows)
}

/// Puts the definition under a new storage OID and inserts the rows.
async fn refill(table: &TableDef, rows: Vec<Row>, tx: &mut Transaction) -> Result<()> {
    let storage = allocate(tx)?;
    put_table(tx, TableDef { storage, ..table.clone() })?;
    let stored = tx.table(table.oid).ok_or_else(|| Error::internal("a rewritten table has no store"))?;
    tx.expect_many_writes(&stored).await?;
    for row in rows {
        if let Err(duplicate) = tx.insert(&stored, row).await? {
            let index = table.index(duplicate.index).map_or("", |i| &i.name);
            return Err(Error::new(SqlState::UniqueViolation, format!("could not create unique index \"{index}\"")));
        }
    }
    Ok(())
}
