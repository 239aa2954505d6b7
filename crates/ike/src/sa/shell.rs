//! What every state of an IKE SA needs: its names, its path, its window, its timers.

use std::time::{Duration, Instant};

use ike_wire::{ExchangeFlags, ExchangeType, Header, IkeSpi, Payload};

use crate::config::Path;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::event::{IkeId, Role};
use crate::failure::Exchange;
use crate::fragment::Reassembly;
use crate::protect::Crypt;
use crate::timer::{Timer, Timers};
use crate::window::{Packets, Window};

/// The part of an IKE SA that outlives its states.
pub(crate) struct Shell {
    pub(crate) id: IkeId,
    /// Who began this IKE SA, or the rekeying that made it.
    pub(crate) role: Role,
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
    pub(crate) path: Path,
    pub(crate) begun: Instant,
    pub(crate) established: Option<Instant>,
    pub(crate) window: Window,
    pub(crate) timers: Timers,
}

/// The protected conversation.
pub(crate) struct Channel {
    pub(crate) crypt: Crypt,
    /// The peer reassembles fragments, and said so.
    pub(crate) fragments: bool,
    pub(crate) reassembly: Reassembly,
}

impl Channel {
    pub(crate) fn new(crypt: Crypt, fragments: bool) -> Self {
        Self { crypt, fragments, reassembly: Reassembly::default() }
    }
}

impl Shell {
    pub(crate) fn new(
        id: IkeId,
        role: Role,
        (spi_i, spi_r): (IkeSpi, IkeSpi),
        path: Path,
        now: Instant,
    ) -> Self {
        Self {
            id,
            role,
            spi_i,
            spi_r,
            path,
            begun: now,
            established: None,
            window: Window::default(),
            timers: Timers::default(),
        }
    }

    pub(crate) fn our_spi(&self) -> IkeSpi {
        match self.role {
            Role::Initiator => self.spi_i,
            Role::Responder => self.spi_r,
        }
    }

    /// The header of our next request.
    pub(crate) fn request_header(&self, exchange: ExchangeType) -> Header {
        Header {
            initiator_spi: self.spi_i,
            responder_spi: self.spi_r,
            exchange,
            flags: ExchangeFlags { initiator: self.role == Role::Initiator, response: false, version: false },
            message_id: self.window.next_request(),
        }
    }

    /// Seals and sends a request, and keeps it for repetition. Nothing is sent while another is in flight: callers ask
    /// the window first.
    pub(crate) fn request(
        &mut self,
        channel: &mut Channel,
        (kind, exchange): (ExchangeType, Exchange),
        payloads: &[Payload],
        patience: Duration,
        ctx: &mut Ctx<'_>,
    ) {
        let header = self.request_header(kind);
        let Some(packets) = channel.crypt.seal(&header, payloads, fragment_size(channel, ctx)) else {
            return;
        };
        self.send(&packets, self.path, ctx);
        self.window.sent_request(packets, exchange, patience, ctx.core.random_u32(), ctx.now);
    }

    /// Seals and sends the answer to a request that the window accepted, to where the request came from.
    pub(crate) fn answer(
        &mut self,
        channel: &mut Channel,
        request: &Header,
        path: Path,
        payloads: &[Payload],
        ctx: &mut Ctx<'_>,
    ) {
        let header = request.response();
        let packets = channel.crypt.seal(&header, payloads, fragment_size(channel, ctx)).unwrap_or_default();
        self.send(&packets, path, ctx);
        self.window.answered(packets);
    }

    pub(crate) fn send(&self, packets: &Packets, path: Path, ctx: &mut Ctx<'_>) {
        for bytes in packets {
            ctx.core.send(path, bytes.clone());
        }
    }

    pub(crate) fn repeat_request(&self, ctx: &mut Ctx<'_>) {
        for bytes in self.window.request() {
            ctx.core.send(self.path, bytes.clone());
        }
        ctx.count(Counter::Retransmitted);
    }

    /// RFC 7296 section 2.1: the answer to a repeat is the stored answer, byte for byte.
    pub(crate) fn repeat_answer(&self, path: Path, ctx: &mut Ctx<'_>) {
        for bytes in self.window.answer() {
            ctx.core.send(path, bytes.clone());
        }
        ctx.count(Counter::Repeated);
    }

    /// Only the last answer may still be wanted; for how long is the peer's patience, which we do not know.
    pub(crate) fn linger(&mut self, ctx: &Ctx<'_>) {
        self.timers.stop_all();
        self.window.restart();
        self.timers.set(Timer::GiveUp, ctx.now + ctx.core.limits.half_open_timeout);
    }
}

fn fragment_size(channel: &Channel, ctx: &Ctx<'_>) -> Option<usize> {
    channel.fragments.then_some(ctx.core.limits.fragment_size)
}
