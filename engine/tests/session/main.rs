//! Sessions over the log in memory: SQL scripts whose expected output PostgreSQL 15 wrote, interleaved sessions, COPY,
//! settings, and the point path against the general path.
#![allow(clippy::unwrap_used)]

mod client;
mod copy;
mod paths;
mod portals;
mod scripts;
mod several;
