//! Bugs on purpose, for the fault checker and the simulation to catch: compiled for unit tests and with the feature
//! `seeded-bugs`, chosen by `LOCKSTEP_SEEDED_BUG`. Otherwise every question here is answered `false` at compile time.

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
#[cfg(any(test, feature = "simulation"))]
pub fn choose(bug: Option<&str>) {
    #[cfg(any(test, feature = "seeded-bugs"))]
    let _ = CHOSEN.set(bug.unwrap_or_default().to_owned());
    #[cfg(feature = "seeded-bugs")]
    engine::seeded::choose(bug.unwrap_or_default());
    #[cfg(not(any(test, feature = "seeded-bugs")))]
    let _ = bug;
}

/// What each bug does.
#[cfg(any(test, feature = "simulation"))]
pub const BUGS: [(&str, &str); 27] = [
    ("ack-before-quorum", "a commit is acknowledged when it is proposed"),
    ("skip-fsync", "the log keeps its batches in memory and says that they are on disk"),
    ("old-primary-answers", "a read on a node that believes itself primary does not ask the others"),
    ("unsynced-batch", "batches are written and not synced"),
    ("entries-before-disk", "entries count as stored before they are written"),
    ("vote-before-log", "a vote is answered before it is on disk"),
    ("vote-forgotten", "a restarted node does not know whom it voted for"),
    ("truncation-in-memory", "replaced entries are cut in memory, not in the log"),
    ("torn-tail-accepted", "records are read back without a look at their checksums"),
    ("tail-cut-short", "the last batch is taken for a torn write at every start"),
    ("segments-deleted-early", "a segment goes while entries in it are needed"),
    ("damage-ignored", "a damaged log is begun anew under the same identity"),
    ("purge-beyond-checkpoint", "a checkpoint says that it holds entries that came after it"),
    ("checkpoint-too-old", "a checkpoint says that it lacks entries that it holds"),
    ("install-without-restore", "a received checkpoint is stored and not taken in"),
    ("no-fencing", "records of an earlier reign are proposed in the present one"),
    ("no-demotion", "a primary that lost its leadership or hears no quorum goes on"),
    ("promoted-too-early", "a new primary does not wait until it has applied what came before"),
    ("unknown-called-refused", "a commit whose outcome is unknown is called refused"),
    ("refused-called-done", "a commit that was refused is acknowledged"),
    ("proposed-twice", "a batch of records is proposed a second time"),
    ("records-reversed", "records that share an entry are written in reverse"),
    ("record-left-out", "the last record of an entry of several is not applied"),
    ("barrier-without-wait", "a read behind a barrier does not wait for what it has to see"),
    ("stale-read-index", "a primary answers standbys with what it has applied, a while ago"),
    ("id-reuse", "a node whose disk is lost comes back under its old id"),
    ("applied-announced-early", "entries count as applied before they are"),
];

pub fn ack_before_quorum() -> bool {
    chosen("ack-before-quorum")
}

pub fn skip_fsync() -> bool {
    chosen("skip-fsync")
}

pub fn old_primary_answers() -> bool {
    chosen("old-primary-answers")
}

pub fn unsynced_batch() -> bool {
    chosen("unsynced-batch")
}

pub fn entries_before_disk() -> bool {
    chosen("entries-before-disk")
}

pub fn vote_before_log() -> bool {
    chosen("vote-before-log")
}

pub fn vote_forgotten() -> bool {
    chosen("vote-forgotten")
}

pub fn truncation_in_memory() -> bool {
    chosen("truncation-in-memory")
}

pub fn torn_tail_accepted() -> bool {
    chosen("torn-tail-accepted")
}

pub fn tail_cut_short() -> bool {
    chosen("tail-cut-short")
}

pub fn segments_deleted_early() -> bool {
    chosen("segments-deleted-early")
}

pub fn damage_ignored() -> bool {
    chosen("damage-ignored")
}

pub fn purge_beyond_checkpoint() -> bool {
    chosen("purge-beyond-checkpoint")
}

pub fn checkpoint_too_old() -> bool {
    chosen("checkpoint-too-old")
}

pub fn install_without_restore() -> bool {
    chosen("install-without-restore")
}

pub fn no_fencing() -> bool {
    chosen("no-fencing")
}

pub fn no_demotion() -> bool {
    chosen("no-demotion")
}

pub fn promoted_too_early() -> bool {
    chosen("promoted-too-early")
}

pub fn unknown_called_refused() -> bool {
    chosen("unknown-called-refused")
}

pub fn refused_called_done() -> bool {
    chosen("refused-called-done")
}

pub fn proposed_twice() -> bool {
    chosen("proposed-twice")
}

pub fn records_reversed() -> bool {
    chosen("records-reversed")
}

pub fn record_left_out() -> bool {
    chosen("record-left-out")
}

pub fn barrier_without_wait() -> bool {
    chosen("barrier-without-wait")
}

pub fn stale_read_index() -> bool {
    chosen("stale-read-index")
}

pub fn id_reuse() -> bool {
    chosen("id-reuse")
}

pub fn applied_announced_early() -> bool {
    chosen("applied-announced-early")
}
