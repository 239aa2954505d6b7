//! In: received ESP packets are opened where they lie, judged, joined and handed out to be written.

use std::io::IoSlice;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use esp::{MAX_RUN, Opened, Segment, Tick, next_header};

use crate::demux::{self, Kind};
use crate::drops::{Drop, Drops};
use crate::inner::mss::{self, Checksum};
use crate::inner::{Inner, ecn};
use crate::limit::{Pause, TokenBucket};
use crate::offload::coalesce::{Coalescer, Joining, MAX_PIECES, Place};
use crate::path::OuterPath;
use crate::report::{Report, Reports};
use crate::table::{InboundRow, Table, TunnelId, TunnelRow};

/// How long the same unknown SPI, or the same move, stays unmentioned.
const PAUSE_MILLIS: u64 = 1000;
const PAUSES: usize = 64;
/// Unknown SPIs mentioned at once and a second, all together: anyone can send as many as he likes.
const UNKNOWN: (u64, u64) = (8, 1);

/// A received message: one datagram, or several the kernel put together (UDP_GRO).
pub struct Received<'a> {
    /// What came: ESP or, on the encapsulation port, IKE behind its marker. Without an outer IP header
    /// (see [`demux::outer_ipv4_header`] for raw IPv4 sockets).
    pub bytes: &'a mut [u8],
    /// Octets of each datagram but the last, from the UDP_GRO control message; 0 for a single datagram.
    pub segment: usize,
    /// Where it came from and to.
    pub path: OuterPath,
    /// The interface it came by; 0 when the kernel did not say.
    pub ifindex: u32,
    /// Outer TOS or traffic class.
    pub tos: u8,
}

impl Received<'_> {
    /// Nothing, to fill an array with: gives no packet and no report.
    #[must_use]
    pub fn empty() -> Self {
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let path = OuterPath::Esp { local: address, remote: address };
        Self { bytes: &mut [], segment: 0, path, ifindex: 0, tos: 0 }
    }
}

/// The inbound half of one worker.
pub struct Ingress {
    drops: Arc<Drops>,
    coalescer: Coalescer,
    unknown: Pause<u32>,
    unknowns: TokenBucket,
    exhausted: Pause<u32>,
    moved: Pause<(u32, OuterPath)>,
}

/// What the ESP packets of a run, which one SA opens together, have in common.
#[derive(Clone, Copy)]
struct Run<'t> {
    row: &'t InboundRow,
    tunnel: Option<&'t TunnelRow>,
    path: OuterPath,
    tos: u8,
}

/// The packets of the run under way.
struct Gathered<'b> {
    segments: [Segment<'b>; MAX_RUN],
    /// Message and offset of each.
    origins: [(u32, u32); MAX_RUN],
    count: usize,
}

impl Ingress {
    /// One that counts what it drops in `drops` and joins what the TUN devices take.
    #[must_use]
    pub fn new(drops: Arc<Drops>, joining: Joining) -> Self {
        Self {
            drops,
            coalescer: Coalescer::new(joining),
            unknown: Pause::new(PAUSES, PAUSE_MILLIS),
            unknowns: TokenBucket::new(UNKNOWN.0, UNKNOWN.1),
            exhausted: Pause::new(PAUSES, PAUSE_MILLIS),
            moved: Pause::new(PAUSES, PAUSE_MILLIS),
        }
    }

    /// Changes what is joined, for all devices.
    pub fn set_joining(&mut self, joining: Joining) {
        self.coalescer.set_joining(joining);
    }

    /// Changes what is joined for one tunnel's device, as when the kernel refused a super-packet, until
    /// [`set_joining`](Self::set_joining).
    pub fn join_less(&mut self, tunnel: TunnelId, joining: Joining) {
        self.coalescer.join_less(tunnel, joining);
    }

    /// Opens all messages of a batch in place. What is to be written refers to them: see
    /// [`for_each_write`](Self::for_each_write).
    pub fn handle_batch(
        &mut self,
        table: &Table,
        messages: &mut [Received<'_>],
        reports: &mut Reports,
        now: Tick,
    ) {
        let mut run: Option<Run<'_>> = None;
        let mut gathered = Gathered::new();
        for (number, message) in (0..).zip(messages) {
            let (path, tos) = (message.path, message.tos);
            let size = if message.segment == 0 { message.bytes.len() } else { message.segment };
            let mut offset = 0;
            for datagram in message.bytes.chunks_mut(size.max(1)) {
                let origin = (number, offset);
                // A message is shorter than 2^32 octets.
                offset += datagram.len() as u32;
                let Some(spi) = self.sort(datagram, &path, message.ifindex, reports) else { continue };
                if gathered.is_full() || !run.as_ref().is_some_and(|run| run.takes(spi, &path, tos)) {
                    self.finish_run(run, &mut gathered, reports, now);
                    run = self.start_run(table, spi, path, tos, reports, now);
                }
                if run.is_some() {
                    gathered.add(datagram, origin);
                }
            }
        }
        self.finish_run(run, &mut gathered, reports, now);
        self.coalescer.finish();
    }

    /// Calls `write` for each write to a TUN device, in order, with the tunnel and the vector to write:
    /// virtio header first. `messages` are those of [`handle_batch`](Self::handle_batch).
    pub fn for_each_write(&self, messages: &[Received<'_>], mut write: impl FnMut(TunnelId, &[IoSlice<'_>])) {
        for one in self.coalescer.writes() {
            let mut vector: [IoSlice<'_>; MAX_PIECES + 1] = std::array::from_fn(|_| IoSlice::new(&[]));
            let mut used = 1;
            if let Some(slot) = vector.first_mut() {
                *slot = IoSlice::new(one.header());
            }
            for (slot, place) in vector.iter_mut().skip(1).zip(self.coalescer.pieces(one)) {
                let bytes = messages
                    .get(place.message as usize)
                    .and_then(|message| message.bytes.get(place.start as usize..place.end as usize));
                *slot = IoSlice::new(bytes.unwrap_or_default());
                used += 1;
            }
            write(one.tunnel, vector.get(..used).unwrap_or_default());
        }
    }

    /// How many writes there are.
    #[must_use]
    pub fn write_count(&self) -> usize {
        self.coalescer.writes().len()
    }

    /// Forgets the batch; its messages may be received into again.
    pub fn clear(&mut self) {
        self.coalescer.clear();
    }

    /// The SPI of an ESP packet; everything else is dealt with.
    fn sort(&self, datagram: &[u8], path: &OuterPath, ifindex: u32, reports: &mut Reports) -> Option<u32> {
        let kind = match path {
            OuterPath::Udp { .. } => demux::kind(datagram),
            OuterPath::Esp { .. } => demux::native_kind(datagram),
        };
        match (kind, *path) {
            (Kind::Esp(spi), _) => return Some(spi),
            (Kind::Ike, OuterPath::Udp { local, remote }) => {
                if reports.has_room() {
                    let bytes = datagram.get(demux::MARKER_LEN..).unwrap_or_default().to_vec();
                    reports.push(Report::Ike { local, remote, ifindex, bytes });
                } else {
                    reports.refuse();
                    self.drops.count(Drop::IkeOverflow, 1);
                }
            }
            (Kind::Keepalive, _) => {}
            (Kind::Ike, OuterPath::Esp { .. }) | (Kind::Runt, _) => self.drops.count(Drop::Runt, 1),
        }
        None
    }

    fn start_run<'t>(
        &mut self,
        table: &'t Table,
        spi: u32,
        path: OuterPath,
        tos: u8,
        reports: &mut Reports,
        now: Tick,
    ) -> Option<Run<'t>> {
        let Some(row) = table.inbound(spi) else {
            self.drops.count(Drop::UnknownSpi, 1);
            if self.unknown.allows(spi, now) && self.unknowns.take(now) {
                reports.push(Report::UnknownSpi { spi, path });
            }
            return None;
        };
        Some(Run { row, tunnel: table.tunnel(row.tunnel), path, tos })
    }

    fn finish_run(
        &mut self,
        run: Option<Run<'_>>,
        gathered: &mut Gathered<'_>,
        reports: &mut Reports,
        now: Tick,
    ) {
        let count = std::mem::take(&mut gathered.count);
        let (Some(run), Some(segments)) = (run, gathered.segments.get_mut(..count)) else { return };
        let told = run.row.sa.open_batch(segments, now);
        let (tunnel, spi) = (run.row.tunnel, run.row.sa.spi());
        if told.first_packet {
            reports.push(Report::FirstPacket { tunnel, spi });
        }
        if let Some(limit) = told.soft {
            reports.push(Report::SoftLimit { tunnel, spi, outbound: false, limit });
        }
        if told.exhausted && self.exhausted.allows(spi, now) {
            reports.push(Report::Exhausted { tunnel, spi, outbound: false });
        }
        let mut newest = false;
        for (segment, origin) in segments.iter_mut().zip(gathered.origins) {
            let delivered = match &segment.outcome {
                Err(_) => Err(Drop::InboundRefused),
                Ok(opened) => {
                    newest |= opened.newest;
                    self.deliver(&run, segment.bytes, opened, origin)
                }
            };
            if let Err(reason) = delivered {
                self.drops.count(reason, 1);
            }
        }
        if newest && run.path.moved_from(&run.row.path) && self.moved.allows((spi, run.path), now) {
            reports.push(Report::PathMoved { tunnel, spi, path: run.path });
        }
    }

    /// Judges one authentic packet and hands it to the coalescer.
    fn deliver(
        &mut self,
        run: &Run<'_>,
        bytes: &mut [u8],
        opened: &Opened,
        (message, offset): (u32, u32),
    ) -> Result<(), Drop> {
        let packet = bytes.get_mut(opened.inner.clone()).ok_or(Drop::MalformedOpened)?;
        // By reference, as it is slow to move what was just written in small parts.
        let parsed = Inner::parse(packet);
        let inner = parsed.as_ref().map_err(|_| Drop::MalformedOpened)?;
        if inner.is_ipv6() != (opened.next_header == next_header::IPV6) {
            return Err(Drop::MalformedOpened);
        }
        // RFC 4303 section 2.7: what follows the inner packet's own length is traffic flow
        // confidentiality padding.
        let packet = packet.get_mut(..inner.total).ok_or(Drop::MalformedOpened)?;
        if !run.row.admits(inner) {
            return Err(Drop::InboundSelector);
        }
        match ecn::decapsulate(inner.tos, run.tos) {
            ecn::Decapsulated::Keep => {}
            ecn::Decapsulated::Set(field) => ecn::set(packet, inner.is_ipv6(), field),
            ecn::Decapsulated::Drop => return Err(Drop::EcnIllegal),
        }
        if let Some(limit) = run.tunnel.and_then(|tunnel| tunnel.mss.limit(tunnel.mtu, inner.is_ipv6())) {
            mss::clamp(packet, inner, limit, Checksum::Complete);
        }
        let start = offset + opened.inner.start as u32;
        let place = Place { message, start, end: start + inner.total as u32 };
        self.coalescer.push(run.row.tunnel, packet, inner, place);
        Ok(())
    }
}

impl Run<'_> {
    /// Does a packet belong to this run?
    fn takes(&self, spi: u32, path: &OuterPath, tos: u8) -> bool {
        self.row.sa.spi() == spi && self.path == *path && self.tos == tos
    }
}

impl<'b> Gathered<'b> {
    fn new() -> Self {
        Self {
            segments: std::array::from_fn(|_| Segment::new(&mut [])),
            origins: [(0, 0); MAX_RUN],
            count: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.count == MAX_RUN
    }

    fn add(&mut self, datagram: &'b mut [u8], origin: (u32, u32)) {
        if let (Some(segment), Some(slot)) =
            (self.segments.get_mut(self.count), self.origins.get_mut(self.count))
        {
            *segment = Segment::new(datagram);
            *slot = origin;
            self.count += 1;
        }
    }
}
