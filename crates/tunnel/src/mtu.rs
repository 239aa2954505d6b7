//! What an inner packet may measure so that its ESP packet fits the path.

use crypto::Suite;
use esp::Geometry;

/// The smallest MTU IPv6 may see (RFC 8200 section 5).
pub const IPV6_MIN: u16 = 1280;
/// The smallest MTU IPv4 may see (RFC 791: every internet module must forward 68 octets).
pub const IPV4_MIN: u16 = 68;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;

/// The largest inner packet whose ESP packet fits an outer MTU, for a suite, an outer family and with or
/// without UDP encapsulation; never below [`IPV4_MIN`]. Inner packets of IPv6 are carried up to
/// [`IPV6_MIN`] whatever this says.
#[must_use]
pub fn inner_mtu(suite: Suite, outer_mtu: u16, ipv6_outer: bool, encap: bool) -> u16 {
    let header = if ipv6_outer { IPV6_HEADER } else { IPV4_HEADER };
    let udp = if encap { UDP_HEADER } else { 0 };
    let inner = usize::from(outer_mtu)
        .checked_sub(header + udp)
        .and_then(|room| Geometry::new(suite).largest_inner(room))
        .unwrap_or(0);
    // At most `outer_mtu`, so it fits 16 bits.
    (inner as u16).max(IPV4_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Suite {
        let (encr, integ) = match text.split_once('-') {
            Some((encr, integ)) => (encr, crypto::Integ::from_keyword(integ)),
            None => (text, None),
        };
        Suite::new(crypto::Encr::from_keyword(encr).unwrap(), integ).unwrap()
    }

    #[test]
    fn the_inner_mtu_is_what_the_head_ends_publish() {
        // suite, then (plain, in UDP) for outer MTUs 1500, 1492 (PPPoE), 1460 (GCP), 1454 (PPPoE in Japan).
        #[rustfmt::skip]
        let table = [
            ("aes256gcm16",   [(1446, 1438), (1438, 1430), (1406, 1398), (1398, 1390)]),
            ("aes256-sha1",   [(1438, 1422), (1422, 1422), (1390, 1390), (1390, 1374)]),
            ("aes256-sha256", [(1438, 1422), (1422, 1422), (1390, 1390), (1390, 1374)]),
            ("aes256-sha384", [(1422, 1422), (1422, 1406), (1390, 1374), (1374, 1374)]),
            ("aes256-sha512", [(1422, 1406), (1406, 1406), (1374, 1374), (1374, 1358)]),
        ];
        for (name, row) in table {
            for (outer, (plain, udp)) in [1500, 1492, 1460, 1454].into_iter().zip(row) {
                assert_eq!(inner_mtu(suite(name), outer, false, false), plain, "{name} {outer}");
                assert_eq!(inner_mtu(suite(name), outer, false, true), udp, "{name} {outer} in UDP");
            }
        }
    }

    #[test]
    fn an_ipv6_outer_header_costs_twenty_more() {
        for suite in Suite::all() {
            assert_eq!(inner_mtu(suite, 1500, true, true), inner_mtu(suite, 1480, false, true));
        }
    }

    #[test]
    fn an_absurd_outer_mtu_leaves_the_least_ipv4_allows() {
        for outer in 0..=140 {
            assert_eq!(inner_mtu(suite("aes256-sha512"), outer, true, true), IPV4_MIN);
        }
    }
}
