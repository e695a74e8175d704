//! Reads that must not be stale: a call joins the next round, and a round asks once for all that joined.
//!
//! Invariants:
//! 1. A round's question is sent after every call that it answers has begun.
//! 2. What [`Proven`] says of the age of the state is true whoever can be reached: it counts from before a question whose
//!    answer was reached here, by this node's monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::commit_log::ReadError;
use openraft::LinearizerOption;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::machine::Machine;
use super::{Raft, leads};
use crate::seeded;

/// Who waits for a round.
pub enum Reader {
    /// A read on this node: the state must have caught up.
    Here(oneshot::Sender<Result<(), ReadError>>),
    /// A standby: it wants to know the index that it has to reach.
    Standby(oneshot::Sender<Result<u64, ReadError>>),
}

/// Asks the primary, from a standby.
#[async_trait]
pub trait AskPrimary: Send + Sync + 'static {
    async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError>;
}

/// How long somebody's interest in the age of the state lasts, and how old it may grow meanwhile.
const INTEREST: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_millis(100);

/// Since when the state here is known to hold everything that was acknowledged by then.
#[derive(Default)]
pub struct Proven {
    at: Mutex<Option<Instant>>,
    /// When somebody last wanted to know.
    asked: Mutex<Option<Instant>>,
    interest: Notify,
}

impl Proven {
    /// A question was sent at `asked`, and what it answered is applied.
    fn note(&self, asked: Instant) {
        let mut at = self.at.lock();
        *at = (*at).max(Some(asked));
    }

    /// Age of the newest such moment. From here on it is kept young for a while.
    pub fn age(&self) -> Option<Duration> {
        let before = self.asked.lock().replace(Instant::now());
        if before.is_none_or(|at| at.elapsed() > INTEREST / 2) {
            self.interest.notify_one();
        }
        self.at.lock().map(|at| at.elapsed())
    }

    /// Asks now and then, while anybody wants to know.
    pub async fn refresh(self: Arc<Self>, readers: mpsc::UnboundedSender<Reader>) {
        loop {
            let wanted = self.asked.lock().is_some_and(|at| at.elapsed() < INTEREST);
            if !wanted {
                self.interest.notified().await;
                continue;
            }
            let young = self.at.lock().is_some_and(|at| at.elapsed() < REFRESH);
            if !young {
                let (waiter, answered) = oneshot::channel();
                if readers.send(Reader::Here(waiter)).is_err() {
                    return;
                }
                let _ = answered.await;
            }
            tokio::time::sleep(REFRESH).await;
        }
    }
}

pub struct Barrier {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub primary: Arc<dyn AskPrimary>,
    pub proven: Arc<Proven>,
    /// A reader who waited this long is sent away.
    pub patience: Duration,
    /// A round with the voters is repeated after this long.
    pub round: Duration,
}

impl Barrier {
    pub async fn run(self, mut calls: mpsc::UnboundedReceiver<Reader>) {
        let mut readers = Vec::new();
        // Nobody answered a whole patience long: whoever comes after that is told soon.
        let mut silent = false;
        while calls.recv_many(&mut readers, 4096).await > 0 {
            let deadline = Instant::now() + self.patience;
            let answered_by = if silent { Instant::now() + self.round.min(self.patience) } else { deadline };
            let (here, standbys): (Vec<_>, Vec<_>) =
                readers.drain(..).partition(|reader| matches!(reader, Reader::Here(_)));
            let led = leads(&self.raft);
            if led && seeded::stale_read_index() {
                let index = Ok(self.machine.applied().index.unwrap_or(0).saturating_sub(1));
                standbys.into_iter().for_each(|reader| reader.answer(&index));
                if !here.is_empty() {
                    let index = self.ask(answered_by).await;
                    silent = index.is_err();
                    self.answer_when_applied(index, here, deadline);
                }
                continue;
            }
            if !standbys.is_empty() && !led {
                standbys.into_iter().for_each(|reader| reader.answer(&Err(ReadError::NoPrimary)));
                if here.is_empty() {
                    continue;
                }
                let index = self.ask(answered_by).await;
                silent = index.is_err();
                self.answer_when_applied(index, here, deadline);
                continue;
            }
            let index = self.ask(answered_by).await;
            silent = index.is_err();
            let known = index.as_ref().map(|(index, _)| *index).map_err(Clone::clone);
            standbys.into_iter().for_each(|reader| reader.answer(&known));
            if !here.is_empty() {
                self.answer_when_applied(index, here, deadline);
            }
        }
    }

    /// The index that a read begun by now has to see, and when the question was sent that says so.
    async fn ask(&self, deadline: Instant) -> Result<(u64, Instant), ReadError> {
        loop {
            let asked = Instant::now();
            let answer = if leads(&self.raft) {
                if seeded::old_primary_answers() {
                    return Ok((self.machine.applied().index.unwrap_or(0), asked));
                }
                let fresh = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(self.round);
                match self.raft.get_read_linearizer(fresh).await {
                    Ok(linearizer) => return Ok((linearizer.read_log_id().index(), asked)),
                    Err(_) => Err(ReadError::NoPrimary),
                }
            } else {
                self.primary.read_index(deadline).await
            };
            match answer {
                Ok(index) => return Ok((index, asked)),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn answer_when_applied(&self, known: Result<(u64, Instant), ReadError>, readers: Vec<Reader>, deadline: Instant) {
        let reached =
            |index: u64, machine: &Machine| machine.applied().index >= Some(index) || seeded::barrier_without_wait();
        match known {
            Ok((index, asked)) if !reached(index, &self.machine) => {
                let mut applied = self.machine.watch_applied();
                let proven = self.proven.clone();
                tokio::spawn(async move {
                    let caught_up = applied.wait_for(|applied| applied.index >= Some(index));
                    let answer = match tokio::time::timeout_at(deadline, caught_up).await {
                        Ok(Ok(_)) => {
                            proven.note(asked);
                            Ok(index)
                        }
                        Ok(Err(_)) => Err(ReadError::Stopping),
                        Err(_) => Err(ReadError::Timeout),
                    };
                    readers.into_iter().for_each(|reader| reader.answer(&answer));
                });
            }
            Ok((index, asked)) => {
                self.proven.note(asked);
                readers.into_iter().for_each(|reader| reader.answer(&Ok(index)));
            }
            Err(error) => readers.into_iter().for_each(|reader| reader.answer(&Err(error.clone()))),
        }
    }
}

impl Reader {
    fn answer(self, answer: &Result<u64, ReadError>) {
        // Whoever went away does not wait any more.
        match self {
            Reader::Here(reader) => drop(reader.send(answer.clone().map(drop))),
            Reader::Standby(reader) => drop(reader.send(answer.clone())),
        }
    }
}
