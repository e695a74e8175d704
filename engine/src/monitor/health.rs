//! Every state in which the cluster is less safe than it is configured to be: from what is known now to a list.
//!
//! Invariants:
//! 1. The list depends on the facts alone; what it was before is the watch's to remember.
//! 2. A problem has the same key as long as it is the same problem, whatever its figures do.

use std::time::Duration;

use crate::commit_log::{ClusterStatus, LogFigures, NodeStatus, SLOW_SYNC, Trouble};

/// A standby that is further behind is a problem.
const LAG_MAX: Duration = Duration::from_secs(10);
/// As above, in bytes of the log.
const LAG_BYTES_MAX: u64 = 256 << 20;
/// How long a slow sync is told of.
const SLOW_SYNC_TOLD: Duration = Duration::from_secs(60);
/// Share of the memory limit from which writes will soon be refused, in percent.
const MEMORY_PERCENT_MAX: usize = 95;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Writes are refused, or the next failure loses them their quorum.
    Critical,
    Warning,
}

impl Severity {
    pub fn text(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        }
    }
}

/// One row of `lockstep_health`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    pub kind: String,
    /// Name of the node; empty for the cluster.
    pub node: String,
    pub detail: String,
}

impl Problem {
    pub fn key(&self) -> (String, String) {
        (self.kind.clone(), self.node.clone())
    }
}

/// The memory that rows, indexes and queries take on this node, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct NodeMemory {
    pub used: usize,
    pub limit: usize,
}

/// What is known.
#[derive(Debug)]
pub struct Facts<'a> {
    pub status: &'a ClusterStatus,
    /// This node's.
    pub figures: &'a LogFigures,
    pub memory: NodeMemory,
}

/// What is wrong, the worst first.
pub fn problems(facts: &Facts<'_>) -> Vec<Problem> {
    let status = facts.status;
    let mut found = of_cluster(status);
    for node in &status.nodes {
        found.extend(of_node(node, status.primary));
        // What a node says of itself comes with its status, this node's from its own mouth.
        if node.id != status.this_node {
            found.extend(node.troubles.iter().map(|trouble| of_trouble(&node.name, trouble)));
        }
    }
    let own = status.nodes.iter().find(|node| node.id == status.this_node).map_or("", |node| node.name.as_str());
    found.extend(troubles(facts.figures).iter().map(|trouble| of_trouble(own, trouble)));
    found.extend(of_memory(own, facts.memory));
    found.sort_by(|a, b| (a.severity, &a.kind, &a.node).cmp(&(b.severity, &b.kind, &b.node)));
    found
}

fn problem(severity: Severity, kind: &str, node: &str, detail: String) -> Problem {
    Problem { severity, kind: kind.to_owned(), node: node.to_owned(), detail }
}

fn is_down(node: &NodeStatus) -> bool {
    matches!(node.state.as_str(), "unreachable" | "down")
}

fn of_cluster(status: &ClusterStatus) -> Vec<Problem> {
    let mut found = Vec::new();
    let voters: Vec<&NodeStatus> = status.nodes.iter().filter(|node| node.membership == "voter").collect();
    let up = voters.iter().filter(|node| !is_down(node)).count();
    let (count, quorum) = (voters.len(), voters.len() / 2 + 1);
    let cut_off = status.nodes.iter().any(|node| node.state == "no quorum");
    if count > 0 && (up < quorum || cut_off) {
        let detail = match up < quorum {
            true => format!("{up} of {count} voters answer and {quorum} are needed: writes are refused"),
            false => {
                format!("the leader does not hear the {quorum} of {count} voters that it needs: writes are refused")
            }
        };
        found.push(problem(Severity::Critical, "no_quorum", "", detail));
    } else if status.primary.is_none() {
        found.push(problem(Severity::Critical, "no_primary", "", "no primary is known: writes are refused".to_owned()));
    } else if count > 1 && up == quorum {
        let detail = format!("{up} of {count} voters answer: the loss of one more stops writes");
        // Two voters stand there even when both are up; that is told below.
        if up < count {
            found.push(problem(Severity::Critical, "no_spare_voter", "", detail));
        }
    }
    if count > 0 && count.is_multiple_of(2) {
        let (tolerated, fewer) = (count - quorum, count - 1);
        let detail = format!(
            "{count} voters survive the loss of {tolerated}, no more than {fewer} would: add a voter or a witness, or remove one"
        );
        found.push(problem(Severity::Warning, "even_voters", "", detail));
    }
    found
}

fn of_node(node: &NodeStatus, primary: Option<u64>) -> Vec<Problem> {
    let voter = node.membership == "voter";
    let name = &node.name;
    if is_down(node) {
        let (severity, kind) = match voter {
            true => (Severity::Critical, "voter_down"),
            false => (Severity::Warning, "standby_down"),
        };
        return vec![problem(severity, kind, name, format!("node \"{name}\" does not answer"))];
    }
    if Some(node.id) == primary {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let "snapshot" | "catchup" = node.state.as_str() {
        let detail = format!("node \"{name}\" is catching up, {} bytes of the log behind", node.lag_bytes);
        found.push(problem(Severity::Warning, "catching_up", name, detail));
    }
    let late = node.lag.is_some_and(|lag| lag > LAG_MAX);
    if late || node.lag_bytes > LAG_BYTES_MAX {
        let seconds = node.lag.map_or(0.0, |lag| lag.as_secs_f64());
        let detail = format!("node \"{name}\" is {seconds:.1} s and {} bytes of the log behind", node.lag_bytes);
        found.push(problem(Severity::Warning, "lagging", name, detail));
    }
    found
}

fn of_trouble(node: &str, trouble: &Trouble) -> Problem {
    let severity = match trouble.kind.as_str() {
        "disk_full" | "checkpoint_damaged" | "diverged" | "split_membership" | "archive_gap" => Severity::Critical,
        _ => Severity::Warning,
    };
    problem(severity, &trouble.kind, node, trouble.detail.clone())
}

fn of_memory(node: &str, memory: NodeMemory) -> Option<Problem> {
    let full = memory.used / 100 >= memory.limit / 100 * MEMORY_PERCENT_MAX / 100 && memory.limit > 0;
    let detail =
        || format!("{} of {} bytes of memory are used: writes are refused at the limit", memory.used, memory.limit);
    full.then(|| problem(Severity::Warning, "memory_nearly_full", node, detail()))
}

/// What a node's own log and checkpoints suffer from.
pub fn troubles(figures: &LogFigures) -> Vec<Trouble> {
    let trouble = |kind: &str, detail: String| Trouble { kind: kind.to_owned(), detail };
    let mut found = Vec::new();
    if figures.full {
        found.push(trouble("disk_full", "there is no space for the log: the node takes in nothing".to_owned()));
    }
    if let Some(why) = &figures.diverged {
        found.push(trouble("diverged", format!("the node is out of service until it is rebuilt: {why}")));
    }
    if let Some(why) = &figures.split {
        found.push(trouble("split_membership", why.clone()));
    }
    let stuck = figures.syncing_for.filter(|lasting| *lasting > SLOW_SYNC);
    let recent = figures.slow_sync.filter(|(_, ago)| *ago <= SLOW_SYNC_TOLD);
    match (stuck, recent) {
        (Some(lasting), _) => {
            found.push(trouble(
                "slow_fsync",
                format!("a sync of the log lasts for {:.1} s by now", lasting.as_secs_f64()),
            ));
        }
        (None, Some((took, ago))) => {
            let (took, ago) = (took.as_secs_f64() * 1e3, ago.as_secs());
            found.push(trouble("slow_fsync", format!("a sync of the log took {took:.0} ms, {ago} s ago")));
        }
        (None, None) => {}
    }
    if let Some(error) = &figures.checkpoint.last_error {
        let detail = format!("the last checkpoint failed, the log goes on growing: {error}");
        found.push(trouble("checkpoint_failing", detail));
    }
    if let Some(error) = &figures.archive_failing {
        let (kind, detail) = match figures.archive_given_up {
            false => ("archive_failing", "the log is not archived, and kept until it is"),
            true => ("archive_gap", "the log is not archived and kept no longer: a new backup will be needed"),
        };
        found.push(trouble(kind, format!("{detail}: {error}")));
    }
    if figures.checkpoint.damaged {
        let detail = "the newest checkpoint is damaged and has to be written anew".to_owned();
        found.push(trouble("checkpoint_damaged", detail));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_log::{CheckpointFigures, LogPosition};

    fn node(id: u64, membership: &str, state: &str) -> NodeStatus {
        NodeStatus {
            id,
            name: format!("n{id}"),
            peer_address: String::new(),
            client_address: String::new(),
            membership: membership.into(),
            role: if id == 1 { "primary" } else { "standby" }.into(),
            state: state.into(),
            appended: LogPosition(0),
            durable: LogPosition(0),
            applied: LogPosition(0),
            lag_bytes: 0,
            lag: Some(Duration::ZERO),
            last_contact: None,
            arrived: None,
            troubles: Vec::new(),
        }
    }

    fn kinds(nodes: Vec<NodeStatus>, figures: &LogFigures) -> Vec<(String, String)> {
        let status = ClusterStatus { this_node: 1, primary: Some(1), nodes, ..ClusterStatus::default() };
        let memory = NodeMemory { used: 10 << 20, limit: 1 << 30 };
        problems(&Facts { status: &status, figures, memory }).iter().map(Problem::key).collect()
    }

    fn found(states: &[&str]) -> Vec<(String, String)> {
        let nodes = states.iter().zip(1..).map(|(state, id)| node(id, "voter", state)).collect();
        kinds(nodes, &LogFigures::default())
    }

    fn key(kind: &str, node: &str) -> (String, String) {
        (kind.into(), node.into())
    }

    #[test]
    fn voters_that_answer_and_those_that_do_not() {
        let (up, down) = ("streaming", "unreachable");
        assert_eq!(found(&[up]), []);
        assert_eq!(found(&[up, up, up]), []);
        assert_eq!(found(&[up, up]), [key("even_voters", "")]);
        assert_eq!(found(&[up, up, down]), [key("no_spare_voter", ""), key("voter_down", "n3")]);
        assert_eq!(found(&[up, down, down]), [key("no_quorum", ""), key("voter_down", "n2"), key("voter_down", "n3")]);
        assert_eq!(found(&[up, up, up, up, down]), [key("voter_down", "n5")]);
        assert_eq!(found(&["no quorum", up, up]), [key("no_quorum", "")]);
    }

    #[test]
    fn standbys_that_are_behind_and_learners_that_are_gone() {
        let mut late = node(2, "voter", "streaming");
        late.lag = Some(LAG_MAX + Duration::from_millis(1));
        let mut far = node(3, "voter", "catchup");
        far.lag_bytes = LAG_BYTES_MAX + 1;
        let nodes = vec![node(1, "voter", "streaming"), late, far, node(4, "learner", "unreachable")];
        let wanted = [key("catching_up", "n3"), key("lagging", "n2"), key("lagging", "n3"), key("standby_down", "n4")];
        assert_eq!(kinds(nodes, &LogFigures::default()), wanted);
    }

    #[test]
    fn what_a_log_suffers_from_is_told_of_this_node_and_of_others() {
        let mut other = node(2, "voter", "streaming");
        other.troubles = vec![Trouble { kind: "disk_full".into(), detail: "no space".into() }];
        let figures = LogFigures {
            slow_sync: Some((SLOW_SYNC * 2, Duration::from_secs(3))),
            checkpoint: CheckpointFigures { last_error: Some("EIO".into()), ..CheckpointFigures::default() },
            ..LogFigures::default()
        };
        let nodes = vec![node(1, "voter", "streaming"), other, node(3, "voter", "streaming")];
        let wanted = [key("disk_full", "n2"), key("checkpoint_failing", "n1"), key("slow_fsync", "n1")];
        assert_eq!(kinds(nodes, &figures), wanted);
        let old = LogFigures { slow_sync: Some((SLOW_SYNC * 2, SLOW_SYNC_TOLD * 2)), ..LogFigures::default() };
        assert_eq!(troubles(&old), []);
        let stuck = LogFigures { syncing_for: Some(SLOW_SYNC * 3), full: true, ..LogFigures::default() };
        let of_stuck: Vec<String> = troubles(&stuck).into_iter().map(|trouble| trouble.kind).collect();
        assert_eq!(of_stuck, ["disk_full", "slow_fsync"]);
        for (archive_given_up, kind) in [(false, "archive_failing"), (true, "archive_gap")] {
            let archive_failing = Some("no space".to_owned());
            let figures = LogFigures { archive_failing, archive_given_up, ..LogFigures::default() };
            assert_eq!(kinds(vec![node(1, "voter", "streaming")], &figures), [key(kind, "n1")]);
        }
    }

    #[test]
    fn memory_that_is_nearly_used_up() {
        let memory = |used| of_memory("n1", NodeMemory { used, limit: 1000 << 20 }).is_some();
        assert!(!memory(900 << 20));
        assert!(memory(960 << 20));
    }
}
