//! Several CHILD SAs with the same selectors (RFC 9611).

use std::num::NonZeroU8;
use std::time::Duration;

use ike_wire::{NotifyType, Payload};

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);
/// Longer than the answering side leaves the other to ask for what is missing.
const PAUSE: Duration = Duration::from_secs(30);

pub(super) fn want(sas: [u8; 2]) -> impl Fn(usize, &mut Connection) {
    move |host, connection| connection.resource_sas = NonZeroU8::new(sas[host]).unwrap()
}

/// A has dialled B, and all that was asked for at once is there.
pub(super) fn up(seed: u64, sas: [u8; 2]) -> World {
    let mut world = World::pair_with(seed, want(sas));
    world.dial(A);
    world.run_for(MOMENT);
    world
}

/// Exactly these resources at both ends, in one IKE SA, each the other's mirror, with the same selectors and suite.
pub(super) fn assert_resources(world: &World, expected: &[u8]) {
    let [a, b] = &world.hosts;
    let story = || format!("\nA: {:#?}\nB: {:#?}", a.story(), b.story());
    assert_eq!((a.ikes.len(), b.ikes.len()), (1, 1), "{}", story());
    for host in [a, b] {
        let mut have: Vec<u8> = host.children.values().map(|child| child.resource.0).collect();
        have.sort_unstable();
        assert_eq!(have, expected, "{}", story());
        assert_eq!(host.engine.child_status(CONN).len(), expected.len(), "{}", story());
        assert_eq!(host.engine.esp_spis(), expected.len(), "an SPI was leaked or freed twice{}", story());
        let first = host.children.values().find(|child| child.resource.is_any()).unwrap();
        for child in host.children.values() {
            assert_eq!((child.suite, child.esn), (first.suite, first.esn));
            assert_eq!((&child.local_ts, &child.remote_ts), (&first.local_ts, &first.remote_ts));
        }
    }
    for child in a.children.values() {
        let other = b.children.values().find(|other| other.spi_in == child.spi_out);
        mirror(child, other.unwrap_or_else(|| panic!("no twin{}", story())));
    }
}

fn settled(world: &World, host: usize) -> Resources {
    world.hosts[host].engine.ike_status(CONN)[0].resources
}

fn count(world: &World, host: usize, counter: Counter) -> u64 {
    world.hosts[host].engine.counters().get(counter)
}

#[test]
fn both_ends_that_want_several_have_them_at_once_whoever_dials() {
    for side in [A, B] {
        let mut world = World::pair_with(1, want([4, 4]));
        world.dial(side);
        world.run_for(MOMENT);
        assert_resources(&world, &[0, 1, 2, 3]);
        for host in [A, B] {
            assert_eq!(settled(&world, host), Resources::Agreed { wanted: 4, enough: None });
            assert!(world.failures(host).is_empty());
        }
        // The other end asks for nothing: nothing is missing.
        let sent = world.hosts[1 - side].sent.iter().filter(|one| !one.is_response()).count();
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.hosts[1 - side].sent.iter().filter(|one| !one.is_response()).count(), sent);
    }
}

#[test]
fn with_a_group_of_their_own_each_has_its_own_key_exchange() {
    let mut world = World::pair_with(2, |host, connection| {
        want([3, 3])(host, connection);
        connection.esp_proposals = vec![EspProposal::parse("aes128gcm16-curve25519").unwrap()];
    });
    world.dial(A);
    world.run_for(MOMENT);
    assert_resources(&world, &[0, 1, 2]);
    for child in world.hosts[A].children.values() {
        assert_eq!(child.pfs.is_some(), !child.resource.is_any());
    }
}

#[test]
fn each_is_dealt_to_another_receiver_and_stays_there_when_it_is_rekeyed() {
    let mut world = World::pair_with(3, want([4, 4]));
    let receivers = [4_u32, 3];
    for host in [A, B] {
        world.hosts[host].engine.deal_spis(receivers[host].try_into().unwrap());
    }
    world.dial(A);
    world.run_for(MOMENT);
    for side in [A, B, A] {
        assert_resources(&world, &[0, 1, 2, 3]);
        for host in [A, B] {
            for child in world.hosts[host].children.values() {
                let rest = (CONN.0 + u32::from(child.resource.0)) % receivers[host];
                assert_eq!(child.spi_in % receivers[host], rest, "{child:?}");
            }
        }
        world.command(side, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
    }
}

#[test]
fn an_end_that_wants_one_says_nothing_and_has_one() {
    for sas in [[1, 1], [4, 1], [1, 4]] {
        let mut world = up(4, sas);
        let spoke = |world: &World, to: usize| {
            let seen = world.log.iter().filter(|(host, ..)| *host == to);
            let parsed = seen
                .filter(|(.., bytes)| bytes[18] != 34)
                .map(|(.., bytes)| world.hosts[to].engine.look(bytes));
            let info =
                |one: &Payload| matches!(one, Payload::Notify(n) if n.kind == NotifyType::SA_RESOURCE_INFO);
            parsed.filter(|payloads| payloads.iter().any(info)).count()
        };
        assert_eq!((spoke(&world, B) > 0, spoke(&world, A) > 0), (sas[A] > 1, false));
        world.run_for(PAUSE);
        assert_resources(&world, &[0]);
        for host in [A, B] {
            let expected = match sas[host] {
                1 => Resources::One,
                wanted => Resources::PeerSilent { wanted },
            };
            assert_eq!(settled(&world, host), expected);
        }
    }
}

#[test]
fn the_one_with_fewer_sets_the_bound_and_says_so_once() {
    for (sas, refuser) in [([4, 2], B), ([2, 4], A)] {
        let mut world = up(5, sas);
        world.run_for(PAUSE);
        assert_resources(&world, &[0, 1]);
        assert_eq!(settled(&world, 1 - refuser), Resources::Agreed { wanted: 4, enough: Some(2) });
        assert_eq!(settled(&world, refuser), Resources::Agreed { wanted: 2, enough: None });
        assert_eq!(count(&world, refuser, Counter::ResourceRefused), 1);
        assert_eq!(count(&world, 1 - refuser, Counter::ResourceDenied), 1);
        let note = |event: &Event| matches!(event, Event::Note(Note::EnoughResources { have: 2, .. }));
        assert_eq!(world.hosts[1 - refuser].count(note), 1);
        assert!(world.failures(A).is_empty() && world.failures(B).is_empty());
        // It holds for as long as the IKE SA and its successors do.
        world.command(A, Command::RekeyIke { conn: CONN });
        world.run_for(Duration::from_secs(200));
        assert_resources(&world, &[0, 1]);
        assert_eq!(count(&world, refuser, Counter::ResourceRefused), 1);
    }
}

#[test]
fn a_peer_that_asks_for_more_than_it_may_have_is_told_so_and_changes_nothing() {
    let mut world = up(6, [3, 3]);
    // What A itself asked with, asked again: the fourth.
    let last = world.log.iter().rev().find(|(to, _, bytes)| *to == B && bytes[18] == 36).unwrap().clone();
    let payloads = world.hosts[B].engine.look(&last.2);
    for round in 1..=5 {
        let (create, now) = (ike_wire::ExchangeType::CREATE_CHILD_SA, world.now);
        world.hosts[A].engine.inject(CONN, create, &payloads, now);
        world.drain(A);
        world.run_for(MOMENT);
        assert_resources(&world, &[0, 1, 2]);
        assert_eq!(count(&world, B, Counter::ResourceRefused), round);
    }
    let (_, _, answer) = world.log.iter().rev().find(|(to, ..)| *to == A).unwrap();
    let answer = world.hosts[A].engine.look(answer);
    assert!(
        matches!(&answer[..], [Payload::Notify(notify)] if notify.kind == NotifyType::TS_MAX_QUEUE && notify.data.is_empty()),
        "{answer:?}"
    );
}

#[test]
fn one_that_is_not_like_the_first_is_refused() {
    let mut world = up(7, [2, 3]);
    let last = world.log.iter().rev().find(|(to, _, bytes)| *to == B && bytes[18] == 36).unwrap().clone();
    let mut payloads = world.hosts[B].engine.look(&last.2);
    for payload in &mut payloads {
        if let Payload::TsInitiator(ts) = payload {
            *ts = selectors::ts_to_wire(&["10.0.0.0/8".parse().unwrap()]);
        }
    }
    let now = world.now;
    world.hosts[A].engine.inject(CONN, ike_wire::ExchangeType::CREATE_CHILD_SA, &payloads, now);
    world.drain(A);
    world.run_for(Duration::from_secs(2));
    assert_resources(&world, &[0, 1]);
    let (_, _, answer) = world.log.iter().rev().find(|(to, ..)| *to == A).unwrap();
    let answer = world.hosts[A].engine.look(answer);
    assert!(matches!(&answer[..], [Payload::Notify(notify)] if notify.kind == NotifyType::TS_UNACCEPTABLE));
}

#[test]
fn rekeying_each_loses_no_packet_whoever_starts_it_and_keeps_its_resource() {
    for seed in 0..8 {
        let mut world = World::pair_with(seed, want([3, 3]));
        if seed % 2 == 1 {
            world.weather = Weather { twice: 150, jitter: Duration::from_millis(400), ..Weather::FAIR };
            for host in [A, B] {
                // Reordering that wide leaves packets on the way for longer than the usual five seconds never.
                world.hosts[host].work_delay = Duration::from_millis(20);
            }
        }
        world.dial(A);
        world.run_for(Duration::from_secs(20));
        for sides in [&[A][..], &[B], &[A, B]] {
            let before: Vec<u32> = world.hosts[A].children.values().map(|child| child.spi_in).collect();
            for side in sides {
                world.command(*side, Command::RekeyChild { conn: CONN });
            }
            assert_eq!(world.run_with_traffic(Duration::from_secs(30)), 0, "seed {seed}, {sides:?}");
            assert_resources(&world, &[0, 1, 2]);
            assert!(world.hosts[A].children.values().all(|child| !before.contains(&child.spi_in)));
            for child in world.hosts[A].children.values().chain(world.hosts[B].children.values()) {
                assert!(child.replaces.is_some());
            }
        }
        assert!(world.failures(A).is_empty() && world.failures(B).is_empty());
    }
}

#[test]
fn the_ike_sas_successor_takes_them_all_over_and_asks_for_no_more() {
    for side in [A, B] {
        let mut world = up(8, [3, 3]);
        let spis =
            |world: &World| -> Vec<u32> { world.hosts[A].children.values().map(|one| one.spi_in).collect() };
        let before = spis(&world);
        world.command(side, Command::RekeyIke { conn: CONN });
        world.run_for(Duration::from_secs(150));
        assert_resources(&world, &[0, 1, 2]);
        assert_eq!(spis(&world), before);
        assert_eq!(settled(&world, side), Resources::Agreed { wanted: 3, enough: None });
    }
}

#[test]
fn both_ends_that_ask_at_the_same_time_end_with_as_many_as_agreed() {
    for seed in 0..40 {
        let mut world = up(seed, [3, 3]);
        // Both lose theirs, and both may ask for others again from the same moment on.
        for resource in 1..3 {
            let lost = |world: &World, host: usize| {
                world.hosts[host]
                    .children
                    .values()
                    .find(|one| one.resource.0 == resource)
                    .map(|one| one.child)
            };
            if let Some(child) = lost(&world, A) {
                world.command(A, Command::TerminateChild { child });
            }
        }
        world.run_for(MOMENT);
        assert_resources(&world, &[0]);
        if seed % 2 == 1 {
            world.weather = Weather::FOUL;
        }
        world.run_for(Duration::from_secs(240));
        world.weather = Weather::FAIR;
        world.run_for(Duration::from_secs(600));
        assert_resources(&world, &[0, 1, 2]);
        assert!(world.failures(A).is_empty() && world.failures(B).is_empty(), "{:?}", world.failures(A));
    }
}

/// Up, and the answering end asks as soon as the other's first request for more is on its way.
fn crossing(seed: u64, sas: u8) -> World {
    let mut world = World::pair_with(seed, want([sas, sas]));
    world.dial(A);
    while world.hosts[A].children.is_empty() {
        assert!(world.step(world.start + MOMENT));
    }
    let now = world.now;
    world.hosts[B].engine.ask_for_resources(CONN, now);
    world.drain(B);
    world
}

#[test]
fn requests_that_cross_are_both_granted_where_there_is_room() {
    for seed in 0..20 {
        let mut world = crossing(seed, 3);
        world.run_for(MOMENT);
        assert_resources(&world, &[0, 1, 2]);
        for host in &world.hosts {
            let made = |event: &Event| matches!(event, Event::ChildUp(up) if up.role == Role::Initiator);
            assert!(host.count(made) >= 1 && host.child_reasons().is_empty(), "{:#?}", host.story());
        }
    }
}

#[test]
fn of_two_requests_for_the_last_one_neither_is_granted_and_then_one() {
    let mut won = [0, 0];
    for seed in 0..40 {
        let mut world = crossing(seed, 2);
        world.run_for(Duration::from_secs(30));
        assert_resources(&world, &[0, 1]);
        for host in [A, B] {
            assert!(count(&world, host, Counter::TemporaryFailure) >= 1, "seed {seed}");
            assert!(world.failures(host).is_empty() && world.hosts[host].child_reasons().is_empty());
        }
        let further = world.hosts[A].children.values().find(|one| !one.resource.is_any()).unwrap();
        won[if further.role == Role::Initiator { A } else { B }] += 1;
    }
    assert!(won.iter().all(|wins| *wins > 5), "{won:?}");
}

#[test]
fn one_that_is_lost_leaves_the_others_and_is_made_again_ever_later() {
    for side in [A, B] {
        let mut world = up(9, [3, 3]);
        for round in 0..4_u32 {
            let child = world.hosts[side].children.values().find(|one| one.resource.0 == 2).unwrap().child;
            world.command(side, Command::TerminateChild { child });
            world.run_for(Duration::from_secs(1));
            assert_resources(&world, &[0, 1]);
            world.run_for(Duration::from_secs(8 * 2_u64.pow(round)));
            assert_resources(&world, &[0, 1]);
            world.run_for(Duration::from_secs(40 * 2_u64.pow(round)));
            assert_resources(&world, &[0, 1, 2]);
        }
        assert!(world.hosts[0].ike_reasons().is_empty());
        // RFC 7296 section 1.4.1 both ways, and nothing told of the others.
        assert_eq!(world.hosts[side].child_reasons(), [DownReason::Commanded; 4]);
        assert_eq!(world.hosts[1 - side].child_reasons(), [DownReason::PeerDeleted; 4]);
    }
}

#[test]
fn without_the_first_the_others_end_and_the_next_first_brings_others() {
    for side in [A, B] {
        let mut world = up(10, [3, 3]);
        let child = world.hosts[side].children.values().find(|one| one.resource.is_any()).unwrap().child;
        world.command(side, Command::TerminateChild { child });
        world.run_for(MOMENT);
        for host in &world.hosts {
            assert!(!host.up() && host.ikes.len() == 1, "{:#?}", host.story());
            assert_eq!(host.engine.esp_spis(), 0);
            assert!(
                host.child_reasons().contains(&DownReason::Orphaned)
                    || host.child_reasons().contains(&DownReason::PeerDeleted)
            );
        }
        world.dial(side);
        world.run_for(PAUSE);
        assert_resources(&world, &[0, 1, 2]);
    }
}

#[test]
fn a_peer_that_authenticates_anew_has_them_anew() {
    let mut world = up(11, [3, 3]);
    let path = world.path(A);
    world.command(A, Command::Terminate { conn: CONN });
    world.command(A, Command::Initiate { conn: CONN, path });
    world.run_for(PAUSE);
    assert_resources(&world, &[0, 1, 2]);
}
