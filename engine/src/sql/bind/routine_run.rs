//! Functions that are run and not bound in place: those of several statements, or that change rows. A call becomes a scan of the
//! rows that the function will have returned when the query begins ([`crate::dml::call`]).
//!
//! Invariant: such a function runs once for each time that the query is run. Calls that would run it for each row of something,
//! or not at all, or in a statement that may begin again on a newer snapshot, are refused.

use std::sync::Arc;

use sqlparser::tokenizer::Span;

use super::Binder;
use crate::catalog::{Oid, RoutineDef};
use crate::error::{Error, Result};
use crate::expr::{ColumnId, ScalarExpr};
use crate::sql::rel::{Output, Rel};
use crate::types::PgType;

/// A function to be run before the query that calls it.
#[derive(Debug)]
pub struct RoutineRun {
    /// What the scan of its rows names.
    pub table: Oid,
    pub routine: Arc<RoutineDef>,
    pub args: Vec<ScalarExpr>,
    pub columns: Vec<PgType>,
}

impl Binder {
    /// The rows of a function that is run. `in_from`: it stands in FROM.
    #[allow(clippy::type_complexity)]
    pub(super) fn run_of_routine(
        &mut self,
        routine: &Arc<RoutineDef>,
        args: Vec<ScalarExpr>,
        in_from: bool,
        span: Span,
    ) -> Result<(Rel, Vec<(String, ColumnId, PgType)>)> {
        let mut named = std::collections::HashSet::new();
        args.iter().for_each(|arg| arg.free_columns(&mut named));
        let each_row = !in_from && self.scopes.iter().any(|scope| !scope.relations.is_empty());
        if !in_from && self.unsure {
            let what = "a SQL function of several statements, or that changes rows, where a condition decides whether it is called";
            return Err(self.source.locate(Error::unsupported(what), span));
        }
        let inlined = self.frame.as_ref().is_some_and(|frame| frame.inlined);
        if each_row
            || inlined
            || self.scopes.len() > 1
            || !named.is_empty()
            || args.iter().any(ScalarExpr::has_subquery)
        {
            let what = "a SQL function of several statements, or that changes rows, called for each row of a query";
            return Err(self.source.locate(Error::unsupported(what), span));
        }
        let columns: Vec<(String, ColumnId, PgType)> =
            routine.columns.iter().map(|(name, ty)| (name.clone(), self.fresh(), *ty)).collect();
        let table = self.transient();
        let types = columns.iter().map(|(.., ty)| *ty).collect();
        self.runs.push(Arc::new(RoutineRun { table, routine: routine.clone(), args, columns: types }));
        let outputs = columns.iter().map(|(_, id, ty)| Output { id: *id, ty: *ty });
        Ok((Rel::Scan(Self::transient_scan(table, &routine.name, outputs)), columns))
    }
}
