//! The clock, the queue of what happens, and the loop.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gateway::{Applied, Change, Device, Gateway, KernelView, Rules, TunnelId};
use ike::{Work, WorkId};
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use super::datapath::Datapath;
use super::file;
use super::net::{Datagram, Network, Weather};
use super::seeds;
use super::site::{Heard, Site};
use super::tcp::Tcp;
use super::traffic::Flow;

/// Lines of the log that a failure prints.
const LAST_LINES: usize = 80;
/// Octets of a packet that go into the trace: numbers and IVs tell sealed packets apart.
const HEAD: usize = 32;
/// Turns without the clock moving: more is a timer that does not move.
const TURNS_AT_ONCE: u32 = 20_000;

/// Something that will happen.
pub(crate) enum Happening {
    /// An outer packet arrives.
    Arrive(Datagram),
    /// Something of one process.
    At { site: usize, incarnation: u32, what: Begun },
    /// A flow sends its next packet.
    Send(usize),
}

/// What a process began, or its host tells it.
pub(crate) enum Begun {
    Work(WorkId, Work),
    Resolve { tunnel: TunnelId, name: String },
    Host(Command),
    Told(Told),
    PathMtu { remote: IpAddr, mtu: u32 },
}

/// For the host thread.
pub(crate) enum Command {
    Device(TunnelId, Device),
    Routes(Vec<Change>),
    Rules(Rules),
    Read,
}

/// From the host thread.
pub(crate) enum Told {
    Device(TunnelId, Result<u32, String>),
    Applied(Vec<Applied>),
    Kernel(KernelView),
    Rules,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Instant,
    begin: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    serial: u64,
    pub(crate) sites: Vec<Site>,
    pub(crate) net: Network,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) flows: Vec<Flow>,
    /// A hash of everything that happened, in order.
    pub(crate) trace: u64,
    log: VecDeque<String>,
    log_all: bool,
    turns: u32,
}

impl World {
    pub(crate) fn new(seed: u64, weather: Weather) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "some point in time to count from; only differences matter"
        )]
        let begin = Instant::now();
        Self {
            now: begin,
            begin,
            queue: BTreeMap::new(),
            serial: 0,
            sites: Vec::new(),
            net: Network::new(weather),
            rng: seeds::rng(seed),
            flows: Vec::new(),
            trace: 0xcbf2_9ce4_8422_2325,
            log: VecDeque::new(),
            log_all: std::env::var_os("SIM_LOG").is_some(),
            turns: 0,
        }
    }

    /// A host whose gateway does not run yet.
    pub(crate) fn add(&mut self, name: &str, wan: &[&str], lan: &str, file: String) -> usize {
        let mut site = Site::new(name, wan, lan, self.now);
        site.file = file;
        self.sites.push(site);
        self.sites.len() - 1
    }

    /// Starts a site's gateway from its file.
    pub(crate) fn start(&mut self, site: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let first_port = u16::try_from(self.rng.next_u32() & 0xffff).unwrap();
        let now = self.now;
        let here = &mut self.sites[site];
        assert!(here.gateway.is_none(), "{} runs already", here.name);
        let plan = file::load(&here.file).unwrap_or_else(|errors| panic!("{}: {errors}", here.name));
        here.kernel.sweep(&plan.tunnels.values().map(|tunnel| tunnel.interface.name.clone()).collect());
        here.incarnation += 1;
        here.origin = now;
        here.host_free = now;
        here.tcp = Tcp::new(first_port);
        here.datapath = Datapath::new();
        here.stopped = false;
        (here.batches, here.host_queue, here.works) = (0, 0, 0);
        here.gateway = Some(Gateway::new(plan, seed, NonZeroU32::MIN, now));
        self.note(site, "started");
        self.turn(site);
    }

    /// kill -9: the process is gone, the host stays.
    pub(crate) fn kill(&mut self, site: usize) {
        self.note(site, "killed");
        let here = &mut self.sites[site];
        here.gateway = None;
        here.incarnation += 1;
        here.inbox.clear();
        here.tcp = Tcp::default();
        here.datapath = Datapath::new();
        here.kernel.lose_readers();
    }

    /// An input for a site's gateway, taken at once.
    pub(crate) fn tell(&mut self, site: usize, heard: Heard) {
        self.sites[site].inbox.push_back(heard);
        self.turn(site);
    }

    /// Something that will happen after a while.
    pub(crate) fn later(&mut self, after: Duration, what: Happening) {
        self.at(self.now + after, what);
    }

    pub(crate) fn at(&mut self, at: Instant, what: Happening) {
        self.serial += 1;
        self.queue.insert((at, self.serial), what);
    }

    /// Something this site's process will hear of.
    pub(crate) fn begin(&mut self, at: Instant, site: usize, what: Begun) {
        let incarnation = self.sites[site].incarnation;
        self.at(at, Happening::At { site, incarnation, what });
    }

    /// Lets so much time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
    }

    /// Lets time pass until something is so, and answers how long it took; fails after `limit`.
    pub(crate) fn run_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        let begin = self.now;
        // Looked at ten times a second: looking costs more than a step.
        let mut look = self.now;
        loop {
            if is_so(self) {
                return self.now - begin;
            }
            assert!(self.now - begin < limit, "not within {limit:?}: {what}");
            look += Duration::from_millis(100);
            while self.step(look) {}
        }
    }

    /// The next thing that happens, if it does before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let mut due: Option<(Instant, usize)> = None;
        for (index, site) in self.sites.iter().enumerate() {
            let timer = site.gateway.as_ref().and_then(Gateway::poll_timeout);
            for at in timer.into_iter().chain(site.tcp.next_timeout()) {
                if due.is_none_or(|(earliest, _)| at < earliest) {
                    due = Some((at, index));
                }
            }
        }
        let timer_first = due.is_some_and(|(at, _)| queued.is_none_or(|queued| at <= queued));
        let next = if timer_first { due.map(|(at, _)| at) } else { queued };
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        self.advance(next);
        match due.filter(|_| timer_first) {
            Some((_, site)) => self.time(site),
            None => {
                if let Some((_, happening)) = self.queue.pop_first() {
                    self.happen(happening);
                }
            }
        }
        true
    }

    fn advance(&mut self, next: Instant) {
        if next > self.now {
            self.now = next;
            self.turns = 0;
        }
        self.turns += 1;
        assert!(self.turns < TURNS_AT_ONCE, "the clock does not move: a timer is due again and again");
    }

    fn time(&mut self, site: usize) {
        let now = self.now;
        self.sites[site].tcp.timeout(now);
        if self.sites[site].gateway.as_ref().and_then(Gateway::poll_timeout).is_some_and(|at| at <= now) {
            self.tell(site, Heard::Time);
            let again = self.sites[site].gateway.as_ref().and_then(Gateway::poll_timeout);
            assert!(again.is_none_or(|at| at > now), "{}: a timer is still due", self.sites[site].name);
        } else {
            self.turn(site);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive(datagram) => self.arrive(datagram),
            Happening::Send(flow) => self.send_flow(flow),
            Happening::At { site, incarnation, what } => {
                if self.sites[site].incarnation == incarnation {
                    self.begun(site, what);
                }
            }
        }
    }

    /// What will happen, for those who must take some of it back.
    pub(crate) fn queue(&mut self) -> &mut BTreeMap<(Instant, u64), Happening> {
        &mut self.queue
    }

    /// Takes something into the trace: its length and how it begins.
    pub(crate) fn mark(&mut self, site: usize, what: &[u8]) {
        let length = u32::try_from(what.len()).unwrap().to_le_bytes();
        let what = &what[..what.len().min(HEAD)];
        let at = u64::try_from((self.now - self.begin).as_nanos()).unwrap().to_le_bytes();
        for octet in at.iter().chain(&[u8::try_from(site).unwrap()]).chain(&length).chain(what) {
            self.trace = (self.trace ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A line of the log.
    pub(crate) fn note(&mut self, site: usize, text: &str) {
        self.mark(site, text.as_bytes());
        let mut line = String::new();
        let seconds = (self.now - self.begin).as_secs_f64();
        let _ = write!(line, "{seconds:11.6} {}: {text}", self.sites[site].name);
        if self.log_all {
            eprintln!("{line}");
        }
        if self.log.len() == LAST_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    /// How long the world exists.
    pub(crate) fn age(&self) -> Duration {
        self.now - self.begin
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.log_all {
            for line in &self.log {
                eprintln!("{line}");
            }
        }
    }
}
