//! Two engines, a virtual clock, and a seeded network between them.

#![expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crypto::Secret;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

pub(super) use super::host::{Host, mirror};
use crate::*;

pub(super) const CONN: ConnId = ConnId(1);
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// How bad the network is.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// Of 1000 datagrams, so many are lost.
    pub(super) loss: u32,
    /// Of 1000 datagrams, so many come twice.
    pub(super) twice: u32,
    /// The delay of one, and up to this much more.
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
}

impl Weather {
    pub(super) const FAIR: Self =
        Self { loss: 0, twice: 0, delay: Duration::from_millis(10), jitter: Duration::ZERO };
    pub(super) const FOUL: Self =
        Self { loss: 250, twice: 150, delay: Duration::from_millis(20), jitter: Duration::from_millis(400) };
}

struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    path: Path,
    bytes: Vec<u8>,
}

/// Work handed out by a host.
struct Job(usize, WorkId, Work);

/// A translator in front of host A.
pub(super) struct Translator {
    pub(super) public: IpAddr,
    /// Added to a port on the way out.
    pub(super) shift: u16,
}

/// What may stand on the way of a datagram: `None` takes it off.
pub(super) type Tap = Box<dyn FnMut(usize, &mut Vec<u8>) -> bool>;

/// Does a host (the first argument) refuse to compute this?
pub(super) type Full = Box<dyn FnMut(usize, &Work) -> bool>;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) hosts: [Host; 2],
    pub(super) weather: Weather,
    pub(super) nat: Option<Translator>,
    pub(super) tap: Option<Tap>,
    pub(super) full: Option<Full>,
    pub(super) rng: ChaCha20Rng,
    flights: Vec<Flight>,
    jobs: VecDeque<(Instant, Job)>,
    order: u64,
    /// Everything that was ever under way, for replays.
    pub(super) log: Vec<(usize, Path, Vec<u8>)>,
}

pub(super) fn address(host: usize) -> IpAddr {
    if host == A { "192.0.2.1".parse().unwrap() } else { "192.0.2.2".parse().unwrap() }
}

/// The connection as `host` has it, with small suites that compute fast.
pub(super) fn connection(host: usize) -> Connection {
    let remote = Remote::Addresses(vec![address(1 - host)]);
    let mut connection = Connection::new("site", remote, Secret::from("a secret of some length"));
    connection.ike_proposals = vec![IkeProposal::parse("aes128-sha256-curve25519").unwrap()];
    connection.esp_proposals = vec![EspProposal::parse("aes128gcm16").unwrap()];
    connection
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self::with_limits(seed, Limits::default())
    }

    pub(super) fn with_limits(seed: u64, limits: Limits) -> Self {
        let start = Instant::now();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut host = |index: usize| {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            Host {
                engine: Engine::new(seed, limits),
                address: address(index),
                events: Vec::new(),
                children: BTreeMap::new(),
                ikes: BTreeMap::new(),
                sent: Vec::new(),
                current: BTreeMap::new(),
                lingering: Vec::new(),
                now: start,
                work_delay: Duration::from_millis(3),
            }
        };
        let hosts = [host(A), host(B)];
        Self {
            now: start,
            start,
            hosts,
            weather: Weather::FAIR,
            nat: None,
            tap: None,
            full: None,
            rng,
            flights: Vec::new(),
            jobs: VecDeque::new(),
            order: 0,
            log: Vec::new(),
        }
    }

    /// Both ends with the default connection.
    pub(super) fn pair(seed: u64) -> Self {
        Self::pair_with(seed, |_, _| {})
    }

    /// Both ends with a connection changed by `change(host, connection)`.
    pub(super) fn pair_with(seed: u64, change: impl Fn(usize, &mut Connection)) -> Self {
        let mut world = Self::new(seed);
        world.configure(change);
        world
    }

    pub(super) fn configure(&mut self, change: impl Fn(usize, &mut Connection)) {
        for host in [A, B] {
            let mut connection = connection(host);
            change(host, &mut connection);
            let now = self.now;
            self.hosts[host].engine.upsert_connection(CONN, connection, now);
            self.drain(host);
        }
    }

    /// Where `host` dials to.
    pub(super) fn path(&self, host: usize) -> Path {
        Path::ike(self.hosts[host].address, self.reach(1 - host))
    }

    /// The address others see of a host.
    pub(super) fn reach(&self, host: usize) -> IpAddr {
        match &self.nat {
            Some(nat) if host == A => nat.public,
            _ => self.hosts[host].address,
        }
    }

    pub(super) fn command(&mut self, host: usize, command: Command) {
        let now = self.now;
        self.hosts[host].engine.handle_command(command, now);
        self.drain(host);
    }

    pub(super) fn dial(&mut self, host: usize) {
        let path = self.path(host);
        self.command(host, Command::Initiate { conn: CONN, path });
    }

    pub(super) fn report(&mut self, host: usize, report: Report) {
        let now = self.now;
        self.hosts[host].engine.handle_datapath(report, now);
        self.drain(host);
    }

    /// Dials from A and waits until all is up.
    pub(super) fn established(mut self) -> Self {
        self.dial(A);
        self.run_for(Duration::from_secs(5));
        self.assert_one_child();
        self
    }

    /// Takes all out of an engine, in the order its documentation asks for.
    pub(super) fn drain(&mut self, host: usize) {
        self.hosts[host].now = self.now;
        while let Some(event) = self.hosts[host].engine.poll_event() {
            self.hosts[host].learn(event);
        }
        while let Some(transmit) = self.hosts[host].engine.poll_transmit() {
            self.launch(host, &transmit);
            self.hosts[host].sent.push(transmit);
        }
        while let Some((id, work)) = self.hosts[host].engine.poll_work() {
            let at = self.now + self.hosts[host].work_delay;
            self.jobs.push_back((at, Job(host, id, work)));
        }
    }

    fn chance(&mut self, of_1000: u32) -> bool {
        self.rng.next_u32() % 1000 < of_1000
    }

    fn launch(&mut self, from: usize, transmit: &Transmit) {
        if transmit.keepalive {
            return;
        }
        let mut bytes = transmit.bytes.to_vec();
        let (mut source, mut target) = (transmit.path.local, transmit.path.remote);
        if let Some(nat) = &self.nat {
            if from == A {
                source = SocketAddr::new(nat.public, source.port().wrapping_add(nat.shift));
            } else if target.ip() == nat.public {
                target = SocketAddr::new(self.hosts[A].address, target.port().wrapping_sub(nat.shift));
            }
        }
        let to = 1 - from;
        let path = Path { local: target, remote: source };
        self.log.push((to, path, bytes.clone()));
        if target.ip() != self.hosts[to].address || ![500, 4500].contains(&target.port()) {
            return;
        }
        if let Some(tap) = &mut self.tap
            && !tap(to, &mut bytes)
        {
            return;
        }
        if self.chance(self.weather.loss) {
            return;
        }
        let copies = if self.chance(self.weather.twice) { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = self.weather.jitter.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX));
            self.order += 1;
            let at = self.now + self.weather.delay + jitter;
            self.flights.push(Flight { at, order: self.order, to, path, bytes: bytes.clone() });
        }
    }

    /// Hands a datagram to a host now.
    pub(super) fn deliver(&mut self, to: usize, path: Path, bytes: &[u8]) {
        let now = self.now;
        self.hosts[to].engine.handle_datagram(path, bytes, now);
        self.drain(to);
    }

    fn next(&self) -> Option<Instant> {
        let flights = self.flights.iter().map(|flight| flight.at).min();
        let jobs = self.jobs.iter().map(|(at, _)| *at).min();
        let timeouts = self.hosts.iter().filter_map(|host| host.engine.poll_timeout()).min();
        [flights, jobs, timeouts].into_iter().flatten().min()
    }

    /// Does the next thing that is due up to `until`; `false` when there is none.
    pub(super) fn step(&mut self, until: Instant) -> bool {
        let Some(at) = self.next().filter(|at| *at <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(at);
        if let Some(index) = self.jobs.iter().position(|(at, _)| *at <= self.now) {
            if let Some((_, Job(host, id, work))) = self.jobs.remove(index) {
                let full = self.full.as_mut().is_some_and(|full| full(host, &work));
                let outcome = if full { work.refuse() } else { work.perform() };
                let now = self.now;
                self.hosts[host].engine.handle_work(id, outcome, now);
                self.drain(host);
            }
            return true;
        }
        let first = self.flights.iter().enumerate().min_by_key(|(_, flight)| (flight.at, flight.order));
        if let Some((index, _)) = first.filter(|(_, flight)| flight.at <= self.now) {
            let flight = self.flights.swap_remove(index);
            self.deliver(flight.to, flight.path, &flight.bytes);
            return true;
        }
        for host in [A, B] {
            let now = self.now;
            self.hosts[host].engine.handle_timeout(now);
            self.drain(host);
        }
        true
    }

    pub(super) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        let mut steps = 0_u32;
        while self.step(until) {
            steps += 1;
            assert!(steps < 200_000, "the world does not come to rest");
        }
    }

    /// Runs with a packet each way every 5 ms on each of the CHILD SAs in use; gives how many came on an SPI the receiver did not hear.
    pub(super) fn run_with_traffic(&mut self, time: Duration) -> usize {
        let (until, mut lost) = (self.now + time, 0);
        let mut packets: Vec<(Instant, usize, u32)> = Vec::new();
        while self.now < until {
            self.run_for(Duration::from_millis(5));
            for host in [A, B] {
                let Host { current, children, .. } = &self.hosts[host];
                let spis: Vec<u32> = current.values().map(|id| children[id].spi_out).collect();
                for spi in spis {
                    let jitter =
                        self.weather.jitter.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX));
                    packets.push((self.now + self.weather.delay + jitter, 1 - host, spi));
                }
            }
            let now = self.now;
            let (due, rest) = packets.into_iter().partition(|(at, ..)| *at <= now);
            packets = rest;
            for (_, to, spi) in due {
                lost += usize::from(!self.hosts[to].hears(spi, now));
            }
        }
        lost
    }

    /// Exactly one CHILD SA at each end, and they are each other's.
    pub(super) fn assert_one_child(&self) {
        let [a, b] = &self.hosts;
        assert_eq!(
            (a.children.len(), b.children.len()),
            (1, 1),
            "\nA: {:#?}\nB: {:#?}",
            a.story(),
            b.story()
        );
        assert_eq!((a.ikes.len(), b.ikes.len()), (1, 1), "\nA: {:#?}\nB: {:#?}", a.story(), b.story());
        for host in &self.hosts {
            assert_eq!(host.engine.child_status(CONN).len(), 1, "{:#?}", host.engine.child_status(CONN));
            assert_eq!(host.engine.ike_status(CONN).len(), 1, "{:#?}", host.engine.ike_status(CONN));
        }
        mirror(a.child(), b.child());
    }

    pub(super) fn failures(&self, host: usize) -> Vec<Failure> {
        self.hosts[host].picked(|event| match event {
            Event::Failed { failure, .. } => Some(failure.clone()),
            _ => None,
        })
    }
}
