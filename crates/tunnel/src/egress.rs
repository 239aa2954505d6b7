//! Out: frames of a TUN device become sealed ESP packets in the send batch.

use std::net::IpAddr;
use std::sync::Arc;

use esp::{Tick, next_header};

use crate::batch::{Outer, SendBatch};
use crate::drops::{Drop, Drops};
use crate::fragment::Fragments;
use crate::inner::mss::{self, Checksum};
use crate::inner::{Inner, TCP};
use crate::limit::{Pause, TokenBucket};
use crate::mtu;
use crate::octets::get8;
use crate::offload::pieces::Pieces;
use crate::offload::split::{self, Plan};
use crate::offload::virtio::{Gso, Header};
use crate::pool::Replies;
use crate::report::{Report, Reports};
use crate::table::{DfPolicy, OutboundRow, Table, TunnelId, TunnelRow};
use crate::toobig;

/// "Too big" answers at once and a second: a sender needs one, and many senders may need theirs together.
const TOO_BIG: (u64, u64) = (50, 100);

/// Answers that wait to be written to a TUN.
const REPLIES: usize = 64;

/// How long a tunnel without an SA, or with a used-up one, stays quiet after it said so.
const PAUSE_MILLIS: u64 = 1000;
const PAUSES: usize = 64;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Handled {
    /// It is in the batch, or dropped and counted.
    Done,
    /// The batch has no room for it: nothing was done. Send the batch, clear it, and hand the frame in
    /// again.
    Full,
}

/// The outbound half of one worker.
pub struct Egress {
    drops: Arc<Drops>,
    replies: Replies,
    too_big: TokenBucket,
    on_demand: Pause<TunnelId>,
    exhausted: Pause<u32>,
    /// Which queue of its device the frames come by.
    queue: usize,
    /// A packet on its way to being fragmented, its checksum completed.
    whole: Vec<u8>,
    /// A datagram cut from a super-packet whose datagrams are too big.
    datagram: Vec<u8>,
}

/// Where the results of one call go.
struct Sinks<'a> {
    batch: &'a mut SendBatch,
    reports: &'a mut Reports,
    now: Tick,
}

/// What a packet is judged against.
#[derive(Clone, Copy)]
struct Way<'a> {
    tunnel: &'a TunnelRow,
    row: &'a OutboundRow,
    inner: Inner,
}

impl Egress {
    /// One that counts what it drops in `drops`.
    #[must_use]
    pub fn new(drops: Arc<Drops>) -> Self {
        Self {
            drops,
            replies: Replies::new(REPLIES),
            too_big: TokenBucket::new(TOO_BIG.0, TOO_BIG.1),
            on_demand: Pause::new(PAUSES, PAUSE_MILLIS),
            exhausted: Pause::new(PAUSES, PAUSE_MILLIS),
            queue: 0,
            whole: Vec::new(),
            datagram: Vec::new(),
        }
    }

    /// The frames to come were read from this queue of their device, counted from 0, until it is said otherwise: with
    /// several SAs for one tunnel each queue has its own ([`TunnelRow::choose`]).
    pub fn serve_queue(&mut self, queue: usize) {
        self.queue = queue;
    }

    /// Takes one frame read from `tunnel`'s TUN device: a virtio header and a packet or super-packet.
    ///
    /// Sequence numbers are taken here, so packets lie in the batch in the order of their numbers.
    pub fn handle_frame(
        &mut self,
        table: &Table,
        tunnel: TunnelId,
        frame: &[u8],
        batch: &mut SendBatch,
        reports: &mut Reports,
        now: Tick,
    ) -> Handled {
        let Some((header, packet)) = Header::split(frame) else { return self.drop(Drop::MalformedInner) };
        let Ok(inner) = Inner::parse(packet) else { return self.drop(Drop::MalformedInner) };
        let Some(packet) = packet.get(..inner.total) else { return self.drop(Drop::MalformedInner) };
        if table.outer().are_of(&inner) {
            return self.drop(Drop::OuterLoop);
        }
        let Some(tunnel) = table.tunnel(tunnel) else { return self.drop(Drop::NoTunnel) };
        let sinks = &mut Sinks { batch, reports, now };
        if tunnel.outbound.is_empty() {
            return self.demand(tunnel.id, &inner, sinks);
        }
        let Some(row) = tunnel.choose(self.queue, &inner) else { return self.drop(Drop::OutboundSelector) };
        let way = Way { tunnel, row, inner };
        match header.gso {
            Gso::None => self.single(way, &header, packet, sinks),
            Gso::Tcp4 | Gso::Tcp6 | Gso::Udp => self.cut(way, &header, packet, sinks),
            Gso::Unknown(_) => self.drop(Drop::Unsplittable),
        }
    }

    /// Seals the batch. To be called once, before [`SendBatch::runs`].
    pub fn seal(&mut self, batch: &mut SendBatch) {
        let lost = batch.seal();
        if lost > 0 {
            self.drops.count(Drop::Unsealed, lost as u64);
        }
    }

    /// A frame to write to a tunnel's TUN device: an answer to a packet that was too big.
    pub fn poll_reply(&mut self) -> Option<(TunnelId, &[u8])> {
        self.replies.poll()
    }

    fn drop(&self, reason: Drop) -> Handled {
        self.drops.count(reason, 1);
        Handled::Done
    }

    /// No SA: ask for one, unless it is only the host chattering on its own link.
    fn demand(&mut self, tunnel: TunnelId, inner: &Inner, sinks: &mut Sinks<'_>) -> Handled {
        let chatter = inner.destination.is_multicast()
            || match inner.destination {
                IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
                IpAddr::V6(address) => address.is_unicast_link_local(),
            };
        if !chatter && self.on_demand.allows(tunnel, sinks.now) {
            sinks.reports.push(Report::OnDemand { tunnel });
        }
        self.drop(Drop::NoSa)
    }

    /// An ordinary packet.
    fn single(&mut self, way: Way<'_>, header: &Header, packet: &[u8], sinks: &mut Sinks<'_>) -> Handled {
        if header.needs_checksum && !split::checksum_fits(&way.inner, header) {
            return self.drop(Drop::MalformedInner);
        }
        let whole = Whole { packet, header, way: &way };
        if way.inner.total <= usize::from(way.tunnel.mtu) || way.is_carried_whole() {
            return self.emit(&way, &whole, sinks);
        }
        if way.inner.dont_fragment {
            return self.too_big(&way, packet, sinks.now);
        }
        self.fragment(&way, &whole, sinks)
    }

    /// A super-packet.
    fn cut(&mut self, way: Way<'_>, header: &Header, packet: &[u8], sinks: &mut Sinks<'_>) -> Handled {
        let Ok(mut plan) = Plan::new(packet, &way.inner, header) else {
            return self.drop(Drop::Unsplittable);
        };
        // A stream may be cut smaller than its sender meant, so a transfer under way survives a shrinking
        // path without waiting for the sender to hear of it.
        if plan.shrink(usize::from(way.tunnel.mtu)) {
            return self.emit(&way, &Segments { plan, packet }, sinks);
        }
        if sinks.batch.room() < plan.count() * (plan.longest() + OVERHEAD) * 2 && !sinks.batch.is_empty() {
            return Handled::Full;
        }
        let mut datagram = std::mem::take(&mut self.datagram);
        for index in 0..plan.count() {
            datagram.clear();
            datagram.resize(plan.len(index), 0);
            plan.write(packet, index, &mut datagram);
            let Ok(inner) = Inner::parse(&datagram) else { continue };
            if self.single(Way { inner, ..way }, &Header::default(), &datagram, sinks) == Handled::Full {
                self.drops.count(Drop::Unsplittable, 1);
            }
        }
        self.datagram = datagram;
        Handled::Done
    }

    fn fragment(&mut self, way: &Way<'_>, whole: &Whole<'_>, sinks: &mut Sinks<'_>) -> Handled {
        let mut packet = std::mem::take(&mut self.whole);
        packet.clear();
        packet.resize(whole.packet.len(), 0);
        whole.write(0, &mut packet);
        let handled = match Fragments::new(&packet, &way.inner, way.tunnel.mtu) {
            Some(plan) => self.emit(way, &Cut { plan, packet: &packet }, sinks),
            None => self.drop(Drop::TooBig),
        };
        self.whole = packet;
        handled
    }

    fn too_big(&mut self, way: &Way<'_>, packet: &[u8], now: Tick) -> Handled {
        if self.too_big.take(now) {
            // The limit came from a u16.
            let mtu = way.limit() as u16;
            self.replies.push(way.tunnel.id, |frame| toobig::write(packet, &way.inner, mtu, frame));
        }
        self.drop(Drop::TooBig)
    }

    /// Reserves numbers for all pieces and puts them into the batch, all or, at the end of the SA's life,
    /// the first of them.
    fn emit(&mut self, way: &Way<'_>, pieces: &impl Pieces, sinks: &mut Sinks<'_>) -> Handled {
        let sa = &way.row.sa;
        let count = pieces.count();
        let (mut bytes, mut sealed) = (0, 0);
        for length in (0..count).map(|index| pieces.len(index)) {
            bytes += length as u64;
            sealed += sa.sealed_len(length);
        }
        if sealed > sinks.batch.room() {
            if sinks.batch.is_empty() {
                return self.drop(Drop::Unsplittable);
            }
            return Handled::Full;
        }
        let granted = match sa.reserve(count as u64, bytes, sinks.now) {
            Ok(reservation) => {
                if let Some(limit) = reservation.soft {
                    let (tunnel, spi) = (way.tunnel.id, sa.spi());
                    sinks.reports.push(Report::SoftLimit { tunnel, spi, outbound: true, limit });
                }
                // At most `count`.
                let granted = reservation.count as usize;
                sinks.batch.begin(sa, reservation.first, granted);
                granted
            }
            Err(_) => 0,
        };
        if granted < count {
            self.drops.count(Drop::OutboundRefused, (count - granted) as u64);
            if self.exhausted.allows(sa.spi(), sinks.now) {
                let (tunnel, spi) = (way.tunnel.id, sa.spi());
                sinks.reports.push(Report::Exhausted { tunnel, spi, outbound: true });
            }
        }
        for index in 0..granted {
            let next = if way.inner.is_ipv6() { next_header::IPV6 } else { next_header::IPV4 };
            let length = pieces.len(index);
            sinks.batch.push(length, next, way.outer(length), |place| pieces.write(index, place));
        }
        Handled::Done
    }
}

/// More than any suite adds to a packet.
const OVERHEAD: usize = 128;

const SYN: u8 = 0x02;

impl Way<'_> {
    /// The largest packet that may go in as it is.
    fn limit(&self) -> usize {
        let mtu = self.tunnel.mtu;
        usize::from(if self.inner.is_ipv6() { mtu.max(mtu::IPV6_MIN) } else { mtu })
    }

    /// RFC 8200 section 5: a link that cannot carry 1280 octets must fragment below IPv6, so such packets
    /// are sealed whole and their ESP packets fragmented outside. So is, under [`DfPolicy::Clear`], what may
    /// not be fragmented inside.
    fn is_carried_whole(&self) -> bool {
        if self.inner.is_ipv6() {
            self.inner.total <= self.limit()
        } else {
            self.tunnel.df == DfPolicy::Clear && self.inner.dont_fragment
        }
    }

    /// RFC 4301 section 5.1.2.1: DSCP copied, DF by policy; RFC 6040 section 4.1: ECN copied.
    fn outer(&self, length: usize) -> Outer {
        let oversize = length > usize::from(self.tunnel.mtu);
        let dont_fragment = match self.tunnel.df {
            DfPolicy::Copy => self.inner.dont_fragment,
            DfPolicy::Set => true,
            DfPolicy::Clear => false,
        };
        Outer {
            path: self.row.path,
            tos: self.inner.tos,
            dont_fragment: dont_fragment && !oversize,
            oversize,
        }
    }
}

/// A packet carried as it is.
struct Whole<'a> {
    packet: &'a [u8],
    header: &'a Header,
    way: &'a Way<'a>,
}

impl Pieces for Whole<'_> {
    fn count(&self) -> usize {
        1
    }

    fn len(&self, _: usize) -> usize {
        self.packet.len()
    }

    fn write(&self, _: usize, place: &mut [u8]) {
        if place.len() != self.packet.len() {
            return;
        }
        place.copy_from_slice(self.packet);
        let inner = &self.way.inner;
        let syn = inner.protocol == TCP && get8(place, inner.transport + 13).is_some_and(|f| f & SYN != 0);
        let tunnel = self.way.tunnel;
        if syn && let Some(limit) = tunnel.mss.limit(tunnel.mtu, inner.is_ipv6()) {
            let state = if self.header.needs_checksum { Checksum::Partial } else { Checksum::Complete };
            mss::clamp(place, inner, limit, state);
        }
        if self.header.needs_checksum {
            split::finish_checksum(place, inner, self.header);
        }
    }
}

/// A packet carried as segments.
struct Segments<'a> {
    plan: Plan,
    packet: &'a [u8],
}

impl Pieces for Segments<'_> {
    fn count(&self) -> usize {
        self.plan.count()
    }

    fn len(&self, index: usize) -> usize {
        self.plan.len(index)
    }

    fn write(&self, index: usize, place: &mut [u8]) {
        self.plan.write(self.packet, index, place);
    }
}

/// A packet carried as fragments.
struct Cut<'a> {
    plan: Fragments,
    packet: &'a [u8],
}

impl Pieces for Cut<'_> {
    fn count(&self) -> usize {
        self.plan.count()
    }

    fn len(&self, index: usize) -> usize {
        self.plan.len(index)
    }

    fn write(&self, index: usize, place: &mut [u8]) {
        self.plan.write(self.packet, index, place);
    }
}
