//! Cutting a super-packet into the packets it stands for, each written once, straight to where it is
//! needed.

use crate::inner::{DESTINATION_OPTIONS, Fragment, HOP_BY_HOP, Inner, TCP, UDP};
use crate::octets::{get8, get16, get32, put16, put32};
use crate::offload::checksum;
use crate::offload::virtio::{Gso, Header};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

/// Options of IPv6: the one octet that has no length (RFC 8200 section 4.2), and the Home Address (RFC 6275 section 6.3).
const PAD1: u8 = 0;
const HOME_ADDRESS: u8 = 201;

/// Why a super-packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("super-packet that cannot be cut")]
pub struct Unsplittable;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    Udp,
}

/// How a super-packet will be cut. All lengths were checked when the plan was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    kind: Kind,
    ipv6: bool,
    transport: usize,
    headers: usize,
    payload: usize,
    size: usize,
    /// The sums of what is the same in every packet's headers: of the IPv4 header, and of the pseudo-header with the
    /// transport header.
    network_sum: u16,
    transport_sum: u16,
}

impl Plan {
    /// The plan for a super-packet of kind [`Gso::Tcp4`], [`Gso::Tcp6`] or [`Gso::Udp`].
    ///
    /// # Errors
    /// Another kind, a kind that contradicts the packet, a fragment, IPv6 extension headers that may give the
    /// pseudo-header other addresses than the IPv6 header's, a SYN, a segment size of 0.
    pub fn new(packet: &[u8], inner: &Inner, header: &Header) -> Result<Self, Unsplittable> {
        let kind = match (header.gso, inner.is_ipv6(), inner.protocol) {
            (Gso::Tcp4, false, TCP) | (Gso::Tcp6, true, TCP) => Kind::Tcp,
            (Gso::Udp, _, UDP) => Kind::Udp,
            _ => return Err(Unsplittable),
        };
        if inner.fragment != Fragment::Whole || header.gso_size == 0 || !keeps_addresses(packet, inner) {
            return Err(Unsplittable);
        }
        let transport_len = match kind {
            Kind::Tcp => tcp_header_len(packet, inner)?,
            Kind::Udp => 8,
        };
        let headers = inner.transport + transport_len;
        let payload = inner.total.checked_sub(headers).ok_or(Unsplittable)?;
        let size = usize::from(header.gso_size);
        let (network_sum, transport_sum) = unchanging(packet, kind, inner, headers)?;
        let (ipv6, transport) = (inner.is_ipv6(), inner.transport);
        Ok(Self { kind, ipv6, transport, headers, payload, size, network_sum, transport_sum })
    }

    /// How many packets there will be: one at least.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.div_ceil(self.size).max(1)
    }

    /// Octets of the longest packet.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.headers + self.size.min(self.payload)
    }

    /// Octets of packet `index`.
    #[must_use]
    pub fn len(&self, index: usize) -> usize {
        self.headers + self.payload.saturating_sub(index * self.size).min(self.size)
    }

    /// Makes the packets no longer than `mtu`, which TCP allows, being a stream; `false` for datagrams,
    /// and where not even one octet would fit.
    pub fn shrink(&mut self, mtu: usize) -> bool {
        if self.longest() <= mtu {
            return true;
        }
        if self.kind == Kind::Udp || mtu <= self.headers {
            return false;
        }
        self.size = mtu - self.headers;
        true
    }

    /// Writes packet `index` into `out`, which is [`len`](Self::len) octets long, with all lengths,
    /// sequence numbers, flags and checksums as if it had been sent alone.
    pub fn write(&self, packet: &[u8], index: usize, out: &mut [u8]) {
        let start = self.headers + index * self.size;
        let (Some(headers), Some(payload)) =
            (packet.get(..self.headers), packet.get(start..start + out.len().saturating_sub(self.headers)))
        else {
            return;
        };
        let Some((to_headers, to_payload)) = out.split_at_mut_checked(self.headers) else { return };
        to_headers.copy_from_slice(headers);
        let payload = checksum::copy(payload, to_payload);
        let total = self.headers + to_payload.len();
        self.fix_network(headers, to_headers, total, index);
        self.fix_transport(headers, to_headers, total - self.transport, index, payload);
    }

    /// Fields are read where they come from: what was just written would have to be waited for.
    fn fix_network(&self, from: &[u8], to: &mut [u8], total: usize, index: usize) {
        if self.ipv6 {
            put16(to, 4, (total - 40) as u16);
            return;
        }
        let id = get16(from, 4).unwrap_or(0).wrapping_add(index as u16);
        put16(to, 2, total as u16);
        put16(to, 4, id);
        put16(to, 10, !checksum::add(&[self.network_sum, total as u16, id]));
    }

    /// `payload` is its sum: headers have an even length, so it counts as it stands.
    fn fix_transport(&self, from: &[u8], to: &mut [u8], length: usize, index: usize, payload: u16) {
        // At most what the IP header's field holds.
        let length = length as u16;
        let (field, changed) = match self.kind {
            Kind::Tcp => (self.transport + 16, self.fix_tcp(from, to, index)),
            Kind::Udp => {
                put16(to, self.transport + 4, length);
                (self.transport + 6, length)
            }
        };
        let sum = checksum::add(&[self.transport_sum, length, changed, payload]);
        // RFC 768: a computed zero is sent as all ones.
        let value = if !sum == 0 && self.kind == Kind::Udp { 0xffff } else { !sum };
        put16(to, field, value);
    }

    /// Gives the sum of what it writes.
    fn fix_tcp(&self, from: &[u8], to: &mut [u8], index: usize) -> u16 {
        let offset = index * self.size;
        let sequence = get32(from, self.transport + 4).unwrap_or(0).wrapping_add(offset as u32);
        put32(to, self.transport + 4, sequence);
        let mut flags = get16(from, self.transport + 12).unwrap_or(0);
        if index + 1 < self.count() {
            flags &= !u16::from(FIN | PSH);
        }
        // RFC 3168 section 6.1.2: CWR is sent once, on the first new data packet.
        if index > 0 {
            flags &= !u16::from(CWR);
        }
        let mut urgent = get16(from, self.transport + 18).unwrap_or(0);
        if flags & u16::from(URG) != 0 {
            // RFC 9293 section 3.1: the urgent pointer counts from this segment's sequence number.
            urgent = usize::from(urgent).saturating_sub(offset) as u16;
            if urgent == 0 && index > 0 {
                flags &= !u16::from(URG);
            }
            put16(to, self.transport + 18, urgent);
        }
        put16(to, self.transport + 12, flags);
        checksum::add(&[(sequence >> 16) as u16, sequence as u16, flags, urgent])
    }
}

/// Do its IPv6 extension headers, if it has any, leave the pseudo-header (RFC 8200 section 8.1) the addresses of the
/// IPv6 header? Options do (RFC 8200 sections 4.3 and 4.6), but the one that names another source; a routing header
/// may name another destination.
fn keeps_addresses(packet: &[u8], inner: &Inner) -> bool {
    let (mut next, mut at) = (6, 40);
    while inner.extended && at < inner.transport {
        let (Some(kind), Some(length)) = (get8(packet, next), get8(packet, at + 1)) else { return false };
        let end = at + (usize::from(length) + 1) * 8;
        let keeps = match kind {
            HOP_BY_HOP => true,
            DESTINATION_OPTIONS => packet.get(at + 2..end).is_some_and(keeps_source),
            _ => false,
        };
        if !keeps {
            return false;
        }
        (next, at) = (at, end);
    }
    true
}

/// Is there no Home Address among these options? RFC 6275 section 11.3.1: "the upper-layer checksum is computed as if
/// the Source Address field held the home address". What is no list of options (RFC 8200 section 4.2) may hide one.
fn keeps_source(options: &[u8]) -> bool {
    let mut rest = options;
    while let Some((&kind, more)) = rest.split_first() {
        if kind == PAD1 {
            rest = more;
            continue;
        }
        let Some((&length, data)) = more.split_first() else { return false };
        let (false, Some(behind)) = (kind == HOME_ADDRESS, data.get(usize::from(length)..)) else {
            return false;
        };
        rest = behind;
    }
    true
}

/// The sums of what every packet's headers have alike, without what [`Plan::write`] writes into them.
fn unchanging(packet: &[u8], kind: Kind, inner: &Inner, headers: usize) -> Result<(u16, u16), Unsplittable> {
    let headers = packet.get(..headers).ok_or(Unsplittable)?;
    let (network, transport) = headers.split_at_checked(inner.transport).ok_or(Unsplittable)?;
    let (fields, protocol): (&[usize], _) = match kind {
        Kind::Tcp => (&[4, 6, 12, 16, 18], TCP),
        Kind::Udp => (&[4, 6], UDP),
    };
    let addresses = addresses(network, inner.is_ipv6()).ok_or(Unsplittable)?;
    let pseudo = checksum::pseudo(addresses, protocol, 0);
    let network_sum = if inner.is_ipv6() { 0 } else { sum_without(network, &[2, 4, 10])? };
    Ok((network_sum, checksum::add(&[pseudo, sum_without(transport, fields)?])))
}

/// The sum of a header as if these fields were zero.
fn sum_without(header: &[u8], fields: &[usize]) -> Result<u16, Unsplittable> {
    let mut room = [0; HEADER_ROOM];
    let copy = room.get_mut(..header.len()).ok_or(Unsplittable)?;
    copy.copy_from_slice(header);
    fields.iter().for_each(|field| put16(copy, *field, 0));
    Ok(checksum::sum(copy))
}

/// Octets of an IPv4 header, and of a TCP header, with all options.
const HEADER_ROOM: usize = 60;

/// Does the checksum a header asks for lie within the packet's transport part?
pub(crate) fn checksum_fits(inner: &Inner, header: &Header) -> bool {
    let start = usize::from(header.checksum_start);
    start >= inner.transport && start + usize::from(header.checksum_offset) + 2 <= inner.total
}

/// Completes the checksum of a single packet whose field holds the pseudo-header's sum; the place was
/// checked with [`checksum_fits`].
pub(crate) fn finish_checksum(packet: &mut [u8], inner: &Inner, header: &Header) {
    let start = usize::from(header.checksum_start);
    let Some(sum) = packet.get(start..).map(checksum::sum) else { return };
    // RFC 768: a computed zero is sent as all ones.
    let value = if !sum == 0 && inner.protocol == UDP { 0xffff } else { !sum };
    put16(packet, start + usize::from(header.checksum_offset), value);
}

/// Writes the header checksum of an IPv4 packet with a header of `length` octets.
pub(crate) fn write_ipv4_checksum(packet: &mut [u8], length: usize) {
    put16(packet, 10, 0);
    if let Some(sum) = packet.get(..length).map(checksum::sum) {
        put16(packet, 10, !sum);
    }
}

/// The sum of pseudo-header and transport of a packet without extension headers: 0xffff when its checksum
/// field is right.
pub(crate) fn transport_sum(packet: &[u8], ipv6: bool, transport: usize, protocol: u8) -> u16 {
    let (Some(addresses), Some(segment)) = (addresses(packet, ipv6), packet.get(transport..)) else {
        return 0;
    };
    checksum::add(&[checksum::pseudo(addresses, protocol, segment.len()), checksum::sum(segment)])
}

/// Both addresses, as they stand in the header.
fn addresses(packet: &[u8], ipv6: bool) -> Option<&[u8]> {
    if ipv6 { packet.get(8..40) } else { packet.get(12..20) }
}

/// From the data offset, not from the virtio header: that may name the whole first packet.
fn tcp_header_len(packet: &[u8], inner: &Inner) -> Result<usize, Unsplittable> {
    let length = usize::from(get8(packet, inner.transport + 12).ok_or(Unsplittable)? >> 4) * 4;
    let flags = get8(packet, inner.transport + 13).ok_or(Unsplittable)?;
    if length < 20 || flags & SYN != 0 { Err(Unsplittable) } else { Ok(length) }
}
