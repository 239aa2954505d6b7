//! The loop of one worker.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use kernel::epoll::{Bell, Epoll, Interest, Ready};
use kernel::tun::{Offloads, TunQueue};
use tokio::sync::mpsc::Sender;
use tunnel::offload::coalesce::Joining;
use tunnel::publish::Reader;
use tunnel::{Tick, TunnelId};

use super::Upward;
use super::capture::Captures;
use super::counters::Counters;
use super::inward::Inward;
use super::outward::{Outward, Read};
use super::port::{Ports, Up};
use crate::sockets::WorkerSockets;

/// Rounds over what is ready before asking again what is, and what commands came.
const ROUNDS: usize = 8;
/// Descriptors one wait reports; the kernel gives all a turn when more are ready.
const READY: usize = 64;

const BELL: u64 = 0;
/// Tokens of sockets count from here, those of devices are this bit and the tunnel's number.
const SOCKETS: u64 = 1;
const DEVICES: u64 = 1 << 32;

/// What a worker is told.
pub(super) enum Command {
    /// A tunnel's queue: to write to and, for one worker, to read.
    Attach { tunnel: TunnelId, queue: Arc<TunQueue>, offloads: Offloads, read: bool },
    /// Let it go.
    Detach { tunnel: TunnelId },
    /// Copy its packets.
    Capture { tunnel: TunnelId, sink: Sender<Vec<u8>> },
    /// End.
    Stop,
    /// Die of a fault, to see what becomes of the others.
    #[cfg(test)]
    Panic,
}

/// The device of one tunnel.
pub(super) struct Device {
    pub(super) queue: Arc<TunQueue>,
    offloads: Offloads,
    read: bool,
}

/// Every tunnel's device.
pub(super) type DeviceMap = BTreeMap<TunnelId, Device>;

/// What has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Device(TunnelId),
    Socket(usize),
}

/// One worker.
pub(super) struct Worker {
    epoll: Epoll,
    bell: Arc<Bell>,
    inbox: Receiver<Command>,
    reader: Reader,
    origin: Instant,
    devices: DeviceMap,
    ports: Ports,
    outward: Outward,
    inward: Inward,
    captures: Captures,
    up: Up,
    live: Vec<Source>,
}

impl Worker {
    pub(super) fn new(
        sockets: WorkerSockets,
        reader: Reader,
        origin: Instant,
        inbox: Receiver<Command>,
        bell: Arc<Bell>,
        up: Sender<Upward>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(&*bell, BELL, Interest::READ)?;
        let ports = Ports::new(sockets);
        for (token, fd) in (SOCKETS..).zip(ports.heard()) {
            epoll.add(fd, token, Interest::READ)?;
        }
        Ok(Self {
            epoll,
            bell,
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
        })
    }

    /// Starts the thread. However it ends, the control thread hears of it.
    pub(super) fn spawn(mut self, number: usize) -> io::Result<JoinHandle<()>> {
        let last_words = self.up.sender();
        Builder::new().name(format!("datapath-{number}")).spawn(move || {
            let why = match catch_unwind(AssertUnwindSafe(|| self.run())) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(panic) => crate::worker::words(panic.as_ref()),
            };
            // It fails when the control thread is gone itself.
            let _ = last_words.blocking_send(Upward::Died { worker: number, why });
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(READY);
        loop {
            self.epoll.wait(&mut ready, None)?;
            if !self.turn(&ready) {
                return Ok(());
            }
        }
    }

    /// Serves what is ready, each in its turn; `false` when told to stop.
    fn turn(&mut self, ready: &[Ready]) -> bool {
        let mut live = std::mem::take(&mut self.live);
        live.clear();
        for one in ready {
            match one.token {
                BELL => {
                    if !self.obey() {
                        return false;
                    }
                }
                token if token >= DEVICES => live.push(Source::Device(TunnelId(token as u32))),
                token => {
                    let port = (token - SOCKETS) as usize;
                    if one.error {
                        self.ports.hear_errors(port, &mut self.up, tick(self.origin));
                    }
                    live.push(Source::Socket(port));
                }
            }
        }
        // Nobody's flood keeps another waiting for longer than one step of each.
        for _ in 0..ROUNDS {
            let now = tick(self.origin);
            live.retain(|source| self.step(*source, now));
            self.outward.flush(&mut self.ports, &self.devices, &mut self.up, now);
            self.up.pass();
            if live.is_empty() {
                break;
            }
        }
        self.live = live;
        true
    }

    /// One bounded piece of work; may there be more?
    fn step(&mut self, source: Source, now: Tick) -> bool {
        let table = self.reader.current();
        match source {
            Source::Socket(port) => self.inward.receive(
                port,
                table,
                &mut self.ports,
                &self.devices,
                &mut self.captures,
                &mut self.up,
                now,
            ),
            Source::Device(tunnel) => {
                let Some(device) = self.devices.get(&tunnel) else { return false };
                let read = self.outward.read(
                    tunnel,
                    table,
                    &device.queue,
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
        self.bell.hush();
        // A retired table is let go even when no packet comes.
        self.reader.current();
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Attach { tunnel, queue, offloads, read } => {
                    self.attach(tunnel, Device { queue, offloads, read });
                }
                Command::Detach { tunnel } => self.detach(tunnel),
                Command::Capture { tunnel, sink } => self.captures.add(tunnel, sink),
                Command::Stop => return false,
                #[cfg(test)]
                Command::Panic => panic!("as a test asked"),
            }
        }
        true
    }

    fn attach(&mut self, tunnel: TunnelId, device: Device) {
        self.detach(tunnel);
        if device.read {
            let token = DEVICES | u64::from(tunnel.0);
            if let Err(error) = self.epoll.add(&*device.queue, token, Interest::READ) {
                tracing::error!(tunnel = tunnel.0, %error, "the tunnel's device cannot be waited for");
            }
        }
        self.devices.insert(tunnel, device);
        self.follow_offloads();
    }

    fn detach(&mut self, tunnel: TunnelId) {
        let Some(device) = self.devices.remove(&tunnel) else { return };
        if device.read {
            // A device that is gone may have left the set by itself.
            let _ = self.epoll.remove(&*device.queue);
        }
        self.follow_offloads();
    }

    /// Joins what every device takes.
    fn follow_offloads(&mut self) {
        self.inward.set_joining(Joining {
            tcp: self.devices.values().all(|device| device.offloads.tcp),
            udp: self.devices.values().all(|device| device.offloads.udp),
        });
    }
}

fn tick(origin: Instant) -> Tick {
    Tick(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}
