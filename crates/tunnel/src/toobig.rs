//! "Packet too big" answers to inner packets above the tunnel's MTU.
//!
//! The answer's source is the destination of the packet it answers, not an address of this host: the frame
//! re-enters the kernel through the TUN, where a local source address would be taken for a martian, while
//! the destination's route leads to this very TUN, so reverse path filtering agrees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::inner::{Fragment, ICMP, ICMPV6, Inner};
use crate::mtu;
use crate::octets::{get8, put16};
use crate::offload::{checksum, split, virtio};

/// RFC 1812 section 4.3.2.3: as much of the original as fits in 576 octets.
const QUOTE_V4: usize = 576 - 20 - 8;
/// RFC 4443 section 3.2: as much as fits in the minimum IPv6 MTU.
const QUOTE_V6: usize = mtu::IPV6_MIN as usize - 40 - 8;

/// Hop limit of the answer.
const TTL: u8 = 64;

/// Appends a TUN frame that tells the sender of `packet` that `mtu` is the limit; `false` where none may
/// be sent. An IPv6 sender is never told less than 1280.
pub(crate) fn write(packet: &[u8], inner: &Inner, mtu: u16, frame: &mut Vec<u8>) -> bool {
    if !may_answer(packet, inner) {
        return false;
    }
    frame.extend_from_slice(&virtio::Header::default().to_bytes());
    match (inner.source, inner.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            write_v4(packet, source, destination, mtu, frame);
            true
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            write_v6(packet, source, destination, mtu.max(mtu::IPV6_MIN), frame);
            true
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

/// RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e): none in answer to an ICMP error, to a packet to or
/// from an address that is no single host's, or to a fragment but the first.
fn may_answer(packet: &[u8], inner: &Inner) -> bool {
    if inner.fragment == Fragment::Later || !is_host(inner.source) || !is_host(inner.destination) {
        return false;
    }
    let kind = get8(packet, inner.transport);
    match inner.protocol {
        // Echo and the queries may be answered, errors may not.
        ICMP => matches!(kind, Some(0 | 8 | 13..=18)),
        ICMPV6 => matches!(kind, Some(128..)),
        _ => true,
    }
}

fn is_host(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}

/// Destination unreachable, fragmentation needed and DF set, with the next-hop MTU (RFC 1191 section 4).
fn write_v4(packet: &[u8], source: Ipv4Addr, destination: Ipv4Addr, mtu: u16, frame: &mut Vec<u8>) {
    let quote = packet.get(..QUOTE_V4).unwrap_or(packet);
    let start = frame.len();
    let total = (20 + 8 + quote.len()) as u16;
    let [t0, t1] = total.to_be_bytes();
    // TOS: precedence 6, as RFC 1812 section 4.3.2.5 wants for errors.
    frame.extend_from_slice(&[0x45, 0xc0, t0, t1, 0, 0, 0x40, 0, TTL, ICMP, 0, 0]);
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(&source.octets());
    let [m0, m1] = mtu.to_be_bytes();
    frame.extend_from_slice(&[3, 4, 0, 0, 0, 0, m0, m1]);
    frame.extend_from_slice(quote);
    let Some(answer) = frame.get_mut(start..) else { return };
    split::write_ipv4_checksum(answer, 20);
    if let Some(message) = answer.get_mut(20..) {
        let sum = checksum::sum(message);
        put16(message, 2, !sum);
    }
}

/// Packet too big (RFC 4443 section 3.2).
fn write_v6(packet: &[u8], source: Ipv6Addr, destination: Ipv6Addr, mtu: u16, frame: &mut Vec<u8>) {
    let quote = packet.get(..QUOTE_V6).unwrap_or(packet);
    let start = frame.len();
    let [l0, l1] = ((8 + quote.len()) as u16).to_be_bytes();
    frame.extend_from_slice(&[0x60, 0, 0, 0, l0, l1, ICMPV6, TTL]);
    frame.extend_from_slice(&destination.octets());
    frame.extend_from_slice(&source.octets());
    let [m0, m1] = mtu.to_be_bytes();
    frame.extend_from_slice(&[2, 0, 0, 0, 0, 0, m0, m1]);
    frame.extend_from_slice(quote);
    let Some(answer) = frame.get_mut(start..) else { return };
    let sum = split::transport_sum(answer, true, 40, ICMPV6);
    put16(answer, 42, !sum);
}
