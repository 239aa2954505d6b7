//! The slow twin: what hosts and routers without offloads do, as the RFCs say it and not as the datapath does it.

use super::support::*;

/// A TCP sender that is handed the octets of a super-packet.
struct Sender<'a> {
    given: &'a Spec,
    /// SND.NXT and SND.UP (RFC 9293 section 3.3.1), counted without wrapping.
    next: u64,
    up: Option<u64>,
    /// The congestion window was reduced, and the receiver is to hear of it.
    reduced: bool,
    sent: u16,
}

impl Sender<'_> {
    /// One segment with these octets; of `last` nothing follows.
    fn segment(&mut self, octets: &[u8], last: bool) -> Vec<u8> {
        let given = self.given;
        let mut one = Spec { sequence: self.next as u32, ..given.clone() };
        one.flags = given.flags & !(CWR | URG | PSH | FIN);
        // RFC 3168 section 6.1.2: CWR on "the first new data packet sent after the window reduction". Section 6.1.3: ECE, as
        // ACK, on every one.
        if std::mem::take(&mut self.reduced) {
            one.flags |= CWR;
        }
        // RFC 9293 section 3.9.1.2: PSH goes with the last octet that was pushed; section 3.4: FIN stands behind all octets.
        if last {
            one.flags |= given.flags & (PSH | FIN);
        }
        // RFC 9293 section 3.8.5: urgent mode lasts up to SND.UP; section 3.1: the pointer counts from the segment's own
        // sequence number and means nothing without URG.
        match self.up {
            Some(up) if self.sent == 0 || up > self.next => {
                one.flags |= URG;
                one.urgent = (up - self.next) as u16;
            }
            Some(_) => one.urgent = 0,
            None => {}
        }
        one.id = given.id.wrapping_add(self.sent);
        self.sent += 1;
        self.next += octets.len() as u64;
        one.packet(octets)
    }
}

/// The packets a sender without offloads would have sent for a super-packet.
///
/// The IPv4 identification counts on by one: that of Linux' segmentation (`inet_gso_segment`) without
/// `SKB_GSO_TCP_FIXEDID`, which a virtio header cannot say.
pub(super) fn send(given: &Spec) -> Vec<Vec<u8>> {
    let mut pieces: Vec<&[u8]> = given.payload.chunks(given.size).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let count = pieces.len();
    if given.udp {
        let datagram = |(number, octets): (u16, &&[u8])| {
            Spec { id: given.id.wrapping_add(number), ..given.clone() }.packet(octets)
        };
        return (0..).zip(&pieces).map(datagram).collect();
    }
    let first = u64::from(given.sequence);
    let up = (given.flags & URG != 0).then(|| first + u64::from(given.urgent));
    let mut sender = Sender { given, next: first, up, reduced: given.flags & CWR != 0, sent: 0 };
    (1..).zip(pieces).map(|(number, octets)| sender.segment(octets, number == count)).collect()
}

/// How many frames joining makes of the packets of a super-packet that come in order, where that is certain.
///
/// After Linux' `inet_gro_receive` and `tcp_gro_receive`: no IPv4 options, no flag but ACK and PSH. IPv6 extension
/// headers it would join too, but nobody has to.
pub(super) fn frames_of(given: &Spec) -> Option<usize> {
    let packets = given.plain().len();
    if given.network() != if given.ipv6 { 40 } else { 20 } || given.payload.is_empty() {
        return Some(packets);
    }
    let plain = given.udp || matches!(given.flags & !PSH, ACK);
    let together = 64.min((65_535 - given.headers()) / given.size);
    plain.then(|| packets.div_ceil(together))
}

/// A packet's flow: addresses, protocol and ports, as far as it shows them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Name {
    pub(super) addresses: Vec<u8>,
    pub(super) protocol: u8,
    /// `None` in a later fragment.
    pub(super) ports: Option<Vec<u8>>,
    /// Where the transport header, or a later fragment's octets, begin.
    pub(super) at: usize,
    /// No fragment.
    pub(super) whole: bool,
}

/// Reads a sound packet's name.
pub(super) fn name(packet: &[u8]) -> Name {
    if packet[0] >> 4 == 4 {
        let at = usize::from(packet[0] & 15) * 4;
        let later = packet[6] & 0x1f != 0 || packet[7] != 0;
        let ports = (!later).then(|| packet[at..at + 4].to_vec());
        let whole = !later && packet[6] & 0x20 == 0;
        return Name { addresses: packet[12..20].to_vec(), protocol: packet[9], ports, at, whole };
    }
    let (mut protocol, mut at, mut later, mut whole) = (packet[6], 40, false, true);
    while !later && matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS | FRAGMENT) {
        whole &= protocol != FRAGMENT;
        later = protocol == FRAGMENT && (packet[at + 2] != 0 || packet[at + 3] & 0xf8 != 0);
        let length = if protocol == FRAGMENT { 8 } else { (usize::from(packet[at + 1]) + 1) * 8 };
        (protocol, at) = (packet[at], at + length);
    }
    let ports = (!later).then(|| packet[at..at + 4].to_vec());
    Name { addresses: packet[8..40].to_vec(), protocol, ports, at, whole }
}

/// Number of the IPv6 fragment header.
pub(super) const FRAGMENT: u8 = 44;

/// Cuts a packet as its sender or a router would (RFC 791 section 3.2, RFC 8200 section 4.5), with so many times eight
/// octets in each fragment but the last. With IPv6 there are more where the first would not have all headers, as
/// RFC 7112 section 5 wants it.
pub(super) fn fragments(packet: &[u8], blocks: usize) -> Vec<Vec<u8>> {
    if packet[0] >> 4 == 4 {
        return fragments_v4(packet, blocks);
    }
    let headers = name(packet).at + 60 - 40;
    fragments_v6(packet, blocks.max(headers / 8))
}

fn fragments_v4(packet: &[u8], blocks: usize) -> Vec<Vec<u8>> {
    let (header, data) = packet.split_at(usize::from(packet[0] & 15) * 4);
    let pieces: Vec<&[u8]> = data.chunks(blocks * 8).collect();
    let fragment = |(number, piece): (usize, &&[u8])| {
        let mut out = header.to_vec();
        let more = if number + 1 < pieces.len() { 0x2000 } else { 0 };
        out[2..4].copy_from_slice(&((header.len() + piece.len()) as u16).to_be_bytes());
        out[6..8].copy_from_slice(&((number * blocks) as u16 | more).to_be_bytes());
        if number > 0 {
            out[20..].copy_from_slice(&copied(&header[20..]));
        }
        out[10..12].fill(0);
        let sum = !slow_sum(&[&out]);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(*piece);
        out
    };
    pieces.iter().enumerate().map(fragment).collect()
}

/// The options of later fragments: those without the copied flag (RFC 791 section 3.1) are no-operations, as with Linux'
/// `ip_options_fragment`.
pub(super) fn copied(options: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), options);
    while let Some(kind) = rest.first() {
        let length = match kind {
            0 => rest.len(),
            1 => 1,
            _ => usize::from(rest[1]),
        };
        let (option, others) = rest.split_at(length);
        if *kind == 0 || kind & 0x80 != 0 {
            out.extend(option);
        } else {
            out.extend(vec![1; length]);
        }
        rest = others;
    }
    out
}

fn fragments_v6(packet: &[u8], blocks: usize) -> Vec<Vec<u8>> {
    // What every router looks at stays in front: hop-by-hop options, and what leads to a routing header.
    let (mut protocol, mut at, mut end) = (packet[6], 40, (6, 40));
    while matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS) {
        let behind = at + (usize::from(packet[at + 1]) + 1) * 8;
        if protocol != DESTINATION_OPTIONS {
            end = (at, behind);
        }
        (protocol, at) = (packet[at], behind);
    }
    let (field, at) = end;
    let (header, data) = packet.split_at(at);
    let pieces: Vec<&[u8]> = data.chunks(blocks * 8).collect();
    let fragment = |(number, piece): (usize, &&[u8])| {
        let mut out = header.to_vec();
        let next = std::mem::replace(&mut out[field], FRAGMENT);
        let more = u16::from(number + 1 < pieces.len());
        out[4..6].copy_from_slice(&((header.len() - 40 + 8 + piece.len()) as u16).to_be_bytes());
        out.extend([next, 0]);
        out.extend(((number * blocks * 8) as u16 | more).to_be_bytes());
        out.extend([1, 2, 3, 4]);
        out.extend(*piece);
        out
    };
    pieces.iter().enumerate().map(fragment).collect()
}

/// Asserts that these are fragments of an IPv4 packet, which may be a fragment itself, that a receiver puts together
/// again (RFC 791 section 3.2), none longer than `mtu`.
pub(super) fn assert_fragments(packet: &[u8], fragments: &[Vec<u8>], mtu: usize) {
    let word = |packet: &[u8], at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (header, data) = packet.split_at(usize::from(packet[0] & 15) * 4);
    let mut gathered: Vec<u8> = Vec::new();
    for (left, fragment) in (0..fragments.len()).rev().zip(fragments) {
        assert!(fragment.len() <= mtu);
        assert_eq!(usize::from(word(fragment, 2)), fragment.len());
        let (own, piece) = fragment.split_at(header.len());
        assert_eq!(slow_sum(&[own]), 0xffff, "header checksum");
        // Version, length, TOS; identification; TTL and protocol; addresses.
        for same in [0..2, 4..6, 8..10, 12..20] {
            assert_eq!(own[same.clone()], header[same]);
        }
        let offset = word(header, 6) & 0x1fff;
        assert_eq!(usize::from(word(own, 6) & 0x1fff), usize::from(offset) + gathered.len() / 8);
        let more = left > 0 || word(header, 6) & 0x2000 != 0;
        assert_eq!(word(own, 6) & 0xe000, if more { 0x2000 } else { 0 }, "flags");
        assert!(left == 0 || piece.len() % 8 == 0);
        let options = if gathered.is_empty() { header[20..].to_vec() } else { copied(&header[20..]) };
        assert_eq!(own[20..], options);
        gathered.extend(piece);
    }
    assert_eq!(gathered, data);
}
