//! Simple queries: a text of several statements, each the unnamed portal in turn.

use std::sync::Arc;

use super::portal::Portal;
use super::{Column, Session};
use crate::error::{Error, Result};
use crate::sql::{Parsed, parse};

impl Session {
    pub(super) fn parse_simple(&mut self, sql: &str) -> Result<Vec<Parsed>> {
        self.simple.clear();
        // The unnamed statement and portal end with every simple query.
        self.statements.remove("");
        self.portals.remove("");
        parse(sql)
    }

    pub(super) fn open_simple(&mut self) -> Result<Option<Arc<[Column]>>> {
        let parsed = self.simple.pop_front().ok_or_else(|| Error::internal("no statement is left"))?;
        let prepared = self.plan_simple(parsed)?;
        let columns = self.columns_of(&prepared)?;
        self.portals.insert(String::new(), Portal::new(prepared, Arc::from([])));
        Ok(columns)
    }

    fn plan_simple(&mut self, parsed: Parsed) -> Result<Arc<super::plan::Prepared>> {
        if parsed.parameters > 0 && !super::plan::is_prepare(&parsed) {
            return Err(Error::new(
                crate::SqlState::UndefinedParameter,
                format!("there is no parameter ${}", parsed.parameters),
            ));
        }
        self.plan(Arc::new(parsed), Vec::new())
    }
}
