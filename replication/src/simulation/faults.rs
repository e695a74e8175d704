//! What goes wrong.

use rand::Rng;
use rand::rngs::StdRng;

use super::cluster::{Cluster, End};
use super::node;
use super::world::{Event, MILLISECOND, SECOND, Undo, with};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    /// One machine loses its power, or all of them at once.
    Power,
    PowerEverywhere,
    Pause,
    /// A node, chosen more often when it is the primary, is cut off from all others.
    Isolate,
    /// One of its directions only.
    OneWay,
    /// One link between two nodes.
    Asymmetric,
    Slow,
    Loss,
    /// Connections that were used before say again what they said.
    Ghosts,
    /// Writing to the log, or syncing it, fails.
    DiskError,
    FullDisk,
    SlowDisk,
    /// A bit of an old part of the log turns while the node is down.
    Rot,
    /// The disk is lost: a new node comes in its place.
    Wipe,
    Clock,
    Switchover,
    Checkpoint,
    Stop,
}

const ALL: [(Fault, u32); 19] = [
    (Fault::Kill, 10),
    (Fault::Power, 8),
    (Fault::PowerEverywhere, 3),
    (Fault::Pause, 8),
    (Fault::Isolate, 10),
    (Fault::OneWay, 6),
    (Fault::Asymmetric, 5),
    (Fault::Slow, 5),
    (Fault::Loss, 4),
    (Fault::Ghosts, 8),
    (Fault::DiskError, 5),
    (Fault::FullDisk, 4),
    (Fault::SlowDisk, 4),
    (Fault::Rot, 3),
    (Fault::Wipe, 3),
    (Fault::Clock, 5),
    (Fault::Switchover, 6),
    (Fault::Checkpoint, 6),
    (Fault::Stop, 4),
];

impl Fault {
    /// One of those in `focus`, or of all if that is empty.
    pub fn choose(random: &mut StdRng, focus: &[String]) -> Self {
        let among = || ALL.into_iter().filter(|(fault, _)| focus.is_empty() || focus.iter().any(|f| f == fault.name()));
        let mut at = random.random_range(0..among().map(|(_, weight)| weight).sum::<u32>().max(1));
        for (fault, weight) in among() {
            if at < weight {
                return fault;
            }
            at -= weight;
        }
        Fault::Kill
    }

    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Power => "power",
            Fault::PowerEverywhere => "power everywhere",
            Fault::Pause => "pause",
            Fault::Isolate => "isolation",
            Fault::OneWay => "one way",
            Fault::Asymmetric => "one link",
            Fault::Slow => "delay",
            Fault::Loss => "loss",
            Fault::Ghosts => "repetition",
            Fault::DiskError => "disk error",
            Fault::FullDisk => "full disk",
            Fault::SlowDisk => "slow disk",
            Fault::Rot => "bit rot",
            Fault::Wipe => "lost disk",
            Fault::Clock => "clock",
            Fault::Switchover => "switchover",
            Fault::Checkpoint => "checkpoint",
            Fault::Stop => "stop",
        }
    }
}

fn within(from: u64, to: u64) -> u64 {
    with(|world| world.random.random_range(from..to))
}

impl Cluster {
    /// A place to strike: the primary's half of the time.
    fn victim(&self) -> usize {
        let primary = self.primary().filter(|_| with(|world| world.one_in(2)));
        primary.unwrap_or_else(|| within(0, self.nodes.len() as u64) as usize)
    }

    fn start_after(&self, place: usize, longest: u64) {
        let wait = within(10 * MILLISECOND, longest);
        with(|world| world.after(wait, Event::Start(place)));
    }

    fn links_after(&self, longest: u64) {
        let wait = within(100 * MILLISECOND, longest);
        with(|world| world.after(wait, Event::Undo(Undo::Links)));
    }

    /// Does it, if it can be done now.
    pub fn strike(&mut self, fault: Fault) -> Option<Fault> {
        let place = self.victim();
        let count = self.nodes.len();
        let other = (place + 1 + within(0, count as u64 - 1) as usize) % count;
        match fault {
            Fault::Kill | Fault::Power => {
                self.nodes[place].life.as_ref()?;
                self.end(place, if fault == Fault::Kill { End::Kill } else { End::Power });
                self.start_after(place, 4 * SECOND);
            }
            Fault::PowerEverywhere => {
                for place in 0..count {
                    if self.nodes[place].life.is_some() {
                        self.end(place, End::Power);
                    }
                    self.start_after(place, SECOND);
                }
            }
            Fault::Pause => {
                self.nodes[place].life.as_ref()?;
                self.pause(place);
                let wait = within(50 * MILLISECOND, 4 * SECOND);
                with(|world| world.after(wait, Event::Undo(Undo::Resume(place))));
            }
            Fault::Isolate | Fault::OneWay => {
                let both = fault == Fault::Isolate;
                let out = with(|world| world.one_in(2));
                with(|world| {
                    for other in (0..count).filter(|other| *other != place) {
                        if both || out {
                            world.network.cut.insert((place, other));
                        }
                        if both || !out {
                            world.network.cut.insert((other, place));
                        }
                    }
                });
                self.links_after(5 * SECOND);
            }
            Fault::Asymmetric => {
                with(|world| {
                    world.network.cut.insert((place, other));
                    if world.one_in(2) {
                        world.network.cut.insert((other, place));
                    }
                });
                self.links_after(5 * SECOND);
            }
            Fault::Slow => {
                with(|world| {
                    for from in 0..count {
                        for to in (0..count).filter(|to| *to != from) {
                            let most = world.random.random_range(MILLISECOND..300 * MILLISECOND);
                            world.network.slow.insert((from, to), most);
                        }
                    }
                });
                self.links_after(4 * SECOND);
            }
            Fault::Loss => {
                with(|world| world.network.loss = Some(world.random.random_range(3..30)));
                self.links_after(4 * SECOND);
            }
            Fault::Ghosts => {
                let times = within(1, 6);
                let mut any = false;
                for _ in 0..times {
                    any |= with(|world| world.haunt());
                }
                any.then_some(())?;
            }
            Fault::DiskError => {
                self.nodes[place].life.as_ref()?;
                let operations = within(0, 30) as u32;
                with(|world| world.disks[place].fail_after(operations));
            }
            Fault::FullDisk => {
                with(|world| world.disks[place].set_full(true));
                let wait = within(200 * MILLISECOND, 6 * SECOND);
                with(|world| world.after(wait, Event::Undo(Undo::Space(place))));
            }
            Fault::SlowDisk => {
                self.slow_disks[place] = true;
                let wait = within(200 * MILLISECOND, 4 * SECOND);
                with(|world| world.after(wait, Event::Undo(Undo::Disk(place))));
            }
            Fault::Rot | Fault::Wipe => {
                // The copies of one disk may be lost, and no others until all is copied again. That some of them are only
                // on one other disk, or on one that cannot be reached, has to do no harm.
                if self.fragile {
                    return None;
                }
                self.fragile = true;
                self.end(place, End::Kill);
                let damaged = match fault {
                    Fault::Rot => with(|world| world.disks[place].rot()),
                    _ => {
                        with(|world| world.disks[place].wipe());
                        std::fs::remove_dir_all(&self.nodes[place].directory).is_ok()
                    }
                };
                self.memories[place].damaged |= damaged;
                with(|world| world.history.counts.rebuilt += u64::from(damaged));
                self.start_after(place, SECOND);
            }
            Fault::Clock => {
                let now = with(|world| world.now);
                let clock = &mut self.nodes[place].clock;
                match within(0, 3) {
                    0 => clock.ahead = within(0, 20 * SECOND) as i64 - 10 * SECOND as i64,
                    1 => clock.ahead = within(0, 7200 * SECOND) as i64 - 3600 * SECOND as i64,
                    _ => clock.set_rate(now, within(950_000, 1_050_000)),
                }
                with(|world| world.touch(place));
            }
            Fault::Switchover => {
                let primary = self.primary()?;
                let node = self.node(primary)?;
                let voters: Vec<u64> = node.members.membership().voter_ids().collect();
                let to = *voters.get(within(0, voters.len().max(1) as u64) as usize)?;
                self.nodes[primary].spawn(async move {
                    let _ = node.members.raft.trigger().transfer_leader(to).await;
                });
            }
            Fault::Checkpoint => {
                let node = self.node(place)?;
                self.nodes[place].spawn(async move {
                    use engine::commit_log::CommitLog;
                    let _ = node.checkpoint().await;
                });
            }
            Fault::Stop => {
                let node = self.node(place)?;
                self.nodes[place].enter();
                node::stop(&node);
                with(|world| world.touch(place));
            }
        }
        Some(fault)
    }
}
