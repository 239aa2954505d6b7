//! Inner packets: IPv4 with UDP or TCP, as much of them as the simulation needs.

use std::net::{Ipv4Addr, SocketAddrV4};

/// IP protocol numbers.
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV4_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const TCP_HEADER: usize = 20;
const DONT_FRAGMENT: u16 = 0x4000;

/// What an inner packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Udp(Vec<u8>),
    Tcp(Segment),
    /// A destination is unreachable: "fragmentation needed", with the MTU (RFC 1191 section 4).
    TooBig(u16),
    Other,
}

/// An inner packet, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) content: Content,
}

/// A TCP segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) data: Vec<u8>,
}

/// A UDP packet that may not be fragmented.
pub(crate) fn udp(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(*from.ip(), *to.ip(), UDP, UDP_HEADER + payload.len());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(u16::try_from(UDP_HEADER + payload.len()).unwrap().to_be_bytes());
    // Checksum 0: not used (RFC 768).
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}

/// A TCP segment as a packet.
pub(crate) fn tcp(from: SocketAddrV4, to: SocketAddrV4, segment: &Segment) -> Vec<u8> {
    let length = TCP_HEADER + segment.data.len();
    let mut packet = ipv4(*from.ip(), *to.ip(), TCP, length);
    let start = packet.len();
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(segment.seq.to_be_bytes());
    packet.extend(segment.ack.unwrap_or(0).to_be_bytes());
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags =
        flag(segment.fin, 1) | flag(segment.syn, 2) | flag(segment.rst, 4) | flag(segment.ack.is_some(), 16);
    packet.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend(&segment.data);
    let mut pseudo = [from.ip().octets(), to.ip().octets()].concat();
    pseudo.extend([0, TCP]);
    pseudo.extend(u16::try_from(length).unwrap().to_be_bytes());
    pseudo.extend(&packet[start..]);
    let sum = checksum(&pseudo).to_be_bytes();
    packet[start + 16..start + 18].copy_from_slice(&sum);
    packet
}

fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, length: usize) -> Vec<u8> {
    let mut header = vec![0x45, 0];
    header.extend(u16::try_from(IPV4_HEADER + length).unwrap().to_be_bytes());
    header.extend([0, 0]);
    header.extend(DONT_FRAGMENT.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    header
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// Where a packet goes.
pub(crate) fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    (packet.first()? >> 4 == 4).then(|| octets.into())
}

/// Reads a packet; `None` when it is none.
pub(crate) fn parse(packet: &[u8]) -> Option<Packet> {
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let body = packet.get(header..)?;
    let half = |at: usize| Some(u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let (source, destination) = (address(12)?, address(16)?);
    let ends = |from: u16, to: u16| (SocketAddrV4::new(source, from), SocketAddrV4::new(destination, to));
    let ((from, to), content) = match *packet.get(9)? {
        UDP => (ends(half(0)?, half(2)?), Content::Udp(body.get(UDP_HEADER..)?.to_vec())),
        TCP => {
            let flags = *body.get(13)?;
            let offset = usize::from(body.get(12)? >> 4) * 4;
            let segment = Segment {
                seq: word(4)?,
                ack: if flags & 16 != 0 { Some(word(8)?) } else { None },
                syn: flags & 2 != 0,
                fin: flags & 1 != 0,
                rst: flags & 4 != 0,
                data: body.get(offset..)?.to_vec(),
            };
            (ends(half(0)?, half(2)?), Content::Tcp(segment))
        }
        ICMP if body.get(..2)? == [3, 4] => (ends(0, 0), Content::TooBig(half(6)?)),
        _ => (ends(0, 0), Content::Other),
    };
    Some(Packet { from, to, content })
}

#[test]
fn what_is_built_is_read_back() {
    let (a, b): (SocketAddrV4, SocketAddrV4) =
        ("10.1.0.1:40000".parse().unwrap(), "10.2.0.1:179".parse().unwrap());
    let segment = Segment { seq: 7, ack: Some(9), fin: true, data: b"hello".to_vec(), ..Segment::default() };
    let read = parse(&tcp(a, b, &segment)).unwrap();
    assert_eq!(read, Packet { from: a, to: b, content: Content::Tcp(segment) });
    let read = parse(&udp(a, b, b"datagram")).unwrap();
    assert_eq!(read.content, Content::Udp(b"datagram".to_vec()));
    assert_eq!(checksum(&udp(a, b, b"")[..20]), 0, "a header with its checksum sums to nothing");
}
