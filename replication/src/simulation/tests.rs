#![allow(clippy::unwrap_used)]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use super::*;

/// Seeds are run by a process that does nothing else, because it forks, and that has the same addresses each time, which maps of
/// some crates hash with.
#[allow(unsafe_code)]
fn in_process(test: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let fix_addresses = || {
        // SAFETY: it sets a number of the process that begins.
        unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call.
    unsafe { command.pre_exec(fix_addresses) };
    command.args(["--exact", &format!("simulation::tests::{test}"), "--ignored", "--nocapture", "--test-threads=1"]);
    // Threads of the test harness would change where memory of the one that runs the seed is.
    command.env("MALLOC_ARENA_MAX", "1").envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn the_same_seed_is_the_same_run() {
    let trace = || {
        let text = in_process("one_seed", &[("LOCKSTEP_SEED", "7")]);
        let line = text.lines().find(|line| line.starts_with("trace ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no trace in {text}"))
    };
    let first = trace();
    assert_eq!(first, trace());
    let other = in_process("one_seed", &[("LOCKSTEP_SEED", "8")]);
    assert!(!other.contains(&first), "another seed is another run");
}

/// As many as there is time for: an unoptimised build takes a few seconds for each, examples/simulate.rs runs hours.
#[test]
fn no_seed_breaks_a_promise() {
    print!("{}", in_process("seeds", &[("LOCKSTEP_SECONDS", "40")]));
}

/// A run ends at the first seed that notices; how many are tried follows from how rarely one does (the last: 2 of 16).
#[test]
fn bugs_on_purpose_are_noticed() {
    let bugs = [
        ("skip-fsync", "0..6"),
        ("record-left-out", "0..3"),
        ("id-reuse", "0..12"),
        ("damage-ignored", "0..24"),
        ("unknown-called-refused", "0..60"),
    ];
    for (bug, seeds) in bugs {
        in_process("one_bug", &[("LOCKSTEP_BUG", bug), ("LOCKSTEP_SEEDS", seeds)]);
    }
}

#[test]
#[ignore = "run by other tests, or by hand with LOCKSTEP_SEED"]
fn one_seed() {
    let seed = variable("LOCKSTEP_SEED").unwrap().parse().unwrap();
    let verbose = variable("LOCKSTEP_VERBOSE").is_some();
    let report = run(seed, &Options { verbose, faulty_nanos: 3_000_000_000, ..Options::default() }).unwrap();
    println!("\ntrace {} lines, hash {:x}", report.lines, report.hash);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

fn range(text: &str) -> std::ops::Range<u64> {
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

#[test]
#[ignore = "run by other tests, or by hand with LOCKSTEP_SEEDS and LOCKSTEP_SECONDS"]
fn seeds() {
    let seconds = variable("LOCKSTEP_SECONDS").map_or(u64::MAX, |seconds| seconds.parse().unwrap());
    let (began, mut count, mut simulated) = (Instant::now(), 0, 0);
    for seed in range(&variable("LOCKSTEP_SEEDS").unwrap_or_else(|| "0..400".to_owned())) {
        if began.elapsed().as_secs() >= seconds {
            break;
        }
        let report = run(seed, &Options { faulty_nanos: 4_000_000_000, ..Options::default() });
        let report = report.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
        count += 1;
        simulated += report.simulated_nanos;
    }
    println!("{count} seeds, {} simulated seconds, no violation", simulated / 1_000_000_000);
    assert!(count > 0);
}

#[test]
#[ignore = "run by another test"]
fn one_bug() {
    let bug = variable("LOCKSTEP_BUG").unwrap();
    let options = Options { focus: focus(&bug), bug: Some(bug.clone()), ..Options::default() };
    let caught = range(&variable("LOCKSTEP_SEEDS").unwrap()).any(|seed| match run(seed, &options) {
        Ok(report) => !report.violations.is_empty(),
        Err(_) => true,
    });
    assert!(caught, "{bug} was not noticed");
}
