//! The run of one seed: nodes, clients and faults on one clock, until the faults stop and the cluster has to be whole
//! again.

use std::path::Path;
use std::sync::Arc;

use engine::txn::Transactions;
use openraft::async_runtime::watch::WatchReceiver;
use rand::Rng;

use super::faults::Fault;
use super::history::{Kind, Operation, Outcome};
use super::invariants::memory::Memory;
use super::invariants::one_primary;
use super::node::{self, SimulatedNode, Sizes};
use super::workload::{self, Plan};
use super::world::{Event, MILLISECOND, SECOND, Undo, World, with};
use super::{Options, Report, interposed, invariants, world};
use crate::node::Node;
use crate::raft;
use crate::wal::Stepped;

/// A cluster without faults has to be whole within this time.
const HEALING: u64 = 90 * SECOND;
const MAINTENANCE: u64 = 500 * MILLISECOND;
/// Pause of a writer that waits for space.
const AGAIN: u64 = 200 * MILLISECOND;
/// Idle time after which the log is marked.
const REST: u64 = 5 * MILLISECOND;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process is killed; the machine goes on and keeps what it has cached.
    Kill,
    /// The machine loses its power.
    Power,
}

pub struct Cluster {
    pub nodes: Vec<SimulatedNode>,
    sizes: Sizes,
    lives: u64,
    /// Faults come; later they do not any more.
    pub faulty: bool,
    clients: bool,
    /// Places whose disk is slow.
    pub slow_disks: Vec<bool>,
    pub memories: Vec<Memory>,
    /// A disk was damaged or lost, and the cluster was not whole since.
    pub fragile: bool,
    options: Options,
}

/// Runs a seed on this thread.
pub fn run(seed: u64, options: &Options, root: &Path) -> Report {
    let began = interposed::processor_time();
    interposed::seed(seed);
    interposed::set_clocks(1000 * SECOND, 1000 * SECOND);
    world::begin(seed, options.nodes, options.verbose);
    let mut cluster = Cluster::new(options, root);
    cluster.found();
    cluster.live(options.faulty_nanos);
    let healed = cluster.heal();
    for node in &mut cluster.nodes {
        node.kill();
    }
    drop(cluster);
    interposed::set_clocks(0, 0);
    let mut world = world::end().unwrap_or_else(|| panic!("the world is gone"));
    if let Err(why) = healed {
        world.history.violate(format!("healing: {why}"));
    }
    invariants::check(&mut world.history);
    let (lines, hash) = world.trace_hash();
    Report {
        seed,
        simulated_nanos: world.now - 1000 * SECOND,
        processor_nanos: (interposed::processor_time() - began).as_nanos() as u64,
        lines,
        hash,
        messages: world.network.messages,
        violations: std::mem::take(&mut world.history.violations),
        counts: world.history.counts.clone(),
    }
}

impl Cluster {
    fn new(options: &Options, root: &Path) -> Self {
        let (sizes, now) = with(|world| {
            let random = &mut world.random;
            let sizes = Sizes {
                checkpoint_log_bytes: 1 << random.random_range(11..16),
                entries_kept: random.random_range(0..60),
                segment_bytes: 1 << random.random_range(12..16),
                entry_cache_bytes: 1 << random.random_range(8..14),
            };
            (sizes, world.now)
        });
        let nodes = (0..options.nodes).map(|place| SimulatedNode::new(place, root, now)).collect();
        let slow_disks = vec![false; options.nodes];
        let memories = vec![Memory::default(); options.nodes];
        Self {
            nodes,
            sizes,
            lives: 0,
            faulty: false,
            clients: false,
            slow_disks,
            memories,
            fragile: false,
            options: options.clone(),
        }
    }

    /// Begins a cluster, has the others join it, and creates the table.
    fn found(&mut self) {
        for place in 0..self.nodes.len() {
            with(|world| world.schedule(world.now + place as u64 * 300 * MILLISECOND, Event::Start(place)));
        }
        with(|world| world.after(MAINTENANCE, Event::Maintain));
        let whole = self.run_until(30 * SECOND, Self::is_whole);
        if !whole {
            with(|world| world.history.violate("healing: a new cluster is not whole after 30 s".to_owned()));
        }
        let created = self.run_until(30 * SECOND, |cluster| {
            let primary = cluster.primary();
            if let Some(primary) = primary {
                let shared = cluster.nodes[primary].life.as_ref().map(|life| life.transactions.clone());
                let made = shared.as_ref().is_some_and(has_table);
                if let (Some(shared), false) = (shared, made) {
                    cluster.nodes[primary].spawn(workload::create_table(shared));
                }
            }
            cluster.nodes.iter().all(|node| node.life.as_ref().is_some_and(|life| has_table(&life.transactions)))
        });
        if !created {
            with(|world| world.history.violate("healing: no table after 30 s".to_owned()));
        }
    }

    /// Clients work and faults happen for so long.
    fn live(&mut self, nanos: u64) {
        (self.clients, self.faulty) = (true, self.options.faults);
        with(|world| {
            world.after(MILLISECOND, Event::Client);
            world.after(300 * MILLISECOND, Event::Fault);
        });
        let until = with(|world| world.now) + nanos;
        self.run_until(nanos, |_| with(|world| world.now) >= until);
    }

    /// No more faults: the clients go on for a while, and then every node has to hold the same.
    fn heal(&mut self) -> Result<(), String> {
        self.faulty = false;
        self.undo_all();
        let until = with(|world| world.now) + 2 * SECOND;
        self.run_until(2 * SECOND, |_| with(|world| world.now) >= until);
        self.clients = false;
        match self.run_until(HEALING, Self::is_whole) {
            true => Ok(()),
            false => Err(format!("not whole after {} s: {}", HEALING / SECOND, self.describe())),
        }
    }

    fn undo_all(&mut self) {
        with(|world| {
            world.network.cut.clear();
            world.network.slow.clear();
            world.network.loss = None;
            world.reconnect();
            world.disks.iter().for_each(|disk| disk.set_full(false));
        });
        for place in 0..self.nodes.len() {
            self.slow_disks[place] = false;
            self.resume(place);
            if self.nodes[place].life.is_none() {
                with(|world| world.after(50 * MILLISECOND, Event::Start(place)));
            }
            let now = with(|world| world.now);
            self.nodes[place].clock.set_rate(now, 1_000_000);
            with(|world| world.touch(place));
        }
    }

    /// Lets time pass until something holds, which is looked at now and then. False: it never did.
    fn run_until(&mut self, nanos: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        let end = with(|world| world.now) + nanos;
        let mut look = 0;
        loop {
            self.settle();
            let now = with(|world| world.now);
            if now >= look {
                if holds(self) {
                    return true;
                }
                if now >= end {
                    return false;
                }
                look = now + 20 * MILLISECOND;
                // What was asked for may have touched nodes.
                self.settle();
            }
            match with(World::next_event) {
                Some(event) => self.handle(event),
                None => return false,
            }
        }
    }

    /// Runs every node that has something to do until none has.
    fn settle(&mut self) {
        loop {
            let rubbish = with(|world| (std::mem::take(&mut world.rubbish), std::mem::take(&mut world.rubbish_calls)));
            drop(rubbish);
            let Some(place) = with(World::take_touched) else { return };
            self.run_node(place);
        }
    }

    fn run_node(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if node.paused || node.life.is_none() {
            return;
        }
        let wake = node.run();
        if let Some(at) = wake
            && node.wake_at.is_none_or(|scheduled| scheduled > at || scheduled <= with(|world| world.now))
        {
            node.wake_at = Some(at);
            with(|world| world.schedule(at, Event::Wake(place)));
        }
        self.greet(place);
        self.look_at_writer(place);
        let fatal = with(|world| world.fatal.remove(&place));
        if let Some(reason) = fatal {
            with(|world| world.trace(format_args!("ends {place}: {reason}")));
            self.end(place, End::Kill);
            self.start_later(place);
        } else if self.nodes[place].life.as_ref().is_some_and(|life| life.is_over()) {
            let failure = self.nodes[place].life.as_ref().and_then(|life| life.failure());
            with(|world| world.trace(format_args!("over {place}: {failure:?}")));
            self.end(place, End::Kill);
            self.start_later(place);
        }
    }

    /// A process that takes part for the first time is asked what it remembers.
    fn greet(&mut self, place: usize) {
        let Some(life) = self.nodes[place].life.as_mut() else { return };
        if life.greeted {
            return;
        }
        if let Some(node) = life.node() {
            life.greeted = true;
            let last = node.members.log.last().map(|id| id.index);
            with(|world| self.memories[place].returns(&mut world.history, place, node.id(), last));
        }
    }

    fn start_later(&mut self, place: usize) {
        with(|world| {
            let wait = world.random.random_range(20 * MILLISECOND..3 * SECOND);
            world.after(wait, Event::Start(place));
        });
    }

    fn look_at_writer(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        if node.write_scheduled || node.paused {
            return;
        }
        let slow = self.slow_disks[place];
        node.write_scheduled = with(|world| {
            let awaited = world.writers[place].as_ref().is_some_and(|writer| writer.is_awaited());
            if awaited {
                let most = if slow { 300 * MILLISECOND } else { 3 * MILLISECOND };
                let wait = world.random.random_range(MILLISECOND / 10..most);
                world.after(wait, Event::Write(place));
            }
            awaited
        });
    }

    fn write(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        node.write_scheduled = false;
        if node.paused || node.life.is_none() {
            return;
        }
        node.enter();
        let Some(mut writer) = with(|world| world.writers[place].take()) else { return };
        let stepped = writer.step();
        with(|world| {
            world.writers[place] = Some(writer);
            let counters = world.disks[place].counters();
            world.trace(format_args!("write {place} {stepped:?} {counters:?}"));
            match stepped {
                Stepped::Worked => world.after(REST, Event::Rest(place)),
                Stepped::Blocked => world.after(AGAIN, Event::Write(place)),
                Stepped::Idle => {}
            }
            world.touch(place);
        });
        node.write_scheduled = stepped == Stepped::Blocked;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrive(pipe) => with(|world| world.arrive(&pipe)),
            Event::Connect { from, to, reply } => with(|world| world.connected(from, to, reply)),
            Event::Wake(place) => {
                let node = &mut self.nodes[place];
                if node.wake_at == Some(with(|world| world.now)) {
                    node.wake_at = None;
                    with(|world| world.touch(place));
                }
            }
            Event::Write(place) => self.write(place),
            Event::Rest(place) => {
                let node = &mut self.nodes[place];
                if !node.paused && !node.write_scheduled && node.life.is_some() {
                    node.enter();
                    if let Some(mut writer) = with(|world| world.writers[place].take()) {
                        writer.rest();
                        with(|world| world.writers[place] = Some(writer));
                    }
                }
            }
            Event::Client => self.client(),
            Event::Fault => self.fault(),
            Event::Undo(undo) => self.undo(undo),
            Event::Start(place) => self.start(place),
            Event::Maintain => {
                for node in &self.nodes {
                    node.enter();
                    if let Some(life) = node.life.as_ref().filter(|_| !node.paused) {
                        life.storage.maintain();
                    }
                }
                with(|world| world.after(MAINTENANCE, Event::Maintain));
            }
        }
    }

    fn start(&mut self, place: usize) {
        if self.nodes[place].life.is_some() {
            return;
        }
        self.lives += 1;
        let first = place == 0 && self.lives == 1;
        let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != place && !first).collect();
        self.nodes[place].start(self.lives, self.sizes, &others);
    }

    /// Ends a process, and with it what it was writing.
    pub fn end(&mut self, place: usize, how: End) {
        if let Some(node) = self.node(place) {
            self.memories[place].ends(node.id(), node.members.log.synced().map(|id| id.index));
        }
        let node = &mut self.nodes[place];
        node.enter();
        let writer = with(|world| {
            world.trace(format_args!("end {place} {how:?}"));
            world.history.counts.kills += 1;
            world.writers[place].take()
        });
        if let Some(mut writer) = writer
            && writer.is_awaited()
            && with(|world| world.one_in(2))
        {
            // It was in the middle of it.
            with(|world| {
                let operations = world.random.random_range(0..4);
                world.disks[place].fail_after(operations);
            });
            writer.step();
        }
        with(|world| world.disconnect(place, how == End::Kill));
        node.kill();
        node.write_scheduled = false;
        with(|world| {
            world.fatal.remove(&place);
            // Its handles are of no use any more.
            let disk = world.disks[place].taken();
            world.disks[place] = disk;
            if how == End::Power {
                world.disks[place].lose_power();
                world.dark.insert(place);
            }
        });
    }

    pub fn pause(&mut self, place: usize) {
        self.nodes[place].paused = true;
    }

    pub fn resume(&mut self, place: usize) {
        if std::mem::take(&mut self.nodes[place].paused) {
            with(|world| world.touch(place));
        }
    }

    fn undo(&mut self, undo: Undo) {
        with(|world| world.trace(format_args!("undo {undo:?}")));
        match undo {
            Undo::Links => with(|world| {
                world.network.cut.clear();
                world.network.slow.clear();
                world.network.loss = None;
                world.reconnect();
                (0..world.disks.len()).for_each(|place| world.touch(place));
            }),
            Undo::Resume(place) => self.resume(place),
            Undo::Space(place) => with(|world| world.disks[place].set_full(false)),
            Undo::Disk(place) => self.slow_disks[place] = false,
        }
    }

    fn fault(&mut self) {
        if !self.faulty {
            return;
        }
        self.fragile = self.fragile && !self.is_whole();
        let fault = with(|world| Fault::choose(&mut world.random, &self.options.focus));
        if let Some(fault) = self.strike(fault) {
            with(|world| {
                world.trace(format_args!("fault {fault:?}"));
                *world.history.counts.faults.entry(fault.name().to_owned()).or_default() += 1;
            });
        }
        with(|world| {
            let wait = world.random.random_range(50 * MILLISECOND..2500 * MILLISECOND);
            world.after(wait, Event::Fault);
        });
    }

    /// Starts an operation of some client.
    fn client(&mut self) {
        if !self.clients {
            return;
        }
        self.look_at_roles();
        let place = with(|world| world.random.random_range(0..self.nodes.len()));
        let plan = with(|world| Plan::choose(&mut world.random));
        let reads = matches!(plan.kind, Kind::Read | Kind::LocalRead);
        // Most writers know who calls itself the primary.
        let primaries: Vec<usize> =
            self.live_places().filter(|place| self.life_is(*place, |life| life.is_primary())).collect();
        let nth = with(|world| world.random.random_range(0..1000)) % primaries.len().max(1);
        let place = match primaries.get(nth) {
            Some(primary) if !reads && !with(|world| world.one_in(20)) => *primary,
            _ => place,
        };
        self.invoke(place, plan);
        with(|world| {
            let wait = match world.random.random_range(0..10) {
                0 => world.random.random_range(0..200 * MILLISECOND),
                1..4 => world.random.random_range(0..MILLISECOND),
                _ => world.random.random_range(0..60 * MILLISECOND),
            };
            world.after(wait, Event::Client);
        });
    }

    fn invoke(&mut self, place: usize, plan: Plan) {
        let node = &self.nodes[place];
        let Some(life) = node.life.as_ref().filter(|life| life.node().is_some() && !node.paused) else { return };
        let shared = life.transactions.clone();
        let number = with(|world| {
            let (invoked, kind) = (world.now, plan.kind);
            let number = world.history.operations.len();
            let (reads, writes) = (Vec::new(), Vec::new());
            let operation =
                Operation { life: life.number, kind, invoked, answered: None, outcome: Outcome::Open, reads, writes };
            world.history.operations.push(operation);
            world.trace(format_args!("invoke {number} on {place} {kind:?}"));
            number
        });
        let task = node.spawn(workload::perform(shared, number, plan));
        // Some clients go away in the middle.
        if let Some(task) = task
            && with(|world| world.one_in(50))
        {
            let wait = with(|world| std::time::Duration::from_micros(world.random.random_range(0..20_000)));
            node.spawn(async move {
                tokio::time::sleep(wait).await;
                task.abort();
            });
        }
    }

    fn look_at_roles(&self) {
        let mut lives = Vec::new();
        for simulated in self.nodes.iter().filter(|node| !node.paused) {
            let Some(life) = simulated.life.as_ref().filter(|life| life.is_primary()) else { continue };
            let Some(node) = life.node() else { continue };
            // It tells by its own clock when it heard the others.
            simulated.enter();
            let raft = &node.members.raft;
            if !raft::leads(raft) || !raft::quorum_heard_within(raft, one_primary::SILENCE) {
                lives.push(life.number);
            }
        }
        with(|world| one_primary::pretend(&mut world.history, world.now, &lives));
    }

    pub fn live_places(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().filter(|node| node.life.is_some() && !node.paused).map(|node| node.place)
    }

    pub fn life_is(&self, place: usize, is: impl FnOnce(&node::Life) -> bool) -> bool {
        self.nodes[place].life.as_ref().is_some_and(is)
    }

    /// A node that is the primary, as it thinks.
    pub fn primary(&self) -> Option<usize> {
        self.live_places().find(|place| self.life_is(*place, |life| life.is_primary()))
    }

    pub fn node(&self, place: usize) -> Option<Arc<Node>> {
        self.nodes[place].life.as_ref()?.node()
    }

    /// Every node runs and votes, one alone is the primary, and all have applied the same.
    pub fn is_whole(&mut self) -> bool {
        if self.live_places().filter(|place| self.life_is(*place, |life| life.is_primary())).count() > 1 {
            return false;
        }
        let Some(primary) = self.primary().and_then(|place| self.node(place)) else { return false };
        let voters = primary.members.membership().voter_ids().count();
        let members = primary.members.membership().nodes().count();
        if voters != self.nodes.len() || members != voters {
            return false;
        }
        let last = primary.members.log.last().map(|id| id.index);
        self.nodes.iter().all(|node| {
            let Some(node) = node.life.as_ref().and_then(|life| life.node()) else { return false };
            node.members.machine.applied().index == last && node.members.log.synced().map(|id| id.index) == last
        })
    }

    fn describe(&self) -> String {
        let mut parts = Vec::new();
        for node in &self.nodes {
            let state = match node.life.as_ref() {
                None => "is down".to_owned(),
                Some(life) => match life.node() {
                    None => format!("starts: {:?}", life.failure()),
                    Some(up) => {
                        let metrics = up.members.raft.metrics();
                        let metrics = metrics.borrow_watched();
                        format!(
                            "id {} primary {} {:?} term {} last {:?} synced {:?} applied {:?} leader {:?} voters {:?} of {:?}",
                            up.id(),
                            life.is_primary(),
                            metrics.state,
                            metrics.current_term,
                            metrics.last_log_index,
                            up.members.log.synced().map(|id| id.index),
                            up.members.machine.applied().index,
                            metrics.current_leader,
                            up.members.membership().voter_ids().collect::<Vec<_>>(),
                            up.members.membership().nodes().map(|(id, _)| *id).collect::<Vec<_>>(),
                        )
                    }
                },
            };
            parts.push(format!("node {}: {state}", node.place));
        }
        parts.join("; ")
    }
}

fn has_table(shared: &Arc<Transactions>) -> bool {
    shared.storage.table(engine::catalog::Oid(workload::TABLE)).is_some()
}
