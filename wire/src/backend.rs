//! What the protocol needs from the database: [`engine::Engine`] and [`engine::Session`] as traits, so that the
//! protocol's tests run against a scripted backend. Static dispatch: the traits cost nothing.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use engine::error::{Notice, Result};
use engine::session::routing::Interruptions;
use engine::session::{BackendKey, Column, Row, Startup, StatementShape, Step, TransactionStatus};
use engine::txn::notify::Notification;
use engine::types::text::FormatSettings;
use engine::types::{Datum, TypeOid};
use engine::{Engine, Error, Session};
use futures::future::BoxFuture;

/// What all connections share.
pub trait Backend: Clone + Send + Sync + 'static {
    type Session: BackendSession;

    /// See [`Engine::connect`].
    fn connect(&self, startup: Startup) -> impl Future<Output = Result<Self::Session>> + Send;
    /// See [`Engine::connect_carried`].
    fn connect_carried(&self, startup: Startup) -> impl Future<Output = Result<Self::Session>> + Send {
        self.connect(startup)
    }
    /// See [`Engine::scram_verifier`].
    fn scram_verifier(&self, role: &str) -> impl Future<Output = Result<Option<String>>> + Send;
    /// See [`Engine::cancel`].
    fn cancel(&self, key: BackendKey);
}

/// One client's session; each method is [`Session`]'s of the same name.
pub trait BackendSession: Send + 'static {
    fn backend_key(&self) -> BackendKey;
    fn take_parameter_changes(&mut self) -> Vec<(String, String)>;
    fn take_notices(&mut self) -> Vec<Notice>;
    fn transaction_status(&self) -> TransactionStatus;
    fn begin_simple(&mut self, sql: &str) -> Result<usize>;
    fn next_simple(&mut self) -> impl Future<Output = Result<Option<Arc<[Column]>>>> + Send;
    fn prepare(&mut self, name: &str, sql: &str, parameter_types: &[u32]) -> impl Future<Output = Result<()>> + Send;
    fn statement(&self, name: &str) -> Result<StatementShape>;
    fn portal_columns(&self, name: &str) -> Result<Option<Arc<[Column]>>>;
    fn bind(&mut self, portal: &str, statement: &str, values: Vec<Datum>) -> impl Future<Output = Result<()>> + Send;
    fn step(&mut self, portal: &str, max_rows: usize) -> impl Future<Output = Result<Step>> + Send;
    fn check_interrupted(&self, _portal: &str) -> Result<()> {
        Ok(())
    }
    fn copy_data(&mut self, data: Bytes) -> impl Future<Output = Result<()>> + Send;
    fn copy_rows(&mut self, rows: Vec<Row>) -> impl Future<Output = Result<()>> + Send {
        let _ = rows;
        async { Err(Error::unsupported("COPY with FORMAT binary")) }
    }
    fn copy_done(&mut self) -> impl Future<Output = Result<String>> + Send;
    fn copy_fail(&mut self, message: &str) -> impl Future<Output = Error> + Send;
    fn close_statement(&mut self, name: &str);
    fn close_portal(&mut self, name: &str);
    fn sync(&mut self) -> impl Future<Output = Result<()>> + Send;
    fn fail(&mut self);
    fn format(&self) -> FormatSettings;
    /// A value of a reg type, of which a client has sent the name.
    fn read_name(&self, name: &str, ty: TypeOid) -> Result<Datum>;
    fn function_call(&self, function: u32) -> Result<(String, Vec<u32>)> {
        let _ = function;
        Err(Error::unsupported("the function call message"))
    }
    fn termination(&self) -> BoxFuture<'static, Error>;
    fn close(&mut self) -> impl Future<Output = ()> + Send;
    fn routes_writes(&self) -> bool {
        false
    }
    fn carries_simple(&self) -> bool {
        false
    }
    fn carries_portal(&self, _portal: &str) -> bool {
        false
    }
    fn statement_source(&self, _name: &str) -> Option<(Arc<str>, Vec<u32>)> {
        None
    }
    fn executed_statements(&self, _sql: &str) -> Vec<String> {
        Vec::new()
    }
    fn portal_started(&self, _portal: &str) -> bool {
        false
    }
    fn identity(&self) -> (String, String) {
        Default::default()
    }
    fn settings_to_carry(&mut self, _all: bool) -> Vec<(String, String)> {
        Vec::new()
    }
    fn carry(&mut self, _text: &str) {}
    /// `None`: nothing is ever carried.
    fn interruptions(&self) -> Option<Interruptions> {
        None
    }
    fn adopt(&mut self, _name: &str, _value: &str) {}
    /// Notifications that the client may be told of now.
    fn take_notifications(&mut self) -> Vec<Notification> {
        Vec::new()
    }
    /// Resolves when there are some; `None`: there never are.
    fn notified(&self) -> Option<BoxFuture<'static, ()>> {
        None
    }
    fn fail_block(&mut self) {}
}

impl Backend for Arc<Engine> {
    type Session = Session;

    fn connect(&self, startup: Startup) -> impl Future<Output = Result<Session>> + Send {
        Engine::connect(self, startup)
    }

    fn connect_carried(&self, startup: Startup) -> impl Future<Output = Result<Session>> + Send {
        Engine::connect_carried(self, startup)
    }

    fn scram_verifier(&self, role: &str) -> impl Future<Output = Result<Option<String>>> + Send {
        Engine::scram_verifier(self, role)
    }

    fn cancel(&self, key: BackendKey) {
        Engine::cancel(self, key)
    }
}

impl BackendSession for Session {
    fn backend_key(&self) -> BackendKey {
        Session::backend_key(self)
    }

    fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        Session::take_parameter_changes(self)
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        Session::take_notices(self)
    }

    fn transaction_status(&self) -> TransactionStatus {
        Session::transaction_status(self)
    }

    fn begin_simple(&mut self, sql: &str) -> Result<usize> {
        Session::begin_simple(self, sql)
    }

    fn next_simple(&mut self) -> impl Future<Output = Result<Option<Arc<[Column]>>>> + Send {
        Session::next_simple(self)
    }

    fn prepare(&mut self, name: &str, sql: &str, parameter_types: &[u32]) -> impl Future<Output = Result<()>> + Send {
        Session::prepare(self, name, sql, parameter_types)
    }

    fn statement(&self, name: &str) -> Result<StatementShape> {
        Session::statement(self, name)
    }

    fn portal_columns(&self, name: &str) -> Result<Option<Arc<[Column]>>> {
        Session::portal_columns(self, name)
    }

    fn bind(&mut self, portal: &str, statement: &str, values: Vec<Datum>) -> impl Future<Output = Result<()>> + Send {
        Session::bind(self, portal, statement, values)
    }

    fn step(&mut self, portal: &str, max_rows: usize) -> impl Future<Output = Result<Step>> + Send {
        Session::step(self, portal, max_rows)
    }

    fn check_interrupted(&self, portal: &str) -> Result<()> {
        Session::check_interrupted(self, portal)
    }

    fn copy_data(&mut self, data: Bytes) -> impl Future<Output = Result<()>> + Send {
        Session::copy_data(self, data)
    }

    fn copy_rows(&mut self, rows: Vec<Row>) -> impl Future<Output = Result<()>> + Send {
        Session::copy_rows(self, rows)
    }

    fn copy_done(&mut self) -> impl Future<Output = Result<String>> + Send {
        Session::copy_done(self)
    }

    fn copy_fail(&mut self, message: &str) -> impl Future<Output = Error> + Send {
        Session::copy_fail(self, message)
    }

    fn close_statement(&mut self, name: &str) {
        Session::close_statement(self, name)
    }

    fn close_portal(&mut self, name: &str) {
        Session::close_portal(self, name)
    }

    fn sync(&mut self) -> impl Future<Output = Result<()>> + Send {
        Session::sync(self)
    }

    fn fail(&mut self) {
        Session::fail(self)
    }

    fn format(&self) -> FormatSettings {
        Session::format(self)
    }

    fn read_name(&self, name: &str, ty: TypeOid) -> Result<Datum> {
        Session::read_name(self, name, ty)
    }

    fn function_call(&self, function: u32) -> Result<(String, Vec<u32>)> {
        Session::function_call(self, function)
    }

    fn termination(&self) -> BoxFuture<'static, Error> {
        Session::termination(self)
    }

    fn close(&mut self) -> impl Future<Output = ()> + Send {
        Session::close(self)
    }

    fn routes_writes(&self) -> bool {
        Session::routes_writes(self)
    }

    fn carries_simple(&self) -> bool {
        Session::carries_simple(self)
    }

    fn carries_portal(&self, portal: &str) -> bool {
        Session::carries_portal(self, portal)
    }

    fn statement_source(&self, name: &str) -> Option<(Arc<str>, Vec<u32>)> {
        Session::statement_source(self, name)
    }

    fn executed_statements(&self, sql: &str) -> Vec<String> {
        Session::executed_statements(self, sql)
    }

    fn portal_started(&self, portal: &str) -> bool {
        Session::portal_started(self, portal)
    }

    fn identity(&self) -> (String, String) {
        Session::identity(self)
    }

    fn settings_to_carry(&mut self, all: bool) -> Vec<(String, String)> {
        Session::settings_to_carry(self, all)
    }

    fn carry(&mut self, text: &str) {
        Session::carry(self, text)
    }

    fn interruptions(&self) -> Option<Interruptions> {
        Some(Session::interruptions(self))
    }

    fn adopt(&mut self, name: &str, value: &str) {
        Session::adopt(self, name, value)
    }

    fn fail_block(&mut self) {
        Session::fail_block(self)
    }

    fn take_notifications(&mut self) -> Vec<Notification> {
        Session::take_notifications(self)
    }

    fn notified(&self) -> Option<BoxFuture<'static, ()>> {
        Session::notified(self)
    }
}
