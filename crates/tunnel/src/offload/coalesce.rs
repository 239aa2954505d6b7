//! Joining packets of one flow into super-packets, by reference: payloads stay where they were received,
//! only the first packet's headers are copied and rebuilt.
//!
//! What is joined can be cut again into the same packets: the same fields that the kernel's GRO compares
//! must be equal, and checksums are verified first, since the kernel trusts a super-packet. Everything else
//! passes through as it is, and first ends the flow it belongs to, so order within a flow holds.

use crate::TunnelId;
use crate::inner::{Fragment, Inner, TCP, UDP};
use crate::octets::{get8, get16, get32, put8, put16};
use crate::offload::checksum;
use crate::offload::split::{transport_sum, write_ipv4_checksum};
use crate::offload::virtio::{self, Gso, Header};

/// Flows under way at once; one more ends the oldest.
const FLOWS: usize = 32;

/// Packets of one super-packet. (One vector to write takes 1024 pieces; older kernels cut UDP into no more
/// than 64.)
pub const MAX_PIECES: usize = 64;

/// Octets of one super-packet: the IPv4 total length field.
const MAX_TOTAL: usize = 65_535;

/// Virtio header, IPv6 header, TCP header with all options.
const HEADER_ROOM: usize = virtio::LEN + 40 + 60;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// No next piece.
const END: u32 = u32::MAX;

/// Where a packet, or its payload, lies: in which message, from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The message's number in its batch.
    pub message: u32,
    /// First octet.
    pub start: u32,
    /// Octet after the last.
    pub end: u32,
}

/// What to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joining {
    /// TCP segments.
    pub tcp: bool,
    /// UDP datagrams (Linux 6.2 and later take them on a TUN).
    pub udp: bool,
}

/// One write to a TUN device: `header`, then the pieces in their order.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose device.
    pub tunnel: TunnelId,
    header: [u8; HEADER_ROOM],
    header_len: usize,
    first: u32,
}

impl Write {
    /// Virtio header and, for a super-packet, rebuilt IP and transport header.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_len).unwrap_or_default()
    }
}

#[derive(Clone, Copy)]
struct Piece {
    place: Place,
    next: u32,
}

/// A flow under way.
struct Flow {
    tunnel: TunnelId,
    kind: Kind,
    ipv6: bool,
    /// Octets of IP header; of IP and transport header.
    transport: usize,
    headers: usize,
    /// Virtio room and the first packet's headers.
    header: [u8; HEADER_ROOM],
    /// The first packet as a whole, for when it stays alone.
    whole: Place,
    size: usize,
    payload: usize,
    count: usize,
    push: bool,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

/// A packet that may be joined.
struct Candidate {
    kind: Kind,
    headers: usize,
    payload: usize,
}

/// Joins the packets of one batch. Feed [`push`](Self::push), then [`finish`](Self::finish), then read
/// [`writes`](Self::writes) and [`pieces`](Self::pieces), then [`clear`](Self::clear).
pub struct Coalescer {
    joining: Joining,
    flows: Vec<Flow>,
    pieces: Vec<Piece>,
    writes: Vec<Write>,
}

impl Coalescer {
    /// One that joins what `joining` says.
    #[must_use]
    pub fn new(joining: Joining) -> Self {
        Self {
            joining,
            flows: Vec::with_capacity(FLOWS),
            pieces: Vec::with_capacity(1024),
            writes: Vec::with_capacity(1024),
        }
    }

    /// Changes what is joined, as when the kernel refused a super-packet.
    pub fn set_joining(&mut self, joining: Joining) {
        self.joining = joining;
    }

    /// Adds a packet, which lies at `place`, to be written to the device of `tunnel`.
    pub fn push(&mut self, tunnel: TunnelId, packet: &[u8], inner: &Inner, place: Place) {
        match self.candidate(packet, inner) {
            None => {
                self.end_related(tunnel, packet, inner);
                self.write_alone(tunnel, place);
            }
            Some(candidate) => self.join(tunnel, packet, inner, &candidate, place),
        }
    }

    /// Ends all flows.
    pub fn finish(&mut self) {
        while !self.flows.is_empty() {
            self.end(0);
        }
    }

    /// What to write, in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The pieces of a write, in order.
    pub fn pieces(&self, write: &Write) -> impl Iterator<Item = Place> + '_ {
        let mut next = write.first;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            next = piece.next;
            Some(piece.place)
        })
    }

    /// Forgets the batch.
    pub fn clear(&mut self) {
        self.flows.clear();
        self.pieces.clear();
        self.writes.clear();
    }

    /// Whether a packet may be joined at all.
    fn candidate(&self, packet: &[u8], inner: &Inner) -> Option<Candidate> {
        // IPv4 options and IPv6 extension headers are left alone, and so is the reserved fragment bit.
        let plain = !inner.extended
            && inner.fragment == Fragment::Whole
            && (inner.is_ipv6() || (inner.transport == 20 && get8(packet, 6)? & 0x80 == 0));
        if !plain {
            return None;
        }
        let candidate = match inner.protocol {
            TCP if self.joining.tcp => tcp_candidate(packet, inner)?,
            UDP if self.joining.udp => udp_candidate(packet, inner)?,
            _ => return None,
        };
        let sound = transport_sum(packet, inner.is_ipv6(), inner.transport, inner.protocol) == 0xffff
            && (inner.is_ipv6() || checksum::sum(packet.get(..20)?) == 0xffff);
        (candidate.payload > 0 && sound).then_some(candidate)
    }

    fn join(
        &mut self,
        tunnel: TunnelId,
        packet: &[u8],
        inner: &Inner,
        candidate: &Candidate,
        place: Place,
    ) {
        let found = self
            .flows
            .iter()
            .position(|flow| flow.tunnel == tunnel && flow.is_of(packet, inner, candidate.kind));
        let follows = found
            .filter(|index| self.flows.get(*index).is_some_and(|flow| flow.follows(packet, candidate)));
        match (found, follows) {
            (_, Some(index)) => {
                if self.append(index, packet, candidate, place) {
                    self.end(index);
                }
            }
            (Some(index), None) => {
                self.end(index);
                self.open(tunnel, packet, inner, candidate, place);
            }
            (None, None) => self.open(tunnel, packet, inner, candidate, place),
        }
    }

    /// Starts a flow with its first packet.
    fn open(
        &mut self,
        tunnel: TunnelId,
        packet: &[u8],
        inner: &Inner,
        candidate: &Candidate,
        place: Place,
    ) {
        let push = candidate.kind == Kind::Tcp && tcp_flags(packet, inner.transport) & PSH != 0;
        let mut header = [0; HEADER_ROOM];
        let room = header.get_mut(virtio::LEN..virtio::LEN + candidate.headers);
        let (Some(room), Some(from), false) = (room, packet.get(..candidate.headers), push) else {
            // Nothing may follow a pushed segment.
            self.write_alone(tunnel, place);
            return;
        };
        room.copy_from_slice(from);
        if self.flows.len() == FLOWS {
            self.end(0);
        }
        let first = self.add_piece(payload_place(place, candidate.headers));
        self.flows.push(Flow {
            tunnel,
            kind: candidate.kind,
            ipv6: inner.is_ipv6(),
            transport: inner.transport,
            headers: candidate.headers,
            header,
            whole: place,
            size: candidate.payload,
            payload: candidate.payload,
            count: 1,
            push: false,
            first,
            last: first,
        });
    }

    /// Adds a following packet to a flow; answers whether nothing may follow it.
    fn append(&mut self, index: usize, packet: &[u8], candidate: &Candidate, place: Place) -> bool {
        let piece = self.add_piece(payload_place(place, candidate.headers));
        let Some(flow) = self.flows.get_mut(index) else { return false };
        if let Some(last) = self.pieces.get_mut(flow.last as usize) {
            last.next = piece;
        }
        flow.last = piece;
        flow.count += 1;
        flow.payload += candidate.payload;
        flow.push = candidate.kind == Kind::Tcp && tcp_flags(packet, flow.transport) & PSH != 0;
        flow.push || candidate.payload < flow.size || flow.count == MAX_PIECES
    }

    /// Ends the flows a packet that is not joined belongs to; a fragment without ports might belong to any
    /// between its addresses.
    fn end_related(&mut self, tunnel: TunnelId, packet: &[u8], inner: &Inner) {
        let mut index = 0;
        while let Some(flow) = self.flows.get(index) {
            if flow.tunnel == tunnel && flow.is_related(packet, inner) {
                self.end(index);
            } else {
                index += 1;
            }
        }
    }

    /// Ends one flow: what it gathered becomes a write.
    fn end(&mut self, index: usize) {
        if index >= self.flows.len() {
            return;
        }
        let flow = self.flows.remove(index);
        if flow.count == 1 {
            self.write_alone(flow.tunnel, flow.whole);
            return;
        }
        self.writes.push(flow.into_write());
    }

    fn write_alone(&mut self, tunnel: TunnelId, place: Place) {
        let first = self.add_piece(place);
        // A header of zeros: the kernel verifies the packet's checksum itself.
        self.writes.push(Write { tunnel, header: [0; HEADER_ROOM], header_len: virtio::LEN, first });
    }

    fn add_piece(&mut self, place: Place) -> u32 {
        // A batch has far fewer than 2^32 packets.
        let index = self.pieces.len() as u32;
        self.pieces.push(Piece { place, next: END });
        index
    }
}

impl Flow {
    fn headers(&self) -> &[u8] {
        self.header.get(virtio::LEN..virtio::LEN + self.headers).unwrap_or_default()
    }

    /// Same addresses, protocol and ports?
    fn is_of(&self, packet: &[u8], inner: &Inner, kind: Kind) -> bool {
        self.kind == kind
            && self.ipv6 == inner.is_ipv6()
            && self.same(packet, self.addresses())
            && self.same(packet, self.transport..self.transport + 4)
    }

    fn is_related(&self, packet: &[u8], inner: &Inner) -> bool {
        let protocol = match self.kind {
            Kind::Tcp => TCP,
            Kind::Udp => UDP,
        };
        let ports = || {
            inner.source_port().is_none_or(|source| {
                let ours = get32(self.headers(), self.transport);
                let destination = inner.destination_port().unwrap_or(0);
                ours == Some(u32::from(source) << 16 | u32::from(destination))
            })
        };
        self.ipv6 == inner.is_ipv6()
            && inner.protocol == protocol
            && self.same(packet, self.addresses())
            && ports()
    }

    fn addresses(&self) -> std::ops::Range<usize> {
        if self.ipv6 { 8..40 } else { 12..20 }
    }

    fn same(&self, packet: &[u8], range: std::ops::Range<usize>) -> bool {
        self.headers().get(range.clone()) == packet.get(range)
    }

    /// Is `packet`, which is of this flow, exactly the one that cutting the joined packet would yield
    /// next?
    fn follows(&self, packet: &[u8], candidate: &Candidate) -> bool {
        candidate.headers == self.headers
            && candidate.payload <= self.size
            && self.headers + self.payload + candidate.payload <= MAX_TOTAL
            && self.same_network(packet)
            && match self.kind {
                Kind::Tcp => self.follows_tcp(packet),
                Kind::Udp => true,
            }
    }

    /// Same DSCP, ECN, TTL, flow label, don't-fragment bit, and an IPv4 identification that counts on.
    fn same_network(&self, packet: &[u8]) -> bool {
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
    fn follows_tcp(&self, packet: &[u8]) -> bool {
        let at = self.transport;
        let next = get32(self.headers(), at + 4).map(|first| first.wrapping_add(self.payload as u32));
        get32(packet, at + 4) == next
            && self.same(packet, at + 8..at + 13)
            && self.same(packet, at + 14..at + 16)
            && self.same(packet, at + 18..self.headers)
    }

    fn into_write(mut self) -> Write {
        let total = self.headers + self.payload;
        let (ipv6, transport, kind) = (self.ipv6, self.transport, self.kind);
        let field = match kind {
            Kind::Tcp => 16,
            Kind::Udp => 6,
        };
        if let Some(headers) = self.header.get_mut(virtio::LEN..virtio::LEN + self.headers) {
            if ipv6 {
                put16(headers, 4, (total - 40) as u16);
            } else {
                put16(headers, 2, total as u16);
                write_ipv4_checksum(headers, transport);
            }
            match kind {
                Kind::Udp => put16(headers, transport + 4, (total - transport) as u16),
                Kind::Tcp if self.push => {
                    let flags = tcp_flags(headers, transport);
                    put8(headers, transport + 13, flags | PSH);
                }
                Kind::Tcp => {}
            }
            let protocol = if kind == Kind::Tcp { TCP } else { UDP };
            let addresses = headers.get(if ipv6 { 8..40 } else { 12..20 }).unwrap_or_default();
            let pseudo = checksum::pseudo(addresses, protocol, total - transport);
            put16(headers, transport + field, pseudo);
        }
        let header = Header {
            needs_checksum: true,
            gso: match (kind, ipv6) {
                (Kind::Tcp, false) => Gso::Tcp4,
                (Kind::Tcp, true) => Gso::Tcp6,
                (Kind::Udp, _) => Gso::Udp,
            },
            header_len: self.headers as u16,
            gso_size: self.size as u16,
            checksum_start: transport as u16,
            checksum_offset: field as u16,
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
}

/// TCP: exactly ACK or ACK and PSH.
fn tcp_candidate(packet: &[u8], inner: &Inner) -> Option<Candidate> {
    let length = usize::from(get8(packet, inner.transport + 12)? >> 4) * 4;
    if length < 20 || tcp_flags(packet, inner.transport) & !PSH != ACK {
        return None;
    }
    let headers = inner.transport + length;
    Some(Candidate { kind: Kind::Tcp, headers, payload: inner.total.checked_sub(headers)? })
}

/// UDP: with a checksum, and of the length the packet has.
fn udp_candidate(packet: &[u8], inner: &Inner) -> Option<Candidate> {
    let length = usize::from(get16(packet, inner.transport + 4)?);
    if get16(packet, inner.transport + 6)? == 0 || length != inner.total - inner.transport {
        return None;
    }
    let headers = inner.transport + 8;
    Some(Candidate { kind: Kind::Udp, headers, payload: inner.total.checked_sub(headers)? })
}

fn tcp_flags(packet: &[u8], transport: usize) -> u8 {
    get8(packet, transport + 13).unwrap_or(0)
}

fn payload_place(place: Place, headers: usize) -> Place {
    Place { start: place.start + headers as u32, ..place }
}
