//! The tests that start the real binary and talk to it as clients do. One program, because linking is slow.
#![allow(clippy::unwrap_used)] // a test's way to fail

#[allow(dead_code)] // each program uses a part of it
#[path = "../faults/mod.rs"]
mod faults;
#[allow(dead_code)] // as above
#[path = "../server/mod.rs"]
mod server;
#[allow(dead_code)] // as above
#[path = "../tpch/mod.rs"]
mod tpch;

mod abandoned;
mod activity;
mod arrows;
mod backup;
mod cluster;
mod commit_levels;
mod damage;
mod databases;
mod divergence;
mod driver;
mod exhaustive;
mod forced;
mod inheritance;
mod isolation;
mod membership;
mod memory;
mod monitoring;
mod outbox;
mod protocol;
mod reads;
mod routed_writes;
mod serializable;
mod slt;
mod startup;
mod strategies;
mod switchover;
mod target;
mod timeouts;
mod tpch_rows;
mod user_types;
mod values;
mod witness;
