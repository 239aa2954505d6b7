//! UDP sockets for IKE and for ESP in UDP: packet info both ways, GSO, GRO, DSCP and ECN, don't-fragment.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, Socket, Type};

use crate::datagram::{
    Head, PathError, RecvRing, Run, Segmentation, Segmenting, SendArena, SendFailure, SendReport, Sending,
    Source, send_runs,
};
use crate::sys::option;

/// Of `asm-generic/socket.h`; the libc crate has no name for it.
const SO_ATTACH_REUSEPORT_CBPF: i32 = 51;

/// How to open a [`UdpSocket`].
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Address and port to bind; the unspecified address hears all of its family (never the other).
    pub bind: SocketAddr,
    /// `SO_MARK`, so that routing rules know our outer packets. Needs `CAP_NET_ADMIN`.
    pub mark: Option<u32>,
    /// Let several sockets share the port (one a worker): the kernel deals flows among them, until
    /// [`UdpSocket::deal_by_first_word`] says how.
    pub reuse_port: bool,
    /// Take coalesced datagrams (`UDP_GRO`) and give runs to the kernel whole (`UDP_SEGMENT`).
    pub offload: bool,
    /// Queue ICMP errors for [`UdpSocket::next_path_error`]. Makes the descriptor show an error
    /// condition until the queue is drained.
    pub path_errors: bool,
    /// Octets of socket buffer each way. 8 MiB holds a scheduling gap of 10 ms at 6 Gbit/s.
    pub buffer: usize,
}

impl UdpOptions {
    /// Defaults: no mark, port not shared, offload on, path errors off, 8 MiB of buffer.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self { bind, mark: None, reuse_port: false, offload: true, path_errors: false, buffer: 8 << 20 }
    }
}

/// A non-blocking UDP socket. All calls take `&self`: threads may share it, each with its own arena and
/// ring.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    local: SocketAddr,
    gso: Segmenting,
    gro: bool,
}

impl UdpSocket {
    /// Open and bind. Don't-fragment is set on every datagram; one that exceeds the path's MTU is
    /// refused with [`SendFailure::TooBig`], never fragmented.
    pub fn bind(options: &UdpOptions) -> io::Result<Self> {
        let domain = Domain::for_address(options.bind);
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(domain, kind, Some(Protocol::UDP))?;
        prepare(&socket, options.bind.ip(), options.mark, options.path_errors, options.buffer)?;
        if options.bind.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Only the port-sharing option lets a second socket in: two daemons on one port are an error.
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        let gro = options.offload && option::set_int(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        // Reading UDP_SEGMENT succeeds exactly where the kernel knows the option.
        let gso =
            options.offload && option::get_int(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        socket.bind(&options.bind.into())?;
        let local = socket.local_addr()?.as_socket().unwrap_or(options.bind);
        Ok(Self { socket, local, gso: Segmenting::new(gso), gro })
    }

    /// The address and port it is bound to.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Does it still give runs to the kernel whole, and why not?
    #[must_use]
    pub fn segmentation(&self) -> Segmentation {
        self.gso.get()
    }

    /// Does it take coalesced datagrams?
    #[must_use]
    pub fn uses_gro(&self) -> bool {
        self.gro
    }

    /// Send runs, as many a system call as fit. One bad run does not stop the others: sums come back,
    /// reasons stay in [`SendArena::failures`]. The path MTU in them is asked for in the calling thread's
    /// network namespace.
    pub fn send_runs(&self, runs: &[Run<'_>], arena: &mut SendArena) -> SendReport {
        let path_mtu = |dest, source| self.path_mtu(dest, source).ok();
        let sending = Sending { fd: self.socket.as_fd(), gso: Some(&self.gso), path_mtu: &path_mtu };
        send_runs(&sending, runs, arena)
    }

    /// Send one datagram, without waiting.
    pub fn send_one(
        &self,
        dest: SocketAddr,
        source: Option<Source>,
        tos: u8,
        bytes: &[u8],
    ) -> Result<(), SendFailure> {
        let mut arena = SendArena::new();
        self.send_runs(&[Run { dest, source, tos, segment: None, bytes }], &mut arena);
        arena.failures().first().map_or(Ok(()), |failed| Err(failed.failure))
    }

    /// From now on: don't-fragment on every datagram (as from the start), or on none, and this host fragments
    /// what exceeds the path's MTU. It holds for every descriptor of this socket.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        set_dont_fragment(&self.socket, self.local.is_ipv4(), on)
    }

    /// From now on the datagrams to the port this socket shares go to the socket whose place in the group (that of its
    /// `bind`, from zero) is the rest of their first four octets, a big-endian number, divided by `sockets`. Shorter
    /// ones go to the first. Where there is no such place the kernel deals by address, as it does without this.
    ///
    /// One call serves the whole group, also for sockets bound later.
    pub fn deal_by_first_word(&self, sockets: NonZeroU32) -> io::Result<()> {
        let step = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let mut program = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
            step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, sockets.get()),
            step(libc::BPF_RET | libc::BPF_A, 0),
        ];
        option::set_program(self.socket.as_fd(), SO_ATTACH_REUSEPORT_CBPF, &mut program)
    }

    /// Receive what waits into the ring: how many messages, 0 when nothing waits.
    pub fn recv_batch(&self, ring: &mut RecvRing) -> io::Result<usize> {
        ring.fill(self.socket.as_fd(), Head::None)
    }

    /// Datagrams that came and were dropped before they were received: nearly always because the buffer was full, else
    /// for a wrong checksum. It wraps at 2^32.
    pub fn receive_drops(&self) -> io::Result<u32> {
        option::receive_drops(self.socket.as_fd())
    }

    /// The next report from the error queue (only with [`UdpOptions::path_errors`]).
    pub fn next_path_error(&self) -> io::Result<Option<PathError>> {
        crate::datagram::next_path_error(self.socket.as_fd())
    }

    /// What the kernel now holds for the path's MTU, IP header included, seen with the mark this socket has now.
    pub fn path_mtu(&self, dest: SocketAddr, source: Option<Source>) -> io::Result<u32> {
        path_mtu(dest, source, mark_of(&self.socket))
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// What the kernel holds for the MTU of the path to `dest`, in octets with the IP header: the route's
/// or the device's, or less when a router said so. Asked in the calling thread's namespace.
pub fn path_mtu(dest: SocketAddr, source: Option<Source>, mark: Option<u32>) -> io::Result<u32> {
    let socket = Socket::new(Domain::for_address(dest), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    if let Some(source) = source {
        if !source.address.is_unspecified() {
            socket.bind(&SocketAddr::new(source.address, 0).into())?;
        }
        if source.ifindex != 0 {
            let index = i32::try_from(source.ifindex).map_err(|_| io::ErrorKind::InvalidInput)?;
            option::set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, index)?;
        }
    }
    let target = SocketAddr::new(dest.ip(), dest.port().max(1));
    socket.connect(&target.into())?;
    let (level, name) = match dest {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU),
    };
    let mtu = option::get_int(socket.as_fd(), level, name)?;
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// The local address the kernel would choose towards `dest` (in the thread's namespace).
pub fn source_for(dest: IpAddr, mark: Option<u32>) -> io::Result<IpAddr> {
    let target = SocketAddr::new(dest, 1);
    let socket = Socket::new(Domain::for_address(target), Type::DGRAM.cloexec(), Some(Protocol::UDP))?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    socket.connect(&target.into())?;
    Ok(StdSocket::from(socket).local_addr()?.ip())
}

/// The mark of what a socket sends, which may have changed since it was opened.
pub(crate) fn mark_of(socket: &Socket) -> Option<u32> {
    socket.mark().ok().filter(|mark| *mark != 0)
}

/// Don't-fragment, set or clear.
pub(crate) fn set_dont_fragment(socket: &Socket, ipv4: bool, on: bool) -> io::Result<()> {
    let (level, name, value) = match (ipv4, on) {
        (true, true) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
        (true, false) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT),
        (false, true) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
        (false, false) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT),
    };
    option::set_int(socket.as_fd(), level, name, value)
}

/// The options UDP and raw sockets share.
pub(crate) fn prepare(
    socket: &Socket,
    family: IpAddr,
    mark: Option<u32>,
    path_errors: bool,
    buffer: usize,
) -> io::Result<()> {
    let fd = socket.as_fd();
    let options: [(i32, i32, i32); 4] = match family {
        IpAddr::V4(_) => [
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO),
            (libc::IPPROTO_IP, libc::IP_RECVERR, path_errors.into()),
        ],
        IpAddr::V6(_) => [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, path_errors.into()),
        ],
    };
    for (level, name, value) in options {
        option::set_int(fd, level, name, value)?;
    }
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    option::set_buffers(fd, buffer)
}
