//! What was acknowledged is in the log, once. What was refused is not.

use std::collections::BTreeMap;

use crate::simulation::history::{History, Kind, Outcome};

pub fn check(history: &mut History) {
    let mut times: BTreeMap<usize, u64> = BTreeMap::new();
    for (_, operation) in history.log.values() {
        *times.entry(operation.unwrap_or(usize::MAX)).or_default() += u64::from(operation.is_some());
    }
    let mut wrong = Vec::new();
    for (number, operation) in history.operations.iter().enumerate() {
        let times = times.get(&number).copied().unwrap_or(0);
        let writes = !matches!(operation.kind, Kind::Read | Kind::LocalRead) && !operation.writes.is_empty();
        let problem = match operation.outcome {
            _ if times > 1 => "is in the log more than once",
            Outcome::Committed if writes && times == 0 => "was acknowledged and is lost",
            Outcome::Refused(_) if times > 0 => "was refused and is in the log",
            _ => continue,
        };
        wrong.push(format!("acknowledged: operation {number} {problem}"));
    }
    wrong.into_iter().for_each(|wrong| history.violate(wrong));
}
