//! LISTEN, UNLISTEN and NOTIFY of a session: all three take effect when their transaction commits.
//!
//! Invariant: the same notification (channel and payload) is sent once a transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::BoxFuture;
use parking_lot::Mutex;

use super::Session;
use crate::error::{Error, Result, SqlState};
use crate::txn::notify::{Inbox, Notification};

/// As PostgreSQL: a notification has to fit a page of its queue.
const PAYLOAD_MAX: usize = 7999;
const CHANNEL_MAX: usize = 63;

/// What the running transaction does to the channels that the session listens to.
#[derive(Debug, Clone)]
pub enum ListenAction {
    Listen(Arc<str>),
    Unlisten(Arc<str>),
    UnlistenAll,
}

/// What expressions may see and add to as well.
#[derive(Debug, Default)]
pub struct Notes {
    /// Channel and payload, to be sent by the running transaction.
    pending: Mutex<Vec<(Arc<str>, Arc<str>)>>,
    /// Whether there are any: most transactions look no further.
    any: AtomicBool,
    channels: Mutex<BTreeSet<Arc<str>>>,
}

impl Notes {
    pub fn channels(&self) -> Vec<Arc<str>> {
        self.channels.lock().iter().cloned().collect()
    }

    /// How many there are, for [`Self::truncate`].
    pub fn count(&self) -> usize {
        if self.any.load(Ordering::Relaxed) { self.pending.lock().len() } else { 0 }
    }

    pub fn truncate(&self, length: usize) {
        if self.any.load(Ordering::Relaxed) {
            self.pending.lock().truncate(length);
        }
    }

    fn take(&self) -> Vec<(Arc<str>, Arc<str>)> {
        match self.any.swap(false, Ordering::Relaxed) {
            true => std::mem::take(&mut *self.pending.lock()),
            false => Vec::new(),
        }
    }

    pub fn add(&self, channel: &str, payload: &str) -> Result<()> {
        let invalid = |message: &str| Err(Error::new(SqlState::InvalidParameterValue, message));
        if channel.is_empty() {
            return invalid("channel name cannot be empty");
        }
        if channel.len() > CHANNEL_MAX {
            return invalid("channel name too long");
        }
        if payload.len() > PAYLOAD_MAX {
            return invalid("payload string too long");
        }
        // Many alike mostly come one after the other: a trigger's or a loop's.
        let mut pending = self.pending.lock();
        if !pending.iter().rev().any(|(c, p)| **c == *channel && **p == *payload) {
            pending.push((channel.into(), payload.into()));
            self.any.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Session {
    pub(super) fn notify_channel(&mut self, channel: &str, payload: &str) -> Result<()> {
        self.transaction()?;
        if self.settings.standby {
            return Err(Error::new(SqlState::ReadOnlySqlTransaction, "cannot execute NOTIFY during recovery"));
        }
        self.notes.add(channel, payload)
    }

    pub(super) fn change_listening(&mut self, action: ListenAction) -> Result<()> {
        self.transaction()?;
        self.block.listening.push(action);
        Ok(())
    }

    /// At COMMIT: what the transaction's record is to carry.
    pub(super) fn notifications_to_send(&mut self) -> Vec<Notification> {
        let pending = self.notes.take();
        let (database, process) = (self.shared.database.clone(), self.shared.key.process);
        let make = |(channel, payload)| Notification { database: database.clone(), process, channel, payload };
        pending.into_iter().map(make).collect()
    }

    /// Before COMMIT: a transaction that listens hears what it sends itself. Answers what is new.
    pub(super) fn listen_ahead(&mut self, actions: &[ListenAction]) -> Vec<Arc<str>> {
        let mut new = Vec::new();
        for action in actions {
            let ListenAction::Listen(channel) = action else { continue };
            let inbox = self.inbox.get_or_insert_with(|| Inbox::new(self.shared.clone()));
            if self.notes.channels.lock().insert(channel.clone()) {
                self.engine.transactions().notifier.listen(&self.shared.database, channel, inbox);
                new.push(channel.clone());
            }
        }
        new
    }

    /// The COMMIT failed.
    pub(super) fn listen_no_more(&mut self, channels: Vec<Arc<str>>) {
        let Some(inbox) = &self.inbox else { return };
        for channel in channels {
            self.notes.channels.lock().remove(&channel);
            self.engine.transactions().notifier.unlisten(&self.shared.database, &channel, inbox);
            inbox.forget(&channel);
        }
    }

    /// After COMMIT.
    pub(super) fn apply_listening(&mut self, actions: Vec<ListenAction>) {
        let notifier = &self.engine.transactions().notifier;
        let database = &self.shared.database;
        for action in actions {
            let mut channels = self.notes.channels.lock();
            match action {
                ListenAction::Listen(channel) => {
                    let inbox = self.inbox.get_or_insert_with(|| Inbox::new(self.shared.clone()));
                    if channels.insert(channel.clone()) {
                        notifier.listen(database, &channel, inbox);
                    }
                }
                ListenAction::Unlisten(channel) => {
                    if let Some(inbox) = self.inbox.as_ref().filter(|_| channels.remove(&channel)) {
                        notifier.unlisten(database, &channel, inbox);
                    }
                }
                ListenAction::UnlistenAll => {
                    let all = std::mem::take(&mut *channels);
                    if let Some(inbox) = &self.inbox {
                        all.iter().for_each(|channel| notifier.unlisten(database, channel, inbox));
                    }
                }
            }
        }
    }

    /// Notifications for the client, if it may be told of them: it is between two transactions.
    pub fn take_notifications(&mut self) -> Vec<Notification> {
        match &self.inbox {
            Some(inbox) if self.block.transaction.is_none() && !self.block.explicit => inbox.take(),
            _ => Vec::new(),
        }
    }

    /// Resolves when the session has notifications; `None`: it never listened.
    pub fn notified(&self) -> Option<BoxFuture<'static, ()>> {
        let inbox = self.inbox.clone()?;
        Some(Box::pin(async move { inbox.wait().await }))
    }
}
