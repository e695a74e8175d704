//! What may end a connection's waiting: the client, the session's termination, the server's shutdown.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engine::error::{Error, Result, SqlState};
use engine::session::BackendKey;
use futures::future::BoxFuture;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::backend::{Backend, BackendSession};
use crate::channel::{Channel, End};
use crate::server::Shared;

/// A cancel that came between two points where the statement looks for one is sent again after this time.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Guard<B> {
    backend: B,
    key: BackendKey,
    orphan_grace: Duration,
    /// Ended from outside; None once it has answered.
    termination: Option<BoxFuture<'static, Error>>,
    /// The server wants idle sessions to go.
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    draining: bool,
    /// The server wants all sessions to go.
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The session is to end with this.
    ended: Option<Error>,
}

fn shutdown() -> Error {
    Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command")
}

impl<B: Backend> Guard<B> {
    pub fn new(
        shared: &Arc<Shared<B>>,
        session: &B::Session,
        drain: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        Guard {
            backend: shared.backend.clone(),
            key: session.backend_key(),
            orphan_grace: shared.config.orphan_grace,
            termination: Some(session.termination()),
            drain: Box::pin(drain.cancelled_owned()),
            draining: false,
            stop: Box::pin(stop.cancelled_owned()),
            ended: None,
        }
    }

    /// What the session is to end with, if it is to end.
    pub fn take_ended(&mut self) -> Option<Error> {
        self.ended.take()
    }

    /// Ready when the session is to end now; what with is in `ended`.
    fn poll_ended(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<()> {
        if self.ended.is_some() {
            return Poll::Ready(());
        }
        if let Some(termination) = &mut self.termination
            && let Poll::Ready(error) = termination.as_mut().poll(cx)
        {
            self.termination = None;
            self.ended = Some(error);
            return Poll::Ready(());
        }
        self.draining = self.draining || self.drain.as_mut().poll(cx).is_ready();
        if self.draining && (idle || self.stop.as_mut().poll(cx).is_ready()) {
            self.ended = Some(shutdown());
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Waits for input, or for the end of the session.
    pub async fn fill(&mut self, channel: &mut Channel, idle: bool) -> Result<(), End> {
        let mut fill = pin!(channel.fill());
        let filled = poll_fn(|cx| match fill.as_mut().poll(cx) {
            Poll::Ready(filled) => Poll::Ready(Some(filled)),
            Poll::Pending => self.poll_ended(cx, idle).map(|()| None),
        });
        match filled.await {
            Some(filled) => filled,
            None => Err(self.end()),
        }
    }

    /// Writes all output.
    pub async fn flush(&mut self, channel: &mut Channel) -> Result<(), End> {
        channel.promise();
        self.flush_promised(channel).await
    }

    /// Writes what the client is owed; a client that does not read must not keep a session that is to end.
    pub async fn flush_promised(&mut self, channel: &mut Channel) -> Result<(), End> {
        let mut flush = pin!(channel.flush_promised());
        let flushed = poll_fn(|cx| match flush.as_mut().poll(cx) {
            Poll::Ready(flushed) => Poll::Ready(Some(flushed)),
            Poll::Pending => self.poll_ended(cx, false).map(|()| None),
        });
        match flushed.await {
            Some(flushed) => flushed,
            None => Err(self.end()),
        }
    }

    fn end(&mut self) -> End {
        self.ended.take().map_or(End::Gone, End::Fatal)
    }

    /// Awaits a call into the session to its end, whatever happens meanwhile: a client that left or a session that is
    /// to end has its statement cancelled, and the statement answers. The call comes pinned: a session's futures are
    /// large, and would be copied on their way here.
    pub async fn drive<T>(&mut self, channel: &mut Channel, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        // Most calls end here.
        if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
            return done;
        }
        let mut client_left = {
            let mut client = pin!(async {
                if channel.flush_promised().await.is_ok() {
                    channel.watch().await;
                }
            });
            let waited = poll_fn(|cx| {
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(Ok(done));
                }
                if client.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(true));
                }
                self.poll_ended(cx, false).map(|()| Err(false))
            });
            match waited.await {
                Ok(done) => return done,
                Err(client_left) => client_left,
            }
        };
        loop {
            // A client that sent its last words and left: they are carried out, if that does not take long.
            let pause = if client_left {
                self.orphan_grace
            } else {
                self.backend.cancel(self.key);
                CANCEL_INTERVAL
            };
            client_left = false;
            if let Ok(done) = tokio::time::timeout(pause, work.as_mut()).await {
                return done;
            }
        }
    }
}
