//! Nodes talking to nodes: a framed protocol over TCP ([`frame`], [`message`]), the conversations that this node
//! begins ([`client`]) and those that others begin ([`server`]), and checkpoints on their way ([`transfer`]).
//!
//! Each purpose has its own connection, so that heartbeats never wait behind entries, nor entries behind a checkpoint.

pub mod client;
pub mod fetch;
pub mod frame;
pub mod link;
pub mod message;
pub mod server;
pub mod throttle;
pub mod transfer;
