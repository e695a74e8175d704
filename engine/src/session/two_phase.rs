//! PREPARE TRANSACTION and its like. `max_prepared_transactions` is 0 and cannot be raised: what commits is in the log of a
//! majority, and a transaction that is neither in it nor given up could not outlive its node. So PREPARE TRANSACTION ends its
//! transaction with the answer that PostgreSQL has under that setting, after what PostgreSQL looks at before.

use super::Session;
use crate::error::{Error, Result, SqlState};

/// Longest identifier, in bytes.
const IDENTIFIER_MAX: usize = 199;

impl Session {
    /// PREPARE TRANSACTION: the block is over, whatever is answered.
    pub(super) async fn prepare_block(&mut self, id: &str) -> Result<&'static str> {
        if !self.block.explicit {
            self.warn(SqlState::NoActiveSqlTransaction, "there is no transaction in progress");
        }
        let alone = !self.block.explicit && self.simple_total <= 1;
        let refused = match alone || self.block.failed {
            true => Ok("ROLLBACK"),
            false => self.refuse_to_prepare(id).await,
        };
        self.abandon();
        refused
    }

    async fn refuse_to_prepare(&mut self, id: &str) -> Result<&'static str> {
        let shared = self.shared.clone();
        shared.interruptible(None, Box::pin(self.check_deferred()).as_mut()).await?;
        let cannot = |what: &str| {
            Err(Error::new(SqlState::FeatureNotSupported, format!("cannot PREPARE a transaction that has {what}")))
        };
        if !self.cursors_to_hold().is_empty() {
            return cannot("created a cursor WITH HOLD");
        }
        if self.block.transaction.as_ref().is_some_and(|t| t.used_temporary()) {
            return cannot("operated on temporary objects");
        }
        if id.len() > IDENTIFIER_MAX {
            let message = format!("transaction identifier \"{id}\" is too long");
            return Err(Error::new(SqlState::InvalidParameterValue, message));
        }
        Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "prepared transactions are disabled")
            .hint("Set max_prepared_transactions to a nonzero value."))
    }

    /// COMMIT PREPARED and ROLLBACK PREPARED: no transaction is prepared.
    pub(super) fn no_prepared(&mut self, command: &str, id: &str) -> Error {
        match self.forbid_block(command) {
            Err(error) => error,
            Ok(()) => Error::new(
                SqlState::UndefinedObject,
                format!("prepared transaction with identifier \"{id}\" does not exist"),
            ),
        }
    }
}
