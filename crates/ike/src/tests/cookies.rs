//! Cookies that come and go while requests are under way: which request was answered decides what is signed.

use std::time::Duration;

use ike_wire::{Header, Notify, NotifyType, Payload, PayloadType, encode};

use super::pair::*;
use crate::*;

const MOMENT: Duration = Duration::from_secs(5);
const INIT: u8 = 34;

fn has_cookie(bytes: &[u8]) -> bool {
    bytes[18] == INIT && bytes[16] == PayloadType::NOTIFY.0
}

/// A has sent its request twice, was asked for a cookie once, and sends the request with it; the repetition without is
/// still under way, and comes to a B that asks for none. What passes from then on is `passes`' to say.
fn repeated_without(seed: u64, passes: impl Fn(usize, &[u8]) -> bool + 'static) -> World {
    let mut world = World::pair(seed);
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_millis(1500));
    let requests = std::mem::take(&mut world.log);
    assert_eq!(requests.len(), 2, "sent, and repeated");
    let (_, path, bytes) = requests[0].clone();
    let header = Header::peek(&bytes).unwrap().response();
    let cookie = Notify::new(NotifyType::COOKIE, vec![7; 20]);
    let answer = encode(&header, &[Payload::Notify(cookie)]).unwrap();
    world.tap = Some(Box::new(move |to, bytes| passes(to, bytes)));
    world.deliver(A, Path { local: path.remote, remote: path.local }, &answer);
    world.deliver(B, path, &bytes);
    world
}

/// The initiator's SPIs of the dials from A.
fn dials(world: &World) -> Vec<[u8; 8]> {
    let mut spis: Vec<[u8; 8]> =
        world.hosts[A].sent.iter().map(|sent| sent.bytes[..8].try_into().unwrap()).collect();
    spis.dedup();
    spis
}

#[test]
fn a_responder_that_keeps_the_request_without_cookie_is_dialled_anew_at_once() {
    // Of the request with the cookie B never hears, as if it passed over it; a later dial's is a request like any other.
    let mut world = repeated_without(1, |to, bytes| to == A || !has_cookie(bytes));
    world.run_for(MOMENT);
    world.assert_one_child();
    assert!(world.failures(A).is_empty() && world.failures(B).is_empty(), "{:?}", world.failures(A));
    assert_eq!(dials(&world).len(), 2, "given up, and begun with another SPI");
    assert!(world.hosts[A].engine.counters().get(Counter::Doubted) >= 1);
    assert_eq!(world.hosts[B].engine.counters().get(Counter::AuthenticationFailed), 0);
}

#[test]
fn a_responder_takes_the_proof_over_either_form_of_the_request() {
    let mut world = repeated_without(2, |_, _| true);
    world.run_for(MOMENT);
    world.assert_one_child();
    assert!(world.failures(A).is_empty() && world.failures(B).is_empty());
    assert_eq!(dials(&world).len(), 1, "one dial was enough");
    assert!(world.hosts[B].engine.counters().get(Counter::Repeated) >= 1);
}

#[test]
fn the_answer_to_a_request_with_a_cookie_proves_itself_by_coming_again() {
    // B answered the request with the cookie alone; the repetition without was lost.
    let mut world = World::with_limits(3, Limits { cookie_from: 0, ..Limits::default() });
    world.configure(|_, _| {});
    let mut lost = 0;
    world.tap = Some(Box::new(move |to, bytes| {
        let first_answers = to == A && bytes[18] == INIT;
        lost += u32::from(first_answers);
        !first_answers || lost > 1
    }));
    world.dial(A);
    world.run_for(MOMENT);
    world.assert_one_child();
    assert_eq!(dials(&world).len(), 1);
    assert_eq!(world.hosts[A].engine.counters().get(Counter::Doubted), 1);
    assert_eq!(world.hosts[B].engine.counters().get(Counter::Repeated), 1);
}

#[test]
fn doubt_without_end_takes_the_answer_there_is_and_is_bounded() {
    // Each dial finds a peer that accepts the plain repetition and never hears of the cookie.
    let mut world = repeated_without(4, |to, bytes| to == A || !has_cookie(bytes));
    for _ in 0..4 {
        let Some((_, path, bytes)) = world
            .log
            .iter()
            .rfind(|(to, _, bytes)| *to == B && bytes[18] == INIT && !has_cookie(bytes))
            .cloned()
        else {
            break;
        };
        // Nothing passes but what is delivered here.
        world.tap = Some(Box::new(|_, _| false));
        world.run_for(Duration::from_millis(1500));
        let header = Header::peek(&bytes).unwrap().response();
        let cookie = Notify::new(NotifyType::COOKIE, vec![9; 20]);
        let answer = encode(&header, &[Payload::Notify(cookie)]).unwrap();
        world.deliver(A, Path { local: path.remote, remote: path.local }, &answer);
        world.tap = Some(Box::new(|to, bytes| to == A || (bytes[18] != INIT)));
        world.deliver(B, path, &bytes);
        world.run_for(Duration::from_secs(3));
    }
    assert!(dials(&world).len() <= 4, "{}", dials(&world).len());
    world.tap = None;
    world.run_for(Duration::from_secs(60));
    assert!(world.hosts[A].engine.held() <= 1);
}

#[test]
fn cookies_are_asked_for_a_while_longer_than_they_are_needed() {
    let limits = Limits { cookie_from: 1, half_open_timeout: Duration::from_secs(2), ..Limits::default() };
    let mut world = World::with_limits(5, limits);
    world.configure(|_, _| {});
    world.tap = Some(Box::new(|_, _| false));
    world.dial(A);
    world.run_for(Duration::from_millis(100));
    let (_, path, init) = world.log.first().unwrap().clone();
    let ask = |world: &mut World, spi: u8| {
        let mut bytes = init.clone();
        bytes[0] = spi;
        let before = world.hosts[B].engine.counters().get(Counter::CookieSent);
        world.deliver(B, path, &bytes);
        world.hosts[B].engine.counters().get(Counter::CookieSent) > before
    };
    assert!(!ask(&mut world, 1), "the first is let in");
    assert!(ask(&mut world, 2));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.hosts[B].engine.half_open(), 0);
    assert!(ask(&mut world, 3), "nobody is half-open any more, and late repetitions may be under way");
    world.run_for(Duration::from_secs(6));
    assert!(!ask(&mut world, 4), "asking is what it takes, not being asked");
    let on = |event: &Event| matches!(event, Event::Note(Note::CookiesOn));
    assert_eq!(world.hosts[B].count(on), 1);
}
