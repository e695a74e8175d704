//! The whole replicated engine in one thread, on simulated clocks, disks and networks, from a seed: the same seed is
//! the same run, to the last byte.
//!
//! Each node is the real one, with its log, consensus, checkpoints and roles, on a Tokio runtime of its own
//! ([`node`]), below the engine's real transactions and storage. What is simulated is below them: the C library's
//! clocks and randomness ([`interposed`]), the disk of the log ([`disk`]), the byte streams between nodes
//! ([`network`]), and when whose turn it is ([`cluster`], on the events of a [`world`]). Clients run transactions
//! ([`workload`]), [`faults`] happen, and [`invariants`] are checked while they do and at the end.
//!
//! Compiled for unit tests and with the feature `simulation`, never into the server. Checkpoints are real files in a
//! temporary directory.

mod cluster;
mod disk;
mod faults;
mod fork;
mod history;
mod interposed;
mod invariants;
pub(crate) mod network;
mod node;
#[cfg(test)]
mod tests;
mod workload;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use history::Counts;
pub(crate) use world::is_running;

use crate::wal::SteppedWriter;
use crate::wal::disk::Disk;

/// A seed that takes more of the processor than this, or ten times as long, hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// What a run consists of.
#[derive(Debug, Clone)]
pub struct Options {
    pub nodes: usize,
    /// For so long faults happen; what comes before and after is on top.
    pub faulty_nanos: u64,
    pub faults: bool,
    /// The only faults there are, by name; none: all.
    pub focus: Vec<String>,
    /// Prints everything that happens.
    pub verbose: bool,
    /// A bug on purpose.
    pub bug: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, faulty_nanos: 12_000_000_000, faults: true, focus: Vec::new(), verbose: false, bug: None }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub seed: u64,
    pub simulated_nanos: u64,
    /// What the thread had of a processor.
    pub processor_nanos: u64,
    /// Lines of the trace, and their hash.
    pub lines: u64,
    pub hash: u64,
    pub messages: u64,
    pub violations: Vec<String>,
    pub counts: Counts,
}

/// The bugs that can be seeded on purpose, and what each does.
pub fn bugs() -> impl Iterator<Item = (&'static str, &'static str)> {
    // Without its feature the engine knows none.
    let engine = engine::seeded::BUGS.into_iter().filter(|_| cfg!(feature = "seeded-bugs"));
    crate::seeded::BUGS.into_iter().chain(engine)
}

/// The faults that bring a bug to light, where a mixture of all would take very many seeds.
pub fn focus(bug: &str) -> Vec<String> {
    let faults: &[&str] = match bug {
        "damage-ignored" => &["bit rot", "isolation", "kill", "power"],
        "id-reuse" => &["lost disk", "isolation", "kill", "power"],
        _ => &[],
    };
    faults.iter().map(|fault| (*fault).to_owned()).collect()
}

/// Runs one seed in a process of its own. An error is a violation as well: the process did not end as it should.
pub fn run(seed: u64, options: &Options) -> Result<Report, String> {
    // openraft counts in these: a table that each process would compute anew, which takes longer than a simulated second.
    #[cfg(feature = "simulation")]
    base2histogram::Histogram::<()>::new();
    let root = directory(seed);
    let (place, options) = (root.clone(), options.clone());
    let answer = fork::in_child(LIMIT, move || {
        crate::seeded::choose(options.bug.as_deref());
        engine::parallel::keep_to_one_thread();
        // Its name is another in each process, and no part of the run.
        let entered = std::fs::create_dir_all(&place).and_then(|()| std::env::set_current_dir(&place));
        let within = if entered.is_ok() { PathBuf::from(".") } else { place };
        postcard::to_stdvec(&cluster::run(seed, &options, &within)).unwrap_or_default()
    });
    let _ = std::fs::remove_dir_all(&root);
    postcard::from_bytes(&answer?).map_err(|error| error.to_string())
}

/// Checkpoints are written in memory where there is a file system for it.
fn directory(seed: u64) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    parent.join(format!("lockstep-simulation-{}-{seed}", std::process::id()))
}

/// The disk of the node that runs.
pub(crate) fn disk() -> std::sync::Arc<dyn Disk> {
    world::with(|world| std::sync::Arc::new(world.disks[world.current].clone()) as _)
}

/// The log of the node that runs is put aside: nobody looks at it again.
pub(crate) fn forget_log() {
    world::with(|world| world.disks[world.current].wipe());
}

/// The writer of the log of the node that runs is driven by the simulation from here on.
pub(crate) fn drive(writer: SteppedWriter) {
    let before = world::with(|world| world.writers[world.current].replace(writer));
    drop(before);
}

/// How long something takes that blocks; now and then very long, as on a machine that has much else to do.
pub(crate) fn pause() -> Duration {
    use rand::Rng;
    world::with(|world| {
        let most = if world.one_in(8) { 200_000 } else { 8000 };
        Duration::from_micros(world.random.random_range(0..most))
    })
}

/// A runtime has nothing to do, or does something without end.
fn note_idle(endless: bool) {
    if endless {
        let said = "healing: a node goes in circles without waiting for anything";
        world::try_with(|world| world.history.violate(said.to_owned()));
    }
}
