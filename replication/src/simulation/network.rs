//! The simulated network: connections that are pairs of byte streams, as TCP's are, over links that are slow, lose
//! packets (which TCP turns into waiting), stop in one direction or in both, and forget connections.
//!
//! Bytes of one connection arrive in order or not at all; between connections anything may overtake anything. What an
//! earlier connection carried may arrive again: a ghost of it is connected and says the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use rand::Rng;
use tokio::io::ReadBuf;
use tokio::sync::{mpsc, oneshot};

use super::world::{Event, MICROSECOND, MILLISECOND, World, with};

const PORT: u16 = 7000;
/// Bytes of the beginning of a connection that a ghost can say again.
const REMEMBERED: usize = 16 << 10;
const GHOSTS_MAX: usize = 64;

/// The address of the node in a place of the cluster.
pub fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, place as u8 + 1], PORT))
}

fn place_of(address: &str) -> Option<usize> {
    let octets = match address.parse().ok()? {
        SocketAddr::V4(address) => address.ip().octets(),
        SocketAddr::V6(_) => return None,
    };
    usize::from(octets[3]).checked_sub(1)
}

/// One direction of a connection.
pub struct Pipe {
    from: usize,
    to: usize,
    /// What is on its way, and when it arrives.
    coming: VecDeque<(u64, Bytes)>,
    arrived: BytesMut,
    last_at: u64,
    /// The writer is done: the end arrives behind what is on its way.
    ending: bool,
    ended: bool,
    reset: bool,
    /// One of its ends lost its power: nothing more is heard of it.
    mute: bool,
    reader: Option<Waker>,
    said: Option<BytesMut>,
}

type SharedPipe = Arc<Mutex<Pipe>>;

impl Pipe {
    fn new(from: usize, to: usize, remembered: bool) -> SharedPipe {
        Arc::new(Mutex::new(Self {
            from,
            to,
            coming: VecDeque::new(),
            arrived: BytesMut::new(),
            last_at: 0,
            ending: false,
            ended: false,
            reset: false,
            mute: false,
            reader: None,
            said: remembered.then(BytesMut::new),
        }))
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn reset(&mut self) {
        self.reset = true;
        self.coming.clear();
        self.wake();
    }
}

/// Both directions of a connection, at one end of it.
pub struct Link {
    pub read: ReadHalf,
    pub write: WriteHalf,
}

pub struct ReadHalf(SharedPipe);

pub struct WriteHalf(SharedPipe);

impl ReadHalf {
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let pipe = &mut *self.0.lock();
        if pipe.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !pipe.arrived.is_empty() {
            let length = pipe.arrived.len().min(into.remaining());
            into.put_slice(&pipe.arrived[..length]);
            pipe.arrived.advance(length);
            return Poll::Ready(Ok(()));
        }
        if pipe.ended {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl WriteHalf {
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with(|world| world.send(&self.0, Some(bytes)))?;
        Ok(bytes.len())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        // A machine that lost its power says no goodbye; and a world may be gone already.
        super::world::try_with(|world| world.send(&self.0, None));
    }
}

impl Drop for ReadHalf {
    fn drop(&mut self) {
        // Whoever writes on learns that nobody reads, unless there is nobody to tell it.
        let mut pipe = self.0.lock();
        pipe.reset |= !pipe.mute;
    }
}

pub struct Listener {
    pub address: SocketAddr,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<(usize, Link)>>,
}

impl Listener {
    pub async fn accept(&self) -> io::Result<(Link, SocketAddr)> {
        let next = self.accepted.lock().await.recv().await;
        next.map(|(from, link)| (link, address(from))).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

pub fn listen(address: SocketAddr) -> Listener {
    let (sender, receiver) = mpsc::unbounded_channel();
    with(|world| world.network.listeners.insert(world.current, sender));
    Listener { address, accepted: tokio::sync::Mutex::new(receiver) }
}

pub async fn connect(address: &str) -> io::Result<Link> {
    let to = place_of(address).ok_or(io::ErrorKind::InvalidInput)?;
    let (reply, connected) = oneshot::channel();
    with(|world| {
        let from = world.current;
        let at = world.now + world.latency(from, to) + world.latency(to, from);
        world.schedule(at, Event::Connect { from, to, reply });
    });
    connected.await.unwrap_or_else(|_| Err(io::ErrorKind::ConnectionReset.into()))
}

/// How the links are now.
#[derive(Default)]
pub struct Network {
    listeners: BTreeMap<usize, mpsc::UnboundedSender<(usize, Link)>>,
    /// Directions in which nothing gets through.
    pub cut: BTreeSet<(usize, usize)>,
    /// Directions that are slow, and how slow: nanoseconds at most.
    pub slow: BTreeMap<(usize, usize), u64>,
    /// One in so many messages is lost and sent again, after a time-out of TCP's.
    pub loss: Option<u32>,
    pipes: Vec<SharedPipe>,
    /// Calls that hang because the other side does not hear them.
    hanging: Vec<oneshot::Sender<io::Result<Link>>>,
    ghosts: VecDeque<(usize, usize, Bytes)>,
    pub messages: u64,
}

impl World {
    fn latency(&mut self, from: usize, to: usize) -> u64 {
        if from == to {
            return MICROSECOND;
        }
        let mut latency = self.random.random_range(30 * MICROSECOND..2 * MILLISECOND);
        if let Some(most) = self.network.slow.get(&(from, to)) {
            latency += self.random.random_range(0..*most);
        }
        if let Some(loss) = self.network.loss
            && self.random.random_range(0..loss) == 0
        {
            latency += self.random.random_range(200 * MILLISECOND..900 * MILLISECOND);
        }
        latency
    }

    /// Sends bytes, or the end of them.
    fn send(&mut self, shared: &SharedPipe, bytes: Option<&[u8]>) -> io::Result<()> {
        let (from, to) = {
            let pipe = shared.lock();
            if pipe.mute {
                return Ok(());
            }
            if pipe.reset || pipe.ending {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            (pipe.from, pipe.to)
        };
        let latency = self.latency(from, to);
        let pipe = &mut *shared.lock();
        let at = (self.now + latency).max(pipe.last_at + 1);
        pipe.last_at = at;
        match bytes {
            Some(bytes) => {
                if let Some(said) = pipe.said.as_mut().filter(|said| said.len() < REMEMBERED) {
                    said.extend_from_slice(bytes);
                }
                pipe.coming.push_back((at, Bytes::copy_from_slice(bytes)));
            }
            None => pipe.ending = true,
        }
        self.network.messages += 1;
        self.schedule(at, Event::Arrive(shared.clone()));
        Ok(())
    }

    pub(super) fn arrive(&mut self, shared: &SharedPipe) {
        let pipe = &mut *shared.lock();
        let (from, to) = (pipe.from, pipe.to);
        if self.network.cut.contains(&(from, to)) {
            // Waits for the link, or for the other side to forget about it.
            return;
        }
        while pipe.coming.front().is_some_and(|(at, _)| *at <= self.now) {
            if let Some((_, bytes)) = pipe.coming.pop_front() {
                pipe.arrived.extend_from_slice(&bytes);
            }
        }
        pipe.ended |= pipe.ending && !pipe.mute && pipe.coming.is_empty();
        pipe.wake();
        let length = pipe.arrived.len();
        self.touch(to);
        self.trace(format_args!("arrive {from}>{to} {length}"));
    }

    pub(super) fn connected(&mut self, from: usize, to: usize, reply: oneshot::Sender<io::Result<Link>>) {
        self.touch(from);
        let open = |cut: &BTreeSet<(usize, usize)>| !cut.contains(&(from, to)) && !cut.contains(&(to, from));
        if !open(&self.network.cut) || self.dark.contains(&to) {
            self.network.hanging.push(reply);
            return;
        }
        let Some(listener) = self.network.listeners.get(&to) else {
            drop(reply.send(Err(io::ErrorKind::ConnectionRefused.into())));
            return;
        };
        let (there, back) = (Pipe::new(from, to, true), Pipe::new(to, from, false));
        let far = Link { read: ReadHalf(there.clone()), write: WriteHalf(back.clone()) };
        if let Err(refused) = listener.send((from, far)) {
            // Its halves may not be dropped while the world is in use.
            self.rubbish.push(refused.0.1);
            drop(reply.send(Err(io::ErrorKind::ConnectionRefused.into())));
            return;
        }
        let near = Link { read: ReadHalf(back.clone()), write: WriteHalf(there.clone()) };
        self.network.pipes.extend([there, back]);
        if let Err(Ok(gone)) = reply.send(Ok(near)) {
            self.rubbish.push(gone);
        }
        self.touch(to);
        self.trace(format_args!("connect {from}>{to}"));
    }

    /// Forgets the connections of a place. With `goodbye` the other sides are told, otherwise they wait.
    pub(super) fn disconnect(&mut self, place: usize, goodbye: bool) {
        self.network.listeners.remove(&place);
        let pipes = std::mem::take(&mut self.network.pipes);
        for shared in pipes {
            let mut pipe = shared.lock();
            let (from, to) = (pipe.from, pipe.to);
            if let Some(said) = pipe.said.take_if(|_| from == place || to == place) {
                self.network.ghosts.push_back((from, to, said.freeze()));
            }
            if pipe.to != place && pipe.from != place {
                drop(pipe);
                self.network.pipes.push(shared);
                continue;
            }
            if !goodbye {
                pipe.mute = true;
                if pipe.to == place {
                    pipe.coming.clear();
                }
                drop(pipe);
                self.silent.push((place, shared));
            } else if pipe.to == place {
                pipe.reset();
            } else {
                // What was handed to the network still arrives.
                pipe.ending = true;
                pipe.last_at = pipe.last_at.max(self.now) + MILLISECOND;
                let at = pipe.last_at;
                drop(pipe);
                self.schedule(at, Event::Arrive(shared.clone()));
                self.network.pipes.push(shared);
            }
        }
        while self.network.ghosts.len() > GHOSTS_MAX {
            self.network.ghosts.pop_front();
        }
    }

    /// The machine in a place has power again: whoever still waits for the old one is told.
    pub(super) fn answer_for_the_dead(&mut self, place: usize) {
        for (_, shared) in self.silent.extract_if(.., |(of, _)| *of == place).collect::<Vec<_>>() {
            let mut pipe = shared.lock();
            pipe.reset();
            self.touch(pipe.to);
        }
    }

    /// The links work again; of what waited for them some is forgotten.
    pub(super) fn reconnect(&mut self) {
        let hanging = std::mem::take(&mut self.network.hanging);
        self.rubbish_calls.extend(hanging);
        let mut kept = Vec::new();
        for shared in std::mem::take(&mut self.network.pipes) {
            let at = {
                let mut pipe = shared.lock();
                if pipe.ended || pipe.reset {
                    continue;
                }
                if pipe.coming.is_empty() && !pipe.ending {
                    drop(pipe);
                    kept.push(shared);
                    continue;
                }
                if self.random.random_range(0..3) == 0 {
                    pipe.reset();
                    self.touch(pipe.to);
                    continue;
                }
                let at = self.now.max(pipe.last_at) + self.random.random_range(0..400 * MILLISECOND);
                pipe.last_at = at;
                at
            };
            self.schedule(at, Event::Arrive(shared.clone()));
            kept.push(shared);
        }
        self.network.pipes = kept;
    }

    /// Something that was said before is said again, to whoever is there now.
    pub(super) fn haunt(&mut self) -> bool {
        let live = self.network.pipes.iter().filter_map(|shared| {
            let pipe = shared.lock();
            let said = pipe.said.as_ref().filter(|said| is_repeatable(said))?;
            Some((pipe.from, pipe.to, Bytes::copy_from_slice(said)))
        });
        let gone = self.network.ghosts.iter().filter(|(.., said)| is_repeatable(said)).cloned();
        let mut all: Vec<_> = live.chain(gone).collect();
        if all.is_empty() {
            return false;
        }
        let (from, to, said) = all.swap_remove(self.random.random_range(0..all.len()));
        let Some(listener) = self.network.listeners.get(&to) else { return false };
        let (there, back) = (Pipe::new(from, to, false), Pipe::new(to, from, false));
        {
            let mut pipe = there.lock();
            pipe.arrived.extend_from_slice(&said);
            pipe.ended = true;
        }
        let link = Link { read: ReadHalf(there), write: WriteHalf(back) };
        if let Err(refused) = listener.send((from, link)) {
            self.rubbish.push(refused.0.1);
        }
        self.touch(to);
        self.trace(format_args!("ghost {from}>{to} {}", said.len()));
        true
    }
}

/// Entries, heartbeats and votes may arrive twice; what a member is asked to do once may not.
fn is_repeatable(said: &[u8]) -> bool {
    let frame = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize);
    let second = || {
        let skip = frame(said)? + 4;
        // Behind the two lengths stands the number of the request's kind: Append, Vote or PreVote.
        said.get(skip + 8).copied()
    };
    second().is_some_and(|kind| kind <= 2)
}
