//! IKE_SA_INIT and IKE_AUTH between good peers: suites, groups, cookies, identities, NAT, fragments, selectors.

use std::time::Duration;

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);

const ENCR: [&str; 6] = [
    "aes128-sha256",
    "aes192-sha384",
    "aes256-sha512",
    "aes256-sha1",
    "aes256gcm16-prfsha384",
    "chacha20poly1305-prfsha512",
];
const ESP: [&str; 14] = [
    "aes128-sha1",
    "aes192-sha256",
    "aes256-sha384",
    "aes256-sha512",
    "aes128gcm8",
    "aes192gcm8",
    "aes256gcm8",
    "aes128gcm12",
    "aes192gcm12",
    "aes256gcm12",
    "aes128gcm16",
    "aes192gcm16",
    "aes256gcm16-esn",
    "chacha20poly1305",
];
const GROUPS: [&str; 12] = [
    "modp1024",
    "modp1536",
    "modp2048",
    "modp3072",
    "modp4096",
    "modp6144",
    "modp8192",
    "ecp256",
    "ecp384",
    "ecp521",
    "modp2048s256",
    "curve25519",
];

#[test]
fn a_dial_ends_with_one_child_at_each_end() {
    let world = World::pair(1).established();
    let [a, b] = &world.hosts;
    assert!(matches!(a.events.first(), Some(Event::IkeUp(up)) if up.role == Role::Initiator));
    assert!(matches!(b.events.first(), Some(Event::IkeUp(up)) if up.role == Role::Responder));
    assert!(!a.child().encap);
    assert_eq!(a.sent.len(), 2);
    assert!(a.sent.iter().all(|sent| sent.path.local.port() == 500), "no NAT, no port 4500");
}

#[test]
fn every_group_and_every_suite_makes_a_tunnel() {
    for (index, group) in GROUPS.iter().enumerate() {
        let ike = format!("{}-{group}", ENCR[index % ENCR.len()]);
        let world = World::pair_with(1, |_, connection| {
            connection.ike_proposals = vec![IkeProposal::parse(&ike).unwrap()];
        })
        .established();
        assert_eq!(world.hosts[A].engine.ike_status(CONN)[0].suite.unwrap().to_string(), ike);
    }
    for (index, esp) in ESP.iter().enumerate() {
        for encr in [ENCR[index % ENCR.len()], ENCR[(index + 1) % ENCR.len()]] {
            let ike = format!("{encr}-curve25519");
            let world = World::pair_with(1, |_, connection| {
                connection.ike_proposals = vec![IkeProposal::parse(&ike).unwrap()];
                connection.esp_proposals = vec![EspProposal::parse(esp).unwrap()];
            })
            .established();
            assert_eq!(world.hosts[B].engine.child_status(CONN)[0].suite.to_string(), *esp);
        }
    }
}

#[test]
fn the_default_proposals_agree_with_themselves_and_with_one_strong_suite() {
    for one in
        ["aes256gcm16-prfsha384-ecp384", "aes128-sha256-modp2048", "chacha20poly1305-prfsha256-curve25519"]
    {
        let world = World::pair_with(2, |host, connection| {
            connection.ike_proposals = match host {
                A => IkeProposal::defaults(),
                _ => vec![IkeProposal::parse(one).unwrap()],
            };
            connection.esp_proposals = EspProposal::defaults();
        })
        .established();
        assert_eq!(world.hosts[A].engine.ike_status(CONN)[0].suite.unwrap().to_string(), one);
    }
}

#[test]
fn a_wrong_first_group_costs_one_round_trip() {
    let world = World::pair_with(3, |host, connection| {
        let text = if host == A { "aes128-sha256-ecp256-curve25519" } else { "aes128-sha256-curve25519" };
        connection.ike_proposals = vec![IkeProposal::parse(text).unwrap()];
    })
    .established();
    assert_eq!(world.hosts[A].sent.len(), 3);
    assert!(world.failures(A).is_empty());
}

#[test]
fn a_responder_under_load_asks_for_a_cookie_and_then_answers() {
    let mut world = World::with_limits(4, Limits { cookie_from: 0, ..Limits::default() });
    world.configure(|host, connection| {
        // Cookie and group demand in one dial.
        let text = if host == A { "aes128-sha256-ecp256-curve25519" } else { "aes128-sha256-curve25519" };
        connection.ike_proposals = vec![IkeProposal::parse(text).unwrap()];
    });
    let world = world.established();
    assert!(world.hosts[B].engine.counters().get(Counter::CookieSent) >= 1);
    assert_eq!(world.hosts[B].engine.counters().get(Counter::CookieWrong), 0);
}

#[test]
fn every_kind_of_identity_and_two_secrets_authenticate() {
    for id in
        ["203.0.113.9", "2001:db8::9", "gw.example.org", "ops@example.org", "keyid:#00ff01", "C=CH, CN=gw"]
    {
        let world = World::pair_with(5, |host, connection| {
            let (here, there) = if host == A { (id, "@b.example") } else { ("@b.example", id) };
            connection.local_id = Some(here.parse().unwrap());
            connection.remote_id = Some(there.parse().unwrap());
            let (here, there) =
                if host == A { ("secret of a", "secret of b") } else { ("secret of b", "secret of a") };
            connection.psk_local = std::sync::Arc::new(here.into());
            connection.psk_remote = std::sync::Arc::new(there.into());
        })
        .established();
        let status = &world.hosts[B].engine.ike_status(CONN)[0];
        assert_eq!(status.remote_id.as_ref().unwrap().to_string(), id);
    }
}

#[test]
fn a_peer_from_anywhere_is_known_by_its_identity_among_several() {
    let mut world = World::new(6);
    let now = world.now;
    let mut a = connection(A);
    a.local_id = Some("branch-2.example".parse().unwrap());
    world.hosts[A].engine.upsert_connection(CONN, a, now);
    for (number, name) in [(7, "branch-1.example"), (1, "branch-2.example"), (9, "branch-3.example")] {
        let mut b = connection(B);
        b.remote = Remote::Any;
        b.remote_id = Some(name.parse().unwrap());
        world.hosts[B].engine.upsert_connection(ConnId(number), b, now);
    }
    world.established();
}

#[test]
fn a_translator_moves_all_to_port_4500_and_into_udp() {
    for dialler in [A, B] {
        let mut world = World::pair_with(7, |host, connection| {
            if host == B {
                connection.remote = Remote::Any;
            } else {
                connection.local_id = Some("a.example".parse().unwrap());
            }
            if host == B {
                connection.remote_id = Some("a.example".parse().unwrap());
            }
        });
        // One that keeps ports, so that B too can dial through it.
        let shift = if dialler == A { 20_000 } else { 0 };
        world.nat = Some(Translator { public: "198.51.100.7".parse().unwrap(), shift });
        if dialler == B {
            let mut changed = connection(B);
            changed.remote = Remote::Addresses(vec!["198.51.100.7".parse().unwrap()]);
            changed.remote_id = Some("a.example".parse().unwrap());
            let now = world.now;
            world.hosts[B].engine.upsert_connection(CONN, changed, now);
        }
        world.dial(dialler);
        world.run_for(MOMENT);
        world.assert_one_child();
        let [a, b] = &world.hosts;
        assert!(a.child().encap);
        assert_eq!(a.child().path.local.port(), 4500);
        assert_eq!(
            b.child().path.remote,
            std::net::SocketAddr::new("198.51.100.7".parse().unwrap(), 4500 + shift)
        );
        assert_eq!(a.engine.ike_status(CONN)[0].nat, Nat { local: true, remote: false });
        assert_eq!(b.engine.ike_status(CONN)[0].nat, Nat { local: false, remote: true });
    }
}

#[test]
fn the_side_behind_the_translator_keeps_the_mapping_alive() {
    let mut world = World::pair_with(8, |host, connection| {
        if host == B {
            connection.remote = Remote::Addresses(vec!["198.51.100.7".parse().unwrap()]);
            connection.remote_id = Some("192.0.2.1".parse().unwrap());
        }
    });
    world.nat = Some(Translator { public: "198.51.100.7".parse().unwrap(), shift: 1000 });
    let mut world = world.established();
    world.run_for(Duration::from_secs(100));
    let keepalives =
        |world: &World, host: usize| world.hosts[host].sent.iter().filter(|sent| sent.keepalive).count();
    assert!((4..=6).contains(&keepalives(&world, A)));
    assert_eq!(keepalives(&world, B), 0);
    assert!(world.hosts[A].sent.iter().filter(|sent| sent.keepalive).all(|sent| *sent.bytes == [0xff]));
}

#[test]
fn a_mapping_that_moves_is_followed_whether_ike_or_esp_shows_it() {
    let mut world = World::pair_with(9, |host, connection| {
        if host == B {
            connection.remote = Remote::Addresses(vec!["198.51.100.7".parse().unwrap()]);
            connection.remote_id = Some("192.0.2.1".parse().unwrap());
        }
    });
    world.nat = Some(Translator { public: "198.51.100.7".parse().unwrap(), shift: 1000 });
    let mut world = world.established();
    let moved = |world: &World| {
        let changed = world.hosts[B].events.iter().rev().find_map(|event| match event {
            Event::PathChanged { path, .. } => Some(path.remote.port()),
            _ => None,
        });
        changed.unwrap_or(0)
    };
    world.nat.as_mut().unwrap().shift = 2000;
    world.command(A, Command::Probe { conn: CONN });
    world.run_for(MOMENT);
    assert_eq!(moved(&world), 6500);
    world.nat.as_mut().unwrap().shift = 3000;
    let (spi_in, remote) = (world.hosts[B].child().spi_in, "198.51.100.7:7500".parse().unwrap());
    world.report(B, Report::PathMoved { spi_in, remote });
    assert_eq!(moved(&world), 7500);
    world.command(B, Command::RekeyChild { conn: CONN });
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!(world.hosts[B].child().path.remote, remote);
}

#[test]
fn a_path_never_moves_without_a_translator_nor_for_a_replay() {
    let mut world = World::pair(10).established();
    world.command(A, Command::Probe { conn: CONN });
    world.run_for(MOMENT);
    let (_, path, bytes) = world.log.iter().rfind(|(to, ..)| *to == B).unwrap().clone();
    let elsewhere = Path { remote: "203.0.113.66:500".parse().unwrap(), ..path };
    world.deliver(B, elsewhere, &bytes);
    assert_eq!(world.hosts[B].count(|event| matches!(event, Event::PathChanged { .. })), 0);
    assert_eq!(world.hosts[B].engine.ike_status(CONN)[0].path.remote, path.remote);
}

#[test]
fn encapsulation_always_makes_both_ends_use_udp_without_a_translator() {
    for always in [A, B] {
        let world = World::pair_with(11, |host, connection| {
            if host == always {
                connection.encapsulation = Encapsulation::Always;
            }
        })
        .established();
        assert!(world.hosts[A].child().encap && world.hosts[B].child().encap, "{always}");
        assert_eq!(world.hosts[A].child().path.local.port(), 4500);
    }
}

#[test]
fn encapsulation_never_stays_in_protocol_50_even_from_port_4500() {
    let mut world = World::pair_with(12, |_, connection| connection.encapsulation = Encapsulation::Never);
    let path = world.path(A).floated();
    world.command(A, Command::Initiate { conn: CONN, path });
    world.run_for(MOMENT);
    world.assert_one_child();
    assert!(!world.hosts[A].child().encap);
    assert_eq!(world.hosts[A].child().path.local.port(), 4500, "the port decides nothing");
}

#[test]
fn a_long_message_goes_in_fragments_and_survives_bad_weather() {
    for seed in 0..20 {
        let mut world = World::with_limits(seed, Limits { fragment_size: 400, ..Limits::default() });
        world.configure(|host, connection| {
            let list =
                |from: u8| (from..from + 30).map(|n| format!("10.{n}.0.0/16").parse().unwrap()).collect();
            (connection.local_ts, connection.remote_ts) =
                if host == A { (list(0), list(100)) } else { (list(100), list(0)) };
        });
        world.weather = if seed == 0 { Weather::FAIR } else { Weather::FOUL };
        world.dial(A);
        world.run_for(Duration::from_secs(100));
        assert!(world.hosts[A].up(), "{:#?}", world.hosts[A].story());
        mirror(world.hosts[A].child(), world.hosts[B].child());
        let protected = |sent: &&Transmit| sent.bytes[18] != 34;
        assert!(world.hosts[A].sent.iter().filter(protected).all(|sent| sent.bytes.len() <= 400));
        assert!(world.hosts[B].engine.counters().get(Counter::Fragments) > 0);
    }
}

#[test]
fn the_responder_narrows_to_what_it_allows() {
    let world = World::pair_with(13, |host, connection| {
        if host == B {
            connection.local_ts =
                vec!["10.1.0.0/16".parse().unwrap(), "10.3.0.0/16[tcp/443]".parse().unwrap()];
        }
    })
    .established();
    let shown: Vec<String> = world.hosts[A].child().remote_ts.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.1.0.0/16", "10.3.0.0/16[tcp/443]"]);
}

#[test]
fn selectors_too_narrow_for_bgp_are_told_and_the_child_stays_up() {
    let world = World::pair_with(14, |host, connection| {
        if host == B {
            connection.local_ts = vec!["10.1.0.0/16".parse().unwrap()];
        } else {
            connection.must_cover = vec![("192.168.1.1".parse().unwrap(), "172.16.0.254".parse().unwrap())];
        }
    })
    .established();
    let failures = world.failures(A);
    assert!(
        matches!(failures.as_slice(), [failure @ Failure::SelectorsTooNarrow(_)] if failure.is_advisory())
    );
    assert!(world.hosts[A].child().too_narrow.is_some());
    assert!(failures[0].to_string().contains("172.16.0.254"), "{}", failures[0]);
}

#[test]
fn the_same_peer_coming_again_replaces_its_old_ike_sa() {
    let mut world = World::pair(15).established();
    // A crashed: a new engine without memory of the old one.
    let mut seed = [0; 32];
    seed[0] = 99;
    let now = world.now;
    let host = &mut world.hosts[A];
    host.engine = Engine::new(seed, Limits::default());
    host.engine.upsert_connection(CONN, connection(A), now);
    host.events.clear();
    host.children.clear();
    host.ikes.clear();
    world.dial(A);
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!(world.hosts[B].child_reasons(), [DownReason::PeerRestarted]);
    assert!(world.hosts[B].events.iter().any(|event| matches!(event, Event::IkeDown { replaced: true, .. })));
}

#[test]
fn a_dial_through_bad_weather_arrives() {
    for seed in 0..60 {
        let mut world = World::pair(seed);
        world.weather = Weather::FOUL;
        world.dial(A);
        world.run_for(Duration::from_secs(140));
        assert!(world.hosts[A].up(), "seed {seed}: {:#?}", world.hosts[A].story());
        world.assert_one_child();
    }
}
