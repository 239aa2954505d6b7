//! Input nobody should send: cut, changed, replayed, flooded.

use std::time::Duration;

use ike_wire::{Notify, NotifyType, Payload};

use super::pair::*;
use super::resources::up;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);

/// A conversation with every exchange in it.
fn conversation(seed: u64) -> World {
    let mut world = World::pair_with(seed, |_, connection| {
        connection.esp_proposals = vec![EspProposal::parse("aes128-sha256-curve25519").unwrap()];
    })
    .established();
    for side in [A, B] {
        world.command(side, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        world.command(side, Command::RekeyIke { conn: CONN });
        world.run_for(MOMENT);
        world.command(side, Command::Probe { conn: CONN });
        world.run_for(MOMENT);
    }
    world
}

/// Host, SPIs and message ids: what no stranger may change.
type State = (usize, u32, u32, u64, (u32, u32));

fn fingerprint(world: &World) -> Vec<State> {
    let mut all = Vec::new();
    for (index, host) in world.hosts.iter().enumerate() {
        for child in host.engine.child_status(CONN) {
            for ike in host.engine.ike_status(CONN) {
                all.push((index, child.spi_in, child.spi_out, ike.spi_i, ike.message_ids));
            }
        }
    }
    all
}

#[test]
fn replays_of_a_whole_conversation_change_nothing() {
    let mut world = conversation(1);
    let before = fingerprint(&world);
    let log = world.log.clone();
    for (to, path, bytes) in log.iter().chain(log.iter().rev()) {
        world.deliver(*to, *path, bytes);
    }
    assert_eq!(fingerprint(&world), before);
    world.run_for(Duration::from_secs(60));
    world.assert_one_child();
}

#[test]
fn every_truncation_of_every_message_is_dropped() {
    let mut world = conversation(2);
    let before = fingerprint(&world);
    for (to, path, bytes) in world.log.clone() {
        for cut in 0..bytes.len() {
            let mut short = bytes[..cut].to_vec();
            world.deliver(to, path, &short);
            // And with a length field that agrees.
            if let Some(field) = short.get_mut(24..28) {
                field.copy_from_slice(&u32::try_from(cut).unwrap().to_be_bytes());
                world.deliver(to, path, &short);
            }
        }
    }
    assert_eq!(fingerprint(&world), before);
    world.run_for(Duration::from_secs(60));
    world.assert_one_child();
}

#[test]
fn changed_octets_in_flight_never_panic_and_never_hurt_an_established_pair() {
    let mut world = conversation(3);
    let before = fingerprint(&world);
    for (to, path, bytes) in world.log.clone() {
        for index in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[index] ^= flip;
                world.deliver(to, path, &changed);
            }
        }
    }
    assert_eq!(fingerprint(&world), before);
    world.run_for(Duration::from_secs(60));
    world.assert_one_child();
}

#[test]
fn a_message_forged_before_the_real_one_does_not_stop_it() {
    for index in 0..40_usize {
        let mut world = World::pair(4);
        // Of each datagram after IKE_SA_INIT a changed copy comes first.
        world.dial(A);
        let mut seen = 0;
        while world.hosts.iter().any(|host| !host.up()) && world.now - world.start < MOMENT {
            world.step(world.start + MOMENT);
            let fresh: Vec<_> = world.log[seen..].to_vec();
            seen = world.log.len();
            for (to, path, mut bytes) in fresh {
                if bytes[18] != 34 {
                    let last = bytes.len() - 1;
                    let index = (28 + index * 7).min(last);
                    bytes[index] ^= 0x10;
                    world.deliver(to, path, &bytes);
                }
            }
        }
        world.run_for(MOMENT);
        world.assert_one_child();
    }
}

#[test]
fn a_changed_first_message_ends_in_a_failed_authentication_and_nothing_worse() {
    for index in 28..200 {
        let mut world = World::pair(5);
        world.tap = Some(Box::new(move |_, bytes| {
            if bytes[18] == 34 && index < bytes.len() {
                bytes[index] ^= 0x04;
            }
            true
        }));
        world.dial(A);
        world.run_for(Duration::from_secs(200));
        // A changed NAT detection hash or vendor payload is covered by AUTH all the same.
        assert!(world.hosts.iter().all(|host| host.ikes.is_empty()), "octet {index}");
        assert!(!world.failures(A).is_empty(), "octet {index}");
        assert_eq!((world.hosts[A].engine.held(), world.hosts[B].engine.held()), (0, 0), "octet {index}");
    }
}

#[test]
fn a_flood_of_first_messages_is_bounded_and_a_good_peer_still_gets_in() {
    let mut world =
        World::with_limits(6, Limits { half_open: 40, half_open_per_address: 30, ..Limits::default() });
    world.configure(|_, _| {});
    // A template, from a dial whose answer is lost.
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_millis(100));
    let (_, path, init) = world.log.first().unwrap().clone();
    world.tap = None;
    let mut stranger = connection(B);
    stranger.remote = Remote::Any;
    stranger.remote_id = Some("x".parse().unwrap());
    let now = world.now;
    world.hosts[B].engine.upsert_connection(ConnId(2), stranger, now);
    for n in 0..2000_u32 {
        let mut bytes = init.clone();
        bytes[0..4].copy_from_slice(&n.to_be_bytes());
        let remote = std::net::SocketAddr::new(std::net::Ipv4Addr::from(0xcb00_7100 + n % 200).into(), 500);
        world.deliver(B, Path { remote, ..path }, &bytes);
    }
    let engine = &world.hosts[B].engine;
    assert!(engine.half_open() <= 40);
    assert!(engine.held() <= 40);
    assert_eq!(engine.counters().get(Counter::CookieSent), 1000, "as many as are sent in a second");
    assert!(engine.counters().get(Counter::RateLimited) > 900);
    world.run_for(Duration::from_secs(40));
    assert_eq!(world.hosts[B].engine.half_open(), 0);
    world.run_for(Duration::from_secs(100));
    assert!(world.hosts[A].up(), "{:#?}", world.hosts[A].story());
}

#[test]
fn a_half_open_ike_sa_times_out() {
    let mut world = World::pair(7);
    world.tap = Some(Box::new(|to, bytes| to == B && bytes[18] == 34));
    world.dial(A);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.hosts[B].engine.half_open(), 1);
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.hosts[B].engine.half_open(), 0);
    assert!(world.hosts[B].engine.counters().get(Counter::HalfOpenExpired) >= 1);
}

#[test]
fn a_peer_that_asks_for_cookies_without_end_is_given_up() {
    let mut world = World::pair(8);
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    while world.failures(A).is_empty() && world.now - world.start < 4 * MOMENT {
        world.step(world.start + 4 * MOMENT);
        for (_, path, bytes) in std::mem::take(&mut world.log) {
            let header = ike_wire::Header::peek(&bytes).unwrap().response();
            let notify = Notify::new(NotifyType::COOKIE, vec![7; 20]);
            let answer = ike_wire::encode(&header, &[Payload::Notify(notify)]).unwrap();
            world.deliver(A, Path { local: path.remote, remote: path.local }, &answer);
        }
    }
    assert!(matches!(&world.failures(A)[..], [Failure::Misbehaved(Misbehaviour::EndlessRetry)]));
}

#[test]
fn two_answers_to_one_request_do_not_put_two_cookies_under_way() {
    let mut world = World::pair(10);
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_millis(1500));
    let requests = std::mem::take(&mut world.log);
    assert_eq!(requests.len(), 2, "sent, and repeated");
    for (number, (_, path, bytes)) in requests.iter().enumerate() {
        let header = ike_wire::Header::peek(bytes).unwrap().response();
        let cookie = vec![u8::try_from(number).unwrap(); 20];
        let notify = Notify::new(NotifyType::COOKIE, cookie);
        let answer = ike_wire::encode(&header, &[Payload::Notify(notify)]).unwrap();
        world.deliver(A, Path { local: path.remote, remote: path.local }, &answer);
    }
    world.run_for(Duration::from_millis(1500));
    let again = std::mem::take(&mut world.log);
    assert_eq!(again.len(), 2, "the request with the first cookie, and its repetition");
    assert_eq!(again[0].2, again[1].2);
    assert!(again[0].2.windows(20).any(|octets| octets == [0; 20]), "the first cookie");
}

#[test]
fn random_octets_are_counted_and_dropped() {
    use rand_core::RngCore;
    let mut world = World::pair(9).established();
    let before = fingerprint(&world);
    let path = Path { local: world.path(B).local, remote: world.path(A).local };
    for length in 0..600 {
        let mut bytes = vec![0; length];
        world.rng.fill_bytes(&mut bytes);
        world.deliver(B, path, &bytes);
        // With a good header in front the parser gets further.
        if length >= 28 {
            bytes[16] = 33;
            bytes[17] = 0x20;
            bytes[18] = 34;
            bytes[19] = 0x08;
            bytes[8..16].fill(0);
            bytes[20..24].fill(0);
            bytes[24..28].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            world.deliver(B, path, &bytes);
        }
    }
    assert_eq!(fingerprint(&world), before);
    assert!(world.hosts[B].engine.counters().get(Counter::Malformed) > 500);
}

#[test]
fn a_higher_version_is_told_ours() {
    let mut world = World::pair(10);
    world.tap = Some(Box::new(|to, bytes| {
        if to == B {
            bytes[17] = 0x30;
        }
        true
    }));
    world.dial(A);
    world.run_for(MOMENT);
    assert!(matches!(&world.failures(A)[..], [Failure::WrongVersion { .. }]));
}

#[test]
fn a_first_message_with_a_critical_payload_nobody_knows_is_refused_by_its_number() {
    let mut world = World::pair(11);
    world.tap = Some(Box::new(|to, bytes| {
        if to == B {
            // The SA payload becomes one of type 200 with the critical bit.
            bytes[16] = 200;
            bytes[29] |= 0x80;
        }
        true
    }));
    world.dial(A);
    world.run_for(MOMENT);
    let answer = world.log.iter().find(|(to, _, _)| *to == A).map(|(_, _, bytes)| bytes.clone()).unwrap();
    // One Notify, of one octet of data.
    assert_eq!(answer[28..], [0, 0, 0, 9, 0, 0, 0, 1, 200]);
    assert_eq!(world.hosts[B].engine.half_open(), 0);
}

#[test]
fn a_foreign_notify_of_any_length_is_read_or_refused_and_never_hurts() {
    for length in [0, 1, 3, 4, 5, 16, 17, 255, 4000, 60_000] {
        let mut world = up(12, [2, 3]);
        let last = world.log.iter().rev().find(|(to, _, bytes)| *to == B && bytes[18] == 36).unwrap().clone();
        let mut payloads = world.hosts[B].engine.look(&last.2);
        for payload in &mut payloads {
            if let Payload::Notify(notify) = payload {
                *notify = Notify::new(NotifyType::SA_RESOURCE_INFO, vec![0xa5; length]);
            }
        }
        payloads.push(Payload::Notify(Notify::about(
            ike_wire::ProtocolId::ESP,
            7,
            NotifyType::SA_RESOURCE_INFO,
        )));
        let now = world.now;
        world.hosts[A].engine.inject(CONN, ike_wire::ExchangeType::CREATE_CHILD_SA, &payloads, now);
        world.drain(A);
        world.run_for(Duration::from_secs(2));
        // B, which allows three, made it; A never asked and does not know it.
        let status = world.hosts[B].engine.child_status(CONN);
        assert_eq!(status.len(), 3, "length {length}");
        let made = status.iter().find(|one| one.resource.0 == 2).unwrap();
        assert_eq!(made.peer_resource, vec![0xa5; length.min(16)]);
    }
}

#[test]
fn the_notify_with_every_octet_changed_or_cut_breaks_nothing() {
    let base = {
        let world = up(13, [2, 3]);
        let last = world.log.iter().rev().find(|(to, _, bytes)| *to == B && bytes[18] == 36).unwrap().clone();
        world.hosts[B].engine.look(&last.2)
    };
    let header = ike_wire::Header {
        initiator_spi: ike_wire::IkeSpi(1),
        responder_spi: ike_wire::IkeSpi(2),
        exchange: ike_wire::ExchangeType::CREATE_CHILD_SA,
        flags: ike_wire::ExchangeFlags { initiator: true, response: false, version: false },
        message_id: 2,
    };
    // The message in clear, as the parser has it after opening: its last payload is the notify.
    let whole = ike_wire::encode(&header, &base).unwrap();
    let first = whole[16];
    let body = &whole[28..];
    let (mut world, mut parsed, mut granted) = (up(13, [2, 16]), 0, 0);
    let notify = body.len() - 12;
    for index in notify..body.len() {
        for change in [0x01, 0x08, 0x80, 0xff] {
            let mut changed = body.to_vec();
            changed[index] ^= change;
            for cut in [changed.len(), index] {
                let Ok(payloads) = ike_wire::parse_chain(ike_wire::PayloadType(first), &changed[..cut])
                else {
                    continue;
                };
                parsed += 1;
                let now = world.now;
                let before = world.hosts[B].engine.child_status(CONN).len();
                world.hosts[A].engine.inject(CONN, ike_wire::ExchangeType::CREATE_CHILD_SA, &payloads, now);
                world.drain(A);
                world.run_for(Duration::from_millis(200));
                granted += usize::from(world.hosts[B].engine.child_status(CONN).len() > before);
                assert!(world.hosts[B].engine.child_status(CONN).len() <= 16 + 30);
                assert_eq!(world.hosts[B].ikes.len(), 1);
            }
        }
    }
    assert!(parsed > 10 && granted > 0, "{parsed} {granted}");
}
