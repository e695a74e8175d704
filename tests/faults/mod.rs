//! The fault checker: clients load a cluster of three, faults hit it, and what clients were told must stay true.
//!
//! `cargo run --example faults` is the long run, a few faults are among the integration tests. What is checked stands
//! in `history`; a run is as random as its seed, but the timing of processes is not under its control.

pub mod cluster;
pub mod elle;
pub mod history;
pub mod inject;
pub mod isolation;
pub mod run;
pub mod switchover;
pub mod workload;
