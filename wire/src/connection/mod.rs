//! One client's connection, from its socket to its end: reads messages, lets the session do the work, and answers.
//!
//! Invariants:
//! 1. Output up to the last ReadyForQuery or Flush is written to the socket once no further message is at hand or the
//!    next statement has to wait; all of it when the buffer is full.
//! 2. A call into the session is never dropped half-way: when the client leaves or the server stops, the statement is
//!    cancelled and awaited ([`Guard::drive`]).
//! 3. After an error in the extended protocol nothing is executed until Sync.

mod copy;
mod copy_binary;
mod extended;
mod function_call;
mod guard;
mod relay;
mod results;
mod unit;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use engine::error::{Error, Result, SqlState};
use engine::session::{Startup, TransactionStatus};
use futures::FutureExt;
use futures::future::{Either, select};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::backend::{Backend, BackendSession};
use crate::channel::{Channel, End, Frame};
use crate::frontend;
use crate::handshake::{self, Opened};
use crate::output::Severity;
use crate::server::Shared;
use crate::stream::Stream;

use extended::Portal;
use guard::Guard;
use relay::Carrier;
use unit::Unit;

/// Why a message's work stopped.
enum Failure {
    /// The session reported it, and has failed its transaction.
    Session(Error),
    /// Found here: the session does not know of it yet.
    Wire(Error),
    /// The connection ends.
    End(End),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Wire(error)
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Failure::End(end)
    }
}

pub(crate) async fn serve<B: Backend>(
    socket: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared<B>>,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let mut channel = Channel::new(Stream::Plain(socket), shared.config.message_bytes_max);
    match open(&mut channel, &shared, peer, &drain).await {
        Ok(opened) => converse(channel, opened, Some(peer), shared, drain, stop).await,
        Err(end) => channel.close(end).await,
    }
}

/// Serves the client of another node, which carries its messages to and fro.
pub(crate) async fn serve_carried<B: Backend>(
    socket: TcpStream,
    startup: Startup,
    shared: Arc<Shared<B>>,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let mut channel = Channel::new(Stream::Plain(socket), shared.config.message_bytes_max);
    let client = startup.client;
    match handshake::open_carried(&mut channel, &shared, startup).await {
        Ok(opened) => converse(channel, opened, client, shared, drain, stop).await,
        Err(end) => channel.close(end).await,
    }
}

async fn converse<B: Backend>(
    channel: Channel,
    opened: Opened<B>,
    peer: Option<SocketAddr>,
    shared: Arc<Shared<B>>,
    drain: CancellationToken,
    stop: CancellationToken,
) {
    let Opened { session, place } = opened;
    let mut connection = Connection {
        guard: Guard::new(&shared, &session, drain, stop),
        channel,
        session,
        unnamed: None,
        portals: HashMap::new(),
        skipping: false,
        output_buffer_bytes: shared.config.output_buffer_bytes,
        carrier: Carrier::new(shared.config.routing.clone()),
        unit: Unit::default(),
        peer,
    };
    connection.begin_unit_here(TransactionStatus::Idle);
    let end = match AssertUnwindSafe(connection.run()).catch_unwind().await {
        Ok(end) => end,
        Err(_) => {
            tracing::error!(?peer, "a statement panicked; its connection is closed");
            connection.channel.drop_unpromised();
            End::Fatal(Error::internal("internal error: the statement's execution broke off"))
        }
    };
    let closed = AssertUnwindSafe(connection.session.close()).catch_unwind();
    if closed.await.is_err() {
        tracing::error!(?peer, "closing a session panicked");
    }
    drop(connection.session);
    drop(place);
    connection.channel.close(end).await;
}

/// The handshake under its time limit.
async fn open<B: Backend>(
    channel: &mut Channel,
    shared: &Arc<Shared<B>>,
    peer: SocketAddr,
    drain: &CancellationToken,
) -> Result<Opened<B>, End> {
    let mut started = false;
    let time = shared.config.authentication_timeout;
    let opened = tokio::select! {
        opened = tokio::time::timeout(time, handshake::open(channel, shared, peer, &mut started)) => opened,
        () = drain.cancelled() => {
            return Err(End::Fatal(Error::new(
                SqlState::CannotConnectNow,
                "the database system is shutting down",
            )));
        }
    };
    match opened {
        Ok(opened) => opened,
        Err(_) if started => {
            Err(End::Fatal(Error::new(SqlState::QueryCanceled, "canceling authentication due to timeout")))
        }
        Err(_) => Err(End::Gone),
    }
}

struct Connection<B: Backend> {
    channel: Channel,
    guard: Guard<B>,
    session: B::Session,
    /// The unnamed portal has no entry in `portals`: it is replaced with every Bind.
    unnamed: Option<Portal>,
    portals: HashMap<String, Portal>,
    /// After an error in the extended protocol, until Sync.
    skipping: bool,
    output_buffer_bytes: usize,
    carrier: Carrier,
    unit: Unit,
    peer: Option<SocketAddr>,
}

impl<B: Backend> Connection<B> {
    async fn run(&mut self) -> End {
        loop {
            let handled = match self.next_frame().await {
                Ok(frame) if frame.kind == frontend::TERMINATE => return End::Gone,
                Ok(frame) => self.handle(frame).await,
                Err(end) => return end,
            };
            if let Err(end) = handled {
                return end;
            }
        }
    }

    /// The next message; the output that was promised is sent before waiting for it.
    async fn next_frame(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(frame) = self.channel.next_frame()? {
                return Ok(frame);
            }
            self.more_input().await?;
        }
    }

    async fn more_input(&mut self) -> Result<(), End> {
        loop {
            self.guard.flush_promised(&mut self.channel).await?;
            let idle = self.status() == TransactionStatus::Idle;
            let Some(mut notified) = self.session.notified().filter(|_| idle && !self.skipping) else {
                return self.guard.fill(&mut self.channel, idle).await;
            };
            // Between two transactions the client is told of notifications as they come.
            let filled = match select(pin!(self.guard.fill(&mut self.channel, idle)), &mut notified).await {
                Either::Left((filled, _)) => Some(filled),
                Either::Right(_) => None,
            };
            if let Some(filled) = filled {
                return filled;
            }
            if !self.send_notifications()? {
                // Not now: after the transaction that is under way.
                return self.guard.fill(&mut self.channel, idle).await;
            }
            self.channel.promise();
        }
    }

    /// False: there were none that the client may be told of.
    fn send_notifications(&mut self) -> Result<bool, End> {
        let notifications = self.session.take_notifications();
        for notification in &notifications {
            self.channel.output.notification(notification).map_err(End::Fatal)?;
        }
        Ok(!notifications.is_empty())
    }

    /// Of the transaction, wherever it runs.
    fn status(&self) -> TransactionStatus {
        self.carrier.status().unwrap_or_else(|| self.session.transaction_status())
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), End> {
        let skipped = self.skipping && frame.kind != frontend::SYNC;
        if self.carrier.status().is_some() && !skipped {
            return self.relay_frame(frame).await;
        }
        self.unit.note(&frame);
        match frame.kind {
            frontend::SYNC => {
                self.skipping = false;
                return self.ready().await;
            }
            frontend::FLUSH if self.skipping => {
                if let Some(refused) = self.unit.give_up() {
                    self.report(Err(Failure::Session(refused)))?;
                    self.channel.promise();
                }
                return Ok(());
            }
            _ if self.skipping => return Ok(()),
            frontend::QUERY => {
                let done = self.simple_query(&frame.body).await;
                self.report(done)?;
                return self.ready().await;
            }
            frontend::FUNCTION_CALL => {
                let done = self.function_call(&frame.body).await;
                self.report(done)?;
                return self.ready().await;
            }
            // Left over from a COPY that failed: ignored, as PostgreSQL does.
            frontend::COPY_DATA | frontend::COPY_DONE | frontend::COPY_FAIL => return Ok(()),
            _ => (),
        }
        let done = self.extended(&frame).await;
        self.skipping = self.report(done)?;
        if self.skipping && !self.unit.is_refused() {
            // An error is sent at once, as PostgreSQL does: a Flush behind it is skipped.
            self.channel.promise();
        }
        Ok(())
    }

    /// Tells the client of a failure; true if there was one.
    fn report(&mut self, done: Result<(), Failure>) -> Result<bool, End> {
        let error = match done {
            Ok(()) => return Ok(false),
            Err(Failure::End(end)) => return Err(end),
            Err(Failure::Session(error)) => error,
            Err(Failure::Wire(error)) => {
                self.session.fail();
                error
            }
        };
        // A statement that was cancelled because the session ends: only the end is told.
        if let Some(end) = self.guard.take_ended() {
            return Err(End::Fatal(end));
        }
        if error.state() == SqlState::AdminShutdown {
            return Err(End::Fatal(error));
        }
        if self.unit.holds_back(&error, &mut self.channel) {
            return Ok(true);
        }
        self.send_notices()?;
        self.channel.output.error(Severity::Error, &error);
        Ok(true)
    }

    /// Ends the implicit transaction and tells the client that it is its turn.
    async fn ready(&mut self) -> Result<(), End> {
        let carried = self.carrier.status().filter(|status| *status != TransactionStatus::Idle);
        if carried.is_none() {
            let synced = self.guard.drive(&mut self.channel, pin!(self.session.sync())).await;
            self.report(synced.map_err(Failure::Session))?;
            self.carry_over().await?;
        }
        self.send_notices()?;
        for (name, value) in self.session.take_parameter_changes() {
            self.channel.output.parameter_status(name, value).map_err(End::Fatal)?;
        }
        let status = carried.unwrap_or_else(|| self.session.transaction_status());
        if status == TransactionStatus::Idle {
            // Portals do not outlive their transaction.
            self.portals.clear();
            self.carrier.idle();
            self.send_notifications()?;
        }
        self.channel.output.ready_for_query(status);
        self.channel.promise();
        self.begin_unit_here(status);
        if self.channel.output.len() >= self.output_buffer_bytes {
            self.guard.flush(&mut self.channel).await?;
        }
        Ok(())
    }

    fn send_notices(&mut self) -> Result<(), End> {
        for notice in self.session.take_notices() {
            self.channel.output.notice(&notice).map_err(End::Fatal)?;
        }
        Ok(())
    }

    /// A Query message: every statement in turn; the first error ends the string.
    async fn simple_query(&mut self, body: &[u8]) -> Result<(), Failure> {
        let sql = frontend::decode_string(body)?;
        let statements = self.session.begin_simple(sql).map_err(Failure::Session)?;
        self.unit.has_statements(statements);
        // The simple protocol uses the unnamed statement and portal, and destroys what was there.
        self.unnamed = None;
        if statements == 0 {
            self.channel.output.empty_query();
        }
        if self.session.carries_simple() {
            return self.carry_simple(sql, body).await;
        }
        for _ in 0..statements {
            let columns = self
                .guard
                .drive(&mut self.channel, pin!(self.session.next_simple()))
                .await
                .map_err(Failure::Session)?;
            let mut portal = Portal::of_text(columns);
            if let Some(columns) = &portal.columns {
                self.channel.output.row_description(columns, portal.formats.iter())?;
            }
            self.run_portal("", &mut portal, 0).await?;
        }
        Ok(())
    }
}
