//! TCP sockets for BGP: bound to a device and a source, with TTL, MSS and MD5 as the session wants.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU8;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use zeroize::{Zeroize, Zeroizing};

use crate::sys::address::Name;
use crate::sys::option;

/// "Internetwork control" (RFC 4271 appendix E): what routing traffic carries.
pub const TOS_CONTROL: u8 = 0xc0;
/// The longest MD5 key Linux takes, in octets.
pub const MD5_KEY_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// `struct tcp_md5sig`: address (128), flags, prefix length, key length (u16), ifindex (i32), key (80).
const MD5_LEN: usize = 128 + 8 + MD5_KEY_MAX;

/// What a session wants of its socket, whoever connects.
#[derive(Clone, Default)]
pub struct TcpOptions {
    /// The only interface it may use (`SO_BINDTODEVICE`).
    pub device: Option<String>,
    /// The local address; it need not exist yet.
    pub source: Option<IpAddr>,
    /// Time to live of what we send: 1 for a direct peer, 255 for RFC 5082, else the hops allowed.
    pub ttl: Option<NonZeroU8>,
    /// With RFC 5082: the least TTL that what we receive may have.
    pub min_ttl: Option<NonZeroU8>,
    /// The largest segment in octets (88-32767).
    pub mss: Option<u16>,
    /// RFC 2385 key.
    pub md5_key: Option<Md5Key>,
    /// How long sent data may stay unacknowledged before the connection is given up.
    pub user_timeout: Option<Duration>,
    /// First probe of an idle connection, and the time between probes.
    pub keepalive: Option<(Duration, Duration)>,
    /// `SO_MARK`.
    pub mark: Option<u32>,
}

/// A key of RFC 2385: 1-80 octets, never printed, zeroed when dropped.
#[derive(Clone)]
pub struct Md5Key(Zeroizing<Vec<u8>>);

impl Md5Key {
    /// `None` when it is empty or longer than [`MD5_KEY_MAX`].
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        (1..=MD5_KEY_MAX).contains(&key.len()).then(|| Self(Zeroizing::new(key.to_vec())))
    }
}

/// Begin to connect. The stream is non-blocking and not yet connected: when it becomes writable,
/// [`TcpStream::take_error`] tells whether it is.
pub fn connect(remote: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let socket = open(remote)?;
    if let Some(device) = &options.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?;
    }
    tune(SockRef::from(&socket), remote.is_ipv4(), options)?;
    if let Some(key) = &options.md5_key {
        set_md5(socket.as_fd(), remote.ip(), &key.0)?;
    }
    if let Some(source) = options.source {
        free_bind(&socket, source)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&remote.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// A listening, non-blocking socket for one local address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

/// One accepted connection: non-blocking, not yet tuned (see [`tune_accepted`]).
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// Who connected.
    pub remote: SocketAddr,
    /// To which of our addresses.
    pub local: SocketAddr,
}

impl Listener {
    /// Listen on an address (which need not exist yet), on one interface when a device is named. Several
    /// listeners may share address and port when their devices differ. TTL and MSS are set here so that
    /// the handshake itself obeys; a connection inherits them.
    pub fn bind(local: SocketAddr, options: &TcpOptions) -> io::Result<Self> {
        let socket = open(local)?;
        socket.set_reuse_address(true)?;
        if let Some(device) = &options.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(mark) = options.mark {
            socket.set_mark(mark)?;
        }
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        tune(SockRef::from(&socket), local.is_ipv4(), options)?;
        free_bind(&socket, local.ip())?;
        socket.bind(&local.into())?;
        socket.listen(64)?;
        Ok(Self { listener: socket.into() })
    }

    /// Demand RFC 2385 digests of this peer with this key; `None` ends that. It concerns connections to
    /// come.
    pub fn set_md5(&self, peer: IpAddr, key: Option<&Md5Key>) -> io::Result<()> {
        set_md5(self.listener.as_fd(), peer, key.map_or(&[], |key| &key.0))
    }

    /// The next connection, without waiting; `None` when there is none.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        loop {
            let (stream, remote) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                // It was gone before we took it.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            let local = stream.local_addr()?;
            return Ok(Some(Accepted { stream, remote, local }));
        }
    }

    /// The address it listens on.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.listener.as_raw_fd()
    }
}

/// Give an accepted connection its session's TTL, timeouts and class (device, source, MSS and MD5 key are
/// settled by then).
pub fn tune_accepted(stream: &TcpStream, options: &TcpOptions) -> io::Result<()> {
    let v4 = stream.local_addr()?.is_ipv4();
    tune(SockRef::from(stream), v4, options)
}

/// The interface a connection came by: the index of the device it is bound to, or 0.
pub fn bound_device(stream: &TcpStream) -> io::Result<u32> {
    let index = option::get_int(stream.as_fd(), libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)?;
    Ok(u32::try_from(index).unwrap_or(0))
}

/// What the kernel measured of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The smoothed round-trip time (RFC 6298 section 2); zero while nothing of ours was acknowledged.
    pub rtt: Duration,
    /// The largest segment sent now, in octets of TCP payload: the peer's MSS, the path's MTU and the options of every
    /// segment (time stamps, signature) taken off.
    pub mss: u16,
}

/// Ask the kernel what it measured (`TCP_INFO`, `TCP_MAXSEG`). `InvalidData` from a kernel that tells no round-trip time.
pub fn measured(stream: &impl AsFd) -> io::Result<Measured> {
    /// `tcpi_rtt` is in microseconds.
    const RTT: std::ops::Range<usize> = {
        let at = std::mem::offset_of!(libc::tcp_info, tcpi_rtt);
        at..at + size_of::<u32>()
    };
    let mut info = [0; size_of::<libc::tcp_info>()];
    let written = option::get_bytes(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    let rtt = info.get(..written).and_then(|info| info.get(RTT)).and_then(|rtt| rtt.try_into().ok());
    let rtt = u32::from_ne_bytes(rtt.ok_or(io::ErrorKind::InvalidData)?);
    let mss = option::get_int(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG)?;
    Ok(Measured { rtt: Duration::from_micros(rtt.into()), mss: u16::try_from(mss).unwrap_or(u16::MAX) })
}

fn open(like: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(like), kind, Some(Protocol::TCP))
}

/// Options that hold for connecting, listening and accepted sockets alike.
fn tune(socket: SockRef<'_>, v4: bool, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let (level, tos, ttl, min_ttl) = if v4 {
        (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_TTL, libc::IP_MINTTL)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_UNICAST_HOPS, IPV6_MINHOPCOUNT)
    };
    let fd = socket.as_fd();
    option::set_int(fd, level, tos, TOS_CONTROL.into())?;
    if let Some(value) = options.ttl {
        option::set_int(fd, level, ttl, value.get().into())?;
    }
    if let Some(value) = options.min_ttl {
        option::set_int(fd, level, min_ttl, value.get().into())?;
    }
    if let Some(mss) = options.mss {
        option::set_int(fd, libc::IPPROTO_TCP, libc::TCP_MAXSEG, mss.into())?;
    }
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    if let Some((idle, interval)) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval))?;
    }
    Ok(())
}

/// Bind to an address whether it exists yet or not.
fn free_bind(socket: &Socket, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => option::set_int(socket.as_fd(), libc::IPPROTO_IP, libc::IP_FREEBIND, 1),
        IpAddr::V6(_) => option::set_int(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_FREEBIND, 1),
    }
}

/// `TCP_MD5SIG`: the key for one peer; an empty key forgets it, also where there was none.
fn set_md5(fd: BorrowedFd<'_>, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    let mut request = [0_u8; MD5_LEN];
    // The kernel wants port 0.
    let name = Name::new(SocketAddr::new(peer, 0));
    request[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
    request[130..132].copy_from_slice(&(key.len() as u16).to_ne_bytes());
    request[136..136 + key.len()].copy_from_slice(key);
    let outcome = option::set_bytes(fd, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &request);
    request.zeroize();
    match outcome {
        Err(error) if key.is_empty() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// `linux/in6.h`; libc does not name it for every target.
const IPV6_MINHOPCOUNT: i32 = 73;
