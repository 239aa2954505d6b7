//! From the outer sockets to TUN queues.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kernel::datagram::{MESSAGES, Message};
use tunnel::offload::coalesce::Joining;
use tunnel::offload::recut::Recut;
use tunnel::{Drops, Ingress, OuterPath, Received, Table, Tick};

use super::capture::{Captures, Direction};
use super::joined;
use super::port::{Outer, Port, Ports, Up};
use super::thread::DeviceMap;

/// Every ring offers at least so many slots: fewer messages mean that nothing waited any more, which the next
/// wait finds out for less than another receive.
const LEAST: usize = 8;

/// The inbound half of one worker.
pub(super) struct Inward {
    ingress: Ingress,
    recut: Recut,
}

impl Inward {
    pub(super) fn new(drops: Arc<Drops>) -> Self {
        Self { ingress: Ingress::new(drops, Joining { tcp: true, udp: true }), recut: Recut::default() }
    }

    /// Joins for every device what all of them take, but for those where some of it was given up.
    pub(super) fn follow(&mut self, devices: &DeviceMap) {
        self.ingress.set_joining(Joining {
            tcp: devices.values().all(|device| device.shared.offloads.tcp),
            udp: devices.values().all(|device| device.shared.offloads.udp),
        });
        for (tunnel, device) in devices {
            if let Some(joining) = device.joins_less() {
                self.ingress.join_less(*tunnel, joining);
            }
        }
    }

    /// Receives one batch from a socket, opens it and writes what was inside: how many octets came, and may there be
    /// more?
    #[expect(clippy::too_many_arguments, reason = "the worker's parts, borrowed one by one")]
    pub(super) fn receive(
        &mut self,
        number: usize,
        table: &Table,
        ports: &mut Ports,
        devices: &DeviceMap,
        captures: &mut Captures,
        up: &mut Up,
        now: Tick,
    ) -> (u64, bool) {
        let Some(port) = ports.get_mut(number) else { return (0, false) };
        let mut received: [Received<'_>; MESSAGES] = std::array::from_fn(|_| Received::empty());
        let count = gather(port, &mut received);
        if count == 0 {
            return (0, false);
        }
        let Some(received) = received.get_mut(..count) else { return (0, false) };
        let octets = received.iter().map(|message| message.bytes.len() as u64).sum();
        self.ingress.handle_batch(table, received, &mut up.reports, now);
        let Self { ingress, recut } = self;
        ingress.for_each_write(received, |tunnel, frame| {
            captures.frame(tunnel, Direction::In, frame, &up.counters);
            joined::write(devices, tunnel, frame, recut, up);
        });
        ingress.clear();
        (octets, count >= LEAST)
    }
}

/// Receives what waits; how many messages came. An error is an ICMP answer to something sent: the error queue has it.
fn gather<'p>(port: &'p mut Port, into: &mut [Received<'p>]) -> usize {
    let Port { outer, ring } = port;
    let esp = |local, remote: SocketAddr| OuterPath::Esp { local, remote: remote.ip() };
    let count = match outer {
        Outer::Udp(socket) => {
            let count = socket.recv_batch(ring);
            let port = socket.local().port();
            place(into, ring.messages(), |local, remote| OuterPath::Udp {
                local: SocketAddr::new(local, port),
                remote,
            });
            count
        }
        Outer::Esp(socket) => {
            let count = socket.recv_batch(ring);
            place(into, ring.messages(), esp);
            count
        }
        Outer::Xdp(receiver) => {
            let count = receiver.receive();
            place(into, receiver.messages(), esp);
            Ok(count)
        }
    };
    count.unwrap_or(0)
}

fn place<'p>(
    into: &mut [Received<'p>],
    messages: impl Iterator<Item = Message<'p>>,
    path: impl Fn(IpAddr, SocketAddr) -> OuterPath,
) {
    for (slot, message) in into.iter_mut().zip(messages) {
        *slot = Received {
            path: path(message.destination, message.source),
            segment: message.segment,
            ifindex: message.ifindex,
            tos: message.tos,
            bytes: message.bytes,
        };
    }
}
