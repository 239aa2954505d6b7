//! From a datagram to the IKE SA it belongs to.

use std::time::Instant;

use ike_wire::{
    Error, ExchangeType, Header, IkeSpi, NotifyType, Outer, Payload, ProtocolId, encode, parse_outer,
};

use super::Engine;
use crate::config::Path;
use crate::core::Ctx;
use crate::counters::Counter;
use crate::event::{IkeId, Role};
use crate::exchange::body::bare;
use crate::sa::Opened;

impl Engine {
    pub(super) fn dispatch(&mut self, path: Path, bytes: &[u8], now: Instant) {
        let outer = match parse_outer(bytes) {
            Ok(outer) => outer,
            Err(error) => return self.refuse_malformed(path, &error, bytes, now),
        };
        let header = outer.header;
        let first = header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response;
        if first {
            return self.handle_init(path, &outer, bytes, now);
        }
        let Some(ike) = self.owner_of(&header) else {
            self.core.counters.count(Counter::UnknownSpi);
            return;
        };
        let Some(message) = self.open(ike, path, outer, bytes, now) else { return };
        self.adopt_if_spoken_to(ike, &message, now);
        self.with(ike, now, |sa, ctx| sa.handle(message, ctx));
    }

    /// The IKE SA both SPIs name. The answer to our first message brings an SPI we do not know yet.
    fn owner_of(&self, header: &Header) -> Option<IkeId> {
        // The flag I tells that the sender is the original initiator: then the responder's SPI is ours.
        let (ours, theirs, role) = match header.flags.initiator {
            true => (header.responder_spi, header.initiator_spi, Role::Responder),
            false => (header.initiator_spi, header.responder_spi, Role::Initiator),
        };
        let ike = *self.spis.get(&ours.0)?;
        let shell = &self.sas.get(&ike)?.shell;
        let known = if role == Role::Initiator { shell.spi_r } else { shell.spi_i };
        (shell.role == role && (known == theirs || known == IkeSpi::ZERO)).then_some(ike)
    }

    fn open(&mut self, ike: IkeId, path: Path, outer: Outer, bytes: &[u8], now: Instant) -> Option<Opened> {
        let sa = self.sas.get_mut(&ike)?;
        let mut ctx = Ctx { core: &mut self.core, connections: &self.connections, index: &self.index, now };
        sa.receive(path, outer, bytes, &mut ctx)
    }

    /// A request on a successor that both ends were making at once says that the peer took this one, even if our own
    /// attempt is still unanswered; only its DELETE says the contrary.
    fn adopt_if_spoken_to(&mut self, ike: IkeId, message: &Opened, now: Instant) {
        let Some(old) = self.sas.get(&ike).and_then(|sa| sa.up()).and_then(|up| up.inherits_from) else {
            return;
        };
        let Ok(payloads) = &message.payloads else { return };
        let ends = |payload: &Payload| match payload {
            Payload::Delete(delete) => delete.protocol == ProtocolId::IKE,
            _ => false,
        };
        if message.header.flags.response || payloads.iter().any(ends) {
            return;
        }
        self.with(old, now, |sa, ctx| sa.adopt_peers(ike, ctx));
        self.settle(now);
    }

    /// RFC 7296 section 2.5: a higher major version is answered with INVALID_MAJOR_VERSION, a first request with an
    /// unknown payload that has the critical bit with UNSUPPORTED_CRITICAL_PAYLOAD; anything else that is no IKE
    /// message is dropped.
    fn refuse_malformed(&mut self, path: Path, error: &Error, bytes: &[u8], now: Instant) {
        if let Error::MajorVersion { major, header } = error {
            self.core.counters.count(Counter::WrongVersion);
            if *major > 2 && !header.flags.response {
                self.answer_outside(path, header, bare(NotifyType::INVALID_MAJOR_VERSION), now);
            }
            return;
        }
        self.core.counters.count(Counter::Malformed);
        let first = |header: &Header| {
            header.exchange == ExchangeType::IKE_SA_INIT
                && header.flags.initiator
                && !header.flags.response
                && header.responder_spi == IkeSpi::ZERO
        };
        if let (Error::UnsupportedCriticalPayload(_), Some(header)) =
            (error, Header::peek(bytes).ok().filter(first))
        {
            self.answer_outside(path, &header, Payload::Notify(error.notify()), now);
        }
    }

    /// One notify in clear to someone without an IKE SA.
    pub(super) fn answer_outside(&mut self, path: Path, request: &Header, notify: Payload, now: Instant) {
        if let Ok(bytes) = encode(&request.response(), &[notify]) {
            self.core.answer_stranger(path, bytes, now);
        }
    }
}
