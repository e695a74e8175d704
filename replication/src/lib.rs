//! The replicated log: consensus, the log on disk, shipping to standbys, failover and membership.
//!
//! It sees records as opaque bytes and drives an [`engine::commit_log::StateMachine`] with them; it knows no SQL.
//! The binary starts a [`Node`] and hands it to the engine as its [`engine::commit_log::CommitLog`].

pub mod backup;
mod blocking;
mod cluster;
mod config;
mod error;
mod force;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod net;
mod node;
mod opening;
pub mod operator;
mod raft;
mod rebuild;
mod seeded;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod wal;
mod witness;

pub use config::{ClientSessions, NodeConfig, SessionRequest, SharedSessions, Timings};
pub use error::{Fatal, FatalHandler, StartError};
pub use force::{ForceError, ForcedOutcome, force_primary};
pub use node::Node;
pub use operator::{Operator, OperatorError};
pub use witness::Witness;
