//! Changes of the cluster that an operator asks for, as they cross the border to replication, and what clients are told.
//!
//! Nothing here decides whether a change is allowed: replication does, on the primary.

use serde::{Deserialize, Serialize};

use crate::commit_log::LogPosition;
use crate::error::{Error, SqlState};

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterChange {
    /// Another node becomes the primary: the one of that name, or the one that is best prepared.
    Switchover { to: Option<String> },
    /// A process that waits for it, at this address for peers, is invited to join.
    AddNode { peer_address: String, learner: bool },
    /// A node leaves for ever.
    RemoveNode { name: String },
    /// A learner becomes a voter.
    PromoteNode { name: String },
    /// A voter becomes a learner and stays one.
    DemoteNode { name: String },
}

impl ClusterChange {
    /// The command as PostgreSQL's messages name it.
    pub fn command(&self) -> &'static str {
        match self {
            ClusterChange::Switchover { .. } => "lockstep_switchover()",
            _ => "ALTER SYSTEM",
        }
    }
}

/// A node was made the only voter without the others: see `lockstep_data_loss_epochs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForcedPrimary {
    /// First term of the new epoch.
    pub term: u64,
    /// Where it begins in the log.
    pub position: LogPosition,
    pub node: String,
    /// Names of the voters that were given up.
    pub given_up: Vec<String>,
    /// Microseconds since 1970.
    pub at: i64,
}

/// What came of a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterChanged {
    /// Name of the node that it was about.
    pub node: String,
    /// What the operator should know although it worked.
    pub warnings: Vec<String>,
    pub notices: Vec<String>,
}

/// Why nothing was changed, unless it is [`ClusterChangeError::Unknown`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ClusterChangeError {
    #[error("the log of this server knows no other nodes")]
    Unsupported,
    #[error("the cluster has no primary at the moment")]
    NoPrimary,
    #[error("node \"{0}\" does not exist")]
    NoSuchNode(String),
    #[error("{0}")]
    Exists(String),
    #[error("{message}")]
    Refused { message: String, detail: String, hint: String },
    /// It may have happened, or still happen.
    #[error("the outcome of the change is unknown: {0}")]
    Unknown(String),
}

impl ClusterChangeError {
    pub fn refused(message: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        ClusterChangeError::Refused { message: message.into(), detail: detail.into(), hint: hint.into() }
    }
}

impl From<ClusterChangeError> for Error {
    fn from(error: ClusterChangeError) -> Error {
        let message = error.to_string();
        match error {
            ClusterChangeError::Unsupported => Error::unsupported("changes of the cluster on this server"),
            ClusterChangeError::NoPrimary => Error::new(SqlState::CannotConnectNow, message)
                .detail("No node has the votes of a majority, so nothing can be decided."),
            ClusterChangeError::NoSuchNode(_) => Error::new(SqlState::UndefinedObject, message),
            ClusterChangeError::Exists(_) => Error::new(SqlState::DuplicateObject, message),
            ClusterChangeError::Refused { detail, hint, .. } => {
                let mut error = Error::new(SqlState::ObjectNotInPrerequisiteState, message);
                if !detail.is_empty() {
                    error = error.detail(detail);
                }
                if !hint.is_empty() {
                    error = error.hint(hint);
                }
                error
            }
            ClusterChangeError::Unknown(_) => Error::new(SqlState::TransactionResolutionUnknown, message),
        }
    }
}
