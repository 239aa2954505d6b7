//! Many connections between the same two addresses, told apart by identity, that all begin at one moment; and floods of
//! first messages beside them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ike_wire::{Notify, NotifyType, Payload, encode, parse_outer};

use super::pair::*;
use crate::*;

const INIT: u8 = 34;
const AUTH: u8 = 35;
const RESPONSE: u8 = 0x20;

/// Both ends with so many connections, each with two identities of its own.
fn world(seed: u64, count: u32, limits: Limits) -> World {
    let mut world = World::with_limits(seed, limits);
    for host in [A, B] {
        for number in 1..=count {
            let mut connection = connection(host);
            let id = |host: usize| Some(format!("fqdn:{number}.{host}.example").parse().unwrap());
            (connection.local_id, connection.remote_id) = (id(host), id(1 - host));
            let now = world.now;
            world.hosts[host].engine.upsert_connection(ConnId(number), connection, now);
        }
    }
    world
}

fn dial_all(world: &mut World, count: u32) {
    for number in 1..=count {
        let path = world.path(A);
        world.command(A, Command::Initiate { conn: ConnId(number), path });
    }
}

/// How long it takes until so many stand at both ends.
fn time_to_stand(world: &mut World, count: u32, most: Duration) -> Duration {
    let (start, until) = (world.now, world.now + most);
    let stand = |world: &World| world.hosts.iter().all(|host| host.children.len() == count as usize);
    while !stand(world) {
        assert!(world.step(until), "{} stand", world.hosts[A].children.len());
    }
    world.now - start
}

fn counted(world: &World, host: usize, counter: Counter) -> u64 {
    world.hosts[host].engine.counters().get(counter)
}

/// A first message of A that never came to B, to be sent from anywhere.
fn template(world: &mut World) -> (Path, Vec<u8>) {
    world.tap = Some(Box::new(|_, _| false));
    dial_all(world, 1);
    world.run_for(Duration::from_millis(100));
    let (_, path, bytes) = world.log.first().unwrap().clone();
    let now = world.now;
    world.hosts[A].engine.handle_command(Command::Terminate { conn: ConnId(1) }, now);
    world.drain(A);
    world.tap = None;
    (path, bytes)
}

/// Another one by its SPI, from another address.
fn from(path: Path, init: &[u8], address: IpAddr, number: u32) -> (Path, Vec<u8>) {
    let mut bytes = init.to_vec();
    bytes[0..4].copy_from_slice(&number.to_be_bytes());
    (Path { remote: SocketAddr::new(address, 500), ..path }, bytes)
}

/// Delivers it to B, and again with the cookie if it is asked for one.
fn knock(world: &mut World, path: Path, bytes: &[u8], heard: bool) {
    let before = world.hosts[B].sent.len();
    world.deliver(B, path, bytes);
    let answer = world.hosts[B].sent.get(before).map(|sent| sent.bytes.to_vec());
    let Some(answer) = answer.filter(|_| heard) else { return };
    let cookie = parse_outer(&answer).unwrap().payloads.into_iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == NotifyType::COOKIE => Some(notify.data),
        _ => None,
    });
    let Some(cookie) = cookie else { return };
    let outer = parse_outer(bytes).unwrap();
    let mut payloads = vec![Payload::Notify(Notify::new(NotifyType::COOKIE, cookie))];
    payloads.extend(outer.payloads);
    world.deliver(B, path, &encode(&outer.header, &payloads).unwrap());
}

fn stranger(number: u32) -> IpAddr {
    Ipv4Addr::from(0xc633_0000 + number).into()
}

/// A connection of B whose peer may be anywhere.
fn add_anywhere(world: &mut World, conn: u32) {
    let mut connection = connection(B);
    connection.remote = Remote::Any;
    connection.remote_id = Some(format!("fqdn:{conn}.anywhere.example").parse().unwrap());
    let now = world.now;
    world.hosts[B].engine.upsert_connection(ConnId(conn), connection, now);
}

#[test]
fn two_hundred_between_two_addresses_stand_within_seconds_and_no_request_is_repeated() {
    let mut world = world(1, 200, Limits::default());
    dial_all(&mut world, 200);
    let took = time_to_stand(&mut world, 200, Duration::from_secs(60));
    // A dial takes two round trips of 20 ms and some computing: three at a time in the first second, six in the next.
    assert!(took < Duration::from_secs(3), "{took:?}");
    for host in [A, B] {
        assert_eq!(counted(&world, host, Counter::Retransmitted), 0);
        assert_eq!(counted(&world, host, Counter::HalfOpenRefused), 0);
        assert!(world.failures(host).is_empty());
    }
}

#[test]
fn a_responder_that_drops_the_sixth_half_open_of_an_address_lets_all_in_soon() {
    let mut world = world(2, 200, Limits::default());
    // As strongSwan does by default: who has five half-open gets no answer to another.
    let (open, dropped) = (Rc::new(RefCell::new(BTreeSet::new())), Rc::new(RefCell::new(0)));
    let (half_open, lost) = (Rc::clone(&open), Rc::clone(&dropped));
    world.tap = Some(Box::new(move |to, bytes| {
        let (spi, mut open) = (bytes[..8].to_vec(), half_open.borrow_mut());
        match (bytes[18], bytes[19] & RESPONSE != 0) {
            (INIT, false) if to == B && !open.contains(&spi) && open.len() >= 5 => {
                *lost.borrow_mut() += 1;
                return false;
            }
            (INIT, false) => _ = open.insert(spi),
            (AUTH, true) => _ = open.remove(&spi),
            _ => {}
        }
        true
    }));
    dial_all(&mut world, 200);
    let took = time_to_stand(&mut world, 200, Duration::from_secs(120));
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!((1..20).contains(&*dropped.borrow()), "{dropped:?}");
    assert!(world.failures(A).is_empty());
}

#[test]
fn one_after_another_they_come_up_over_a_network_that_loses() {
    let mut world = world(3, 60, Limits::default());
    world.weather = Weather { loss: 100, ..Weather::FAIR };
    dial_all(&mut world, 60);
    time_to_stand(&mut world, 60, Duration::from_secs(100));
}

#[test]
fn some_that_are_never_answered_do_not_hold_up_the_others() {
    let mut world = world(4, 40, Limits::default());
    // B knows nothing of the first ten, and says so to none.
    let bad = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = Rc::clone(&bad);
    world.tap = Some(Box::new(move |to, bytes| {
        let (spi, mut seen) = (bytes[..8].to_vec(), seen.borrow_mut());
        if to == B && bytes[18] == INIT && seen.len() < 10 {
            seen.insert(spi.clone());
        }
        !seen.contains(&spi)
    }));
    dial_all(&mut world, 40);
    time_to_stand(&mut world, 30, Duration::from_secs(20));
    assert_eq!(bad.borrow().len(), 10);
}

#[test]
fn one_that_is_ended_while_it_waits_never_dials_and_one_that_changed_dials_as_it_is_now() {
    let mut world = world(5, 10, Limits::default());
    dial_all(&mut world, 10);
    assert_eq!(world.hosts[A].engine.ike_status(ConnId(9))[0].state, IkeState::Init, "it is under way");
    let now = world.now;
    world.hosts[A].engine.remove_connection(ConnId(9), now);
    for host in [A, B] {
        let mut changed = connection(host);
        let id = |host: usize| Some(format!("fqdn:changed.{host}.example").parse().unwrap());
        (changed.local_id, changed.remote_id) = (id(host), id(1 - host));
        world.hosts[host].engine.upsert_connection(ConnId(10), changed, now);
    }
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.hosts[A].children.len(), 9);
    assert!(world.hosts[A].engine.ike_status(ConnId(9)).is_empty());
    let claimed = world.hosts[A].engine.ike_status(ConnId(10))[0].local_id.clone();
    assert_eq!(claimed, Some("fqdn:changed.0.example".parse().unwrap()));
}

#[test]
fn whoever_forges_a_configured_peers_address_gets_a_few_and_the_peer_in() {
    let mut world = world(6, 20, Limits::default());
    let (path, init) = template(&mut world);
    for number in 0..500 {
        let (path, bytes) = from(path, &init, address(A), number);
        knock(&mut world, path, &bytes, false);
    }
    assert_eq!(world.hosts[B].engine.half_open(), 8, "as many as an address may have without a cookie");
    assert_eq!(counted(&world, B, Counter::CookieSent), 492, "all others would have had to hear it");
    assert_eq!(world.hosts[B].count(|event| matches!(event, Event::Note(Note::CookiesOn))), 0);
    dial_all(&mut world, 20);
    let took = time_to_stand(&mut world, 20, Duration::from_secs(20));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(counted(&world, A, Counter::Retransmitted), 0);
    assert_eq!(counted(&world, B, Counter::HalfOpenRefused), 0);
}

#[test]
fn strangers_with_cookies_fill_the_common_room_and_no_configured_peers() {
    let limits = Limits { half_open: 40, cookies_per_second: 10_000, ..Limits::default() };
    let mut world = world(7, 20, limits);
    let (path, init) = template(&mut world);
    add_anywhere(&mut world, 1001);
    add_anywhere(&mut world, 1002);
    for number in 0..600 {
        let (path, bytes) = from(path, &init, stranger(number % 30), number);
        knock(&mut world, path, &bytes, true);
    }
    let engine = &world.hosts[B].engine;
    assert_eq!(engine.half_open(), 42, "and one for each connection whose peer may be anywhere");
    assert_eq!(engine.half_open_bound(), 42 + 2 * 20 + 8);
    assert!(counted(&world, B, Counter::HalfOpenRefused) > 300);
    dial_all(&mut world, 20);
    let took = time_to_stand(&mut world, 20, Duration::from_secs(20));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(counted(&world, A, Counter::Retransmitted), 0);
}

#[test]
fn an_address_that_proved_itself_may_have_some_for_each_connection_and_no_more_than_a_few_besides() {
    let limits = Limits { cookies_per_second: 10_000, ..Limits::default() };
    let half_open = |anywhere: u32, from_where: IpAddr, heard: bool| {
        let mut world = world(8, 50, limits);
        let (path, init) = template(&mut world);
        (0..anywhere).for_each(|number| add_anywhere(&mut world, 1001 + number));
        for number in 0..500 {
            let (path, bytes) = from(path, &init, from_where, number);
            knock(&mut world, path, &bytes, heard);
        }
        assert!(world.hosts[B].engine.half_open() <= world.hosts[B].engine.half_open_bound());
        world.hosts[B].engine.half_open()
    };
    // Eight without a cookie, and in the room of its own twice 50 and eight.
    assert_eq!(half_open(0, address(A), true), 8 + 108);
    assert_eq!(half_open(0, address(A), false), 8);
    // A stranger's eight, and one for each connection it could be of.
    assert_eq!(half_open(100, stranger(1), true), 108);
    assert_eq!(half_open(100, stranger(1), false), 8);
}

#[test]
fn a_flood_from_one_configured_address_keeps_no_other_from_its_cookie() {
    let limits = Limits { cookie_from: 0, cookies_per_second: 10, ..Limits::default() };
    let mut world = world(12, 1, limits);
    let other: IpAddr = "192.0.2.77".parse().unwrap();
    let mut named = connection(B);
    named.remote = Remote::Addresses(vec![other]);
    let now = world.now;
    world.hosts[B].engine.upsert_connection(ConnId(2), named, now);
    let (path, init) = template(&mut world);
    let asked = |world: &mut World, address: IpAddr, count: u32| {
        let before = counted(world, B, Counter::CookieSent);
        for number in 0..count {
            let (path, bytes) = from(path, &init, address, number);
            knock(world, path, &bytes, false);
        }
        counted(world, B, Counter::CookieSent) - before
    };
    assert_eq!(asked(&mut world, address(A), 100), 10);
    assert_eq!(asked(&mut world, other, 1), 1, "in the same second");
    assert_eq!(
        asked(&mut world, stranger(1), 100) + asked(&mut world, stranger(2), 1),
        10,
        "all of these share"
    );
    world.run_for(Duration::from_secs(1));
    assert_eq!(asked(&mut world, address(A), 100), 10, "and in the next again");
}

#[test]
fn a_thousand_whose_peer_is_silent_are_given_up_about_when_one_would_be() {
    const COUNT: u32 = 1000;
    let mut world = world(13, COUNT, Limits::default());
    world.tap = Some(Box::new(|_, _| false));
    let patience = connection(A).dpd.timeout;
    dial_all(&mut world, COUNT);
    let until = world.now + patience + Duration::from_secs(40);
    while world.step(until) {}
    let failures = world.failures(A);
    assert!(failures.iter().all(|failure| matches!(failure, Failure::PeerSilent { .. })));
    assert_eq!(failures.len(), COUNT as usize);
}

#[test]
fn each_flood_that_fills_the_room_is_told_once() {
    let limits = Limits {
        half_open: 20,
        cookie_from: 1000,
        half_open_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut world = world(9, 1, limits);
    let (path, init) = template(&mut world);
    add_anywhere(&mut world, 1001);
    let told = |world: &World| world.hosts[B].count(|event| matches!(event, Event::Note(Note::HalfOpenFull)));
    for flood in 1..=2 {
        for number in 0..100 {
            let (path, bytes) = from(path, &init, stranger(number), flood * 1000 + number);
            knock(&mut world, path, &bytes, false);
            // The room empties while it lasts, and is full again.
            world.run_for(Duration::from_millis(50));
        }
        assert_eq!(told(&world), flood as usize);
        world.run_for(Duration::from_secs(15));
        assert_eq!(world.hosts[B].engine.half_open(), 0);
    }
}

#[test]
fn who_signs_the_request_with_the_cookie_is_believed_also_where_only_the_one_without_came() {
    let limits = Limits { cookie_from: 1, half_open_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut world = World::with_limits(10, limits);
    world.configure(|_, _| {});
    // A is asked for a cookie; all that it sends with it is lost.
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_millis(100));
    let (_, path, plain) = world.log.first().unwrap().clone();
    let (elsewhere, other) = from(path, &plain, stranger(1), 7);
    add_anywhere(&mut world, 1001);
    world.deliver(B, elsewhere, &other);
    world.tap = Some(Box::new(|to, bytes| to == A || bytes[18] != INIT));
    world.deliver(B, path, &plain);
    assert_eq!(counted(&world, B, Counter::CookieSent), 1);
    world.run_for(Duration::from_secs(13));
    // Nobody is asked for one any more when a copy of the first comes at last.
    world.deliver(B, path, &plain);
    world.run_for(Duration::from_secs(1));
    assert!(world.hosts[A].up() && world.hosts[B].up(), "{:#?}", world.hosts[B].story());
    assert_eq!(counted(&world, B, Counter::AuthenticationFailed), 0);
}

#[test]
fn in_two_hours_of_fifty_connections_no_deadline_is_passed_over() {
    let mut world = world(11, 50, Limits::default());
    dial_all(&mut world, 50);
    time_to_stand(&mut world, 50, Duration::from_secs(20));
    let before: BTreeSet<u32> = world.hosts[A].children.values().map(|up| up.spi_in).collect();
    for _ in 0..120 {
        world.run_for(Duration::from_secs(60));
        let due = world.hosts[A].engine.poll_timeout().unwrap();
        assert!(due > world.now && due < world.now + Duration::from_secs(31), "liveness at the latest");
    }
    assert!(world.hosts[A].children.values().all(|up| !before.contains(&up.spi_in)), "all were rekeyed");
    assert_eq!(world.hosts[A].children.len(), 50);
    assert_eq!(world.hosts[A].ike_reasons(), []);
}
