//! From the outer sockets to TUN queues.

use std::net::SocketAddr;
use std::sync::Arc;

use kernel::datagram::MESSAGES;
use tunnel::offload::coalesce::Joining;
use tunnel::{Drops, Ingress, OuterPath, Received, Table, Tick};

use super::capture::{Captures, Direction};
use super::outward::write;
use super::port::{Outer, Port, Ports, Up};
use super::thread::DeviceMap;

/// Every ring offers at least so many slots: fewer messages mean that nothing waited any more, which the next
/// wait finds out for less than another receive.
const LEAST: usize = 8;

/// The inbound half of one worker.
pub(super) struct Inward {
    ingress: Ingress,
}

impl Inward {
    pub(super) fn new(drops: Arc<Drops>) -> Self {
        Self { ingress: Ingress::new(drops, Joining { tcp: true, udp: true }) }
    }

    pub(super) fn set_joining(&mut self, joining: Joining) {
        self.ingress.set_joining(joining);
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
        // An error is an ICMP answer to something sent: the error queue has it.
        let Ok(count @ 1..) = fill(port) else { return (0, false) };
        let Port { outer, ring } = port;
        let mut received: [Received<'_>; MESSAGES] = std::array::from_fn(|_| Received::empty());
        for (slot, message) in received.iter_mut().zip(ring.messages()) {
            *slot = Received {
                path: path(outer, message.destination, message.source),
                segment: message.segment,
                ifindex: message.ifindex,
                tos: message.tos,
                bytes: message.bytes,
            };
        }
        let Some(received) = received.get_mut(..count) else { return (0, false) };
        let octets = received.iter().map(|message| message.bytes.len() as u64).sum();
        self.ingress.handle_batch(table, received, &mut up.reports, now);
        self.ingress.for_each_write(received, |tunnel, frame| {
            captures.frame(tunnel, Direction::In, frame, &up.counters);
            write(devices, tunnel, frame, up);
        });
        self.ingress.clear();
        (octets, count >= LEAST)
    }
}

fn fill(port: &mut Port) -> std::io::Result<usize> {
    match &port.outer {
        Outer::Udp(socket) => socket.recv_batch(&mut port.ring),
        Outer::Esp(socket) => socket.recv_batch(&mut port.ring),
    }
}

fn path(outer: &Outer, destination: std::net::IpAddr, source: SocketAddr) -> OuterPath {
    match outer {
        Outer::Udp(socket) => {
            OuterPath::Udp { local: SocketAddr::new(destination, socket.local().port()), remote: source }
        }
        Outer::Esp(_) => OuterPath::Esp { local: destination, remote: source.ip() },
    }
}
