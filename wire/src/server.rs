//! The listening side: accepts sockets, limits how many there are, and drains them at shutdown.
//!
//! Invariants:
//! 1. Sockets that have not authenticated are bounded too: [`UNAUTHENTICATED_MAX`] beyond the session limit. The rest
//!    wait in the kernel's backlog.
//! 2. [`Server::run`] returns after the last connection task has ended.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use engine::session::Startup;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::Backend;
use crate::config::{BindError, ServerConfig};
use crate::connection;
use crate::route::CarriedSessions;

/// Sockets beyond `max_connections` that may be in their start-up at a time: clients about to be told 53300, and
/// CancelRequests, which must get through when the server is full.
const UNAUTHENTICATED_MAX: usize = 64;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// Pause after accept failed for want of resources (EMFILE and the like).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound server that does not run yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<StdListener>,
    config: ServerConfig,
    carried: (CarriedSessions, mpsc::Receiver<(std::net::TcpStream, Startup)>),
}

/// What every connection of a server needs.
pub(crate) struct Shared<B> {
    pub backend: B,
    pub config: ServerConfig,
    pub sessions: AtomicUsize,
    /// Key of the salts that unknown users are shown, so that they look like known ones.
    pub mock_secret: [u8; 32],
}

impl Server {
    /// Opens the sockets, so that a taken port is known before the database starts.
    pub fn bind(config: ServerConfig) -> Result<Server, BindError> {
        config.check()?;
        let listeners = config
            .listen
            .iter()
            .map(|address| listen(*address).map_err(|source| BindError::Address { address: *address, source }))
            .collect::<Result<_, _>>()?;
        let (sender, receiver) = mpsc::channel(crate::route::WAITING_MAX);
        Ok(Server { listeners, config, carried: (CarriedSessions(sender), receiver) })
    }

    /// Where conversations go that other nodes begin for their clients.
    pub fn carried_sessions(&self) -> CarriedSessions {
        self.carried.0.clone()
    }

    /// The addresses listened on, with the ports that the system chose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves clients until `shutdown` resolves, then drains: idle sessions end at once, open transactions get
    /// [`ServerConfig::drain_timeout`].
    pub async fn run<B: Backend>(self, backend: B, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let drain_timeout = self.config.drain_timeout;
        let places = Arc::new(Semaphore::new(self.config.max_connections + UNAUTHENTICATED_MAX));
        let shared = Arc::new(Shared {
            backend,
            config: self.config,
            sessions: AtomicUsize::new(0),
            mock_secret: rand::random(),
        });
        let tasks = TaskTracker::new();
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        for listener in self.listeners {
            let accept = accept_loop(
                TcpListener::from_std(listener)?,
                shared.clone(),
                places.clone(),
                tasks.clone(),
                (drain.clone(), stop.clone()),
            );
            let draining = drain.clone();
            tasks.spawn(async move {
                draining.run_until_cancelled(accept).await;
            });
        }
        let (_, carried) = self.carried;
        let serve = serve_carried(carried, shared, tasks.clone(), (drain.clone(), stop.clone()));
        let draining = drain.clone();
        tasks.spawn(async move {
            draining.run_until_cancelled(serve).await;
        });
        shutdown.await;
        drain.cancel();
        tasks.close();
        if tokio::time::timeout(drain_timeout, tasks.wait()).await.is_err() {
            stop.cancel();
            tasks.wait().await;
        }
        Ok(())
    }
}

pub(crate) fn listen(address: SocketAddr) -> std::io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` must not take the IPv4 port as well: it may be listed on its own.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept_loop<B: Backend>(
    listener: TcpListener,
    shared: Arc<Shared<B>>,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    (drain, stop): (CancellationToken, CancellationToken),
) {
    loop {
        // Never closed, so acquiring does not fail.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = prepare_socket(&socket) {
            tracing::debug!(%error, %peer, "could not configure a socket");
            continue;
        }
        let shared = shared.clone();
        let (drain, stop) = (drain.child_token(), stop.child_token());
        tasks.spawn(async move {
            connection::serve(socket, peer, shared, drain, stop).await;
            drop(place);
        });
    }
}

/// Sessions for clients of other nodes; they count among `max_connections`.
async fn serve_carried<B: Backend>(
    mut carried: mpsc::Receiver<(std::net::TcpStream, Startup)>,
    shared: Arc<Shared<B>>,
    tasks: TaskTracker,
    (drain, stop): (CancellationToken, CancellationToken),
) {
    while let Some((socket, startup)) = carried.recv().await {
        let prepared = TcpStream::from_std(socket).and_then(|socket| prepare_socket(&socket).map(|()| socket));
        match prepared {
            Ok(socket) => {
                let (shared, drain, stop) = (shared.clone(), drain.child_token(), stop.child_token());
                tasks.spawn(connection::serve_carried(socket, startup, shared, drain, stop));
            }
            Err(error) => tracing::warn!(%error, "could not serve a session of another node's client"),
        }
    }
}

/// Answers leave at once, and a peer that vanished is noticed.
fn prepare_socket(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive =
        socket2::TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10));
    socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// A place among the `max_connections` sessions, returned on drop.
pub(crate) struct SessionPlace<B>(Arc<Shared<B>>);

impl<B> SessionPlace<B> {
    pub fn take(shared: &Arc<Shared<B>>) -> Option<SessionPlace<B>> {
        let limit = shared.config.max_connections;
        shared
            .sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < limit).then_some(n + 1))
            .ok()
            .map(|_| SessionPlace(shared.clone()))
    }
}

impl<B> Drop for SessionPlace<B> {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
