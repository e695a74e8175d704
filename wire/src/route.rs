//! The way from a session on a standby to the primary, as the binary provides it: `wire` does not know how nodes find and
//! trust each other.

use std::fmt;
use std::sync::Arc;

use engine::error::Result;
use engine::session::{BackendKey, Startup};
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A conversation with the primary. The session at its other end is opened for `Startup`, without a question for a
/// password: the client has answered it here, and nodes trust each other. It begins with AuthenticationOk.
pub struct Remote {
    /// The node that was the primary.
    pub primary: u64,
    pub stream: TcpStream,
}

/// Finds the primary.
pub trait Router: Send + Sync + 'static {
    /// Errors: 57P03 when there is no primary to reach.
    fn open(&self, startup: Startup) -> BoxFuture<'static, Result<Remote>>;

    /// Interrupts what a session that was opened runs.
    fn cancel(&self, primary: u64, key: BackendKey) -> BoxFuture<'static, ()>;

    /// The primary as far as this node knows.
    fn primary(&self) -> Option<u64>;
}

/// A shared router.
#[derive(Clone)]
pub struct Routing(pub Arc<dyn Router>);

impl fmt::Debug for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Routing")
    }
}

/// Conversations with other nodes that wait to be served.
pub(crate) const WAITING_MAX: usize = 256;

/// Hands conversations that other nodes began to the server.
#[derive(Debug, Clone)]
pub struct CarriedSessions(pub(crate) mpsc::Sender<(std::net::TcpStream, Startup)>);

impl CarriedSessions {
    /// Serves a session for a client of another node. A server that has no room hangs up.
    pub fn serve(&self, stream: std::net::TcpStream, startup: Startup) {
        if self.0.try_send((stream, startup)).is_err() {
            tracing::warn!("a session of another node's client was not taken in");
        }
    }
}
