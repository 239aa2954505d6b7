//! Two speakers and a network between them, in virtual time: every message late by a random amount,
//! in order within a connection and in no order between connections.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bgp_rib::{NeighborId, Options, Policy};
use bgp_wire::{AsPath, Context, Families, NextHop, PathAttributes, PeerKind, encode_announce};
use inet::Prefix;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::{
    BestRoute, ConnId, ConnectError, Effect, Event, NeighborConfig, ReceivedRoute, Speaker, SpeakerConfig,
    State,
};

/// The one neighbour each speaker has.
pub(crate) const PEER: NeighborId = NeighborId(1);

#[derive(Debug)]
enum Packet {
    Syn,
    SynAck,
    Data(Vec<u8>),
    Written(usize),
    Fin,
}

#[derive(Debug)]
struct Tcp {
    dialler: usize,
    ids: [ConnId; 2],
    open: [bool; 2],
    accepted: bool,
    /// The last arrival planned toward each side: later packets come later.
    last: [Instant; 2],
}

/// Which machines and what lies between them.
pub(crate) struct Net {
    pub(crate) speakers: [Speaker; 2],
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) latency: Duration,
    /// Dials are refused by this side's host.
    pub(crate) refuses: [bool; 2],
    /// Nothing reaches the other side, and nobody is told.
    pub(crate) black_hole: bool,
    /// This side's sockets take no octet.
    pub(crate) stalled: [bool; 2],
    pub(crate) events: [Vec<(Instant, Event)>; 2],
    pub(crate) routes: [BTreeMap<Prefix, BestRoute>; 2],
    /// Every octet each side wrote, by arrival.
    pub(crate) sent: [Vec<Vec<u8>>; 2],
    tcps: Vec<Tcp>,
    queue: BTreeMap<(Instant, u64), (usize, usize, Packet)>,
    order: u64,
    rng: ChaCha20Rng,
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn address(side: usize) -> IpAddr {
    if side == 0 { [192, 168, 1, 1].into() } else { [172, 16, 0, 254].into() }
}

/// An UPDATE of the cloud's, in the form this pair speaks.
pub(crate) fn announcement(path: &[u32], prefixes: &[&str]) -> Vec<u8> {
    let mut attributes = PathAttributes::originated(NextHop::V4([172, 16, 0, 254].into()));
    attributes.as_path = AsPath::sequence(path.iter().copied());
    attributes.med = Some(7);
    let context = Context {
        as4: true,
        families: Families::IPV4,
        extended_message: false,
        peer: PeerKind::External,
        first_as: None,
        reject_as_sets: true,
    };
    let prefixes: Vec<Prefix> = prefixes.iter().map(|text| prefix(text)).collect();
    encode_announce(&attributes, &prefixes, &context).unwrap().0
}

/// The site on side 0 (AS 65510) and the cloud on side 1 (AS 65515), all policies "any".
pub(crate) fn configs() -> [NeighborConfig; 2] {
    [0, 1].map(|side| {
        let asns = [65510, 65515];
        let mut config = NeighborConfig::new("peer", address(1 - side), asns[1 - side], asns[side]);
        config.import = Policy::Any;
        config.export = Policy::Any;
        config
    })
}

impl Net {
    pub(crate) fn new(configs: [NeighborConfig; 2], seed: u64) -> Self {
        let ids = if seed.is_multiple_of(2) {
            [[10, 0, 0, 1], [10, 0, 0, 2]]
        } else {
            [[10, 0, 0, 2], [10, 0, 0, 1]]
        };
        Self::with_ids(configs, seed, ids)
    }

    pub(crate) fn with_ids(configs: [NeighborConfig; 2], seed: u64, ids: [[u8; 4]; 2]) -> Self {
        let start = Instant::now();
        let speaker = |side: usize| {
            let config = SpeakerConfig {
                asn: configs[side].local_asn,
                router_id: ids[side].into(),
                decision: Options::default(),
            };
            let mut bytes = [side as u8; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            Speaker::new(config, bytes)
        };
        let mut net = Self {
            speakers: [speaker(0), speaker(1)],
            now: start,
            start,
            latency: Duration::from_millis(50),
            refuses: [false; 2],
            black_hole: false,
            stalled: [false; 2],
            events: [Vec::new(), Vec::new()],
            routes: [BTreeMap::new(), BTreeMap::new()],
            sent: [Vec::new(), Vec::new()],
            tcps: Vec::new(),
            queue: BTreeMap::new(),
            order: 0,
            rng: ChaCha20Rng::seed_from_u64(seed),
        };
        for (side, config) in configs.into_iter().enumerate() {
            net.speakers[side].upsert_neighbor(PEER, config, start);
        }
        net
    }

    /// A pair that is established and has exchanged what it had to.
    pub(crate) fn established(configs: [NeighborConfig; 2]) -> Self {
        let mut net = Self::new(configs, 1);
        net.run(Duration::from_secs(10));
        assert_eq!(net.states(), [State::Established; 2]);
        net
    }

    pub(crate) fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.speakers[side].state(PEER).unwrap())
    }

    pub(crate) fn originate(&mut self, side: usize, prefixes: &[&str]) {
        let set = prefixes.iter().map(|text| prefix(text)).collect();
        self.speakers[side].originate(&set, self.now);
        self.drain();
    }

    /// The prefixes in a side's forwarding table.
    pub(crate) fn learned(&self, side: usize) -> Vec<String> {
        self.routes[side].keys().map(ToString::to_string).collect()
    }

    pub(crate) fn received(&self, side: usize) -> Vec<ReceivedRoute> {
        self.speakers[side].received(PEER).collect()
    }

    /// Connections open on both sides.
    pub(crate) fn whole(&self) -> usize {
        self.tcps.iter().filter(|tcp| tcp.open == [true; 2]).count()
    }

    /// Connections open on any side.
    pub(crate) fn open(&self) -> usize {
        self.tcps.iter().filter(|tcp| tcp.open.contains(&true)).count()
    }

    /// A connection in which this side's host says nothing more and knows nothing: a reboot.
    pub(crate) fn forget(&mut self, side: usize) {
        for tcp in &mut self.tcps {
            tcp.open[side] = false;
        }
    }

    /// Bytes out of nowhere on the one open connection, as if the other side had sent them.
    pub(crate) fn inject(&mut self, side: usize, bytes: &[u8]) {
        let conn = self.tcps.iter().find(|tcp| tcp.open == [true; 2]).unwrap().ids[side];
        self.speakers[side].handle_bytes(conn, bytes, self.now);
        self.drain();
    }

    /// Lets a span of time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.drain();
        while let Some(at) = self.next_instant().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    fn next_instant(&self) -> Option<Instant> {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let timers = self.speakers.iter().filter_map(Speaker::poll_timeout);
        timers.chain(queued).min()
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (tcp, side, packet) = entry.remove();
            self.arrive(tcp, side, packet);
        } else {
            for speaker in &mut self.speakers {
                speaker.handle_timeout(self.now);
            }
        }
        self.drain();
        self.check_timers();
    }

    /// No state without a timer.
    fn check_timers(&self) {
        for speaker in &self.speakers {
            let Some(state) = speaker.state(PEER) else { continue };
            let passive = speaker.neighbor_config(PEER).is_some_and(|config| config.passive);
            let waits = match state {
                State::Idle => false,
                State::Active => !passive,
                State::Connect | State::OpenSent | State::OpenConfirm => true,
                State::Established => speaker
                    .neighbor(PEER)
                    .and_then(|view| view.negotiated)
                    .is_some_and(|agreed| agreed.hold.is_some()),
            };
            assert!(!waits || speaker.poll_timeout().is_some(), "{state} without a timer");
        }
    }

    fn delay(&mut self) -> Duration {
        self.latency.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX))
    }

    fn post(&mut self, tcp: usize, side: usize, packet: Packet) {
        if self.black_hole && !matches!(packet, Packet::Written(_)) {
            return;
        }
        let at = (self.now + self.delay()).max(self.tcps[tcp].last[side]);
        self.tcps[tcp].last[side] = at;
        self.order += 1;
        self.queue.insert((at, self.order), (tcp, side, packet));
    }

    fn arrive(&mut self, tcp: usize, side: usize, packet: Packet) {
        let now = self.now;
        let conn = self.tcps[tcp].ids[side];
        let ends = [side, 1 - side].map(|side| SocketAddr::new(address(side), 179));
        match packet {
            Packet::Syn if self.refuses[side] => self.post(tcp, 1 - side, Packet::Fin),
            Packet::Syn => {
                self.tcps[tcp].accepted = true;
                self.tcps[tcp].open[side] = true;
                self.post(tcp, 1 - side, Packet::SynAck);
                self.speakers[side].handle_accepted(PEER, conn, ends[0], ends[1], now);
            }
            Packet::SynAck if self.tcps[tcp].open[side] => {
                self.speakers[side].handle_connected(conn, ends[0], ends[1], now);
            }
            Packet::Data(bytes) if self.tcps[tcp].open[side] => {
                self.speakers[side].handle_bytes(conn, &bytes, now);
            }
            // A host that does not know the connection answers with a reset.
            Packet::Data(_) => self.post(tcp, 1 - side, Packet::Fin),
            Packet::Written(octets) if self.tcps[tcp].open[side] => {
                self.speakers[side].handle_written(conn, octets, now);
            }
            Packet::Fin if self.tcps[tcp].open[side] => {
                self.tcps[tcp].open[side] = false;
                if self.tcps[tcp].dialler == side && !self.tcps[tcp].accepted {
                    self.speakers[side].handle_connect_failed(conn, ConnectError::Refused, now);
                } else {
                    self.speakers[side].handle_closed(conn, now);
                }
            }
            Packet::SynAck | Packet::Written(_) | Packet::Fin => {}
        }
    }

    pub(crate) fn drain(&mut self) {
        for side in [0, 1] {
            while let Some(effect) = self.speakers[side].poll_effect() {
                self.perform(side, effect);
            }
            while let Some(event) = self.speakers[side].poll_event() {
                self.events[side].push((self.now, event));
            }
            while let Some(delta) = self.speakers[side].poll_route() {
                match delta.best {
                    Some(best) => self.routes[side].insert(delta.prefix, best),
                    None => self.routes[side].remove(&delta.prefix),
                };
            }
        }
    }

    fn perform(&mut self, side: usize, effect: Effect) {
        match effect {
            Effect::Connect { conn, .. } => {
                let mut ids = [conn; 2];
                ids[1 - side] = ConnId(self.tcps.len() as u64);
                let mut open = [false; 2];
                open[side] = true;
                let last = [self.now; 2];
                self.tcps.push(Tcp { dialler: side, ids, open, accepted: false, last });
                self.post(self.tcps.len() - 1, 1 - side, Packet::Syn);
            }
            Effect::Write { conn, bytes } => {
                let tcp = self.tcp(side, conn);
                assert!(bytes.len() < 64 * 1024, "a write is bounded");
                if self.stalled[side] {
                    return;
                }
                self.sent[side].push(bytes.clone());
                self.post(tcp, side, Packet::Written(bytes.len()));
                self.post(tcp, 1 - side, Packet::Data(bytes));
            }
            Effect::Close { conn, .. } => {
                let tcp = self.tcp(side, conn);
                if std::mem::take(&mut self.tcps[tcp].open[side]) {
                    self.post(tcp, 1 - side, Packet::Fin);
                }
            }
        }
    }

    fn tcp(&self, side: usize, conn: ConnId) -> usize {
        // Each side counts its dials alike, so the side belongs to the number; after a reboot the count
        // begins anew, so the latest counts.
        self.tcps.iter().rposition(|tcp| tcp.ids[side] == conn).unwrap()
    }
}
