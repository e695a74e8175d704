//! Writes of a session on a standby (`lockstep.route_writes`): which statements are carried to the primary, and what the
//! session takes over from what happened there. Carrying itself, message by message, is `wire`'s.
//!
//! Invariants:
//! 1. A transaction runs on one node: a block that is not READ ONLY is carried from its BEGIN on, reads included.
//! 2. A statement that is carried without need gives the same answer; one that is not carried and writes answers 25006.
//! 3. After a carried commit the session's reads here wait for its position.

use std::sync::Arc;

use futures::future::BoxFuture;
use sqlparser::ast;

use super::Session;
use super::registry::SessionShared;
use crate::sql::utility::{CopySource, Utility};
use crate::sql::{Statement, parse};
use crate::storage::CommitTs;
use crate::txn::{CommitLevel, Committed, Position};

/// Names under which a carried session reports what is no setting.
pub const POSITION: &str = "lockstep.position";
pub const COMMIT_LEVEL: &str = "lockstep.commit_level";

/// What makes a query more than a read, in its normal form and in lower case. Text rather than syntax: a word too many
/// costs a round trip, no more.
const WRITES: [&str; 15] = [
    "nextval(",
    "setval(",
    "pg_notify(",
    "pg_advisory",
    "pg_try_advisory",
    "pg_current_xact_id(",
    "pg_current_snapshot(",
    "txid_current",
    "for update",
    "for no key update",
    "for share",
    "for key share",
    "insert into",
    "update ",
    "delete from",
];

/// Waits for interrupts of a session, one after another.
#[derive(Clone)]
pub struct Interruptions(Arc<SessionShared>);

impl Interruptions {
    pub fn next(&self) -> BoxFuture<'static, ()> {
        let shared = self.0.clone();
        Box::pin(async move { drop(shared.wait_interrupted().await) })
    }
}

/// The statement that a PREPARE names: what follows its AS.
fn prepared_text(text: &str) -> &str {
    let lower = text.to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let is_word = |at: usize| {
        let before =
            at.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(|b| b.is_ascii_whitespace() || *b == b')');
        before && bytes.get(at + 2).is_some_and(|b| b.is_ascii_whitespace() || *b == b'(')
    };
    let body = lower.match_indices("as").find(|(at, _)| is_word(*at)).and_then(|(at, _)| text.get(at + 2..));
    body.unwrap_or(text)
}

impl Session {
    /// Whether this session's writes are carried to the primary: it is on a standby, and asked for it.
    pub fn routes_writes(&self) -> bool {
        self.settings.values().route_writes && !self.carried && self.engine.is_standby()
    }

    /// Whether the simple query that was just begun is carried, as a whole.
    pub fn carries_simple(&self) -> bool {
        self.routes_writes() && !self.block.explicit && self.simple.iter().any(|p| self.carries(p.statement()))
    }

    /// Whether a portal is carried. False for one that does not exist.
    pub fn carries_portal(&self, portal: &str) -> bool {
        let statement = |p: &super::portal::Portal| self.carries(&p.prepared.parsed.statement);
        self.routes_writes() && !self.block.explicit && self.portals.get(portal).is_some_and(statement)
    }

    fn carries(&self, statement: &Statement) -> bool {
        let utility = match statement {
            Statement::Ddl(_) => return true,
            Statement::Sql(statement) => match &**statement {
                ast::Statement::Query(query) => {
                    let text = query.to_string().to_lowercase();
                    return WRITES.iter().any(|word| text.contains(word));
                }
                _ => return true,
            },
            Statement::Utility(utility) => &**utility,
        };
        match utility {
            Utility::Begin(modes) => !modes.read_only.unwrap_or(self.settings.values().default_modes.read_only),
            Utility::Copy(copy) => copy.from || matches!(&copy.source, CopySource::Query(s) if self.carries(s)),
            Utility::Explain { statement, .. } => self.carries(statement),
            Utility::Execute { name, .. } => {
                self.find_statement(name).is_ok_and(|prepared| self.carries(&prepared.parsed.statement))
            }
            Utility::Notify { .. } | Utility::Vacuum { .. } | Utility::Analyze { .. } | Utility::Maintenance { .. } => {
                true
            }
            _ => false,
        }
    }

    /// Text and parameter types of a prepared statement, to prepare it on the primary as well.
    pub fn statement_source(&self, name: &str) -> Option<(Arc<str>, Vec<u32>)> {
        let prepared = self.find_statement(name).ok()?;
        let text = match prepared.by_sql {
            true => prepared_text(&prepared.parsed.text).into(),
            false => prepared.parsed.text.clone(),
        };
        Some((text, prepared.parameters.iter().map(|t| t.0).collect()))
    }

    /// Statements that a text EXECUTEs by name.
    pub fn executed_statements(&self, sql: &str) -> Vec<String> {
        if !sql.to_ascii_lowercase().contains("execute") {
            return Vec::new();
        }
        let name = |statement: &Statement| match statement {
            Statement::Utility(utility) => match &**utility {
                Utility::Execute { name, .. } => Some(name.clone()),
                _ => None,
            },
            _ => None,
        };
        parse(sql).unwrap_or_default().iter().filter_map(|parsed| name(&parsed.statement)).collect()
    }

    /// Whether a portal has handed out rows or a result here.
    pub fn portal_started(&self, portal: &str) -> bool {
        let ready = |p: &super::portal::Portal| matches!(p.state, super::portal::PortalState::Ready);
        self.portals.get(portal).is_some_and(|p| !ready(p))
    }

    /// Role and database of the session.
    pub fn identity(&self) -> (String, String) {
        (self.shared.user.to_string(), self.shared.database.to_string())
    }

    /// Settings that the session on the primary has to have: all that are not the default, or those that changed since
    /// the last call.
    pub fn settings_to_carry(&mut self, all: bool) -> Vec<(String, String)> {
        let before = self.carried_settings.take().filter(|_| !all);
        let changed = self.settings.differing(before.as_deref());
        self.carried_settings = Some(self.settings.values().clone());
        changed
    }

    /// A message of the client is carried: the session is busy with it.
    pub fn carry(&mut self, text: &str) {
        self.begin_command();
        if !text.is_empty() {
            self.become_active(&text.into());
        }
    }

    /// Interrupts of the session, which are for what runs on the primary.
    pub fn interruptions(&self) -> Interruptions {
        Interruptions(self.shared.clone())
    }

    /// What the session on the primary reported.
    pub fn adopt(&mut self, name: &str, value: &str) {
        match name {
            POSITION => {
                if let Some(position) = Position::parse(value) {
                    let level = self.shared.commit_level().unwrap_or_default();
                    self.shared.note_commit(Some(Committed { position, logged: None, level }));
                }
            }
            COMMIT_LEVEL => {
                let position = Position(CommitTs(0));
                let level = CommitLevel::parse(value);
                self.shared.note_commit(Some(Committed { position, logged: None, level }));
            }
            "role" | "session_authorization" => {
                // A role that is not known here yet stays as it was: the primary decides on what it runs.
                let _ = self.set_user(name, Some(value), false);
                self.carried_settings = Some(self.settings.values().clone());
            }
            _ => {
                self.settings.adopt(name, value);
                self.settings_changed();
                self.carried_settings = Some(self.settings.values().clone());
            }
        }
    }

    /// The block that ran on the primary is lost: nothing but its end is accepted.
    pub fn fail_block(&mut self) {
        self.abandon();
        self.block.explicit = true;
        self.block.failed = true;
    }

    /// Makes this the session that a client of another node has here.
    pub(crate) fn serve_another_node(&mut self) {
        self.carried = true;
        self.settings.report_all();
    }

    /// What the other node has to know besides the settings.
    pub(super) fn carried_reports(&mut self) -> Vec<(String, String)> {
        let position = self.shared.last_commit();
        if !self.carried || position == self.reported_position {
            return Vec::new();
        }
        self.reported_position = position;
        let level = self.shared.commit_level().unwrap_or_default();
        vec![(POSITION.to_owned(), position.to_string()), (COMMIT_LEVEL.to_owned(), level.text().to_owned())]
    }
}

#[cfg(test)]
mod tests {
    use super::prepared_text;

    #[test]
    fn a_prepared_statement_is_what_follows_as() {
        assert_eq!(prepared_text("prepare p as select 1 as x").trim(), "select 1 as x");
        assert_eq!(
            prepared_text("PREPARE basic (int)\nAS\nINSERT INTO t VALUES ($1)").trim(),
            "INSERT INTO t VALUES ($1)"
        );
    }
}
