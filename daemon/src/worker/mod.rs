//! The datapath threads. Each owns its TUN queues and its outer sockets and waits for all of them in one
//! epoll; what is not a packet goes up through one bounded queue a worker.
//!
//! | file | subject |
//! | --- | --- |
//! | [`mod@self`] | starting, stopping, the handle others hold |
//! | `thread` | the loop of one worker |
//! | `outward` | TUN to sockets |
//! | `inward` | sockets to TUN |
//! | `port` | a worker's sockets, and its way upward |
//! | `uplink` | the queues upward, at their other end |
//! | `counters` | what was dropped, and why |
//! | `capture` | copies of inner packets for whoever asked |

mod capture;
mod counters;
mod inward;
mod outward;
mod port;
mod thread;
mod uplink;

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use control::view::NamedCount;
use kernel::epoll::Bell;
use kernel::tun::{Offloads, TunQueue};
use tunnel::publish::Reader;
use tunnel::{Report, TunnelId};

use crate::sockets::WorkerSockets;
use counters::Counters;
use thread::{Command, Worker};
pub(crate) use uplink::Uplink;

/// Commands that may wait for one worker.
const COMMANDS: usize = 256;
/// Reports that may wait for the control thread, a worker.
const REPORTS: usize = 512;

/// What a worker tells the control thread.
#[derive(Debug)]
pub(crate) enum Upward {
    /// Something the datapath saw.
    Report(Report),
    /// A packet was too big for the path: what the kernel or a router says it carries.
    PathMtu {
        /// The peer's outer address.
        remote: IpAddr,
        /// Octets, IP header included.
        mtu: u32,
    },
    /// A worker is dead; the daemon must not go on without it.
    Died {
        /// Which.
        worker: usize,
        /// Its last words.
        why: String,
    },
}

/// All workers.
pub(crate) struct Workers {
    devices: Devices,
    threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
}

/// The handle by which others change what the workers serve; cheap to clone.
#[derive(Clone)]
pub(crate) struct Devices {
    links: Arc<[Link]>,
    /// Which worker reads a tunnel's queue.
    owners: Arc<Mutex<Vec<(TunnelId, usize)>>>,
}

/// The way to one worker.
struct Link {
    commands: SyncSender<Command>,
    bell: Arc<Bell>,
}

impl Workers {
    /// Starts one thread for each share of the sockets. `reader` sees the published tables; `origin` is the
    /// point in time that ticks count from, the gateway's too.
    ///
    /// The threads live in the network namespace of the sockets, wherever they run.
    pub(crate) fn start(
        sockets: Vec<WorkerSockets>,
        reader: &Reader,
        origin: Instant,
    ) -> io::Result<(Self, Uplink)> {
        let (mut links, mut threads, mut counters) = (Vec::new(), Vec::new(), Vec::new());
        let mut receivers = Vec::new();
        for (number, sockets) in sockets.into_iter().enumerate() {
            let (commands, inbox) = mpsc::sync_channel(COMMANDS);
            let (up, receiver) = tokio::sync::mpsc::channel(REPORTS);
            let bell = Arc::new(Bell::new()?);
            let counted = Arc::new(Counters::default());
            let worker = Worker::new(
                sockets,
                reader.clone(),
                origin,
                inbox,
                Arc::clone(&bell),
                up,
                Arc::clone(&counted),
            )?;
            threads.push(worker.spawn(number)?);
            links.push(Link { commands, bell });
            counters.push(counted);
            receivers.push(receiver);
        }
        let devices = Devices { links: links.into(), owners: Arc::default() };
        Ok((Self { devices, threads, counters }, Uplink::new(receivers)))
    }

    /// The handle to change what they serve.
    pub(crate) fn devices(&self) -> Devices {
        self.devices.clone()
    }

    /// Packets and reports lost so far, by reason, over all workers; reasons that never happened are left out.
    pub(crate) fn drops(&self) -> Vec<NamedCount> {
        Counters::sum(&self.counters)
    }

    /// Ends the threads and waits for them. The devices stay.
    pub(crate) fn stop(self) {
        self.devices.tell_all(|| Command::Stop);
        for thread in self.threads {
            // A panic was already told upward.
            let _ = thread.join();
        }
    }
}

impl Devices {
    /// Gives a tunnel's queue to the worker with the fewest; all others may write to it. A queue the tunnel
    /// had is let go.
    pub(crate) fn attach(&self, tunnel: TunnelId, queue: TunQueue, offloads: Offloads) {
        self.detach(tunnel);
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let load = |worker: usize| owners.iter().filter(|(_, owner)| *owner == worker).count();
        let owner = (0..self.links.len()).min_by_key(|worker| load(*worker)).unwrap_or(0);
        owners.push((tunnel, owner));
        drop(owners);
        let queue = Arc::new(queue);
        for (number, link) in self.links.iter().enumerate() {
            let queue = Arc::clone(&queue);
            link.tell(Command::Attach { tunnel, queue, offloads, read: number == owner });
        }
    }

    /// Lets a tunnel's queue go; the device stays.
    pub(crate) fn detach(&self, tunnel: TunnelId) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let before = owners.len();
        owners.retain(|(id, _)| *id != tunnel);
        let known = owners.len() < before;
        drop(owners);
        if known {
            self.tell_all(|| Command::Detach { tunnel });
        }
    }

    /// Copies a tunnel's inner packets into `sink`, as bodies of `control::frame::Kind::Packet`, until it is
    /// closed. What finds no room is lost and counted.
    pub(crate) fn capture(&self, tunnel: TunnelId, sink: &tokio::sync::mpsc::Sender<Vec<u8>>) {
        self.tell_all(|| Command::Capture { tunnel, sink: sink.clone() });
    }

    /// Lets idle workers take up the newest table, so that a retired one, and the keys in it, can go. To be
    /// called after publishing.
    pub(crate) fn nudge(&self) {
        for link in self.links.iter() {
            link.bell.ring();
        }
    }

    /// Makes the first worker die.
    #[cfg(test)]
    pub(crate) fn kill_one(&self) {
        if let Some(link) = self.links.first() {
            link.tell(Command::Panic);
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for link in self.links.iter() {
            link.tell(command());
        }
    }
}

impl Link {
    /// Waits for room where the worker is behind; one that is dead has told so itself.
    fn tell(&self, command: Command) {
        // Rung before as well: a full queue empties only when the worker hears of it.
        self.bell.ring();
        if self.commands.send(command).is_ok() {
            self.bell.ring();
        }
    }
}

/// What a panic said.
pub(crate) fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without words"))
}
