//! The socket's error queue: what ICMP said about packets we sent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use crate::sys::address::{array, decode};
use crate::sys::cmsg::Item;
use crate::sys::message::RecvBlock;

/// Octets kept of the packet an error speaks of: enough for a UDP marker and an SPI.
const KEPT: usize = 64;
const ORIGIN_LOCAL: u8 = 1;
const EXTENDED_ERR: usize = 16;

/// One report about a packet this socket sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// Where that packet was going.
    pub dest: SocketAddr,
    /// What happened.
    pub kind: PathErrorKind,
    /// Who says so: a router's or the peer's address. `None` when this host itself does.
    pub reporter: Option<IpAddr>,
    /// The head of that packet's payload, at most 64 octets; may be empty.
    pub payload: Vec<u8>,
}

/// What became of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathErrorKind {
    /// Too big for the path. ICMP can be forged: what the path takes is better asked of the kernel, as
    /// [`UdpSocket::path_mtu`](crate::udp::UdpSocket::path_mtu) does.
    TooBig {
        /// The path MTU as the error has it, octets, IP header included; unchecked, and 0 from routers that do not say.
        mtu: u32,
    },
    /// The peer has nobody on that port or protocol.
    Refused,
    /// No way to the peer: host or network unreachable, or forbidden; the OS error number.
    Unreachable(i32),
}

/// The next report, or `None` when the queue is empty.
pub(crate) fn next(fd: BorrowedFd<'_>) -> io::Result<Option<PathError>> {
    let mut block = RecvBlock::new(1, KEPT);
    loop {
        match block.receive_error(fd) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if let Some(found) = interpret(&block) {
            return Ok(Some(found));
        }
    }
}

fn interpret(block: &RecvBlock) -> Option<PathError> {
    let arrived = block.arrived(0);
    let dest = block.name(0).decode()?;
    let item = block.control(0).iter(arrived.control_len).find(|item| {
        matches!(
            (item.level, item.kind),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        )
    })?;
    let (kind, reporter) = extended(&item)?;
    let payload = block.first_slot().get(..arrived.len)?.to_vec();
    Some(PathError { dest, kind, reporter, payload })
}

/// `struct sock_extended_err` and the offender's address behind it.
fn extended(item: &Item<'_>) -> Option<(PathErrorKind, Option<IpAddr>)> {
    let errno = u32::from_ne_bytes(array(item.data, 0)?) as i32;
    let origin = *item.data.get(4)?;
    let info = u32::from_ne_bytes(array(item.data, 8)?);
    let kind = match errno {
        libc::EMSGSIZE => PathErrorKind::TooBig { mtu: info },
        libc::ECONNREFUSED | libc::ENOPROTOOPT => PathErrorKind::Refused,
        _ => PathErrorKind::Unreachable(errno),
    };
    let offender = item.data.get(EXTENDED_ERR..).and_then(decode).map(|a| a.ip());
    Some((kind, offender.filter(|_| origin != ORIGIN_LOCAL)))
}
