//! IP protocol 50 (ESP) over IPv4 and IPv6, with the same faces as UDP.
//!
//! A raw socket gets a copy of every ESP packet of its family that reaches this host; the caller sorts
//! them by SPI. Nothing coalesces or segments protocol 50: a run is sent as single packets, many a call.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::datagram::{
    Head, PathError, RecvRing, Run, SendArena, SendReport, Sending, Source, next_path_error, send_runs,
};
use crate::sys::option;
use crate::udp::{mark_of, path_mtu, prepare, set_dont_fragment};

/// IP protocol number of ESP (RFC 4303 section 2).
const ESP: i32 = 50;

/// Which IP carries the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// How to open an [`EspSocket`].
#[derive(Clone, Debug)]
pub struct EspOptions {
    /// IPv4 or IPv6.
    pub family: Family,
    /// `SO_MARK`, so that routing rules know our outer packets. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Queue ICMP errors for [`EspSocket::next_path_error`].
    pub path_errors: bool,
    /// Octets of socket buffer each way.
    pub buffer: usize,
}

impl EspOptions {
    /// Defaults: no mark, path errors off, 8 MiB of buffer.
    #[must_use]
    pub fn new(family: Family) -> Self {
        Self { family, mark: None, path_errors: false, buffer: 8 << 20 }
    }
}

/// A non-blocking raw socket for protocol 50. Needs `CAP_NET_RAW` to open.
#[derive(Debug)]
pub struct EspSocket {
    socket: Socket,
    family: Family,
}

impl EspSocket {
    /// Open one; it hears every local address of its family from now on.
    pub fn open(options: &EspOptions) -> io::Result<Self> {
        let (domain, any): (_, IpAddr) = match options.family {
            Family::V4 => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
        };
        let kind = Type::RAW.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::from(ESP)))?;
        prepare(&socket, any, options.mark, options.path_errors, options.buffer)?;
        Ok(Self { socket, family: options.family })
    }

    /// The IP version it speaks.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Send runs; each datagram becomes one packet. See [`crate::udp::UdpSocket::send_runs`].
    pub fn send_runs(&self, runs: &[Run<'_>], arena: &mut SendArena) -> SendReport {
        let path_mtu = |dest, source| self.path_mtu(dest, source).ok();
        let sending = Sending { fd: self.socket.as_fd(), gso: None, path_mtu: &path_mtu };
        send_runs(&sending, runs, arena)
    }

    /// Don't-fragment on every packet or on none. See [`crate::udp::UdpSocket::set_dont_fragment`].
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        set_dont_fragment(&self.socket, self.family == Family::V4, on)
    }

    /// Receive what waits into the ring; the IPv4 header is already skipped. 0 when nothing waits.
    pub fn recv_batch(&self, ring: &mut RecvRing) -> io::Result<usize> {
        let head = match self.family {
            Family::V4 => Head::Ipv4,
            Family::V6 => Head::None,
        };
        ring.fill(self.socket.as_fd(), head)
    }

    /// Packets that came and found the buffer full. It wraps at 2^32.
    pub fn receive_drops(&self) -> io::Result<u32> {
        option::receive_drops(self.socket.as_fd())
    }

    /// The next report from the error queue (only with [`EspOptions::path_errors`]).
    pub fn next_path_error(&self) -> io::Result<Option<PathError>> {
        next_path_error(self.socket.as_fd())
    }

    /// What the kernel now holds for the path's MTU, IP header included.
    pub fn path_mtu(&self, dest: SocketAddr, source: Option<Source>) -> io::Result<u32> {
        path_mtu(dest, source, mark_of(&self.socket))
    }
}

impl AsFd for EspSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for EspSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
