//! Bugs on purpose, for the fault checker to catch: compiled only with the feature `seeded-bugs`, chosen by
//! `LOCKSTEP_SEEDED_BUG`. Without the feature every question here is answered `false` at compile time.

#[cfg(feature = "seeded-bugs")]
fn chosen(bug: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("LOCKSTEP_SEEDED_BUG").unwrap_or_default()) == bug
}

#[cfg(not(feature = "seeded-bugs"))]
const fn chosen(_bug: &str) -> bool {
    false
}

/// A commit is acknowledged when it is proposed.
pub fn ack_before_quorum() -> bool {
    chosen("ack-before-quorum")
}

/// The log keeps its batches in memory and says that they are on disk.
pub fn skip_fsync() -> bool {
    chosen("skip-fsync")
}

/// A read on a node that believes itself primary does not ask the others.
pub fn old_primary_answers() -> bool {
    chosen("old-primary-answers")
}
