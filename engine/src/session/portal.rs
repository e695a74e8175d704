//! Portals: a bound statement with its parameters on its way from Bind to CommandComplete.
//!
//! Invariants:
//! 1. A portal hands out at most `max_rows` rows between two answers of Suspended or Complete.
//! 2. What a portal holds (a running query, its snapshot) goes with its transaction.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;

use super::plan::{Plan, Prepared};
use super::{Row, Rows, Session, Step, no_portal};
use crate::copy::CopyOut;
use crate::dml;
use crate::error::{Error, Result, SqlState};
use crate::query::ResultStream;
use crate::sql::BoundQuery;
use crate::txn::{TableLock, Wait};
use crate::types::Datum;

/// Of a portal that has done its work; who knows its name adds it.
const CANNOT_RUN: &str = "portal cannot be run any more";

/// How CommandComplete names what was done to how many rows.
#[derive(Debug, Clone)]
pub enum Tag {
    Select,
    Fetch,
    Insert,
    Update,
    Delete,
    Merge,
    Copy,
    Fixed(&'static str),
}

impl Tag {
    pub fn text(&self, rows: u64) -> String {
        match self {
            Tag::Select => format!("SELECT {rows}"),
            Tag::Fetch => format!("FETCH {rows}"),
            Tag::Insert => format!("INSERT 0 {rows}"),
            Tag::Update => format!("UPDATE {rows}"),
            Tag::Delete => format!("DELETE {rows}"),
            Tag::Copy => format!("COPY {rows}"),
            Tag::Merge => format!("MERGE {rows}"),
            Tag::Fixed(text) => text.to_string(),
        }
    }
}

/// The number at the end of a tag: rows that were changed or copied.
pub fn rows_of(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// Rows yet to be handed out.
pub enum RowSource {
    Tuples(std::vec::IntoIter<Row>),
    Batches(VecDeque<RecordBatch>),
    Stream { stream: ResultStream, pending: Option<RecordBatch> },
}

impl RowSource {
    pub fn tuples(rows: Vec<Row>) -> RowSource {
        RowSource::Tuples(rows.into_iter())
    }

    /// At most `limit` rows, `None` at the end. Cancellation-safe.
    pub async fn next(&mut self, limit: usize) -> Result<Option<Rows>> {
        match self {
            RowSource::Tuples(rows) => {
                let some: Vec<Row> = rows.take(limit).collect();
                Ok((!some.is_empty()).then_some(Rows::Tuples(some)))
            }
            RowSource::Batches(batches) => {
                let Some(batch) = batches.pop_front() else { return Ok(None) };
                let (now, rest) = split(batch, limit);
                if let Some(rest) = rest {
                    batches.push_front(rest);
                }
                Ok(Some(Rows::Batch(now)))
            }
            RowSource::Stream { stream, pending } => {
                let batch = loop {
                    match pending.take() {
                        Some(batch) => break batch,
                        None => match stream.next().await.transpose()? {
                            Some(batch) if batch.num_rows() == 0 => continue,
                            Some(batch) => break batch,
                            None => return Ok(None),
                        },
                    }
                };
                let (now, rest) = split(batch, limit);
                *pending = rest;
                Ok(Some(Rows::Batch(now)))
            }
        }
    }
}

/// The first `limit` rows, and the others if there are any.
fn split(batch: RecordBatch, limit: usize) -> (RecordBatch, Option<RecordBatch>) {
    if batch.num_rows() <= limit {
        return (batch, None);
    }
    (batch.slice(0, limit), Some(batch.slice(limit, batch.num_rows() - limit)))
}

pub fn row_count(rows: &Rows) -> usize {
    match rows {
        Rows::Batch(batch) => batch.num_rows(),
        Rows::Tuples(rows) => rows.len(),
    }
}

pub enum PortalState {
    Ready,
    Rows {
        source: RowSource,
        tag: Tag,
    },
    CopyOut(Box<CopyOut>),
    /// Ran: the tag to answer, once.
    Done(String),
    Finished,
}

/// How long a portal has run, without the time between two Executes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    running: Option<Instant>,
    before: Duration,
}

impl Clock {
    fn run(&mut self) {
        self.running.get_or_insert_with(Instant::now);
    }

    fn pause(&mut self) {
        self.before = self.elapsed();
        self.running = None;
    }

    pub fn elapsed(&self) -> Duration {
        self.before + self.running.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

pub struct Portal {
    pub prepared: Arc<Prepared>,
    pub params: Arc<[Datum]>,
    pub state: PortalState,
    /// Rows since the last Suspended.
    sent: usize,
    /// Rows since the portal's first.
    pub position: u64,
    /// When the running Execute must be done.
    pub deadline: Option<Instant>,
    pub clock: Clock,
    pub created: i64,
    /// Savepoints there were when it was opened.
    pub level: usize,
    /// DECLAREd: visible in pg_cursors under this text.
    pub cursor: Option<super::cursor::CursorInfo>,
}

impl Portal {
    pub fn new(prepared: Arc<Prepared>, params: Arc<[Datum]>) -> Portal {
        Portal {
            prepared,
            params,
            state: PortalState::Ready,
            sent: 0,
            position: 0,
            deadline: None,
            clock: Clock::default(),
            created: 0,
            level: 0,
            cursor: None,
        }
    }
}

impl Session {
    pub(super) fn bind_portal(&mut self, portal: &str, statement: &str, values: Vec<Datum>) -> Result<()> {
        let prepared = self.find_statement(statement)?.clone();
        if values.len() != prepared.parameters.len() {
            return Err(Error::new(
                SqlState::ProtocolViolation,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                    values.len(),
                    prepared.parameters.len()
                ),
            ));
        }
        if self.block.failed && !super::plan::ends_block(&prepared.parsed) {
            return Err(super::plan::in_failed_block());
        }
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(Error::new(SqlState::DuplicateCursor, format!("cursor \"{portal}\" already exists")));
        }
        let prepared = self.current(&prepared)?;
        let level = self.block.savepoints();
        self.portals.insert(portal.to_string(), Portal { level, ..Portal::new(prepared, values.into()) });
        Ok(())
    }

    /// Runs a portal or goes on with it; see [`Session::step`].
    pub(super) async fn step_portal(&mut self, name: &str, max_rows: usize) -> Result<Step> {
        // The portal is out of the map while it runs: it may end the transaction and with it all portals.
        let (name, mut portal) = self.portals.remove_entry(name).ok_or_else(|| no_portal(name))?;
        portal.clock.run();
        let step = match self.advance(&mut portal, max_rows).await {
            Ok(step) => step,
            Err(error) => {
                self.engine.monitor.statements.failed(&portal.prepared.counted);
                if error.message() == CANNOT_RUN {
                    let message = format!("portal \"{name}\" cannot be run");
                    return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
                }
                return Err(error);
            }
        };
        match &step {
            Step::Complete(tag) => {
                let rows = if portal.position > 0 { portal.position } else { rows_of(tag) };
                self.engine.monitor.statements.completed(&portal.prepared.counted, portal.clock.elapsed(), rows);
                if self.ends_implicit() {
                    self.commit_transaction().await?;
                } else if self.block.transaction.is_some() {
                    self.portals.insert(name, portal);
                }
            }
            Step::CopyIn(_) | Step::CopyInRows { .. } => {
                self.copying = Some((portal.prepared.counted.clone(), portal.clock))
            }
            Step::Empty => {}
            Step::Suspended => {
                portal.clock.pause();
                self.portals.insert(name, portal);
            }
            _ => {
                self.portals.insert(name, portal);
            }
        }
        Ok(step)
    }

    /// True when the statement that just completed is the last of a simple query outside a block.
    pub(crate) fn ends_implicit(&self) -> bool {
        self.simple_total > 0 && self.simple.is_empty() && !self.block.explicit && self.block.transaction.is_some()
    }

    async fn advance(&mut self, portal: &mut Portal, max_rows: usize) -> Result<Step> {
        if let PortalState::Ready = portal.state {
            let text = portal.prepared.parsed.text.clone();
            self.become_active(&text);
            self.check_advisory()?;
            if self.block.failed && !super::plan::ends_block(&portal.prepared.parsed) {
                return Err(super::plan::in_failed_block());
            }
            let timeout = self.settings.values().statement_timeout;
            portal.deadline = timeout.map(|t| Instant::now() + t);
            if let Some(step) = self.start(portal).await? {
                return Ok(step);
            }
        }
        let limit = if max_rows == 0 { usize::MAX } else { max_rows };
        match &mut portal.state {
            PortalState::Rows { source, tag } => {
                if portal.sent >= limit {
                    portal.sent = 0;
                    return Ok(Step::Suspended);
                }
                let shared = self.shared.clone();
                let room = limit - portal.sent;
                let next = shared.interruptible(portal.deadline, pin!(source.next(room))).await?;
                match next {
                    Some(rows) => {
                        let count = row_count(&rows);
                        portal.sent += count;
                        portal.position += count as u64;
                        Ok(Step::Rows(match &portal.cursor {
                            Some(cursor) => cursor.hidden.strip(rows)?,
                            None => rows,
                        }))
                    }
                    None => {
                        let rows = match tag {
                            Tag::Select | Tag::Fetch => portal.sent as u64,
                            _ => portal.position,
                        };
                        let tag = tag.text(rows);
                        portal.state = PortalState::Rows { source: RowSource::tuples(Vec::new()), tag: Tag::Select };
                        portal.sent = 0;
                        Ok(Step::Complete(tag))
                    }
                }
            }
            PortalState::CopyOut(copy) => {
                let shared = self.shared.clone();
                let next = shared.interruptible(portal.deadline, pin!(copy.next())).await?;
                match next {
                    Some(data) => Ok(Step::CopyData(data)),
                    None => {
                        let tag = format!("COPY {}", copy.rows());
                        portal.state = PortalState::Finished;
                        Ok(Step::Complete(tag))
                    }
                }
            }
            PortalState::Done(tag) => {
                let tag = std::mem::take(tag);
                portal.state = PortalState::Finished;
                Ok(Step::Complete(tag))
            }
            PortalState::Ready => Err(Error::internal("a portal did not start")),
            PortalState::Finished => Err(Error::new(SqlState::ObjectNotInPrerequisiteState, CANNOT_RUN)),
        }
    }

    /// First step of a statement: runs it up to its first rows. Answers a step when there is nothing to hand out.
    async fn start(&mut self, portal: &mut Portal) -> Result<Option<Step>> {
        let prepared = self.current(&portal.prepared)?;
        if matches!(prepared.plan, Plan::Empty) {
            return Ok(Some(Step::Empty));
        }
        if let Some(utility) = prepared.utility() {
            let utility = utility.clone();
            return self.run_utility(utility, portal).await;
        }
        self.transaction()?;
        let shared = self.shared.clone();
        let deadline = portal.deadline;
        let params = portal.params.clone();
        portal.state = shared.interruptible(deadline, pin!(self.run_locked(&prepared, &params))).await?;
        Ok(None)
    }

    /// Runs a statement after locking the tables that it names: what it was planned for may have changed while it
    /// waited.
    pub(crate) async fn run_locked(&mut self, prepared: &Arc<Prepared>, params: &Arc<[Datum]>) -> Result<PortalState> {
        let mut prepared = prepared.clone();
        self.run_bound_anew(&mut prepared, params, true).await
    }

    /// The same; unless the client was `told` of the columns they may be others when it runs. Leaves the statement as it ran.
    pub(crate) async fn run_bound_anew(
        &mut self,
        statement: &mut Arc<Prepared>,
        params: &Arc<[Datum]>,
        told: bool,
    ) -> Result<PortalState> {
        loop {
            let prepared = statement.clone();
            if let Some(table) = dml::parts::changed_table(&prepared.plan) {
                if !table.is_temporary() {
                    self.check_writable(prepared.command())?;
                }
                self.lock_for_write(table).await?;
            } else if let Plan::Parts(plan) = &prepared.plan {
                self.check_writable(prepared.command())?;
                for table in plan.tables() {
                    self.lock_for_write(table).await?;
                }
            }
            self.lock_for_read(&prepared).await?;
            if let Plan::Query(plan) = &prepared.plan {
                self.lock_for_row_locks(&plan.bound).await?;
            }
            if self.reads_on_standby(&prepared) {
                self.transaction()?.pin(false).await?;
            }
            let now = match told {
                true => self.current(&prepared)?,
                false => self.current_untold(&prepared)?,
            };
            if Arc::ptr_eq(&now, &prepared) {
                return self.run(&prepared, params).await;
            }
            // What it names now may be other tables.
            *statement = now;
        }
    }

    /// Locks what a statement reads against DDL, to the end of the transaction. A statement of the point path that is a
    /// transaction of its own is over sooner than anybody could notice: it only waits for DDL that is under way.
    async fn lock_for_read(&mut self, prepared: &Prepared) -> Result<()> {
        let alone = !self.block.explicit
            && self.simple_total <= 1
            && matches!(&prepared.plan, Plan::Query(plan) if plan.point.is_some());
        let locks = &self.engine.transactions().locks;
        if alone && !prepared.relations.iter().any(|r| locks.is_wanted_alone(*r)) {
            return Ok(());
        }
        self.lock_all(prepared).await
    }

    /// Before the snapshot of a query that locks rows: whoever holds their tables against that is waited for now.
    async fn lock_for_row_locks(&mut self, query: &BoundQuery) -> Result<()> {
        let subqueries = query.locked.iter().flat_map(|subquery| &subquery.query.locks);
        for lock in query.locks.iter().chain(subqueries) {
            if self.transaction()?.may_lock_rows() {
                self.transaction()?.lock_table(lock.table, TableLock::RowShare, Wait::Block).await?;
            }
        }
        Ok(())
    }

    /// See [`Self::lock_for_read`].
    pub(super) async fn lock_all(&mut self, prepared: &Prepared) -> Result<()> {
        for relation in prepared.relations.iter() {
            self.transaction()?.lock_for_read(*relation).await?;
        }
        Ok(())
    }

    /// Runs a query, DML or DDL.
    pub(crate) async fn run(&mut self, prepared: &Arc<Prepared>, params: &Arc<[Datum]>) -> Result<PortalState> {
        let (source, tag) = match &prepared.plan {
            Plan::Query(plan) => (self.run_query(plan, params).await?, Tag::Select),
            Plan::Insert(plan) => {
                let done = dml::insert::execute(self, plan, params).await?;
                return Ok(done.state(Tag::Insert, plan.returning.is_some()));
            }
            Plan::Update(plan) => {
                let done = dml::update::execute(self, plan, params).await?;
                return Ok(done.state(Tag::Update, plan.returning.is_some()));
            }
            Plan::Delete(plan) => {
                let done = dml::delete::execute(self, plan, params).await?;
                return Ok(done.state(Tag::Delete, plan.returning.is_some()));
            }
            Plan::Merge(plan) => {
                let done = Box::pin(dml::merge::execute(self, plan, params)).await?;
                return Ok(done.state(Tag::Merge, false));
            }
            Plan::Parts(plan) => return Box::pin(dml::parts::execute(self, plan, params)).await,
            Plan::Ddl if let Some(call) = dml::call::of(&prepared.parsed.statement) => {
                return dml::call::run(self, call, prepared, params).await;
            }
            Plan::Ddl => {
                let given = (&*prepared.parameters, params);
                return Ok(PortalState::Done(Box::pin(dml::ddl::run(self, &prepared.parsed, given)).await?));
            }
            Plan::Utility | Plan::Empty => return Err(Error::internal("a utility statement was run as a query")),
        };
        Ok(PortalState::Rows { source, tag })
    }

    /// 25006 in a read-only transaction and on a standby.
    pub(crate) fn check_writable(&self, command: &str) -> Result<()> {
        if !self.settings.modes.read_only && !self.settings.standby {
            return Ok(());
        }
        if self.settings.standby {
            self.engine.transactions().check_primary(command)?;
        }
        Err(Error::new(
            SqlState::ReadOnlySqlTransaction,
            format!("cannot execute {command} in a read-only transaction"),
        ))
    }
}

/// What DML did.
pub struct Changed {
    pub count: u64,
    pub returned: Vec<Row>,
}

impl Changed {
    pub fn state(self, tag: Tag, returning: bool) -> PortalState {
        match returning {
            true => PortalState::Rows { source: RowSource::tuples(self.returned), tag },
            false => PortalState::Done(tag.text(self.count)),
        }
    }
}
