//! The loop of one worker.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use kernel::epoll::{Bell, Epoll, Interest, Ready};
use tokio::sync::mpsc::Sender;
use tunnel::publish::Reader;
use tunnel::{Tick, TunnelId};

use super::Upward;
use super::balance::{Balance, Load, Reading};
use super::capture::Captures;
use super::counters::Counters;
use super::inward::Inward;
use super::outward::{Outward, Read};
use super::port::{Ports, Up};
use super::queue::{Device, Shared};
use super::sockets::WorkerSockets;
use super::urgent::Urgent;

/// Descriptors one wait reports; the kernel gives all a turn when more are ready.
const READY: usize = 64;

const BELL: u64 = 0;
/// Tokens of sockets count from here; those of queues are this bit, the queue's number and the tunnel's.
const SOCKETS: u64 = 1;
const QUEUES: u64 = 1 << 63;
/// Any of the queues of control packets, which are in a set of their own.
const URGENT: u64 = u64::MAX;
/// Queues that epoll refused, for want of memory or by `fs.epoll.max_user_watches`, are read and offered to it again so often.
const AGAIN: Duration = Duration::from_millis(50);

mod reading;

/// What a worker is told.
pub(super) enum Command {
    /// A tunnel's queues: to write to and, for one worker each, to read.
    Attach { tunnel: TunnelId, shared: Arc<Shared> },
    /// Let it go.
    Detach { tunnel: TunnelId },
    /// Copy its packets.
    Capture { tunnel: TunnelId, sink: Sender<Vec<u8>> },
    /// End.
    Stop,
    /// Die of a fault, to see what becomes of the others.
    #[cfg(any(test, feature = "killable"))]
    Panic,
    /// Let another read a tunnel's first queue, if this one reads it.
    #[cfg(test)]
    Give { tunnel: TunnelId, to: usize },
}

/// What all workers share, each at its number.
pub(super) struct Crew {
    pub(super) bells: Vec<Bell>,
    pub(super) loads: Vec<Load>,
    /// Super-packets that any device's kernel refused.
    pub(super) refused: Arc<AtomicU64>,
}

/// Every tunnel's device.
pub(super) type DeviceMap = BTreeMap<TunnelId, Device>;

/// What has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// By its place among the device's.
    Queue(TunnelId, usize),
    Socket(usize),
}

/// One worker.
pub(super) struct Worker {
    number: usize,
    crew: Arc<Crew>,
    epoll: Epoll,
    inbox: Receiver<Command>,
    reader: Reader,
    origin: Instant,
    devices: DeviceMap,
    ports: Ports,
    outward: Outward,
    inward: Inward,
    captures: Captures,
    up: Up,
    /// What is ready; after a turn, what may have more.
    live: Vec<Source>,
    urgent: Urgent,
    /// Some queue is read here that epoll refused.
    refused_any: bool,
    balance: Balance,
    /// Room for what the queues read here brought in a window.
    readings: Vec<Reading<(TunnelId, usize)>>,
    /// How many super-packets were refused when this worker last looked at what.
    refused: u64,
}

impl Worker {
    /// Worker `number` of the crew.
    #[expect(clippy::too_many_arguments, reason = "the ends of everything that meets in a worker")]
    pub(super) fn new(
        number: usize,
        crew: Arc<Crew>,
        sockets: WorkerSockets,
        reader: Reader,
        origin: Instant,
        inbox: Receiver<Command>,
        up: Sender<Upward>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        if let Some(bell) = crew.bells.get(number) {
            epoll.add(bell, BELL, Interest::READ)?;
        }
        let urgent = Urgent::inside(&epoll, URGENT)?;
        let ports = Ports::new(sockets);
        for (token, fd) in (SOCKETS..).zip(ports.heard()) {
            epoll.add(fd, token, Interest::READ)?;
        }
        Ok(Self {
            number,
            crew,
            epoll,
            inbox,
            reader,
            origin,
            devices: BTreeMap::new(),
            ports,
            outward: Outward::new(Arc::clone(&counters.drops)),
            inward: Inward::new(Arc::clone(&counters.drops)),
            captures: Captures::default(),
            up: Up::new(up, counters),
            live: Vec::with_capacity(READY),
            urgent,
            refused_any: false,
            balance: Balance::default(),
            readings: Vec::new(),
            refused: 0,
        })
    }

    /// Starts the thread. However it ends, the control thread hears of it.
    pub(super) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        let (number, last_words) = (self.number, self.up.sender());
        Builder::new().name(format!("datapath-{number}")).spawn(move || {
            let why = match catch_unwind(AssertUnwindSafe(|| self.run())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => crate::words(panic.as_ref()),
            };
            // It fails when the control thread is gone itself.
            let _ = last_words.blocking_send(Upward::Died { worker: number, why });
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(READY);
        loop {
            let patience = self.patience();
            self.epoll.wait(&mut ready, patience)?;
            if !self.turn(&ready) {
                return Ok(());
            }
        }
    }

    /// How long to wait for something: epoll tells nothing of queues that it refused.
    fn patience(&self) -> Option<Duration> {
        self.refused_any.then_some(if self.live.is_empty() { AGAIN } else { Duration::ZERO })
    }

    /// Serves what is ready, a step each; `false` when told to stop. Then it is asked again what is: a direction in which something
    /// began to wait meanwhile, as a stream's acknowledgements do, waits for no more than one batch of the other.
    fn turn(&mut self, ready: &[Ready]) -> bool {
        self.heed_refusals();
        let mut live = std::mem::take(&mut self.live);
        live.clear();
        // Of more than one wait tells of, this set may be among those that it did not.
        self.urgent.begin(ready.len() == READY || ready.iter().any(|one| one.token == URGENT));
        for one in ready {
            match one.token {
                BELL => {
                    if !self.obey() {
                        return false;
                    }
                }
                URGENT => {}
                token if token >= QUEUES => live.push(queue_of(token)),
                token => {
                    let port = (token - SOCKETS) as usize;
                    if one.error {
                        self.ports.hear_errors(port, &mut self.up, tick(self.origin));
                    }
                    live.push(Source::Socket(port));
                }
            }
        }
        if self.refused_any {
            self.offer_again(&mut live);
        }
        // Nobody's flood keeps another waiting for longer than one step of each, nor a control packet for longer than a few steps.
        let now = tick(self.origin);
        if self.urgent.is_due() {
            self.serve_urgent(now);
        }
        live.retain(|source| {
            if self.urgent.is_due_before_step() {
                self.serve_urgent(now);
            }
            self.step(*source, now)
        });
        self.outward.flush(&mut self.ports, &self.devices, &mut self.up, now);
        self.up.pass();
        self.live = live;
        self.rebalance(tick(self.origin));
        true
    }

    /// Reads the queues of control packets in which something waits, and sends it with what the batch holds by then: what follows
    /// may be received packets, which fill no batch.
    fn serve_urgent(&mut self, now: Tick) {
        let ready = self.urgent.look();
        for one in &ready {
            self.step(queue_of(one.token), now);
        }
        if !ready.is_empty() {
            self.outward.flush(&mut self.ports, &self.devices, &mut self.up, now);
        }
        self.urgent.give_back(ready);
    }

    /// One bounded piece of work; may there be more?
    fn step(&mut self, source: Source, now: Tick) -> bool {
        let table = self.reader.current();
        match source {
            Source::Socket(port) => {
                let (octets, more) = self.inward.receive(
                    port,
                    table,
                    &mut self.ports,
                    &self.devices,
                    &mut self.captures,
                    &mut self.up,
                    now,
                );
                self.balance.received += octets;
                more
            }
            Source::Queue(tunnel, index) => {
                let seat = self.devices.get(&tunnel).and_then(|device| device.seats.get(index));
                let Some(seat) = seat.filter(|seat| seat.read_here()) else { return false };
                let read = self.outward.read(
                    tunnel,
                    table,
                    seat,
                    &mut self.ports,
                    &self.devices,
                    &mut self.captures,
                    &mut self.up,
                    now,
                );
                match read {
                    Read::Dry => false,
                    Read::More => true,
                    Read::Gone(error) => {
                        tracing::warn!(tunnel = tunnel.0, %error, "the tunnel's device is gone");
                        self.detach(tunnel);
                        false
                    }
                }
            }
        }
    }

    /// Carries out the commands that wait; `false` when one was to stop.
    fn obey(&mut self) -> bool {
        if let Some(bell) = self.crew.bells.get(self.number) {
            bell.hush();
        }
        // A retired table is let go even when no packet comes.
        self.reader.current();
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Attach { tunnel, shared } => self.attach(tunnel, Device::new(shared)),
                Command::Detach { tunnel } => self.detach(tunnel),
                Command::Capture { tunnel, sink } => self.captures.add(tunnel, sink),
                Command::Stop => return false,
                #[cfg(any(test, feature = "killable"))]
                Command::Panic => panic!("as a test asked"),
                #[cfg(test)]
                Command::Give { tunnel, to } => self.give(tunnel, 0, to),
            }
        }
        self.take_up();
        true
    }

    fn attach(&mut self, tunnel: TunnelId, device: Device) {
        self.detach(tunnel);
        self.devices.insert(tunnel, device);
        self.inward.follow(&self.devices);
    }

    fn detach(&mut self, tunnel: TunnelId) {
        let Some(device) = self.devices.remove(&tunnel) else { return };
        for mut seat in device.seats {
            seat.leave(&self.epoll, &self.urgent.epoll);
        }
        self.inward.follow(&self.devices);
    }

    /// What a device's kernel refused, here or under another worker, is not joined for it again.
    fn heed_refusals(&mut self) {
        let refused = self.crew.refused.load(Ordering::Acquire);
        if refused != self.refused {
            self.refused = refused;
            self.inward.follow(&self.devices);
        }
    }
}

fn tick(origin: Instant) -> Tick {
    Tick(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// A queue in epoll's words: its tunnel, and its place among the device's.
fn token(tunnel: TunnelId, place: usize) -> u64 {
    QUEUES | (place as u64) << 32 | u64::from(tunnel.0)
}

/// And back.
fn queue_of(token: u64) -> Source {
    Source::Queue(TunnelId(token as u32), ((token & !QUEUES) >> 32) as usize)
}

#[cfg(test)]
mod tests;
