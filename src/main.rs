//! The binary: reads the configuration, wires log, engine and clients together, and ends them in order.
//!
//! Owns the life of the process and no logic. Start: sockets first (a taken port is known before the data is
//! touched), then recovery while clients are told to wait. End: clients drain, a checkpoint is written, the log is closed.

mod backup;
mod config;
mod force_command;
mod memory;
mod node_command;
mod routing;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use engine::cluster::ClusterChange;
use engine::commit_log::{CommitLog, SharedStateMachine};
use engine::{Engine, EngineConfig};
use replication::{Fatal, Node, NodeConfig, Witness};
use tokio::sync::oneshot;
use wire::{HttpConfig, HttpServer, Server, ServerConfig, Tls};

use config::{Auth, Config, ConfigError, Invocation};

/// Stack of the threads that bind and plan: expressions nest as deep as the parser lets them.
const THREAD_STACK_BYTES: usize = 8 << 20;

/// How often a node that has no primary looks whether there is one.
const PRIMARY_POLL: std::time::Duration = std::time::Duration::from_millis(5);

/// How long a primary that was told to end looks for a successor.
const HAND_OVER: std::time::Duration = std::time::Duration::from_secs(5);

/// Why the process did not start.
#[derive(Debug, thiserror::Error)]
enum StartupError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("log-level: {0}")]
    LogLevel(String),
    #[error("{0}")]
    Bind(#[from] wire::BindError),
    #[error("{0}")]
    Node(#[from] replication::StartError),
    #[error("{0}")]
    Command(#[from] backup::CommandError),
    #[error("the server failed: {0}")]
    Serve(#[from] std::io::Error),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    match std::env::args().nth(1).as_deref() {
        Some("node") => {
            arguments.next();
            return node_command::run(arguments);
        }
        Some("force-primary") => {
            arguments.next();
            return force_command::run(arguments);
        }
        _ => {}
    }
    let started = match Config::from_command_line() {
        Ok(Invocation::Serve(config)) => run(*config),
        Ok(Invocation::Command(command)) => command.run().map_err(StartupError::from),
        Err(error) => Err(error.into()),
    };
    match started {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lockstep: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> Result<(), StartupError> {
    start_logging(&config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("session")
        .thread_stack_size(THREAD_STACK_BYTES)
        .build()?;
    runtime.block_on(serve(config))
}

fn start_logging(filter: &str) -> Result<(), StartupError> {
    // openraft tells each of its steps at info and each missed heartbeat as a warning; whoever wants them names it.
    let filter = match filter.contains("openraft") {
        true => filter.to_owned(),
        false => format!("{filter},openraft=error"),
    };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|_| StartupError::LogLevel(format!("\"{filter}\" is not a log level or filter")))?;
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    Ok(())
}

async fn serve(config: Config) -> Result<(), StartupError> {
    let way = routing::WayToPrimary::default();
    let mut server_config = server_config(&config)?;
    server_config.routing = Some(way.routing());
    let server = Server::bind(server_config)?;
    let http = config.http_listen.map(|address| HttpServer::bind(HttpConfig::new(address))).transpose()?;
    let carried = server.carried_sessions();
    let client_address = server.local_addresses().first().map_or(config.listen, |address| *address);

    let engine = Engine::new(EngineConfig {
        memory_limit: config.memory_limit,
        node_name: config.node.clone(),
        allow_local_commit: config.allow_local_commit,
        max_connections: config.max_connections,
        witness: config.witness,
        ..EngineConfig::default()
    });
    // Clients are answered from here on: with 57P03 until the data is there.
    let (drain, drained) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.run(engine.clone(), async {
        let _ = drained.await;
    }));

    let (monitored, unmonitored) = oneshot::channel::<()>();
    let monitoring = http.map(|http| serve_monitoring(http, engine.clone(), unmonitored)).transpose()?;

    let mut node_config = NodeConfig::new(&config.data_dir, &config.node, config.peer_listen);
    node_config.client_address = client_address.to_string();
    node_config.join = config.join.clone();
    node_config.sessions = Some(routing::sessions(engine.clone(), carried));
    node_config.transfer_bytes_per_second = config.transfer_rate as u64;
    node_config.archive = config.archive.clone();
    node_config.checkpoint_log_bytes = config.max_wal_size;
    node_config.checkpoint_spread = config.checkpoint_spread;
    node_config.await_invitation = config.await_invitation;
    node_config.witness = config.witness;
    node_config.learner = config.learner;
    let state_machine: SharedStateMachine = match config.witness {
        true => Arc::new(Witness::default()),
        false => engine.state_machine(),
    };
    // Recovery and joining block; the session threads stay free.
    let node = tokio::task::spawn_blocking(move || Node::start(node_config, state_machine, Arc::new(end_at_once)))
        .await
        .map_err(std::io::Error::other)??;
    let node = Arc::new(node);
    way.opens(node.clone());
    // On a witness too, for what it says of itself: clients are refused before they come to it.
    engine.attach_log(node.clone());
    let giving_back = tokio::spawn(memory::give_back(engine.clone()));
    let comparing = config.divergence_check_interval.filter(|_| !config.witness);
    let comparing = comparing.map(|every| tokio::spawn(engine.clone().check_divergence_on_schedule(every)));
    let watching = tokio::spawn(engine::monitor::watch(engine.clone()));
    let stop = shutdown_signal();
    tokio::pin!(stop);
    tokio::select! {
        _ = primary_known(&node) => {
            tracing::info!(node = %config.node, clients = %client_address, peers = %config.peer_listen, "ready");
            if !config.witness {
                println!("psql -h {} -p {} -U postgres postgres", client_address.ip(), client_address.port());
            }
            stop.await;
        }
        _ = &mut stop => {}
    }

    hand_over(&node).await;
    giving_back.abort();
    comparing.inspect(tokio::task::JoinHandle::abort);
    watching.abort();
    // Load balancers send nobody here any more.
    drop(monitored);
    if let Some(monitoring) = monitoring {
        monitoring.await.map_err(std::io::Error::other)??;
    }
    let _ = drain.send(());
    serving.await.map_err(std::io::Error::other)??;
    tracing::info!("clients are gone; writing a checkpoint");
    if let Err(error) = node.checkpoint().await {
        // The log still holds everything: the next start only takes longer.
        tracing::warn!(%error, "no checkpoint at shutdown");
    }
    engine.stop();
    tokio::task::spawn_blocking(move || node.stop()).await.map_err(std::io::Error::other)?;
    Ok(())
}

/// Lets another node be the primary while this one still serves its clients, so that writes go on elsewhere before they
/// are sent away.
async fn hand_over(node: &Node) {
    let status = node.status().await;
    if status.primary != Some(node.id()) || status.nodes.len() < 2 {
        return;
    }
    let handing_over = node.change_cluster(ClusterChange::Switchover { to: None });
    match tokio::time::timeout(HAND_OVER, handing_over).await {
        Ok(Ok(changed)) => tracing::info!(primary = changed.node, "handed over"),
        Ok(Err(error)) => tracing::info!("not handed over: {error}"),
        Err(_) => tracing::warn!("not handed over in time"),
    }
}

/// Answers load balancers and Prometheus until the other end of `stopped` is dropped.
fn serve_monitoring(
    http: HttpServer,
    engine: Arc<Engine>,
    stopped: oneshot::Receiver<()>,
) -> std::io::Result<tokio::task::JoinHandle<std::io::Result<()>>> {
    tracing::info!(address = %http.local_address()?, "monitoring answers over HTTP");
    Ok(tokio::spawn(http.run(engine, async {
        let _ = stopped.await;
    })))
}

/// Returns when there is a primary to write to: at once for a node alone, after an election otherwise.
async fn primary_known(node: &Node) {
    let mut pause = tokio::time::interval(PRIMARY_POLL);
    while node.status().await.primary.is_none() {
        pause.tick().await;
    }
}

fn server_config(config: &Config) -> Result<ServerConfig, StartupError> {
    let tls = match &config.tls {
        Some((certificate, key)) => Some(Tls::from_pem_files(certificate, key)?),
        None => None,
    };
    let auth = match config.auth {
        Auth::Trust => wire::Auth::Trust,
        Auth::ScramSha256 => wire::Auth::Scram,
    };
    Ok(ServerConfig {
        listen: vec![config.listen],
        max_connections: config.max_connections,
        auth,
        tls,
        ..ServerConfig::default()
    })
}

/// A log that cannot be trusted any more ends the process: nothing may be acknowledged after this line.
fn end_at_once(fatal: Fatal) {
    tracing::error!(%fatal, "ending");
    eprintln!("lockstep: {fatal}");
    std::process::abort();
}

/// SIGTERM (the usual request) or SIGINT (Ctrl-C in a terminal).
async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals; end the process with SIGKILL, which is safe");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
}
