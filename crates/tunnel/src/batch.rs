//! The send batch: ESP packets back to back in one buffer, in runs that each go out with one call.

use std::ops::Range;
use std::sync::Arc;

use esp::{MAX_RUN, OutboundSa, Slot};

use crate::{OuterPath, mtu};

/// Octets of buffer: room for several super-packets, and for one cut into the smallest segments Linux
/// makes (a minimum MSS of 48 gives 1365 of them).
pub(crate) const CAPACITY: usize = 512 * 1024;

/// Octets from which a batch should be sent. Four full UDP segmentation batches are the measured optimum: half of it means
/// more calls and wake-ups, twice of it gains nothing.
pub(crate) const FLUSH_AT: usize = 256 * 1024;

/// Segments of one UDP_SEGMENT send: kernels before 6.9 take no more.
const MAX_SEGMENTS: usize = 64;

/// Octets of one UDP_SEGMENT send: 65507 over IPv4, 20 less over IPv6, since the super-packet's own length
/// field bounds it.
const MAX_RUN_BYTES: usize = 65_487;

/// Octets before the first packet. A wide register that holds its first octets begins before it, and although nothing
/// is read there the processor takes a long time over it when that page does not exist, as before an allocation of its own.
const LEAD: usize = 64;

const _: () = assert!(FLUSH_AT < CAPACITY && mtu::IPV6_MIN > mtu::IPV4_MIN && MAX_RUN >= MAX_SEGMENTS);

/// How a packet travels outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outer {
    pub(crate) path: OuterPath,
    pub(crate) tos: u8,
    pub(crate) dont_fragment: bool,
    /// Longer than the path's MTU by intent: sent by itself, as segmentation offload refuses such.
    pub(crate) oversize: bool,
}

/// Packets that leave with one call: back to back, all of `segment` octets but the last, which may be
/// shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// From where to where, and whether in UDP.
    pub path: OuterPath,
    /// Outer TOS or traffic class: the inner packets' DSCP and ECN.
    pub tos: u8,
    /// Outer don't-fragment bit (RFC 4301 section 8.1).
    pub dont_fragment: bool,
    /// One packet longer than the tunnel's MTU by intent (IPv6 up to 1280 octets, or [`crate::DfPolicy::Clear`]):
    /// it must leave without segmentation offload and over a socket that lets the kernel fragment.
    pub oversize: bool,
    /// Octets of each packet but the last.
    pub segment: usize,
    /// The packets.
    pub bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// How many packets.
    #[must_use]
    pub fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1))
    }

    /// Each packet by itself, for raw sockets and kernels without segmentation offload.
    pub fn packets(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.bytes.chunks(self.segment.max(1))
    }
}

/// The batch. Reserved and committed by [`crate::Egress`], sealed as a whole, sent run by run.
pub struct SendBatch {
    bytes: Box<[u8]>,
    /// Up to where, from [`LEAD`] on.
    used: usize,
    flush_at: usize,
    packets: Vec<Packet>,
    groups: Vec<Group>,
    runs: Vec<RunMeta>,
    sealed: bool,
}

/// One packet to be sealed.
#[derive(Clone, Copy)]
struct Packet {
    len: u32,
    inner: u32,
    next_header: u8,
}

/// Packets of one SA with numbers in a row.
struct Group {
    sa: Arc<OutboundSa>,
    first: u64,
    count: usize,
}

struct RunMeta {
    outer: Outer,
    range: Range<usize>,
    segment: usize,
    count: usize,
    closed: bool,
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new(CAPACITY, FLUSH_AT)
    }
}

impl SendBatch {
    /// A batch of `capacity` octets that is full from `flush_at` on.
    #[must_use]
    pub fn new(capacity: usize, flush_at: usize) -> Self {
        Self {
            bytes: vec![0; LEAD + capacity].into_boxed_slice(),
            used: LEAD,
            flush_at,
            packets: Vec::with_capacity(capacity / 64),
            groups: Vec::with_capacity(256),
            runs: Vec::with_capacity(256),
            sealed: false,
        }
    }

    /// Nothing to send?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == LEAD
    }

    /// Should it be sent before more is added?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used - LEAD >= self.flush_at
    }

    /// How many packets it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Octets still free.
    pub(crate) fn room(&self) -> usize {
        if self.sealed { 0 } else { self.bytes.len() - self.used }
    }

    /// Announces packets of one SA whose numbers start at `first`; exactly `count` packets must follow.
    pub(crate) fn begin(&mut self, sa: &Arc<OutboundSa>, first: u64, count: usize) {
        match self.groups.last_mut() {
            Some(last) if Arc::ptr_eq(&last.sa, sa) && last.first + last.count as u64 == first => {
                last.count += count;
            }
            last => {
                // What arrives as one by segmentation offload is dealt to a worker by its first packet's SPI.
                if last.is_some_and(|last| !Arc::ptr_eq(&last.sa, sa))
                    && let Some(run) = self.runs.last_mut()
                {
                    run.closed = true;
                }
                self.groups.push(Group { sa: Arc::clone(sa), first, count });
            }
        }
    }

    /// Adds a packet of the announced group: `fill` writes the inner packet of `inner` octets to its
    /// place. The caller has checked [`room`](Self::room).
    pub(crate) fn push(&mut self, inner: usize, next_header: u8, outer: Outer, fill: impl FnOnce(&mut [u8])) {
        let Some(group) = self.groups.last() else { return };
        let len = group.sa.sealed_len(inner);
        let start = group.sa.geometry().inner_offset();
        let Some(slot) = self.bytes.get_mut(self.used..self.used + len) else { return };
        if let Some(place) = slot.get_mut(start..start + inner) {
            fill(place);
        }
        self.packets.push(Packet { len: len as u32, inner: inner as u32, next_header });
        self.extend_run(outer, len);
        self.used += len;
    }

    /// A run takes packets of equal size and path and, as its last, a shorter one.
    fn extend_run(&mut self, outer: Outer, len: usize) {
        if let Some(run) = self.runs.last_mut()
            && !run.closed
            && run.outer == outer
            && !outer.oversize
            && len <= run.segment
            && run.count < MAX_SEGMENTS
            && run.range.len() + len <= MAX_RUN_BYTES
        {
            run.range.end += len;
            run.count += 1;
            run.closed = len < run.segment;
            return;
        }
        let range = self.used..self.used + len;
        self.runs.push(RunMeta { outer, range, segment: len, count: 1, closed: false });
    }

    /// Seals every packet in place. Answers how many packets had to be thrown away, which is none or all:
    /// what might hold clear text is not sent.
    pub(crate) fn seal(&mut self) -> usize {
        if self.sealed {
            return 0;
        }
        let whole = self.try_seal().is_some();
        if whole {
            self.sealed = true;
            return 0;
        }
        let lost = self.packets.len();
        self.clear();
        lost
    }

    fn try_seal(&mut self) -> Option<()> {
        let mut packets = self.packets.as_slice();
        let mut rest = self.bytes.get_mut(LEAD..self.used)?;
        for group in &self.groups {
            let (mine, others) = packets.split_at_checked(group.count)?;
            let mut number = group.first;
            for run in mine.chunks(MAX_RUN) {
                // Room for few is made faster.
                rest = if run.len() <= FEW {
                    seal_run::<FEW>(&group.sa, run, rest, number)?
                } else {
                    seal_run::<MAX_RUN>(&group.sa, run, rest, number)?
                };
                number += run.len() as u64;
            }
            packets = others;
        }
        (packets.is_empty() && rest.is_empty()).then_some(())
    }

    /// What to send, in order. Empty until sealed.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        let runs = if self.sealed { self.runs.as_slice() } else { &[] };
        runs.iter().map(|run| Run {
            path: run.outer.path,
            tos: run.outer.tos,
            dont_fragment: run.outer.dont_fragment,
            oversize: run.outer.oversize,
            segment: run.segment,
            bytes: self.bytes.get(run.range.clone()).unwrap_or_default(),
        })
    }

    /// Empties the batch, sent or not.
    pub fn clear(&mut self) {
        self.used = LEAD;
        self.packets.clear();
        self.groups.clear();
        self.runs.clear();
        self.sealed = false;
    }
}

/// Seals at most `N` packets at the beginning of `bytes`; gives what lies behind them.
fn seal_run<'a, const N: usize>(
    sa: &OutboundSa,
    packets: &[Packet],
    bytes: &'a mut [u8],
    first: u64,
) -> Option<&'a mut [u8]> {
    let mut slots: [Slot<'_>; N] = std::array::from_fn(|_| Slot { bytes: &mut [], inner: 0, next_header: 0 });
    let slots = slots.get_mut(..packets.len())?;
    let mut rest = bytes;
    for (slot, packet) in slots.iter_mut().zip(packets) {
        let (bytes, tail) = rest.split_at_mut_checked(packet.len as usize)?;
        *slot = Slot { bytes, inner: packet.inner as usize, next_header: packet.next_header };
        rest = tail;
    }
    sa.seal_batch(slots, first).ok()?;
    Some(rest)
}

/// Packets of a short run: acknowledgements, calls.
const FEW: usize = 4;
