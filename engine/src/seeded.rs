//! Bugs on purpose in the order of commits, for the simulation to catch: compiled for unit tests and with the feature
//! `seeded-bugs`, one chosen by `LOCKSTEP_SEEDED_BUG`. Otherwise every question here is answered `false` at compile time.

#[cfg(any(test, feature = "seeded-bugs"))]
static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();

#[cfg(any(test, feature = "seeded-bugs"))]
fn chosen(bug: &str) -> bool {
    CHOSEN.get_or_init(|| std::env::var("LOCKSTEP_SEEDED_BUG").unwrap_or_default()) == bug
}

#[cfg(not(any(test, feature = "seeded-bugs")))]
const fn chosen(_bug: &str) -> bool {
    false
}

/// Chooses the bug of this process; the first choice holds.
#[cfg(any(test, feature = "seeded-bugs"))]
pub fn choose(bug: &str) {
    let _ = CHOSEN.set(bug.to_owned());
}

/// What each bug does.
pub const BUGS: [(&str, &str); 9] = [
    ("no-validation", "a SERIALIZABLE transaction commits without a look at what it read"),
    ("clock-goes-back", "commit timestamps follow the wall clock, wherever it goes"),
    ("locks-freed-early", "rows are not published as changed when their locks are freed"),
    ("locks-forget-commits", "who takes a lock next does not see what was committed under it"),
    ("floor-forgotten", "a new reign takes snapshots from before it for current"),
    ("lock-of-an-older-reign", "a transaction that locked in one reign commits in the next"),
    ("watermark-first", "a commit is visible before its rows are installed, one record late"),
    ("snapshot-behind-standbys", "a snapshot behind a lock lacks what a standby has shown already"),
    ("stale-restore", "the position of a restored checkpoint counts, its rows do not"),
];

pub(crate) fn no_validation() -> bool {
    chosen("no-validation")
}

pub(crate) fn clock_goes_back() -> bool {
    chosen("clock-goes-back")
}

pub(crate) fn locks_freed_early() -> bool {
    chosen("locks-freed-early")
}

pub(crate) fn locks_forget_commits() -> bool {
    chosen("locks-forget-commits")
}

pub(crate) fn floor_forgotten() -> bool {
    chosen("floor-forgotten")
}

pub(crate) fn lock_of_an_older_reign() -> bool {
    chosen("lock-of-an-older-reign")
}

pub(crate) fn watermark_first() -> bool {
    chosen("watermark-first")
}

pub(crate) fn snapshot_behind_standbys() -> bool {
    chosen("snapshot-behind-standbys")
}

pub(crate) fn stale_restore() -> bool {
    chosen("stale-restore")
}
