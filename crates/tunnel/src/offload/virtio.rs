//! The header in front of each frame of a TUN device opened with IFF_VNET_HDR
//! (`struct virtio_net_hdr` of linux/virtio_net.h, in native byte order).

/// Octets of the header.
pub const LEN: usize = 10;

/// What a frame is and what the reader must still do to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The checksum field holds the pseudo-header's sum only: VIRTIO_NET_HDR_F_NEEDS_CSUM.
    pub needs_checksum: bool,
    /// What kind of super-packet.
    pub gso: Gso,
    /// Octets of all headers; a hint not to be trusted.
    pub header_len: u16,
    /// Octets of payload a segment.
    pub gso_size: u16,
    /// Where the checksummed part starts.
    pub checksum_start: u16,
    /// Where, counted from there, the checksum belongs.
    pub checksum_offset: u16,
}

/// The kind of a super-packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// A single packet.
    #[default]
    None,
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of equal size, over either family.
    Udp,
    /// One this program did not ask for.
    Unknown(u8),
}

const NEEDS_CSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
/// Beside a TCP kind: the super-packet's first segment carries CWR.
const GSO_ECN: u8 = 0x80;

impl Header {
    /// Takes the header off a frame: it, and the packet behind.
    #[must_use]
    pub fn split(frame: &[u8]) -> Option<(Self, &[u8])> {
        let (header, packet) = frame.split_first_chunk::<LEN>()?;
        let [flags, gso, h0, h1, g0, g1, s0, s1, o0, o1] = *header;
        let gso = match gso & !GSO_ECN {
            0 => Gso::None,
            GSO_TCPV4 => Gso::Tcp4,
            GSO_TCPV6 => Gso::Tcp6,
            GSO_UDP_L4 => Gso::Udp,
            other => Gso::Unknown(other),
        };
        let header = Self {
            needs_checksum: flags & NEEDS_CSUM != 0,
            gso,
            header_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            checksum_start: u16::from_ne_bytes([s0, s1]),
            checksum_offset: u16::from_ne_bytes([o0, o1]),
        };
        Some((header, packet))
    }

    /// The header as octets.
    #[must_use]
    pub fn to_bytes(self) -> [u8; LEN] {
        let gso = match self.gso {
            Gso::None => 0,
            Gso::Tcp4 => GSO_TCPV4,
            Gso::Tcp6 => GSO_TCPV6,
            Gso::Udp => GSO_UDP_L4,
            Gso::Unknown(other) => other,
        };
        let [h0, h1] = self.header_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.checksum_start.to_ne_bytes();
        let [o0, o1] = self.checksum_offset.to_ne_bytes();
        [if self.needs_checksum { NEEDS_CSUM } else { 0 }, gso, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_the_ecn_bit_is_no_kind_of_its_own() {
        let header = Header {
            needs_checksum: true,
            gso: Gso::Tcp6,
            header_len: 72,
            gso_size: 1328,
            checksum_start: 40,
            checksum_offset: 16,
        };
        let mut frame = header.to_bytes().to_vec();
        frame.push(7);
        assert_eq!(Header::split(&frame), Some((header, &[7][..])));
        frame[1] |= GSO_ECN;
        assert_eq!(Header::split(&frame), Some((header, &[7][..])));
        assert_eq!(Header::split(&frame[..9]), None);
        assert_eq!(Header::default().to_bytes(), [0; LEN]);
    }
}
