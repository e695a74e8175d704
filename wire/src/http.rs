//! The port for load balancers and Prometheus: a few questions over HTTP/1.1, answered without authentication.
//!
//! | path | 200 when | body |
//! |---|---|---|
//! | `/livez` | the process answers | `alive` |
//! | `/readyz` | the node serves: as primary, or as a standby that knows its primary | what it is, or why not |
//! | `/primary` | the node is the primary | as above |
//! | `/replica` | the node is a standby that serves | as above |
//! | `/metrics` | always | Prometheus' text format |
//!
//! Otherwise 503. GET, HEAD and OPTIONS (HAProxy's default) ask the same. One request a connection.
//!
//! Invariants:
//! 1. A connection costs bounded memory and time, whatever its other side does: [`HttpConfig`] has the bounds.
//! 2. Nothing here changes the node, and no answer holds data of tables or texts of statements.

use std::future::Future;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::monitor::Standing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::BindError;
use crate::server::listen;

/// Pause after accept failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read and thrown away after the answer, so that it is not lost to a reset.
const LINGER_BYTES_MAX: usize = 64 << 10;
const TEXT: &str = "text/plain; charset=utf-8";
/// Prometheus' text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the answers are made of.
pub trait Monitored: Clone + Send + Sync + 'static {
    fn standing(&self) -> impl Future<Output = Standing> + Send;
    /// In Prometheus' text format.
    fn metrics(&self) -> impl Future<Output = String> + Send;
}

impl Monitored for Arc<Engine> {
    fn standing(&self) -> impl Future<Output = Standing> + Send {
        Engine::standing(self)
    }

    fn metrics(&self) -> impl Future<Output = String> + Send {
        Engine::metrics(self)
    }
}

#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub listen: SocketAddr,
    /// Connections at a time; the next ones wait in the kernel's backlog. Default 64.
    pub connections_max: usize,
    /// Bytes of a request with its headers; more is answered 431. Default 8 KiB.
    pub request_bytes_max: usize,
    /// How long each of reading the request, finding the answer and sending it may take. Default 5 s.
    pub patience: Duration,
}

impl HttpConfig {
    pub fn new(listen: SocketAddr) -> HttpConfig {
        HttpConfig { listen, connections_max: 64, request_bytes_max: 8 << 10, patience: Duration::from_secs(5) }
    }
}

/// A bound server that does not run yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: StdListener,
    config: HttpConfig,
}

impl HttpServer {
    /// Opens the socket. Beyond loopback the log says what that means.
    pub fn bind(config: HttpConfig) -> Result<HttpServer, BindError> {
        let address = config.listen;
        let listener = listen(address).map_err(|source| BindError::Address { address, source })?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "monitoring answers beyond loopback, to everybody and without a password: names of nodes and tables, and figures");
        }
        Ok(HttpServer { listener, config })
    }

    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `shutdown` resolves, and returns after the last connection has ended.
    pub async fn run(self, monitored: impl Monitored, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let accept = accept_loop(listener, monitored, Arc::new(self.config), tasks.clone(), stop.clone());
        tokio::select! {
            () = accept => {}
            () = shutdown => {}
        }
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        Ok(())
    }
}

async fn accept_loop(
    listener: TcpListener,
    monitored: impl Monitored,
    config: Arc<HttpConfig>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(config.connections_max));
    loop {
        // Never closed, so acquiring does not fail.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "could not accept a monitoring connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (monitored, config, stop) = (monitored.clone(), config.clone(), stop.clone());
        tasks.spawn(async move {
            // A client that goes away is its own business.
            if let Some(Err(error)) = stop.run_until_cancelled(serve(socket, &monitored, &config)).await {
                tracing::debug!(%error, "a monitoring connection failed");
            }
            drop(place);
        });
    }
}

async fn serve(mut socket: TcpStream, monitored: &impl Monitored, config: &HttpConfig) -> std::io::Result<()> {
    let request = tokio::time::timeout(config.patience, read_request(&mut socket, config.request_bytes_max)).await;
    let (answer, body) = match request {
        // Nothing, or too little, was asked.
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Err(_) => (Answer::text(408, "the request did not come in time"), true),
        Ok(Ok(Some(Err(answer)))) => (answer, true),
        Ok(Ok(Some(Ok(request)))) => {
            let answer = tokio::time::timeout(config.patience, answer(&request, monitored)).await;
            (answer.unwrap_or_else(|_| Answer::text(503, "no answer in time")), request.method != Method::Head)
        }
    };
    let bytes = answer.to_bytes(body);
    let sent = tokio::time::timeout(config.patience, async {
        socket.write_all(&bytes).await?;
        socket.shutdown().await?;
        linger(&mut socket).await
    });
    sent.await.unwrap_or(Ok(()))
}

/// Reads what else comes until the other side closes.
async fn linger(socket: &mut TcpStream) -> std::io::Result<()> {
    let (mut rest, mut buffer) = (LINGER_BYTES_MAX, [0; 1024]);
    while rest > 0 {
        match socket.read(&mut buffer).await? {
            0 => return Ok(()),
            read => rest = rest.saturating_sub(read),
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Head,
    Options,
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    method: Method,
    path: String,
}

/// Reads up to the end of the headers. `None`: the other side closed before.
async fn read_request(socket: &mut TcpStream, bytes_max: usize) -> std::io::Result<Option<Result<Request, Answer>>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 2048]);
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Ok(None);
        }
        // The end may lie across two reads.
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if head.get(seen..).is_some_and(|new| new.windows(4).any(|end| end == b"\r\n\r\n")) {
            return Ok(Some(parse(&head)));
        }
        if head.len() > bytes_max {
            return Ok(Some(Err(Answer::text(431, "the request is too long"))));
        }
    }
}

/// The request line (RFC 9112, section 3). No header changes the answer.
fn parse(head: &[u8]) -> Result<Request, Answer> {
    let bad = || Answer::text(400, "this is not a request of HTTP/1");
    let line = head.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok());
    let words: Vec<&str> = line.ok_or_else(bad)?.split(' ').collect();
    let [method, target, version] = words.as_slice() else { return Err(bad()) };
    if !matches!(*version, "HTTP/1.0" | "HTTP/1.1") || !target.starts_with('/') {
        return Err(bad());
    }
    let method = match *method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "OPTIONS" => Method::Options,
        _ => return Err(Answer { allow: true, ..Answer::text(405, "only GET, HEAD and OPTIONS are answered") }),
    };
    let path = target.split('?').next().unwrap_or_default().to_owned();
    Ok(Request { method, path })
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    content: &'static str,
    body: String,
    allow: bool,
}

impl Answer {
    fn text(status: u16, text: &str) -> Answer {
        Answer { status, content: TEXT, body: format!("{text}\n"), allow: false }
    }

    fn to_bytes(&self, body: bool) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let allow = if self.allow { "Allow: GET, HEAD, OPTIONS\r\n" } else { "" };
        let (status, content, length) = (self.status, self.content, self.body.len());
        let mut bytes = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        .into_bytes();
        if body {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}

async fn answer(request: &Request, monitored: &impl Monitored) -> Answer {
    let wanted: fn(&Standing) -> bool = match request.path.as_str() {
        "/livez" => return Answer::text(200, "alive"),
        "/metrics" => {
            return Answer { status: 200, content: EXPOSITION, body: monitored.metrics().await, allow: false };
        }
        "/readyz" => |standing| matches!(standing, Standing::Primary | Standing::Standby | Standing::Witness),
        "/primary" => |standing| *standing == Standing::Primary,
        "/replica" => |standing| *standing == Standing::Standby,
        _ => return Answer::text(404, "there is /livez, /readyz, /primary, /replica and /metrics"),
    };
    let standing = monitored.standing().await;
    let text = match &standing {
        Standing::Starting => "starting".to_owned(),
        Standing::Primary => "primary".to_owned(),
        Standing::Standby => "standby".to_owned(),
        Standing::Witness => "witness".to_owned(),
        Standing::Unready(why) => format!("not ready: {why}"),
    };
    Answer::text(if wanted(&standing) { 200 } else { 503 }, &text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Clone)]
    struct Fixed(Standing);

    impl Monitored for Fixed {
        async fn standing(&self) -> Standing {
            self.0.clone()
        }

        async fn metrics(&self) -> String {
            "a 1\n".into()
        }
    }

    async fn serve_one(standing: Standing, config: impl FnOnce(&mut HttpConfig), sent: &[u8]) -> String {
        let mut settings = HttpConfig::new("127.0.0.1:0".parse().unwrap());
        config(&mut settings);
        let server = HttpServer::bind(settings).unwrap();
        let address = server.local_address().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.run(Fixed(standing), async {
            let _ = stopped.await;
        }));
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(sent).await.unwrap();
        let mut got = String::new();
        socket.read_to_string(&mut got).await.unwrap();
        drop(stop);
        serving.await.unwrap().unwrap();
        got
    }

    async fn status(standing: Standing, path: &str) -> (String, String) {
        let got = serve_one(standing, |_| {}, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.trim_end().to_owned())
    }

    #[tokio::test]
    async fn each_path_says_what_the_node_is() {
        let unready = || Standing::Unready("no quorum".into());
        for (standing, codes, body) in [
            (Standing::Starting, ["200", "503", "503", "503"], "starting"),
            (Standing::Primary, ["200", "200", "200", "503"], "primary"),
            (Standing::Standby, ["200", "200", "503", "200"], "standby"),
            (Standing::Witness, ["200", "200", "503", "503"], "witness"),
            (unready(), ["200", "503", "503", "503"], "not ready: no quorum"),
        ] {
            for (path, code) in ["/livez", "/readyz?verbose", "/primary", "/replica"].iter().zip(codes) {
                let text = if *path == "/livez" { "alive" } else { body };
                assert_eq!(status(standing.clone(), path).await, (code.into(), text.into()), "{path}");
            }
        }
        assert_eq!(status(Standing::Primary, "/metrics").await, ("200".into(), "a 1".into()));
        assert_eq!(status(Standing::Primary, "/").await.0, "404");
    }

    #[tokio::test]
    async fn methods_and_what_is_no_request() {
        for (sent, begin, body) in [
            ("HEAD /primary HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", false),
            ("OPTIONS /primary HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK", true),
            ("POST /primary HTTP/1.1\r\n\r\n", "HTTP/1.1 405 ", true),
            ("GET primary HTTP/1.1\r\n\r\n", "HTTP/1.1 400 ", true),
            ("GET /primary HTTP/2\r\n\r\n", "HTTP/1.1 400 ", true),
            ("\u{0}\u{3}\r\n\r\n", "HTTP/1.1 400 ", true),
        ] {
            let got = serve_one(Standing::Primary, |_| {}, sent.as_bytes()).await;
            assert!(got.starts_with(begin), "{sent}: {got}");
            assert_eq!(!got.split_once("\r\n\r\n").unwrap().1.is_empty(), body, "{sent}: {got}");
        }
    }

    #[tokio::test]
    async fn long_and_slow_requests_end() {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
        let got = serve_one(Standing::Primary, |_| {}, long.as_bytes()).await;
        assert!(got.starts_with("HTTP/1.1 431 "), "{got}");
        let impatient = |config: &mut HttpConfig| config.patience = Duration::from_millis(20);
        let got = serve_one(Standing::Primary, impatient, b"GET /livez HTTP/1.1\r\n").await;
        assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_their_turn() {
        let mut config = HttpConfig::new("127.0.0.1:0".parse().unwrap());
        config.connections_max = 1;
        let server = HttpServer::bind(config).unwrap();
        let address = server.local_address().unwrap();
        let serving = tokio::spawn(server.run(Fixed(Standing::Primary), std::future::pending()));
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(b"GET /livez").await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(b"GET /livez HTTP/1.1\r\n\r\n").await.unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(50), second.read_u8()).await;
        assert!(waits.is_err());
        drop(first);
        assert_eq!(second.read_u8().await.unwrap(), b'H');
        serving.abort();
    }
}
