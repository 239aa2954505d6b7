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
