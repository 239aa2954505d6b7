//! Key exchanges that are never computed because too many wait: whoever waits for one hears of it, and goes on or ends.

use std::time::Duration;

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);
/// Longer than what failed is put off.
const AGAIN: Duration = Duration::from_secs(60);

fn pfs(_: usize, connection: &mut Connection) {
    connection.esp_proposals = vec![EspProposal::parse("aes128-sha256-curve25519").unwrap()];
}

/// From now on the first piece of this kind ([`Work::turn`]) at `host` is refused.
fn refuse_one(world: &mut World, host: usize, kind: usize) {
    let mut left = true;
    world.full =
        Some(Box::new(move |at, work| at == host && work.turn() == kind && std::mem::take(&mut left)));
}

fn refused(world: &World, host: usize) -> u64 {
    world.hosts[host].engine.counters().get(Counter::WorkRefused)
}

const AGREE: usize = 0;
const RESPOND: usize = 1;
const GENERATE: usize = 2;

#[test]
fn a_dial_whose_key_exchange_is_refused_ends_and_the_next_one_comes_up() {
    for kind in [GENERATE, AGREE] {
        let mut world = World::pair(1);
        refuse_one(&mut world, A, kind);
        world.dial(A);
        world.run_for(MOMENT);
        assert_eq!(world.failures(A), [Failure::Overloaded], "{kind}");
        assert_eq!((world.hosts[A].engine.held(), refused(&world, A)), (0, 1), "{kind}");
        world.established();
    }
}

#[test]
fn a_request_whose_key_exchange_is_refused_is_taken_for_new_when_it_comes_again() {
    let mut world = World::pair(2);
    refuse_one(&mut world, B, RESPOND);
    world.dial(A);
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!((refused(&world, B), world.failures(A), world.failures(B)), (1, vec![], vec![]));
}

#[test]
fn a_rekeying_that_did_not_begin_is_begun_again_later() {
    for command in [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }] {
        let mut world = World::pair_with(3, pfs).established();
        let before = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        refuse_one(&mut world, A, GENERATE);
        world.command(A, command);
        world.run_for(MOMENT);
        assert_eq!(world.failures(A), [Failure::Overloaded]);
        let after =
            |world: &World| (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        assert_eq!(after(&world), before);
        world.run_for(AGAIN);
        world.assert_one_child();
        assert_ne!(after(&world), before);
        assert_eq!(world.failures(A).len(), 1);
    }
}

#[test]
fn a_rekeying_the_peer_cannot_compute_is_refused_for_the_moment_and_asked_for_again() {
    for command in [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }] {
        let mut world = World::pair_with(4, pfs).established();
        let before = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        refuse_one(&mut world, B, RESPOND);
        world.command(A, command);
        world.run_for(AGAIN);
        world.assert_one_child();
        assert_ne!((world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max()), before);
        let counted = world.hosts[B].engine.counters();
        assert_eq!((counted.get(Counter::TemporaryFailure), counted.get(Counter::BadBody)), (1, 0));
        assert_eq!((refused(&world, B), world.failures(A), world.failures(B)), (1, vec![], vec![]));
    }
}

#[test]
fn where_the_peer_holds_what_we_have_no_keys_of_all_ends_and_a_dial_makes_it_anew_at_both_ends() {
    for command in [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }] {
        let mut world = World::pair_with(5, pfs).established();
        refuse_one(&mut world, A, AGREE);
        world.command(A, command);
        world.run_for(MOMENT);
        assert_eq!(world.failures(A), [Failure::Overloaded]);
        assert_eq!(world.hosts[A].ike_reasons(), [DownReason::Overloaded]);
        assert!(!world.hosts[A].up() && world.hosts[A].engine.held() == 0);
        world.established();
    }
}

/// Keeps dialling as an owner does: for ever.
fn owned_for(world: &mut World, time: Duration) {
    let until = world.now + time;
    while world.now < until {
        world.run_for(MOMENT);
        if !world.hosts[A].up() {
            world.dial(A);
        }
    }
}

#[test]
fn whatever_is_refused_nothing_stays_open() {
    for seed in 0..100_u64 {
        let mut world = World::pair_with(seed, pfs);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        world.full = Some(Box::new(move |_, _| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            state >> 62 == 0
        }));
        world.dial(A);
        for round in 0..10 {
            owned_for(&mut world, Duration::from_secs(20));
            for side in [A, B].into_iter().filter(|side| (seed >> side) & 1 == round & 1) {
                world.command(side, Command::RekeyChild { conn: CONN });
                world.command(side, Command::RekeyIke { conn: CONN });
            }
        }
        assert!(refused(&world, A) + refused(&world, B) > 0);
        world.full = None;
        owned_for(&mut world, Duration::from_secs(400));
        world.assert_one_child();
        assert!(world.hosts.iter().all(|host| host.engine.ike_status(CONN).len() == 1), "seed {seed}");
    }
}
