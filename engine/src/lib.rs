//! The engine: SQL, catalog, planning, execution, partitions, transactions and the content of checkpoints.
pub mod commit_log;
