//! From TUN queues to the outer sockets.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use kernel::datagram::SendArena;
use kernel::tun::READ_BUFFER;
use tunnel::{Drop, Drops, Egress, Handled, SendBatch, Table, Tick, TunnelId};

use super::capture::{Captures, Direction};
use super::counters::Loss;
use super::port::{Ports, Up};
use super::queue::Seat;
use super::thread::DeviceMap;

/// How long a send waits for room, once a batch: it moves the queue from our drops into the TUN's, and is
/// short enough for the other direction.
const WAIT: Duration = Duration::from_millis(2);
/// Frames of one step: a queue of small packets must not fill a step without end.
const FRAMES: usize = 256;
/// Control packets of one step: enough for any routing protocol, and a flood that has their mark leaves the others their
/// turn. What exceeds it waits in its queue, and the device counts what finds no room there.
const CONTROL_FRAMES: usize = 32;

/// How a read ended.
pub(super) enum Read {
    /// Nothing waits any more.
    Dry,
    /// There may be more.
    More,
    /// The device cannot be read.
    Gone(io::Error),
}

/// The outbound half of one worker.
pub(super) struct Outward {
    egress: Egress,
    batch: SendBatch,
    arena: SendArena,
    frame: Box<[u8]>,
}

impl Outward {
    pub(super) fn new(drops: Arc<Drops>) -> Self {
        Self {
            egress: Egress::new(drops),
            batch: SendBatch::default(),
            arena: SendArena::with_wait(WAIT),
            frame: vec![0; READ_BUFFER].into_boxed_slice(),
        }
    }

    /// Reads one queue into the batch until it is dry or the batch is full, which is then sent.
    #[expect(clippy::too_many_arguments, reason = "the worker's parts, borrowed one by one")]
    pub(super) fn read(
        &mut self,
        tunnel: TunnelId,
        table: &Table,
        seat: &Seat,
        ports: &mut Ports,
        devices: &DeviceMap,
        captures: &mut Captures,
        up: &mut Up,
        now: Tick,
    ) -> Read {
        self.egress.serve_queue(seat.index);
        let most = if seat.queue.control { CONTROL_FRAMES } else { FRAMES };
        for _ in 0..most {
            let length = match seat.queue.tun.read(&mut self.frame) {
                Ok(Some(length)) => length,
                Ok(None) => return Read::Dry,
                Err(error) => return Read::Gone(error),
            };
            seat.queue.count(length);
            let Some(frame) = self.frame.get(..length) else { continue };
            captures.frame(tunnel, Direction::Out, &[IoSlice::new(frame)], &up.counters);
            let Self { egress, batch, .. } = self;
            if egress.handle_frame(table, tunnel, frame, batch, &mut up.reports, now) == Handled::Full {
                self.flush(ports, devices, up, now);
                let Self { egress, batch, frame, .. } = self;
                let frame = frame.get(..length).unwrap_or_default();
                // An empty batch takes every frame or drops it.
                if egress.handle_frame(table, tunnel, frame, batch, &mut up.reports, now) == Handled::Full {
                    up.counters.drops.count(Drop::Unsplittable, 1);
                }
            }
            if self.batch.is_full() {
                self.flush(ports, devices, up, now);
                return Read::More;
            }
        }
        Read::More
    }

    /// Seals and sends what the batch holds, and writes the answers to packets that were too big.
    pub(super) fn flush(&mut self, ports: &mut Ports, devices: &DeviceMap, up: &mut Up, now: Tick) {
        if !self.batch.is_empty() {
            self.egress.seal(&mut self.batch);
            ports.send(&self.batch, &mut self.arena, up, now);
            self.batch.clear();
        }
        while let Some((tunnel, frame)) = self.egress.poll_reply() {
            write(devices, tunnel, &[IoSlice::new(frame)], up);
        }
    }
}

/// Writes an answer of ours to a tunnel's device, or counts why not.
fn write(devices: &DeviceMap, tunnel: TunnelId, frame: &[IoSlice<'_>], up: &mut Up) {
    let Some(queue) = devices.get(&tunnel).and_then(|device| device.writer(frame)) else {
        up.counters.count(Loss::NoDevice, 1);
        return;
    };
    if let Err(error) = queue.write(frame) {
        up.counters.count(Loss::of_write(&error), 1);
    }
}
