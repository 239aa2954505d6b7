//! CREATE_CHILD_SA between good peers: rekeying from each side, PFS, new CHILD SAs, lifetimes.

use std::time::Duration;

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);

fn is_child_up(event: &Event) -> bool {
    matches!(event, Event::ChildUp(_))
}

#[test]
fn either_side_rekeys_the_child_and_the_old_one_lingers() {
    for side in [A, B] {
        let mut world = World::pair(2).established();
        let old = [world.hosts[A].child().clone(), world.hosts[B].child().clone()];
        world.command(side, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        for host in [A, B] {
            let new = world.hosts[host].child();
            assert_ne!(new.spi_in, old[host].spi_in);
            assert_eq!(new.replaces, Some(old[host].child));
            assert_eq!(new.role, if host == side { Role::Initiator } else { Role::Responder });
            let went = world.hosts[host].events.iter().any(|event| {
                matches!(event, Event::ChildDown { child, reason: DownReason::Rekeyed, linger, .. }
                    if *child == old[host].child && !linger.is_zero())
            });
            assert!(went, "{:#?}", world.hosts[host].story());
        }
    }
}

#[test]
fn every_spi_tells_which_receiver_shall_have_its_packets() {
    let mut world = World::pair(9);
    let receivers = [3, 7];
    for host in [A, B] {
        world.hosts[host].engine.deal_spis(receivers[host].try_into().unwrap());
    }
    let mut world = world.established();
    for side in [A, B, A, B] {
        for host in [A, B] {
            assert_eq!(world.hosts[host].child().spi_in % receivers[host], CONN.0);
        }
        let before = world.hosts[A].child().spi_in;
        world.command(side, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        assert_ne!(world.hosts[A].child().spi_in, before);
    }
}

#[test]
fn either_side_rekeys_the_ike_sa_and_the_child_moves_over() {
    for side in [A, B] {
        let mut world = World::pair(3).established();
        let child = world.hosts[A].child().spi_in;
        let before: Vec<_> = world.hosts[A].ikes.keys().copied().collect();
        world.command(side, Command::RekeyIke { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        assert_eq!(world.hosts[A].child().spi_in, child);
        assert_ne!(world.hosts[A].ikes.keys().copied().collect::<Vec<_>>(), before);
        for host in &world.hosts {
            assert_eq!(host.count(|event| matches!(event, Event::IkeRekeyed { .. })), 1);
            assert!(host.ike_reasons().is_empty());
        }
        // The successor works: it rekeys the child, from either side.
        for again in [A, B] {
            world.command(again, Command::RekeyChild { conn: CONN });
            world.run_for(MOMENT);
            world.assert_one_child();
        }
        assert_ne!(world.hosts[A].child().spi_in, child);
    }
}

#[test]
fn five_child_and_two_ike_rekeys_from_each_side_leave_one_child() {
    let mut world = World::pair(4).established();
    for round in 0..7 {
        for side in [A, B] {
            let command = match round {
                2 | 5 => Command::RekeyIke { conn: CONN },
                _ => Command::RekeyChild { conn: CONN },
            };
            world.command(side, command);
            world.run_for(MOMENT);
            world.assert_one_child();
        }
    }
    assert_eq!(world.hosts[A].count(is_child_up), 11);
    world.run_for(Duration::from_secs(120));
    assert_eq!(world.hosts[A].engine.held(), 1);
    assert_eq!(world.hosts[B].engine.held(), 1);
}

#[test]
fn a_group_in_the_esp_proposal_gives_each_rekey_its_own_key_exchange() {
    let mut world = World::pair_with(5, |_, connection| {
        connection.esp_proposals = vec![EspProposal::parse("aes256-sha256-ecp256").unwrap()];
    })
    .established();
    assert_eq!(world.hosts[A].child().pfs, None, "IKE_AUTH has no key exchange of its own");
    for side in [A, B] {
        world.command(side, Command::RekeyChild { conn: CONN });
        world.run_for(MOMENT);
        world.assert_one_child();
        assert_eq!(world.hosts[A].child().pfs.map(|group| group.keyword()), Some("ecp256"));
    }
}

#[test]
fn a_rekey_with_the_wrong_group_is_repeated_with_the_right_one() {
    let mut world = World::pair_with(6, |host, connection| {
        let text = if host == A { "aes256-sha256-curve25519-ecp256" } else { "aes256-sha256-ecp256" };
        connection.esp_proposals = vec![EspProposal::parse(text).unwrap()];
        let text = if host == A { "aes128-sha256-curve25519-ecp256" } else { "aes128-sha256-ecp256" };
        connection.ike_proposals = vec![IkeProposal::parse(text).unwrap()];
    })
    .established();
    let ike = world.hosts[A].engine.ike_status(CONN);
    assert_eq!(ike[0].suite.unwrap().group.keyword(), "ecp256");
    world.command(A, Command::RekeyChild { conn: CONN });
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!(world.hosts[A].child().pfs.map(|group| group.keyword()), Some("ecp256"));
    assert!(world.failures(A).is_empty());
}

#[test]
fn a_peer_without_pfs_is_followed_only_where_the_connection_says_so() {
    for accept in [true, false] {
        for side in [A, B] {
            let mut world = World::pair_with(7, |host, connection| {
                let text = if host == A { "aes256-sha256-ecp256" } else { "aes256-sha256" };
                connection.esp_proposals = vec![EspProposal::parse(text).unwrap()];
                connection.accept_rekey_without_pfs = accept;
            })
            .established();
            let old = world.hosts[A].child().spi_in;
            world.command(side, Command::RekeyChild { conn: CONN });
            world.run_for(MOMENT);
            world.assert_one_child();
            assert_eq!(world.hosts[A].child().spi_in != old, accept, "side {side}");
            assert_eq!(world.hosts[A].child().pfs, None);
            if !accept {
                let failed = world.failures(side);
                assert!(
                    matches!(failed.first(), Some(Failure::NoProposal(lists)) if lists.by_peer),
                    "{failed:?}"
                );
                let refused = world.failures(1 - side);
                assert!(matches!(refused.first(), Some(Failure::NoProposal(lists))
                    if !lists.by_peer && !lists.theirs.is_empty() && !lists.ours.is_empty()));
            }
        }
    }
}

#[test]
fn a_rekey_offers_the_suite_in_use_first_and_all_when_that_is_refused() {
    let esp = |text: &str| EspProposal::parse(text).unwrap();
    let mut world = World::pair_with(8, |_, connection| {
        connection.esp_proposals = vec![esp("aes128gcm16"), esp("aes256gcm16")];
    })
    .established();
    let keyword = |world: &World| world.hosts[A].child().suite.encr.keyword();
    assert_eq!(keyword(&world), "aes128gcm16");
    // B has come to refuse what is in use.
    let mut changed = connection(B);
    changed.esp_proposals = vec![esp("aes256gcm16")];
    let now = world.now;
    world.hosts[B].engine.upsert_connection(CONN, changed, now);
    world.command(A, Command::RekeyChild { conn: CONN });
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!(keyword(&world), "aes256gcm16");
}

#[test]
fn soft_lifetimes_rekey_both_sas_on_their_own_for_a_day() {
    let mut world = World::pair_with(9, |_, connection| {
        connection.ike_lifetime = Lifetime::hard(Duration::from_secs(4 * 3600));
        connection.child_lifetime = Lifetime::hard(Duration::from_secs(3600));
    })
    .established();
    world.run_for(Duration::from_secs(24 * 3600));
    world.assert_one_child();
    let reasons = world.hosts[A].child_reasons();
    assert!(
        reasons.iter().all(|reason| matches!(reason, DownReason::Rekeyed | DownReason::Redundant)),
        "{reasons:?}"
    );
    assert!((24..40).contains(&reasons.len()), "{}", reasons.len());
    assert!(world.hosts[A].count(|event| matches!(event, Event::IkeRekeyed { .. })) >= 6);
}

#[test]
fn a_child_whose_rekeying_is_refused_for_ever_ends_at_its_hard_lifetime() {
    let mut world = World::pair_with(10, |host, connection| {
        let text = if host == A { "aes256-sha256-ecp256" } else { "aes256-sha256" };
        connection.esp_proposals = vec![EspProposal::parse(text).unwrap()];
        connection.child_lifetime =
            Lifetime { hard: Duration::from_secs(120), soft: Some(Duration::from_secs(60)) };
    })
    .established();
    world.run_for(Duration::from_secs(130));
    for host in &world.hosts {
        assert!(!host.up());
        assert_eq!(host.ikes.len(), 1, "the IKE SA stays");
    }
    let reasons = [world.hosts[A].child_reasons(), world.hosts[B].child_reasons()].concat();
    assert!(reasons.contains(&DownReason::Lifetime), "{reasons:?}");
    // And a dial on the IKE SA in place makes a new one from scratch, without PFS to disagree about.
    let mut plain = connection(A);
    plain.esp_proposals = vec![EspProposal::parse("aes256-sha256").unwrap()];
    let now = world.now;
    world.hosts[A].engine.upsert_connection(CONN, plain, now);
    world.dial(A);
    world.run_for(MOMENT);
    world.assert_one_child();
}

#[test]
fn the_datapaths_soft_limit_rekeys_at_once() {
    let mut world = World::pair(11).established();
    let old = world.hosts[B].child().spi_in;
    world.report(B, Report::SoftLimit { spi_in: old });
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_ne!(world.hosts[B].child().spi_in, old);
}

#[test]
fn the_datapaths_hard_limit_ends_the_child_and_a_dial_makes_a_new_one() {
    let mut world = World::pair(12).established();
    let spi_in = world.hosts[B].child().spi_in;
    world.report(B, Report::HardLimit { spi_in });
    world.run_for(MOMENT);
    assert!(!world.hosts[A].up() && !world.hosts[B].up());
    assert_eq!(world.hosts[A].child_reasons(), [DownReason::PeerDeleted]);
    // Both owners dial again at once, as they would.
    world.dial(A);
    world.dial(B);
    world.run_for(MOMENT);
    world.assert_one_child();
}

#[test]
fn an_ike_sa_ends_at_its_hard_lifetime_when_it_cannot_be_rekeyed() {
    let mut world = World::pair_with(13, |_, connection| {
        let (hard, soft) = (Duration::from_secs(100), Some(Duration::from_secs(100)));
        connection.ike_lifetime = Lifetime { hard, soft };
    })
    .established();
    world.tap = Some(Box::new(|_, _| false));
    world.run_for(Duration::from_secs(300));
    for host in &world.hosts {
        assert!(host.ikes.is_empty() && !host.up());
        assert_eq!(host.engine.held(), 0);
    }
}
