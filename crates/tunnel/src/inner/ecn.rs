//! Congestion marks through the tunnel (RFC 6040, which replaces RFC 4301 section 5.1.2.1 in this).
//!
//! Going in, the outer header gets the inner field as it is ("normal mode", RFC 6040 section 4.1), as it
//! gets the DSCP. Coming out, the inner field becomes what the table of section 4.2 says.

use crate::octets::{get16, put8, put16};
use crate::offload::checksum;

const NOT_ECT: u8 = 0;
const ECT_1: u8 = 1;
const ECT_0: u8 = 2;
const CE: u8 = 3;

/// What decapsulation makes of the inner ECN field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decapsulated {
    /// It stays.
    Keep,
    /// It becomes this.
    Set(u8),
    /// The packet must be dropped.
    Drop,
}

/// RFC 6040 section 4.2, figure 4; the low two bits of each TOS count.
///
/// ```text
///            |            arriving outer header              |
/// inner      | Not-ECT   | ECT(0)    | ECT(1)    | CE        |
/// Not-ECT    | Not-ECT   | Not-ECT   | Not-ECT   | drop      |
/// ECT(0)     | ECT(0)    | ECT(0)    | ECT(1)    | CE        |
/// ECT(1)     | ECT(1)    | ECT(1)    | ECT(1)    | CE        |
/// CE         | CE        | CE        | CE        | CE        |
/// ```
#[must_use]
pub fn decapsulate(inner_tos: u8, outer_tos: u8) -> Decapsulated {
    match (inner_tos & 3, outer_tos & 3) {
        (NOT_ECT, CE) => Decapsulated::Drop,
        (ECT_0 | ECT_1, CE) => Decapsulated::Set(CE),
        (ECT_0, ECT_1) => Decapsulated::Set(ECT_1),
        (_, _) => Decapsulated::Keep,
    }
}

/// Writes the ECN field of an inner packet, and repairs an IPv4 header checksum.
pub fn set(packet: &mut [u8], ipv6: bool, ecn: u8) {
    let Some(word) = get16(packet, 0) else { return };
    if ipv6 {
        put16(packet, 0, word & !0x0030 | u16::from(ecn & 3) << 4);
        return;
    }
    let changed = word & !3 | u16::from(ecn & 3);
    put8(packet, 1, changed as u8);
    if let Some(sum) = get16(packet, 10) {
        put16(packet, 10, checksum::replace(sum, word, changed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_where_the_inner_packet_can_carry_it() {
        use Decapsulated::{Drop, Keep, Set};
        #[rustfmt::skip]
        let table = [
            // outer: Not-ECT, ECT(1), ECT(0), CE
            (NOT_ECT, [Keep, Keep, Keep, Drop]),
            (ECT_1,   [Keep, Keep, Keep, Set(CE)]),
            (ECT_0,   [Keep, Set(ECT_1), Keep, Set(CE)]),
            (CE,      [Keep, Keep, Keep, Keep]),
        ];
        for (inner, row) in table {
            for (outer, expected) in (0..).zip(row) {
                assert_eq!(decapsulate(0xa0 | inner, 0x40 | outer), expected, "{inner} {outer}");
            }
        }
    }

    #[test]
    fn setting_the_field_leaves_the_rest_and_keeps_the_checksum_right() {
        let mut v4 = [0x45, 0xb9, 0, 20, 1, 2, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        let sum = !checksum::sum(&v4);
        put16(&mut v4, 10, sum);
        set(&mut v4, false, CE);
        assert_eq!(v4[1], 0xbb);
        assert_eq!(checksum::sum(&v4), 0xffff);
        let mut v6 = [0x6a, 0xbc, 0xde, 0xf0];
        set(&mut v6, true, ECT_0);
        assert_eq!(v6, [0x6a, 0xac, 0xde, 0xf0]);
    }
}
