//! A `lockstep` process of a test: it owns the process, its ports, its directory and what it printed.
//!
//! It must not know what a test does with it. Invariants:
//! 1. A process started here ends with its `Server`, by its own pid.
//! 2. Ports come from below the ephemeral range, so that a node that restarts finds its port free.
//! 3. What the process printed is shown when the test fails.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config, NoTls};

/// How long a server may take to answer, recovery included; debug builds on a busy machine are slow.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// How to start one node.
#[derive(Clone, Debug)]
pub struct Launch {
    pub binary: PathBuf,
    pub name: String,
    /// Address that clients reach the node by.
    pub host: String,
    pub port: u16,
    /// Address that the other nodes reach it by.
    pub peer_host: String,
    pub peer_port: u16,
    pub data_dir: PathBuf,
    pub join: Vec<String>,
    pub extra: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Network namespace to run in; none is the one of the test.
    pub namespace: Option<String>,
    /// A command that starts the node, and its arguments before the node's.
    pub wrapper: Vec<String>,
}

impl Launch {
    pub fn new(binary: impl Into<PathBuf>, name: &str, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            binary: binary.into(),
            name: name.into(),
            host: "127.0.0.1".into(),
            port: free_port(),
            peer_host: "127.0.0.1".into(),
            peer_port: free_port(),
            data_dir: data_dir.into(),
            join: Vec::new(),
            extra: Vec::new(),
            environment: Vec::new(),
            namespace: None,
            wrapper: Vec::new(),
        }
    }

    pub fn joining(mut self, other: &Launch) -> Self {
        self.join.push(other.peer_address());
        self
    }

    pub fn peer_address(&self) -> String {
        format!("{}:{}", self.peer_host, self.peer_port)
    }

    pub fn command(&self) -> Command {
        let within = self.namespace.iter().flat_map(|name| ["ip", "netns", "exec", name].map(OsString::from));
        let mut words = within.chain(self.wrapper.iter().map(OsString::from)).chain([self.binary.clone().into()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .args(["--listen", &format!("{}:{}", self.host, self.port)])
            .args(["--peer-listen", &self.peer_address()])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--node", &self.name]);
        for peer in &self.join {
            command.args(["--join", peer]);
        }
        command.args(&self.extra).envs(self.environment.iter().cloned());
        command
    }

    /// Starts the process and returns at once; `Server::ready` waits until it answers.
    pub fn spawn(&self) -> Server {
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.binary.display()));
        let log = Log::default();
        log.follow(child.stdout.take());
        log.follow(child.stderr.take());
        Server { launch: self.clone(), child, log, exit: None }
    }

    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).user("postgres").dbname("postgres");
        config.connect_timeout(Duration::from_secs(5));
        config
    }
}

/// The last lines that a process printed.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    const LINES_MAX: usize = 400;

    fn follow(&self, stream: Option<impl Read + Send + 'static>) {
        let (Some(stream), lines) = (stream, self.0.clone()) else { return };
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut lines = lines.lock().expect("log");
                if lines.len() == Self::LINES_MAX {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
    }

    pub fn text(&self) -> String {
        self.0.lock().expect("log").iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

/// A running process. Dropping it kills it.
pub struct Server {
    pub launch: Launch,
    child: Child,
    pub log: Log,
    exit: Option<ExitStatus>,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, once the process has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = self.child.try_wait().expect("wait");
        }
        self.exit
    }

    /// Waits until a client can write. Panics with the log when the process ends or time is up.
    pub async fn ready(mut self) -> Self {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.exited() {
                panic!("{} ended with {status}:\n{}", self.launch.name, self.log.text());
            }
            let mut config = self.launch.config();
            let Err(error) = connect(config.target_session_attrs(TargetSessionAttrs::ReadWrite)).await else {
                return self;
            };
            let log = self.log.text();
            assert!(Instant::now() < deadline, "{} is not ready: {error:?}\n{log}", self.launch.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn connect(&self) -> Client {
        match connect(&self.launch.config()).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect to {}: {error:?}\n{}", self.launch.name, self.log.text()),
        }
    }

    fn signal(&mut self, signal: &str) {
        if self.exited().is_none() {
            let pid = self.pid().to_string();
            let status = Command::new("kill").args([signal, &pid]).status().expect("kill");
            assert!(status.success() || self.exited().is_some(), "kill {signal} {pid}");
        }
    }

    /// `kill -9`, and the end of the process.
    pub fn kill(&mut self) {
        self.signal("-KILL");
        self.wait(Duration::from_secs(30));
    }

    pub fn stop(&mut self) {
        self.signal("-STOP");
    }

    pub fn resume(&mut self) {
        self.signal("-CONT");
    }

    pub fn terminate(&mut self) {
        self.signal("-TERM");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.launch.name, self.log.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.exited().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- {} printed:\n{}", self.launch.name, self.log.text());
        }
    }
}

/// Connects and drives the connection in a task of its own.
pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// A port that nothing listens on, never given twice by this process.
pub fn free_port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = (std::process::id().wrapping_mul(97) % u32::from(COUNT)) as u16;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// The binary that `cargo` built beside this program.
pub fn binary_beside(program: &Path) -> PathBuf {
    let profile = program.ancestors().find(|dir| dir.join("lockstep").is_file());
    profile.map(|dir| dir.join("lockstep")).unwrap_or_else(|| panic!("no lockstep binary beside {}", program.display()))
}
