//! States and timers, and the transport a session lives and dies with.

use std::time::{Duration, Instant};

use bgp_wire::{NotificationCode, keepalive};

use super::net::{Net, PEER, configs};
use crate::{Event, LARGE_HOLD, ResetCause, State};

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn tunnelled() -> [crate::NeighborConfig; 2] {
    configs().map(|mut config| {
        config.tunnel = Some("azure".into());
        config
    })
}

pub(super) fn last_words(net: &Net, side: usize) -> String {
    net.speakers[side].neighbor(PEER).unwrap().last_reset.unwrap().1
}

#[test]
fn a_pair_is_established_within_two_seconds_of_its_start() {
    let mut net = Net::new(configs(), 4);
    net.run(2 * SECOND);
    assert_eq!(net.states(), [State::Established; 2]);
    let view = net.speakers[0].neighbor(PEER).unwrap();
    let negotiated = view.negotiated.unwrap();
    assert_eq!(negotiated.hold, Some(Duration::from_secs(180)));
    assert_eq!(negotiated.keepalive, Duration::from_secs(60));
    assert!(negotiated.context.as4 && negotiated.refresh && negotiated.enhanced_refresh);
    assert_eq!(view.summary.reason, None);
}

#[test]
fn a_session_stays_up_for_hours_on_keepalives_alone() {
    let mut net = Net::established(configs());
    net.run(Duration::from_hours(10));
    assert_eq!(net.states(), [State::Established; 2]);
    let counters = net.speakers[0].neighbor(PEER).unwrap().counters;
    assert_eq!((counters.established, counters.dropped), (1, 0));
    assert!((600..=900).contains(&counters.sent.keepalives), "{}", counters.sent.keepalives);
}

#[test]
fn the_lesser_hold_time_holds_and_a_keepalive_is_a_third_of_it() {
    let mut both = configs();
    both[0].hold_time = 1835;
    both[0].keepalive = 610;
    both[1].hold_time = 240;
    both[1].keepalive = 80;
    let net = Net::established(both);
    let view = net.speakers[0].neighbor(PEER).unwrap();
    let negotiated = view.negotiated.unwrap();
    assert_eq!((negotiated.hold, negotiated.keepalive), (Some(240 * SECOND), 80 * SECOND));
    assert_eq!((view.configured_hold, view.configured_keepalive), (1835, 610));
}

#[test]
fn without_a_hold_time_there_are_no_keepalives_and_no_timers() {
    let mut both = configs();
    both[1].hold_time = 0;
    let mut net = Net::new(both, 1);
    net.run(5 * SECOND);
    assert_eq!(net.states(), [State::Established; 2]);
    let view = net.speakers[0].neighbor(PEER).unwrap();
    assert_eq!((view.hold_at, view.keepalive_at, view.send_hold_at), (None, None, None));
}

#[test]
fn a_silent_peer_is_dropped_at_the_hold_time_with_4_0_and_its_routes_go() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    net.black_hole = true;
    net.run(Duration::from_secs(185));
    assert!(net.learned(0).is_empty());
    assert_ne!(net.states()[0], State::Established);
    let dropped = |(_, event): &&(Instant, Event)| {
        matches!(event, Event::Reset { established: true, cause: ResetCause::Sent(sent), .. }
            if sent.code == NotificationCode::HOLD_TIMER_EXPIRED)
    };
    let (at, _) = net.events[0].iter().find(dropped).unwrap();
    assert!(*at >= net.start + 120 * SECOND && *at <= net.start + 200 * SECOND);
}

#[test]
fn a_peer_that_accepts_and_never_opens_is_dropped_after_four_minutes() {
    let mut both = configs();
    both[1].passive = true;
    let mut net = Net::new(both, 1);
    net.stalled[1] = true;
    net.run(5 * SECOND);
    assert_eq!(net.states()[0], State::OpenSent);
    net.black_hole = true;
    net.run(LARGE_HOLD - 6 * SECOND);
    assert_eq!(net.states()[0], State::OpenSent);
    net.run(3 * SECOND);
    assert!(last_words(&net, 0).contains("hold timer expired"));
}

#[test]
fn a_socket_that_takes_nothing_ends_the_session_by_the_send_hold_timer() {
    let mut net = Net::established(configs());
    stall(&mut net, 600);
    assert!(last_words(&net, 0).contains("send hold timer expired"), "{}", last_words(&net, 0));
}

/// The first one's socket takes nothing until its session ends, for so many seconds at most.
fn stall(net: &mut Net, seconds: u32) {
    net.stalled[0] = true;
    for _ in 0..seconds {
        net.run(SECOND);
        if net.states()[0] != State::Established {
            break;
        }
        // The peer hears nothing and would drop the session first, so it is kept from that.
        net.inject(1, &keepalive());
    }
}

#[test]
fn a_send_hold_time_of_the_file_holds_and_is_never_the_hold_time_or_less() {
    for (configured, span) in [(200, 200), (180, 181), (4, 181)] {
        let mut both = configs();
        both[0].send_hold_time = Some(configured);
        let mut net = Net::established(both);
        stall(&mut net, 300);
        let (at, _) = net.events[0].iter().find(|(_, event)| matches!(event, Event::Reset { .. })).unwrap();
        assert!(last_words(&net, 0).contains("send hold timer expired"), "{}", last_words(&net, 0));
        // What waits is the first keepalive after the socket stalled, within a minute.
        let since = *at - net.start;
        assert!(since >= span * SECOND && since <= (span + 62) * SECOND, "{configured}: {since:?}");
    }
}

#[test]
fn refused_dials_are_retried_for_ever_between_5_and_30_seconds() {
    let mut both = configs();
    both[1].passive = true;
    let mut net = Net::new(both, 1);
    net.refuses[1] = true;
    net.run(Duration::from_secs(600));
    let resets = net.events[0].iter().filter(|(_, event)| matches!(event, Event::Reset { .. }));
    let times: Vec<_> = resets.map(|(at, _)| *at).collect();
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap > 3 * SECOND && *gap < 31 * SECOND), "{gaps:?}");
    assert!(gaps.last().unwrap() > &(20 * SECOND));
    assert_eq!(last_words(&net, 0), "TCP connection refused");
    assert_eq!(net.states()[0], State::Active);
    net.refuses[1] = false;
    net.run(Duration::from_secs(31));
    assert_eq!(net.states(), [State::Established; 2]);
}

#[test]
fn a_session_lives_and_dies_with_its_transport() {
    let mut net = Net::new(tunnelled(), 1);
    net.run(Duration::from_secs(30));
    assert_eq!(net.states(), [State::Idle; 2]);
    assert_eq!(net.open(), 0, "no dial before the tunnel is up");
    for side in [0, 1] {
        net.speakers[side].transport_up(PEER, net.now);
    }
    net.run(2 * SECOND);
    assert_eq!(net.states(), [State::Established; 2]);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    net.speakers[0].transport_down(PEER, "CHILD SA deleted by peer", net.now);
    net.drain();
    assert!(net.learned(0).is_empty(), "routes go at once");
    assert_eq!(net.states()[0], State::Idle);
    let summary = &net.speakers[0].summary()[0];
    assert_eq!(summary.state_word, "Idle (Transport)");
    assert_eq!(summary.reason.as_deref(), Some("transport down: CHILD SA deleted by peer"));
}

#[test]
fn a_transport_that_comes_back_brings_the_session_back_at_once() {
    let mut net = Net::new(tunnelled(), 2);
    for round in 0..5 {
        for side in [0, 1] {
            net.speakers[side].transport_up(PEER, net.now);
        }
        net.run(2 * SECOND);
        assert_eq!(net.states(), [State::Established; 2], "round {round}");
        for side in [0, 1] {
            net.speakers[side].transport_down(PEER, "test", net.now);
        }
        net.run(SECOND);
    }
}

#[test]
fn an_inbound_connection_is_refused_while_the_transport_is_down() {
    let mut both = tunnelled();
    both[1].tunnel = None;
    let mut net = Net::new(both, 1);
    net.run(Duration::from_secs(60));
    assert_eq!(net.states()[0], State::Idle);
    let counters = net.speakers[0].neighbor(PEER).unwrap().counters;
    assert!(counters.refused > 0);
    assert_eq!(counters.sent.total(), 0, "without a word");
}
