//! `cargo run --release --example faults -- --faults 30`: the long run of the fault checker. Exit code 1 and the
//! history before the violation when a promise is broken.
//!
//! Flags: `--faults N`, `--minutes M` (at most), `--seed S`, `--writers W` (of the bank), `--judged J` (clients on the primary whose
//! transactions are judged by isolation; default: as many as writers), `--kinds kill,stop,cut,alone,killall,damage,eio,slow,full`,
//! `--calm MILLISECONDS` between two faults, `--namespaces yes|no` (default: yes for root with iproute2; without them there is no
//! `cut`), `--binary PATH` (default: `lockstep` beside this program), `--keep` (leave the data directories), `--record FILE`
//! (append a line of what the run came to: docs/record/faults.tsv is such a file).

#[allow(dead_code)] // each program uses a part of it
#[path = "mod.rs"]
mod faults;
#[allow(dead_code)] // as above
#[path = "../server/mod.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use faults::run::{Fault, Options, Report, run};

/// Whether this process may make network namespaces.
fn may_cut() -> bool {
    let probe = format!("lsprobe{}", std::process::id());
    let ip = |arguments: &[&str]| Command::new("ip").args(arguments).output().is_ok_and(|it| it.status.success());
    ip(&["netns", "add", &probe]) && ip(&["netns", "del", &probe])
}

/// What to run, and where a line of what it came to is appended.
fn options(dir: PathBuf) -> Result<(Options, Option<PathBuf>), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut options = Options {
        binary: PathBuf::new(),
        dir,
        environment: Vec::new(),
        namespaces: may_cut(),
        seed: rand::random(),
        faults: 30,
        kinds: vec![
            Fault::Kill,
            Fault::Stop,
            Fault::Cut,
            Fault::Alone,
            Fault::KillAll,
            Fault::Damage,
            Fault::Eio,
            Fault::Slow,
            Fault::Full,
        ],
        minutes_max: 30.0,
        writers: 6,
        judged: None,
        calm: Duration::from_millis(1500),
    };
    let mut record = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        if flag == "--keep" {
            continue;
        }
        let value = arguments.next().ok_or(format!("{flag} wants a value"))?;
        let wrong = || format!("{flag} {value}: not understood");
        match flag.as_str() {
            "--faults" => options.faults = value.parse().map_err(|_| wrong())?,
            "--minutes" => options.minutes_max = value.parse().map_err(|_| wrong())?,
            "--seed" => options.seed = value.parse().map_err(|_| wrong())?,
            "--writers" => options.writers = value.parse().map_err(|_| wrong())?,
            "--judged" => options.judged = Some(value.parse().map_err(|_| wrong())?),
            "--calm" => options.calm = Duration::from_millis(value.parse().map_err(|_| wrong())?),
            "--record" => record = Some(value.into()),
            "--binary" => options.binary = value.into(),
            "--namespaces" => options.namespaces = value == "yes",
            "--kinds" => {
                let kinds: Option<Vec<_>> = value.split(',').map(Fault::parse).collect();
                options.kinds = kinds.ok_or_else(wrong)?;
            }
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    if options.binary.as_os_str().is_empty() {
        options.binary = server::binary_beside(&program);
    }
    Ok((options, record))
}

/// Appends what a run came to: a line of tab-separated values.
fn record(file: &Path, seed: u64, took: Duration, report: &Report) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    if out.metadata()?.len() == 0 {
        writeln!(out, "date\tseed\tseconds\tfaults\tfail-overs\tjudged\tacknowledged\tviolations")?;
    }
    let date = chrono::Utc::now().format("%Y-%m-%dT%H:%MZ");
    let (seconds, faults, failovers) = (took.as_secs(), report.faults.len(), report.failovers());
    let Report { judged, acknowledged, violations, .. } = report;
    writeln!(out, "{date}\t{seed}\t{seconds}\t{faults}\t{failovers}\t{judged}\t{acknowledged}\t{}", violations.len())
}

#[tokio::main]
async fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("directory");
    let (options, record_file) = match options(dir.path().into()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let network = if options.namespaces { "a namespace for each node" } else { "one network, no cuts" };
    println!("seed {}, {} faults, {} writers, {network}", options.seed, options.faults, options.writers);
    let start = Instant::now();
    let report = run(&options).await;
    println!("{} faults in {:.0} s; {}", report.faults.len(), start.elapsed().as_secs_f64(), report.summary);
    println!("{} fail-overs, {} transactions checked for isolation", report.failovers(), report.judged);
    if let (Some(p50), Some(p99)) = (report.failover(0.5), report.failover(0.99)) {
        println!("fail-over: p50 {} ms, p99 {} ms", p50.as_millis(), p99.as_millis());
    }
    if std::env::args().any(|flag| flag == "--keep") {
        println!("data directories: {}", dir.keep().display());
    }
    for violation in &report.violations {
        println!("\nVIOLATION: {violation}");
    }
    println!("{} violations (seed {})", report.violations.len(), options.seed);
    if let Some(file) = &record_file
        && let Err(error) = record(file, options.seed, start.elapsed(), &report)
    {
        eprintln!("{}: {error}", file.display());
        return ExitCode::from(2);
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
