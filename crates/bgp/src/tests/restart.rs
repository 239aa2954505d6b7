//! The gateway behind a neighbour came again without memory: did its speaker?

use std::time::{Duration, Instant};

use super::net::{Net, PEER, configs};
use crate::{CHALLENGE_TIME, Effect, Event, ResetCause, Speaker, State};

const SECOND: Duration = Duration::from_secs(1);

/// A pair behind tunnels, up for a minute, side 1 having taught a prefix.
fn pair() -> Net {
    let both = configs().map(|mut config| {
        config.tunnel = Some("azure".into());
        config
    });
    let mut net = Net::new(both, 1);
    for side in [0, 1] {
        net.speakers[side].transport_up(PEER, net.now);
    }
    net.run(10 * SECOND);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(50 * SECOND);
    assert_eq!(net.states(), [State::Established; 2]);
    net
}

/// When side 0's session ended, by this cause.
fn ended(net: &Net) -> Option<(Instant, ResetCause)> {
    net.events[0].iter().find_map(|(at, event)| match event {
        Event::Reset { established: true, cause, .. } => Some((*at, cause.clone())),
        _ => None,
    })
}

fn come_again(net: &mut Net) {
    net.speakers[0].peer_restarted(PEER, net.now);
    net.drain();
}

#[test]
fn a_session_that_outlived_it_answers_and_goes_on_without_a_flap() {
    let mut net = pair();
    come_again(&mut net);
    for _ in 0..100 {
        net.run(SECOND / 10);
        assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    }
    assert_eq!(net.states(), [State::Established; 2]);
    assert_eq!(ended(&net), None);
    let counters = net.speakers[0].neighbor(PEER).unwrap().counters;
    assert_eq!((counters.established, counters.dropped), (1, 0));
    // And it is not held against it later.
    net.run(Duration::from_secs(3600));
    assert_eq!(ended(&net), None);
}

#[test]
fn a_session_that_did_not_is_reset_by_the_host_at_once_and_dialled_anew() {
    let mut net = pair();
    net.forget(1);
    net.speakers[1].transport_down(PEER, "the host went down", net.now);
    net.drain();
    let begin = net.now;
    come_again(&mut net);
    net.run(SECOND);
    let (at, cause) = ended(&net).expect("a reset came back");
    assert_eq!(cause, ResetCause::PeerRestarted);
    // A round trip of this network at most.
    assert!(at - begin <= 2 * net.latency, "{:?}", at - begin);
    assert!(net.learned(0).is_empty());
    net.speakers[1].transport_up(PEER, net.now);
    net.run(5 * SECOND);
    assert_eq!(net.states(), [State::Established; 2], "no wait in Idle: it was no error");
}

#[test]
fn a_session_that_says_nothing_ends_when_the_challenge_does() {
    let mut net = pair();
    net.black_hole = true;
    let begin = net.now;
    come_again(&mut net);
    net.run(3 * SECOND);
    assert_eq!(ended(&net), Some((begin + CHALLENGE_TIME, ResetCause::PeerRestarted)));
}

#[test]
fn the_peers_own_new_connection_ends_it_whoever_decides() {
    for seed in [1, 2] {
        let mut net = pair();
        net.forget(1);
        // Nothing that is said on the old one comes back.
        net.stalled[0] = true;
        come_again(&mut net);
        net.stalled[0] = false;
        let fresh = Net::new(configs(), seed).speakers;
        let [_, fresh] = fresh;
        net.speakers[1] = fresh;
        let begin = net.now;
        net.run(5 * SECOND);
        let (at, cause) = ended(&net).unwrap();
        assert!(at - begin < CHALLENGE_TIME, "{:?} {cause}", at - begin);
        assert_eq!(net.states(), [State::Established; 2]);
    }
}

#[test]
fn an_attempt_under_way_begins_anew() {
    let mut net = pair();
    net.speakers[0].transport_down(PEER, "down", net.now);
    net.forget(0);
    net.forget(1);
    net.black_hole = true;
    net.speakers[0].transport_up(PEER, net.now);
    net.run(2 * SECOND);
    assert_eq!(net.speakers[0].state(PEER), Some(State::Connect));
    net.black_hole = false;
    net.speakers[1].transport_down(PEER, "down", net.now);
    net.speakers[1].transport_up(PEER, net.now);
    come_again(&mut net);
    // Without it the dial that nobody heard would be waited for: twenty seconds.
    net.run(3 * SECOND);
    assert_eq!(net.states(), [State::Established; 2]);
}

#[test]
fn a_speaker_in_anothers_place_does_not_count_its_connections_again() {
    fn dialled(speaker: &mut Speaker, mut now: Instant) -> u64 {
        let [config, _] = configs();
        speaker.upsert_neighbor(PEER, config, now);
        loop {
            match speaker.poll_effect() {
                Some(Effect::Connect { conn, .. }) => return conn.0,
                Some(_) => {}
                None => {
                    now = speaker.poll_timeout().unwrap().max(now);
                    speaker.handle_timeout(now);
                }
            }
        }
    }
    let net = Net::new(configs(), 1);
    let config = net.speakers[0].config().clone();
    let mut first = Speaker::new(config.clone(), [1; 32]);
    let one = dialled(&mut first, net.now);
    let mut second = first.successor(config, [2; 32]);
    assert!(dialled(&mut second, net.now) > one);
}
