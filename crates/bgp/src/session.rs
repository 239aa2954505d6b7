//! An established session: what both sides have told each other of routes.

use std::sync::Arc;
use std::time::Instant;

use bgp_rib::{AdjRibOut, Batch, Peer};
use bgp_wire::{
    Context, Families, Family, MessageType, PathAttributes, RefreshKind, RouteRefresh, encode_announce,
    encode_end_of_rib, encode_withdraw,
};

use crate::counters::NeighborCounters;
use crate::event::ConnId;
use crate::timer::END_OF_RIB_TIME;

/// A write is filled up to here with whole messages.
const WRITE_TARGET: usize = 16 * 1024;
/// Prefixes taken from the change set at once: about one message of IPv4.
const BATCH: usize = 900;

/// One attribute set as learned, and as this neighbour hears it.
#[derive(Debug)]
pub(crate) struct ExportCache {
    pub(crate) learned: Arc<PathAttributes>,
    pub(crate) family: Family,
    pub(crate) told: Arc<PathAttributes>,
}

/// What is left to say about a refresh the peer asked for.
#[derive(Debug, Default)]
struct Refresh {
    /// The family being sent again.
    running: Option<Family>,
    /// Asked for meanwhile.
    queued: Families,
}

/// The routes side of an established session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) peer: Peer,
    pub(crate) since: Instant,
    pub(crate) context: Context,
    pub(crate) enhanced: bool,
    pub(crate) out: AdjRibOut,
    pub(crate) cache: Option<ExportCache>,
    pub(crate) end_of_rib_sent: bool,
    pub(crate) end_of_rib_received: Families,
    /// By then a family whose End-of-RIB never came is taken as told; `None` once that is done.
    pub(crate) end_of_rib_by: Option<Instant>,
    /// Families to ask the peer for again.
    pub(crate) asking: Families,
    /// Families whose routes are stale until the peer's EoRR, or until the instant.
    pub(crate) stale: Vec<(Family, Instant)>,
    /// Those of them whose stale routes are of a session before, until the peer's End-of-RIB (RFC 4724 section 4.2).
    pub(crate) restarting: Families,
    /// The alarm about held prefixes was raised.
    pub(crate) export_alarm: bool,
    pub(crate) near_alarm: Families,
    refresh: Refresh,
    pending: Option<Batch>,
}

impl Session {
    pub(crate) fn new(
        conn: ConnId,
        peer: Peer,
        context: Context,
        enhanced: bool,
        out: AdjRibOut,
        now: Instant,
    ) -> Self {
        Self {
            conn,
            peer,
            since: now,
            context,
            enhanced,
            out,
            cache: None,
            end_of_rib_sent: false,
            end_of_rib_received: Families::NONE,
            end_of_rib_by: Some(now + END_OF_RIB_TIME),
            asking: Families::NONE,
            stale: Vec::new(),
            restarting: Families::NONE,
            export_alarm: false,
            near_alarm: Families::NONE,
            refresh: Refresh::default(),
            pending: None,
        }
    }

    /// The peer asked for a family again. While another refresh runs, or the table goes out for the first
    /// time, the request waits (RFC 7313 section 4.1).
    pub(crate) fn refresh(&mut self, family: Family) {
        if self.context.families.contains(family) {
            self.refresh.queued.insert(family);
        }
    }

    /// Appends whole messages to `bytes` until the target is reached or nothing is left to say.
    pub(crate) fn fill(&mut self, bytes: &mut Vec<u8>, counters: &mut NeighborCounters) {
        while bytes.len() < WRITE_TARGET && self.say_next(bytes, counters) {}
    }

    fn say_next(&mut self, bytes: &mut Vec<u8>, counters: &mut NeighborCounters) -> bool {
        if let Some(family) = self.asking.iter().next() {
            self.asking.remove(family);
            say_refresh(RefreshKind::Request, family, bytes, counters);
            return true;
        }
        if self.pending.is_none() {
            self.pending = self.out.take(BATCH);
        }
        match self.pending.take() {
            Some(batch) => {
                self.pending = self.say_batch(batch, bytes, counters);
                true
            }
            None => self.say_marker(bytes, counters),
        }
    }

    /// One message of a batch; what did not fit comes back.
    fn say_batch(
        &mut self,
        batch: Batch,
        bytes: &mut Vec<u8>,
        counters: &mut NeighborCounters,
    ) -> Option<Batch> {
        match batch {
            Batch::Withdraw(mut prefixes) => {
                let (message, taken) = encode_withdraw(&prefixes, &self.context);
                say(MessageType::UPDATE, &message, bytes, counters);
                prefixes.drain(..taken);
                (!prefixes.is_empty()).then_some(Batch::Withdraw(prefixes))
            }
            Batch::Announce { attributes, mut prefixes } => {
                let Ok((message, taken)) = encode_announce(&attributes, &prefixes, &self.context) else {
                    // Whatever the peer knew of these prefixes is no longer true.
                    counters.unsendable += u64::try_from(prefixes.len()).unwrap_or(u64::MAX);
                    self.out.give_up(&prefixes);
                    return Some(Batch::Withdraw(prefixes));
                };
                say(MessageType::UPDATE, &message, bytes, counters);
                prefixes.drain(..taken);
                (!prefixes.is_empty()).then_some(Batch::Announce { attributes, prefixes })
            }
        }
    }

    /// End-of-RIB after the first table, EoRR after a refresh, BoRR before the next.
    fn say_marker(&mut self, bytes: &mut Vec<u8>, counters: &mut NeighborCounters) -> bool {
        if !self.end_of_rib_sent {
            self.end_of_rib_sent = true;
            for family in self.context.families.iter() {
                say(MessageType::UPDATE, &encode_end_of_rib(family), bytes, counters);
            }
            return true;
        }
        if let Some(family) = self.refresh.running.take() {
            if self.enhanced {
                say_refresh(RefreshKind::End, family, bytes, counters);
            }
            return true;
        }
        let Some(family) = self.refresh.queued.iter().next() else { return false };
        self.refresh.queued.remove(family);
        self.refresh.running = Some(family);
        self.out.refresh(family);
        if self.enhanced {
            say_refresh(RefreshKind::Begin, family, bytes, counters);
        }
        true
    }

    /// Is there a message of ours that began and must be followed by its rest?
    pub(crate) fn has_pending(&self) -> bool {
        self.pending.is_some()
    }
}

fn say_refresh(kind: RefreshKind, family: Family, bytes: &mut Vec<u8>, counters: &mut NeighborCounters) {
    say(MessageType::ROUTE_REFRESH, &RouteRefresh::new(kind, family).encode(), bytes, counters);
}

fn say(kind: MessageType, message: &[u8], bytes: &mut Vec<u8>, counters: &mut NeighborCounters) {
    counters.sent.count(kind);
    bytes.extend_from_slice(message);
}
