//! One flow under way: what may be joined at all, what follows, and what becomes of it.

use std::ops::Range;

use super::{Joining, MAX_PIECES, MAX_TOTAL, Place, Write};
use crate::TunnelId;
use crate::inner::{Fragment, Inner, TCP, UDP};
use crate::octets::{get8, get16, get32, put8, put16};
use crate::offload::checksum;
use crate::offload::split::{transport_sum, write_ipv4_checksum};
use crate::offload::virtio::{self, Gso, Header};

/// Virtio header, IPv6 header, TCP header with all options.
pub(super) const HEADER_ROOM: usize = virtio::LEN + 40 + 60;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// A transport whose packets are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    fn protocol(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }

    /// Where the checksum stands in the transport header.
    fn checksum_offset(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// A packet that may be joined.
pub(super) struct Candidate {
    kind: Kind,
    ipv6: bool,
    /// Octets of IP header; of IP and transport header; behind them.
    transport: usize,
    headers: usize,
    payload: usize,
    push: bool,
}

impl Candidate {
    /// Whether a packet may be joined: no IPv4 options, no IPv6 extension headers, no fragment, TCP with
    /// exactly ACK or ACK and PSH, UDP with a checksum, some payload, and every checksum right.
    pub(super) fn new(packet: &[u8], inner: &Inner, joining: Joining) -> Option<Self> {
        let plain = !inner.extended
            && inner.fragment == Fragment::Whole
            // The fragment field's reserved bit would be lost.
            && (inner.is_ipv6() || (inner.transport == 20 && get8(packet, 6)? & 0x80 == 0));
        if !plain {
            return None;
        }
        let (kind, length, push) = match inner.protocol {
            TCP if joining.tcp => tcp_shape(packet, inner)?,
            UDP if joining.udp => udp_shape(packet, inner)?,
            _ => return None,
        };
        let headers = inner.transport + length;
        let payload = inner.total.checked_sub(headers)?;
        let sound = payload > 0
            && transport_sum(packet, inner.is_ipv6(), inner.transport, inner.protocol) == 0xffff
            && (inner.is_ipv6() || checksum::header(packet.first_chunk::<20>()?) == 0xffff);
        if !sound {
            return None;
        }
        Some(Self { kind, ipv6: inner.is_ipv6(), transport: inner.transport, headers, payload, push })
    }

    /// Where its payload lies.
    pub(super) fn payload_place(&self, place: Place) -> Place {
        Place { start: place.start + self.headers as u32, ..place }
    }
}

/// Packets gathered to be one super-packet.
pub(super) struct Flow {
    tunnel: TunnelId,
    kind: Kind,
    ipv6: bool,
    transport: usize,
    headers: usize,
    /// Virtio room and the first packet's headers.
    header: [u8; HEADER_ROOM],
    /// The first packet as a whole, for when it stays alone.
    whole: Place,
    /// Payload octets of each packet but the last.
    size: usize,
    payload: usize,
    count: usize,
    push: bool,
    first: u32,
    last: u32,
}

impl Flow {
    /// Starts with a packet whose payload is `piece`; `None` when nothing may follow it.
    pub(super) fn open(
        tunnel: TunnelId,
        packet: &[u8],
        candidate: &Candidate,
        whole: Place,
        piece: u32,
    ) -> Option<Self> {
        let mut header = [0; HEADER_ROOM];
        header
            .get_mut(virtio::LEN..virtio::LEN + candidate.headers)?
            .copy_from_slice(packet.get(..candidate.headers)?);
        (!candidate.push).then_some(Self {
            tunnel,
            kind: candidate.kind,
            ipv6: candidate.ipv6,
            transport: candidate.transport,
            headers: candidate.headers,
            header,
            whole,
            size: candidate.payload,
            payload: candidate.payload,
            count: 1,
            push: false,
            first: piece,
            last: piece,
        })
    }

    /// Same tunnel, addresses, protocol and ports?
    pub(super) fn is_of(&self, tunnel: TunnelId, packet: &[u8], candidate: &Candidate) -> bool {
        self.tunnel == tunnel
            && self.kind == candidate.kind
            && self.ipv6 == candidate.ipv6
            && self.same(packet, self.transport..self.transport + 4)
            && self.same(packet, self.addresses())
    }

    /// Might a packet that is not joined belong to this flow? One without ports, a fragment, might belong
    /// to any between its addresses.
    pub(super) fn is_related(&self, tunnel: TunnelId, packet: &[u8], inner: &Inner) -> bool {
        let same_ports = || match (inner.source_port(), inner.destination_port()) {
            (Some(source), Some(destination)) => {
                get32(self.headers(), self.transport)
                    == Some(u32::from(source) << 16 | u32::from(destination))
            }
            (_, _) => true,
        };
        self.tunnel == tunnel
            && self.ipv6 == inner.is_ipv6()
            && self.kind.protocol() == inner.protocol
            && self.same(packet, self.addresses())
            && same_ports()
    }

    /// Is `packet`, which is of this flow, exactly the one that cutting the joined packet would yield
    /// next?
    pub(super) fn is_followed_by(&self, packet: &[u8], candidate: &Candidate) -> bool {
        candidate.headers == self.headers
            && candidate.payload <= self.size
            && self.headers + self.payload + candidate.payload <= MAX_TOTAL
            && self.has_same_network(packet)
            && match self.kind {
                Kind::Tcp => self.is_followed_by_segment(packet),
                Kind::Udp => true,
            }
    }

    /// Adds a packet that follows; gives the piece before it, and whether nothing may follow any more.
    pub(super) fn append(&mut self, candidate: &Candidate, piece: u32) -> (u32, bool) {
        let before = std::mem::replace(&mut self.last, piece);
        self.count += 1;
        self.payload += candidate.payload;
        self.push = candidate.push;
        (before, self.push || candidate.payload < self.size || self.count == MAX_PIECES)
    }

    /// The packet, when it stayed alone.
    pub(super) fn alone(&self) -> Option<(TunnelId, Place)> {
        (self.count == 1).then_some((self.tunnel, self.whole))
    }

    /// The super-packet.
    pub(super) fn into_write(mut self) -> Write {
        self.rebuild_headers();
        let header = Header {
            needs_checksum: true,
            gso: match (self.kind, self.ipv6) {
                (Kind::Tcp, false) => Gso::Tcp4,
                (Kind::Tcp, true) => Gso::Tcp6,
                (Kind::Udp, _) => Gso::Udp,
            },
            header_len: self.headers as u16,
            gso_size: self.size as u16,
            checksum_start: self.transport as u16,
            checksum_offset: self.kind.checksum_offset() as u16,
        };
        if let Some(room) = self.header.first_chunk_mut() {
            *room = header.to_bytes();
        }
        Write {
            tunnel: self.tunnel,
            header: self.header,
            header_len: virtio::LEN + self.headers,
            first: self.first,
        }
    }

    /// The first packet's headers become the super-packet's: lengths, PSH from the last, and in the
    /// checksum field the pseudo-header's sum, not inverted, as NEEDS_CSUM wants it.
    fn rebuild_headers(&mut self) {
        let total = self.headers + self.payload;
        let (transport, kind, addresses) = (self.transport, self.kind, self.addresses());
        let Some(headers) = self.header.get_mut(virtio::LEN..virtio::LEN + self.headers) else { return };
        if self.ipv6 {
            put16(headers, 4, (total - 40) as u16);
        } else {
            put16(headers, 2, total as u16);
            write_ipv4_checksum(headers, transport);
        }
        match kind {
            Kind::Udp => put16(headers, transport + 4, (total - transport) as u16),
            Kind::Tcp if self.push => {
                let flags = get8(headers, transport + 13).unwrap_or(0);
                put8(headers, transport + 13, flags | PSH);
            }
            Kind::Tcp => {}
        }
        let addresses = headers.get(addresses).unwrap_or_default();
        let pseudo = checksum::pseudo(addresses, kind.protocol(), total - transport);
        put16(headers, transport + kind.checksum_offset(), pseudo);
    }

    fn headers(&self) -> &[u8] {
        self.header.get(virtio::LEN..virtio::LEN + self.headers).unwrap_or_default()
    }

    fn addresses(&self) -> Range<usize> {
        if self.ipv6 { 8..40 } else { 12..20 }
    }

    fn same(&self, packet: &[u8], range: Range<usize>) -> bool {
        self.headers().get(range.clone()) == packet.get(range)
    }

    /// Same DSCP, ECN, TTL, flow label, don't-fragment bit, and an IPv4 identification that counts on.
    fn has_same_network(&self, packet: &[u8]) -> bool {
        if self.ipv6 {
            return self.same(packet, 0..4) && self.same(packet, 7..8);
        }
        let dont_fragment = get8(packet, 6).is_some_and(|flags| flags & 0x40 != 0);
        let counted = get16(self.headers(), 4).map(|id| id.wrapping_add(self.count as u16));
        self.same(packet, 1..2)
            && self.same(packet, 6..9)
            // With DF set the identification has no meaning (RFC 6864 section 4.1).
            && (dont_fragment || get16(packet, 4) == counted)
    }

    /// Same acknowledgement, window, urgent pointer, options and flags but PSH; the next sequence number.
    fn is_followed_by_segment(&self, packet: &[u8]) -> bool {
        let at = self.transport;
        let next = get32(self.headers(), at + 4).map(|first| first.wrapping_add(self.payload as u32));
        get32(packet, at + 4) == next
            && self.same(packet, at + 8..at + 13)
            && self.same(packet, at + 14..at + 16)
            && self.same(packet, at + 18..self.headers)
    }
}

/// TCP: exactly ACK or ACK and PSH; the header's length.
fn tcp_shape(packet: &[u8], inner: &Inner) -> Option<(Kind, usize, bool)> {
    let length = usize::from(get8(packet, inner.transport + 12)? >> 4) * 4;
    let flags = get8(packet, inner.transport + 13)?;
    (length >= 20 && flags & !PSH == ACK).then_some((Kind::Tcp, length, flags & PSH != 0))
}

/// UDP: with a checksum, and of the length the packet has.
fn udp_shape(packet: &[u8], inner: &Inner) -> Option<(Kind, usize, bool)> {
    let length = usize::from(get16(packet, inner.transport + 4)?);
    let sound = get16(packet, inner.transport + 6)? != 0 && length == inner.total - inner.transport;
    sound.then_some((Kind::Udp, 8, false))
}
