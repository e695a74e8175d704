//! CALL: the statements of a procedure, one after the other, in the caller's transaction. Its OUT arguments are a row, which the
//! last statement makes. And functions that are run like it before the query that calls them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
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
use crate::sql::bind::RoutineRun;
use crate::sql::{Binder, Parsed, Statement, parse};
use crate::txn::Reads;
use crate::types::{Datum, PgType, TypeOid, record};

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
        binder.check_privileges()?;
        if !session.routines.is_empty() && routine.outputs().next().is_some() {
            let message = "calling procedures with output arguments is not supported in SQL functions";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        if args.iter().any(ScalarExpr::has_subquery) {
            return Err(Error::unsupported("a SQL function that reads rows, in an argument of CALL"));
        }
        let context = session.eval_context();
        let values = args.iter().map(|arg| eval(arg, &NoColumns, params, &context)).collect::<Result<Vec<_>>>()?;
        session.routines.push(routine.clone());
        let done = execute(session, &routine, values, false).await;
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
    last: Option<(Vec<PgType>, Vec<Row>)>,
    session: &mut Session,
) -> Result<Option<Row>> {
    let mismatch = |detail: &str| {
        let message = "return type mismatch in function declared to return record";
        Error::new(SqlState::InvalidFunctionDefinition, message)
            .detail(detail)
            .context(format!("SQL function \"{}\" statement 1", routine.name))
    };
    let Some((types, rows)) = last else {
        return Err(mismatch("Function's final statement must be SELECT or INSERT/UPDATE/DELETE RETURNING."));
    };
    if types.len() != columns.len() {
        return Err(mismatch(match types.len() > columns.len() {
            true => "Final statement returns too many columns.",
            false => "Final statement returns too few columns.",
        }));
    }
    let Some(row) = rows.into_iter().next() else { return Ok(Some(columns.iter().map(|_| Datum::Null).collect())) };
    let context = session.eval_context();
    let values = row.iter().zip(types).zip(columns);
    let row = values.map(|((value, is), to)| cast_value(value, is, to.ty, false, &context));
    row.collect::<Result<Row>>().map(Some)
}

/// The rows of a function that is run before the query that calls it.
pub fn run_function<'a>(
    session: &'a mut Session,
    call: &'a RoutineRun,
    params: &'a Arc<[Datum]>,
) -> BoxFuture<'a, Result<RecordBatch>> {
    Box::pin(async move {
        if session.has_parts() {
            return Err(Error::unsupported("a SQL function that changes rows in a part of WITH"));
        }
        if session.routines.len() >= NESTED_MAX {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        let context = session.eval_context();
        let values = call.args.iter().map(|arg| eval(arg, &NoColumns, params, &context)).collect::<Result<Vec<_>>>()?;
        let routine = &call.routine;
        let mut rows: Vec<Row> = Vec::new();
        if !(routine.strict && values.iter().any(Datum::is_null)) {
            session.routines.push(routine.clone());
            let done = execute(session, routine, values, routine.returns_set).await;
            session.routines.pop();
            let last = done?;
            match routine.ret.oid {
                TypeOid::VOID => rows.push(std::iter::once(Datum::Null).collect()),
                _ => rows = converted(routine, &call.columns, last, session)?,
            }
        }
        crate::dml::parts::rows_batch(&call.columns, &rows)
    })
}

/// Rows of a last statement as the columns that were declared, or the row that one column is.
fn converted(
    routine: &RoutineDef,
    columns: &[PgType],
    last: Option<(Vec<PgType>, Vec<Row>)>,
    session: &mut Session,
) -> Result<Vec<Row>> {
    let Some((types, rows)) = last else { return Ok(Vec::new()) };
    let context = session.eval_context();
    let row_type = routine.row_type(&session.catalog()).filter(|ty| *ty != TypeOid::RECORD);
    if let (Some(row_type), [is]) = (row_type, types.as_slice())
        && (is.oid == row_type || is.oid == TypeOid::RECORD && columns.len() != 1)
    {
        let fields = |row: &Row| {
            let value = cast_value(row.first().unwrap_or(&Datum::Null), *is, row_type.into(), false, &context)?;
            Ok(match value {
                Datum::Bytea(row) => record::decode(&row)?.fields.into_iter().map(|field| field.value).collect(),
                _ => columns.iter().map(|_| Datum::Null).collect(),
            })
        };
        return rows.iter().map(fields).collect();
    }
    if types.len() != columns.len() {
        return Err(width_mismatch(routine, types.len() > columns.len()));
    }
    let convert = |row: Row| {
        let values = row.iter().zip(&types).zip(columns);
        values.map(|((value, is), to)| cast_value(value, *is, *to, false, &context)).collect()
    };
    rows.into_iter().map(convert).collect()
}

fn width_mismatch(routine: &RoutineDef, many: bool) -> Error {
    let ty = crate::system::deparse::type_name(routine.ret);
    let message = format!("return type mismatch in function declared to return {ty}");
    Error::new(SqlState::InvalidFunctionDefinition, message)
        .detail(if many {
            "Final statement returns too many columns."
        } else {
            "Final statement returns too few columns."
        })
        .context(format!("SQL function \"{}\" during startup", routine.name))
}

/// Runs the body; answers the last statement's types and rows if it returned any, the first row alone unless `all` are wanted.
async fn execute(
    session: &mut Session,
    routine: &Arc<RoutineDef>,
    values: Vec<Datum>,
    all: bool,
) -> Result<Option<(Vec<PgType>, Vec<Row>)>> {
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
                    Box::pin(super::ddl::run(session, &parsed, (&types, &params))).await?;
                }
            },
            _ => {
                let state = Box::pin(session.run_locked(&prepared, &params)).await?;
                let columns = prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
                let mut rows: Vec<Row> = Vec::new();
                if let PortalState::Rows { mut source, .. } = state {
                    while let Some(next) = source.next(1024).await? {
                        if all || rows.is_empty() {
                            match next {
                                Rows::Batch(batch) => rows.extend(batch_rows(&batch, &columns)?),
                                Rows::Tuples(next) => rows.extend(next),
                            }
                        }
                    }
                }
                if !all {
                    rows.truncate(1);
                }
                if !columns.is_empty() {
                    last = Some((columns.iter().map(|c| c.ty).collect(), rows));
                }
            }
        }
    }
    Ok(last)
}
