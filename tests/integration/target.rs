//! The server that a test talks to: a fresh `lockstep`, or a PostgreSQL whose answers are the expected ones.
//!
//! `LOCKSTEP_TEST_POSTGRES="host=127.0.0.1 port=5432 user=postgres"` chooses the latter; its schema `public` is
//! dropped and made anew for every target, so run with `--test-threads 1` and on a database made for it.

use std::path::Path;

use tempfile::TempDir;
use tokio_postgres::{Client, Config};

use crate::server::{Launch, Server, connect};

pub struct Target {
    config: Config,
    server: Option<Server>,
    _dir: Option<TempDir>,
}

/// How to start one node of the binary under test; `LOCKSTEP_BINARY` names another than the one cargo built.
pub fn launch(name: &str, data_dir: &Path) -> Launch {
    let built = || env!("CARGO_BIN_EXE_lockstep").into();
    Launch::new(std::env::var_os("LOCKSTEP_BINARY").unwrap_or_else(built), name, data_dir)
}

impl Target {
    pub async fn start() -> Self {
        if let Ok(postgres) = std::env::var("LOCKSTEP_TEST_POSTGRES") {
            let config: Config = postgres.parse().expect("LOCKSTEP_TEST_POSTGRES");
            let target = Self { config, server: None, _dir: None };
            target
                .client()
                .await
                .batch_execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                .await
                .expect("schema");
            return target;
        }
        let dir = TempDir::new().expect("directory");
        let server = launch("node1", &dir.path().join("data")).spawn().ready().await;
        Self { config: server.launch.config(), server: Some(server), _dir: Some(dir) }
    }

    pub fn is_postgres(&self) -> bool {
        self.server.is_none()
    }

    pub fn config(&self) -> Config {
        self.config.clone()
    }

    pub async fn client(&self) -> Client {
        match &self.server {
            Some(server) => server.connect().await,
            None => connect(&self.config).await.expect("PostgreSQL"),
        }
    }
}
