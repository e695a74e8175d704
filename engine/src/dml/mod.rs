//! Changing rows: INSERT, UPDATE, DELETE and what tables demand of their rows.
//!
//! A statement owns its row set: it computes which rows change and to what, locks each row, checks it again if it
//! changed since the snapshot, and only then writes into the transaction's buffer.
//!
//! Invariants:
//! 1. A row reaches the buffer only after NOT NULL and CHECK held for it; unique keys are storage's.
//! 2. Foreign keys hold at the end of each statement, deferred ones at COMMIT.
//! 3. READ COMMITTED never writes over a version that it has not looked at: a row that changed between snapshot and
//!    lock makes the statement look again.

mod arbiter;
pub mod call;
pub mod ddl;
pub mod delete;
pub mod foreign_key;
pub mod insert;
pub mod merge;
pub mod parts;
pub mod row_expr;
pub mod rules;
pub mod sequence;
pub mod target;
pub mod update;

pub use row_expr::RowExpr;
