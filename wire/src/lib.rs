//! PostgreSQL's wire protocol: sockets, TLS, authentication, messages, bytes ↔ values.

pub mod backend;
pub mod config;
mod connection;
pub mod server;

pub use config::{Auth, BindError, ServerConfig, Tls};
pub use server::Server;
