//! Nodes talking to nodes: a framed protocol over TCP ([`frame`], [`message`]), the conversations that this node
//! begins ([`client`]) and those that others begin ([`server`]), and checkpoints on their way ([`transfer`]).
//!
//! Each purpose has its own connection, so that heartbeats never wait behind entries, nor entries behind a checkpoint.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

pub mod client;
pub mod fetch;
pub mod frame;
pub mod message;
pub mod server;
pub mod throttle;
pub mod transfer;

/// A peer that says nothing for so long is asked by the kernel whether it is still there, some times in a row.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_COUNT: u32 = 3;

/// Prepares a connection: small messages leave at once, and one whose other end is gone without a word, because its
/// machine or the network died, ends by itself instead of being waited for.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_COUNT)?)
}
