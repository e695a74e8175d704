//! A scripted backend behind a real server on a real socket, and a client that speaks in bytes.
#![allow(clippy::unwrap_used, dead_code)]

pub mod client;
pub mod fake;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::{Server, ServerConfig};

use fake::Fake;

/// A running server; [`Running::stop`] ends it.
pub struct Running {
    pub address: SocketAddr,
    pub fake: Fake,
    shutdown: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

pub fn config() -> ServerConfig {
    ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        orphan_grace: Duration::from_millis(20),
        drain_timeout: Duration::from_secs(20),
        ..ServerConfig::default()
    }
}

pub fn start(config: ServerConfig) -> Running {
    let server = Server::bind(config).unwrap();
    let address = server.local_addresses()[0];
    let fake = Fake::default();
    let (shutdown, stopped) = oneshot::channel();
    let backend = fake.clone();
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        server.run(backend, stopped).await.unwrap();
    });
    Running { address, fake, shutdown: Some(shutdown), task }
}

impl Running {
    /// Asks the server to drain.
    pub fn begin_stop(&mut self) {
        self.shutdown.take().unwrap().send(()).unwrap();
    }

    /// Waits until every connection has ended.
    pub async fn stopped(mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            shutdown.send(()).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(30), self.task).await.unwrap().unwrap();
    }
}
