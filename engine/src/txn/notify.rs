//! NOTIFY and LISTEN: notifications travel in the record of their commit and are handed out by the applier, so every node
//! of the cluster delivers them to its listeners, in the order of the log, after the commit can be seen.
//!
//! Invariants:
//! 1. A notification is delivered once to each inbox that listened when its record was applied, and never by replay
//!    at start, when nobody listens.
//! 2. An inbox is bounded: one that its session does not empty ends the session, because a gap would be silent.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::session::registry::SessionShared;

/// What an inbox may hold, in bytes of channels and payloads.
const INBOX_BYTES_MAX: usize = 64 << 20;
/// What a notification takes besides its texts.
const OVERHEAD: usize = 64;

/// A NOTIFY, as a record carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub database: Arc<str>,
    /// Process number of the session that sent it, on its node.
    pub process: i32,
    pub channel: Arc<str>,
    pub payload: Arc<str>,
}

/// Notifications for a session, until it may hand them to its client.
pub struct Inbox {
    session: Arc<SessionShared>,
    queue: Mutex<(VecDeque<Notification>, usize)>,
    arrived: Notify,
}

impl Inbox {
    pub fn new(session: Arc<SessionShared>) -> Arc<Inbox> {
        Arc::new(Inbox { session, queue: Mutex::default(), arrived: Notify::new() })
    }

    fn put(&self, notification: &Notification) {
        let bytes = bytes(notification);
        let full = {
            let mut queue = self.queue.lock();
            let full = queue.1 + bytes > INBOX_BYTES_MAX;
            if !full {
                queue.0.push_back(notification.clone());
                queue.1 += bytes;
            }
            full
        };
        if full {
            tracing::warn!(
                process = self.session.key.process,
                "a session that does not take its notifications is ended"
            );
            self.session.terminate();
        }
        self.arrived.notify_one();
    }

    /// Drops what came on a channel.
    pub fn forget(&self, channel: &str) {
        let mut queue = self.queue.lock();
        queue.0.retain(|notification| *notification.channel != *channel);
        queue.1 = queue.0.iter().map(bytes).sum();
    }

    pub fn take(&self) -> Vec<Notification> {
        let mut queue = self.queue.lock();
        queue.1 = 0;
        queue.0.drain(..).collect()
    }

    /// Resolves when something is there.
    pub async fn wait(&self) {
        while self.queue.lock().0.is_empty() {
            self.arrived.notified().await;
        }
    }
}

fn bytes(notification: &Notification) -> usize {
    notification.channel.len() + notification.payload.len() + OVERHEAD
}

/// A database and a name in it.
type Channel = (Arc<str>, Arc<str>);

/// Who listens to what on this node.
#[derive(Default)]
pub struct Notifier {
    by_channel: DashMap<Channel, Vec<Arc<Inbox>>>,
    listeners: AtomicUsize,
}

impl Notifier {
    pub fn listen(&self, database: &Arc<str>, channel: &Arc<str>, inbox: &Arc<Inbox>) {
        self.by_channel.entry((database.clone(), channel.clone())).or_default().push(inbox.clone());
        self.listeners.fetch_add(1, Ordering::AcqRel);
    }

    pub fn unlisten(&self, database: &Arc<str>, channel: &Arc<str>, inbox: &Arc<Inbox>) {
        let key = (database.clone(), channel.clone());
        if let Some(mut inboxes) = self.by_channel.get_mut(&key) {
            let before = inboxes.len();
            inboxes.retain(|one| !Arc::ptr_eq(one, inbox));
            self.listeners.fetch_sub(before - inboxes.len(), Ordering::AcqRel);
        }
        self.by_channel.remove_if(&key, |_, inboxes| inboxes.is_empty());
    }

    pub fn deliver(&self, notifications: &[Notification]) {
        if self.listeners.load(Ordering::Acquire) == 0 {
            return;
        }
        for notification in notifications {
            let key = (notification.database.clone(), notification.channel.clone());
            if let Some(inboxes) = self.by_channel.get(&key) {
                inboxes.iter().for_each(|inbox| inbox.put(notification));
            }
        }
    }
}
