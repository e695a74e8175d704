//! Runs seeds of the simulated cluster, each in a process of its own, until the time is over or one breaks a promise.
//!
//! ```text
//! cargo run --release -p lockstep-replication --features simulation --example simulate -- --seeds 0..100000 --seconds 3600
//! cargo run --release -p lockstep-replication --features simulation --example simulate -- --seed 4711 --verbose     # replay
//! cargo run -p lockstep-replication --features simulation,seeded-bugs --example simulate -- --bug skip-fsync         # must be caught
//! cargo run --release -p lockstep-replication --features simulation --example simulate -- --faults "lost disk, isolation"   # only these
//! ```
//! It uses one core; run one of it for each core, with seeds of its own. `--record FILE` appends a line of what the seeds came to
//! (docs/record/simulation.tsv is such a file), at the end or when a violation ends it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use replication::simulation::{self, Options};

struct Arguments {
    seeds: std::ops::Range<u64>,
    seconds: u64,
    record: Option<PathBuf>,
    options: Options,
    /// Two runs of each seed have to be the same.
    twice: bool,
    /// Each seeded bug has to be caught by one of the seeds; prints a table of it.
    bugs: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seeds: 0..100,
        seconds: u64::MAX,
        record: None,
        options: Options::default(),
        twice: false,
        bugs: false,
    };
    let mut words = std::env::args().skip(1);
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--seeds" => {
                let text = value()?;
                let (from, to) = text.split_once("..").ok_or("--seeds wants FROM..TO")?;
                parsed.seeds = number(from)?..number(to)?;
            }
            "--seed" => {
                let seed = number(&value()?)?;
                parsed.seeds = seed..seed + 1;
            }
            "--seconds" => parsed.seconds = number(&value()?)?,
            "--record" => parsed.record = Some(value()?.into()),
            "--nodes" => parsed.options.nodes = number(&value()?)? as usize,
            "--faulty-seconds" => parsed.options.faulty_nanos = number(&value()?)? * 1_000_000_000,
            "--faults" => parsed.options.focus = value()?.split(',').map(|fault| fault.trim().to_owned()).collect(),
            "--without-faults" => parsed.options.faults = false,
            "--verbose" => parsed.options.verbose = true,
            "--twice" => parsed.twice = true,
            "--bugs" => parsed.bugs = true,
            "--bug" => parsed.options.bug = Some(value()?),
            other => return Err(format!("what is {other}?")),
        }
    }
    Ok(parsed)
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    simulated: Duration,
    processor: Duration,
    acknowledged: u64,
    unknown: u64,
    reads: u64,
    failovers: u64,
    kills: u64,
    checkpoints: u64,
    rebuilt: u64,
    faults: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, report: &simulation::Report) {
        self.seeds += 1;
        self.simulated += Duration::from_nanos(report.simulated_nanos);
        self.processor += Duration::from_nanos(report.processor_nanos);
        self.acknowledged += report.counts.acknowledged;
        self.unknown += report.counts.unknown;
        self.reads += report.counts.reads;
        self.failovers += report.counts.failovers;
        self.kills += report.counts.kills;
        self.checkpoints += report.counts.checkpoints;
        self.rebuilt += report.counts.rebuilt;
        for (fault, times) in &report.counts.faults {
            *self.faults.entry(fault.clone()).or_default() += times;
        }
    }

    fn print(&self, violations: u64) {
        let hours = self.simulated.as_secs_f64() / 3600.0;
        let pace = self.simulated.as_secs_f64() / self.processor.as_secs_f64().max(1e-9);
        println!("{} seeds, {hours:.3} simulated hours, {pace:.0} x real time on a core", self.seeds);
        println!(
            "{} failovers, {} acknowledged commits, {} of unknown outcome, {} reads, {} ends of processes, {} checkpoints, {} rebuilt nodes",
            self.failovers, self.acknowledged, self.unknown, self.reads, self.kills, self.checkpoints, self.rebuilt
        );
        println!("faults: {:?}", self.faults);
        println!("violations: {violations}");
    }

    /// Appends a line of tab-separated values.
    fn record(&self, file: &Path, first: u64, options: &Options, violations: u64) -> std::io::Result<()> {
        let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        if out.metadata()?.len() == 0 {
            writeln!(out, "date\tfirst seed\tseeds\tnodes\thours\tcore hours\tfail-overs\tcommits\tviolations")?;
        }
        let date = chrono::Utc::now().format("%Y-%m-%dT%H:%MZ");
        let hours = |duration: Duration| duration.as_secs_f64() / 3600.0;
        let (simulated, processor) = (hours(self.simulated), hours(self.processor));
        let Self { seeds, failovers, acknowledged, .. } = self;
        let nodes = options.nodes;
        writeln!(
            out,
            "{date}\t{first}\t{seeds}\t{nodes}\t{simulated:.3}\t{processor:.3}\t{failovers}\t{acknowledged}\t{violations}"
        )
    }
}

/// Begins this program anew with every process at the same addresses, which maps of some crates hash with: a seed is the same
/// run in each process. Returns if it is so, or cannot be.
#[allow(unsafe_code)]
fn fix_addresses() {
    use std::os::unix::process::CommandExt;
    const ASK: libc::c_ulong = 0xffff_ffff;
    // SAFETY: it reads and sets a number of this process.
    let now = unsafe { libc::personality(ASK) };
    let fixed = now | libc::ADDR_NO_RANDOMIZE;
    if now == fixed || now < 0 || unsafe { libc::personality(fixed as libc::c_ulong) } < 0 {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    eprintln!("simulate: {error}");
}

fn main() -> ExitCode {
    fix_addresses();
    let Arguments { seeds, seconds, record, options, twice, bugs } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("simulate: {error}");
            return ExitCode::from(2);
        }
    };
    if bugs {
        return seeded_bugs(&seeds, &options);
    }
    let began = Instant::now();
    let (mut totals, mut said) = (Totals::default(), Instant::now());
    let mut failed = None;
    let first = seeds.start;
    for seed in seeds {
        if began.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let mut result = simulation::run(seed, &options);
        if twice && let Ok(first) = &result {
            match simulation::run(seed, &options) {
                Ok(second) if second.hash == first.hash => {}
                Ok(second) => {
                    let lines = (first.lines, second.lines);
                    result = Err(format!("two runs of the seed differ: {lines:?} lines"));
                }
                Err(error) => result = Err(error),
            }
        }
        let violations = match result {
            Ok(report) => {
                totals.add(&report);
                report.violations
            }
            Err(error) => vec![error],
        };
        if !violations.is_empty() {
            println!("seed {seed}:");
            violations.iter().for_each(|violation| println!("VIOLATION {violation}"));
            println!("replay: --seed {seed} --nodes {} --verbose", options.nodes);
            failed = Some(violations.len() as u64);
            break;
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            totals.print(0);
        }
    }
    totals.print(failed.unwrap_or(0));
    if let Some(file) = record
        && let Err(error) = totals.record(&file, first, &options, failed.unwrap_or(0))
    {
        eprintln!("simulate: {}: {error}", file.display());
        return ExitCode::from(2);
    }
    if failed.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Runs the seeds with each bug until one of them shows it. Prints the table of docs/reliability.md.
fn seeded_bugs(seeds: &std::ops::Range<u64>, options: &Options) -> ExitCode {
    println!("| bug | what it does | caught by | seeds until then |");
    println!("|---|---|---|---|");
    let mut missed = 0;
    for (bug, what) in simulation::bugs() {
        let options = Options { bug: Some(bug.to_owned()), ..options.clone() };
        // In the mixture of all faults first, then with those that matter to it.
        let focused = Options { focus: simulation::focus(bug), ..options.clone() };
        let again = seeds.clone().filter(|_| !focused.focus.is_empty()).map(|seed| (seed, &focused));
        let runs = seeds.clone().map(|seed| (seed, &options)).chain(again);
        let caught = (1..).zip(runs).find_map(|(after, (seed, options))| {
            let first = match simulation::run(seed, options) {
                Ok(report) => {
                    // That a cluster does not heal says the least.
                    let told = report.violations.iter().find(|said| !said.starts_with("healing"));
                    told.or(report.violations.first())?.clone()
                }
                Err(error) => format!("end: {error}"),
            };
            let invariant = first.split_once(':').map_or("", |(invariant, _)| invariant).to_owned();
            Some((after, invariant))
        });
        match caught {
            Some((after, invariant)) => println!("| `{bug}` | {what} | {invariant} | {after} |"),
            None => {
                missed += 1;
                println!("| `{bug}` | {what} | **not caught** | – |");
            }
        }
    }
    if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
