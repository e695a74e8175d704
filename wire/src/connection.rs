//! One client's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::server::{SessionPlace, Shared};

pub(crate) async fn serve<B: Backend>(
    _socket: TcpStream,
    _peer: SocketAddr,
    shared: Arc<Shared<B>>,
    _drain: CancellationToken,
    _stop: CancellationToken,
) {
    let _place = SessionPlace::take(&shared);
}
