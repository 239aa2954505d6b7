//! Ethernet and IP headers around ESP: written before a packet, read from one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::Mac;
use super::program::{ESP, IPV4, IPV6};
use crate::sys::address::array;

const ETHERNET: usize = 14;
const HEADER_V4: usize = 20;
const HEADER_V6: usize = 40;
/// Hops a packet lives, as Linux sends by default.
const HOPS: u8 = 64;
const DONT_FRAGMENT: u16 = 0x4000;

/// What stands before every packet of one path, but for its length and DSCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    bytes: [u8; ETHERNET + HEADER_V6],
    v4: bool,
}

impl Head {
    /// From one address to another of the same family, between two link addresses; `None` for mixed families.
    pub(super) fn new(from: IpAddr, to: IpAddr, our_mac: Mac, their_mac: Mac) -> Option<Self> {
        let mut bytes = [0; ETHERNET + HEADER_V6];
        bytes[..6].copy_from_slice(&their_mac);
        bytes[6..12].copy_from_slice(&our_mac);
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes[12..14].copy_from_slice(&IPV4.to_be_bytes());
                bytes[14] = 0x45;
                bytes[22] = HOPS;
                bytes[23] = ESP;
                bytes[26..30].copy_from_slice(&from.octets());
                bytes[30..34].copy_from_slice(&to.octets());
                Some(Self { bytes, v4: true })
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                bytes[12..14].copy_from_slice(&IPV6.to_be_bytes());
                bytes[20] = ESP;
                bytes[21] = HOPS;
                bytes[22..38].copy_from_slice(&from.octets());
                bytes[38..54].copy_from_slice(&to.octets());
                bytes[14] = 0x60;
                Some(Self { bytes, v4: false })
            }
            _ => None,
        }
    }

    /// Octets of the IP header.
    pub(super) fn ip_len(&self) -> usize {
        if self.v4 { HEADER_V4 } else { HEADER_V6 }
    }

    /// Writes headers and packet into a frame; how many octets in all, 0 when they do not fit. `identification`: none,
    /// and not to be fragmented, or the fragments' common number. IPv6 is never fragmented on its way.
    pub(super) fn write(
        &self,
        frame: &mut [u8],
        tos: u8,
        identification: Option<u16>,
        packet: &[u8],
    ) -> usize {
        let headers = ETHERNET + self.ip_len();
        let total = headers + packet.len();
        let (Some(place), Some(head)) = (frame.get_mut(..total), self.bytes.get(..headers)) else { return 0 };
        let (before, payload) = place.split_at_mut(headers);
        before.copy_from_slice(head);
        payload.copy_from_slice(packet);
        if self.v4 {
            before[15] = tos;
            before[16..18].copy_from_slice(&((total - ETHERNET) as u16).to_be_bytes());
            before[18..20].copy_from_slice(&identification.unwrap_or(0).to_be_bytes());
            let flags = if identification.is_none() { DONT_FRAGMENT } else { 0 };
            before[20..22].copy_from_slice(&flags.to_be_bytes());
            let sum = checksum(&before[ETHERNET..]);
            before[24..26].copy_from_slice(&sum.to_be_bytes());
        } else {
            before[14] = 0x60 | tos >> 4;
            before[15] = tos << 4;
            before[18..20].copy_from_slice(&(packet.len() as u16).to_be_bytes());
        }
        total
    }
}

/// The Internet checksum (RFC 1071) of a header whose own field is zero; 0 over a header that has its own.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.as_chunks::<2>().0.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// What one received packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) tos: u8,
    /// Where in the frame ESP lies.
    pub(super) payload: Range<usize>,
}

/// Reads the packet at `range` of a frame; `None` for what the program would not have taken, or whose header is damaged:
/// wrong checksum, or a length beyond what came. Octets after the IP packet are the link's padding.
pub(super) fn parse(frame: &[u8], range: Range<usize>) -> Option<Parsed> {
    let start = range.start + ETHERNET;
    let packet = frame.get(start..range.end)?;
    match u16::from_be_bytes(array(frame, range.start + 12)?) {
        IPV4 => parse_v4(packet, start),
        IPV6 => parse_v6(packet, start),
        _ => None,
    }
}

fn parse_v4(packet: &[u8], start: usize) -> Option<Parsed> {
    let header = packet.first_chunk::<HEADER_V4>()?;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    let right = header[0] == 0x45 && fragment == 0 && header[9] == ESP && checksum(header) == 0;
    if !right || total < HEADER_V4 || total > packet.len() {
        return None;
    }
    Some(Parsed {
        source: Ipv4Addr::from(array::<4>(header, 12)?).into(),
        destination: Ipv4Addr::from(array::<4>(header, 16)?).into(),
        tos: header[1],
        payload: start + HEADER_V4..start + total,
    })
}

fn parse_v6(packet: &[u8], start: usize) -> Option<Parsed> {
    let header = packet.first_chunk::<HEADER_V6>()?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || header[6] != ESP || HEADER_V6 + len > packet.len() {
        return None;
    }
    Some(Parsed {
        source: Ipv6Addr::from(array::<16>(header, 8)?).into(),
        destination: Ipv6Addr::from(array::<16>(header, 24)?).into(),
        tos: header[0] << 4 | header[1] >> 4,
        payload: start + HEADER_V6..start + HEADER_V6 + len,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = [2, 0, 0, 0, 0, 1];
    const THEM: Mac = [2, 0, 0, 0, 0, 2];

    fn head(from: &str, to: &str) -> Head {
        Head::new(from.parse().unwrap(), to.parse().unwrap(), US, THEM).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (from, to) in [("192.0.2.1", "198.51.100.255"), ("2001:db8::1", "2001:db8::ffff")] {
            for (tos, identification) in [(0, None), (0xb9, Some(0xffff)), (0xff, Some(0))] {
                let packet: Vec<u8> = (0..100).collect();
                let mut frame = [0xaa; 2048];
                let len = head(from, to).write(&mut frame, tos, identification, &packet);
                let parsed = parse(&frame, 0..len).unwrap();
                assert_eq!(
                    (parsed.source.to_string(), parsed.destination.to_string()),
                    (from.into(), to.into())
                );
                assert_eq!((parsed.tos, &frame[parsed.payload]), (tos, &packet[..]));
            }
        }
    }

    #[test]
    fn a_packet_that_does_not_fit_is_not_written() {
        let packet = [0; 100];
        assert_eq!(head("192.0.2.1", "192.0.2.2").write(&mut [0; 133], 0, None, &packet), 0);
        assert_eq!(head("192.0.2.1", "192.0.2.2").write(&mut [0; 134], 0, None, &packet), 134);
        assert!(Head::new("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap(), US, THEM).is_none());
    }

    #[test]
    fn padding_of_the_link_is_left_out() {
        let mut frame = [0x55; 2048];
        let len = head("192.0.2.1", "192.0.2.2").write(&mut frame, 0, None, &[7; 8]);
        let parsed = parse(&frame, 0..len + 18).unwrap();
        assert_eq!(&frame[parsed.payload], &[7; 8]);
    }

    #[test]
    fn no_cut_and_no_lie_is_taken_for_more_than_came() {
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let mut frame = [0; 256];
            let len = head(from, to).write(&mut frame, 0, Some(7), &[9; 60]);
            for cut in 0..len {
                assert_eq!(parse(&frame, 0..cut), None, "{from} cut at {cut}");
            }
            for at in 0..len {
                for value in [0, 1, 0x3f, 0x45, 0x60, 0x7f, 0xff] {
                    let mut lie = frame;
                    lie[at] = value;
                    if let Some(parsed) = parse(&lie, 0..len) {
                        assert!(parsed.payload.end <= len && parsed.payload.start <= parsed.payload.end);
                    }
                }
            }
        }
    }

    #[test]
    fn a_damaged_header_is_refused() {
        let mut frame = [0; 256];
        let len = head("192.0.2.1", "192.0.2.2").write(&mut frame, 0, None, &[9; 60]);
        for at in ETHERNET..ETHERNET + HEADER_V4 {
            let mut damaged = frame;
            damaged[at] ^= 0x10;
            assert_eq!(parse(&damaged, 0..len), None, "octet {at}");
        }
    }
}
