//! Clamping the maximum segment size a SYN announces (RFC 9293 section 3.7.1).

use crate::inner::{Fragment, Inner, TCP};
use crate::octets::{get8, get16, put16};
use crate::offload::checksum;

const SYN: u8 = 0x02;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;

/// What the checksum field of a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum: it is repaired.
    Complete,
    /// The sum of the pseudo-header only; whoever completes it will count the option.
    Partial,
}

/// Lowers the MSS option of a TCP SYN or SYN-ACK to `limit`; answers whether it did. A lower option, or
/// none, stays as it is.
pub fn clamp(packet: &mut [u8], inner: &Inner, limit: u16, checksum: Checksum) -> bool {
    if inner.protocol != TCP || inner.fragment == Fragment::Later {
        return false;
    }
    let Some(at) = find(packet, inner) else { return false };
    let Some(announced) = get16(packet, at) else { return false };
    if announced <= limit {
        return false;
    }
    put16(packet, at, limit);
    if checksum == Checksum::Complete
        && let Some(sum) = get16(packet, inner.transport + 16)
    {
        // An option at an odd place straddles two words of the sum; swapping its octets amounts to the
        // same (RFC 1071 section 2, byte order independence).
        let odd = (at - inner.transport) % 2 == 1;
        let (old, new) = if odd { (announced.swap_bytes(), limit.swap_bytes()) } else { (announced, limit) };
        put16(packet, inner.transport + 16, checksum::replace(sum, old, new));
    }
    true
}

/// Where the option's value stands, in a SYN that has one.
fn find(packet: &[u8], inner: &Inner) -> Option<usize> {
    let flags = get8(packet, inner.transport + 13)?;
    if flags & SYN == 0 {
        return None;
    }
    let header = usize::from(get8(packet, inner.transport + 12)? >> 4) * 4;
    let end = inner.transport + header;
    if end > inner.total {
        return None;
    }
    let mut at = inner.transport + 20;
    while at < end {
        match get8(packet, at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let length = usize::from(get8(packet, at + 1)?);
                if length < 2 || at + length > end {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE {
                    return (length == 4).then_some(at + 2);
                }
                at += length;
            }
        }
    }
    None
}
