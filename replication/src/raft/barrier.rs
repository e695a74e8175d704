//! Reads that must not be stale: a call joins the next round, and a round asks once for all that joined.
//!
//! Invariant: a round's question is sent after every call that it answers has begun.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use engine::commit_log::ReadError;
use openraft::LinearizerOption;
use tokio::sync::{mpsc, oneshot};
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

pub struct Barrier {
    pub raft: Raft,
    pub machine: Arc<Machine>,
    pub primary: Arc<dyn AskPrimary>,
    /// A reader who waited this long is sent away.
    pub patience: Duration,
    /// A round with the voters is repeated after this long.
    pub round: Duration,
}

impl Barrier {
    pub async fn run(self, mut calls: mpsc::UnboundedReceiver<Reader>) {
        let mut readers = Vec::new();
        while calls.recv_many(&mut readers, 4096).await > 0 {
            let deadline = Instant::now() + self.patience;
            let (here, standbys): (Vec<_>, Vec<_>) =
                readers.drain(..).partition(|reader| matches!(reader, Reader::Here(_)));
            let led = leads(&self.raft);
            if !standbys.is_empty() && !led {
                standbys.into_iter().for_each(|reader| reader.answer(&Err(ReadError::NoPrimary)));
                if here.is_empty() {
                    continue;
                }
                self.answer_when_applied(self.ask(deadline).await, here, deadline);
                continue;
            }
            let index = self.ask(deadline).await;
            standbys.into_iter().for_each(|reader| reader.answer(&index));
            if !here.is_empty() {
                self.answer_when_applied(index, here, deadline);
            }
        }
    }

    /// The index that a read begun by now has to see.
    async fn ask(&self, deadline: Instant) -> Result<u64, ReadError> {
        loop {
            let answer = if leads(&self.raft) {
                if seeded::old_primary_answers() {
                    return Ok(self.machine.applied().index.unwrap_or(0));
                }
                let fresh = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(self.round);
                match self.raft.get_read_linearizer(fresh).await {
                    Ok(linearizer) => return Ok(linearizer.read_log_id().index()),
                    Err(_) => Err(ReadError::NoPrimary),
                }
            } else {
                self.primary.read_index(deadline).await
            };
            match answer {
                Ok(index) => return Ok(index),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn answer_when_applied(&self, index: Result<u64, ReadError>, readers: Vec<Reader>, deadline: Instant) {
        let reached = |index: u64, machine: &Machine| machine.applied().index >= Some(index);
        match index {
            Ok(index) if !reached(index, &self.machine) => {
                let mut applied = self.machine.watch_applied();
                tokio::spawn(async move {
                    let caught_up = applied.wait_for(|applied| applied.index >= Some(index));
                    let answer = match tokio::time::timeout_at(deadline, caught_up).await {
                        Ok(Ok(_)) => Ok(index),
                        Ok(Err(_)) => Err(ReadError::Stopping),
                        Err(_) => Err(ReadError::Timeout),
                    };
                    readers.into_iter().for_each(|reader| reader.answer(&answer));
                });
            }
            answer => readers.into_iter().for_each(|reader| reader.answer(&answer)),
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
