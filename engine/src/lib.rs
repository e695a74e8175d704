//! The engine: SQL, catalog, planning, execution, partitions, transactions and the content of checkpoints.
//!
//! The life of a statement: [`session`] receives its text, [`sql`] parses it once and binds names and types against
//! the [`catalog`]; a short statement becomes a point plan, all else a DataFusion plan run by [`query`] over
//! [`storage`]'s scans; [`dml`] turns row sets into changes in the private buffer of a transaction ([`txn`]); COMMIT
//! sequences them and hands a record to the [`commit_log`]; the applier installs what comes back from the log.

pub mod apply;
pub mod catalog;
mod checkpoint;
pub mod cluster;
pub mod commit_log;
mod configuration;
mod copy;
pub mod ddl;
mod direct;
pub mod divergence;
mod dml;
mod domain;
pub mod engine;
pub mod error;
pub mod expr;
pub mod expr_eval;
pub mod expr_fold;
pub mod functions;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod monitor;
mod pace;
pub mod parallel;
mod point;
pub mod query;
mod record;
pub mod recovery;
pub mod seeded;
pub mod session;
pub mod sql;
pub mod storage;
pub mod system;
pub mod txn;
pub mod types;

pub use engine::{Engine, EngineConfig};
pub use error::{Error, Result, SqlState};
pub use session::Session;
