//! Route refresh both ways, End-of-RIB, and tables larger than a message.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bgp_rib::Options;
use bgp_wire::{Cutter, Family, MessageType, Open, RefreshKind, RouteRefresh, keepalive};

use super::net::{Net, PEER, configs};
use crate::{Clear, ConnId, Effect, Event, Speaker, SpeakerConfig, State};

const SECOND: Duration = Duration::from_secs(1);

fn kinds(net: &Net, side: usize, from: usize) -> Vec<(MessageType, usize, u8)> {
    let context = net.speakers[0].neighbor(PEER).unwrap().negotiated.unwrap().context;
    let mut cutter = Cutter::new();
    net.sent[side][from..].iter().for_each(|bytes| cutter.push(bytes));
    let frames = std::iter::from_fn(|| cutter.next_frame(&context).unwrap());
    frames
        .map(|frame| (frame.kind(), frame.bytes().len(), frame.body().get(2).copied().unwrap_or(0)))
        .collect()
}

#[test]
fn end_of_rib_follows_the_first_table_always() {
    let mut net = Net::new(configs(), 1);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(5 * SECOND);
    let ends = net.events[0].iter().filter(|(_, event)| matches!(event, Event::EndOfRib { .. })).count();
    assert_eq!(ends, 1);
    let said = kinds(&net, 1, 0);
    let updates: Vec<usize> =
        said.iter().filter(|(kind, ..)| *kind == MessageType::UPDATE).map(|(_, length, _)| *length).collect();
    assert_eq!(updates.last(), Some(&23), "the marker is the last of the table");
    assert_eq!(updates.len(), 2);
}

#[test]
fn a_refresh_request_is_answered_with_the_table_between_two_markers() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    let before = net.sent[1].len();
    net.speakers[0].clear(PEER, Clear::SoftIn, net.now);
    net.run(SECOND);
    let said = kinds(&net, 1, before);
    let refresh = MessageType::ROUTE_REFRESH;
    let shape: Vec<(MessageType, u8)> =
        said.iter().map(|(kind, _, subtype)| (*kind, if *kind == refresh { *subtype } else { 0 })).collect();
    assert_eq!(shape, [(refresh, 1), (MessageType::UPDATE, 0), (refresh, 2)]);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
}

#[test]
fn soft_out_tells_everything_again() {
    let mut net = Net::established(configs());
    net.originate(0, &["10.0.0.0/8", "11.0.0.0/8"]);
    net.run(SECOND);
    let before = net.speakers[1].neighbor(PEER).unwrap().counters.received.updates;
    net.speakers[0].clear(PEER, Clear::SoftOut, net.now);
    net.run(SECOND);
    let view = net.speakers[1].neighbor(PEER).unwrap();
    assert_eq!(view.counters.received.updates, before + 1, "both share their attributes");
    assert_eq!(view.counters.established, 1);
}

#[test]
fn what_a_peers_refresh_does_not_confirm_is_swept_at_its_end() {
    let mut net = Net::established(configs());
    net.originate(1, &["10.0.0.0/8"]);
    net.run(SECOND);
    net.inject(0, &RouteRefresh::new(RefreshKind::Begin, Family::Ipv4Unicast).encode());
    assert!(net.received(0)[0].stale);
    assert_eq!(net.learned(0), ["10.0.0.0/8"], "stale is not gone");
    net.inject(0, &RouteRefresh::new(RefreshKind::End, Family::Ipv4Unicast).encode());
    assert!(net.learned(0).is_empty());
}

#[test]
fn a_refresh_that_never_ends_is_ended_after_six_minutes() {
    let mut net = Net::established(configs());
    net.originate(1, &["10.0.0.0/8"]);
    net.run(SECOND);
    net.inject(0, &RouteRefresh::new(RefreshKind::Begin, Family::Ipv4Unicast).encode());
    net.run(Duration::from_secs(370));
    assert!(net.learned(0).is_empty());
}

#[test]
fn a_malformed_refresh_marker_ends_the_session_with_7_1_and_the_message() {
    let mut net = Net::established(configs());
    let mut bytes = RouteRefresh::new(RefreshKind::Begin, Family::Ipv4Unicast).encode();
    bytes[17] += 1;
    bytes.push(0);
    net.inject(0, &bytes);
    net.run(SECOND);
    let words = net.speakers[1].neighbor(PEER).unwrap().last_reset.unwrap().1;
    assert!(
        words.starts_with("peer sent ROUTE-REFRESH error: invalid message length (7/1), data ffff"),
        "{words}"
    );
}

#[test]
fn a_large_table_arrives_whole_in_full_messages_and_leaves_whole() {
    let mut net = Net::established(configs());
    let names: Vec<String> = (0..5000).map(|n| format!("10.{}.{}.0/24", n / 250, n % 250)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    net.originate(1, &names);
    net.run(5 * SECOND);
    assert_eq!(net.learned(0).len(), 5000);
    assert!(kinds(&net, 1, 0).iter().all(|(_, length, _)| *length <= 4096));
    let updates = net.speakers[0].neighbor(PEER).unwrap().counters.received.updates;
    assert!(updates <= 10, "{updates} messages");
    net.originate(1, &[]);
    net.run(5 * SECOND);
    assert!(net.learned(0).is_empty());
}

#[test]
fn a_slow_peer_hears_the_latest_state_and_not_the_history() {
    let mut net = Net::established(configs());
    net.stalled[1] = true;
    net.originate(1, &["10.0.0.0/8"]);
    for _ in 0..1000 {
        net.originate(1, &["11.0.0.0/8"]);
        net.originate(1, &["12.0.0.0/8"]);
    }
    let view = net.speakers[1].neighbor(PEER).unwrap();
    assert!(view.summary.output_queue < 100, "one write is outstanding, not a history");
    assert_eq!(view.counters.sent.updates, 2, "the marker and the first route");
}

#[test]
fn a_first_table_whose_end_is_never_told_is_taken_as_told_after_six_minutes() {
    let [mut config, _] = configs();
    config.passive = true;
    let own = SpeakerConfig { asn: 65510, router_id: [10, 0, 0, 1].into(), decision: Options::default() };
    let (mut speaker, start) = (Speaker::new(own, [1; 32]), Instant::now());
    speaker.upsert_neighbor(PEER, config, start);
    let ends: [SocketAddr; 2] = ["192.168.1.1:179", "172.16.0.254:40000"].map(|text| text.parse().unwrap());
    speaker.handle_accepted(PEER, ConnId(1), ends[0], ends[1], start);
    let open = Open::new(65515, 180, [10, 0, 0, 0].into(), Vec::new()).encode();
    speaker.handle_bytes(ConnId(1), &[open, keepalive().to_vec()].concat(), start);
    let mut told = Vec::new();
    for minute in 1..20 {
        let now = start + 60 * minute * SECOND;
        speaker.handle_bytes(ConnId(1), &keepalive(), now);
        speaker.handle_timeout(now);
        while let Some(effect) = speaker.poll_effect() {
            if let Effect::Write { conn, bytes } = effect {
                speaker.handle_written(conn, bytes.len(), now);
            }
        }
        while let Some(event) = speaker.poll_event() {
            told.extend(
                matches!(event, Event::EndOfRib { family: Family::Ipv4Unicast, .. }).then_some(minute),
            );
        }
    }
    assert_eq!(told, [6], "once");
    assert_eq!(speaker.state(PEER), Some(State::Established));
}
