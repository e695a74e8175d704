//! PostgreSQL's wire protocol: sockets, TLS, authentication, messages, bytes ↔ values. No SQL, no plans, no tables.
//!
//! The life of a message:
//! 1. [`server`] accepts a socket and gives it a task; [`config`] says on which terms.
//! 2. `handshake` leads it through TLS, the startup message and authentication (`scram`) to a session of the
//!    [`backend`], the engine.
//! 3. `channel` gathers the socket's bytes into whole messages, which `frontend` decodes in place.
//! 4. `connection` lets the session do what the message says: `connection::extended` for the extended protocol,
//!    `connection::copy` for COPY; `connection::guard` watches the client and the server's end meanwhile.
//! 5. `connection::results` turns the session's rows into DataRow messages with the encoders of `values`, chosen once
//!    per column, in one `output` buffer that is written to the socket once per Sync or whenever it is full.
//!
//! Beside them, [`http`] answers load balancers and Prometheus on a port of its own.

pub mod backend;
mod channel;
pub mod config;
mod connection;
mod frontend;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod handshake;
pub mod http;
mod output;
pub mod route;
mod scram;
pub mod server;
mod stream;
mod values;

pub use backend::{Backend, BackendSession};
pub use config::{Auth, BindError, ServerConfig, Tls};
pub use http::{HttpConfig, HttpServer};
pub use route::{CarriedSessions, Remote, Router, Routing};
pub use server::Server;
