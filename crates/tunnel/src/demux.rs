//! What a datagram on the UDP encapsulation port is (RFC 3948 section 2).

use crate::octets::get32;

/// Octets of the non-ESP marker.
pub const MARKER_LEN: usize = 4;

/// The non-ESP marker that goes before an IKE message on the encapsulation port.
pub const NON_ESP_MARKER: [u8; MARKER_LEN] = [0; MARKER_LEN];

/// A NAT keepalive: one octet of all ones (RFC 3948 section 2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// The kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IKE message behind [`MARKER_LEN`] octets.
    Ike,
    /// RFC 3948 section 2.3: "The receiver SHOULD ignore a received NAT-keepalive packet."
    Keepalive,
    /// An ESP packet of this SPI.
    Esp(u32),
    /// Too short to be any of these.
    Runt,
}

/// The kind of one datagram. Asked for each segment of a coalesced message: the shorter tail of one may be
/// an IKE message or a keepalive.
#[must_use]
pub fn kind(datagram: &[u8]) -> Kind {
    match get32(datagram, 0) {
        Some(0) => Kind::Ike,
        Some(spi) => Kind::Esp(spi),
        None if datagram == KEEPALIVE => Kind::Keepalive,
        None => Kind::Runt,
    }
}

/// The kind of one packet of IP protocol 50: never IKE (RFC 4303 section 2.1: SPI 0 is not sent).
#[must_use]
pub fn native_kind(packet: &[u8]) -> Kind {
    match get32(packet, 0) {
        Some(0) | None => Kind::Runt,
        Some(spi) => Kind::Esp(spi),
    }
}

/// A raw IPv4 socket delivers the outer IP header too: how long it is, and its TOS. (A raw IPv6 socket
/// delivers none.)
#[must_use]
pub fn outer_ipv4_header(packet: &[u8]) -> Option<(usize, u8)> {
    let [first, tos, ..] = *packet else { return None };
    let length = usize::from(first & 0x0f) * 4;
    (first >> 4 == 4 && length >= 20 && length <= packet.len()).then_some((length, tos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_told_apart_by_their_first_octets() {
        assert_eq!(kind(&[0, 0, 0, 0, 1, 2]), Kind::Ike);
        assert_eq!(kind(&[0, 0, 1, 0, 1, 2]), Kind::Esp(256));
        assert_eq!(kind(&[0xff]), Kind::Keepalive);
        assert_eq!(kind(&[0xfe]), Kind::Runt);
        assert_eq!(kind(&[0, 0, 0]), Kind::Runt);
        assert_eq!(kind(&[]), Kind::Runt);
        assert_eq!(native_kind(&[0, 0, 0, 0, 1, 2]), Kind::Runt);
        assert_eq!(native_kind(&[0xff]), Kind::Runt);
        assert_eq!(native_kind(&[0xff; 8]), Kind::Esp(u32::MAX));
    }

    #[test]
    fn an_outer_ipv4_header_must_be_whole() {
        let mut packet = [0u8; 24];
        packet[0] = 0x45;
        packet[1] = 0xb8;
        assert_eq!(outer_ipv4_header(&packet), Some((20, 0xb8)));
        assert_eq!(outer_ipv4_header(&packet[..19]), None);
        packet[0] = 0x44;
        assert_eq!(outer_ipv4_header(&packet), None);
        packet[0] = 0x65;
        assert_eq!(outer_ipv4_header(&packet), None);
        assert_eq!(outer_ipv4_header(&[]), None);
    }
}
