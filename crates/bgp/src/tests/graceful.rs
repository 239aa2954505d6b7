//! Graceful restart as the one who waits (RFC 4724 section 4.2): what we offer, and what a peer's offer is worth.

use std::time::{Duration, Instant};

use bgp_rib::Options;
use bgp_wire::{
    Capability, Family, GracefulFamily, GracefulRestart, Notification, NotificationCode, Open,
    encode_end_of_rib, keepalive,
};

use super::net::{PEER, announcement, configs, prefix};
use crate::{ConnId, Effect, Event, NeighborConfig, Speaker, SpeakerConfig, State};

const SECOND: Duration = Duration::from_secs(1);

/// One speaker whose peer, which keeps forwarding over a restart, is the test itself.
struct Script {
    speaker: Speaker,
    conn: u64,
    now: Instant,
    lost: Vec<String>,
}

/// What the peer offers.
fn offer(forwarding: bool) -> Option<GracefulRestart> {
    let family = GracefulFamily { afi: 1, safi: 1, forwarding };
    Some(GracefulRestart { restarting: forwarding, notification: false, time: 120, families: vec![family] })
}

impl Script {
    /// Established, with two prefixes learned.
    fn new(graceful: Option<GracefulRestart>) -> Self {
        let [mut config, _] = configs();
        config.passive = true;
        Self::with(config, graceful)
    }

    fn with(config: NeighborConfig, graceful: Option<GracefulRestart>) -> Self {
        let own = SpeakerConfig { asn: 65510, router_id: [10, 0, 0, 1].into(), decision: Options::default() };
        let (mut speaker, now) = (Speaker::new(own, [1; 32]), Instant::now());
        speaker.upsert_neighbor(PEER, config, now);
        speaker.transport_up(PEER, now);
        let mut script = Self { speaker, conn: 0, now, lost: Vec::new() };
        script.meet(graceful);
        script.say(&announcement(&[65515], &["10.0.0.0/8", "11.0.0.0/8"]));
        script.say(&encode_end_of_rib(Family::Ipv4Unicast));
        assert_eq!(script.table(), ["10.0.0.0/8", "11.0.0.0/8"]);
        script
    }

    /// A new connection of the peer's, taken to Established.
    fn meet(&mut self, graceful: Option<GracefulRestart>) {
        self.conn += 1;
        let ends = ["192.168.1.1:179", "172.16.0.254:40000"].map(|text| text.parse().unwrap());
        self.speaker.handle_accepted(PEER, ConnId(self.conn), ends[0], ends[1], self.now);
        let mut capabilities = vec![Capability::family(Family::Ipv4Unicast), Capability::As4(65515)];
        capabilities.extend(graceful.map(Capability::GracefulRestart));
        self.say(&Open::new(65515, 180, [10, 0, 0, 0].into(), capabilities).encode());
        self.say(&keepalive());
        assert_eq!(self.speaker.state(PEER), Some(State::Established));
    }

    fn say(&mut self, bytes: &[u8]) {
        self.speaker.handle_bytes(ConnId(self.conn), bytes, self.now);
        self.drain();
    }

    fn close(&mut self) {
        self.speaker.handle_closed(ConnId(self.conn), self.now);
        self.drain();
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.speaker.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.speaker.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(effect) = self.speaker.poll_effect() {
            if let Effect::Write { conn, bytes } = effect {
                self.speaker.handle_written(conn, bytes.len(), self.now);
            }
        }
        while let Some(event) = self.speaker.poll_event() {
            if let Event::Reset { lost, .. } | Event::Lost { lost, .. } = event {
                self.lost.extend(lost.iter().map(ToString::to_string));
            }
        }
    }

    fn table(&self) -> Vec<String> {
        self.speaker.table().map(|row| row.prefix.to_string()).collect()
    }

    fn stale(&self) -> Vec<bool> {
        self.speaker.received(PEER).map(|route| route.stale).collect()
    }
}

#[test]
fn we_offer_to_wait_and_to_keep_nothing_ourselves() {
    let [config, _] = configs();
    let offered = crate::open::capabilities(&config, false);
    let graceful =
        offered.iter().find(|capability| matches!(capability, Capability::GracefulRestart(_))).unwrap();
    assert_eq!(graceful.to_bytes(), [64, 2, 0, 0], "no family, no time, neither bit");
    assert!(crate::open::capabilities(&config, true).is_empty(), "nor to a peer that refused capabilities");
}

#[test]
fn routes_of_a_peer_that_keeps_forwarding_outlive_its_connection_until_it_has_spoken_again() {
    let mut script = Script::new(offer(false));
    script.close();
    assert_eq!((script.table().len(), script.stale()), (2, vec![true, true]));
    assert_eq!(script.speaker.state(PEER), Some(State::Active), "it is waited for, not backed off from");
    script.pass(30 * SECOND);
    script.meet(offer(true));
    assert_eq!(script.table().len(), 2);
    script.say(&announcement(&[65515], &["10.0.0.0/8"]));
    assert_eq!(script.stale(), [false, true]);
    script.say(&encode_end_of_rib(Family::Ipv4Unicast));
    assert_eq!(script.table(), ["10.0.0.0/8"]);
    assert!(script.lost.is_empty(), "what it does not announce any more is withdrawn, not lost");
}

#[test]
fn they_go_when_the_restart_time_is_over() {
    let mut script = Script::new(offer(false));
    script.close();
    script.pass(119 * SECOND);
    assert_eq!(script.table().len(), 2);
    script.pass(2 * SECOND);
    assert!(script.table().is_empty());
    assert_eq!(script.lost, ["10.0.0.0/8", "11.0.0.0/8"]);
    assert!(script.speaker.received(PEER).next().is_none());
}

#[test]
fn a_peer_that_comes_back_without_its_forwarding_state_has_lost_them() {
    for offer in [None, offer(false), Some(GracefulRestart::default())] {
        let mut script = Script::new(self::offer(false));
        script.close();
        script.meet(offer);
        assert!(script.table().is_empty());
        assert_eq!(script.lost.len(), 2);
    }
}

#[test]
fn without_the_offer_or_with_a_notification_nothing_is_kept() {
    for offer in [None, Some(GracefulRestart { time: 120, ..GracefulRestart::default() })] {
        let mut script = Script::new(offer);
        script.close();
        assert!(script.table().is_empty());
        assert_eq!(script.lost.len(), 2);
    }
    let mut script = Script::new(offer(false));
    script.say(&Notification::from(NotificationCode::ADMINISTRATIVE_RESET).encode());
    assert!(script.table().is_empty());
}

#[test]
fn a_tunnel_that_goes_takes_them_along_and_so_does_every_word_of_the_operator() {
    type Act = fn(&mut Speaker, Instant);
    let acts: [Act; 4] = [
        |speaker, now| speaker.transport_down(PEER, "its tunnel is down", now),
        |speaker, now| assert!(speaker.clear(PEER, crate::Clear::Hard, now)),
        |speaker, now| assert!(speaker.shutdown(PEER, "", now)),
        |speaker, now| speaker.remove_neighbor(PEER, now),
    ];
    for act in acts {
        let [mut config, _] = configs();
        (config.passive, config.tunnel) = (true, Some("azure".into()));
        let mut script = Script::with(config, offer(false));
        script.close();
        assert_eq!(script.table().len(), 2);
        act(&mut script.speaker, script.now);
        script.drain();
        assert!(script.table().is_empty());
        assert_eq!(script.lost.len(), 2);
    }
}

#[test]
fn a_second_loss_before_the_peer_has_spoken_ends_what_was_stale_already() {
    let mut script = Script::new(offer(false));
    script.close();
    script.meet(offer(true));
    script.say(&announcement(&[65515], &["10.0.0.0/8"]));
    script.close();
    assert_eq!(script.table(), ["10.0.0.0/8"]);
    assert_eq!(script.lost, ["11.0.0.0/8"]);
}

#[test]
fn a_changed_policy_and_the_guard_judge_them_too() {
    let mut script = Script::new(offer(false));
    script.close();
    let own = [prefix("10.0.0.0/8")].into();
    script.speaker.originate(&own, script.now);
    script.drain();
    let sources: Vec<_> = script.speaker.received(PEER).map(|route| route.verdict.is_accepted()).collect();
    assert_eq!(sources, [false, true]);
}
