//! SQL cursors: DECLARE, FETCH, MOVE, CLOSE. A cursor is a portal that FETCH pulls.
//!
//! Invariants:
//! 1. With SCROLL a cursor's rows are kept, so that it can go back, with NO SCROLL it moves forward only (55000). Of one that
//!    says neither the first rows fetched are kept, and it can go back while these are all ([`SEEN_MAX`]).
//! 2. A cursor WITH HOLD keeps its rows as well; when its transaction commits all of them are there, and count against the
//!    memory limit until it is closed. One whose transaction fails goes with it.

use std::pin::pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::current_row::Hidden;
use super::plan::Plan;
use super::portal::{Portal, PortalState, RowSource, Tag, row_count};
use super::registry::now_micros;
use super::{Row, Rows, Session, Step};
use crate::error::{Error, Result, SqlState};
use crate::sql::utility::FetchDirection;
use crate::sql::{Parsed, Statement};
use crate::storage::Account;
use crate::storage::chunk::row_bytes;
use crate::types::arrow::ColumnReader;

/// What DECLARE said.
pub struct CursorInfo {
    pub text: Arc<str>,
    pub binary: bool,
    /// `None`: neither SCROLL nor NO SCROLL was said.
    pub scroll: Option<bool>,
    pub hold: bool,
    /// It has outlived its transaction.
    pub held: bool,
    /// Memory of a held cursor's rows.
    account: Option<Account>,
    /// What was fetched so far of a cursor that may have to go back; `None`: it cannot.
    seen: Option<Vec<Rows>>,
    /// Rows of a SCROLL cursor; the position is that of the last row fetched, 0 before the first.
    rows: Option<Vec<Row>>,
    position: i64,
    done: bool,
    pub hidden: Hidden,
}

/// Rows that are kept of a cursor that says neither SCROLL nor NO SCROLL.
const SEEN_MAX: i64 = 10_000;

pub(super) fn no_cursor(name: &str) -> Error {
    Error::new(SqlState::InvalidCursorName, format!("cursor \"{name}\" does not exist"))
}

fn backward() -> Error {
    Error::new(SqlState::ObjectNotInPrerequisiteState, "cursor can only scan forward")
        .hint("Declare it with SCROLL option to enable backward scan.")
}

/// The `columns` of a batch as rows.
pub(crate) fn batch_rows(batch: &RecordBatch, columns: &[super::Column]) -> Result<Vec<Row>> {
    let readers: Vec<ColumnReader<'_>> = batch
        .columns()
        .iter()
        .zip(columns)
        .map(|(array, column)| ColumnReader::new(array.as_ref(), column.ty))
        .collect::<Result<_>>()?;
    Ok((0..batch.num_rows()).map(|row| readers.iter().map(|r| r.get(row)).collect()).collect())
}

impl Session {
    pub(super) async fn declare(
        &mut self,
        name: String,
        query: &Statement,
        text: Arc<str>,
        options: (bool, Option<bool>, bool),
        outer: &Portal,
    ) -> Result<()> {
        let (binary, scroll, hold) = options;
        if !hold && !self.block.explicit && self.simple_total <= 1 {
            return Err(Error::new(
                SqlState::NoActiveSqlTransaction,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        if self.portals.contains_key(&name) {
            return Err(Error::new(SqlState::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        let parsed = &outer.prepared.parsed;
        let inner = |statement: Statement| {
            let (source, text) = (parsed.source.clone(), text.clone());
            Arc::new(Parsed { statement, source, text, parameters: parsed.parameters })
        };
        let mut hidden = Hidden::default();
        let mut planned = None;
        if let Some((query, tables)) = self.with_row_ids(query).filter(|_| !hold)
            && let Ok(prepared) = self.plan(inner(query), outer.prepared.parameters.to_vec())
        {
            hidden.tables = tables;
            planned = Some(prepared);
        }
        let prepared = match planned {
            Some(prepared) => prepared,
            None => self.plan(inner(query.clone()), outer.prepared.parameters.to_vec())?,
        };
        let Plan::Query(plan) = &prepared.plan else {
            let message = "DECLARE CURSOR must not contain data-modifying statements in WITH";
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        };
        let locks = plan.bound.locks.iter().map(|l| l.strength).max();
        if let Some(strength) = locks.filter(|_| hold || scroll == Some(true)) {
            let (kind, what) = if hold { ("WITH HOLD", "Holdable") } else { ("SCROLL", "Scrollable") };
            let message = format!("DECLARE {kind} CURSOR ... {} is not supported", strength.clause());
            let message =
                if hold { message.replace("DECLARE WITH HOLD CURSOR", "DECLARE CURSOR WITH HOLD") } else { message };
            return Err(
                Error::new(SqlState::FeatureNotSupported, message).detail(format!("{what} cursors must be READ ONLY."))
            );
        }
        hidden.locked = plan.bound.locks.iter().map(|l| l.table).collect();
        // The cursor sees its moment of declaration.
        let shared = self.shared.clone();
        let mut prepared = prepared.clone();
        let state = shared
            .interruptible(outer.deadline, pin!(self.run_bound_anew(&mut prepared, &outer.params, false)))
            .await?;
        let mut portal = Portal::new(prepared, outer.params.clone());
        portal.state = state;
        portal.created = now_micros();
        portal.level = self.block.savepoints();
        let (held, account, rows) = (false, None, None);
        let seen = (scroll.is_none() && locks.is_none()).then(Vec::new);
        portal.cursor = Some(CursorInfo {
            text,
            binary,
            scroll,
            hold,
            held,
            account,
            seen,
            rows,
            position: 0,
            done: false,
            hidden,
        });
        self.portals.insert(name, portal);
        Ok(())
    }

    /// FETCH and MOVE: the rows, to be handed out by the statement's own portal.
    pub(super) async fn fetch(
        &mut self,
        name: &str,
        direction: FetchDirection,
        only_move: bool,
        outer: &mut Portal,
    ) -> Result<Option<Step>> {
        let (key, mut portal) = self.portals.remove_entry(name).ok_or_else(|| no_cursor(name))?;
        let fetched = self.fetch_from(&mut portal, direction, outer).await;
        self.portals.insert(key, portal);
        let rows = fetched?;
        if only_move {
            let count: usize = rows.iter().map(row_count).sum();
            return Ok(Some(Step::Complete(format!("MOVE {count}"))));
        }
        let mut tuples = Vec::new();
        let mut batches = std::collections::VecDeque::new();
        for part in rows {
            match part {
                Rows::Batch(batch) => batches.push_back(batch),
                Rows::Tuples(rows) => tuples.extend(rows),
            }
        }
        let source = if batches.is_empty() { RowSource::tuples(tuples) } else { RowSource::Batches(batches) };
        outer.state = PortalState::Rows { source, tag: Tag::Fetch };
        Ok(None)
    }

    async fn fetch_from(
        &mut self,
        portal: &mut Portal,
        direction: FetchDirection,
        outer: &Portal,
    ) -> Result<Vec<Rows>> {
        if let PortalState::Ready = portal.state {
            let prepared = portal.prepared.clone();
            portal.state = self.run(&prepared, &portal.params.clone()).await?;
        }
        let columns = portal.prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
        let keeps = portal.cursor.as_ref().is_some_and(|c| c.hold || c.scroll == Some(true));
        let PortalState::Rows { source, .. } = &mut portal.state else {
            return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, "cursor does not return rows"));
        };
        let shared = self.shared.clone();
        if keeps && let Some(cursor) = &mut portal.cursor {
            if cursor.rows.is_none() {
                let all = shared.interruptible(outer.deadline, pin!(all_rows(source, &columns, None))).await?;
                cursor.rows = Some(all);
            }
            if cursor.scroll == Some(false) {
                cursor.forward(direction)?;
            }
            return Ok(vec![cursor.scroll_to(direction)?]);
        }
        let Some(cursor) = &mut portal.cursor else {
            return Err(Error::new(SqlState::InvalidCursorState, "portal is not a cursor"));
        };
        if cursor.rows.is_none()
            && cursor.forward(direction).is_err()
            && let Some(seen) = cursor.seen.take()
        {
            let mut all = Vec::new();
            for rows in seen {
                match rows {
                    Rows::Batch(batch) => all.extend(batch_rows(&batch, &columns)?),
                    Rows::Tuples(rows) => all.extend(rows),
                }
            }
            all.extend(shared.interruptible(outer.deadline, pin!(all_rows(source, &columns, None))).await?);
            cursor.rows = Some(all);
        }
        if cursor.rows.is_some() {
            return Ok(vec![cursor.scroll_to(direction)?]);
        }
        let (skip, wanted) = cursor.forward(direction)?;
        let mut out = Vec::new();
        let (mut skip, mut left) = (skip, wanted);
        while (skip > 0 || left > 0) && !cursor.done {
            let room = if skip > 0 { skip } else { left };
            let next = shared.interruptible(outer.deadline, pin!(source.next(room))).await?;
            match next {
                None => {
                    cursor.done = true;
                    cursor.position += 1;
                    cursor.hidden.stand_on(None);
                }
                Some(rows) => {
                    let count = row_count(&rows);
                    cursor.hidden.stand_on_last(&rows);
                    cursor.position += count as i64;
                    match &mut cursor.seen {
                        Some(seen) if cursor.position <= SEEN_MAX => seen.push(rows.clone()),
                        seen => *seen = None,
                    }
                    if skip > 0 {
                        skip -= count;
                    } else {
                        left -= count;
                        out.push(cursor.hidden.strip(rows)?);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// What is left of a result, counted in `account`.
async fn all_rows(source: &mut RowSource, columns: &[super::Column], account: Option<&Account>) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    while let Some(rows) = source.next(usize::MAX).await? {
        let before = all.len();
        match rows {
            Rows::Batch(batch) => all.extend(batch_rows(&batch, columns)?),
            Rows::Tuples(rows) => all.extend(rows),
        }
        if let Some(account) = account {
            account.reserve(all.iter().skip(before).map(|r| row_bytes(r)).sum())?;
        }
    }
    Ok(all)
}

impl Session {
    /// Cursors WITH HOLD that the running transaction declared.
    pub(super) fn cursors_to_hold(&self) -> Vec<String> {
        let to_hold = |p: &Portal| p.cursor.as_ref().is_some_and(|c| c.hold && !c.held);
        self.portals.iter().filter(|(_, p)| to_hold(p)).map(|(n, _)| n.clone()).collect()
    }

    /// Before a commit: reads the rows of these cursors. If the commit fails after all, they are to be closed.
    pub(super) async fn hold_cursors(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            let Some(mut portal) = self.portals.remove(name) else { continue };
            let columns = portal.prepared.columns.clone().unwrap_or_else(|| Arc::from([]));
            if let (Some(cursor), PortalState::Rows { source, .. }) = (&mut portal.cursor, &mut portal.state) {
                let account = Account::new(&self.engine.transactions().storage.memory);
                match &cursor.rows {
                    Some(rows) => account.reserve(rows.iter().map(|r| row_bytes(r)).sum())?,
                    None => cursor.rows = Some(all_rows(source, &columns, Some(&account)).await?),
                }
                *source = RowSource::tuples(Vec::new());
                cursor.account = Some(account);
                cursor.held = true;
                portal.level = 0;
            }
            self.portals.insert(name.clone(), portal);
        }
        Ok(())
    }

    /// Closes what does not outlive its transaction.
    pub(super) fn close_portals(&mut self) {
        if !self.portals.is_empty() {
            self.portals.retain(|_, portal| portal.cursor.as_ref().is_some_and(|c| c.held));
        }
    }

    /// Closes what was opened after a savepoint, of which `level` were set before it.
    pub(super) fn close_portals_after(&mut self, level: usize) {
        self.portals.retain(|_, portal| portal.level <= level || portal.cursor.as_ref().is_some_and(|c| c.held));
    }
}

impl CursorInfo {
    /// Whether FETCH may go back, as far as is known now.
    pub(super) fn is_scrollable(&self) -> bool {
        self.scroll.unwrap_or(self.hold || self.seen.is_some() || self.rows.is_some())
    }

    /// Rows to skip and rows to return, going forward only.
    fn forward(&self, direction: FetchDirection) -> Result<(usize, usize)> {
        let size = |n: i64| usize::try_from(n).map_err(|_| backward());
        match direction {
            FetchDirection::Forward(0) | FetchDirection::Relative(0) | FetchDirection::Backward(0) => Err(backward()),
            FetchDirection::Forward(n) => Ok((0, size(n)?)),
            FetchDirection::ForwardAll => Ok((0, usize::MAX)),
            FetchDirection::Absolute(n) => match size(n - self.position - 1) {
                Ok(skip) => Ok((skip, 1)),
                Err(error) => Err(error),
            },
            FetchDirection::Relative(n) => Ok((size(n - 1)?, 1)),
            FetchDirection::Backward(n) => Ok((0, size(-n)?)),
            FetchDirection::BackwardAll => Err(backward()),
        }
    }

    /// Moves over the kept rows, and notes on which the cursor stands.
    fn scroll_to(&mut self, direction: FetchDirection) -> Result<Rows> {
        let rows = Rows::Tuples(self.scroll(direction));
        let at = usize::try_from(self.position - 1).ok();
        let current = at.and_then(|at| self.rows.as_ref()?.get(at));
        self.hidden.stand_on(current);
        self.hidden.strip(rows)
    }

    /// Moves over the kept rows. The position runs from 0 (before the first) to their number plus one.
    fn scroll(&mut self, direction: FetchDirection) -> Vec<Row> {
        let Some(rows) = &self.rows else { return Vec::new() };
        let end = rows.len() as i64 + 1;
        let at = |position: i64| rows.get(usize::try_from(position - 1).unwrap_or(usize::MAX)).cloned();
        let walk = |from: i64, count: i64| {
            let step = if count < 0 { -1 } else { 1 };
            let mut out = Vec::new();
            let mut position = from;
            for _ in 0..count.unsigned_abs() {
                position = (position + step).clamp(0, end);
                match at(position) {
                    Some(row) => out.push(row),
                    None => break,
                }
            }
            (position, out)
        };
        let (position, out) = match direction {
            FetchDirection::Forward(0) | FetchDirection::Backward(0) | FetchDirection::Relative(0) => {
                (self.position, at(self.position).into_iter().collect())
            }
            FetchDirection::Forward(n) => walk(self.position, n),
            FetchDirection::Backward(n) => walk(self.position, n.saturating_neg()),
            FetchDirection::ForwardAll => walk(self.position, end),
            FetchDirection::BackwardAll => walk(self.position, -end),
            FetchDirection::Absolute(n) | FetchDirection::Relative(n) => {
                let target = match direction {
                    FetchDirection::Absolute(_) if n < 0 => end + n,
                    FetchDirection::Absolute(_) => n,
                    _ => self.position + n,
                };
                let target = target.clamp(0, end);
                (target, at(target).into_iter().collect())
            }
        };
        self.position = position;
        out
    }
}
