//! What the process is started with: defaults, then the TOML file, then the flags.
//!
//! Owns parsing and checking, nothing else. An unknown setting, in the file or on the command line, is an error.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::backup::Command;
use clap::Parser;
use replication::backup::archiver::ArchiveConfig;
use serde::Deserialize;

/// Why the configuration cannot be used. Each one is a sentence for whoever started the process.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is wrong: {message}")]
    File { path: PathBuf, message: String },
    #[error("{setting}: {message}")]
    Setting { setting: &'static str, message: String },
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
pub enum Auth {
    /// Whoever connects is who they say: for loopback addresses only.
    #[serde(rename = "trust")]
    Trust,
    /// SCRAM-SHA-256 with the verifier that `CREATE ROLE … PASSWORD` stored.
    #[serde(rename = "scram-sha-256")]
    #[value(name = "scram-sha-256")]
    ScramSha256,
}

/// A replicated in-memory database that speaks PostgreSQL's protocol.
#[derive(Debug, Parser)]
#[command(name = "lockstep", version, args_conflicts_with_subcommands = true)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    /// TOML file with the same settings under the same names, with underscores
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address for clients [default: 127.0.0.1:5432]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Address for the other nodes of the cluster [default: 127.0.0.1, the port of --listen plus 10000]
    #[arg(long, value_name = "HOST:PORT")]
    peer_listen: Option<String>,
    /// Address for Prometheus and load balancers: /metrics, /livez, /readyz, /primary, /replica [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    http_listen: Option<String>,
    /// Directory of the log and the checkpoints [default: lockstep-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Name of this node, unique in the cluster [default: node1]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Peer address of a node of the cluster to join; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// Wait until a cluster invites this node (ALTER SYSTEM ADD NODE), instead of beginning a cluster
    #[arg(long)]
    await_invitation: bool,
    /// Vote and keep the log, and no tables: the third vote for two nodes
    #[arg(long)]
    witness: bool,
    /// Join as an asynchronous standby that does not vote
    #[arg(long)]
    learner: bool,
    /// Memory that rows, indexes and queries may take, such as 4GB [default: three quarters of the machine's]
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<String>,
    /// Log after which a checkpoint is written, such as 1GB: recovery reads at most about twice as much [default: 256MB]
    #[arg(long, value_name = "BYTES")]
    max_wal_size: Option<String>,
    /// Time over which such a checkpoint is spread while there are commits, if there is as much log left [default: 4min]
    #[arg(long, value_name = "TIME")]
    checkpoint_spread: Option<String>,
    /// Connections at once [default: 500]
    #[arg(long, value_name = "N")]
    max_connections: Option<usize>,
    /// How clients prove who they are [default: trust, which is for loopback only]
    #[arg(long, value_enum)]
    auth: Option<Auth>,
    /// Let sessions set synchronous_commit to off or local, so that a commit can be lost after it was acknowledged
    #[arg(long)]
    allow_local_commit: bool,
    /// PEM file with the server's certificate chain: with it and --tls-key clients may use TLS
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// PEM file with the server's private key
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// How often the nodes are compared, such as 30min; 0: never [default: 1h]
    #[arg(long, value_name = "TIME")]
    divergence_check_interval: Option<String>,
    /// Bytes a second at which checkpoints go to other nodes and backups, such as 20MB; 0: no limit [default: 64MB]
    #[arg(long, value_name = "BYTES")]
    transfer_rate: Option<String>,
    /// Directory or URL (file:///…) that gets the log as it is committed, for recovery to any moment
    #[arg(long, value_name = "DIR|URL")]
    archive_to: Option<String>,
    /// What is committed waits so long, at most, until it is archived [default: 10s]
    #[arg(long, value_name = "TIME")]
    archive_interval: Option<String>,
    /// Log that is kept for an archive that does not take it [default: 4GB]
    #[arg(long, value_name = "BYTES")]
    archive_keep: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as info,replication=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// The same settings as they stand in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: Option<String>,
    peer_listen: Option<String>,
    http_listen: Option<String>,
    data_dir: Option<PathBuf>,
    node: Option<String>,
    #[serde(default)]
    join: Vec<String>,
    #[serde(default)]
    await_invitation: bool,
    #[serde(default)]
    witness: bool,
    #[serde(default)]
    learner: bool,
    memory_limit: Option<String>,
    max_wal_size: Option<String>,
    checkpoint_spread: Option<String>,
    max_connections: Option<usize>,
    auth: Option<Auth>,
    allow_local_commit: Option<bool>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    divergence_check_interval: Option<String>,
    transfer_rate: Option<String>,
    archive_to: Option<String>,
    archive_interval: Option<String>,
    archive_keep: Option<String>,
    log_level: Option<String>,
}

/// What the process was started for.
#[derive(Debug)]
pub enum Invocation {
    Serve(Box<Config>),
    Command(Command),
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address for clients. Default 127.0.0.1:5432.
    pub listen: SocketAddr,
    /// Address for peers. Default: 127.0.0.1 and the client port plus 10000 (minus, where that is too high).
    pub peer_listen: SocketAddr,
    /// Address for monitoring over HTTP. Default none.
    pub http_listen: Option<SocketAddr>,
    /// Default `lockstep-data` in the working directory.
    pub data_dir: PathBuf,
    /// Default `node1`.
    pub node: String,
    /// `HOST:PORT` of peers; empty for the first node.
    pub join: Vec<String>,
    /// With nobody to join: wait for an invitation. Default false.
    pub await_invitation: bool,
    /// Default false.
    pub witness: bool,
    /// Default false.
    pub learner: bool,
    /// Bytes. Default: three quarters of the machine's memory.
    pub memory_limit: usize,
    /// Bytes of log after which a checkpoint is written. Default 256 MiB, at least 1 MiB.
    pub max_wal_size: u64,
    /// Over which it is spread while there are commits. Default 4 min.
    pub checkpoint_spread: Duration,
    /// Default 500.
    pub max_connections: usize,
    /// Default trust.
    pub auth: Auth,
    /// `synchronous_commit` may be off or local. Default no; the same on all nodes, as any of them may become primary.
    pub allow_local_commit: bool,
    /// Certificate chain and key, both PEM files. Default none: SSLRequest is answered `N`.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Between two comparisons of the nodes. Default one hour; `None`: never.
    pub divergence_check_interval: Option<Duration>,
    /// Bytes a second at which checkpoints leave this node. Default 64 MiB; 0: no limit.
    pub transfer_rate: usize,
    /// Where the log is archived. Default nowhere.
    pub archive: Option<ArchiveConfig>,
    /// Filter for the log on standard error. Default `info`.
    pub log_level: String,
}

impl Config {
    /// Reads the command line of this process. Wrong flags print clap's message and exit with code 2.
    pub fn from_command_line() -> Result<Invocation, ConfigError> {
        let mut flags = Flags::parse();
        match flags.command.take() {
            Some(command) => Ok(Invocation::Command(command)),
            None => Self::resolve(flags).map(|config| Invocation::Serve(Box::new(config))),
        }
    }

    fn resolve(flags: Flags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let listen = address("listen", flags.listen.or(file.listen).as_deref().unwrap_or("127.0.0.1:5432"))?;
        let peer_listen = match flags.peer_listen.or(file.peer_listen) {
            Some(text) => address("peer-listen", &text)?,
            None => SocketAddr::from(([127, 0, 0, 1], peer_port(listen.port()))),
        };
        if peer_listen.port() == 0 {
            return Err(wrong("peer-listen", "the others have to find the node again: name a port"));
        }
        let http_listen = flags.http_listen.or(file.http_listen);
        let http_listen = http_listen.map(|text| address("http-listen", &text)).transpose()?;
        let memory_limit = match flags.memory_limit.or(file.memory_limit) {
            Some(text) => match bytes("memory-limit", &text)? {
                few if few < 64 << 20 => {
                    let (setting, message) = ("memory-limit", "at least 64MB are needed".into());
                    return Err(ConfigError::Setting { setting, message });
                }
                enough => enough,
            },
            None => machine_memory() / 4 * 3,
        };
        let max_wal_size = match flags.max_wal_size.or(file.max_wal_size) {
            Some(text) => bytes("max-wal-size", &text)? as u64,
            None => 256 << 20,
        };
        if max_wal_size < 1 << 20 {
            return Err(ConfigError::Setting { setting: "max-wal-size", message: "at least 1MB are needed".into() });
        }
        let spread = flags.checkpoint_spread.or(file.checkpoint_spread);
        let checkpoint_spread = duration("checkpoint-spread", spread.as_deref().unwrap_or("4min"))?;
        let tls = match (flags.tls_certificate.or(file.tls_certificate), flags.tls_key.or(file.tls_key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(ConfigError::Setting {
                    setting: "tls-certificate",
                    message: "a certificate and a key go together: give both or neither".into(),
                });
            }
        };
        let max_connections = flags.max_connections.or(file.max_connections).unwrap_or(500);
        if max_connections == 0 {
            return Err(ConfigError::Setting { setting: "max-connections", message: "must be at least 1".into() });
        }
        let node = flags.node.or(file.node).unwrap_or_else(|| "node1".into());
        if node.is_empty() || node.len() > 63 || node.chars().any(char::is_control) {
            return Err(ConfigError::Setting { setting: "node", message: "a name has 1 to 63 bytes".into() });
        }
        let interval = flags.divergence_check_interval.or(file.divergence_check_interval);
        let interval = duration("divergence-check-interval", interval.as_deref().unwrap_or("1h"))?;
        let (interval_text, keep) =
            (flags.archive_interval.or(file.archive_interval), flags.archive_keep.or(file.archive_keep));
        let archive_to = flags.archive_to.or(file.archive_to);
        if archive_to.as_ref().is_some_and(|to| to.trim().is_empty()) {
            return Err(wrong("archive-to", "it names neither a directory nor a URL"));
        }
        let archive = ArchiveConfig {
            to: archive_to.unwrap_or_default(),
            interval: duration("archive-interval", interval_text.as_deref().unwrap_or("10s"))?,
            keep_bytes: bytes("archive-keep", keep.as_deref().unwrap_or("4GB"))? as u64,
        };
        let archives = !archive.to.is_empty();
        if !archives && (interval_text.is_some() || keep.is_some()) {
            let message = "it means something only with archive-to".into();
            return Err(ConfigError::Setting { setting: "archive-interval and archive-keep", message });
        }
        let join = if flags.join.is_empty() { file.join } else { flags.join };
        join.iter().try_for_each(|address| peer_address("join", address))?;
        let await_invitation = flags.await_invitation || file.await_invitation;
        if await_invitation && !join.is_empty() {
            return Err(wrong("await-invitation", "a node joins or waits to be invited: leave out this or join"));
        }
        let transfer_rate = flags.transfer_rate.or(file.transfer_rate);
        if (flags.witness || file.witness) && (flags.learner || file.learner) {
            return Err(ConfigError::Setting {
                setting: "witness",
                message: "a witness is there to vote: no learner".into(),
            });
        }
        Ok(Config {
            divergence_check_interval: Some(interval).filter(|interval| !interval.is_zero()),
            transfer_rate: bytes("transfer-rate", transfer_rate.as_deref().unwrap_or("64MB"))?,
            archive: archives.then_some(archive),
            listen,
            peer_listen,
            http_listen,
            data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| "lockstep-data".into()),
            node,
            join,
            await_invitation,
            witness: flags.witness || file.witness,
            learner: flags.learner || file.learner,
            memory_limit,
            max_wal_size,
            checkpoint_spread,
            max_connections,
            auth: flags.auth.or(file.auth).unwrap_or(Auth::Trust),
            allow_local_commit: flags.allow_local_commit || file.allow_local_commit.unwrap_or(false),
            tls,
            log_level: log_filter(flags.log_level.or(file.log_level))?,
        })
    }
}

fn read_file(path: &PathBuf) -> Result<File, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1)).unwrap_or_default();
        ConfigError::File { path: path.clone(), message: format!("{line}{}", error.message()) }
    })
}

fn wrong(setting: &'static str, message: &str) -> ConfigError {
    ConfigError::Setting { setting, message: message.to_owned() }
}

/// A filter for the log. A word alone that is no level would be taken for a part of the program, and silence all others.
fn log_filter(text: Option<String>) -> Result<String, ConfigError> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    const PARTS: [&str; 5] = ["lockstep", "engine", "replication", "wire", "openraft"];
    let text = text.unwrap_or_else(|| "info".into());
    for directive in text.split(',').map(str::trim) {
        let part = directive.split("::").next().unwrap_or_default();
        let known = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive)) || PARTS.contains(&part);
        if !known && !directive.contains(['=', '[']) {
            let message = format!("\"{directive}\" is not a log level: use {}", LEVELS.join(", "));
            return Err(ConfigError::Setting { setting: "log-level", message });
        }
    }
    Ok(text)
}

/// Checks an address that is looked up later, again and again.
fn peer_address(setting: &'static str, text: &str) -> Result<(), ConfigError> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
    match port {
        Some(1..=u16::MAX) => Ok(()),
        _ => Err(ConfigError::Setting { setting, message: format!("\"{text}\" is not an address HOST:PORT") }),
    }
}

fn address(setting: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    use std::net::ToSocketAddrs;
    let wrong = || ConfigError::Setting { setting, message: format!("\"{text}\" is not an address HOST:PORT") };
    text.to_socket_addrs().map_err(|_| wrong())?.next().ok_or_else(wrong)
}

fn peer_port(client_port: u16) -> u16 {
    client_port.checked_add(10_000).unwrap_or_else(|| client_port - 10_000)
}

/// Reads `512MB`, `4GB`, `1073741824`: PostgreSQL's units, powers of 1024.
fn bytes(setting: &'static str, text: &str) -> Result<usize, ConfigError> {
    let wrong = |message: String| ConfigError::Setting { setting, message };
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        "TB" => 1 << 40,
        _ => return Err(wrong(format!("\"{unit}\" is not a unit; use B, kB, MB, GB or TB"))),
    };
    let value = number.parse::<usize>().ok().and_then(|n| n.checked_mul(factor));
    value.ok_or_else(|| wrong(format!("\"{text}\" is not a number of bytes")))
}

/// Reads `500ms`, `30s`, `10min`, `1h`, `2d`; a number alone means seconds.
fn duration(setting: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let wrong = |message: String| ConfigError::Setting { setting, message };
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong(format!("\"{unit}\" is not a unit; use ms, s, min, h or d"))),
    };
    let value = number.parse::<u64>().ok().and_then(|n| n.checked_mul(milliseconds));
    value.map(Duration::from_millis).ok_or_else(|| wrong(format!("\"{text}\" is not a time")))
}

/// Physical memory in bytes, or 8 GiB where the system does not say.
fn machine_memory() -> usize {
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<usize>().ok()
        })
        .map_or(8 << 30, |kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(arguments: &[&str]) -> Result<Config, String> {
        let flags = Flags::try_parse_from(std::iter::once(&"lockstep").chain(arguments)).map_err(|e| e.to_string())?;
        Config::resolve(flags).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_make_one_node_on_loopback() {
        let config = resolve(&[]).expect("defaults are valid");
        assert_eq!(config.listen.to_string(), "127.0.0.1:5432");
        assert_eq!(config.peer_listen.to_string(), "127.0.0.1:15432");
        assert_eq!(config.data_dir, PathBuf::from("lockstep-data"));
        assert!(config.join.is_empty());
        assert_eq!(config.auth, Auth::Trust);
        assert_eq!(
            (config.divergence_check_interval, config.transfer_rate),
            (Some(Duration::from_secs(3600)), 64 << 20)
        );
        let never = resolve(&["--divergence-check-interval", "0", "--transfer-rate", "20MB"]).expect("valid");
        assert_eq!((never.divergence_check_interval, never.transfer_rate), (None, 20 << 20));
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("lockstep.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:6000\"\nnode = \"a\"\nmemory_limit = \"1GB\"\n").expect("write");
        let path = path.to_str().expect("UTF-8 path");
        let config = resolve(&["--config", path, "--node", "b"]).expect("valid");
        assert_eq!((config.listen.port(), config.node.as_str(), config.memory_limit), (6000, "b", 1 << 30));
    }

    #[test]
    fn unknown_settings_and_bad_values_are_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("lockstep.toml");
        std::fs::write(&path, "listne = \"127.0.0.1:6000\"\n").expect("write");
        let error = resolve(&["--config", path.to_str().expect("UTF-8 path")]).expect_err("unknown setting");
        assert!(error.contains("unknown field `listne`"), "{error}");
        std::fs::write(&path, "node = \"a\"\nlisten = 5432\n").expect("write");
        let error = resolve(&["--config", path.to_str().expect("UTF-8 path")]).expect_err("wrong type");
        assert!(error.contains("line 2: "), "{error}");
        assert!(resolve(&["--colour", "red"]).is_err());
        for (flag, value) in [
            ("--listen", "nowhere"),
            ("--http-listen", "nowhere"),
            ("--memory-limit", "4 elephants"),
            ("--memory-limit", "1kB"),
            ("--max-wal-size", "1kB"),
            ("--max-connections", "0"),
            ("--divergence-check-interval", "often"),
            ("--transfer-rate", "fast"),
            ("--archive-keep", "1GB"),
            ("--archive-to", ""),
            ("--peer-listen", "127.0.0.1:0"),
            ("--join", "foo"),
            ("--join", ":7001"),
            ("--join", "foo:0"),
            ("--join", "foo:seven"),
            ("--log-level", "wran"),
            ("--log-level", "info,"),
        ] {
            assert!(resolve(&[flag, value]).is_err(), "{flag} {value}");
        }
        assert!(resolve(&["--await-invitation", "--join", "127.0.0.1:7001"]).is_err());
        for (flag, value) in [
            ("--join", "some.host:7001"),
            ("--join", "[::1]:7001"),
            ("--log-level", "WARN"),
            ("--log-level", "info,replication=debug"),
            ("--log-level", "replication::net"),
            ("--log-level", "tokio_util=trace"),
        ] {
            assert!(resolve(&[flag, value]).is_ok(), "{flag} {value}");
        }
        assert!(resolve(&["--tls-key", "key.pem"]).is_err());
    }
}
