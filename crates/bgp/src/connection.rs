//! One TCP connection with a peer: what has been said on it and what waits to be written.

use std::net::SocketAddr;
use std::time::Instant;

use bgp_wire::{Context, Cutter, Open, keepalive};

use crate::open::Negotiated;
use crate::timer::Jitter;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

/// What the peer's OPEN brought.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) open: Open,
    pub(crate) negotiated: Negotiated,
}

/// How far a connection has come (RFC 4271 section 8.2.2). Idle, Connect and Active belong to the
/// neighbour: they have no connection.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Our OPEN went out; theirs is awaited.
    OpenSent,
    /// Their OPEN came; whether this connection or another stays is not decided yet.
    /// To the peer and to the operator still OpenSent.
    Held {
        /// Their OPEN.
        opened: Box<Opened>,
        /// Since when.
        since: Instant,
        /// By then it is decided.
        decide_at: Instant,
        /// Their KEEPALIVE came already.
        confirmed: bool,
    },
    /// Our KEEPALIVE went out; theirs is awaited.
    OpenConfirm(Box<Opened>),
    /// Routes are exchanged; the rest is in the neighbour's session.
    Established(Box<Opened>),
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) direction: Direction,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) stage: Stage,
    pub(crate) context: Context,
    pub(crate) cutter: Cutter,
    pub(crate) output: Output,
    /// "hold timer expired" is said then; `None` only in Established without a hold time.
    pub(crate) hold_at: Option<Instant>,
    pub(crate) last_read: Instant,
    pub(crate) last_write: Instant,
    /// When the last UPDATE came.
    pub(crate) last_update: Option<Instant>,
    /// The peer may have forgotten it: it is dead unless something is read by then.
    pub(crate) prove_by: Option<Instant>,
}

impl Connection {
    pub(crate) fn opened(&self) -> Option<&Opened> {
        match &self.stage {
            Stage::OpenSent => None,
            Stage::Held { opened, .. } | Stage::OpenConfirm(opened) | Stage::Established(opened) => {
                Some(opened)
            }
        }
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.opened().map(|opened| &opened.negotiated)
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Established(_))
    }

    /// The earliest of its deadlines.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let decide = match &self.stage {
            Stage::Held { decide_at, .. } => Some(*decide_at),
            Stage::OpenSent | Stage::OpenConfirm(_) | Stage::Established(_) => None,
        };
        let output = [self.output.keepalive_at, self.output.send_hold_at];
        [self.hold_at, decide, self.prove_by].into_iter().chain(output).flatten().min()
    }

    /// The peer was heard: KEEPALIVE or UPDATE (RFC 4271 section 8.2.2, events 26 and 27).
    pub(crate) fn rearm_hold(&mut self, now: Instant) {
        if let Some(negotiated) = self.negotiated() {
            self.hold_at = negotiated.hold.map(|hold| now + hold);
        }
    }
}

/// What waits to be written, and what is being written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// Octets handed out and not yet reported as written.
    pub(crate) outstanding: usize,
    /// OPEN and the KEEPALIVE that confirms theirs: a few octets, each once.
    pub(crate) control: Vec<u8>,
    /// A KEEPALIVE goes with the next message boundary.
    pub(crate) keepalive_due: bool,
    pub(crate) keepalive_at: Option<Instant>,
    /// No progress until then ends the session (RFC 9687).
    pub(crate) send_hold_at: Option<Instant>,
}

impl Output {
    /// May a new write begin?
    pub(crate) fn is_free(&self) -> bool {
        self.outstanding == 0
    }

    /// What must be said before any route.
    pub(crate) fn take_control(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = std::mem::take(&mut self.control);
        let due = std::mem::take(&mut self.keepalive_due);
        if due {
            bytes.extend(keepalive());
        }
        (bytes, due)
    }

    /// A write of `length` octets begins.
    pub(crate) fn begin(
        &mut self,
        length: usize,
        negotiated: Option<&Negotiated>,
        jitter: &mut Jitter,
        now: Instant,
    ) {
        self.outstanding = length;
        self.send_hold_at = negotiated.and_then(|negotiated| negotiated.send_hold).map(|span| now + span);
        self.rearm_keepalive(negotiated, jitter, now);
    }

    /// Counted from the last message sent (RFC 4271 section 4.4).
    pub(crate) fn rearm_keepalive(
        &mut self,
        negotiated: Option<&Negotiated>,
        jitter: &mut Jitter,
        now: Instant,
    ) {
        if self.keepalive_at.is_some() {
            let interval = negotiated.filter(|negotiated| negotiated.hold.is_some()).map(|n| n.keepalive);
            self.keepalive_at = interval.map(|interval| now + jitter.shorten(interval));
        }
    }

    /// Keepalives begin, where the session has any.
    pub(crate) fn start_keepalives(&mut self, negotiated: &Negotiated, jitter: &mut Jitter, now: Instant) {
        self.keepalive_at = negotiated.hold.map(|_| now + jitter.shorten(negotiated.keepalive));
    }

    /// So many octets were written.
    pub(crate) fn progress(&mut self, written: usize, send_hold: Option<std::time::Duration>, now: Instant) {
        self.outstanding = self.outstanding.saturating_sub(written);
        self.send_hold_at = if self.outstanding == 0 { None } else { send_hold.map(|span| now + span) };
    }
}
