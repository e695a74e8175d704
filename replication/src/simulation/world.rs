//! What surrounds the nodes: time, the network, the disks, chance, and the record of what happened. It belongs to the
//! thread of the simulation; nodes reach it through [`with`], for a moment and never across an await.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::Hasher;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;

use super::disk::SimulatedDisk;
use super::history::History;
use super::network::{Link, Network, Pipe};
use crate::wal::SteppedWriter;

pub const MICROSECOND: u64 = 1000;
pub const MILLISECOND: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

/// What happens at a moment.
pub enum Event {
    Arrive(Arc<Mutex<Pipe>>),
    Connect {
        from: usize,
        to: usize,
        reply: oneshot::Sender<io::Result<Link>>,
    },
    /// The runtime of the node in this place has something to do.
    Wake(usize),
    /// The writer of the log takes a step, or finds that it has nothing to do.
    Write(usize),
    Rest(usize),
    Client,
    Fault,
    Undo(Undo),
    Start(usize),
    Maintain,
}

/// The end of a fault.
#[derive(Debug, Clone, Copy)]
pub enum Undo {
    Links,
    Resume(usize),
    Space(usize),
    Disk(usize),
}

pub struct World {
    /// Nanoseconds; the nodes' clocks follow it, each in its way.
    pub now: u64,
    pub random: StdRng,
    /// Place of the node that runs at the moment.
    pub current: usize,
    events: BTreeMap<(u64, u32, u64), Event>,
    scheduled: u64,
    /// Nodes that have something to do now.
    touched: BTreeSet<usize>,
    pub network: Network,
    /// Places without power.
    pub dark: BTreeSet<usize>,
    pub silent: Vec<(usize, Arc<Mutex<Pipe>>)>,
    /// To be dropped when the world is not in use.
    pub rubbish: Vec<Link>,
    pub rubbish_calls: Vec<oneshot::Sender<io::Result<Link>>>,
    pub disks: Vec<SimulatedDisk>,
    pub writers: Vec<Option<SteppedWriter>>,
    /// Nodes that cannot go on, and why.
    pub fatal: BTreeMap<usize, String>,
    pub history: History,
    hash: std::hash::DefaultHasher,
    traced: u64,
    pub verbose: bool,
}

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// True on the thread of a simulation.
pub fn is_running() -> bool {
    RUNNING.get()
}

pub fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| act(world.as_mut().unwrap_or_else(|| panic!("there is no simulation here"))))
}

/// Does nothing when the simulation has ended.
pub fn try_with<T>(act: impl FnOnce(&mut World) -> T) -> Option<T> {
    WORLD.try_with(|world| world.borrow_mut().as_mut().map(act)).ok().flatten()
}

/// Makes this thread a simulation's.
pub fn begin(seed: u64, places: usize, verbose: bool) {
    let mut random = StdRng::seed_from_u64(seed);
    let disks = (0..places).map(|_| SimulatedDisk::new(random.random())).collect();
    let world = World {
        now: 1000 * SECOND,
        random,
        current: 0,
        events: BTreeMap::new(),
        scheduled: 0,
        touched: BTreeSet::new(),
        network: Network::default(),
        dark: BTreeSet::new(),
        silent: Vec::new(),
        rubbish: Vec::new(),
        rubbish_calls: Vec::new(),
        disks,
        writers: (0..places).map(|_| None).collect(),
        fatal: BTreeMap::new(),
        history: History::default(),
        hash: std::hash::DefaultHasher::new(),
        traced: 0,
        verbose,
    };
    WORLD.with_borrow_mut(|place| *place = Some(world));
    RUNNING.set(true);
}

/// Ends the simulation of this thread.
pub fn end() -> Option<World> {
    RUNNING.set(false);
    WORLD.with_borrow_mut(Option::take)
}

impl World {
    pub fn schedule(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        // What falls on one moment comes in an order of chance.
        let tie = self.random.random();
        self.events.insert((at, tie, self.scheduled), event);
    }

    pub fn after(&mut self, wait: u64, event: Event) {
        self.schedule(self.now + wait, event);
    }

    pub fn next_event(&mut self) -> Option<Event> {
        let ((at, ..), event) = self.events.pop_first()?;
        self.now = self.now.max(at);
        Some(event)
    }

    pub fn touch(&mut self, place: usize) {
        self.touched.insert(place);
    }

    /// One of the nodes that have something to do.
    pub fn take_touched(&mut self) -> Option<usize> {
        let nth = match self.touched.len() {
            0 => return None,
            1 => 0,
            several => self.random.random_range(0..several),
        };
        let place = self.touched.iter().nth(nth).copied()?;
        self.touched.remove(&place);
        Some(place)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u32) -> bool {
        self.random.random_range(0..times) == 0
    }

    /// Adds a line to what two runs of a seed must have in common.
    pub fn trace(&mut self, what: fmt::Arguments<'_>) {
        use fmt::Write;
        self.traced += 1;
        self.hash.write_u64(self.now);
        let _ = HashWriter(&mut self.hash).write_fmt(what);
        if self.verbose {
            println!("{:>14.6} {what}", (self.now - 1000 * SECOND) as f64 / 1e9);
        }
    }

    /// Number of lines of the trace, and their hash.
    pub fn trace_hash(&self) -> (u64, u64) {
        (self.traced, self.hash.finish())
    }
}

struct HashWriter<'a>(&'a mut std::hash::DefaultHasher);

impl fmt::Write for HashWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
