//! Fragmenting an inner IPv4 packet before ESP (RFC 791 section 3.2), so that the far end reassembles
//! plain packets and not ESP ones.

use crate::inner::Inner;
use crate::octets::{get8, get16, put8, put16};
use crate::offload::split;

const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
/// Options of this bit go into every fragment, the others only into the first.
const COPIED: u8 = 0x80;

/// How an IPv4 packet will be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragments {
    header: usize,
    payload: usize,
    step: usize,
    /// The packet's own fragment field: it may be a fragment itself.
    field: u16,
}

impl Fragments {
    /// The fragments of a packet, none longer than `mtu`; `None` for IPv6 and where the MTU has no room
    /// for eight octets of payload.
    pub(crate) fn new(packet: &[u8], inner: &Inner, mtu: u16) -> Option<Self> {
        if inner.is_ipv6() {
            return None;
        }
        let step = usize::from(mtu).checked_sub(inner.transport)? / 8 * 8;
        let payload = inner.total - inner.transport;
        (step > 0).then_some(Self { header: inner.transport, payload, step, field: get16(packet, 6)? })
    }

    pub(crate) fn count(&self) -> usize {
        self.payload.div_ceil(self.step).max(1)
    }

    /// Octets of fragment `index`.
    pub(crate) fn len(&self, index: usize) -> usize {
        self.header + self.payload.saturating_sub(index * self.step).min(self.step)
    }

    /// Writes fragment `index` into `out`, which is [`len`](Self::len) octets long.
    pub(crate) fn write(&self, packet: &[u8], index: usize, out: &mut [u8]) {
        let start = self.header + index * self.step;
        let (Some(header), Some(payload)) =
            (packet.get(..self.header), packet.get(start..start + out.len().saturating_sub(self.header)))
        else {
            return;
        };
        let Some((to_header, to_payload)) = out.split_at_mut_checked(self.header) else { return };
        to_header.copy_from_slice(header);
        to_payload.copy_from_slice(payload);
        if index > 0 {
            blank_uncopied_options(to_header);
        }
        let offset = (self.field & OFFSET).wrapping_add((index * self.step / 8) as u16) & OFFSET;
        let more = if index + 1 < self.count() { MORE_FRAGMENTS } else { self.field & MORE_FRAGMENTS };
        put16(out, 2, out.len() as u16);
        put16(out, 6, offset | more);
        split::write_ipv4_checksum(out, self.header);
    }
}

/// Options that belong to the first fragment only become no-operations in the others: the header keeps its
/// length.
fn blank_uncopied_options(header: &mut [u8]) {
    let mut at = 20;
    while let Some(kind) = get8(header, at) {
        let length = match kind {
            END_OF_OPTIONS => return,
            NO_OPERATION => 1,
            _ => usize::from(get8(header, at + 1).unwrap_or(0)),
        };
        if length == 0 || at + length > header.len() {
            return;
        }
        if kind & COPIED == 0 {
            for octet in at..at + length {
                put8(header, octet, NO_OPERATION);
            }
        }
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::checksum;

    fn packet(options: &[u8], payload: usize) -> Vec<u8> {
        let header = 20 + options.len();
        let mut packet = vec![0u8; 20];
        packet[0] = 0x40 | (header / 4) as u8;
        put16(&mut packet, 2, (header + payload) as u16);
        put16(&mut packet, 4, 0xbeef);
        packet[8] = 64;
        packet[9] = 17;
        packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend_from_slice(options);
        packet.extend((0..payload).map(|n| n as u8));
        split::write_ipv4_checksum(&mut packet, header);
        packet
    }

    fn cut(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let plan = Fragments::new(packet, &Inner::parse(packet).unwrap(), mtu).unwrap();
        (0..plan.count())
            .map(|index| {
                let mut out = vec![0; plan.len(index)];
                plan.write(packet, index, &mut out);
                out
            })
            .collect()
    }

    /// Puts fragments together as a receiver does: by their offsets.
    fn reassemble(fragments: &[Vec<u8>]) -> Vec<u8> {
        let mut payload = Vec::new();
        for (left, fragment) in (0..fragments.len()).rev().zip(fragments) {
            let inner = Inner::parse(fragment).unwrap();
            assert_eq!(checksum::sum(&fragment[..inner.transport]), 0xffff);
            let field = get16(fragment, 6).unwrap();
            assert_eq!(field & MORE_FRAGMENTS == 0, left == 0, "only the last is the last");
            let offset = usize::from(field & OFFSET) * 8;
            payload.resize(offset.max(payload.len()), 0);
            payload.extend_from_slice(&fragment[inner.transport..]);
        }
        payload
    }

    #[test]
    fn fragments_fit_the_mtu_and_reassemble_even_when_cut_twice() {
        for (size, mtu) in [(1400, 1300), (1473, 576), (65_000, 1280), (100, 68), (8, 68)] {
            let whole = packet(&[], size);
            let fragments = cut(&whole, mtu);
            assert!(fragments.iter().all(|fragment| fragment.len() <= usize::from(mtu)));
            assert_eq!(reassemble(&fragments), whole[20..]);
            let twice: Vec<_> = fragments.iter().flat_map(|fragment| cut(fragment, 60)).collect();
            assert_eq!(reassemble(&twice), whole[20..]);
        }
    }

    #[test]
    fn only_copied_options_go_into_later_fragments() {
        // Record route (not copied), then loose source route (copied).
        let options = [7, 7, 4, 1, 2, 3, 4, 0x83, 3, 4, 1, 0];
        let fragments = cut(&packet(&options, 1400), 1300);
        assert_eq!(fragments[0][20..32], options);
        assert_eq!(fragments[1][20..32], [1, 1, 1, 1, 1, 1, 1, 0x83, 3, 4, 1, 0]);
    }

    #[test]
    fn an_mtu_without_room_for_payload_is_refused() {
        let whole = packet(&[], 100);
        assert_eq!(Fragments::new(&whole, &Inner::parse(&whole).unwrap(), 27), None);
    }
}
