//! Both ends at once, and bad weather.

use std::time::Duration;

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(30);

fn pfs(_: usize, connection: &mut Connection) {
    connection.esp_proposals = vec![EspProposal::parse("aes128-sha256-curve25519").unwrap()];
}

#[test]
fn both_sides_rekey_the_child_at_once_and_one_survives() {
    let mut won = [0, 0];
    for seed in 0..60 {
        let mut world =
            if seed % 2 == 0 { World::pair(seed) } else { World::pair_with(seed, pfs) }.established();
        world.command(A, Command::RekeyChild { conn: CONN });
        world.command(B, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        let winner = if world.hosts[A].child().role == Role::Initiator { A } else { B };
        won[winner] += 1;
        assert!(world.failures(A).is_empty() && world.failures(B).is_empty());
        let loser = &world.hosts[1 - winner];
        if seed % 2 == 0 {
            assert_eq!(loser.count(|event| matches!(event, Event::ChildUp(up) if up.inbound_only)), 1);
            assert!(loser.child_reasons().contains(&DownReason::Redundant), "{:?}", loser.child_reasons());
        }
    }
    assert!(won.iter().all(|wins| *wins > 5), "the nonces decide, not the side: {won:?}");
}

#[test]
fn both_sides_rekey_the_ike_sa_at_once_and_one_survives_with_the_child() {
    let mut won = [0, 0];
    for seed in 0..60 {
        let mut world = World::pair(seed).established();
        world.hosts[A].work_delay = Duration::from_millis(seed % 7 * 11);
        let spi = world.hosts[A].child().spi_in;
        world.command(A, Command::RekeyIke { conn: CONN });
        world.command(B, Command::RekeyIke { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        assert_eq!(world.hosts[A].child().spi_in, spi);
        let status = world.hosts[A].engine.ike_status(CONN);
        won[if status[0].role == Role::Initiator { A } else { B }] += 1;
        world.run_for(Duration::from_secs(120));
        assert_eq!((world.hosts[A].engine.held(), world.hosts[B].engine.held()), (1, 1));
        for side in [A, B] {
            world.command(side, Command::RekeyChild { conn: CONN });
            world.run_for(MOMENT);
            world.assert_one_child();
        }
    }
    assert!(won.iter().all(|wins| *wins > 5), "the nonces decide, not the side: {won:?}");
}

#[test]
fn a_child_and_the_ike_sa_rekeyed_at_once_from_two_sides_both_get_done() {
    for seed in 0..30 {
        let mut world = World::pair(seed).established();
        let spi = world.hosts[A].child().spi_in;
        world.command(A, Command::RekeyIke { conn: CONN });
        world.command(B, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        assert_ne!(world.hosts[A].child().spi_in, spi);
        assert_eq!(world.hosts[A].count(|event| matches!(event, Event::IkeRekeyed { .. })), 1);
    }
}

#[test]
fn one_side_deletes_what_the_other_rekeys() {
    for seed in 0..30 {
        let mut world = World::pair(seed).established();
        let child = world.hosts[B].child().child;
        world.command(A, Command::RekeyChild { conn: CONN });
        world.command(B, Command::TerminateChild { child });
        world.run_for(MOMENT);
        let [a, b] = &world.hosts;
        assert_eq!(a.children.len(), b.children.len(), "{:#?}\n{:#?}", a.story(), b.story());
        assert_eq!((a.ikes.len(), b.ikes.len()), (1, 1));
        if a.up() {
            mirror(a.child(), b.child());
        }
    }
}

#[test]
fn both_sides_delete_the_same_child_at_once() {
    let mut world = World::pair(3).established();
    for side in [A, B] {
        let child = world.hosts[side].child().child;
        world.command(side, Command::TerminateChild { child });
    }
    world.run_for(MOMENT);
    for host in &world.hosts {
        assert!(!host.up() && host.ikes.len() == 1);
        assert!(host.engine.child_status(CONN).is_empty());
    }
}

#[test]
fn both_sides_dial_at_once_and_one_ike_sa_stays() {
    for seed in 0..60 {
        let mut world = World::pair(seed);
        if seed % 2 == 1 {
            world.weather = Weather::FOUL;
        }
        world.dial(A);
        world.run_for(Duration::from_millis(seed % 5 * 8));
        world.dial(B);
        world.run_for(Duration::from_secs(60));
        world.weather = Weather::FAIR;
        world.run_for(Duration::from_secs(240));
        world.assert_one_child();
    }
}

/// Keeps dialling as an owner does: for ever.
fn weather_with_owner(world: &mut World, time: Duration) {
    let until = world.now + time;
    while world.now < until {
        world.run_for(Duration::from_secs(5));
        for host in [A, B] {
            if !world.hosts[host].up() {
                world.dial(host);
            }
        }
    }
}

#[test]
fn two_hundred_seeds_of_bad_weather_converge_to_one_child() {
    for seed in 0..240 {
        let mut world = World::pair_with(seed, |host, connection| {
            if seed % 3 == 0 {
                pfs(host, connection);
            }
            connection.child_lifetime = Lifetime::hard(Duration::from_secs(300));
            connection.ike_lifetime = Lifetime::hard(Duration::from_secs(900));
        });
        world.weather = Weather::FOUL;
        world.hosts[A].work_delay = Duration::from_millis(seed % 11 * 90);
        world.hosts[B].work_delay = Duration::from_millis(seed % 13 * 70);
        world.dial(A);
        weather_with_owner(&mut world, Duration::from_secs(30));
        for round in 0..12_u64 {
            let mix = seed.wrapping_mul(31).wrapping_add(round.wrapping_mul(17));
            for side in [A, B] {
                let command = match (mix >> side) % 4 {
                    0 | 1 => Command::RekeyChild { conn: CONN },
                    2 => Command::RekeyIke { conn: CONN },
                    _ => Command::Probe { conn: CONN },
                };
                world.command(side, command);
            }
            weather_with_owner(&mut world, Duration::from_secs(mix % 40));
        }
        world.weather = Weather::FAIR;
        weather_with_owner(&mut world, Duration::from_secs(200));
        // Not in the middle of a rekeying of their own.
        for _ in 0..20 {
            if world
                .hosts
                .iter()
                .all(|host| host.children.len() == 1 && host.engine.ike_status(CONN).len() == 1)
            {
                break;
            }
            world.run_for(Duration::from_secs(3));
        }
        assert!(world.hosts.iter().all(Host::up), "seed {seed}");
        world.assert_one_child();
    }
}

#[test]
fn rekeying_in_any_weather_loses_no_packet_whoever_starts_it() {
    for seed in 0..100_u64 {
        let mut world =
            if seed % 2 == 0 { World::pair(seed) } else { World::pair_with(seed, pfs) }.established();
        world.weather = Weather {
            loss: if seed % 4 < 2 { 0 } else { 200 },
            twice: 100,
            delay: Duration::from_millis(5 + seed % 3 * 20),
            jitter: Duration::from_millis(seed % 5 * 40),
        };
        for round in 0..5_u64 {
            let sides: &[usize] = match (seed + round) % 3 {
                0 => &[A],
                1 => &[B],
                _ => &[A, B],
            };
            for side in sides {
                let command = match (seed / 3 + round) % 4 {
                    3 => Command::RekeyIke { conn: CONN },
                    _ => Command::RekeyChild { conn: CONN },
                };
                world.command(*side, command);
            }
            assert_eq!(world.run_with_traffic(Duration::from_secs(4)), 0, "seed {seed} round {round}");
        }
        world.weather = Weather::FAIR;
        assert_eq!(world.run_with_traffic(Duration::from_secs(60)), 0, "seed {seed}");
        world.run_for(Duration::from_secs(120));
        world.assert_one_child();
        assert_eq!((world.hosts[A].engine.held(), world.hosts[B].engine.held()), (1, 1), "seed {seed}");
    }
}
