//! Peers that do not fit: each reason is told in words, on both sides where both can know.

use std::time::Duration;

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(20);

fn refused(seed: u64, change: impl Fn(usize, &mut Connection)) -> World {
    let mut world = World::pair_with(seed, change);
    world.dial(A);
    world.run_for(MOMENT);
    world
}

#[test]
fn no_common_suite_is_told_with_both_lists() {
    let world = refused(1, |host, connection| {
        let text = if host == A { "aes128-sha1-modp1024" } else { "aes256-sha256-modp2048" };
        connection.ike_proposals = vec![IkeProposal::parse(text).unwrap()];
    });
    let [Failure::NoProposal(at_a)] = &world.failures(A)[..] else { panic!("{:?}", world.failures(A)) };
    assert!(at_a.by_peer && at_a.ours == ["aes128-sha1-modp1024"]);
    let [Failure::NoProposal(at_b)] = &world.failures(B)[..] else { panic!("{:?}", world.failures(B)) };
    assert!(!at_b.by_peer);
    assert_eq!(at_b.ours, ["aes256-sha256-modp2048"]);
    assert_eq!(at_b.theirs, ["aes128-sha1-prfsha1-modp1024"]);
    assert_eq!((world.hosts[A].engine.held(), world.hosts[B].engine.held()), (0, 0));
}

#[test]
fn no_common_esp_suite_leaves_the_ike_sa_up() {
    let world = refused(2, |host, connection| {
        let text = if host == A { "aes128-sha1" } else { "aes256gcm16" };
        connection.esp_proposals = vec![EspProposal::parse(text).unwrap()];
    });
    for host in [A, B] {
        assert_eq!(world.hosts[host].ikes.len(), 1);
        assert!(!world.hosts[host].up());
        let failures = world.failures(host);
        assert!(
            matches!(&failures[..], [Failure::NoProposal(lists)] if lists.by_peer == (host == A)),
            "{failures:?}"
        );
    }
}

#[test]
fn a_group_only_the_peer_has_is_named() {
    let mut world = World::pair(3);
    world.tap = Some(Box::new(|to, bytes| {
        // A responder that asks for group 14, which was not offered.
        if to == A && bytes[18] == 34 {
            let mut header = ike_wire::Header::peek(bytes).unwrap();
            header.responder_spi = ike_wire::IkeSpi::ZERO;
            let notify = ike_wire::Notify::new(ike_wire::NotifyType::INVALID_KE_PAYLOAD, vec![0, 14]);
            *bytes = ike_wire::encode(&header, &[ike_wire::Payload::Notify(notify)]).unwrap();
        }
        true
    }));
    world.dial(A);
    world.run_for(MOMENT);
    let [failure @ Failure::InvalidKe { wanted: 14, .. }] = &world.failures(A)[..] else { panic!() };
    assert_eq!(failure.to_string(), "the peer accepts only modp2048; our proposals name curve25519");
}

#[test]
fn a_wrong_secret_is_told_on_both_sides() {
    let world = refused(4, |host, connection| {
        if host == A {
            connection.psk_local = std::sync::Arc::new("not the secret".into());
        }
    });
    assert!(matches!(&world.failures(A)[..], [Failure::AuthenticationFailed { by_peer: true, .. }]));
    assert!(matches!(&world.failures(B)[..], [Failure::AuthenticationFailed { by_peer: false, .. }]));
    assert!(world.hosts[A].ikes.is_empty() && world.hosts[B].ikes.is_empty());
}

#[test]
fn a_responder_with_the_wrong_secret_is_told_and_takes_its_side_down() {
    let world = refused(5, |host, connection| {
        if host == B {
            connection.psk_local = std::sync::Arc::new("not the secret".into());
        }
    });
    assert!(matches!(&world.failures(A)[..], [Failure::AuthenticationFailed { by_peer: false, .. }]));
    assert!(matches!(&world.failures(B)[..], [Failure::AuthenticationFailed { by_peer: true, .. }]));
    assert!(world.hosts[A].ikes.is_empty() && world.hosts[B].ikes.is_empty());
    assert!(!world.hosts[B].up());
    assert_eq!(world.hosts[A].engine.held(), 0);
}

#[test]
fn a_peer_with_another_name_is_refused_whoever_dials() {
    for dialler in [A, B] {
        let mut world = World::pair_with(6, |host, connection| {
            if host == A {
                connection.remote_id = Some("somebody.else".parse().unwrap());
            }
        });
        world.dial(dialler);
        world.run_for(MOMENT);
        assert!(world.hosts.iter().all(|host| host.ikes.is_empty()), "{dialler}");
        let failures = [world.failures(A), world.failures(B)].concat();
        assert!(failures.iter().all(|failure| matches!(failure, Failure::AuthenticationFailed { .. })));
        assert_eq!(failures.len(), 2);
    }
}

#[test]
fn selectors_without_anything_in_common_are_told_on_both_sides() {
    let world = refused(7, |host, connection| {
        let (local, remote) =
            if host == A { ("10.1.0.0/16", "10.2.0.0/16") } else { ("10.3.0.0/16", "10.1.0.0/16") };
        connection.local_ts = vec![local.parse().unwrap()];
        connection.remote_ts = vec![remote.parse().unwrap()];
    });
    assert!(matches!(&world.failures(A)[..], [Failure::TsUnacceptable { by_peer: true, .. }]));
    assert!(matches!(
        &world.failures(B)[..],
        [Failure::TsUnacceptable { by_peer: false, offered: Some(_), .. }]
    ));
    assert!(world.hosts.iter().all(|host| host.ikes.len() == 1 && !host.up()));
}

#[test]
fn a_silent_peer_is_told_after_the_whole_patience() {
    let mut world = World::pair_with(8, |_, connection| connection.dpd.timeout = Duration::from_secs(40));
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_secs(39));
    assert!(world.failures(A).is_empty());
    assert_eq!(world.hosts[A].count(|event| matches!(event, Event::Note(Note::NoAnswer { .. }))), 1);
    world.run_for(Duration::from_secs(2));
    assert!(matches!(&world.failures(A)[..], [Failure::PeerSilent { exchange: Exchange::IkeSaInit, .. }]));
    assert_eq!(world.hosts[A].engine.held(), 0);
}

#[test]
fn a_stranger_gets_one_answer_and_leaves_no_state() {
    let mut world = World::pair_with(9, |host, connection| {
        if host == B {
            connection.remote = Remote::Addresses(vec!["203.0.113.77".parse().unwrap()]);
        }
    });
    world.dial(A);
    world.run_for(MOMENT);
    assert!(matches!(&world.failures(A)[..], [Failure::NoProposal(_)]));
    assert_eq!(world.hosts[B].engine.held(), 0);
    assert_eq!(world.hosts[B].engine.counters().get(Counter::UnknownPeer), 1);
    assert_eq!(world.hosts[B].count(|event| matches!(event, Event::Note(Note::UnknownPeer { .. }))), 1);
}

#[test]
fn a_connection_open_to_all_answers_only_with_an_identity_to_ask_for() {
    let world = refused(10, |host, connection| {
        if host == B {
            connection.remote = Remote::Any;
        }
    });
    assert!(world.hosts.iter().all(|host| host.ikes.is_empty()));
}

#[test]
fn removing_a_connection_ends_it_on_both_sides() {
    let mut world = World::pair(11).established();
    let now = world.now;
    world.hosts[A].engine.remove_connection(CONN, now);
    world.drain(A);
    world.run_for(MOMENT);
    assert_eq!(world.hosts[A].ike_reasons(), [DownReason::Reconfigured]);
    assert_eq!(world.hosts[B].ike_reasons(), [DownReason::PeerDeleted]);
    assert!(world.hosts.iter().all(|host| !host.up()));
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.hosts[A].engine.held(), world.hosts[B].engine.held()), (0, 0));
}
