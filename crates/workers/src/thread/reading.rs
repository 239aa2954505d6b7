//! Which queues a worker reads, and how it hears of what waits in them.

use kernel::clock;
use tunnel::{Tick, TunnelId};

use super::{Source, Worker, token};
use crate::balance::Reading;
use crate::queue::{Heard, home};

impl Worker {
    /// Once a window: may another worker read what is read here, or shall it have back what is its own?
    pub(super) fn rebalance(&mut self, now: Tick) {
        if !self.balance.is_due(now) {
            return;
        }
        let (number, workers) = (self.number, self.crew.loads.len());
        self.take_readings(workers);
        let used = clock::thread_time();
        let moved = self.balance.close(number, &self.crew.loads, now, used, &self.readings);
        if let Some(((tunnel, index), to)) = moved {
            self.give(tunnel, index, to);
        }
    }

    /// What each queue read here brought since this was asked last: the first with that of control packets, which goes where it
    /// goes.
    pub(super) fn take_readings(&mut self, workers: usize) {
        self.readings.clear();
        for (tunnel, device) in &mut self.devices {
            for seat in device.seats.iter_mut().filter(|seat| seat.read_here()) {
                let (queue, octets) = ((*tunnel, seat.index), seat.brought());
                match self.readings.last_mut().filter(|reading| reading.queue == queue) {
                    Some(first) => first.octets += octets,
                    None => {
                        let home = home(*tunnel, seat.index, workers);
                        self.readings.push(Reading { queue, octets, home });
                    }
                }
            }
        }
    }

    /// Lets another worker read a queue, and that of control packets with the first. Everything read here was sent by now, so no flow sees its packets reordered.
    pub(super) fn give(&mut self, tunnel: TunnelId, index: usize, to: usize) {
        let (Some(device), Some(bell)) = (self.devices.get_mut(&tunnel), self.crew.bells.get(to)) else {
            return;
        };
        for seat in device.seats.iter_mut().filter(|seat| seat.index == index) {
            if seat.read_here() {
                seat.leave(&self.epoll, &self.urgent.epoll);
                seat.queue.give_to(to);
                bell.ring();
            }
        }
    }

    /// Waits for the queues that are this worker's to read and are not waited for yet.
    pub(super) fn take_up(&mut self) {
        let Self { epoll, urgent, number, refused_any, .. } = self;
        for (tunnel, device) in &mut self.devices {
            for (place, seat) in device.seats.iter_mut().enumerate() {
                if seat.read_here() || seat.queue.reader() != *number {
                    continue;
                }
                seat.brought();
                if let Err(error) = seat.wait_in(epoll, &urgent.epoll, token(*tunnel, place)) {
                    *refused_any = true;
                    let (tunnel, control) = (tunnel.0, seat.queue.control);
                    tracing::error!(tunnel, control, %error, "a queue of the tunnel's device cannot be waited for: it is asked now and then");
                }
            }
        }
    }

    /// Offers to epoll what it refused. What it refuses again is read unasked, control packets before all others.
    pub(super) fn offer_again(&mut self, live: &mut Vec<Source>) {
        let Self { epoll, urgent, refused_any, .. } = self;
        *refused_any = false;
        for (tunnel, device) in &mut self.devices {
            for (place, seat) in
                device.seats.iter_mut().enumerate().filter(|(_, seat)| seat.heard == Heard::Refused)
            {
                if seat.wait_in(epoll, &urgent.epoll, token(*tunnel, place)).is_ok() {
                    tracing::info!(
                        tunnel = tunnel.0,
                        control = seat.queue.control,
                        "a queue that was refused is waited for"
                    );
                }
                *refused_any |= seat.heard == Heard::Refused;
                let source = Source::Queue(*tunnel, place);
                if seat.queue.control { live.insert(0, source) } else { live.push(source) }
            }
        }
    }
}
