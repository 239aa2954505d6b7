//! Packets made from a description, by code that shares nothing with the datapath.

pub(super) use super::kinds::*;
use super::twin;
use crate::offload::virtio::{Gso, Header};

pub(super) const ACK: u8 = 0x10;
pub(super) const PSH: u8 = 0x08;
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const URG: u8 = 0x20;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// VIRTIO_NET_HDR_GSO_ECN: Linux sets it on every TCP super-packet whose header has CWR.
pub(super) const GSO_ECN: u8 = 0x80;

/// Everything about a TCP segment or UDP datagram, or about a super-packet of them.
#[derive(Clone)]
pub(super) struct Spec {
    pub(super) ipv6: bool,
    pub(super) udp: bool,
    pub(super) ports: (u16, u16),
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
    pub(super) dont_fragment: bool,
    /// Options of the IPv4 header: a multiple of four octets, at most 40.
    pub(super) network_options: Vec<u8>,
    /// Extension headers of IPv6, in order.
    pub(super) extensions: Vec<Extension>,
    /// IPv6 flow label, 20 bits.
    pub(super) label: u32,
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    /// The four bits beside TCP's data offset (RFC 9293 section 3.1: to be sent on as they are).
    pub(super) reserved: u8,
    pub(super) window: u16,
    pub(super) flags: u8,
    pub(super) urgent: u16,
    pub(super) options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) size: usize,
}

impl std::fmt::Debug for Spec {
    /// Without the payload, which is of no interest.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ipv6, udp, tos, ttl, id, dont_fragment, sequence, flags, urgent, size, .. } = self;
        let (options, payload) = (self.options.len(), self.payload.len());
        write!(f, "ipv6 {ipv6} udp {udp} tos {tos} ttl {ttl} id {id} df {dont_fragment} seq {sequence} ")?;
        write!(f, "flags {flags:#x} urg {urgent} options {options} payload {payload} size {size} ")?;
        write!(f, "network options {:?} extensions {:?}", self.network_options, self.extensions)
    }
}

/// An IPv6 extension header (RFC 8200 section 4).
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Extension {
    /// Its number in the next-header field before it.
    pub(super) kind: u8,
    /// All of it but the next-header field and its own length.
    pub(super) body: Vec<u8>,
}

pub(super) const HOP_BY_HOP: u8 = 0;
pub(super) const ROUTING: u8 = 43;
pub(super) const DESTINATION_OPTIONS: u8 = 60;
pub(super) const HOME_ADDRESS: u8 = 201;
/// What [`Extension::away`] has before the address: another option, whose data looks like one, then number and length.
const BEFORE_HOME: [u8; 6] = [0x1e, 2, HOME_ADDRESS, 16, HOME_ADDRESS, 16];

impl Extension {
    /// Options that are padding (RFC 8200 section 4.2), in a header of `blocks` times eight octets.
    pub(super) fn padding(kind: u8, blocks: usize) -> Self {
        let mut body = vec![1, (blocks * 8 - 4) as u8];
        body.resize(blocks * 8 - 2, 0);
        Self { kind, body }
    }

    /// Options, each a number and its data, padded to whole blocks: with octets of padding behind an odd number of them, else
    /// with one option.
    pub(super) fn options(kind: u8, options: &[(u8, Vec<u8>)]) -> Self {
        let mut body = Vec::new();
        for (number, data) in options {
            body.extend([*number, data.len() as u8]);
            body.extend(data);
        }
        let room = (body.len() + 2).next_multiple_of(8) - 2 - body.len();
        if room > 1 && options.len().is_multiple_of(2) {
            body.extend([1, (room - 2) as u8]);
            body.resize(body.len() + room - 2, 0);
        } else {
            body.resize(body.len() + room, 0);
        }
        Self { kind, body }
    }

    /// A routing header of type 2 (RFC 6275 section 6.4) on whose way one stop is left.
    pub(super) fn home(address: [u8; 16]) -> Self {
        Self { kind: ROUTING, body: [&[2, 1, 0, 0, 0, 0][..], &address].concat() }
    }

    /// A routing header of type 4 (RFC 8754 section 2) on whose way one stop is left.
    pub(super) fn segments(address: [u8; 16]) -> Self {
        Self { kind: ROUTING, body: [&[4, 1, 0, 0, 0, 0][..], &address].concat() }
    }

    /// The Home Address of a sender who is elsewhere (RFC 6275 section 6.3), at its place of 8n + 6 behind other options.
    pub(super) fn away(address: [u8; 16]) -> Self {
        Self { kind: DESTINATION_OPTIONS, body: [&BEFORE_HOME[..], &address].concat() }
    }

    fn len(&self) -> usize {
        2 + self.body.len()
    }
}

impl std::fmt::Debug for Extension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.kind, self.len())
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            ipv6: false,
            udp: false,
            ports: (40000, 443),
            tos: 0,
            ttl: 63,
            id: 7,
            dont_fragment: true,
            network_options: Vec::new(),
            extensions: Vec::new(),
            label: 0xabcd,
            sequence: 1000,
            acknowledged: 0x0102_0304,
            reserved: 0,
            window: 0x2000,
            flags: ACK,
            urgent: 0,
            options: Vec::new(),
            payload: Vec::new(),
            size: 1000,
        }
    }
}

pub(super) fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

pub(super) fn slow_sum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut total = 0u32;
    for pair in bytes.chunks(2) {
        total += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

impl Spec {
    fn addresses(&self) -> (Vec<u8>, Vec<u8>) {
        if self.ipv6 {
            let address = |last| {
                let mut octets = vec![0x20, 1, 0xd, 0xb8];
                octets.resize(15, 0);
                octets.push(last);
                octets
            };
            (address(1), address(2))
        } else {
            (vec![192, 168, 1, 7], vec![172, 16, 0, 9])
        }
    }

    /// Octets of the IP header with options or extension headers.
    pub(super) fn network(&self) -> usize {
        if self.ipv6 {
            40 + self.extensions.iter().map(Extension::len).sum::<usize>()
        } else {
            20 + self.network_options.len()
        }
    }

    /// Octets of all headers.
    pub(super) fn headers(&self) -> usize {
        self.network() + if self.udp { 8 } else { 20 + self.options.len() }
    }

    /// RFC 8200 section 8.1: with a routing header the pseudo-header has the last destination.
    fn last_destination(&self) -> Vec<u8> {
        let stops = self.extensions.iter().find(|one| self.ipv6 && one.kind == ROUTING);
        stops.map_or_else(|| self.addresses().1, |one| one.body[one.body.len() - 16..].to_vec())
    }

    /// RFC 6275 section 11.3.1: with a Home Address the pseudo-header has that.
    fn first_source(&self) -> Vec<u8> {
        let away = |one: &&Extension| one.kind == DESTINATION_OPTIONS && one.body.starts_with(&BEFORE_HOME);
        let home = self.extensions.iter().find(|one| self.ipv6 && away(one));
        home.map_or_else(|| self.addresses().0, |one| one.body[6..22].to_vec())
    }

    /// The plain packet that carries `payload`, complete with checksums.
    pub(super) fn packet(&self, payload: &[u8]) -> Vec<u8> {
        self.build(payload, true)
    }

    fn build(&self, payload: &[u8], complete: bool) -> Vec<u8> {
        let (source, destination) = (self.first_source(), self.last_destination());
        let mut transport = Vec::new();
        transport.extend(self.ports.0.to_be_bytes());
        transport.extend(self.ports.1.to_be_bytes());
        let (protocol, field) = if self.udp {
            transport.extend(((8 + payload.len()) as u16).to_be_bytes());
            transport.extend([0, 0]);
            (17u8, 6)
        } else {
            transport.extend(self.sequence.to_be_bytes());
            transport.extend(self.acknowledged.to_be_bytes());
            let offset = (20 + self.options.len()) / 4 * 16;
            transport.extend([offset as u8 | self.reserved, self.flags]);
            transport.extend(self.window.to_be_bytes());
            transport.extend([0, 0]);
            transport.extend(self.urgent.to_be_bytes());
            transport.extend(&self.options);
            (6, 16)
        };
        transport.extend(payload);
        let length = (transport.len() as u32).to_be_bytes();
        let pseudo = [&source[..], &destination[..], &length[..], &[0, protocol]];
        let mut checksum = if complete {
            !slow_sum(&[slow_sum(&pseudo).to_be_bytes().as_slice(), &transport])
        } else {
            slow_sum(&pseudo)
        };
        if complete && self.udp && checksum == 0 {
            checksum = 0xffff;
        }
        transport[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        let mut packet = self.network_header(protocol, transport.len());
        packet.extend(transport);
        packet
    }

    fn network_header(&self, protocol: u8, length: usize) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let mut header = Vec::new();
        if self.ipv6 {
            let first = 6 << 28 | u32::from(self.tos) << 20 | self.label;
            header.extend(first.to_be_bytes());
            header.extend(((self.network() - 40 + length) as u16).to_be_bytes());
            header.extend([0, self.ttl]);
            header.extend(source);
            header.extend(destination);
            let mut next = 6;
            for one in &self.extensions {
                header[next] = one.kind;
                next = header.len();
                header.extend([0, (one.len() / 8 - 1) as u8]);
                header.extend(&one.body);
            }
            header[next] = protocol;
            return header;
        }
        header.extend([(0x40 + self.network() / 4) as u8, self.tos]);
        header.extend(((self.network() + length) as u16).to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend([if self.dont_fragment { 0x40 } else { 0 }, 0, self.ttl, protocol, 0, 0]);
        header.extend(source);
        header.extend(destination);
        header.extend(&self.network_options);
        let sum = !slow_sum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    /// What a sender without offloads would have sent for this super-packet.
    pub(super) fn plain(&self) -> Vec<Vec<u8>> {
        twin::send(self)
    }

    pub(super) fn gso(&self) -> Gso {
        match (self.udp, self.ipv6) {
            (true, _) => Gso::Udp,
            (false, false) => Gso::Tcp4,
            (false, true) => Gso::Tcp6,
        }
    }

    /// The super-packet as a TUN device hands it out.
    pub(super) fn frame(&self) -> Vec<u8> {
        let header = Header {
            needs_checksum: true,
            gso: self.gso(),
            header_len: self.headers() as u16,
            gso_size: self.size as u16,
            checksum_start: self.network() as u16,
            checksum_offset: if self.udp { 6 } else { 16 },
        };
        let mut frame = header.to_bytes().to_vec();
        if !self.udp && self.flags & CWR != 0 {
            frame[1] |= GSO_ECN;
        }
        frame.extend(self.build(&self.payload, false));
        frame
    }

    /// The packet as a frame with its checksum left to the reader.
    pub(super) fn unfinished_frame(&self) -> Vec<u8> {
        let mut frame = self.frame();
        frame[1] = 0;
        frame
    }
}

/// A frame around a finished packet.
pub(super) fn single_frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = Header::default().to_bytes().to_vec();
    frame.extend(packet);
    frame
}

/// The packets behind the (zero) virtio headers.
pub(super) fn packets_of(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    frames
        .iter()
        .map(|frame| {
            assert_eq!(frame[..10], [0; 10], "not a super-packet");
            frame[10..].to_vec()
        })
        .collect()
}

/// Cuts frames that may be super-packets into plain packets, with the slow code.
pub(super) fn cut_slowly(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    frames.iter().flat_map(|frame| cut_one_slowly(frame)).collect()
}

fn cut_one_slowly(frame: &[u8]) -> Vec<Vec<u8>> {
    let (header, packet) = Header::split(frame).unwrap();
    if header.gso == Gso::None {
        return vec![packet.to_vec()];
    }
    let ipv6 = packet[0] >> 4 == 6;
    let start = if ipv6 { 40 } else { 20 };
    let udp = header.gso == Gso::Udp;
    let headers = if udp { start + 8 } else { start + usize::from(packet[start + 12] >> 4) * 4 };
    let total =
        usize::from(u16::from_be_bytes([packet[if ipv6 { 4 } else { 2 }], packet[if ipv6 { 5 } else { 3 }]]));
    assert_eq!(total + if ipv6 { 40 } else { 0 }, packet.len(), "length field");
    assert!(header.needs_checksum);
    assert_eq!(usize::from(header.header_len), headers);
    assert_eq!(usize::from(header.checksum_start), start);
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let spec = Spec {
        network_options: Vec::new(),
        extensions: Vec::new(),
        ipv6,
        udp,
        ports: (word(start), word(start + 2)),
        tos: if ipv6 { (word(0) >> 4) as u8 } else { packet[1] },
        ttl: if ipv6 { packet[7] } else { packet[8] },
        id: if ipv6 { 0 } else { word(4) },
        dont_fragment: !ipv6 && packet[6] & 0x40 != 0,
        label: if ipv6 { u32::from(word(0) & 15) << 16 | u32::from(word(2)) } else { 0 },
        reserved: if udp { 0 } else { packet[start + 12] & 15 },
        sequence: if udp { 0 } else { u32::from(word(start + 4)) << 16 | u32::from(word(start + 6)) },
        acknowledged: if udp { 0 } else { u32::from(word(start + 8)) << 16 | u32::from(word(start + 10)) },
        window: if udp { 0 } else { word(start + 14) },
        flags: if udp { 0 } else { packet[start + 13] },
        urgent: if udp { 0 } else { word(start + 18) },
        options: if udp { Vec::new() } else { packet[start + 20..headers].to_vec() },
        payload: packet[headers..].to_vec(),
        size: usize::from(header.gso_size),
    };
    assert_eq!(frame, spec.frame(), "the super-packet is as a kernel would make it");
    spec.plain()
}
