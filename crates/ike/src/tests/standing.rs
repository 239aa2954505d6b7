//! Several IKE SAs beside one another: a peer that authenticates anew, two connections to one identity, dials that cross,
//! successors that are gone before they were taken into use, and IKE SAs on which nothing can be made any more.

use std::time::Duration;

use ike_wire::{NotifyType, Payload};

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);
const SECOND: ConnId = ConnId(2);
const AUTH: u8 = 35;
const CREATE: u8 = 36;
const INFORMATIONAL: u8 = 37;

/// A, up with B, has its like a second time: dialled, it authenticates as the same peer again.
fn with_a_second_dial(seed: u64) -> World {
    let mut world = World::pair(seed).established();
    let now = world.now;
    world.hosts[A].engine.upsert_connection(SECOND, connection(A), now);
    world
}

fn dial_again(world: &mut World) {
    let path = world.path(A);
    world.command(A, Command::Initiate { conn: SECOND, path });
}

fn ends(world: &World, host: usize) -> Vec<(DownReason, bool)> {
    let end = |event: &Event| match event {
        Event::IkeDown { reason, replaced, .. } => Some((*reason, *replaced)),
        _ => None,
    };
    world.hosts[host].picked(end)
}

#[test]
fn a_peer_that_authenticates_anew_before_it_deletes_the_old_loses_no_packet() {
    for seed in 0..10 {
        let mut world = with_a_second_dial(seed);
        // The answer that makes the new one is lost more than once.
        let mut lost = 0;
        world.tap = Some(Box::new(move |to, bytes| {
            let answer = to == A && bytes[18] == AUTH;
            lost += u32::from(answer);
            !answer || lost > 2
        }));
        dial_again(&mut world);
        assert_eq!(world.run_with_traffic(Duration::from_secs(6)), 0, "seed {seed}");
        assert_eq!(world.hosts[B].children.len(), 2);
        assert!(ends(&world, B).is_empty(), "the old one is the peer's to delete");
        world.command(A, Command::Terminate { conn: CONN });
        assert_eq!(world.run_with_traffic(MOMENT), 0, "seed {seed}");
        assert_eq!(ends(&world, B), [(DownReason::PeerDeleted, true)], "another goes on");
        assert_eq!((world.hosts[A].children.len(), world.hosts[B].children.len()), (1, 1));
        mirror(world.hosts[A].child(), world.hosts[B].child());
        assert_eq!(world.hosts[B].engine.ike_status(CONN).len(), 1);
    }
}

#[test]
fn an_ike_sa_whose_peer_came_again_and_forgot_it_is_deleted_after_a_while() {
    let mut world = with_a_second_dial(20);
    dial_again(&mut world);
    world.run_for(Duration::from_secs(9));
    assert!(ends(&world, B).is_empty());
    // A command holds for the one that goes on.
    world.command(B, Command::RekeyIke { conn: CONN });
    world.run_for(Duration::from_secs(20));
    assert_eq!(ends(&world, B), [(DownReason::Replaced, true)]);
    assert_eq!(world.hosts[B].count(|event| matches!(event, Event::IkeRekeyed { .. })), 1);
    assert_eq!(world.hosts[B].children.len(), 1);
}

#[test]
fn a_peer_that_comes_again_and_again_has_two_ike_sas_at_most() {
    let mut world = with_a_second_dial(24);
    for number in 2..8 {
        let (conn, now, path) = (ConnId(number), world.now, world.path(A));
        world.hosts[A].engine.upsert_connection(conn, connection(A), now);
        world.command(A, Command::Initiate { conn, path });
        world.run_for(Duration::from_secs(1));
        assert!(world.hosts[B].engine.ike_status(CONN).len() <= 2);
        assert!(world.hosts[B].children.len() <= 2);
    }
    world.run_for(Duration::from_secs(20));
    assert_eq!((world.hosts[B].engine.ike_status(CONN).len(), world.hosts[B].children.len()), (1, 1));
}

#[test]
fn who_is_replaced_does_not_stay_by_rekeying() {
    for side in [A, B] {
        let mut world = with_a_second_dial(25);
        dial_again(&mut world);
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.hosts[B].ikes.len(), 2);
        // A's connection is the old one; what B is told to rekey is the new one.
        world.command(side, Command::RekeyIke { conn: CONN });
        world.run_for(Duration::from_secs(20));
        assert_eq!(world.hosts[B].engine.ike_status(CONN).len(), 1, "rekeyed by {side}");
        assert_eq!(world.hosts[B].children.len(), 1);
        assert_eq!(world.hosts[A].engine.ike_status(CONN).len(), 0);
    }
}

/// Does a request of this exchange under way to `to` bring INITIAL_CONTACT?
fn initial_contact(world: &World, to: usize) -> Vec<bool> {
    let requests =
        world.log.iter().filter(|(at, _, bytes)| *at == to && bytes[18] == AUTH && bytes[19] & 0x20 == 0);
    let says = |payload: &Payload| matches!(payload, Payload::Notify(one) if one.kind == NotifyType::INITIAL_CONTACT);
    requests.map(|(.., bytes)| world.hosts[to].engine.look(bytes).iter().any(says)).collect()
}

#[test]
fn initial_contact_is_said_of_the_only_ike_sa_between_two_identities_alone() {
    let mut world = with_a_second_dial(21);
    assert_eq!(initial_contact(&world, B), [true]);
    dial_again(&mut world);
    world.run_for(MOMENT);
    assert_eq!(initial_contact(&world, B), [true, false], "it would end the other connection at the peer");
    assert_eq!(world.hosts[B].ikes.len(), 2);
}

#[test]
fn who_dials_while_the_peer_dials_does_not_have_it_drop_its_own() {
    let mut world = World::pair(22);
    world.dial(A);
    world.dial(B);
    let ups = |host: &Host| host.count(|event| matches!(event, Event::IkeUp(_)));
    while world.hosts.iter().any(|host| ups(host) < 2) {
        assert!(world.step(world.start + MOMENT));
    }
    assert_eq!((initial_contact(&world, A), initial_contact(&world, B)), (vec![false], vec![false]));
    world.run_for(Duration::from_secs(30));
    world.assert_one_child();
    // Whoever's was given up, its end is no reason to dial.
    for host in [A, B] {
        assert!(ends(&world, host).iter().all(|(_, replaced)| *replaced), "{:?}", ends(&world, host));
    }
}

#[test]
fn a_successor_the_peer_ended_before_it_was_taken_into_use_takes_all_down_with_it() {
    let mut world = World::pair(23).established();
    let old = world.log.last().unwrap().2[..16].to_vec();
    // B never hears of A's rekeying; A hears all of B's but the DELETE of the old one.
    world.tap = Some(Box::new(move |to, bytes| {
        let request = bytes[19] & 0x20 == 0;
        match to {
            B => !(request && bytes[18] == CREATE),
            _ => !(request && bytes[18] == INFORMATIONAL && bytes[..16] == old[..]),
        }
    }));
    world.command(A, Command::RekeyIke { conn: CONN });
    world.command(B, Command::RekeyIke { conn: CONN });
    world.run_for(Duration::from_secs(1));
    world.command(B, Command::Terminate { conn: CONN });
    world.run_for(Duration::from_secs(1));
    world.tap = None;
    world.run_for(Duration::from_secs(60));
    for host in &world.hosts {
        assert!(host.children.is_empty() && host.ikes.is_empty(), "{:#?}", host.story());
        assert_eq!(host.engine.esp_spis(), 0);
    }
}

#[test]
fn an_ike_sa_whose_peer_makes_no_more_children_on_it_gives_way_to_another() {
    let mut world = World::with_limits(24, Limits { children: 0, ..Limits::default() });
    world.configure(|_, _| {});
    let mut world = world.established();
    let child = world.hosts[A].child().child;
    world.command(A, Command::TerminateChild { child });
    world.run_for(MOMENT);
    assert!(!world.hosts[A].up());
    for _ in 0..2 {
        world.dial(A);
        world.run_for(MOMENT);
    }
    let refused = |failure: &Failure| matches!(failure, Failure::PeerRefused { notify, .. } if *notify == NotifyType::NO_ADDITIONAL_SAS.0);
    assert!(world.failures(A).iter().any(refused), "{:?}", world.failures(A));
    world.assert_one_child();
}
