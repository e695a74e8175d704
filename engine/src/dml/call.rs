//! CALL: the statements of a procedure, one after the other, in the caller's transaction.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlparser::ast;

use crate::catalog::RoutineDef;
use crate::error::{Error, Result, SqlState};
use crate::expr_eval::{NoColumns, eval};
use crate::session::Session;
use crate::session::plan::{Plan, object_name};
use crate::session::portal::PortalState;
use crate::sql::{Binder, Parsed, Scope, parse};
use crate::system::deparse::type_name;
use crate::txn::Reads;
use crate::types::{Datum, PgType, TypeOid};

pub fn run<'a>(session: &'a mut Session, call: &'a ast::Function, parsed: &'a Parsed) -> BoxFuture<'a, Result<String>> {
    Box::pin(async move {
        session.begin_statement(Reads::Snapshot).await?;
        let (routine, values) = resolve(session, call, parsed)?;
        session.routines.push(routine.clone());
        let done = execute(session, &routine, values).await;
        session.routines.pop();
        done.map(|()| "CALL".to_owned())
    })
}

fn resolve(session: &mut Session, call: &ast::Function, parsed: &Parsed) -> Result<(Arc<RoutineDef>, Vec<Datum>)> {
    let catalog = session.catalog();
    let environment = session.environment(&catalog);
    let (schema, name) = object_name(&call.name)?;
    let mut binder = Binder::new(environment.clone(), parsed.source.clone(), &[]);
    if let Some(outer) = session.routines.last() {
        return Err(Error::unsupported(format!("CALL inside procedure \"{}\"", outer.name)));
    }
    let list = match &call.args {
        ast::FunctionArguments::List(list) => list.args.as_slice(),
        _ => &[],
    };
    let mut args = Vec::with_capacity(list.len());
    for arg in list {
        let (name, expr) = match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => (None, expr),
            ast::FunctionArg::Named { name, arg: ast::FunctionArgExpr::Expr(expr), .. }
            | ast::FunctionArg::ExprNamed {
                name: ast::Expr::Identifier(name),
                arg: ast::FunctionArgExpr::Expr(expr),
                ..
            } => (Some(crate::session::plan::identifier(name)), expr),
            _ => return Err(Error::unsupported("this argument of CALL")),
        };
        args.push((name, binder.bind_expr(expr, &Scope::default())?, expr));
    }
    let shown = || {
        let types: Vec<String> = args.iter().map(|(_, a, _)| type_name(PgType::from(a.ty.oid))).collect();
        format!("procedure {name}({})", types.join(", "))
    };
    let candidates = catalog.routines_named(schema.as_deref(), &name, &environment.search_path);
    let fits = |routine: &&&Arc<RoutineDef>| {
        let inputs: Vec<_> = routine.inputs().collect();
        let given = |i: usize| {
            args.iter().enumerate().any(|(n, (name, ..))| match name {
                Some(name) => inputs[i].name.as_ref() == Some(name),
                None => n == i,
            })
        };
        args.len() <= inputs.len() && (0..inputs.len()).all(|i| given(i) || inputs[i].default.is_some())
    };
    let Some(routine) = candidates.iter().find(fits).map(|r| Arc::clone(r)) else {
        return Err(Error::new(SqlState::UndefinedFunction, format!("{} does not exist", shown())).hint(
            "No procedure matches the given name and argument types. You might need to add explicit type casts.",
        ));
    };
    if !routine.procedure {
        return Err(Error::new(SqlState::WrongObjectType, format!("{} is not a procedure", routine.signature()))
            .hint("To call a function, use SELECT."));
    }
    let context = session.eval_context();
    let mut values = Vec::new();
    for (i, input) in routine.inputs().enumerate() {
        let given = args.iter().enumerate().find(|(n, (name, ..))| match name {
            Some(name) => input.name.as_ref() == Some(name),
            None => *n == i,
        });
        let to = PgType::from(input.ty.oid);
        let value = match given {
            Some((_, (_, _, expr))) => binder.bind_assignment(expr, &Scope::default(), &routine.name, to)?,
            None => {
                let text = input.default.as_deref().unwrap_or("NULL");
                let (expr, source) = crate::sql::parse::parse_expression(text)?;
                Binder::new(environment.clone(), source, &[]).bind_assignment(
                    &expr,
                    &Scope::default(),
                    &routine.name,
                    to,
                )?
            }
        };
        values.push(eval(&value, &NoColumns, &[], &context)?);
    }
    Ok((routine, values))
}

async fn execute(session: &mut Session, routine: &Arc<RoutineDef>, values: Vec<Datum>) -> Result<()> {
    let params: Arc<[Datum]> = values.into();
    let types: Vec<TypeOid> = routine.input_types();
    for parsed in parse(&routine.body)? {
        let parsed = Arc::new(Parsed { parameters: types.len(), ..parsed });
        let prepared = session.plan(parsed.clone(), types.clone())?;
        match prepared.plan {
            Plan::Empty => {}
            Plan::Utility => {
                return Err(Error::unsupported("transaction control and utility statements in a procedure"));
            }
            Plan::Ddl => {
                Box::pin(super::ddl::run(session, &parsed)).await?;
            }
            _ => {
                let state = Box::pin(session.run_locked(&prepared, &params)).await?;
                if let PortalState::Rows { mut source, .. } = state {
                    while source.next(1024).await?.is_some() {}
                }
            }
        }
    }
    Ok(())
}
