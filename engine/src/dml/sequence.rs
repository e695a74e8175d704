//! Calls that only the session can make: sequences, settings, locks, other sessions. They may wait and they have
//! effects, so they are taken out of an expression and made in order before it is evaluated.

use std::sync::Arc;

use super::RowExpr;
use crate::catalog::acl::Rights;
use crate::catalog::{Catalog, Oid, SequenceDef};
use crate::error::{Error, Result, SqlState};
use crate::expr::{Cast, ExprKind, ScalarExpr};
use crate::expr_eval::{ColumnSource, eval};
use crate::functions::{EvalContext, Function, registry};
use crate::session::Session;
use crate::session::identity::check_sequence;
use crate::session::registry::WaitEvent;
use crate::sql::BoundQuery;
use crate::sql::rel::Rel;
use crate::txn::{Advisory, Wait};
use crate::types::{Datum, PgType, TypeOid};

/// A call to be made by the session, with its arguments.
#[derive(Debug, Clone)]
pub struct SessionCall {
    pub function: Arc<Function>,
    args: Vec<ScalarExpr>,
}

impl SessionCall {
    pub fn arguments(&self, row: &dyn ColumnSource, params: &[Datum], context: &EvalContext) -> Result<Vec<Datum>> {
        self.args.iter().map(|a| eval(a, row, params, context)).collect()
    }
}

/// Whether the session makes this call itself.
pub fn is_session_call(function: &Function) -> bool {
    matches!(
        function.name,
        "nextval"
            | "currval"
            | "lastval"
            | "setval"
            | "set_config"
            | "pg_sleep"
            | "lockstep_switchover"
            | "pg_cancel_backend"
            | "pg_terminate_backend"
            | "pg_advisory_lock"
            | "pg_advisory_xact_lock"
            | "pg_advisory_lock_shared"
            | "pg_advisory_xact_lock_shared"
            | "pg_try_advisory_lock"
            | "pg_try_advisory_lock_shared"
            | "pg_try_advisory_xact_lock"
            | "pg_try_advisory_xact_lock_shared"
            | "pg_advisory_unlock"
            | "pg_advisory_unlock_shared"
            | "pg_advisory_unlock_all"
    )
}

/// Replaces the session's calls in `expr` by parameters from `parameters + calls.len()` on. Arguments come first, so
/// that nested calls are made in order.
pub fn extract(expr: &mut ScalarExpr, parameters: usize, calls: &mut Vec<SessionCall>) {
    for child in children(&mut expr.kind) {
        extract(child, parameters, calls);
    }
    let ExprKind::Call { function, args } = &mut expr.kind else { return };
    if is_session_call(function) {
        let call = SessionCall { function: function.clone(), args: std::mem::take(args) };
        expr.kind = ExprKind::Param(parameters + calls.len());
        calls.push(call);
    }
}

/// The direct parts of an expression.
pub fn children(kind: &mut ExprKind) -> Vec<&mut ScalarExpr> {
    match kind {
        ExprKind::Const(_) | ExprKind::Param(_) | ExprKind::Column { .. } | ExprKind::Query(_) => Vec::new(),
        ExprKind::Call { args, .. } => args.iter_mut().collect(),
        ExprKind::Cast(cast) => vec![&mut cast.arg],
        ExprKind::Domain { arg, .. } | ExprKind::Fold { rows: arg, .. } => vec![arg],
        ExprKind::And(list)
        | ExprKind::Or(list)
        | ExprKind::Coalesce(list)
        | ExprKind::Greatest(list)
        | ExprKind::Least(list)
        | ExprKind::Array(list)
        | ExprKind::Row(list, _) => list.iter_mut().collect(),
        ExprKind::Not(arg) | ExprKind::IsNull { arg, .. } | ExprKind::IsBool { arg, .. } => vec![arg],
        ExprKind::IsDistinct { left, right, .. } | ExprKind::NullIf { left, right, .. } => vec![left, right],
        ExprKind::Case { whens, otherwise, .. } => {
            let mut parts: Vec<&mut ScalarExpr> = Vec::new();
            for (when, then) in whens {
                parts.push(when);
                parts.push(then);
            }
            parts.extend(otherwise.as_deref_mut());
            parts
        }
        ExprKind::InList { arg, list, .. } => std::iter::once(&mut **arg).chain(list.iter_mut()).collect(),
        ExprKind::AnyAll { arg, array, .. } => vec![arg, array],
        ExprKind::Subscript { array, index } => vec![array, index],
    }
}

pub fn sequence_of(catalog: &Catalog, arg: &Datum) -> Result<Arc<SequenceDef>> {
    let oid = match arg {
        Datum::Oid(oid) => Oid(*oid),
        Datum::Int4(oid) => Oid(*oid as u32),
        _ => return Err(Error::internal("a sequence is named by its OID")),
    };
    if let Some(sequence) = catalog.sequences.get(&oid) {
        return Ok(sequence.clone());
    }
    match catalog.relation(oid) {
        Some(other) => Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a sequence", other.name()))),
        None => Err(Error::new(SqlState::UndefinedTable, format!("could not open relation with OID {}", oid.0))),
    }
}

/// 22003 for what `setval` may not set.
pub fn check_bounds(sequence: &SequenceDef, value: i64) -> Result<()> {
    if value < sequence.min || value > sequence.max {
        return Err(Error::new(
            SqlState::NumericValueOutOfRange,
            format!(
                "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                sequence.name, sequence.min, sequence.max
            ),
        ));
    }
    Ok(())
}

/// Whether a query calls `setval`.
pub fn sets_sequences(bound: &BoundQuery) -> bool {
    fn called(expr: &ScalarExpr) -> bool {
        expr.any(&|e| {
            matches!(&e.kind, ExprKind::Call { function, .. } if function.name == "setval")
                || e.subquery().is_some_and(|rel| within(rel))
        })
    }
    fn within(rel: &Rel) -> bool {
        rel.expressions().into_iter().any(called) || rel.inputs().into_iter().any(within)
    }
    within(&bound.rel) || bound.locked.iter().any(|first| sets_sequences(&first.query))
}

/// The default of an identity column: `nextval`, as the column's type.
pub fn nextval_expr(sequence: Oid, ty: PgType) -> Option<RowExpr> {
    let function = registry().lookup("nextval").first()?.clone();
    let arg = ScalarExpr::constant(Datum::Oid(sequence.0), TypeOid::REGCLASS);
    // Whoever may insert may have a number.
    let trusted = ScalarExpr::constant(Datum::Bool(true), TypeOid::BOOL);
    let call = ScalarExpr::new(ExprKind::Call { function, args: vec![arg, trusted] }, TypeOid::INT8);
    let cast = Cast { arg: call, to: ty, explicit: false };
    let expr = match ty.oid {
        TypeOid::INT8 => cast.arg,
        _ => ScalarExpr::new(ExprKind::Cast(Box::new(cast)), ty),
    };
    Some(RowExpr::new(expr, &Arc::default(), 0))
}

impl Session {
    /// Makes a call that [`extract`] took out.
    pub(crate) async fn session_call(&mut self, call: &SessionCall, args: Vec<Datum>) -> Result<Datum> {
        let name = call.function.name;
        if call.function.strict && args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        let arg = |i: usize| args.get(i).cloned().unwrap_or(Datum::Null);
        match name {
            "nextval" => {
                self.check_writable("nextval()")?;
                let catalog = self.catalog();
                let sequence = sequence_of(&catalog, &arg(0))?;
                if args.len() == 1 {
                    check_sequence(&catalog, self.user(), &sequence, Rights::USAGE.with(Rights::UPDATE))?;
                }
                self.nextval(&sequence).await
            }
            "currval" => {
                let catalog = self.catalog();
                let sequence = sequence_of(&catalog, &arg(0))?;
                check_sequence(&catalog, self.user(), &sequence, Rights::USAGE.with(Rights::SELECT))?;
                self.sequences.lock().current(Some(&sequence))
            }
            "lastval" => self.sequences.lock().current(None),
            "setval" => {
                self.check_writable("setval()")?;
                let catalog = self.catalog();
                let sequence = sequence_of(&catalog, &arg(0))?;
                check_sequence(&catalog, self.user(), &sequence, Rights::UPDATE)?;
                let called = !matches!(args.get(2), Some(Datum::Bool(false)));
                self.setval(&sequence, integer(&arg(1))?, called).await
            }
            "set_config" => self.set_config(&arg(0), &arg(1), &arg(2)),
            "pg_sleep" => {
                if let Datum::Float8(seconds) = arg(0)
                    && seconds > 0.0
                {
                    let time = std::time::Duration::try_from_secs_f64(seconds.min(1e9)).unwrap_or_default();
                    let _waiting = self.shared.waiting(WaitEvent::Sleep);
                    tokio::time::sleep(time).await;
                }
                Ok(Datum::from(""))
            }
            "lockstep_switchover" => self.switch_over(args.first()).await,
            "pg_cancel_backend" | "pg_terminate_backend" => {
                let process = integer(&arg(0))? as i32;
                if process == self.shared.key.process {
                    return Err(self.shared.interrupt_itself(name == "pg_terminate_backend"));
                }
                match self.engine.sessions().find(process) {
                    Some(other) if name == "pg_cancel_backend" => other.cancel(),
                    Some(other) => other.terminate(),
                    None => {
                        self.warn_no_process(process);
                        return Ok(Datum::Bool(false));
                    }
                }
                Ok(Datum::Bool(true))
            }
            _ => self.advisory(name, &args).await,
        }
    }

    fn warn_no_process(&mut self, process: i32) {
        self.notice(
            crate::error::NoticeLevel::Warning,
            Error::new(SqlState::Warning, format!("PID {process} is not a PostgreSQL server process")),
        );
    }

    async fn nextval(&mut self, sequence: &SequenceDef) -> Result<Datum> {
        let value = self.transaction()?.nextval(sequence).await?;
        self.sequences.lock().remember(sequence.oid, value);
        Ok(Datum::Int8(value))
    }

    pub(crate) async fn setval(&mut self, sequence: &SequenceDef, value: i64, called: bool) -> Result<Datum> {
        check_bounds(sequence, value)?;
        self.transaction()?.setval(sequence, value, called).await?;
        if called {
            self.sequences.lock().set(sequence.oid, value);
        }
        Ok(Datum::Int8(value))
    }

    fn set_config(&mut self, name: &Datum, value: &Datum, local: &Datum) -> Result<Datum> {
        let Datum::Text(name) = name else {
            return Err(Error::new(SqlState::NullValueNotAllowed, "SET requires parameter name"));
        };
        let local = matches!(local, Datum::Bool(true));
        match value {
            _ if matches!(&**name, "role" | "session_authorization") => {
                let to = if let Datum::Text(to) = value { Some(&**to) } else { None };
                self.set_user(name, to, local)?;
            }
            Datum::Text(value) => self.settings.set(name, value, local)?,
            _ => self.settings.reset(name, local)?,
        }
        self.settings_changed();
        Ok(Datum::from(self.settings.show(name)?.as_str()))
    }

    /// Advisory locks: of the transaction (`_xact_`) and of the session.
    async fn advisory(&mut self, name: &str, args: &[Datum]) -> Result<Datum> {
        if name == "pg_advisory_unlock_all" {
            self.advisory.release_all();
            return Ok(Datum::from(""));
        }
        let key = match args {
            [key] => Advisory::Single(integer(key)?),
            [high, low] => Advisory::Pair(integer(high)? as i32, integer(low)? as i32),
            _ => return Err(Error::internal("an advisory lock has one key or two")),
        };
        let shared = name.ends_with("_shared");
        if name.starts_with("pg_advisory_unlock") {
            return Ok(Datum::Bool(self.unlock_advisory(key, shared)));
        }
        let tries = name.contains("_try_");
        let wait = if tries { Wait::SkipLocked } else { Wait::Block };
        let locked = match name.contains("_xact_") {
            true => self.transaction()?.lock_advisory(key, shared, wait).await?,
            false => self.lock_advisory(key, shared, wait).await?,
        };
        Ok(if tries { Datum::Bool(locked) } else { Datum::from("") })
    }
}

fn integer(value: &Datum) -> Result<i64> {
    match value {
        Datum::Int8(n) => Ok(*n),
        Datum::Int4(n) => Ok((*n).into()),
        Datum::Int2(n) => Ok((*n).into()),
        Datum::Oid(n) => Ok((*n).into()),
        _ => Err(Error::internal("an integer argument is of another type")),
    }
}
