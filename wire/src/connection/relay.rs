//! Statements and transactions of a client that are carried to the primary (`lockstep.route_writes`): the client's own
//! messages go to a session there, and its answers come back as they are.
//!
//! A *unit* is what is carried as a whole: a simple query, the messages up to a Sync, or all of a transaction block. While
//! one is under way nothing is executed here. What the client prepared and bound here before is prepared and bound there
//! first, silently.
//!
//! Invariants:
//! 1. Every answer that is awaited is in `expected`, in the order of the questions; a silent one is not the client's.
//! 2. When the primary is lost, a unit that may have committed answers 08007, any other 40001, and a block stays failed
//!    until the client ends it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use engine::error::{Error, Result, SqlState};
use engine::session::routing::Interruptions;
use engine::session::{BackendKey, Startup, TransactionStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Connection, Failure};
use crate::backend::{Backend, BackendSession};
use crate::channel::{End, Frame};
use crate::frontend::{self, Bind, Parse, Reader, Target};
use crate::output::put_string;
use crate::route::{Router, Routing};

/// How often a wait looks whether the primary is still the primary, and how long it may not be.
const LOOK: Duration = Duration::from_millis(200);
const AWAY_MAX: Duration = Duration::from_secs(2);
/// Output to the primary is written when it has grown to this.
const OUTPUT_BYTES: usize = 64 << 10;
const READ_BYTES: usize = 16 << 10;

/// Text and parameter types of a prepared statement.
type Source = (Arc<str>, Vec<u32>);

struct Expected {
    /// Types of the message that ends the answer.
    last: &'static [u8],
    silent: bool,
}

/// The session on the primary.
pub(super) struct Relay {
    primary: u64,
    key: Option<BackendKey>,
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
    expected: VecDeque<Expected>,
    statements: HashMap<String, Source>,
    /// Portals that are bound there, and whether what they run may end a transaction.
    portals: HashMap<String, bool>,
    status: TransactionStatus,
    /// A unit is under way.
    active: bool,
    /// What is on its way may commit.
    may_commit: bool,
    /// What was asked before it, since the last ReadyForQuery, may have.
    may_have_committed: bool,
}

impl Relay {
    fn push(&mut self, kind: u8, body: &[u8]) {
        self.output.push(kind);
        self.output.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        self.output.extend_from_slice(body);
    }

    fn ask(&mut self, kind: u8, body: &[u8], last: &'static [u8], silent: bool) {
        self.push(kind, body);
        self.expected.push_back(Expected { last, silent });
    }

    /// Whether a statement that is a transaction by itself, or one that ends a transaction, commits now.
    fn commits(&self, ends: bool) -> bool {
        self.status == TransactionStatus::Idle || ends || self.may_have_committed
    }

    /// Whether a portal of this statement may end a transaction.
    fn may_end(&self, statement: &str) -> bool {
        self.statements.get(statement).is_none_or(|(sql, _)| mentions_end(sql))
    }

    /// Whether the other side has gone while nothing was on its way.
    fn has_gone(&mut self) -> bool {
        loop {
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// The next message that is there as a whole.
    fn take(&mut self) -> io::Result<Option<(u8, BytesMut)>> {
        let Some([kind, length @ ..]) = self.input.first_chunk::<5>() else { return Ok(None) };
        let (kind, length) = (*kind, u32::from_be_bytes(*length) as usize);
        if length < 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.input.len() <= length {
            return Ok(None);
        }
        let mut body = self.input.split_to(length + 1);
        body.advance(5);
        Ok(Some((kind, body)))
    }

    /// Waits for the next message; passes interrupts on, and ends when the primary is another one.
    async fn next(&mut self, router: &dyn Router, interruptions: Interruptions) -> io::Result<(u8, BytesMut)> {
        let mut away: Option<Instant> = None;
        let mut interrupted = interruptions.next();
        loop {
            if let Some(message) = self.take()? {
                return Ok(message);
            }
            self.input.reserve(READ_BYTES);
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                },
                () = &mut interrupted => {
                    if let Some(key) = self.key {
                        tokio::spawn(router.cancel(self.primary, key));
                    }
                    interrupted = interruptions.next();
                }
                () = tokio::time::sleep(LOOK) => match router.primary() == Some(self.primary) {
                    true => away = None,
                    false if away.get_or_insert_with(Instant::now).elapsed() > AWAY_MAX => {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    false => {}
                },
            }
        }
    }
}

/// What a connection remembers for units to come.
#[derive(Default)]
pub(super) struct Carrier {
    routing: Option<Routing>,
    relay: Option<Relay>,
    /// Bind messages of this transaction, by portal.
    binds: HashMap<String, Vec<u8>>,
    /// Statements that the client prepared on the primary and not here.
    remote: HashMap<String, Source>,
}

impl Carrier {
    pub fn new(routing: Option<Routing>) -> Self {
        Self { routing, ..Self::default() }
    }

    /// Whether there is a way to a primary.
    pub fn routes(&self) -> bool {
        self.routing.is_some()
    }

    /// Status of the transaction, while a unit is under way.
    pub fn status(&self) -> Option<TransactionStatus> {
        self.relay.as_ref().filter(|relay| relay.active).map(|relay| relay.status)
    }

    /// The transaction is over.
    pub fn idle(&mut self) {
        if let Some(relay) = &mut self.relay {
            relay.active = false;
            relay.portals.clear();
        }
        self.binds.clear();
    }

    /// Keeps a Bind message, in case its portal is carried.
    pub fn note_bind(&mut self, portal: &str, body: &[u8]) {
        self.binds.insert(portal.to_owned(), body.to_vec());
    }
}

/// Severity, code and message of an ErrorResponse.
fn error_fields(body: &[u8]) -> (String, String, String) {
    let mut reader = Reader::new(body);
    let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
    while let Ok(field) = reader.u8() {
        let Ok(text) = reader.string() else { break };
        match field {
            b'V' => severity = text.to_owned(),
            b'C' => code = text.to_owned(),
            b'M' => message = text.to_owned(),
            _ => {}
        }
    }
    (severity, code, message)
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether a text may commit what it runs in: a word too many makes the outcome unknown where it is known.
fn mentions_end(sql: &str) -> bool {
    let mut words = sql.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    words.any(|word| word.eq_ignore_ascii_case("commit") || word.eq_ignore_ascii_case("end"))
}

impl<B: Backend> Connection<B> {
    /// A message while a unit is under way.
    pub(super) async fn relay_frame(&mut self, frame: Frame) -> Result<(), End> {
        let done = self.relay_message(&frame).await;
        let failed = self.report(done)?;
        match frame.kind {
            frontend::QUERY | frontend::SYNC | frontend::FUNCTION_CALL => {
                self.skipping = false;
                self.ready().await
            }
            _ => {
                self.skipping |= failed;
                Ok(())
            }
        }
    }

    pub(super) async fn relay_message(&mut self, frame: &Frame) -> Result<(), Failure> {
        let body: &[u8] = &frame.body;
        self.session.carry("");
        match frame.kind {
            frontend::QUERY => {
                let sql = frontend::decode_string(body)?;
                self.carry_text(sql, body).await
            }
            frontend::PARSE => {
                let parse = Parse::decode(body)?;
                let source = (Arc::from(parse.sql), parse.parameter_types.clone());
                self.carrier.remote.insert(parse.name.to_owned(), source.clone());
                let relay = self.relay()?;
                relay.statements.insert(parse.name.to_owned(), source);
                relay.ask(frontend::PARSE, body, b"1", false);
                self.send_if_full().await
            }
            frontend::BIND => {
                let bind = Bind::decode(body)?;
                self.ensure_statement(bind.statement)?;
                let relay = self.relay()?;
                let ends = relay.may_end(bind.statement);
                relay.portals.insert(bind.portal.to_owned(), ends);
                relay.ask(frontend::BIND, body, b"2", false);
                self.send_if_full().await
            }
            frontend::DESCRIBE => {
                match Target::decode(body, "DESCRIBE")? {
                    Target::Statement(name) => self.ensure_statement(name)?,
                    Target::Portal(name) => self.ensure_portal(name)?,
                }
                self.relay()?.ask(frontend::DESCRIBE, body, b"Tn", false);
                self.send_if_full().await
            }
            frontend::EXECUTE => {
                let (name, _) = frontend::decode_execute(body)?;
                self.carry_portal(name, body).await
            }
            frontend::CLOSE => {
                match Target::decode(body, "CLOSE")? {
                    Target::Statement(name) => {
                        self.carrier.remote.remove(name);
                        self.session.close_statement(name);
                        self.relay()?.statements.remove(name);
                    }
                    Target::Portal(name) => {
                        self.carrier.binds.remove(name);
                        self.relay()?.portals.remove(name);
                    }
                }
                self.relay()?.ask(frontend::CLOSE, body, b"3", false);
                self.send_if_full().await
            }
            frontend::FLUSH => {
                self.relay()?.push(frontend::FLUSH, &[]);
                self.pump(false).await?;
                self.channel.promise();
                Ok(())
            }
            frontend::SYNC => {
                self.relay()?.push(frontend::SYNC, &[]);
                self.pump(true).await
            }
            frontend::FUNCTION_CALL => self.carry_call(body).await,
            // Left over from a COPY that failed.
            _ => Ok(()),
        }
    }

    /// Carries a simple query that was parsed here.
    pub(super) async fn carry_simple(&mut self, sql: &str, body: &[u8]) -> Result<(), Failure> {
        self.session.carry(sql);
        self.begin_unit().await?;
        self.carry_text(sql, body).await
    }

    async fn carry_text(&mut self, sql: &str, body: &[u8]) -> Result<(), Failure> {
        self.carrier.remote.remove("");
        for name in self.session.executed_statements(sql) {
            self.ensure_statement(&name)?;
        }
        let relay = self.relay()?;
        relay.statements.remove("");
        if !relay.expected.is_empty() {
            relay.ask(frontend::SYNC, &[], b"Z", true);
            self.pump(false).await?;
        }
        let relay = self.relay()?;
        relay.may_have_committed |= mentions_end(sql);
        relay.may_commit = relay.commits(false);
        relay.push(frontend::QUERY, body);
        self.pump(true).await
    }

    /// Carries a function call that was prepared here.
    pub(super) async fn carry_function_call(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.session.carry("");
        self.begin_unit().await?;
        self.carry_call(body).await
    }

    async fn carry_call(&mut self, body: &[u8]) -> Result<(), Failure> {
        let relay = self.relay()?;
        relay.may_commit = relay.commits(false);
        relay.push(frontend::FUNCTION_CALL, body);
        self.pump(true).await
    }

    /// Carries the execution of a portal, and with it all that follows up to the Sync or the end of the block.
    pub(super) async fn carry_execute(&mut self, name: &str, body: &[u8]) -> Result<(), Failure> {
        if self.carrier.status().is_none() {
            self.session.carry("");
            self.begin_unit().await?;
        }
        self.carry_portal(name, body).await
    }

    async fn carry_portal(&mut self, name: &str, body: &[u8]) -> Result<(), Failure> {
        self.ensure_portal(name)?;
        let relay = self.relay()?;
        let ends = relay.portals.get(name).copied().unwrap_or(true);
        relay.may_commit = relay.commits(ends);
        relay.ask(frontend::EXECUTE, body, b"CIs", false);
        relay.push(frontend::FLUSH, &[]);
        self.pump(false).await?;
        let relay = self.relay()?;
        relay.may_have_committed |= relay.may_commit;
        Ok(())
    }

    /// Before the local session uses a statement that the client prepared on the primary.
    pub(super) async fn localize(&mut self, name: &str) -> Result<(), Failure> {
        let Some((sql, types)) = self.carrier.remote.remove(name) else { return Ok(()) };
        self.session.close_statement(name);
        let prepared = self.guard.drive(&mut self.channel, pin!(self.session.prepare(name, &sql, &types))).await;
        prepared.map_err(Failure::Session)
    }

    fn relay(&mut self) -> Result<&mut Relay, Failure> {
        self.carrier.relay.as_mut().ok_or_else(|| Error::internal("there is no session on the primary").into())
    }

    /// Opens the session on the primary if it is not open, and brings its settings up to date.
    pub(super) async fn begin_unit(&mut self) -> Result<(), Failure> {
        let Some(Routing(router)) = self.carrier.routing.clone() else {
            return Err(Error::unsupported("lockstep.route_writes on this server").into());
        };
        let gone = |relay: &mut Relay| Some(relay.primary) != router.primary() || relay.has_gone();
        if self.carrier.relay.as_mut().is_some_and(gone) {
            self.carrier.relay = None;
        }
        if self.carrier.relay.is_none() {
            let (user, database) = self.session.identity();
            let parameters = self.session.settings_to_carry(true);
            let startup = Startup { user, database, parameters, client: self.peer };
            let opened = self.guard.drive(&mut self.channel, pin!(router.open(startup))).await;
            let opened = opened.map_err(Failure::Session)?;
            self.carrier.relay = Some(Relay {
                primary: opened.primary,
                key: None,
                stream: opened.stream,
                input: BytesMut::new(),
                output: Vec::new(),
                expected: VecDeque::new(),
                statements: HashMap::new(),
                portals: HashMap::new(),
                status: TransactionStatus::Idle,
                active: false,
                may_commit: false,
                may_have_committed: false,
            });
            self.internal_answer().await?;
        }
        let changed = self.session.settings_to_carry(false);
        if !changed.is_empty() {
            let calls: Vec<String> = changed
                .iter()
                .map(|(name, value)| format!("pg_catalog.set_config({}, {}, false)", quote(name), quote(value)))
                .collect();
            let mut body = Vec::new();
            put_string(&mut body, &format!("SELECT {}", calls.join(", ")));
            let relay = self.relay()?;
            // A simple query ends the unnamed statement.
            relay.statements.remove("");
            relay.push(frontend::QUERY, &body);
            self.internal_answer().await?;
        }
        let relay = self.relay()?;
        (relay.active, relay.status) = (true, TransactionStatus::Idle);
        (relay.may_commit, relay.may_have_committed) = (false, false);
        Ok(())
    }

    /// Reads to ReadyForQuery what the client has not asked for.
    async fn internal_answer(&mut self) -> Result<(), Failure> {
        self.send().await?;
        let mut refused = None;
        loop {
            let (kind, body) = self.next_answer().await?;
            match kind {
                b'K' => {
                    let mut reader = Reader::new(&body);
                    let key = BackendKey { process: reader.i32()?, secret: reader.i32()? };
                    self.relay()?.key = Some(key);
                }
                b'E' => {
                    let (severity, code, message) = error_fields(&body);
                    let error = Error::new(SqlState::CannotConnectNow, format!("the primary refused: {message}"))
                        .detail(format!("It answered {code}."));
                    if severity == "FATAL" {
                        self.carrier.relay = None;
                        return Err(Failure::Session(error));
                    }
                    refused = Some(error);
                }
                b'Z' => return refused.map_or(Ok(()), |error| Err(Failure::Session(error))),
                _ => {}
            }
        }
    }

    fn ensure_statement(&mut self, name: &str) -> Result<(), Failure> {
        let here = || self.session.statement_source(name);
        let Some(source) = self.carrier.remote.get(name).cloned().or_else(here) else { return Ok(()) };
        let relay = self.relay()?;
        match relay.statements.get(name) {
            Some(known) if *known == source => return Ok(()),
            Some(_) if !name.is_empty() => {
                let mut body = vec![b'S'];
                put_string(&mut body, name);
                relay.ask(frontend::CLOSE, &body, b"3", true);
            }
            _ => {}
        }
        let (sql, types) = &source;
        let mut body = Vec::with_capacity(name.len() + sql.len() + 4 + types.len() * 4);
        put_string(&mut body, name);
        put_string(&mut body, sql);
        body.extend_from_slice(&(types.len() as u16).to_be_bytes());
        types.iter().for_each(|ty| body.extend_from_slice(&ty.to_be_bytes()));
        relay.ask(frontend::PARSE, &body, b"1", true);
        relay.statements.insert(name.to_owned(), source);
        Ok(())
    }

    fn ensure_portal(&mut self, name: &str) -> Result<(), Failure> {
        if self.relay()?.portals.contains_key(name) {
            return Ok(());
        }
        let Some(bind) = self.carrier.binds.get(name).cloned() else { return Ok(()) };
        if self.session.portal_started(name) {
            return Err(Error::unsupported("going on on the primary with a portal that was begun on a standby").into());
        }
        let statement = Bind::decode(&bind)?.statement.to_owned();
        self.ensure_statement(&statement)?;
        let relay = self.relay()?;
        relay.ask(frontend::BIND, &bind, b"2", true);
        let ends = relay.may_end(&statement);
        relay.portals.insert(name.to_owned(), ends);
        Ok(())
    }

    async fn send_if_full(&mut self) -> Result<(), Failure> {
        match self.relay()?.output.len() >= OUTPUT_BYTES {
            true => self.send().await,
            false => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), Failure> {
        let Some(relay) = self.carrier.relay.as_mut() else { return Ok(()) };
        let sent = self.guard.drive(&mut self.channel, pin!(relay.flush())).await;
        sent.map_err(|error| self.lost(&error.to_string()))
    }

    /// The next message of the primary's session.
    async fn next_answer(&mut self) -> Result<(u8, BytesMut), Failure> {
        let (Some(relay), Some(Routing(router))) = (self.carrier.relay.as_mut(), self.carrier.routing.clone()) else {
            return Err(Error::internal("there is no session on the primary").into());
        };
        let next = match relay.take() {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {
                let interruptions = self.session.interruptions();
                let interruptions = interruptions.ok_or_else(|| Error::internal("the session carries nothing"))?;
                let next = relay.next(&*router, interruptions);
                self.guard.drive(&mut self.channel, pin!(next)).await
            }
            Err(error) => Err(error),
        };
        next.map_err(|error| self.lost(&error.to_string()))
    }

    /// Sends what is to be sent and hands the answers to the client: up to ReadyForQuery, or all that are expected.
    async fn pump(&mut self, to_ready: bool) -> Result<(), Failure> {
        self.send().await?;
        let mut failed = false;
        while to_ready || !self.relay()?.expected.is_empty() {
            let (kind, body) = self.next_answer().await?;
            match kind {
                b'S' => {
                    let mut reader = Reader::new(&body);
                    let (name, value) = (reader.string()?, reader.string()?);
                    self.session.adopt(name, value);
                    continue;
                }
                b'Z' => {
                    let relay = self.relay()?;
                    relay.status = match body.first() {
                        Some(b'T') => TransactionStatus::InTransaction,
                        Some(b'E') => TransactionStatus::Failed,
                        _ => TransactionStatus::Idle,
                    };
                    (relay.may_commit, relay.may_have_committed) = (false, false);
                    let silent = relay.expected.front().is_some_and(|e| e.last.contains(&b'Z'));
                    if silent && !to_ready {
                        relay.expected.pop_front();
                        continue;
                    }
                    relay.expected.clear();
                    return Ok(());
                }
                b'E' => {
                    let (severity, _, message) = error_fields(&body);
                    if severity == "FATAL" {
                        return Err(self.lost(&message));
                    }
                    failed = true;
                }
                _ => {}
            }
            let relay = self.relay()?;
            let (mut silent, mut in_order) = (false, true);
            if !matches!(kind, b'N' | b'A' | b'E')
                && let Some(front) = relay.expected.front()
            {
                (silent, in_order) = (front.silent, front.last.contains(&kind));
            }
            if in_order && !matches!(kind, b'N' | b'A' | b'E') {
                relay.expected.pop_front();
            }
            if !silent {
                self.channel.output.message(kind, |out| {
                    out.extend_from_slice(&body);
                    Ok(())
                })?;
                if self.channel.output.len() >= self.output_buffer_bytes {
                    self.guard.flush(&mut self.channel).await?;
                }
            }
            if kind == b'G' {
                self.copy_through(to_ready).await?;
            }
            if failed && !to_ready {
                // The session there skips what follows up to the Sync.
                self.relay()?.expected.clear();
                self.skipping = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// The client's COPY data on its way to the primary.
    async fn copy_through(&mut self, simple: bool) -> Result<(), Failure> {
        self.guard.flush(&mut self.channel).await?;
        // Nothing of it is committed before its end was sent.
        let relay = self.relay()?;
        let commits = std::mem::replace(&mut relay.may_commit, relay.may_have_committed);
        loop {
            let Some((kind, length)) = self.channel.header()? else {
                self.send().await?;
                self.more_input().await?;
                continue;
            };
            if kind == frontend::COPY_DATA {
                self.channel.skip_header();
                let mut remaining = length - 4;
                let relay = self.relay()?;
                relay.output.push(frontend::COPY_DATA);
                relay.output.extend_from_slice(&(length as u32).to_be_bytes());
                loop {
                    let piece = self.channel.take_copy_data(&mut remaining);
                    self.relay()?.output.extend_from_slice(&piece);
                    self.send_if_full().await?;
                    if remaining == 0 {
                        break;
                    }
                    self.more_input().await?;
                }
                continue;
            }
            let frame = self.next_frame().await?;
            match frame.kind {
                frontend::COPY_DONE | frontend::COPY_FAIL => {
                    let relay = self.relay()?;
                    if relay.has_gone() {
                        return Err(self.lost("it was closed"));
                    }
                    relay.may_commit |= commits && frame.kind == frontend::COPY_DONE;
                    relay.push(frame.kind, &frame.body);
                    if !simple {
                        relay.push(frontend::FLUSH, &[]);
                    }
                    return self.send().await;
                }
                frontend::FLUSH | frontend::SYNC => {}
                frontend::TERMINATE => return Err(End::Gone.into()),
                other => {
                    return Err(Failure::End(End::Fatal(Error::new(
                        SqlState::ProtocolViolation,
                        format!("unexpected message type 0x{other:02X} during COPY from stdin"),
                    ))));
                }
            }
        }
    }

    /// The session on the primary is gone: what the client is told, and what becomes of its block.
    fn lost(&mut self, why: &str) -> Failure {
        let Some(relay) = self.carrier.relay.take() else {
            return Error::internal("there is no session on the primary").into();
        };
        self.carrier.binds.clear();
        if relay.active && relay.status != TransactionStatus::Idle {
            self.session.fail_block();
        }
        let error = match relay.active && relay.may_commit {
            true => Error::new(SqlState::TransactionResolutionUnknown, "the outcome of the transaction is unknown")
                .detail(format!("The connection to the primary was lost: {why}. The transaction may be committed.")),
            false => Error::new(SqlState::SerializationFailure, "the connection to the primary was lost")
                .detail(format!("{why}. Nothing of the transaction was committed."))
                .hint("The transaction might succeed if retried."),
        };
        Failure::Session(error)
    }
}

#[cfg(test)]
mod tests {
    use super::mentions_end;

    #[test]
    fn a_text_may_end_a_transaction_by_its_words() {
        for ends in ["COMMIT", "end;", "INSERT INTO t VALUES (1);commit/* now */", "SELECT CASE WHEN a THEN 1 END"] {
            assert!(mentions_end(ends), "{ends}");
        }
        for goes_on in ["INSERT INTO pending VALUES ($1)", "SELECT commits, the_end FROM t", ""] {
            assert!(!mentions_end(goes_on), "{goes_on}");
        }
    }
}
