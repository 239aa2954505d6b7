//! Listeners on this machine's loopback.

use std::net::TcpStream;

use super::*;

fn listener(last: u8, ttl: u8) -> Listener {
    Listener { device: None, address: [127, 0, 0, last].into(), ttl }
}

/// Somebody connects; true when that came up as an event.
async fn is_heard(listener: &Listener, events: &mut mpsc::Receiver<Event>) -> bool {
    let address = SocketAddr::new(listener.address, Listener::PORT);
    let caller = tokio::task::spawn_blocking(move || TcpStream::connect(address).is_ok());
    let heard = caller.await.unwrap_or(false);
    heard && matches!(events.recv().await, Some(Event::Accepted { .. }))
}

#[tokio::test]
async fn an_address_given_up_and_wanted_again_in_one_turn_is_listened_on() {
    let (mut connections, mut events) = Connections::new(None);
    let (one, two) = (listener(77, 1), listener(77, 3));
    connections.perform(StreamOp::Listen(one.clone()));
    assert!(is_heard(&one, &mut events).await);
    // Another TTL on the same place, as when a neighbour's `multihop` changes.
    connections.perform(StreamOp::Unlisten(one.clone()));
    connections.perform(StreamOp::Listen(two.clone()));
    assert!(is_heard(&two, &mut events).await);
    connections.perform(StreamOp::Unlisten(two));
    assert!(TcpStream::connect((one.address, Listener::PORT)).is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_bound_once_it_is_free() {
    let (mut connections, mut events) = Connections::new(None);
    let place = listener(78, 1);
    let other = std::net::TcpListener::bind((place.address, Listener::PORT)).unwrap();
    connections.perform(StreamOp::Listen(place.clone()));
    drop(other);
    while !is_heard(&place, &mut events).await {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_connection_is_measured_while_it_stands_and_the_measuring_keeps_none_open() {
    let (mut connections, mut events) = Connections::new(None);
    let place = listener(79, 1);
    connections.perform(StreamOp::Listen(place.clone()));
    let address = SocketAddr::new(place.address, Listener::PORT);
    let target =
        Target { remote: address, source: None, device: None, ttl: 1, mss: Some(1000), password: None };
    let (dialled, accepted) = (ConnId(1 << 40), ConnId(1));
    connections.perform(StreamOp::Connect { conn: dialled, target });
    assert!(connections.measured().is_empty(), "not connected yet");
    for _ in 0..2 {
        match events.recv().await {
            Some(Event::Accepted { tunnel, stream, .. }) => connections.adopt(accepted, tunnel, stream),
            Some(Event::Connected { conn, .. }) => assert_eq!(conn, dialled),
            _ => panic!("something else"),
        }
    }
    let measured = connections.measured();
    assert_eq!(measured.keys().copied().collect::<Vec<_>>(), [accepted, dialled]);
    for found in measured.values() {
        assert!((900..=1000).contains(&found.mss) && !found.rtt.is_zero(), "{found:?}");
    }
    connections.perform(StreamOp::Close { conn: dialled, drain: false });
    // The other end hears of it: the socket is closed, not only forgotten.
    assert!(matches!(events.recv().await, Some(Event::Closed { conn }) if conn == accepted));
    connections.forget(accepted);
    assert!(connections.measured().is_empty());
}

/// A listener, and a connection to it from a dialled one: what came up of both, the accepted end adopted.
async fn joined(last: u8) -> (Connections, mpsc::Receiver<Event>, [ConnId; 2]) {
    let (mut connections, mut events) = Connections::new(None);
    let place = listener(last, 1);
    connections.perform(StreamOp::Listen(place.clone()));
    let address = SocketAddr::new(place.address, Listener::PORT);
    let target = Target { remote: address, source: None, device: None, ttl: 1, mss: None, password: None };
    let (dialled, accepted) = (ConnId(1 << 40), ConnId(1));
    connections.perform(StreamOp::Connect { conn: dialled, target });
    for _ in 0..2 {
        match events.recv().await {
            Some(Event::Accepted { tunnel, stream, .. }) => connections.adopt(accepted, tunnel, stream),
            Some(Event::Connected { .. }) => {}
            _ => panic!("something else"),
        }
    }
    (connections, events, [dialled, accepted])
}

#[tokio::test]
async fn a_connection_that_is_written_more_to_than_may_wait_ends_and_is_counted() {
    let (mut connections, mut events, [dialled, _]) = joined(80).await;
    // Its task has no turn meanwhile.
    for _ in 0..=COMMANDS {
        assert_eq!(connections.overflows, 0);
        connections.perform(StreamOp::Write { conn: dialled, bytes: vec![7; 19] });
    }
    assert_eq!(connections.overflows, 1);
    loop {
        match events.recv().await.unwrap() {
            Event::Closed { conn } if conn == dialled => break,
            Event::Written { .. } | Event::Received { .. } | Event::Closed { .. } => {}
            _ => panic!("something else"),
        }
    }
}

#[tokio::test]
async fn what_the_speaker_has_under_way_at_most_finds_room_and_arrives() {
    let (mut connections, mut events, [dialled, accepted]) = joined(81).await;
    for last in [6, 7] {
        connections.perform(StreamOp::Write { conn: dialled, bytes: vec![last; 19] });
    }
    connections.perform(StreamOp::Close { conn: dialled, drain: true });
    let mut got = Vec::new();
    loop {
        match events.recv().await.unwrap() {
            Event::Received { conn, bytes } if conn == accepted => got.extend(bytes),
            Event::Closed { conn } if conn == accepted => break,
            _ => {}
        }
    }
    assert_eq!((got, connections.overflows), ([[6; 19], [7; 19]].concat(), 0));
}

#[tokio::test]
async fn another_mark_reaches_every_open_connection() {
    let (mut connections, _events, conns) = joined(82).await;
    let marks = |connections: &Connections| {
        let mark = |conn| {
            let stream = connections.commands[&conn].socket.get()?.upgrade()?;
            SockRef::from(&*stream).mark().ok()
        };
        conns.map(mark)
    };
    assert_eq!(marks(&connections), [Some(0); 2]);
    for mark in [Some(0xc0de), Some(7), None] {
        connections.set_mark(mark);
        while marks(&connections) != [Some(mark.unwrap_or(0)); 2] {
            tokio::task::yield_now().await;
        }
    }
}
