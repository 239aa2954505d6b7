//! Key exchanges that are never computed because too many wait: whoever waits for one hears of it, and goes on or ends.

use std::time::Duration;

use super::{pair::*, resources};
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);
/// Longer than what failed is put off.
const AGAIN: Duration = Duration::from_secs(60);

fn pfs(_: usize, connection: &mut Connection) {
    connection.esp_proposals = vec![EspProposal::parse("aes128-sha256-curve25519").unwrap()];
}

/// From now on these pieces (host and [`Work::turn`]) are refused, each once.
fn refuse_each(world: &mut World, pieces: &[(usize, usize)]) {
    let mut left = pieces.to_vec();
    world.full = Some(Box::new(move |at, work| {
        let index = left.iter().position(|piece| *piece == (at, work.turn()));
        index.map(|index| left.swap_remove(index)).is_some()
    }));
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

#[test]
fn one_for_a_further_resource_is_given_up_alone_and_asked_for_again() {
    let mut world = World::pair_with(6, |host, connection| {
        resources::want([3, 3])(host, connection);
        connection.esp_proposals = vec![EspProposal::parse("aes128gcm16-curve25519").unwrap()];
    });
    let mut agreed = 0;
    world.full = Some(Box::new(move |at, work| {
        agreed += u32::from((at, work.turn()) == (A, AGREE));
        (at, work.turn(), agreed) == (A, AGREE, 2)
    }));
    world.dial(A);
    world.run_for(MOMENT);
    assert_eq!((world.failures(A), refused(&world, A)), (vec![Failure::Overloaded], 1));
    // The peer has let go of it too.
    resources::assert_resources(&world, &[0]);
    world.run_for(AGAIN);
    resources::assert_resources(&world, &[0, 1, 2]);
    for host in &world.hosts {
        assert_eq!(host.ike_reasons(), []);
    }
    assert_eq!(world.hosts[A].child_reasons(), []);
    assert_eq!(world.failures(A).len(), 1);
}

#[test]
fn the_successor_of_one_for_a_further_resource_is_given_up_with_that_and_no_other() {
    let mut world = World::pair_with(6, |host, connection| {
        resources::want([3, 3])(host, connection);
        connection.esp_proposals = vec![EspProposal::parse("aes128gcm16-curve25519").unwrap()];
    });
    world.dial(A);
    world.run_for(MOMENT);
    resources::assert_resources(&world, &[0, 1, 2]);
    let mut agreed = 0;
    world.full = Some(Box::new(move |at, work| {
        agreed += u32::from((at, work.turn()) == (A, AGREE));
        (at, work.turn(), agreed) == (A, AGREE, 2)
    }));
    world.command(A, Command::RekeyChild { conn: CONN });
    world.run_for(MOMENT);
    resources::assert_resources(&world, &[0, 2]);
    world.run_for(AGAIN);
    resources::assert_resources(&world, &[0, 1, 2]);
    for host in &world.hosts {
        assert_eq!(host.ike_reasons(), []);
    }
    let ended = world.hosts[A].child_reasons();
    assert_eq!(ended.iter().filter(|reason| **reason == DownReason::Overloaded).count(), 1, "{ended:?}");
    assert_eq!((world.failures(A), refused(&world, A)), (vec![Failure::Overloaded], 1));
}

/// Both ends do the same at once. A's part of the peer's takes longer than its own if `late`.
fn both_at_once(world: &mut World, command: Command, late: bool) {
    world.command(A, command);
    world.command(B, command);
    // Both requests are under way: each has its pair.
    world.run_for(Duration::from_millis(5));
    if late {
        world.hosts[A].work_delay = Duration::from_millis(300);
    }
    // A computes what goes back to B.
    world.run_for(Duration::from_millis(15));
    world.hosts[A].work_delay = Duration::from_millis(3);
    world.run_for(MOMENT);
}

#[test]
fn of_two_that_crossed_the_one_that_goes_anyway_is_not_missed() {
    let commands = [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }];
    for (late, command) in [false, true].into_iter().flat_map(|late| commands.map(|one| (late, one))) {
        let mut seen = [0, 0];
        for seed in 0..40 {
            let mut twin = World::pair_with(seed, pfs).established();
            both_at_once(&mut twin, command, late);
            twin.assert_one_child();
            let role = if matches!(command, Command::RekeyIke { .. }) {
                twin.hosts[A].engine.ike_status(CONN)[0].role
            } else {
                twin.hosts[A].child().role
            };
            let stays = role == Role::Responder;
            seen[usize::from(stays)] += 1;

            let mut world = World::pair_with(seed, pfs).established();
            refuse_each(&mut world, &[(A, AGREE)]);
            both_at_once(&mut world, command, late);
            assert_eq!(refused(&world, A), 1);
            if stays {
                world.run_for(AGAIN);
                world.assert_one_child();
                assert_eq!((world.failures(A), world.failures(B)), (vec![], vec![]));
                for host in &world.hosts {
                    assert_eq!((host.ike_reasons(), host.engine.esp_spis()), (vec![], 1), "seed {seed}");
                }
            } else {
                assert_eq!(world.hosts[A].ike_reasons(), [DownReason::Overloaded], "seed {seed}");
                world.established();
            }
        }
        assert!(seen.iter().all(|times| *times > 5), "the nonces decide: {seen:?}");
    }
}

#[test]
fn what_was_to_go_for_the_peers_stays_where_the_peers_comes_to_nothing() {
    for seed in 0..40 {
        let mut world = World::pair_with(seed, pfs).established();
        let before = world.hosts[A].child().spi_in;
        refuse_each(&mut world, &[(A, RESPOND)]);
        both_at_once(&mut world, Command::RekeyChild { conn: CONN }, true);
        assert_eq!(refused(&world, A), 1);
        world.assert_one_child();
        assert_eq!(world.hosts[A].child().role, Role::Initiator);
        assert_ne!(world.hosts[A].child().spi_in, before);
    }
}

#[test]
fn where_both_rekeyings_of_the_ike_sa_come_to_nothing_at_one_end_all_ends_at_once() {
    for late in [false, true] {
        for seed in 0..40 {
            let mut world = World::pair_with(seed, pfs).established();
            refuse_each(&mut world, &[(A, AGREE), (A, RESPOND)]);
            both_at_once(&mut world, Command::RekeyIke { conn: CONN }, late);
            assert_eq!(refused(&world, A), 2);
            assert_eq!(world.failures(A), [Failure::Overloaded], "seed {seed}");
            assert_eq!(world.hosts[A].ike_reasons(), [DownReason::Overloaded], "seed {seed}");
            world.established();
        }
    }
}

#[test]
fn our_rekeying_that_gave_way_to_the_peers_is_done_where_that_comes_to_nothing() {
    for command in [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }] {
        let mut world = World::pair_with(7, pfs).established();
        let before = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        // A's pair is not made yet when B's request comes.
        world.hosts[A].work_delay = Duration::from_millis(100);
        world.command(A, command);
        world.command(B, command);
        world.run_for(Duration::from_millis(50));
        // A cannot answer it, nor B begin again.
        let mut left = true;
        world.full = Some(Box::new(move |at, work| match (at, work.turn()) {
            (A, RESPOND) => std::mem::take(&mut left),
            (at, kind) => (at, kind) == (B, GENERATE),
        }));
        world.run_for(AGAIN);
        world.assert_one_child();
        let after = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        assert_ne!(after, before);
        assert_eq!((refused(&world, A), world.failures(A)), (1, vec![]));
    }
}

#[test]
fn what_gave_way_to_the_peers_is_not_made_again_after_that() {
    let mut world = World::pair_with(9, pfs).established();
    for round in 0..3 {
        let child = world.hosts[A].child().child;
        world.command(A, Command::TerminateChild { child });
        world.run_for(MOMENT);
        // Both ask for one from scratch; A's pair is not made yet when B's request comes.
        world.hosts[A].work_delay = Duration::from_millis(100);
        world.dial(A);
        world.dial(B);
        world.run_for(MOMENT);
        world.assert_one_child();
        assert_eq!(world.hosts[A].child().role, Role::Responder, "{round}");
    }
    let child = world.hosts[A].child().child;
    world.command(A, Command::TerminateChild { child });
    world.run_for(AGAIN);
    assert!(!world.hosts[A].up() && !world.hosts[B].up());
}

#[test]
fn our_rekeying_that_the_peer_put_off_is_done_where_the_peers_comes_to_nothing() {
    for command in [Command::RekeyChild { conn: CONN }, Command::RekeyIke { conn: CONN }] {
        let mut world = World::pair_with(8, pfs).established();
        let before = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        // B puts A off, which is still computing for B, and then cannot.
        let mut asked = 0;
        world.full = Some(Box::new(move |at, work| {
            asked += u32::from((at, work.turn()) == (B, RESPOND));
            let begins_again = (at, work.turn()) == (B, GENERATE) && asked > 0;
            begins_again || (work.turn() == RESPOND && (at == A || asked == 1))
        }));
        both_at_once(&mut world, command, true);
        assert!(refused(&world, A) == 1 && refused(&world, B) >= 1);
        world.run_for(AGAIN);
        world.assert_one_child();
        let after = (world.hosts[A].child().spi_in, world.hosts[A].ikes.keys().copied().max());
        assert_ne!(after, before);
        assert_eq!(world.failures(A), []);
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
