//! What UDP and raw sockets share: runs of equal datagrams to send, a ring to receive into, and the
//! error queue.

mod outcome;
mod piece;
mod receive;
mod report;
mod segmentation;
mod send;

use std::net::{IpAddr, SocketAddr};

pub use outcome::{RunFailure, SendFailure, SendReport};
pub use receive::{Message, RecvRing, SLOT};
pub use report::{PathError, PathErrorKind};
pub use segmentation::Segmentation;
pub use send::SendArena;

/// Messages one receive gives, and one send takes, at most.
pub const MESSAGES: usize = crate::sys::message::BATCH;

pub(crate) use receive::Head;
pub(crate) use segmentation::Segmenting;
pub(crate) use send::{Sending, send_runs};

/// The local side a datagram leaves from: it decides the source address and, when `ifindex` is not 0,
/// the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// A local address of the destination's family.
    pub address: IpAddr,
    /// The interface to leave by; 0 lets the routes decide.
    pub ifindex: u32,
}

/// Datagrams of equal size to one destination, back to back: one GSO send where the socket can.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Where to. For protocol 50 the port is ignored.
    pub dest: SocketAddr,
    /// Where from; `None` lets the kernel choose by its routes.
    pub source: Option<Source>,
    /// The whole octet: DSCP and ECN.
    pub tos: u8,
    /// Octets of each datagram but the last, which may be shorter. `None`: `bytes` is one datagram.
    pub segment: Option<u16>,
    /// The datagrams' payload. A run too long for one send is cut between segments.
    pub bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// One datagram, source chosen by the kernel, without DSCP.
    #[must_use]
    pub fn single(dest: SocketAddr, bytes: &'a [u8]) -> Self {
        Self { dest, source: None, tos: 0, segment: None, bytes }
    }
}

/// The next report of a socket's error queue.
pub(crate) fn next_path_error(fd: std::os::fd::BorrowedFd<'_>) -> std::io::Result<Option<PathError>> {
    report::next(fd)
}
