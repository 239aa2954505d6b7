//! A peer that sends anything at all.

use std::time::Duration;

use bgp_rib::Policy;
use bgp_wire::{
    AsPath, Capability, Community, Context, Families, Family, NextHop, Open, PathAttributes, PeerKind,
    encode_announce, keepalive,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::net::{Net, PEER, announcement, configs};
use crate::{Alarm, Event, State};

fn update() -> Vec<u8> {
    announcement(&[65515], &["10.0.0.0/8", "10.1.0.0/16"])
}

#[test]
fn a_malformed_attribute_withdraws_its_routes_and_the_session_lives() {
    let mut net = Net::established(configs());
    net.inject(0, &update());
    assert_eq!(net.learned(0).len(), 2);
    let mut bad = update();
    // ORIGIN, the first attribute, gets a value that is none.
    bad[23 + 3] = 9;
    net.inject(0, &bad);
    assert!(net.learned(0).is_empty());
    assert_eq!(net.states(), [State::Established; 2]);
    let view = net.speakers[0].neighbor(PEER).unwrap();
    assert_eq!(view.counters.treated_as_withdraw, 1);
    assert_eq!(view.last_malformed.unwrap().1, bad);
    net.inject(0, &bad);
    let alarms = net.events[0]
        .iter()
        .filter(|(_, event)| matches!(event, Event::Alarm { alarm: Alarm::Malformed { .. }, .. }))
        .count();
    assert_eq!(alarms, 1, "one a minute");
}

#[test]
fn no_bytes_at_all_make_the_speaker_panic_or_leave_it_without_a_way_back() {
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let mut net = Net::established(configs());
    for round in 0..300 {
        let mut bytes = update();
        for _ in 0..=rng.next_u32() % 4 {
            let at = rng.next_u32() as usize % bytes.len();
            bytes[at] = rng.next_u32() as u8;
        }
        bytes.truncate(bytes.len() - rng.next_u32() as usize % 3);
        net.inject(0, &bytes);
        let mut waited = 0;
        while net.states() != [State::Established; 2] || net.whole() != 1 {
            net.run(Duration::from_secs(10));
            waited += 1;
            assert!(waited < 60, "round {round}: back in ten minutes");
        }
        net.run(Duration::from_secs(1));
    }
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let mut net = Net::established(configs());
    for byte in update() {
        net.inject(0, &[byte]);
    }
    assert_eq!(net.learned(0).len(), 2);
}

#[test]
fn inputs_for_connections_that_are_gone_are_ignored() {
    let mut net = Net::established(configs());
    let now = net.now;
    let speaker = &mut net.speakers[0];
    for number in [0, 77, u64::MAX] {
        let conn = crate::ConnId(number ^ 0x5555);
        speaker.handle_bytes(conn, &[1, 2, 3], now);
        speaker.handle_written(conn, 99, now);
        speaker.handle_closed(conn, now);
        speaker.handle_connect_failed(conn, crate::ConnectError::Other, now);
    }
    assert_eq!(net.states(), [State::Established; 2]);
}

#[test]
fn a_route_that_fits_no_message_is_not_shown_as_announced_nor_counted() {
    let mut both = configs();
    both[0].max_prefix_out = Some(1);
    let mut net = Net::established(both);
    let (now, conn) = (net.now, crate::ConnId(4711));
    let third = bgp_rib::NeighborId(2);
    let mut config = crate::NeighborConfig::new("third", [192, 168, 9, 9].into(), 65520, 65510);
    (config.import, config.export, config.passive) = (Policy::Any, Policy::Any, true);
    config.extended_message = true;
    net.speakers[0].upsert_neighbor(third, config, now);
    let ends = ["192.168.9.1:179", "192.168.9.9:40000"].map(|text| text.parse().unwrap());
    let open = Open::new(
        65520,
        180,
        [9, 9, 9, 9].into(),
        vec![Capability::family(Family::Ipv4Unicast), Capability::ExtendedMessage, Capability::As4(65520)],
    );
    net.speakers[0].handle_accepted(third, conn, ends[0], ends[1], now);
    net.speakers[0].handle_bytes(conn, &[open.encode(), keepalive()].concat(), now);
    // More communities than a message of 4096 octets holds.
    let mut attributes = PathAttributes::originated(NextHop::V4([192, 168, 9, 9].into()));
    attributes.as_path = AsPath::sequence([65520]);
    attributes.communities = (0..1100).map(Community).collect();
    let context = Context {
        as4: true,
        families: Families::IPV4,
        extended_message: true,
        peer: PeerKind::External,
        first_as: None,
        reject_as_sets: true,
    };
    let big = encode_announce(&attributes, &["10.0.0.0/8".parse().unwrap()], &context).unwrap().0;
    net.speakers[0].handle_bytes(conn, &big, now);
    while let Some(effect) = net.speakers[0].poll_effect() {
        if let crate::Effect::Write { conn, bytes } = effect {
            net.speakers[0].handle_written(conn, bytes.len(), now);
        }
    }
    assert_eq!(net.speakers[0].table_len(), 1);
    let view = net.speakers[0].neighbor(PEER).unwrap();
    assert_eq!((view.counters.unsendable, view.summary.sent), (1, 0));
    assert_eq!(net.speakers[0].advertised(PEER).count(), 0);
    // Nor does it take the one place the limit leaves.
    net.speakers[0].originate(&["11.0.0.0/8".parse().unwrap()].into(), now);
    let told: Vec<String> = net.speakers[0].advertised(PEER).map(|route| route.prefix.to_string()).collect();
    assert_eq!(told, ["11.0.0.0/8"]);
}
