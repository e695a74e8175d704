//! Joins the client side of a node with its peers: sessions that a standby carries to the primary, and those that the
//! primary serves for clients of others. Owns no decision: `wire` carries, `replication` connects.

use std::sync::{Arc, OnceLock};

use engine::Engine;
use engine::error::{Error, Result, SqlState};
use engine::session::{BackendKey, Startup};
use futures::future::BoxFuture;
use replication::{ClientSessions, Node, SessionRequest, SharedSessions};
use tokio::net::TcpStream;
use wire::{CarriedSessions, Remote, Router, Routing};

/// The way to the primary, once the node runs: clients come earlier.
#[derive(Clone, Default)]
pub struct WayToPrimary(Arc<OnceLock<Arc<Node>>>);

impl WayToPrimary {
    pub fn routing(&self) -> Routing {
        Routing(Arc::new(self.clone()))
    }

    pub fn opens(&self, node: Arc<Node>) {
        let _ = self.0.set(node);
    }
}

fn no_primary() -> Error {
    Error::new(SqlState::CannotConnectNow, "the cluster has no primary that this node can reach at the moment")
}

impl Router for WayToPrimary {
    fn open(&self, startup: Startup) -> BoxFuture<'static, Result<Remote>> {
        let node = self.0.get().cloned();
        Box::pin(async move {
            let Startup { user, database, parameters, client } = startup;
            let node = node.ok_or_else(no_primary)?;
            let opened = node.open_session(SessionRequest { user, database, parameters, client }).await;
            let (primary, stream) = opened.ok_or_else(no_primary)?;
            let stream = TcpStream::from_std(stream);
            let stream = stream.map_err(|error| no_primary().detail(format!("{error}.")))?;
            Ok(Remote { primary, stream })
        })
    }

    fn cancel(&self, primary: u64, key: BackendKey) -> BoxFuture<'static, ()> {
        let node = self.0.get().cloned();
        Box::pin(async move {
            if let Some(node) = node {
                node.cancel_session(primary, key.process, key.secret).await;
            }
        })
    }

    fn primary(&self) -> Option<u64> {
        self.0.get().and_then(|node| node.primary())
    }
}

struct Sessions {
    engine: Arc<Engine>,
    carried: CarriedSessions,
}

/// Serves clients of other nodes.
pub fn sessions(engine: Arc<Engine>, carried: CarriedSessions) -> SharedSessions {
    SharedSessions(Arc::new(Sessions { engine, carried }))
}

impl ClientSessions for Sessions {
    fn serve(&self, stream: std::net::TcpStream, request: SessionRequest) {
        let SessionRequest { user, database, parameters, client } = request;
        self.carried.serve(stream, Startup { user, database, parameters, client });
    }

    fn cancel(&self, process: i32, secret: i32) {
        self.engine.cancel(BackendKey { process, secret });
    }
}
