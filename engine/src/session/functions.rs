//! Functions of expressions that read the session or the catalog: `current_user`, `pg_get_expr`, `'t'::regclass`, … What
//! waits or changes the session (advisory locks, set_config) is not here: the session makes those calls itself.
//!
//! Invariant: what a statement's functions see of the catalog and the settings is one state, that of its start.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::host::StatementHost;
use super::settings::Values;
use super::{Session, TransactionStatus, host};
use crate::catalog::Catalog;
use crate::catalog::Oid;
use crate::catalog::acl::Rights;
use crate::dml::sequence::{check_bounds, sequence_of};
use crate::error::{Error, Result, SqlState};
use crate::functions::{Call, EvalContext, Function, FunctionHost, Kind, Rows, registry};
use crate::system::deparse::quote_ident;
use crate::system::{self, SystemContext};
use crate::types::text::{FormatSettings, NameRegType, RegNames};
use crate::types::user::UserTypes;
use crate::types::{Datum, TypeOid};

/// The context of the last statement, to be used again while what it holds stays the same.
pub struct CachedContext {
    values: Arc<Values>,
    catalog: Arc<Catalog>,
    host: Arc<SessionFunctions>,
    types: UserTypes,
    context: Arc<EvalContext>,
}

impl Session {
    /// TimeZone, DateStyle and the like as the text encoders need them, and the names of the reg types' values; cheap
    /// to clone, changes with SET.
    pub fn format(&self) -> FormatSettings {
        let names = self.context.as_ref().map(|c| c.host.clone() as Arc<dyn NameRegType>);
        // A value that another session added a moment ago has its label in the newest catalog.
        let types = match &self.context {
            Some(c) if !c.catalog.has_types() || Arc::ptr_eq(&c.catalog, &self.catalog()) => c.types.clone(),
            _ => self.user_types(&self.catalog()),
        };
        FormatSettings { reg_names: RegNames(names), types, ..self.settings.values().format.clone() }
    }

    /// A value of a reg type from the name that a client sent for it.
    pub fn read_name(&self, name: &str, ty: TypeOid) -> Result<Datum> {
        let host = Arc::new(SessionFunctions::new(self, self.catalog()));
        let context = EvalContext { format: self.format(), host: Some(host), ..EvalContext::default() };
        crate::functions::casts::input(name, ty.into(), &context)
    }

    /// FunctionCall message: the query that calls the function with this OID, and its parameters' types. 42883 if there
    /// is none, 0A000 for one that is not called like this (an aggregate, say), 25P02 in a failed transaction.
    pub fn function_call(&self, function: u32) -> Result<(String, Vec<u32>)> {
        if self.transaction_status() == TransactionStatus::Failed {
            return Err(super::plan::in_failed_block());
        }
        let catalog = self.catalog();
        let (schema, name, types, plain, variadic) = if let Some(routine) = catalog.routines.get(&Oid(function)) {
            let plain = !routine.procedure && routine.aggregate.is_none() && !routine.returns_set;
            let variadic = routine.variadic_element().is_some();
            (catalog.schema_name(routine.schema), &*routine.name, routine.input_types(), plain, variadic)
        } else if let Some(function) = registry::registry().function(function) {
            let plain = function.kind == Kind::Scalar && !function.returns_set;
            ("pg_catalog", function.name, function.args.clone(), plain, function.variadic.is_some())
        } else {
            let message = format!("function with OID {function} does not exist");
            return Err(Error::new(SqlState::UndefinedFunction, message));
        };
        if !plain {
            return Err(Error::new(
                SqlState::FeatureNotSupported,
                format!("cannot call function \"{name}\" via fastpath interface"),
            ));
        }
        let arguments: Vec<String> =
            (1..=types.len())
                .map(|number| {
                    if variadic && number == types.len() { format!("VARIADIC ${number}") } else { format!("${number}") }
                })
                .collect();
        let sql = format!("SELECT {}.{}({})", quote_ident(schema), quote_ident(name), arguments.join(", "));
        Ok((sql, types.into_iter().map(|ty| ty.0).collect()))
    }

    fn user_types(&self, catalog: &Arc<Catalog>) -> UserTypes {
        let path = catalog.search_path(&self.settings.values().search_path, &self.shared.user);
        UserTypes::of(catalog, &path)
    }

    /// What expressions of the running statement depend on.
    pub(crate) fn eval_context(&mut self) -> Arc<EvalContext> {
        let values = self.settings.values().clone();
        let catalog = self.catalog();
        let query_start = self.shared.activity.lock().query_start;
        let transaction_time = self.transaction_time();
        // The statement that starts a transaction is not older than it.
        let statement_time = query_start.max(transaction_time);
        let cached = self.context.take();
        let (modes, standby) = (self.settings.modes, self.settings.standby);
        let same = cached.filter(|c| {
            let settings = &c.host.session.settings;
            Arc::ptr_eq(&c.values, &values)
                && Arc::ptr_eq(&c.catalog, &catalog)
                && (settings.modes, settings.standby) == (modes, standby)
        });
        let (host, types) = match same {
            Some(cached)
                if cached.context.statement_time == statement_time
                    && cached.context.transaction_time == transaction_time =>
            {
                return self.context.insert(cached).context.clone();
            }
            Some(cached) => (cached.host, cached.types),
            None => (Arc::new(SessionFunctions::new(self, catalog.clone())), self.user_types(&catalog)),
        };
        let context = Arc::new(EvalContext {
            format: FormatSettings {
                types: types.clone(),
                transaction_time: Some(transaction_time),
                ..values.format.clone()
            },
            transaction_time,
            statement_time,
            host: Some(host.clone()),
        });
        self.context = Some(CachedContext { values, catalog, host, types, context: context.clone() });
        context
    }
}

/// See the module.
pub struct SessionFunctions {
    session: host::HostParts,
    catalog: Arc<Catalog>,
    /// Made when the first function asks.
    context: OnceLock<SystemContext>,
}

impl fmt::Debug for SessionFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFunctions")
    }
}

impl SessionFunctions {
    fn new(session: &Session, catalog: Arc<Catalog>) -> SessionFunctions {
        SessionFunctions { session: session.host_parts(), catalog, context: OnceLock::new() }
    }

    fn context(&self) -> &SystemContext {
        self.context.get_or_init(|| {
            let host = StatementHost::new(self.session.clone(), self.catalog.clone());
            self.session.system_context(self.catalog.clone(), host)
        })
    }
}

impl NameRegType for SessionFunctions {
    fn name(&self, ty: TypeOid, oid: u32) -> Option<String> {
        system::functions::reg_name(self.context(), ty, oid)
    }
}

const OWN: [&str; 20] = [
    "current_setting",
    "pg_is_in_recovery",
    "pg_is_wal_replay_paused",
    "nextval",
    "setval",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "currval",
    "lastval",
    "lockstep_position",
    "lockstep_commit_level",
    "pg_notify",
    "pg_notification_queue_usage",
    "lockstep_has_function",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_current_snapshot",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
];

impl FunctionHost for SessionFunctions {
    fn provides(&self, function: &Function) -> bool {
        OWN.contains(&function.name) || system::functions::provides(function)
    }

    fn call(&self, call: &Call<'_>, args: &[Datum]) -> Result<Datum> {
        match call.function.name {
            "current_setting" => self.current_setting(args),
            "pg_is_in_recovery" => Ok(Datum::Bool(self.session.engine.is_standby())),
            "pg_is_wal_replay_paused" => match self.session.engine.is_standby() {
                true => Ok(Datum::Bool(false)),
                false => Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "recovery is not in progress")
                    .hint("Recovery control functions can only be executed during recovery.")),
            },
            "nextval" => self.nextval(args),
            "setval" => self.setval(args),
            "pg_cancel_backend" => self.interrupt(args, false),
            "pg_terminate_backend" => self.interrupt(args, true),
            "pg_notify" => {
                if self.session.settings.standby {
                    let message = "cannot execute NOTIFY during recovery";
                    return Err(Error::new(SqlState::ReadOnlySqlTransaction, message));
                }
                let text = |i: usize| match args.get(i) {
                    Some(Datum::Text(text)) => text.clone(),
                    _ => "".into(),
                };
                self.session.notes.add(&text(0), &text(1))?;
                Ok(Datum::Text("".into()))
            }
            // Nothing waits in a queue of its own: notifications are in the log and in inboxes, which end their session
            // when they are full.
            "pg_notification_queue_usage" => Ok(Datum::Float8(0.0)),
            "lockstep_commit_level" => {
                let level = self.session.shared.commit_level();
                Ok(level.map_or(Datum::Null, |level| Datum::from(level.text())))
            }
            // Whether a row of pg_proc can be run: docs/functions.md is made from it. Aggregates and window functions tell so
            // when they are planned.
            "lockstep_has_function" => {
                let Some(Datum::Oid(oid)) = args.first() else { return Ok(Datum::Null) };
                let function = crate::functions::registry().function(*oid);
                let has = function.is_some_and(|f| f.scalar.is_some() || f.set.is_some() || self.provides(f));
                Ok(Datum::Bool(has))
            }
            "pg_current_xact_id" | "txid_current" => self.transaction_number(true),
            "pg_current_xact_id_if_assigned" | "txid_current_if_assigned" => self.transaction_number(false),
            "pg_current_snapshot" | "txid_current_snapshot" => {
                let seen = self.session.shared.number.seen(self.session.engine.transactions())?;
                Ok(Datum::from(seen.to_string()))
            }
            "lockstep_position" => {
                let applied = self.session.engine.transactions().position();
                Ok(Datum::from(applied.max(self.session.shared.last_commit()).to_string().as_str()))
            }
            "currval" | "lastval" => {
                let sequence = args.first().map(|a| sequence_of(&self.catalog, a)).transpose()?;
                if let Some(sequence) = &sequence {
                    let any = Rights::USAGE.with(Rights::SELECT);
                    super::identity::check_sequence(&self.catalog, self.session.user, sequence, any)?;
                }
                self.session.sequences.lock().current(sequence.as_deref())
            }
            _ => system::functions::call(self.context(), call, args),
        }
    }

    fn rows(&self, call: &Call<'_>, args: &[Datum]) -> Result<Rows> {
        if call.function.name == "pg_listening_channels" {
            let channels = self.session.notes.channels();
            let rows: Vec<Vec<Datum>> = channels.into_iter().map(|c| vec![Datum::Text(c)]).collect();
            return Ok(Box::new(rows.into_iter().map(Ok)));
        }
        system::functions::rows(self.context(), call, args)
    }
}

impl SessionFunctions {
    fn transaction_number(&self, give: bool) -> Result<Datum> {
        let number = self.session.shared.number.get(self.session.engine.transactions(), give)?;
        Ok(number.map_or(Datum::Null, |number| Datum::Int8(number as i64)))
    }

    /// `nextval` for each row of a query; where it stands alone the session calls it.
    fn nextval(&self, args: &[Datum]) -> Result<Datum> {
        let settings = &self.session.settings;
        if settings.modes.read_only || settings.standby {
            return Err(Error::new(
                SqlState::ReadOnlySqlTransaction,
                "cannot execute nextval() in a read-only transaction",
            ));
        }
        let sequence = sequence_of(&self.catalog, args.first().unwrap_or(&Datum::Null))?;
        if let Some(space) = self.session.temporary.as_ref().filter(|_| sequence.oid.is_temporary()) {
            let value = space.next(&sequence)?;
            self.session.sequences.lock().remember(sequence.oid, value);
            return Ok(Datum::Int8(value));
        }
        super::identity::check_sequence(
            &self.catalog,
            self.session.user,
            &sequence,
            Rights::USAGE.with(Rights::UPDATE),
        )?;
        let (value, reign, logged) = self.session.engine.transactions().next_sequence_value(&sequence)?;
        let mut sequences = self.session.sequences.lock();
        sequences.remember(sequence.oid, value);
        sequences.note_logged(reign, logged);
        Ok(Datum::Int8(value))
    }

    /// `setval` for each row of a query: noted, for the session to do when the query is done.
    fn setval(&self, args: &[Datum]) -> Result<Datum> {
        if args.iter().any(Datum::is_null) {
            return Ok(Datum::Null);
        }
        let settings = &self.session.settings;
        if settings.modes.read_only || settings.standby {
            return Err(Error::new(
                SqlState::ReadOnlySqlTransaction,
                "cannot execute setval() in a read-only transaction",
            ));
        }
        let sequence = sequence_of(&self.catalog, args.first().unwrap_or(&Datum::Null))?;
        super::identity::check_sequence(&self.catalog, self.session.user, &sequence, Rights::UPDATE)?;
        let Some(Datum::Int8(value)) = args.get(1) else {
            return Err(Error::internal("setval was given no number"));
        };
        check_bounds(&sequence, *value)?;
        let called = !matches!(args.get(2), Some(Datum::Bool(false)));
        match self.session.sequences.lock().note_set(sequence, *value, called) {
            true => Ok(Datum::Int8(*value)),
            false => Err(Error::unsupported("setval() for rows of a statement that is no plain query")),
        }
    }

    /// `pg_cancel_backend` and `pg_terminate_backend` for each row of a query.
    fn interrupt(&self, args: &[Datum], terminate: bool) -> Result<Datum> {
        let Some(Datum::Int4(process)) = args.first() else { return Ok(Datum::Null) };
        if *process == self.session.shared.key.process {
            return Err(self.session.shared.interrupt_itself(terminate));
        }
        let found = self.session.engine.sessions().find(*process);
        match &found {
            Some(other) if terminate => other.terminate(),
            Some(other) => other.cancel(),
            None => {}
        }
        Ok(Datum::Bool(found.is_some()))
    }

    /// `current_setting(name [, missing_ok])`
    fn current_setting(&self, args: &[Datum]) -> Result<Datum> {
        let Some(Datum::Text(name)) = args.first() else {
            return Ok(Datum::Null);
        };
        match self.session.settings.show(name) {
            Ok(value) => Ok(Datum::from(value.as_str())),
            Err(_) if matches!(args.get(1), Some(Datum::Bool(true))) => Ok(Datum::Null),
            Err(error) => Err(error),
        }
    }
}
