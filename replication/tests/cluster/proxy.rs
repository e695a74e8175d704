//! A network that can be cut: each node is reached through a door that looks at who calls.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Where the caller's id stands in a greeting: frame lengths, protocol, length and text of the cluster's id.
const CALLER: usize = 8 + 1 + 1 + 32;

/// Ids that are cut off from all others.
#[derive(Clone)]
pub struct Net {
    cut: watch::Sender<BTreeSet<u64>>,
}

impl Default for Net {
    fn default() -> Self {
        Self { cut: watch::Sender::new(BTreeSet::new()) }
    }
}

impl Net {
    pub fn cut_off(&self, id: u64) {
        self.cut.send_modify(|cut| {
            cut.insert(id);
        });
    }

    pub fn heal(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }

    /// Opens the door of one node. Its id and address are told once they are known.
    pub async fn door(&self) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door =
            Door { address: listener.local_addr().unwrap().to_string(), behind: Arc::default(), id: Arc::default() };
        let (net, inner) = (self.clone(), door.clone());
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(net.clone().pass(inner.clone(), caller));
            }
        });
        door
    }

    async fn pass(self, door: Door, mut caller: TcpStream) {
        let Ok(length) = caller.read_u32_le().await else { return };
        let mut greeting = length.to_le_bytes().to_vec();
        greeting.resize(4 + length as usize, 0);
        if caller.read_exact(&mut greeting[4..]).await.is_err() {
            return;
        }
        // A node that wants to join has no id yet and names no cluster.
        let from = greeting.get(CALLER).map_or(0, |id| u64::from(*id));
        let behind = *door.behind.lock();
        let (Some(behind), to) = (behind, door.id.load(Ordering::Relaxed)) else { return };
        let mut cut = self.cut.subscribe();
        let severed = |cut: &BTreeSet<u64>| cut.contains(&from) || cut.contains(&to);
        if severed(&cut.borrow()) {
            return;
        }
        let Ok(mut called) = TcpStream::connect(behind).await else { return };
        if called.write_all(&greeting).await.is_err() {
            return;
        }
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut caller, &mut called) => {}
            _ = cut.wait_for(severed) => {}
        }
    }
}

#[derive(Clone)]
pub struct Door {
    pub address: String,
    behind: Arc<Mutex<Option<SocketAddr>>>,
    id: Arc<AtomicU64>,
}

impl Door {
    pub fn leads_to(&self, address: SocketAddr) {
        *self.behind.lock() = Some(address);
    }

    pub fn belongs_to(&self, id: u64) {
        self.id.store(id, Ordering::Relaxed);
    }
}

/// An address that nobody listens on at the moment.
pub async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
