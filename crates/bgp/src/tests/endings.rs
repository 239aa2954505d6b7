//! How sessions end, what the other side is told, and which connection replaces which.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bgp_rib::Options;
use bgp_wire::{Notification, NotificationCode, Open, keepalive};

use super::fsm::{last_words, tunnelled};
use super::net::{Net, PEER, configs};
use crate::{Clear, ConnId, Effect, PROBE_TIME, Speaker, SpeakerConfig, State};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_shutdown_text_reaches_the_other_operator() {
    let mut net = Net::established(configs());
    assert!(net.speakers[0].shutdown(PEER, "maintenance until 6", net.now));
    net.run(SECOND);
    assert_eq!(net.states()[0], State::Idle);
    assert_eq!(
        last_words(&net, 1),
        "peer sent cease: administrative shutdown (6/2): \"maintenance until 6\""
    );
    assert_eq!(net.speakers[0].summary()[0].state_word, "Idle (Admin)");
    assert!(last_words(&net, 0).starts_with("we sent cease: administrative shutdown"));
    net.run(Duration::from_secs(60));
    assert_eq!(net.states()[0], State::Idle);
    net.speakers[0].enable(PEER, net.now);
    net.run(Duration::from_secs(130));
    assert_eq!(net.states(), [State::Established; 2]);
}

#[test]
fn a_hard_clear_brings_the_session_back_with_its_routes() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    net.speakers[0].clear(PEER, Clear::Hard, net.now);
    net.run(Duration::from_secs(10));
    assert_eq!(net.states(), [State::Established; 2]);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    assert_eq!(net.speakers[0].neighbor(PEER).unwrap().counters.established, 2);
}

#[test]
fn a_peer_that_flaps_with_one_bad_message_a_session_is_held_longer_each_time() {
    let mut net = Net::established(configs());
    let mut waits = Vec::new();
    for _ in 0..8 {
        net.inject(0, &[0; 19]);
        let down = net.now;
        while net.states()[0] != State::Established {
            net.run(SECOND / 4);
            assert!(net.now < down + Duration::from_secs(400), "it comes back");
        }
        waits.push(net.now - down);
    }
    assert!(waits.last().unwrap() > &Duration::from_secs(60), "{waits:?}");
    assert!(last_words(&net, 0).contains("connection not synchronized (1/1)"));
}

#[test]
fn a_message_in_the_wrong_state_is_an_error_of_that_state() {
    let mut net = Net::established(configs());
    let open = Open::new(65515, 180, [10, 0, 0, 9].into(), Vec::new()).encode();
    net.inject(0, &open);
    assert_eq!(net.speakers[0].neighbor(PEER).unwrap().last_error_code.as_deref(), Some("0503"));
}

#[test]
fn the_wrong_as_is_told_2_2_and_shown_in_words() {
    let mut both = configs();
    both[0].asn = 65516;
    both[0].passive = true;
    let mut net = Net::new(both, 1);
    net.run(Duration::from_secs(3));
    assert_eq!(last_words(&net, 0), "we sent OPEN error: bad peer AS (2/2)");
    assert_eq!(last_words(&net, 1), "peer sent OPEN error: bad peer AS (2/2)");
}

#[test]
fn no_common_family_is_told_2_7_with_the_family_we_want() {
    let mut both = configs();
    both[0].families = bgp_wire::Families::IPV6;
    let mut net = Net::new(both, 1);
    net.run(Duration::from_secs(3));
    let view = net.speakers[0].neighbor(PEER).unwrap();
    assert_eq!(view.last_error_code.as_deref(), Some("0207"));
    assert!(
        view.last_reset.unwrap().1.ends_with("data 010400020001")
            || last_words(&net, 1).ends_with("data 010400020001")
    );
}

#[test]
fn a_peer_that_refuses_capabilities_is_tried_once_without_any() {
    let [config, _] = configs();
    let mut script = Script::new(config);
    for expected in [51, 29, 51] {
        let hello = script.dial();
        assert_eq!(hello.len(), expected, "OPEN of that size");
        let refusal = Notification::from(NotificationCode::UNSUPPORTED_PARAMETER).encode();
        script.speaker.handle_bytes(script.conn, &refusal, script.now);
    }
}

#[test]
fn a_new_connection_loses_to_an_established_session_that_lives() {
    let mut script = Script::settled();
    script.accept(ConnId(2));
    assert!(
        script.effects().iter().any(|effect| matches!(effect, Effect::Write { conn: ConnId(1), .. })),
        "probed"
    );
    script.now += SECOND;
    script.speaker.handle_bytes(ConnId(1), &keepalive(), script.now);
    let closed = script.effects();
    assert!(closed.contains(&Effect::Close { conn: ConnId(2), drain: true }), "{closed:?}");
    let collision = Notification::from(NotificationCode::COLLISION).encode();
    assert!(closed.contains(&Effect::Write { conn: ConnId(2), bytes: collision }));
    assert_eq!(script.speaker.neighbor(PEER).unwrap().counters.dropped, 0);
}

#[test]
fn a_new_connection_replaces_an_established_session_that_stays_silent() {
    let mut script = Script::settled();
    script.accept(ConnId(2));
    script.effects();
    script.now += PROBE_TIME;
    script.speaker.handle_timeout(script.now);
    assert!(script.effects().contains(&Effect::Close { conn: ConnId(1), drain: false }));
    assert!(script.established_on().is_some(), "at once, on the new one");
    let counters = script.speaker.neighbor(PEER).unwrap().counters;
    assert_eq!((counters.established, counters.dropped), (2, 1));
}

#[test]
fn a_second_connection_of_the_peers_replaces_the_first_that_came_to_nothing() {
    let [mut config, _] = configs();
    config.passive = true;
    let mut script = Script::new(config);
    let ends = ["192.168.1.1:179", "172.16.0.254:40000"].map(|text| text.parse().unwrap());
    script.speaker.handle_accepted(PEER, ConnId(1), ends[0], ends[1], script.now);
    script.accept(ConnId(2));
    assert!(script.effects().contains(&Effect::Close { conn: ConnId(1), drain: false }));
    assert!(script.established_on().is_some());
}

/// One speaker whose peer is the test itself.
struct Script {
    speaker: Speaker,
    conn: ConnId,
    now: Instant,
}

impl Script {
    fn new(config: crate::NeighborConfig) -> Self {
        let own = SpeakerConfig { asn: 65510, router_id: [10, 0, 0, 1].into(), decision: Options::default() };
        let (mut speaker, now) = (Speaker::new(own, [1; 32]), Instant::now());
        speaker.upsert_neighbor(PEER, config, now);
        Self { speaker, conn: ConnId(0), now }
    }

    /// Takes a connection of the peer's through to its OPEN and KEEPALIVE.
    fn accept(&mut self, conn: ConnId) {
        let ends = ["192.168.1.1:179", "172.16.0.254:40000"].map(|text| text.parse().unwrap());
        self.speaker.handle_accepted(PEER, conn, ends[0], ends[1], self.now);
        let open = Open::new(65515, 180, [10, 0, 0, 0].into(), Vec::new()).encode();
        self.speaker.handle_bytes(conn, &open, self.now);
        self.speaker.handle_bytes(conn, &keepalive(), self.now);
    }

    /// Everything it wants, all writes taken at once.
    fn effects(&mut self) -> Vec<Effect> {
        let mut all = Vec::new();
        while let Some(effect) = self.speaker.poll_effect() {
            if let Effect::Write { conn, bytes } = &effect {
                self.speaker.handle_written(*conn, bytes.len(), self.now);
            }
            all.push(effect);
        }
        all
    }

    fn established_on(&self) -> Option<SocketAddr> {
        let view = self.speaker.neighbor(PEER).unwrap();
        (view.summary.state == State::Established).then_some(view.local).flatten()
    }

    /// Established on a connection of the peer's a minute ago; the peer has the lower identifier, so
    /// it is here that collisions are decided.
    fn settled() -> Self {
        let [mut config, _] = configs();
        config.passive = true;
        let mut script = Self::new(config);
        script.accept(ConnId(1));
        script.effects();
        assert!(script.established_on().is_some());
        script.now += 40 * SECOND;
        script
    }

    /// Lets time pass until it dials, connects, and answers what it says first.
    fn dial(&mut self) -> Vec<u8> {
        loop {
            match self.speaker.poll_effect() {
                Some(Effect::Connect { conn, .. }) => {
                    self.conn = conn;
                    let ends = ["192.168.1.1:40000", "172.16.0.254:179"].map(|text| text.parse().unwrap());
                    self.speaker.handle_connected(conn, ends[0], ends[1], self.now);
                }
                Some(Effect::Write { conn, bytes }) if conn == self.conn => return bytes,
                Some(_) => {}
                None => {
                    self.now = self.speaker.poll_timeout().unwrap().max(self.now);
                    self.speaker.handle_timeout(self.now);
                }
            }
        }
    }
}

#[test]
fn a_removed_neighbour_says_so() {
    let mut net = Net::established(configs());
    net.speakers[0].remove_neighbor(PEER, net.now);
    net.run(SECOND);
    assert_eq!(last_words(&net, 1), "peer sent cease: peer de-configured (6/3)");
    assert!(net.speakers[0].summary().is_empty());
}

#[test]
fn a_peer_that_comes_and_goes_while_a_dial_hangs_leaves_no_timer_in_the_past() {
    let mut script = Script::new({
        let [config, _] = configs();
        config
    });
    // The dial begins and nothing answers it.
    while !script.effects().iter().any(|effect| matches!(effect, Effect::Connect { .. })) {
        script.now = script.speaker.poll_timeout().unwrap().max(script.now);
        script.speaker.handle_timeout(script.now);
    }
    let ends = ["192.168.1.1:179", "172.16.0.254:40000"].map(|text| text.parse().unwrap());
    script.speaker.handle_accepted(PEER, ConnId(1), ends[0], ends[1], script.now);
    script.speaker.handle_closed(ConnId(1), script.now);
    for _ in 0..10 {
        script.effects();
        let at = script.speaker.poll_timeout().unwrap();
        script.now = script.now.max(at);
        script.speaker.handle_timeout(script.now);
        assert!(
            script.speaker.poll_timeout().is_none_or(|next| next > at),
            "a served timer is no longer due"
        );
    }
}

#[test]
fn a_tunnel_that_comes_again_ends_the_mode_without_capabilities() {
    let mut both = tunnelled();
    both[1].passive = true;
    let mut net = Net::new(both, 1);
    for side in [0, 1] {
        net.speakers[side].transport_up(PEER, net.now);
    }
    net.run(5 * SECOND);
    net.inject(0, &Notification::from(NotificationCode::UNSUPPORTED_CAPABILITY).encode());
    net.run(60 * SECOND);
    let as4 = |net: &Net| net.speakers[0].neighbor(PEER).unwrap().negotiated.map(|agreed| agreed.context.as4);
    assert_eq!(as4(&net), Some(false), "the session that follows is bare");
    for side in [0, 1] {
        net.speakers[side].transport_down(PEER, "down", net.now);
    }
    net.run(SECOND);
    for side in [0, 1] {
        net.speakers[side].transport_up(PEER, net.now);
    }
    net.run(10 * SECOND);
    assert_eq!(as4(&net), Some(true));
}

#[test]
fn a_stopping_speaker_says_shutdown_and_why() {
    let mut net = Net::established(configs());
    net.speakers[0].shutdown_all("causeway is stopping", net.now);
    net.run(SECOND);
    let words = last_words(&net, 1);
    assert!(words.contains("(6/2)") && words.contains("causeway is stopping"), "{words}");
}
