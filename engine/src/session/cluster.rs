//! What an operator's session asks of the cluster: [`ClusterChange`], for superusers.

use super::Session;
use super::registry::WaitEvent;
use crate::cluster::{ClusterChange, ClusterChanged};
use crate::error::{Error, NoticeLevel, Result, SqlState};
use crate::types::Datum;

impl Session {
    /// `lockstep_switchover([node])`: the name of the new primary.
    pub(crate) async fn switch_over(&mut self, to: Option<&Datum>) -> Result<Datum> {
        let to = match to {
            Some(Datum::Text(name)) => Some(name.to_string()),
            _ => None,
        };
        let changed = self.change_cluster(ClusterChange::Switchover { to }).await?;
        Ok(Datum::from(changed.node.as_str()))
    }

    /// Has the cluster changed. Errors: 42501 unless the user is a superuser, and those of
    /// [`crate::cluster::ClusterChangeError`].
    pub(super) async fn change_cluster(&mut self, change: ClusterChange) -> Result<ClusterChanged> {
        let command = change.command();
        if !self.catalog().is_superuser(self.user()) {
            return Err(Error::new(SqlState::InsufficientPrivilege, format!("permission denied to execute {command}"))
                .hint("Only superusers may change the cluster."));
        }
        let log = self.engine.log().ok_or_else(|| Error::internal("no log is attached"))?.clone();
        tracing::info!(user = %self.shared.user, client = ?self.shared.client, ?change, "a change of the cluster is asked for");
        let changed = {
            let _waiting = self.shared.waiting(WaitEvent::ClusterChange);
            log.change_cluster(change).await?
        };
        for warning in &changed.warnings {
            self.notice(NoticeLevel::Warning, Error::new(SqlState::Warning, warning.as_str()));
        }
        for notice in &changed.notices {
            self.notice(NoticeLevel::Notice, Error::new(SqlState::SuccessfulCompletion, notice.as_str()));
        }
        Ok(changed)
    }
}
