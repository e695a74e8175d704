//! The two systems of a comparison, started the same way: durable, on loopback, in fresh directories, ended with us.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio_postgres::{Client, Config};

use crate::server::{Launch, Server, connect, free_port};

/// Processes that serve clients, and the port of the one that takes writes.
pub struct Peer {
    pub name: &'static str,
    pub port: u16,
    main: Vec<u32>,
    _nodes: Vec<Server>,
    _clusters: Vec<PgCluster>,
}

impl Peer {
    pub async fn lockstep(binary: &Path, dir: &Path, nodes: usize) -> Self {
        let mut servers: Vec<Server> = Vec::new();
        for node in 0..nodes {
            let name = format!("node{}", node + 1);
            let mut launch = Launch::new(binary, &name, dir.join(&name));
            launch.join = servers.iter().map(|server| server.launch.peer_address()).collect();
            let server = launch.spawn();
            servers.push(if node == 0 { server.ready().await } else { server });
        }
        let client = servers[0].connect().await;
        let voters = "SELECT count(*) FROM lockstep_nodes WHERE membership = 'voter'";
        while client.query_one(voters, &[]).await.expect("lockstep_nodes").get::<_, i64>(0) < nodes as i64 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let main = servers.iter().map(Server::pid).collect();
        let name = if nodes == 1 { "Lockstep" } else { "Lockstep, 3 nodes" };
        Self { name, port: servers[0].launch.port, main, _nodes: servers, _clusters: Vec::new() }
    }

    /// PostgreSQL 15, with a synchronous standby when asked for.
    pub async fn postgres(dir: &Path, standby: bool) -> Result<Self, String> {
        let settings = "shared_buffers = 2GB\nmax_wal_size = 8GB\nmax_connections = 100\nfsync = on\n";
        let primary = PgCluster::create(dir.join("pg"), settings)?;
        let mut clusters = vec![primary];
        if standby {
            let copy = PgCluster::copy(dir.join("pg-standby"), clusters[0].port)?;
            clusters.push(copy);
            let client = connect(&config(clusters[0].port)).await.map_err(|error| error.to_string())?;
            let names = "ALTER SYSTEM SET synchronous_standby_names = '*'";
            client.batch_execute(names).await.map_err(|error| error.to_string())?;
            client.batch_execute("SELECT pg_reload_conf()").await.map_err(|error| error.to_string())?;
            let synced = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            while client.query_one(synced, &[]).await.map_err(|error| error.to_string())?.get::<_, i64>(0) == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        let name = if standby { "PostgreSQL, 1 synchronous standby" } else { "PostgreSQL" };
        let main = clusters.iter().map(|cluster| cluster.pid).collect();
        Ok(Self { name, port: clusters[0].port, main, _nodes: Vec::new(), _clusters: clusters })
    }

    pub async fn client(&self) -> Result<Client, String> {
        connect(&config(self.port)).await.map_err(|error| format!("{}: {error:?}", self.name))
    }

    /// CPU seconds of all server processes so far, ended backends included.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks: u64 = self.main.iter().map(|pid| family(*pid).iter().map(|pid| cpu_ticks(*pid)).sum::<u64>()).sum();
        ticks as f64 / 100.0
    }

    /// Resident bytes of the main process.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.main[0])).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }
}

pub fn config(port: u16) -> Config {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("postgres").dbname("postgres");
    config
}

/// Fields of `/proc/PID/stat` behind the name of the command, from the state on.
fn stat(pid: u32) -> Vec<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect()
}

/// User and system time, with that of children that have been waited for.
fn cpu_ticks(pid: u32) -> u64 {
    stat(pid).get(11..15).map_or(0, |times| times.iter().sum())
}

fn family(pid: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut family: Vec<u32> = pids.filter(|child| stat(*child).get(1) == Some(&u64::from(pid))).collect();
    family.push(pid);
    family
}

/// A PostgreSQL data directory and its postmaster. Dropping it stops the server.
struct PgCluster {
    dir: PathBuf,
    port: u16,
    pid: u32,
}

/// The directory of PostgreSQL's server programs.
pub fn programs() -> Result<PathBuf, String> {
    let dir = PathBuf::from("/usr/lib/postgresql/15/bin");
    if dir.join("initdb").exists() { Ok(dir) } else { Err("PostgreSQL 15 is not installed".into()) }
}

/// A server program as a user that PostgreSQL accepts: not root.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let program = programs()?.join(program);
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = if root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(&program);
        command
    } else {
        Command::new(&program)
    };
    // Files, not pipes: pg_ctl's server keeps them open.
    let log = std::env::temp_dir().join(format!("versus-{}.log", std::process::id()));
    let file = std::fs::File::create(&log).map_err(|error| error.to_string())?;
    let errors = file.try_clone().map_err(|error| error.to_string())?;
    let status = command.args(arguments).current_dir("/").stdout(file).stderr(errors).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!("{} {arguments:?}: {}", program.display(), std::fs::read_to_string(&log).unwrap_or_default())),
    }
}

impl PgCluster {
    fn prepare(dir: &Path) -> Result<String, String> {
        std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        let text = dir.display().to_string();
        let own = format!("chmod 700 '{text}'; [ $(id -u) != 0 ] || chown postgres '{text}'; chmod a+x '{text}/..'");
        Command::new("sh").args(["-c", &own]).status().map_err(|error| error.to_string())?;
        Ok(text)
    }

    fn create(dir: PathBuf, settings: &str) -> Result<Self, String> {
        let text = Self::prepare(&dir)?;
        run("initdb", &["-D", &text, "-U", "postgres", "--auth=trust", "--locale=C.UTF-8", "-E", "UTF8"])?;
        let file = dir.join("postgresql.auto.conf");
        std::fs::write(&file, settings).map_err(|error| error.to_string())?;
        Self::start(dir)
    }

    fn copy(dir: PathBuf, from: u16) -> Result<Self, String> {
        let text = Self::prepare(&dir)?;
        let from = from.to_string();
        run("pg_basebackup", &["-h", "127.0.0.1", "-p", &from, "-U", "postgres", "-D", &text, "-R", "-c", "fast"])?;
        Self::start(dir)
    }

    fn start(dir: PathBuf) -> Result<Self, String> {
        let port = free_port();
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
        let text = dir.display().to_string();
        run("pg_ctl", &["-D", &text, "-o", &options, "-l", &format!("{text}/log"), "-w", "start"])?;
        let pid = std::fs::read_to_string(dir.join("postmaster.pid")).map_err(|error| error.to_string())?;
        let pid = pid.lines().next().and_then(|pid| pid.trim().parse().ok()).ok_or("no postmaster pid")?;
        Ok(Self { dir, port, pid })
    }
}

impl Drop for PgCluster {
    fn drop(&mut self) {
        if let Err(error) = run("pg_ctl", &["-D", &self.dir.display().to_string(), "-m", "immediate", "-w", "stop"]) {
            eprintln!("{error}");
        }
    }
}
