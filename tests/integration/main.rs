//! The tests that start the real binary and talk to it as clients do. One program, because linking is slow.
#![allow(clippy::unwrap_used)] // a test's way to fail

#[path = "../server/mod.rs"]
mod server;

mod arrows;
mod driver;
mod isolation;
mod serializable;
mod slt;
mod startup;
mod target;
mod values;
