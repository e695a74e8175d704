//! Which entries the standbys have applied, asked only while somebody wants to know: `synchronous_commit = remote_apply`.
//!
//! A standby is up while the primary has heard of it lately and it keeps pace. One that is silent, or that was waited for
//! in vain, holds nobody up until it has applied what it was asked for.
//!
//! Invariants:
//! 1. One question to a standby is on its way at a time, for the newest entry that anybody waits for.
//! 2. No wait is longer than [`WAIT_MAX`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::warn;

use super::Members;
use crate::net::client::{Connection, NetError};
use crate::net::message::{Request, Response};

/// Longest wait for a standby that answers and does not get there.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A standby answers after this long where it is, should it not have got there.
const ASK: Duration = Duration::from_secs(1);
/// Between a failed question and the next one.
const PAUSE: Duration = Duration::from_millis(100);
/// How often those who wait look whether a standby is still up.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, Default)]
struct Standby {
    applied: u64,
    /// Waited for in vain: it has to apply this entry to count again.
    given_up: Option<u64>,
}

pub struct RemoteApply {
    members: Arc<Members>,
    /// The newest entry that is waited for.
    wanted: watch::Sender<u64>,
    standbys: Mutex<BTreeMap<u64, Standby>>,
    changed: Notify,
    /// A standby that was not heard for so long is not up.
    silence_max: Duration,
}

impl RemoteApply {
    pub fn new(members: Arc<Members>, silence_max: Duration) -> Self {
        let (standbys, changed) = (Mutex::default(), Notify::new());
        Self { members, wanted: watch::Sender::new(0), standbys, changed, silence_max }
    }

    /// Returns when every standby that is up has applied the entry; false if this node is no longer the primary.
    pub async fn applied(&self, index: u64) -> bool {
        let deadline = Instant::now() + WAIT_MAX;
        self.wanted.send_if_modified(|wanted| {
            let newer = index > *wanted;
            *wanted = index.max(*wanted);
            newer
        });
        loop {
            let changed = self.changed.notified();
            if self.members.machine.reign().is_none() {
                return false;
            }
            let behind = self.behind(index);
            if behind.is_empty() {
                return true;
            }
            if Instant::now() >= deadline {
                self.give_up(index, &behind);
                return true;
            }
            let _ = tokio::time::timeout(LOOK, changed).await;
        }
    }

    /// Standbys that are up and have not applied the entry, as far as is known.
    fn behind(&self, index: u64) -> Vec<u64> {
        let standbys = self.standbys.lock();
        let is_behind = |id: &u64| {
            let known = standbys.get(id).copied().unwrap_or_default();
            known.applied < index && known.given_up.is_none() && self.is_heard(*id)
        };
        self.others().into_iter().filter(is_behind).collect()
    }

    fn is_heard(&self, id: u64) -> bool {
        self.members.heard_of(id).1.is_some_and(|silence| silence <= self.silence_max)
    }

    fn others(&self) -> Vec<u64> {
        let membership = self.members.membership();
        membership.nodes().map(|(id, _)| *id).filter(|id| *id != self.members.id()).collect()
    }

    fn give_up(&self, index: u64, behind: &[u64]) {
        let mut standbys = self.standbys.lock();
        for id in behind {
            warn!(node = id, "commits with remote_apply no longer wait for a standby that does not keep pace");
            standbys.entry(*id).or_default().given_up = Some(index);
        }
    }

    /// Asks the members, each in a task of its own, while anybody waits.
    pub async fn run(self: Arc<Self>) {
        let mut wanted = self.wanted.subscribe();
        let mut askers: JoinSet<u64> = JoinSet::new();
        let mut asked: Vec<u64> = Vec::new();
        loop {
            let newest = *wanted.borrow_and_update();
            for id in self.others() {
                let applied = self.standbys.lock().get(&id).map_or(0, |known| known.applied);
                if applied < newest && !asked.contains(&id) {
                    asked.push(id);
                    askers.spawn(self.clone().ask(id));
                }
            }
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { return },
                Some(done) = askers.join_next() => match done {
                    Ok(id) => asked.retain(|asked| *asked != id),
                    // An asker that panicked is a bug of ours: all are asked anew.
                    Err(_) => asked.clear(),
                },
            }
        }
    }

    /// Asks one standby until it has applied all that is wanted, or this node has lost its role.
    async fn ask(self: Arc<Self>, id: u64) -> u64 {
        let mut kept = None;
        loop {
            let wanted = *self.wanted.borrow();
            let applied = self.standbys.lock().get(&id).map_or(0, |known| known.applied);
            let member = self.members.address_of(id);
            let Some(address) = member.filter(|_| applied < wanted && self.members.machine.reign().is_some()) else {
                break;
            };
            match self.ask_once(id, &address, kept.take(), wanted).await {
                Ok((applied, connection)) => {
                    kept = Some(connection);
                    self.note(id, applied);
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        id
    }

    async fn ask_once(
        &self,
        id: u64,
        address: &str,
        kept: Option<Connection>,
        index: u64,
    ) -> Result<(u64, Connection), NetError> {
        let caller = &self.members.caller;
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(address, &caller.hello(id), caller.patience.connect).await?,
        };
        let request = Request::AwaitApplied { index, wait_ms: ASK.as_millis() as u64 };
        match tokio::time::timeout(ASK * 2, connection.call(&request)).await?? {
            Response::Applied(applied) => Ok((applied, connection)),
            _ => Err(NetError::Protocol),
        }
    }

    fn note(&self, id: u64, applied: u64) {
        let mut standbys = self.standbys.lock();
        let known = standbys.entry(id).or_default();
        known.applied = known.applied.max(applied);
        if known.given_up.is_some_and(|index| known.applied >= index) {
            known.given_up = None;
        }
        drop(standbys);
        self.changed.notify_waiters();
    }
}
