//! What the tests share.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "each test takes what it needs")]

use bgp_wire::{
    AsPath, Capability, Context, Families, Family, NextHop, Notification, NotificationCode, Open,
    PathAttributes, PeerKind, RefreshKind, RouteRefresh, encode_announce, encode_end_of_rib, encode_withdraw,
    keepalive,
};
use inet::Prefix;

/// An external session with 4-octet AS numbers and both families.
pub fn context() -> Context {
    Context {
        as4: true,
        families: Families::BOTH,
        extended_message: false,
        peer: PeerKind::External,
        first_as: None,
        reject_as_sets: true,
    }
}

/// Octets from hexadecimal digits; blanks are for the reader.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len().is_multiple_of(2), "{text}");
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub fn prefixes(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The body of an UPDATE.
pub fn body(withdrawn: &str, attributes: &str, nlri: &str) -> Vec<u8> {
    let (withdrawn, attributes, nlri) = (hex(withdrawn), hex(attributes), hex(nlri));
    let mut body = (withdrawn.len() as u16).to_be_bytes().to_vec();
    body.extend(withdrawn);
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(nlri);
    body
}

/// One of each message, and of most attributes.
pub fn samples() -> Vec<Vec<u8>> {
    let capabilities = vec![
        Capability::family(Family::Ipv4Unicast),
        Capability::RouteRefresh,
        Capability::EnhancedRefresh,
        Capability::ExtendedMessage,
        Capability::As4(65515),
        Capability::Fqdn { host: "gw".into(), domain: "example".into() },
    ];
    let mut attributes = PathAttributes::originated(NextHop::V4([172, 16, 0, 254].into()));
    attributes.as_path = AsPath::sequence([65515, 70000]);
    attributes.med = Some(1);
    attributes.atomic_aggregate = true;
    attributes.aggregator = Some(bgp_wire::Aggregator { asn: 70000, address: [10, 0, 0, 1].into() });
    attributes.communities = vec![bgp_wire::Community::NO_EXPORT];
    attributes.extended_communities = vec![bgp_wire::ExtendedCommunity([0, 2, 0, 1, 0, 0, 0, 2])];
    attributes.large_communities = vec![bgp_wire::LargeCommunity { global: 1, local1: 2, local2: 3 }];
    attributes.only_to_customer = Some(65515);
    let v6 = PathAttributes {
        next_hop: NextHop::V6 {
            global: "2001:db8::1".parse().unwrap(),
            link_local: Some("fe80::1".parse().unwrap()),
        },
        ..attributes.clone()
    };
    let announce = |attributes: &PathAttributes, texts: &[&str]| {
        encode_announce(attributes, &prefixes(texts), &context()).unwrap().0
    };
    vec![
        Open::new(65515, 180, [10, 0, 0, 1].into(), capabilities).encode(),
        announce(&attributes, &["10.0.0.0/8", "192.0.2.0/24"]),
        announce(&v6, &["2001:db8::/32"]),
        encode_withdraw(&prefixes(&["10.0.0.0/8"]), &context()).0,
        encode_withdraw(&prefixes(&["2001:db8::/32"]), &context()).0,
        encode_end_of_rib(Family::Ipv4Unicast),
        encode_end_of_rib(Family::Ipv6Unicast),
        Notification::max_prefixes(Family::Ipv4Unicast, 100).encode(),
        Notification::with_text(NotificationCode::ADMINISTRATIVE_SHUTDOWN, "bye").encode(),
        keepalive(),
        RouteRefresh::new(RefreshKind::Begin, Family::Ipv4Unicast).encode(),
    ]
}
