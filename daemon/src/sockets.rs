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
use kernel::datagram::{RecvRing, SendFailure, Source};
use kernel::procnet;
use kernel::raw::{EspOptions, EspSocket, Family};
use kernel::udp::{UdpOptions, UdpSocket};
use kernel::xdp::XdpReceiver;

use crate::bypass::{self, Bypass, Shown};

/// IKE (RFC 7296 section 2).
const IKE: u16 = 500;
/// IKE and ESP through a translator (RFC 3948).
const NAT: u16 = 4500;
/// ESP (RFC 4303 section 2).
const ESP: u8 = 50;
/// Slots for messages on port 500; one is at most a datagram.
const IKE_SLOTS: usize = 16;
const IKE_SLOT: usize = 65_536;

/// Why the sockets could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}{held}")]
pub(crate) struct SocketsError {
    what: String,
    source: io::Error,
    /// Who holds it, in words; empty when unknown.
    held: String,
}

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

/// What one worker sends and receives through.
pub(crate) struct WorkerSockets {
    /// Port 4500, one a family.
    pub(crate) udp: Vec<Arc<UdpSocket>>,
    /// Protocol 50, one a family, shared by all workers for sending.
    pub(crate) esp: Vec<Arc<EspSocket>>,
    /// Does this worker receive from them? A raw socket hears everything, so one worker does.
    pub(crate) hears_esp: bool,
    /// Protocol 50 past the kernel's stack: this worker's share of the devices' queues.
    pub(crate) xdp: Vec<XdpReceiver>,
    /// And the one to send so, shared by all workers; `None` where no device is asked for.
    pub(crate) bypass: Option<bypass::Sender>,
}

/// Opens all of them for so many workers. `mark` is that of every outer packet where learned
/// routes have a table of their own.
///
/// A host without IPv6 gets the IPv4 sockets alone, with a note. Must run in the daemon's network namespace.
pub(crate) fn open(workers: NonZeroU32, mark: Option<u32>) -> Result<Sockets, SocketsError> {
    let several = workers.get() > 1;
    let mut notes = Vec::new();
    // Port 500 first: it is never shared, so a second daemon stops here.
    let ike = both(&mut notes, |any| bind(any, IKE, mark, false))?;
    let mut shares: Vec<Vec<Arc<UdpSocket>>> = (0..workers.get()).map(|_| Vec::new()).collect();
    for share in &mut shares {
        for socket in &ike {
            share.push(Arc::new(bind(socket.local().ip(), NAT, mark, several)?));
        }
    }
    if several {
        for socket in shares.first().into_iter().flatten() {
            if let Err(error) = socket.deal_by_first_word(workers) {
                notes.push(format!(
                    "UDP {}: the kernel deals packets by address, not by SPI: {error}",
                    socket.local()
                ));
            }
        }
    }
    let esp: Vec<Arc<EspSocket>> =
        ike.iter().map(|socket| raw(socket.local().ip(), mark).map(Arc::new)).collect::<Result<_, _>>()?;
    let ike: Vec<Arc<UdpSocket>> = ike.into_iter().map(Arc::new).collect();
    let nat = shares.first().cloned().unwrap_or_default();
    let views = SocketViews {
        udp: ike.iter().chain(shares.iter().flatten()).cloned().collect(),
        esp: esp.clone(),
        bypass: None,
    };
    Ok(Sockets {
        sender: IkeSender { ike: ike.clone(), nat },
        ike: ike.into_iter().map(IkeSocket::new).collect(),
        workers: shares
            .into_iter()
            .enumerate()
            .map(|(number, udp)| WorkerSockets {
                udp,
                esp: esp.clone(),
                hears_esp: number == 0,
                xdp: Vec::new(),
                bypass: None,
            })
            .collect(),
        notes,
        views,
    })
}

impl Sockets {
    /// Lets protocol 50 go past the kernel's stack where `bypass` has a device for it: its queues are dealt to the workers.
    pub(crate) fn take_bypass(&mut self, bypass: Bypass) {
        let Bypass { sender, receivers, faults } = bypass;
        let workers = self.workers.len().max(1);
        for (queue, receiver) in receivers {
            if let Some(worker) = self.workers.get_mut(queue % workers) {
                worker.xdp.push(receiver);
            }
        }
        for worker in &mut self.workers {
            worker.bypass.clone_from(&sender);
        }
        self.views.bypass = Some(Shown { sender, faults });
    }
}

/// IPv4 must open; IPv6 may be missing on the host.
fn both(
    notes: &mut Vec<String>,
    open: impl Fn(IpAddr) -> Result<UdpSocket, SocketsError>,
) -> Result<Vec<UdpSocket>, SocketsError> {
    let mut found = vec![open(Ipv4Addr::UNSPECIFIED.into())?];
    match open(Ipv6Addr::UNSPECIFIED.into()) {
        Ok(socket) => found.push(socket),
        Err(error) if no_ipv6(&error.source) => {
            notes.push(format!("no IPv6 on this host ({}): outer packets are IPv4 alone", error.source));
        }
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// EAFNOSUPPORT: no IPv6 in the kernel. EADDRNOTAVAIL: switched off (`disable_ipv6`).
fn no_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn bind(any: IpAddr, port: u16, mark: Option<u32>, reuse_port: bool) -> Result<UdpSocket, SocketsError> {
    let address = SocketAddr::new(any, port);
    let options = UdpOptions {
        mark,
        reuse_port,
        offload: port == NAT,
        path_errors: port == NAT,
        ..UdpOptions::new(address)
    };
    let opened = UdpSocket::bind(&options).and_then(|socket| {
        // An IKE message too long for the path is fragmented rather than never sent.
        socket.set_dont_fragment(port == NAT)?;
        Ok(socket)
    });
    opened.map_err(|source| SocketsError {
        what: format!("UDP {address}"),
        held: if source.kind() == io::ErrorKind::AddrInUse { holders(port) } else { String::new() },
        source,
    })
}

fn raw(any: IpAddr, mark: Option<u32>) -> Result<EspSocket, SocketsError> {
    let family = if any.is_ipv4() { Family::V4 } else { Family::V6 };
    let options = EspOptions { mark, path_errors: true, ..EspOptions::new(family) };
    EspSocket::open(&options).map_err(|source| SocketsError {
        what: format!("IP protocol {ESP} on {any}"),
        source,
        held: String::new(),
    })
}

fn holders(port: u16) -> String {
    let found = procnet::udp_holders(&[port]).unwrap_or_default();
    let mut names: Vec<String> = found.into_iter().flat_map(|holder| holder.processes).collect();
    names.sort();
    names.dedup();
    if names.is_empty() { String::new() } else { format!(" (held by {})", names.join(", ")) }
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

    /// Every socket with its offloads as they are now.
    pub(crate) fn read(&self) -> Vec<view::Socket> {
        let udp = self.udp.iter().map(|socket| {
            let local = socket.local();
            view::Socket {
                name: format!("udp {local}"),
                offloads: udp_offloads(socket, local.port() == NAT),
                counts: Vec::new(),
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
                counts: Vec::new(),
            }
        });
        let xdp = self.bypass.iter().flat_map(Shown::read);
        udp.chain(esp).chain(xdp).collect()
    }
}

/// What the socket sends carries this mark from now on.
pub(crate) fn mark_socket(socket: &impl AsFd, mark: Option<u32>) -> io::Result<()> {
    socket2::SockRef::from(socket).set_mark(mark.unwrap_or(0))
}

fn udp_offloads(socket: &UdpSocket, carries_esp: bool) -> Vec<view::Offload> {
    if !carries_esp {
        let why = "IKE messages alone";
        return vec![off("gso", why), off("gro", why)];
    }
    let gso = if socket.uses_gso() {
        on("gso")
    } else {
        off("gso", "this kernel or the device it leaves by cannot segment UDP")
    };
    let gro = if socket.uses_gro() { on("gro") } else { off("gro", "this kernel cannot join UDP") };
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
