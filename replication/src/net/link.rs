//! A connection to another node as a pair of byte streams: TCP, or, in a simulation, what the simulated network makes
//! of it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

/// A peer that says nothing for so long is asked by the kernel whether it is still there, some times in a row.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_COUNT: u32 = 3;

/// Prepares a connection: small messages leave at once, and one whose other end is gone without a word, because its
/// machine or the network died, ends by itself instead of being waited for.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_INTERVAL)?;
    Ok(sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_COUNT)?)
}

#[cfg(not(any(test, feature = "simulation")))]
mod tcp {
    use super::*;

    pub type ReadHalf = tokio::net::tcp::OwnedReadHalf;
    pub type WriteHalf = tokio::net::tcp::OwnedWriteHalf;

    /// A connection that was made and is not used yet.
    pub struct Link(TcpStream);

    impl Link {
        pub async fn connect(address: &str) -> io::Result<Self> {
            TcpStream::connect(address).await.map(Self)
        }

        pub fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
            prepare(&self.0)?;
            Ok(self.0.into_split())
        }
    }

    /// The connection again, for another protocol.
    pub fn reunite(reader: ReadHalf, writer: WriteHalf) -> io::Result<TcpStream> {
        reader.reunite(writer).map_err(io::Error::other)
    }

    /// Takes the connections that others make.
    pub struct Listener(TcpListener);

    impl Listener {
        pub async fn bind(address: SocketAddr) -> io::Result<Self> {
            TcpListener::bind(address).await.map(Self)
        }

        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.local_addr()
        }

        pub async fn accept(&self) -> io::Result<(Link, SocketAddr)> {
            self.0.accept().await.map(|(stream, from)| (Link(stream), from))
        }
    }
}

#[cfg(not(any(test, feature = "simulation")))]
pub use tcp::{Link, Listener, ReadHalf, WriteHalf, reunite};

#[cfg(any(test, feature = "simulation"))]
pub use simulable::{Link, Listener, ReadHalf, WriteHalf, reunite};

/// Both kinds, for builds that contain the simulation.
#[cfg(any(test, feature = "simulation"))]
mod simulable {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
    use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

    use super::*;
    use crate::simulation::{self, network};

    pub enum Link {
        Tcp(TcpStream),
        Simulated(network::Link),
    }

    pub enum ReadHalf {
        Tcp(OwnedReadHalf),
        Simulated(network::ReadHalf),
    }

    pub enum WriteHalf {
        Tcp(OwnedWriteHalf),
        Simulated(network::WriteHalf),
    }

    impl Link {
        pub async fn connect(address: &str) -> io::Result<Self> {
            match simulation::is_running() {
                true => network::connect(address).await.map(Link::Simulated),
                false => TcpStream::connect(address).await.map(Link::Tcp),
            }
        }

        pub fn split(self) -> io::Result<(ReadHalf, WriteHalf)> {
            match self {
                Link::Tcp(stream) => {
                    prepare(&stream)?;
                    let (reader, writer) = stream.into_split();
                    Ok((ReadHalf::Tcp(reader), WriteHalf::Tcp(writer)))
                }
                Link::Simulated(link) => Ok((ReadHalf::Simulated(link.read), WriteHalf::Simulated(link.write))),
            }
        }
    }

    /// The connection again, for another protocol, which no simulated one can carry.
    pub fn reunite(reader: ReadHalf, writer: WriteHalf) -> io::Result<TcpStream> {
        match (reader, writer) {
            (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer)) => reader.reunite(writer).map_err(io::Error::other),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub enum Listener {
        Tcp(TcpListener),
        Simulated(network::Listener),
    }

    impl Listener {
        pub async fn bind(address: SocketAddr) -> io::Result<Self> {
            match simulation::is_running() {
                true => Ok(Listener::Simulated(network::listen(address))),
                false => TcpListener::bind(address).await.map(Listener::Tcp),
            }
        }

        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            match self {
                Listener::Tcp(listener) => listener.local_addr(),
                Listener::Simulated(listener) => Ok(listener.address),
            }
        }

        pub async fn accept(&self) -> io::Result<(Link, SocketAddr)> {
            match self {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, from)| (Link::Tcp(stream), from)),
                Listener::Simulated(listener) => {
                    listener.accept().await.map(|(link, from)| (Link::Simulated(link), from))
                }
            }
        }
    }

    impl AsyncRead for ReadHalf {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, into),
                ReadHalf::Simulated(half) => half.poll_read(cx, into),
            }
        }
    }

    impl AsyncWrite for WriteHalf {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                WriteHalf::Tcp(half) => Pin::new(half).poll_write(cx, bytes),
                WriteHalf::Simulated(half) => Poll::Ready(half.write(bytes)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                WriteHalf::Tcp(half) => Pin::new(half).poll_flush(cx),
                WriteHalf::Simulated(_) => Poll::Ready(Ok(())),
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                WriteHalf::Tcp(half) => Pin::new(half).poll_shutdown(cx),
                WriteHalf::Simulated(_) => Poll::Ready(Ok(())),
            }
        }
    }
}
