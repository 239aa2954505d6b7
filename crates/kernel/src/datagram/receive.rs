//! Receiving batches into a ring of slots that the caller decrypts in place.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;

use crate::sys::address::array;
use crate::sys::message::{BATCH, RecvBlock};

/// Slots offered while messages come coalesced: more of 64 KiB each only fall out of the cache.
const COALESCED: usize = 8;

/// Octets of a slot that takes whatever comes coalesced. Not a power of two: slots a multiple of 64 KiB apart
/// would all fall into the same few sets of a cache.
pub const SLOT: usize = 65_536 + 65 * 64;

/// Memory for one socket's incoming messages, reused from batch to batch.
pub struct RecvRing {
    block: RecvBlock,
    metas: Vec<Meta>,
    active: usize,
}

/// What one message says about itself.
#[derive(Clone, Copy)]
struct Meta {
    start: usize,
    end: usize,
    segment: usize,
    source: SocketAddr,
    destination: IpAddr,
    ifindex: u32,
    tos: u8,
}

/// One received message: one datagram, or several of equal size that the kernel joined.
#[derive(Debug)]
pub struct Message<'a> {
    /// The payload, for work in place. Split it every `segment` octets.
    pub bytes: &'a mut [u8],
    /// Octets of each datagram but the last, which may be shorter; at least 1.
    pub segment: usize,
    /// Who sent it. For protocol 50 the port is 0.
    pub source: SocketAddr,
    /// The local address it came to; unspecified when the kernel did not say.
    pub destination: IpAddr,
    /// The interface it came by; 0 when the kernel did not say.
    pub ifindex: u32,
    /// The whole octet of the outer header: DSCP and ECN.
    pub tos: u8,
}

/// What stands before the payload in what the kernel gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    None,
    /// Raw IPv4 sockets give the IP header too.
    Ipv4,
}

impl RecvRing {
    /// A ring of up to 64 slots of [`SLOT`] octets, for sockets with GRO. Memory is used only as messages come.
    #[must_use]
    pub fn coalescing() -> Self {
        Self::new(BATCH, SLOT)
    }

    /// A ring of `slots` (1-64) slots of `slot` octets; longer messages are cut and dropped.
    #[must_use]
    pub fn new(slots: usize, slot: usize) -> Self {
        let block = RecvBlock::new(slots, slot.max(1));
        let active = block.slots().min(COALESCED);
        Self { block, metas: Vec::with_capacity(BATCH), active }
    }

    /// The messages of the last batch, in order of arrival.
    pub fn messages(&mut self) -> impl ExactSizeIterator<Item = Message<'_>> {
        let metas = self.metas.iter();
        let slots = self.block.slots_mut().take(metas.len());
        slots.zip(metas).map(|(slot, meta)| {
            let (start, end) = (meta.start.min(slot.len()), meta.end.min(slot.len()));
            Message {
                bytes: &mut slot[start..end.max(start)],
                segment: meta.segment.max(1),
                source: meta.source,
                destination: meta.destination,
                ifindex: meta.ifindex,
                tos: meta.tos,
            }
        })
    }

    /// How many messages the last batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// Did the last batch bring nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Receive what waits, without waiting; 0 when nothing does. A message larger than its slot comes as
    /// an empty payload.
    pub(crate) fn fill(&mut self, fd: BorrowedFd<'_>, head: Head) -> io::Result<usize> {
        self.metas.clear();
        let count = match self.receive(fd) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut joined = false;
        for i in 0..count {
            let meta = self.meta(i, head);
            joined |= meta.end - meta.start > meta.segment;
            self.metas.push(meta);
        }
        // Without coalescing one slot is one packet, and eight of them a call are too few.
        if joined {
            self.active = self.block.slots().min(COALESCED);
        } else if count == self.active {
            self.active = (self.active * 2).min(self.block.slots());
        }
        Ok(count)
    }

    /// An ICMP answer to an earlier packet shows as an error once per report; what waits is behind it.
    fn receive(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let mut last = io::ErrorKind::WouldBlock.into();
        for _ in 0..4 {
            match self.block.receive(fd, self.active) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => last = error,
                ok => return ok,
            }
        }
        Err(last)
    }

    fn meta(&mut self, i: usize, head: Head) -> Meta {
        let arrived = self.block.arrived(i);
        let end = if arrived.truncated { 0 } else { arrived.len };
        let source = self.block.name(i).decode().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let destination = match source {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut meta = Meta { start: 0, end, segment: end, source, destination, ifindex: 0, tos: 0 };
        for item in self.block.control(i).iter(arrived.control_len) {
            meta.learn(&item);
        }
        if head == Head::Ipv4 {
            let first = self.block.slots_mut().nth(i).and_then(|slot| slot.first().copied());
            meta.start = first.map_or(end, |octet| usize::from(octet & 0x0f) * 4).min(end);
            meta.segment = end - meta.start;
        }
        meta
    }
}

impl Meta {
    fn learn(&mut self, item: &crate::sys::cmsg::Item<'_>) {
        match (item.level, item.kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let (Some(index), Some(to)) = (array(item.data, 0), array::<4>(item.data, 8)) {
                    self.ifindex = u32::from_ne_bytes(index);
                    self.destination = Ipv4Addr::from(to).into();
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let (Some(to), Some(index)) = (array::<16>(item.data, 0), array(item.data, 16)) {
                    self.ifindex = u32::from_ne_bytes(index);
                    self.destination = Ipv6Addr::from(to).into();
                }
            }
            (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                self.tos = item.octet().unwrap_or(0);
            }
            (libc::SOL_UDP, libc::UDP_GRO) => {
                if let Some(size) = item.int().and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0) {
                    self.segment = size;
                }
            }
            _ => {}
        }
    }
}
