//! The datapath's threads: they join TUN queues and outer sockets with `tunnel`. Each owns its queues and its sockets and
//! waits for all of them in one epoll; what is not a packet goes up through one bounded queue a worker.
//!
//! Whoever starts them publishes the tables they work by, opens the devices and hears what comes up; a worker decides
//! nothing and asks nobody.
//!
//! | file | subject |
//! | --- | --- |
//! | this one | starting, stopping, the handle others hold |
//! | `sockets` | what they send and receive through |
//! | `thread` | the loop of one worker |
//! | `urgent` | control packets before few steps of others |
//! | `queue` | a tunnel's queues, and who reads them |
//! | `balance` | when a worker's queue is read by another |
//! | `outward` | TUN to sockets |
//! | `inward` | sockets to TUN |
//! | `joined` | super-packets that the kernel refuses |
//! | `port` | a worker's sockets, and its way upward |
//! | `uplink` | the queues upward, at their other end |
//! | `counters` | what was dropped, and why |
//! | `capture` | copies of inner packets for whoever asked |

mod balance;
mod capture;
mod counters;
mod inward;
mod joined;
mod outward;
mod port;
mod queue;
mod sockets;
mod thread;
mod uplink;
mod urgent;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use kernel::epoll::Bell;
use kernel::tun::{Offloads, TunQueue};
use tunnel::publish::Reader;
use tunnel::{Report, TunnelId};

use balance::Load;
use counters::Counters;
pub use joined::Joins;
use joined::Refusals;
use queue::{Queue, Shared, home};
pub use sockets::{Bypass, PORT, SocketError, WorkerSockets, one_a_core, open};
use thread::{Command, Crew, Worker};
pub use uplink::Uplink;

/// Commands that may wait for one worker.
const COMMANDS: usize = 256;
/// Reports that may wait for the control thread, a worker.
const REPORTS: usize = 512;

/// What a worker tells the control thread.
#[derive(Debug)]
pub enum Upward {
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
pub struct Workers {
    devices: Devices,
    threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
}

/// The handle by which others change what the workers serve; cheap to clone.
#[derive(Clone)]
pub struct Devices {
    /// The way to each worker.
    commands: Arc<[SyncSender<Command>]>,
    crew: Arc<Crew>,
    /// Every tunnel that has a device.
    attached: Arc<Mutex<BTreeMap<TunnelId, Arc<Shared>>>>,
}

impl Workers {
    /// Starts one thread for each share of the sockets. `reader` sees the published tables; `origin` is the
    /// point in time that ticks count from, the gateway's too.
    ///
    /// Must be called in the network namespace of the sockets: the threads ask its kernel about paths.
    ///
    /// # Errors
    /// No descriptor or no thread is to be had.
    pub fn start(
        sockets: Vec<WorkerSockets>,
        reader: &Reader,
        origin: Instant,
    ) -> io::Result<(Self, Uplink)> {
        let crew = Arc::new(Crew {
            bells: sockets.iter().map(|_| Bell::new()).collect::<io::Result<_>>()?,
            loads: sockets.iter().map(|_| Load::default()).collect(),
            refused: Arc::default(),
        });
        let (mut links, mut threads, mut counters) = (Vec::new(), Vec::new(), Vec::new());
        let mut receivers = Vec::new();
        for (number, sockets) in sockets.into_iter().enumerate() {
            let (commands, inbox) = mpsc::sync_channel(COMMANDS);
            let (up, receiver) = tokio::sync::mpsc::channel(REPORTS);
            let counted = Arc::new(Counters::default());
            let (crew, reader, counts) = (Arc::clone(&crew), reader.clone(), Arc::clone(&counted));
            let worker = Worker::new(number, crew, sockets, reader, origin, inbox, up, counts)?;
            threads.push(worker.spawn()?);
            links.push(commands);
            counters.push(counted);
            receivers.push(receiver);
        }
        let devices = Devices { commands: links.into(), crew, attached: Arc::default() };
        Ok((Self { devices, threads, counters }, Uplink::new(receivers)))
    }

    /// The handle to change what they serve.
    #[must_use]
    pub fn devices(&self) -> Devices {
        self.devices.clone()
    }

    /// Packets and reports lost so far, by reason, over all workers; reasons that never happened are left out.
    #[must_use]
    pub fn drops(&self) -> Vec<(&'static str, u64)> {
        Counters::sum(&self.counters)
    }

    /// Ends the threads and waits for them. The devices stay.
    pub fn stop(self) {
        self.devices.tell_all(|| Command::Stop);
        for thread in self.threads {
            // A panic was already told upward.
            let _ = thread.join();
        }
    }
}

impl Devices {
    /// Gives a tunnel's queues to the workers: each is read by one and written to by any; `control`, that of control
    /// packets, is read before the first and by the same, and not written to. Queues the tunnel had are let go.
    pub fn attach(
        &self,
        tunnel: TunnelId,
        queues: Vec<TunQueue>,
        control: Option<TunQueue>,
        offloads: Offloads,
    ) {
        self.detach(tunnel);
        let workers = self.commands.len();
        let queue = |index, tun, control| Arc::new(Queue::new(tun, control, home(tunnel, index, workers)));
        let control = control.map(|tun| queue(0, tun, true));
        let queues = (0..).zip(queues).map(|(index, tun)| queue(index, tun, false)).chain(control);
        let refusals = Refusals::new(Arc::clone(&self.crew.refused));
        let shared = Arc::new(Shared { queues: queues.collect(), offloads, refusals });
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).insert(tunnel, Arc::clone(&shared));
        self.tell_all(|| Command::Attach { tunnel, shared: Arc::clone(&shared) });
    }

    /// Lets a tunnel's queues go; the device stays.
    pub fn detach(&self, tunnel: TunnelId) {
        if self.attached.lock().unwrap_or_else(PoisonError::into_inner).remove(&tunnel).is_some() {
            self.tell_all(|| Command::Detach { tunnel });
        }
    }

    /// Whether TCP and whether UDP is written to a tunnel's device joined, now; `None` without a device.
    #[must_use]
    pub fn joins(&self, tunnel: TunnelId) -> Option<[Joins; 2]> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).get(&tunnel).map(|shared| shared.joins())
    }

    /// Copies a tunnel's inner packets into `sink` until it is closed: nanoseconds since 1970 in eight octets, one for the
    /// direction (0 from the peer, 1 to it), the IP packet. What finds no room is lost and counted.
    pub fn capture(&self, tunnel: TunnelId, sink: &tokio::sync::mpsc::Sender<Vec<u8>>) {
        self.tell_all(|| Command::Capture { tunnel, sink: sink.clone() });
    }

    /// Lets idle workers take up the newest table, so that a retired one, and the keys in it, can go. To be
    /// called after publishing.
    pub fn nudge(&self) {
        for bell in &self.crew.bells {
            bell.ring();
        }
    }

    /// Makes the first worker die, for tests.
    #[cfg(any(test, feature = "killable"))]
    pub fn kill_one(&self) {
        self.tell(0, Command::Panic);
    }

    /// Makes a tunnel's device refuse super-packets, as a kernel that does not take them would, for tests.
    #[cfg(any(test, feature = "killable"))]
    pub fn refuse_joined(&self, tunnel: TunnelId) {
        let attached = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        attached
            .get(&tunnel)
            .into_iter()
            .flat_map(|shared| &shared.queues)
            .for_each(|queue| queue.refuse_joined());
    }

    /// Makes the reader of a tunnel's first queue, if it is `from`, give it to another.
    #[cfg(test)]
    pub(crate) fn give(&self, tunnel: TunnelId, from: usize, to: usize) {
        self.tell(from, Command::Give { tunnel, to });
    }

    /// Octets read from each queue of a tunnel.
    #[cfg(test)]
    pub(crate) fn octets(&self, tunnel: TunnelId) -> Vec<u64> {
        let attached = self.attached.lock().unwrap();
        attached
            .get(&tunnel)
            .map_or_else(Vec::new, |shared| shared.queues.iter().map(|queue| queue.octets()).collect())
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        (0..self.commands.len()).for_each(|worker| self.tell(worker, command()));
    }

    /// Waits for room where the worker is behind; one that is dead has told so itself.
    fn tell(&self, worker: usize, command: Command) {
        let (Some(commands), Some(bell)) = (self.commands.get(worker), self.crew.bells.get(worker)) else {
            return;
        };
        // Rung before as well: a full queue empties only when the worker hears of it.
        bell.ring();
        if commands.send(command).is_ok() {
            bell.ring();
        }
    }
}

/// What a panic said, in a line.
#[must_use]
pub fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without words"))
}
