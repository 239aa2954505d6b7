//! Messages another implementation wrote: read as meant, and written again octet by octet.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::collections::BTreeMap;

use bgp_wire::{
    Aggregator, AsPath, Capability, Community, Context, Cutter, Families, Family, Message, NextHop,
    Notification, NotificationCode, Open, Origin, PathAttributes, PeerKind, RefreshKind, RouteRefresh,
    Update, encode_announce, encode_end_of_rib, encode_withdraw, keepalive,
};
use inet::Prefix;

mod common;
use common::{context, hex, prefixes, samples};

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = include_str!("vectors/scapy.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(name, octets)| (name, hex(octets))).collect()
}

fn decode(name: &str, context: &Context) -> Message {
    let mut cutter = Cutter::new();
    cutter.push(&vectors()[name]);
    let frame = cutter.next_frame(context).unwrap().unwrap();
    assert_eq!(cutter.pending(), 0);
    Message::decode(&frame, context).unwrap()
}

fn update(name: &str, context: &Context) -> Update {
    match decode(name, context) {
        Message::Update(update) => update,
        other => panic!("{name}: {other:?}"),
    }
}

/// One announcement, both ways.
fn announces(name: &str, context: &Context, attributes: &PathAttributes, wanted: &[Prefix]) {
    let got = update(name, context);
    assert!(got.faults.is_empty() && got.withdrawn.is_empty(), "{name}: {got:?}");
    assert_eq!(got.reach.len(), 1);
    assert_eq!((&*got.reach[0].attributes, got.reach[0].prefixes.as_slice()), (attributes, wanted), "{name}");
    let (octets, taken) = encode_announce(attributes, wanted, context).unwrap();
    assert_eq!((octets, taken), (vectors()[name].clone(), wanted.len()), "{name}");
}

#[test]
fn messages_without_routes_read_as_meant_and_write_the_same() {
    let context = context();
    assert_eq!(decode("keepalive", &context), Message::Keepalive);
    assert_eq!(keepalive(), vectors()["keepalive"]);
    let cease = Notification::with_text(NotificationCode::ADMINISTRATIVE_SHUTDOWN, "hi");
    assert_eq!(cease.encode(), vectors()["notification"]);
    assert_eq!(decode("notification", &context), Message::Notification(cease));
    let request = RouteRefresh::new(RefreshKind::Request, Family::Ipv4Unicast);
    assert_eq!(request.encode(), vectors()["refresh"]);
    assert_eq!(decode("refresh", &context), Message::RouteRefresh(request));
    let plain = Open::new(65515, 90, [10, 0, 0, 1].into(), Vec::new());
    assert_eq!(plain.encode(), vectors()["open_without_parameters"]);
    assert_eq!(decode("open_without_parameters", &context), Message::Open(plain));
}

#[test]
fn an_open_with_a_parameter_for_each_capability_reads_as_one_list() {
    let wanted = Open::new(
        4_200_000_000,
        180,
        [203, 0, 113, 1].into(),
        vec![
            Capability::family(Family::Ipv4Unicast),
            Capability::family(Family::Ipv6Unicast),
            Capability::RouteRefresh,
            Capability::As4(4_200_000_000),
        ],
    );
    assert_eq!(decode("open", &context()), Message::Open(wanted));
}

#[test]
fn announcements_read_as_meant_and_write_the_same() {
    let mut attributes = PathAttributes::originated(NextHop::V4([172, 16, 0, 254].into()));
    attributes.as_path = AsPath::sequence([65515, 4_200_000_000]);
    attributes.med = Some(50);
    attributes.communities = vec![Community(0xfde8_0064)];
    let wanted = prefixes(&["172.16.0.0/22", "10.0.0.0/8", "192.0.2.1/32", "0.0.0.0/0"]);
    announces("announce_v4", &context(), &attributes, &wanted);

    let next_hop = NextHop::V6 { global: "2001:db8::1".parse().unwrap(), link_local: None };
    let mut attributes = PathAttributes::originated(next_hop);
    attributes.origin = Origin::Incomplete;
    attributes.as_path = AsPath::sequence([65515]);
    announces("announce_v6", &context(), &attributes, &prefixes(&["2001:db8:1::/48", "::/0"]));
}

#[test]
fn four_octet_numbers_travel_beside_the_path_of_a_two_octet_session() {
    let short = Context { as4: false, ..context() };
    let mut attributes = PathAttributes::originated(NextHop::V4([172, 16, 0, 254].into()));
    attributes.origin = Origin::Egp;
    attributes.as_path = AsPath::sequence([65515, 4_200_000_000]);
    attributes.aggregator = Some(Aggregator { asn: 4_200_000_000, address: [10, 0, 0, 9].into() });
    announces("announce_as2", &short, &attributes, &prefixes(&["10.0.0.0/8"]));
}

#[test]
fn withdrawals_and_markers_read_as_meant_and_write_the_same() {
    for (name, texts) in
        [("withdraw_v4", &["172.16.0.0/22", "10.128.0.0/9"][..]), ("withdraw_v6", &["2001:db8:1::/48"])]
    {
        let wanted = prefixes(texts);
        assert_eq!(update(name, &context()), Update { withdrawn: wanted.clone(), ..Update::default() });
        assert_eq!(encode_withdraw(&wanted, &context()), (vectors()[name].clone(), wanted.len()));
    }
    for (name, family) in [("end_of_rib_v4", Family::Ipv4Unicast), ("end_of_rib_v6", Family::Ipv6Unicast)] {
        assert_eq!(update(name, &context()), Update { end_of_rib: Some(family), ..Update::default() });
        assert_eq!(encode_end_of_rib(family), vectors()[name]);
        let only = Context { families: Families::NONE, peer: PeerKind::External, ..context() };
        assert_eq!(update(name, &only), Update::default(), "a family not negotiated is ignored");
    }
}

#[test]
fn every_sample_is_written_as_another_implementation_has_read_it() {
    let lines = include_str!("vectors/written.txt").lines().filter(|line| !line.starts_with('#'));
    assert_eq!(samples(), lines.map(hex).collect::<Vec<_>>());
}
