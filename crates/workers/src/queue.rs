//! One queue of a tunnel's device: every worker may write to it, one reads it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kernel::epoll::{Epoll, Interest};
use kernel::tun::{Offloads, TunQueue};
use tunnel::TunnelId;
use tunnel::inner::{TCP, UDP};
use tunnel::offload::coalesce::Joining;
use tunnel::offload::virtio;

use super::joined::{Joins, Refusals};

/// The longest IPv4 header and the ports after it.
const HEADERS: usize = 64;

/// The worker that reads a tunnel's queue unless another helps: the one the kernel gives the tunnel's packets to, by
/// their SPI, so that both directions of a tunnel meet in one thread. Further queues go to the workers after it.
pub(super) fn home(tunnel: TunnelId, queue: usize, workers: usize) -> usize {
    (tunnel.0 as usize).wrapping_add(queue) % workers.max(1)
}

/// A queue and who reads it.
pub(super) struct Queue {
    pub(super) tun: TunQueue,
    /// Is it that of control packets, of which one is read before the others, and to which nobody writes?
    pub(super) control: bool,
    reader: AtomicUsize,
    /// Octets read from it so far.
    octets: AtomicU64,
    /// Super-packets are refused, as by a kernel that does not take them after all.
    #[cfg(any(test, feature = "killable"))]
    refuses: std::sync::atomic::AtomicBool,
}

impl Queue {
    pub(super) fn new(tun: TunQueue, control: bool, reader: usize) -> Self {
        Self {
            tun,
            control,
            reader: AtomicUsize::new(reader),
            octets: AtomicU64::new(0),
            #[cfg(any(test, feature = "killable"))]
            refuses: false.into(),
        }
    }

    /// Writes one frame.
    pub(super) fn write(&self, frame: &[IoSlice<'_>]) -> io::Result<()> {
        #[cfg(any(test, feature = "killable"))]
        if self.refuses.load(Ordering::Relaxed) && tunnel::offload::recut::gso(frame) != virtio::Gso::None {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.tun.writev(frame)
    }

    #[cfg(any(test, feature = "killable"))]
    pub(super) fn refuse_joined(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    pub(super) fn reader(&self) -> usize {
        self.reader.load(Ordering::Acquire)
    }

    /// Counts what was read.
    pub(super) fn count(&self, octets: usize) {
        self.octets.fetch_add(octets as u64, Ordering::Relaxed);
    }

    pub(super) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    /// Hands the reading to another. The reader alone may do so, after its last packet is sent.
    pub(super) fn give_to(&self, worker: usize) {
        self.reader.store(worker, Ordering::Release);
    }
}

/// How a worker hears of what waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It does not: another reads it.
    Not,
    /// By epoll.
    Waited,
    /// Epoll refused it: the worker asks the queue itself.
    Refused,
}

/// A queue as one worker has it.
pub(super) struct Seat {
    pub(super) queue: Arc<Queue>,
    /// Its number among the device's, by which its packets find their SA. That of control packets goes with the first, in
    /// everything: two workers that seal for one SA overtake one another.
    pub(super) index: usize,
    pub(super) heard: Heard,
    /// What it had brought when the balance's window began.
    since: u64,
}

impl Seat {
    /// Is it this worker that reads it?
    pub(super) fn read_here(&self) -> bool {
        self.heard != Heard::Not
    }

    /// It is read here from now on: waited for in `whole`, or that of control packets in `urgent`; where that is refused, unasked.
    pub(super) fn wait_in(&mut self, whole: &Epoll, urgent: &Epoll, token: u64) -> io::Result<()> {
        let set = if self.queue.control { urgent } else { whole };
        let outcome = set.add(&self.queue.tun, token, Interest::READ);
        self.heard = if outcome.is_ok() { Heard::Waited } else { Heard::Refused };
        outcome
    }

    /// It is not read here any more.
    pub(super) fn leave(&mut self, whole: &Epoll, urgent: &Epoll) {
        if std::mem::replace(&mut self.heard, Heard::Not) == Heard::Waited {
            let set = if self.queue.control { urgent } else { whole };
            // A device that is gone may have left the set by itself.
            let _ = set.remove(&self.queue.tun);
        }
    }

    /// Octets read since this was asked last, or since the reading began here.
    pub(super) fn brought(&mut self) -> u64 {
        let now = self.queue.octets();
        now.saturating_sub(std::mem::replace(&mut self.since, now))
    }
}

/// The device of one tunnel, as all workers share it.
pub(super) struct Shared {
    /// That of control packets, if there is one, is the last.
    pub(super) queues: Vec<Arc<Queue>>,
    /// What it takes as its kernel said when it was attached.
    pub(super) offloads: Offloads,
    pub(super) refusals: Refusals,
}

impl Shared {
    /// Whether TCP and whether UDP is written to it joined.
    pub(super) fn joins(&self) -> [Joins; 2] {
        [self.refusals.tcp(self.offloads.tcp), self.refusals.udp(self.offloads.udp)]
    }
}

/// The device of one tunnel, as one worker has it.
pub(super) struct Device {
    pub(super) seats: Vec<Seat>,
    pub(super) shared: Arc<Shared>,
}

impl Device {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let seat = |(index, queue): (usize, &Arc<Queue>)| Seat {
            queue: Arc::clone(queue),
            index: if queue.control { 0 } else { index },
            heard: Heard::Not,
            since: queue.octets(),
        };
        Self { seats: shared.queues.iter().enumerate().map(seat).collect(), shared }
    }

    /// What is joined for it, where some of that was given up.
    pub(super) fn joins_less(&self) -> Option<Joining> {
        let [tcp, udp] = self.shared.joins();
        let given_up = |joins| matches!(joins, Joins::GivenUp { .. });
        (given_up(tcp) || given_up(udp)).then_some(Joining { tcp: tcp == Joins::On, udp: udp == Joins::On })
    }

    /// Where a frame is written: the kernel gives the packets of a flow's other direction to the queue its last packet was
    /// written to, so each flow is written to one, and they to all.
    pub(super) fn writer(&self, frame: &[IoSlice<'_>]) -> Option<&Queue> {
        let index = match self.seats.iter().filter(|seat| !seat.queue.control).count() {
            0 | 1 => 0,
            queues => flow(frame) as usize % queues,
        };
        self.seats.get(index).map(|seat| &*seat.queue)
    }
}

/// A number for the flow of a frame's packet: of its addresses, protocol and, for TCP and UDP that is no fragment, ports.
fn flow(frame: &[IoSlice<'_>]) -> u32 {
    let mut start = [0; HEADERS];
    let octets = frame.iter().flat_map(|slice| slice.iter().copied()).skip(virtio::LEN);
    start.iter_mut().zip(octets).for_each(|(place, octet)| *place = octet);
    let (addresses, protocol, header, whole) = match start[0] >> 4 {
        4 => (12..20, start[9], usize::from(start[0] & 15) * 4, start[6] & 0x3f == 0 && start[7] == 0),
        6 => (8..40, start[6], 40, true),
        _ => return 0,
    };
    let ports = if whole && matches!(protocol, TCP | UDP) { header..header + 4 } else { 0..0 };
    let named = start.get(addresses).into_iter().chain(start.get(ports)).flatten();
    // FNV-1a: a few dozen octets, and nobody gains by making flows meet in one queue.
    named
        .chain([&protocol])
        .fold(0x811c_9dc5_u32, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
        >> 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A UDP packet of IPv4, cut into slices as a joined frame is.
    fn frame(source: u8, port: u16, id: u8, fragment: u16) -> u32 {
        let mut packet = vec![0x45, 0, 0, 32, 0, id, 0, 0, 64, UDP, 0, 0, 10, 0, 0, source, 10, 0, 1, 1];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend([0, 53, 0, 12, 0, 0, id, id, id, id]);
        let (header, rest) = packet.split_at(21);
        flow(&[IoSlice::new(&[0; virtio::LEN]), IoSlice::new(header), IoSlice::new(rest)])
    }

    #[test]
    fn packets_of_a_flow_have_one_number_and_flows_differ() {
        assert_eq!(frame(1, 5000, 1, 0), frame(1, 5000, 2, 0));
        let mut queues = [0; 4];
        (0..400).for_each(|port| queues[frame(1, 5000 + port, 1, 0) as usize % 4] += 1);
        assert!(queues.iter().all(|count| (50..200).contains(count)), "{queues:?}");
        assert_ne!(frame(1, 5000, 1, 0), frame(2, 5000, 1, 0));
    }

    #[test]
    fn every_fragment_of_a_packet_has_the_same_number() {
        const MORE: u16 = 0x2000;
        assert_eq!(frame(1, 5000, 1, MORE), frame(1, 6000, 1, MORE | 100));
        assert_eq!(frame(1, 5000, 1, MORE), frame(1, 7000, 1, 300));
        assert_eq!(flow(&[IoSlice::new(&[0; 5])]), 0);
    }
}
