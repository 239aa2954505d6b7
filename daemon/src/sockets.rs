//! The outer sockets: IKE on ports 500 and 4500, ESP in UDP on 4500, ESP as IP protocol 50.
//!
//! All are opened before the first message leaves and bound to every address of their family; which address
//! a packet came to, and leaves from, is packet info. Port 500 belongs to the control thread, the others to
//! the workers; an IKE message on port 4500 goes out over a worker's socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use control::view;
use kernel::datagram::{RecvRing, Segmentation, SendFailure, Source};
use kernel::raw::{EspSocket, Family};
use kernel::udp::{UdpOptions, UdpSocket};
use workers::{SocketError, WorkerSockets};

use crate::bypass::{self, Bypass, Shown};

/// IKE (RFC 7296 section 2).
const IKE: u16 = 500;
/// IKE and ESP through a translator (RFC 3948).
const NAT: u16 = workers::PORT;
/// Slots for messages on port 500; one is at most a datagram.
const IKE_SLOTS: usize = 16;
const IKE_SLOT: usize = 65_536;

/// All outer sockets.
pub(crate) struct Sockets {
    /// Port 500, one a family: for the control thread.
    pub(crate) ike: Vec<IkeSocket>,
    /// One share a worker.
    pub(crate) workers: Vec<WorkerSockets>,
    /// Sends IKE messages on either port.
    pub(crate) sender: IkeSender,
    /// What is missing on this host and why, for the log.
    pub(crate) notes: Vec<String>,
    /// For `show interfaces`.
    pub(crate) views: SocketViews,
}

/// Opens all of them for so many workers. `mark` is that of every outer packet where learned
/// routes have a table of their own.
///
/// A host without IPv6 gets the IPv4 sockets alone, with a note. Must run in the daemon's network namespace.
pub(crate) fn open(workers: NonZeroU32, mark: Option<u32>) -> Result<Sockets, SocketError> {
    let mut notes = Vec::new();
    // Port 500 first: it is never shared, so a second daemon stops here.
    let ike = both(&mut notes, |any| bind(any, mark))?;
    let any: Vec<IpAddr> = ike.iter().map(|socket| socket.local().ip()).collect();
    let shares = workers::open(workers, &any, mark, &mut notes)?;
    let ike: Vec<Arc<UdpSocket>> = ike.into_iter().map(Arc::new).collect();
    // The raw sockets are the same in every share.
    let (nat, esp) = shares.first().map(|first| (first.udp.clone(), first.esp.clone())).unwrap_or_default();
    let carrying = shares.iter().flat_map(|share| &share.udp);
    let views = SocketViews { udp: ike.iter().chain(carrying).cloned().collect(), esp, bypass: None };
    Ok(Sockets {
        sender: IkeSender { ike: ike.clone(), nat },
        ike: ike.into_iter().map(IkeSocket::new).collect(),
        workers: shares,
        notes,
        views,
    })
}

impl Sockets {
    /// Lets protocol 50 go past the kernel's stack where `bypass` has a device for it: its queues are dealt to the workers.
    ///
    /// # Errors
    /// The thread that asks for it cannot be started.
    pub(crate) fn take_bypass(&mut self, mut bypass: Bypass) -> io::Result<()> {
        bypass.start_scout()?;
        let Bypass { shown, receivers, .. } = bypass;
        let workers = self.workers.len().max(1);
        for (queue, receiver) in receivers {
            if let Some(worker) = self.workers.get_mut(queue % workers) {
                worker.xdp.push(receiver);
            }
        }
        for worker in &mut self.workers {
            worker.bypass.clone_from(&shown.sender);
        }
        self.views.bypass = Some(shown);
        Ok(())
    }
}

/// IPv4 must open; IPv6 may be missing on the host.
fn both(
    notes: &mut Vec<String>,
    open: impl Fn(IpAddr) -> Result<UdpSocket, SocketError>,
) -> Result<Vec<UdpSocket>, SocketError> {
    let mut found = vec![open(Ipv4Addr::UNSPECIFIED.into())?];
    match open(Ipv6Addr::UNSPECIFIED.into()) {
        Ok(socket) => found.push(socket),
        Err(error) if error.no_ipv6() => {
            notes.push(format!("no IPv6 on this host ({}): outer packets are IPv4 alone", error.cause()));
        }
        Err(error) => return Err(error),
    }
    Ok(found)
}

fn bind(any: IpAddr, mark: Option<u32>) -> Result<UdpSocket, SocketError> {
    let address = SocketAddr::new(any, IKE);
    let options = UdpOptions { mark, offload: false, ..UdpOptions::new(address) };
    let opened = UdpSocket::bind(&options).and_then(|socket| {
        // An IKE message too long for the path is fragmented rather than never sent.
        socket.set_dont_fragment(false)?;
        Ok(socket)
    });
    opened.map_err(|source| SocketError::udp(address, source))
}

/// A port-500 socket with the memory it receives into.
pub(crate) struct IkeSocket {
    socket: Arc<UdpSocket>,
    ring: RecvRing,
}

impl IkeSocket {
    fn new(socket: Arc<UdpSocket>) -> Self {
        Self { socket, ring: RecvRing::new(IKE_SLOTS, IKE_SLOT) }
    }

    /// Hands what waits to `take` as (our address, the sender's, the interface, the message), one batch of at most 16;
    /// answers how many there were, 0 when nothing waits.
    pub(crate) fn receive(
        &mut self,
        mut take: impl FnMut(SocketAddr, SocketAddr, u32, &[u8]),
    ) -> io::Result<usize> {
        let port = self.socket.local().port();
        let count = self.socket.recv_batch(&mut self.ring)?;
        for message in self.ring.messages() {
            let local = SocketAddr::new(message.destination, port);
            for bytes in message.bytes.chunks(message.segment) {
                take(local, message.source, message.ifindex, bytes);
            }
        }
        Ok(count)
    }
}

impl AsFd for IkeSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for IkeSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Sends IKE messages; cheap to clone.
#[derive(Clone)]
pub(crate) struct IkeSender {
    ike: Vec<Arc<UdpSocket>>,
    nat: Vec<Arc<UdpSocket>>,
}

impl IkeSender {
    /// Sends one message from `local`, whose port chooses the socket: on 4500 the non-ESP marker goes
    /// before it, unless it is a NAT keepalive. It leaves by the interface `ifindex`; 0 leaves that to the routes.
    pub(crate) fn send(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        ifindex: u32,
        bytes: &[u8],
        keepalive: bool,
    ) -> Result<(), SendFailure> {
        let chosen = !local.ip().is_unspecified() || ifindex != 0;
        let source = chosen.then_some(Source { address: local.ip(), ifindex });
        let marked = local.port() == NAT && !keepalive;
        let sockets = if local.port() == NAT { &self.nat } else { &self.ike };
        let same_family = |socket: &&Arc<UdpSocket>| socket.local().is_ipv4() == remote.is_ipv4();
        let Some(socket) = sockets.iter().find(same_family) else {
            const ENETUNREACH: i32 = 101;
            return Err(SendFailure::Unreachable(ENETUNREACH));
        };
        if marked {
            let message = [&tunnel::demux::NON_ESP_MARKER[..], bytes].concat();
            match socket.send_one(remote, source, 0, &message) {
                // The socket is the datapath's, which wants it otherwise; it minds no packet without the bit.
                Err(SendFailure::TooBig { .. }) if socket.set_dont_fragment(false).is_ok() => {
                    let outcome = socket.send_one(remote, source, 0, &message);
                    // It worked the other way round a moment ago.
                    let _ = socket.set_dont_fragment(true);
                    outcome
                }
                outcome => outcome,
            }
        } else {
            socket.send_one(remote, source, 0, bytes)
        }
    }
}

/// What `show interfaces` says of the sockets.
#[derive(Clone)]
pub(crate) struct SocketViews {
    udp: Vec<Arc<UdpSocket>>,
    esp: Vec<Arc<EspSocket>>,
    /// What was asked to go past the stack.
    bypass: Option<Shown>,
}

impl SocketViews {
    /// Marks what every socket sends from now on, or no longer. What a socket refuses is logged: its packets then
    /// look their way up like anybody's, which the host routes to the peers still lead past the tunnels.
    pub(crate) fn set_mark(&self, mark: Option<u32>) {
        let udp = self.udp.iter().map(|socket| mark_socket(&**socket, mark));
        let esp = self.esp.iter().map(|socket| mark_socket(&**socket, mark));
        if let Some(error) = udp.chain(esp).find_map(Result::err) {
            tracing::error!(%error, "an outer socket could not be marked");
        }
        if let Some(Shown { sender: Some(sender), .. }) = &self.bypass {
            bypass::set_mark(sender, mark);
        }
    }

    /// Every socket with its offloads as they are now, `now` in milliseconds of the workers' clock.
    pub(crate) fn read(&self, now: u64) -> Vec<view::Socket> {
        let udp = self.udp.iter().map(|socket| {
            let local = socket.local();
            view::Socket {
                name: format!("udp {local}"),
                offloads: udp_offloads(local.port() == NAT, socket.segmentation(), socket.uses_gro()),
                counts: dropped(socket.receive_drops()),
            }
        });
        let esp = self.esp.iter().map(|socket| {
            let any = match socket.family() {
                Family::V4 => "0.0.0.0",
                Family::V6 => "::",
            };
            let why = "nothing segments or joins IP protocol 50; UDP encapsulation can be batched";
            view::Socket {
                name: format!("esp {any}"),
                offloads: vec![off("gso", why), off("gro", why)],
                counts: dropped(socket.receive_drops()),
            }
        });
        let xdp = self.bypass.iter().flat_map(|shown| shown.read(now));
        udp.chain(esp).chain(xdp).collect()
    }
}

/// What came to a socket and was dropped before it was received; what the kernel does not say is not counted.
fn dropped(count: io::Result<u32>) -> Vec<view::NamedCount> {
    let count = count.ok().filter(|count| *count > 0);
    count
        .map(|count| view::NamedCount { name: "receive-dropped".to_owned(), count: count.into() })
        .into_iter()
        .collect()
}

/// What the socket sends carries this mark from now on.
pub(crate) fn mark_socket(socket: &impl AsFd, mark: Option<u32>) -> io::Result<()> {
    socket2::SockRef::from(socket).set_mark(mark.unwrap_or(0))
}

fn udp_offloads(carries_esp: bool, segmentation: Segmentation, gro: bool) -> Vec<view::Offload> {
    if !carries_esp {
        let why = "IKE messages alone";
        return vec![off("gso", why), off("gro", why)];
    }
    let gso = match segmentation {
        Segmentation::On => on("gso"),
        Segmentation::Absent => off("gso", "this kernel cannot segment UDP"),
        Segmentation::NoChecksum => {
            off("gso", "given up: a device that packets leave by cannot checksum what it segments (EIO)")
        }
        Segmentation::Refused => {
            off("gso", "given up: the kernel refused datagrams together (EINVAL) and took them one by one")
        }
    };
    let gro = if gro { on("gro") } else { off("gro", "this kernel cannot join UDP") };
    vec![gso, gro]
}

/// An offload that is on.
pub(crate) fn on(name: &str) -> view::Offload {
    view::Offload { name: name.to_owned(), on: true, why: None }
}

/// An offload that is off, and why.
pub(crate) fn off(name: &str, why: &str) -> view::Offload {
    view::Offload { name: name.to_owned(), on: false, why: Some(why.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::netlink::LinkChange;

    #[test]
    fn on_port_4500_an_ike_message_has_the_marker_before_it_and_a_keepalive_has_not() {
        crate::host::tests::inside(|netlink, _| {
            const LOOPBACK: u32 = 1;
            netlink.set_link(LOOPBACK, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
            let sockets = open(NonZeroU32::MIN, None).unwrap();
            let peer = std::net::UdpSocket::bind("192.0.2.1:7000").unwrap();
            peer.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
            let (from, to) = ("192.0.2.1:4500".parse().unwrap(), peer.local_addr().unwrap());
            let mut got = [0; 64];
            let mut exchange = |from, bytes, keepalive| {
                sockets.sender.send(from, to, 0, bytes, keepalive).unwrap();
                let (length, source) = peer.recv_from(&mut got).unwrap();
                assert_eq!(source, from);
                got[..length].to_vec()
            };
            assert_eq!(exchange(from, b"message", false), b"\0\0\0\0message");
            assert_eq!(exchange(from, &[0xff], true), [0xff]);
            assert_eq!(exchange("192.0.2.1:500".parse().unwrap(), b"message", false), b"message");
        });
    }

    #[test]
    fn segmentation_that_was_given_up_says_so_and_why() {
        let gso = |segmentation| {
            let offload = udp_offloads(true, segmentation, true).swap_remove(0);
            assert_eq!((&offload.name[..], offload.on), ("gso", offload.why.is_none()));
            offload.why.unwrap_or_default()
        };
        assert_eq!(gso(Segmentation::On), "");
        assert_eq!(gso(Segmentation::Absent), "this kernel cannot segment UDP");
        for (state, errno) in [(Segmentation::NoChecksum, "EIO"), (Segmentation::Refused, "EINVAL")] {
            let why = gso(state);
            assert!(why.starts_with("given up: ") && why.contains(errno), "{why}");
        }
        let ike = udp_offloads(false, Segmentation::On, true);
        assert!(ike.iter().all(|offload| offload.why.as_deref() == Some("IKE messages alone")));
    }

    #[test]
    fn what_a_flood_left_no_room_for_is_shown_at_its_socket() {
        crate::host::tests::inside(|netlink, _| {
            const LOOPBACK: u32 = 1;
            netlink.set_link(LOOPBACK, &LinkChange { up: Some(true), ..LinkChange::default() }).unwrap();
            let sockets = open(NonZeroU32::MIN, None).unwrap();
            let shown = |port| {
                let name = format!("udp 0.0.0.0:{port}");
                let socket = sockets.views.read(0).into_iter().find(|socket| socket.name == name).unwrap();
                socket.counts.iter().map(|count| (count.name.clone(), count.count)).collect::<Vec<_>>()
            };
            assert_eq!(shown(500), []);
            let from = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
            // The kernel never lets a buffer grow beyond what was asked for, twice 8 MiB.
            let flood = [0; 9000];
            let sent = (16 << 20) / flood.len() + 100;
            for _ in 0..sent {
                from.send_to(&flood, "192.0.2.1:500").unwrap();
            }
            let counts = shown(500);
            assert!(
                matches!(&counts[..], [(name, count)] if name == "receive-dropped" && *count >= 100),
                "{counts:?}"
            );
            assert_eq!(shown(4500), []);
        });
    }
}
