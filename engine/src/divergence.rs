//! Divergence: whether the nodes hold the same state at the same place of the log.
//!
//! The primary appends a check record. Every node that applies it takes a snapshot there, between two commits, and digests
//! what the snapshot shows on a thread of its own, slowly, while later commits are applied. The primary collects the digests
//! and compares ([`judge`]).
//!
//! Invariants:
//! 1. A digest depends on rows, catalog and sequences only: not on chunks, partitions, the order of versions or a node's
//!    random numbers. It is a sum over rows, so their order does not matter, and equal rows do not cancel out.
//! 2. Digests of different versions of the digest are never compared.
//! 3. The thread works at most a quarter of the time, and holds its snapshot no longer than it needs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use crate::catalog::Oid;
use crate::commit_log::{CommitLog, DigestAnswer, LogPosition, NodeDigest};
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::parallel;
use crate::storage::{CommitTs, ScanSource, Snapshot, State, Storage, Table};

/// Changes with whatever changes the digest of the same state.
const VERSION: u32 = 1;
/// Digests that are kept for whoever asks late.
const KEPT: usize = 8;
/// The thread rests so many times as long as it worked.
const REST: u32 = 3;
/// How often the primary looks whether its own digest is ready.
const POLL: Duration = Duration::from_millis(20);
/// A node that has not answered within this time is left out of a check.
const PATIENCE: Duration = Duration::from_secs(600);
/// A check that was ordered by SQL waits no longer than this for a node.
pub(crate) const PATIENCE_OF_SQL: Duration = Duration::from_secs(60);

/// The state of one node at a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    version: u32,
    /// Rows and sum, by what they are of.
    objects: BTreeMap<String, (u64, u128)>,
}

impl Digest {
    fn rows(&self) -> u64 {
        self.objects.values().map(|(rows, _)| rows).sum()
    }

    /// All of it in one number.
    fn total(&self) -> u128 {
        let one = |(name, (rows, sum)): (&String, &(u64, u128))| {
            sum.wrapping_mul(3)
                .wrapping_add(hash(name.as_bytes(), u64::from(self.version)))
                .wrapping_add(u128::from(*rows))
        };
        self.objects.iter().map(one).fold(0, u128::wrapping_add)
    }

    /// Names of what is not the same.
    fn differences(&self, other: &Digest) -> Vec<String> {
        let mut names: Vec<&String> = self.objects.keys().chain(other.objects.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().filter(|name| self.objects.get(*name) != other.objects.get(*name)).cloned().collect()
    }
}

/// What a check found out about one node: a row of `lockstep_check_divergence()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub node: u64,
    pub name: String,
    pub position: LogPosition,
    pub state: NodeState,
    pub rows: Option<u64>,
    pub digest: Option<u128>,
    /// What differs, or why there is no answer.
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    Equal,
    Diverged,
    /// Not compared.
    Unknown,
}

impl NodeState {
    pub fn text(self) -> &'static str {
        match self {
            NodeState::Equal => "equal",
            NodeState::Diverged => "diverged",
            NodeState::Unknown => "unknown",
        }
    }
}

/// A state to be digested.
struct Check {
    id: u64,
    state: Arc<State>,
    sequences: Vec<(Oid, i64, bool)>,
    snapshot: Snapshot,
}

/// The digests of this node, and the thread that makes them.
#[derive(Default)]
pub(crate) struct Checker(Arc<Shared>);

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    started: bool,
    stopping: bool,
    /// The newest check that is not begun yet; older ones are given up.
    next: Option<Check>,
    running: Option<u64>,
    done: VecDeque<(u64, DigestAnswer)>,
}

impl Work {
    fn finish(&mut self, id: u64, answer: DigestAnswer) {
        if self.done.len() == KEPT {
            self.done.pop_front();
        }
        self.done.push_back((id, answer));
    }
}

impl Checker {
    /// Takes the state as it is now; called between two applies.
    pub fn begin(&self, storage: &Storage, id: CommitTs) {
        let sequences = storage.sequences.read().iter().map(|(oid, (last, called))| (*oid, *last, *called)).collect();
        let check = Check { id: id.0, snapshot: storage.snapshot(), state: storage.state(), sequences };
        if parallel::has_one_thread() {
            return self.0.answer(check);
        }
        let mut work = self.0.work.lock();
        if let Some(late) = work.next.replace(check) {
            work.finish(late.id, DigestAnswer::Unknown("a later check came before it was begun".to_owned()));
        }
        if !work.started {
            let shared = self.0.clone();
            match std::thread::Builder::new().name("divergence-check".into()).spawn(move || shared.run()) {
                Ok(_) => work.started = true,
                Err(error) => tracing::error!(%error, "cannot start the thread that checks for divergence"),
            }
        }
        self.0.changed.notify_all();
    }

    /// What is known of a check.
    pub fn answer(&self, id: u64, applied: CommitTs) -> DigestAnswer {
        let work = self.0.work.lock();
        if let Some((_, answer)) = work.done.iter().find(|(done, _)| *done == id) {
            return answer.clone();
        }
        let waits = work.running == Some(id) || work.next.as_ref().is_some_and(|next| next.id == id);
        match waits || applied.0 < id {
            true => DigestAnswer::Pending,
            false => DigestAnswer::Unknown("the node was not there when the check passed".to_owned()),
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        let mut work = self.0.work.lock();
        work.stopping = true;
        work.next = None;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let mut work = self.work.lock();
            let check = loop {
                if work.stopping {
                    return;
                }
                match work.next.take() {
                    Some(check) => break check,
                    None => self.changed.wait(&mut work),
                }
            };
            work.running = Some(check.id);
            drop(work);
            self.answer(check);
        }
    }

    fn answer(&self, check: Check) {
        let id = check.id;
        let answer = match self.digest(check).map(|digest| digest.map(|digest| postcard::to_stdvec(&digest))) {
            Ok(Some(Ok(bytes))) => DigestAnswer::Ready(bytes),
            Ok(Some(Err(error))) => DigestAnswer::Unknown(error.to_string()),
            Ok(None) => DigestAnswer::Unknown("the node is stopping".to_owned()),
            Err(error) => DigestAnswer::Unknown(error.message().to_owned()),
        };
        let mut work = self.work.lock();
        work.running = None;
        work.finish(id, answer);
    }

    /// `None`: the engine is ending.
    fn digest(&self, check: Check) -> Result<Option<Digest>> {
        let mut objects = BTreeMap::new();
        objects.insert("catalog".to_owned(), digest_catalog(&check.state)?);
        let mut tables: Vec<&Arc<Table>> = check.state.tables.values().collect();
        tables.sort_by_key(|table| table.def.oid);
        for table in tables {
            let Some(sum) = self.digest_table(table, &check.snapshot)? else { return Ok(None) };
            let schema = check.state.catalog.schema_name(table.def.schema);
            objects.insert(format!("table {schema}.{} ({})", table.def.name, table.def.oid.0), sum);
        }
        let one = |(oid, last, called): &(Oid, i64, bool)| {
            let mut bytes = last.to_le_bytes().to_vec();
            bytes.push(u8::from(*called));
            hash(&bytes, u64::from(oid.0))
        };
        let sum = check.sequences.iter().map(one).fold(0, u128::wrapping_add);
        objects.insert("sequences".to_owned(), (check.sequences.len() as u64, sum));
        Ok(Some(Digest { version: VERSION, objects }))
    }

    fn digest_table(&self, table: &Arc<Table>, snapshot: &Snapshot) -> Result<Option<(u64, u128)>> {
        let attnums: Vec<i16> = table.def.live_columns().map(|column| column.attnum).collect();
        let source = ScanSource { table: table.clone(), snapshot: snapshot.clone(), overlay: None };
        let types: Vec<DataType> = table.def.live_columns().map(|column| column.ty.arrow()).collect();
        let mut rows = RowHash::new(table.def.oid, types)?;
        let mut begun = Instant::now();
        for batch in source.scan(0..source.partitions(), &attnums, false, None) {
            rows.add(&batch?)?;
            if !self.rest(begun.elapsed() * REST) {
                return Ok(None);
            }
            begun = Instant::now();
        }
        Ok(Some((rows.count, rows.sum)))
    }

    /// False: the engine is ending.
    fn rest(&self, time: Duration) -> bool {
        if parallel::has_one_thread() {
            return true;
        }
        let until = Instant::now() + time;
        let mut work = self.work.lock();
        while !work.stopping && !self.changed.wait_until(&mut work, until).timed_out() {}
        !work.stopping
    }
}

fn digest_catalog(state: &State) -> Result<(u64, u128)> {
    let catalog = &state.catalog;
    let mut sum = u128::from(catalog.version) << 32 | u128::from(catalog.next_oid.0);
    let objects = catalog.objects();
    for object in &objects {
        let bytes = postcard::to_stdvec(object).map_err(|e| Error::internal(e.to_string()))?;
        sum = sum.wrapping_add(hash(&bytes, 1));
    }
    Ok((objects.len() as u64, sum))
}

/// The sum of the rows of one table.
struct RowHash {
    table: Oid,
    /// `None`: a table without columns, whose rows are only counted.
    converter: Option<RowConverter>,
    count: u64,
    sum: u128,
}

impl RowHash {
    fn new(table: Oid, types: Vec<DataType>) -> Result<RowHash> {
        let fields: Vec<SortField> = types.into_iter().map(SortField::new).collect();
        let converter = match fields.is_empty() {
            true => None,
            false => Some(RowConverter::new(fields).map_err(|e| Error::internal(e.to_string()))?),
        };
        Ok(RowHash { table, converter, count: 0, sum: 0 })
    }

    fn add(&mut self, batch: &arrow::record_batch::RecordBatch) -> Result<()> {
        self.count += batch.num_rows() as u64;
        let Some(converter) = &mut self.converter else { return Ok(()) };
        let rows = converter.convert_columns(batch.columns()).map_err(|e| Error::internal(e.to_string()))?;
        for row in &rows {
            self.sum = self.sum.wrapping_add(hash(row.as_ref(), u64::from(self.table.0)));
        }
        Ok(())
    }
}

/// A hash against accidents, not against malice: two lanes of multiply and fold (as in wyhash).
fn hash(bytes: &[u8], seed: u64) -> u128 {
    const P: [u64; 4] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ (wide >> 64) as u64
    };
    let (mut one, mut two) = (seed ^ P[0], seed.rotate_left(32) ^ P[1]);
    for part in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        let word = u64::from_le_bytes(word);
        one = fold(one ^ word, P[2]).wrapping_add(P[1]);
        two = fold(two ^ word.rotate_left(29), P[3]).wrapping_add(P[0]);
    }
    let length = bytes.len() as u64;
    u128::from(fold(one ^ length, P[0] ^ two)) << 64 | u128::from(fold(two ^ length, P[1] ^ one))
}

/// Compares the digests of all nodes, the primary's first: what most nodes have is right, and if no state has a majority
/// over the primary's, the primary's is.
pub(crate) fn judge(position: LogPosition, nodes: &[NodeDigest]) -> Vec<Verdict> {
    let decode = |answer: &DigestAnswer| match answer {
        DigestAnswer::Ready(bytes) => {
            postcard::from_bytes::<Digest>(bytes).map_err(|_| "another version answered".to_owned())
        }
        DigestAnswer::Pending => Err("it has not reached the check in time".to_owned()),
        DigestAnswer::Unknown(why) => Err(why.clone()),
    };
    let answers: Vec<(&NodeDigest, Result<Digest, String>)> = nodes.iter().map(|n| (n, decode(&n.answer))).collect();
    let comparable = |digest: &&Digest| digest.version == VERSION;
    let known: Vec<&Digest> = answers.iter().filter_map(|(_, d)| d.as_ref().ok()).filter(comparable).collect();
    let votes = |digest: &Digest| known.iter().filter(|other| **other == digest).count();
    // The first of the greatest: the primary's before the others'.
    let mut right = known.first().copied();
    for digest in &known {
        if right.is_some_and(|best| votes(digest) > votes(best)) {
            right = Some(digest);
        }
    }
    let verdict = |(node, answer): &(&NodeDigest, Result<Digest, String>)| {
        let (state, detail) = match (answer, right) {
            (Ok(digest), Some(right)) if digest.version == VERSION => match digest.differences(right) {
                none if none.is_empty() => (NodeState::Equal, None),
                names => (NodeState::Diverged, Some(names.join(", "))),
            },
            (Ok(digest), _) => (NodeState::Unknown, Some(format!("it digests by version {}", digest.version))),
            (Err(why), _) => (NodeState::Unknown, Some(why.clone())),
        };
        let digest = answer.as_ref().ok();
        Verdict {
            node: node.node,
            name: node.name.clone(),
            position,
            state,
            rows: digest.map(Digest::rows),
            digest: digest.map(Digest::total),
            detail,
        }
    };
    answers.iter().map(verdict).collect()
}

impl Engine {
    /// Has all nodes digest their state at one place of the log and compares: one row a node. A node that differs is taken
    /// out of service and rebuilt. Errors: 25006 on a standby.
    pub(crate) async fn check_divergence(&self, patience: Duration) -> Result<Vec<Verdict>> {
        let transactions = self.transactions();
        let log = transactions.log()?.clone();
        let _one_at_a_time = self.checking.lock().await;
        let Some(reign) = transactions.sequencer.primary_reign() else {
            return Err(Error::new(
                SqlState::ReadOnlySqlTransaction,
                "cannot execute lockstep_check_divergence() on a standby",
            )
            .hint("The primary compares all nodes: ask there."));
        };
        let (id, appended) = transactions.sequencer.check(reign, log.as_ref())?;
        let position = match appended.await {
            Ok(Ok(position)) => position,
            Ok(Err(error)) => return Err(transactions.append_failed(error, reign)),
            Err(_) => return Err(Error::new(SqlState::AdminShutdown, "the database system is shutting down")),
        };
        let deadline = Instant::now() + patience;
        let own = loop {
            match self.machine().digest(id.0) {
                DigestAnswer::Pending if Instant::now() < deadline => tokio::time::sleep(POLL).await,
                answer => break answer,
            }
        };
        let patience = deadline.saturating_duration_since(Instant::now());
        let nodes = log.digests(id.0, own, patience).await;
        let verdicts = judge(position, &nodes);
        self.report(id, &verdicts, &nodes, log.as_ref()).await;
        Ok(verdicts)
    }

    /// Says what was found, and takes out of service what differs.
    async fn report(&self, id: CommitTs, verdicts: &[Verdict], nodes: &[NodeDigest], log: &dyn CommitLog) {
        let right = verdicts.iter().zip(nodes).find(|(verdict, _)| verdict.state == NodeState::Equal);
        for verdict in verdicts {
            let (node, name, detail) = (verdict.node, &verdict.name, verdict.detail.as_deref().unwrap_or_default());
            match (verdict.state, right) {
                (NodeState::Equal, _) => tracing::info!(node, name, position = verdict.position.0, "no divergence"),
                (NodeState::Unknown, _) => tracing::warn!(node, name, "not checked for divergence: {detail}"),
                (NodeState::Diverged, Some((_, NodeDigest { answer: DigestAnswer::Ready(reference), .. }))) => {
                    tracing::error!(
                        node,
                        name,
                        position = verdict.position.0,
                        "DIVERGED: the node's state is not that of the others: {detail}. It is taken out of service"
                    );
                    let reason = format!("at position {} it differs in: {detail}", verdict.position.0);
                    if let Err(error) = log.condemn(node, id.0, reference.clone(), reason).await {
                        tracing::error!(node, name, "the diverged node cannot be taken out of service: {error}");
                    }
                }
                (NodeState::Diverged, _) => {}
            }
        }
    }

    /// Checks every so often, for as long as this node is the primary. Runs until it is dropped.
    pub async fn check_divergence_on_schedule(self: Arc<Self>, every: Duration) {
        let mut due = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            if self.is_standby() {
                continue;
            }
            if let Err(error) = self.check_divergence(PATIENCE).await {
                tracing::warn!(%error, "the nodes could not be checked for divergence");
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn digest(sum: u128) -> DigestAnswer {
        let objects = BTreeMap::from([("catalog".to_owned(), (1, 7)), ("table public.t (1)".to_owned(), (2, sum))]);
        DigestAnswer::Ready(postcard::to_stdvec(&Digest { version: VERSION, objects }).unwrap())
    }

    fn states(answers: &[DigestAnswer]) -> Vec<NodeState> {
        let node = |(i, answer): (usize, &DigestAnswer)| NodeDigest {
            node: i as u64 + 1,
            name: format!("node{i}"),
            answer: answer.clone(),
        };
        let nodes: Vec<NodeDigest> = answers.iter().enumerate().map(node).collect();
        judge(LogPosition(1), &nodes).into_iter().map(|verdict| verdict.state).collect()
    }

    #[test]
    fn the_majority_is_right_and_the_primary_where_there_is_none() {
        use NodeState::*;
        assert_eq!(states(&[digest(1), digest(1), digest(1)]), [Equal, Equal, Equal]);
        assert_eq!(states(&[digest(1), digest(2), digest(1)]), [Equal, Diverged, Equal]);
        assert_eq!(states(&[digest(1), digest(2), digest(2)]), [Diverged, Equal, Equal]);
        assert_eq!(states(&[digest(1), digest(2)]), [Equal, Diverged]);
        assert_eq!(states(&[digest(1), digest(2), digest(3)]), [Equal, Diverged, Diverged]);
        let silent = DigestAnswer::Unknown("down".into());
        assert_eq!(states(&[digest(1), silent.clone(), DigestAnswer::Pending]), [Equal, Unknown, Unknown]);
        assert_eq!(states(&[silent, digest(1), digest(1)]), [Unknown, Equal, Equal]);
        let other = Digest { version: VERSION + 1, objects: BTreeMap::new() };
        let other = DigestAnswer::Ready(postcard::to_stdvec(&other).unwrap());
        assert_eq!(states(&[digest(1), other]), [Equal, Unknown]);
    }

    #[test]
    fn a_hash_sees_every_bit_and_every_length() {
        let mut inputs = std::collections::HashSet::new();
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).collect();
            for bit in 0..usize::from(length) * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                inputs.insert(flipped);
            }
            inputs.insert(vec![0; usize::from(length)]);
            inputs.insert(bytes);
        }
        let hashes: std::collections::HashSet<u128> = inputs.iter().map(|input| hash(input, 1)).collect();
        assert_eq!(hashes.len(), inputs.len());
        assert_ne!(hash(b"row", 1), hash(b"row", 2));
    }
}
