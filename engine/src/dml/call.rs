//! CALL: the statements of a procedure, one after the other, in the caller's transaction. Its OUT arguments are a row, which the
//! last statement makes.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlparser::ast::{self, Spanned};

use crate::catalog::{Catalog, RoutineDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::ScalarExpr;
use crate::expr_eval::{NoColumns, eval};
use crate::functions::casts::cast_value;
use crate::session::cursor::batch_rows;
use crate::session::plan::{Plan, Prepared};
use crate::session::portal::{PortalState, RowSource, Tag};
use crate::session::{Column, Row, Rows, Session};
use crate::sql::{Binder, Parsed, Statement, parse};
use crate::txn::Reads;
use crate::types::{Datum, PgType, TypeOid};

/// Deepest nesting of calls.
const NESTED_MAX: usize = 32;

/// The CALL that a statement is.
pub fn of(statement: &Statement) -> Option<&ast::Function> {
    match statement {
        Statement::Sql(statement) => match &**statement {
            ast::Statement::Call(call) => Some(call),
            _ => None,
        },
        _ => None,
    }
}

/// The columns of its row; `None`: it answers none. Settles the types of parameters.
pub fn columns(call: &ast::Function, catalog: &Catalog, binder: &mut Binder) -> Result<Option<Vec<Column>>> {
    let (routine, _) = resolve(call, binder)?;
    let outputs: Vec<Column> = routine
        .outputs()
        .enumerate()
        .map(|(i, arg)| Column {
            name: arg.name.clone().unwrap_or_else(|| format!("column{}", i + 1)),
            ty: catalog.base_type(arg.ty),
            table: 0,
            attribute: 0,
        })
        .collect();
    Ok((!outputs.is_empty()).then_some(outputs))
}

fn resolve(call: &ast::Function, binder: &mut Binder) -> Result<(Arc<RoutineDef>, Vec<ScalarExpr>)> {
    binder.find_procedure(call, call.name.span())
}

pub fn run<'a>(
    session: &'a mut Session,
    call: &'a ast::Function,
    prepared: &'a Prepared,
    params: &'a Arc<[Datum]>,
) -> BoxFuture<'a, Result<PortalState>> {
    Box::pin(async move {
        session.begin_statement(Reads::Snapshot).await?;
        if session.routines.len() >= NESTED_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        let catalog = session.catalog();
        let environment = session.environment(&catalog);
        let mut binder = Binder::new(environment, prepared.parsed.source.clone(), &prepared.parameters);
        if let Some(outer) = session.routines.last() {
            binder.with_routine(outer);
        }
        let (routine, args) = resolve(call, &mut binder)?;
        if !session.routines.is_empty() && routine.outputs().next().is_some() {
            let message = "calling procedures with output arguments is not supported in SQL functions";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        let context = session.eval_context();
        let values = args.iter().map(|arg| eval(arg, &NoColumns, params, &context)).collect::<Result<Vec<_>>>()?;
        session.routines.push(routine.clone());
        let done = execute(session, &routine, values).await;
        session.routines.pop();
        let last = done?;
        let Some(columns) = &prepared.columns else { return Ok(PortalState::Done("CALL".to_owned())) };
        let row = result(&routine, columns, last, session)?;
        Ok(PortalState::Rows { source: RowSource::tuples(row.into_iter().collect()), tag: Tag::Fixed("CALL") })
    })
}

/// The first row of the last statement, with its types, as the OUT arguments. `None`: it made none.
fn result(
    routine: &RoutineDef,
    columns: &[Column],
    last: Option<(Vec<PgType>, Option<Row>)>,
    session: &mut Session,
) -> Result<Option<Row>> {
    let mismatch = |detail: &str| {
        let message = "return type mismatch in function declared to return record";
        Error::new(SqlState::InvalidFunctionDefinition, message)
            .detail(detail)
            .context(format!("SQL function \"{}\" statement 1", routine.name))
    };
    let Some((types, row)) = last else {
        return Err(mismatch("Function's final statement must be SELECT or INSERT/UPDATE/DELETE RETURNING."));
    };
    if types.len() != columns.len() {
        return Err(mismatch(match types.len() > columns.len() {
            true => "Final statement returns too many columns.",
            false => "Final statement returns too few columns.",
        }));
    }
    let Some(row) = row else { return Ok(Some(columns.iter().map(|_| Datum::Null).collect())) };
    let context = session.eval_context();
    let values = row.iter().zip(types).zip(columns);
    let row = values.map(|((value, is), to)| cast_value(value, is, to.ty, false, &context));
    row.collect::<Result<Row>>().map(Some)
}

/// Runs the body; answers the last statement's types and first row if it returned any.
async fn execute(
    session: &mut Session,
    routine: &Arc<RoutineDef>,
    values: Vec<Datum>,
) -> Result<Option<(Vec<PgType>, Option<Row>)>> {
    let params: Arc<[Datum]> = values.into();
    let catalog = session.catalog();
    let types: Vec<TypeOid> = routine.inputs().map(|arg| catalog.base_type(arg.ty).oid).collect();
    let mut last = None;
    for parsed in parse(&routine.body)? {
        let parsed = Arc::new(Parsed { parameters: types.len(), ..parsed });
        let prepared = session.plan(parsed.clone(), types.clone())?;
        last = None;
        match &prepared.plan {
            Plan::Empty => {}
            Plan::Utility => {
                return Err(Error::unsupported("transaction control and utility statements in a procedure"));
            }
            Plan::Ddl => match of(&parsed.statement) {
                Some(call) => {
                    run(session, call, &prepared, &params).await?;
                }
                None => {
                    Box::pin(super::ddl::run(session, &parsed)).await?;
                }
            },
            _ => {
                let state = Box::pin(session.run_locked(&prepared, &params)).await?;
                let columns = prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
                let mut first = None;
                if let PortalState::Rows { mut source, .. } = state {
                    while let Some(rows) = source.next(1024).await? {
                        if first.is_none() {
                            first = match rows {
                                Rows::Batch(batch) => batch_rows(&batch, &columns)?.into_iter().next(),
                                Rows::Tuples(rows) => rows.into_iter().next(),
                            };
                        }
                    }
                }
                if !columns.is_empty() {
                    last = Some((columns.iter().map(|c| c.ty).collect(), first));
                }
            }
        }
    }
    Ok(last)
}
