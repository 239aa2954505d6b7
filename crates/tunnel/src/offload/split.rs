//! Cutting a super-packet into the packets it stands for, each written once, straight to where it is
//! needed.

use crate::inner::{Fragment, Inner, TCP, UDP};
use crate::octets::{get8, get16, get32, put8, put16, put32};
use crate::offload::checksum;
use crate::offload::virtio::{Gso, Header};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const URG: u8 = 0x20;
const CWR: u8 = 0x80;

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
}

impl Plan {
    /// The plan for a super-packet of kind [`Gso::Tcp4`], [`Gso::Tcp6`] or [`Gso::Udp`].
    ///
    /// # Errors
    /// Another kind, a kind that contradicts the packet, a fragment, IPv6 extension headers (the
    /// pseudo-header may then name another destination), a SYN, a segment size of 0.
    pub fn new(packet: &[u8], inner: &Inner, header: &Header) -> Result<Self, Unsplittable> {
        let kind = match (header.gso, inner.is_ipv6(), inner.protocol) {
            (Gso::Tcp4, false, TCP) | (Gso::Tcp6, true, TCP) => Kind::Tcp,
            (Gso::Udp, _, UDP) => Kind::Udp,
            _ => return Err(Unsplittable),
        };
        if inner.fragment != Fragment::Whole || inner.extended || header.gso_size == 0 {
            return Err(Unsplittable);
        }
        let transport_len = match kind {
            Kind::Tcp => tcp_header_len(packet, inner)?,
            Kind::Udp => 8,
        };
        let headers = inner.transport + transport_len;
        let payload = inner.total.checked_sub(headers).ok_or(Unsplittable)?;
        let size = usize::from(header.gso_size);
        Ok(Self { kind, ipv6: inner.is_ipv6(), transport: inner.transport, headers, payload, size })
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
        self.fix_network(out, index);
        match self.kind {
            Kind::Tcp => self.fix_tcp(out, index),
            Kind::Udp => put16(out, self.transport + 4, (out.len() - self.transport) as u16),
        }
        self.fix_checksum(out, payload);
    }

    fn fix_network(&self, out: &mut [u8], index: usize) {
        if self.ipv6 {
            put16(out, 4, (out.len() - 40) as u16);
            return;
        }
        put16(out, 2, out.len() as u16);
        let id = get16(out, 4).unwrap_or(0);
        put16(out, 4, id.wrapping_add(index as u16));
        write_ipv4_checksum(out, self.transport);
    }

    fn fix_tcp(&self, out: &mut [u8], index: usize) {
        let offset = index * self.size;
        let sequence = get32(out, self.transport + 4).unwrap_or(0);
        put32(out, self.transport + 4, sequence.wrapping_add(offset as u32));
        let mut flags = get8(out, self.transport + 13).unwrap_or(0);
        if index + 1 < self.count() {
            flags &= !(FIN | PSH);
        }
        // RFC 3168 section 6.1.2: CWR is sent once, on the first new data packet.
        if index > 0 {
            flags &= !CWR;
        }
        if flags & URG != 0 {
            // RFC 9293 section 3.1: the urgent pointer counts from this segment's sequence number.
            let pointer = usize::from(get16(out, self.transport + 18).unwrap_or(0));
            let rest = pointer.saturating_sub(offset);
            if rest == 0 && index > 0 {
                flags &= !URG;
            }
            put16(out, self.transport + 18, rest as u16);
        }
        put8(out, self.transport + 13, flags);
    }

    /// `payload` is its sum: headers have an even length, so it counts as it stands.
    fn fix_checksum(&self, out: &mut [u8], payload: u16) {
        let (protocol, field) = match self.kind {
            Kind::Tcp => (TCP, self.transport + 16),
            Kind::Udp => (UDP, self.transport + 6),
        };
        put16(out, field, 0);
        let length = out.len() - self.transport;
        let (Some(addresses), Some(header)) =
            (addresses(out, self.ipv6), out.get(self.transport..self.headers))
        else {
            return;
        };
        let pseudo = checksum::pseudo(addresses, protocol, length);
        let sum = checksum::add(&[pseudo, checksum::sum(header), payload]);
        // RFC 768: a computed zero is sent as all ones.
        let value = if !sum == 0 && self.kind == Kind::Udp { 0xffff } else { !sum };
        put16(out, field, value);
    }
}

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
