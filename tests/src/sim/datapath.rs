//! The real datapath of one site, driven in memory as a worker drives it.

use std::net::SocketAddr;
use std::sync::Arc;

use tunnel::offload::coalesce::Joining;
use tunnel::offload::virtio;
use tunnel::{
    Drops, Egress, Handled, Ingress, OuterPath, Received, Report, Reports, SendBatch, Table, Tick, TunnelId,
};

use super::kernel::WAN;
use super::net::{Clothes, Datagram};

const REPORTS: usize = 64;

/// One worker's halves.
pub(crate) struct Datapath {
    egress: Egress,
    ingress: Ingress,
    batch: SendBatch,
    reports: Reports,
    /// The queue the next packet comes by: one after the other, so that all of several SAs are used.
    queue: usize,
    /// What the gateway published last.
    pub(crate) table: Arc<Table>,
}

/// What became of inner packets.
#[derive(Default)]
pub(crate) struct Out {
    pub(crate) datagrams: Vec<Datagram>,
    /// Answers to packets that were too big, for the tunnel's device.
    pub(crate) replies: Vec<(TunnelId, Vec<u8>)>,
}

impl Datapath {
    pub(crate) fn new() -> Self {
        let drops = Arc::new(Drops::default());
        Self {
            egress: Egress::new(Arc::clone(&drops)),
            ingress: Ingress::new(drops, Joining { tcp: true, udp: true }),
            batch: SendBatch::new(64 * 1024, 32 * 1024),
            reports: Reports::new(REPORTS),
            queue: 0,
            table: Arc::new(Table::new()),
        }
    }

    /// A packet read from a tunnel's device.
    pub(crate) fn outward(&mut self, tunnel: TunnelId, packet: &[u8], now: Tick) -> Out {
        let mut frame = vec![0; virtio::LEN];
        frame.extend(packet);
        self.queue = self.queue.wrapping_add(1);
        self.egress.serve_queue(self.queue);
        let handled =
            self.egress.handle_frame(&self.table, tunnel, &frame, &mut self.batch, &mut self.reports, now);
        assert_eq!(handled, Handled::Done, "an empty batch takes a packet");
        self.egress.seal(&mut self.batch);
        let mut out = Out::default();
        for run in self.batch.runs() {
            for bytes in run.packets() {
                out.datagrams.push(datagram(run.path, run.tos, run.dont_fragment, bytes));
            }
        }
        self.batch.clear();
        while let Some((tunnel, frame)) = self.egress.poll_reply() {
            out.replies.push((tunnel, frame[virtio::LEN..].to_vec()));
        }
        out
    }

    /// A datagram of port 4500 or protocol 50; what is written to the tunnels' devices.
    pub(crate) fn inward(&mut self, mut datagram: Datagram, now: Tick) -> Vec<(TunnelId, Vec<u8>)> {
        let path = match datagram.clothes {
            Clothes::Udp => OuterPath::Udp { local: datagram.to, remote: datagram.from },
            Clothes::Esp | Clothes::Plain => {
                OuterPath::Esp { local: datagram.to.ip(), remote: datagram.from.ip() }
            }
        };
        let (tos, bytes) = (datagram.tos, &mut datagram.bytes[..]);
        let mut messages = [Received { bytes, segment: 0, path, ifindex: WAN, tos }];
        self.ingress.handle_batch(&self.table, &mut messages, &mut self.reports, now);
        let mut written = Vec::new();
        self.ingress.for_each_write(&messages, |tunnel, pieces| {
            let frame: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            written.push((tunnel, frame[virtio::LEN..].to_vec()));
        });
        self.ingress.clear();
        written
    }

    /// What the gateway must know.
    pub(crate) fn poll_report(&mut self) -> Option<Report> {
        self.reports.poll()
    }
}

fn datagram(path: OuterPath, tos: u8, dont_fragment: bool, bytes: &[u8]) -> Datagram {
    let (from, to, clothes) = match path {
        OuterPath::Udp { local, remote } => (local, remote, Clothes::Udp),
        OuterPath::Esp { local, remote } => {
            (SocketAddr::new(local, 0), SocketAddr::new(remote, 0), Clothes::Esp)
        }
    };
    Datagram { from, to, clothes, dont_fragment, tos, bytes: bytes.to_vec() }
}
