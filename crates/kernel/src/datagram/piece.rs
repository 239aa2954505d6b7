//! Cutting runs into what one entry of a `sendmmsg` carries.

use std::net::{IpAddr, SocketAddr};

use super::Run;
use crate::sys::address::Name;
use crate::sys::cmsg::Control;
use crate::sys::message::Outgoing;

/// Segments of one GSO send: kernels before 6.9 stop at 64, and so do we.
const SEGMENTS: usize = 64;
/// Payload of one UDP datagram over IPv4 (65535 - 20 - 8); a GSO send obeys it as a whole.
const PAYLOAD: usize = 65_507;

/// Where in the runs the next piece begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) run: usize,
    pub(super) offset: usize,
}

/// What one entry of a `sendmmsg` carries.
pub(super) struct Piece<'a> {
    pub(super) message: Outgoing<'a>,
    pub(super) datagrams: u64,
    pub(super) segmented: bool,
    pub(super) next: Cursor,
}

/// Cuts runs into pieces from a cursor on.
#[derive(Clone)]
pub(super) struct Pieces<'a> {
    pub(super) runs: &'a [Run<'a>],
    pub(super) at: Cursor,
    pub(super) gso: bool,
    /// Raw sockets take a port for a protocol number: it must be 0.
    pub(super) raw: bool,
    pub(super) singly_until: Option<usize>,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let run = self.runs.get(self.at.run)?;
        let gso = self.gso && self.singly_until.is_none_or(|bad| bad != self.at.run);
        let stride = stride(run);
        let most = if gso { stride * (PAYLOAD / stride).clamp(1, SEGMENTS) } else { stride };
        let rest = &run.bytes[self.at.offset..];
        let bytes = &rest[..rest.len().min(most)];
        let segmented = bytes.len() > stride;
        self.at = if bytes.len() == rest.len() {
            Cursor { run: self.at.run + 1, offset: 0 }
        } else {
            Cursor { run: self.at.run, offset: self.at.offset + bytes.len() }
        };
        let message = Outgoing {
            name: Name::new(if self.raw { without_port(run.dest) } else { run.dest }),
            control: control(run, segmented.then_some(stride as u16)),
            bytes,
        };
        let datagrams = bytes.len().div_ceil(stride).max(1) as u64;
        Some(Piece { message, datagrams, segmented, next: self.at })
    }
}

fn without_port(mut dest: SocketAddr) -> SocketAddr {
    dest.set_port(0);
    dest
}

/// Octets from one datagram of the run to the next; never 0.
pub(super) fn stride(run: &Run<'_>) -> usize {
    match run.segment {
        Some(size) if size > 0 => usize::from(size),
        _ => run.bytes.len().max(1),
    }
}

/// Packet info, traffic class and segment size, each only where it says something.
fn control(run: &Run<'_>, segment: Option<u16>) -> Control {
    let mut control = Control::EMPTY;
    if let Some(source) = run.source {
        match source.address {
            IpAddr::V4(address) => {
                let mut info = [0; 12];
                info[..4].copy_from_slice(&source.ifindex.to_ne_bytes());
                info[4..8].copy_from_slice(&address.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(address) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&address.octets());
                info[16..].copy_from_slice(&source.ifindex.to_ne_bytes());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
    }
    if run.tos != 0 {
        let value = i32::from(run.tos).to_ne_bytes();
        match run.dest {
            SocketAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &value),
            SocketAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &value),
        }
    }
    if let Some(size) = segment {
        control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }
    control
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: usize, segment: Option<u16>, gso: bool) -> Vec<(usize, u64, bool)> {
        let payload = vec![0; bytes];
        let run = Run { segment, ..Run::single("192.0.2.1:4500".parse().unwrap(), &payload) };
        let at = Cursor { run: 0, offset: 0 };
        Pieces { runs: &[run], at, gso, raw: false, singly_until: None }
            .map(|p| (p.message.bytes.len(), p.datagrams, p.segmented))
            .collect()
    }

    #[test]
    fn a_run_is_cut_between_segments_where_one_send_ends() {
        assert_eq!(cut(1400, None, true), [(1400, 1, false)]);
        assert_eq!(cut(2900, Some(1400), true), [(2900, 3, true)]);
        assert_eq!(cut(2900, Some(1400), false), [(1400, 1, false), (1400, 1, false), (100, 1, false)]);
        assert_eq!(cut(1400 * 50, Some(1400), true), [(1400 * 46, 46, true), (1400 * 4, 4, true)]);
        assert_eq!(cut(100 * 65, Some(100), true), [(6400, 64, true), (100, 1, false)]);
        assert_eq!(cut(0, None, true), [(0, 1, false)]);
        assert_eq!(cut(5, Some(0), true), [(5, 1, false)]);
    }

    #[test]
    fn only_the_bad_run_is_sent_singly() {
        let payload = [0; 300];
        let run = Run { segment: Some(100), ..Run::single("192.0.2.1:4500".parse().unwrap(), &payload) };
        let at = Cursor { run: 0, offset: 0 };
        let pieces = Pieces { runs: &[run, run], at, gso: true, raw: false, singly_until: Some(0) };
        assert_eq!(pieces.map(|p| p.datagrams).collect::<Vec<_>>(), [1, 1, 1, 3]);
    }
}
