//! A pair of SAs, and both halves of a worker over them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crypto::{Encr, Integ, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, replay};
use inet::Selector;

use crate::offload::coalesce::Joining;
use crate::*;

pub(super) const TUNNEL: TunnelId = TunnelId(3);
pub(super) const ALL: Joining = Joining { tcp: true, udp: true };
pub(super) const NONE: Joining = Joining { tcp: false, udp: false };

pub(super) fn suite(text: &str) -> Suite {
    let (encr, integ) = match text.split_once('-') {
        Some((encr, integ)) => (encr, Some(Integ::from_keyword(integ).unwrap())),
        None => (text, None),
    };
    Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap()
}

pub(super) fn path() -> OuterPath {
    OuterPath::Udp { local: socket("192.0.2.1:4500"), remote: socket("203.0.113.1:4500") }
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) const SPI: u32 = 0xc0ff_ee01;

/// The sending end of an SA and its receiving end.
pub(super) fn sa_pair(suite: Suite, spi: u32, limits: Limits) -> (Arc<OutboundSa>, Arc<InboundSa>) {
    let (key, mac_key) = (vec![0x11; suite.encr_key_len()], vec![0x22; suite.integ_key_len()]);
    let outbound = OutboundParams {
        spi,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        iv_seed: [0x33; 16],
        esn: true,
        limits,
    };
    let inbound = InboundParams {
        spi,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        esn: true,
        replay_window: replay::DEFAULT,
        limits: Limits::default(),
    };
    (Arc::new(OutboundSa::new(outbound).unwrap()), Arc::new(InboundSa::new(inbound).unwrap()))
}

pub(super) fn any_selectors() -> Arc<Selectors> {
    Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]))
}

/// Both halves of a worker over one table whose only tunnel is looped to itself.
pub(super) struct Worker {
    pub(super) table: Table,
    pub(super) egress: Egress,
    pub(super) ingress: Ingress,
    pub(super) batch: SendBatch,
    pub(super) reports: Reports,
    pub(super) drops: Arc<Drops>,
    pub(super) now: Tick,
}

impl Worker {
    pub(super) fn new(suite: Suite, joining: Joining) -> Self {
        let (out, inbound) = sa_pair(suite, SPI, Limits::default());
        let drops = Arc::new(Drops::default());
        let selectors = any_selectors();
        let (local, remote) = (&selectors, &selectors);
        let mut table = Table::new().edit();
        table.set_tunnel(TunnelRow {
            id: TUNNEL,
            mtu: 1450,
            mss: MssPolicy::Off,
            df: DfPolicy::Copy,
            outbound: vec![OutboundRow {
                sa: out,
                path: path(),
                local: Arc::clone(local),
                remote: Arc::clone(remote),
            }],
        });
        table.set_inbound(InboundRow {
            tunnel: TUNNEL,
            sa: inbound,
            path: path(),
            local: Arc::clone(local),
            remote: Arc::clone(remote),
        });
        Self {
            table: table.build(),
            egress: Egress::new(Arc::clone(&drops)),
            ingress: Ingress::new(Arc::clone(&drops), joining),
            batch: SendBatch::default(),
            reports: Reports::new(64),
            drops,
            now: Tick(0),
        }
    }

    pub(super) fn gcm(joining: Joining) -> Self {
        Self::new(suite("aes256gcm16"), joining)
    }

    /// Changes the tunnel's row.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut TunnelRow)) {
        let mut row = self.table.tunnel(TUNNEL).unwrap().clone();
        change(&mut row);
        let mut next = self.table.edit();
        next.set_tunnel(row);
        self.table = next.build();
    }

    /// Changes the inbound row.
    pub(super) fn change_inbound(&mut self, change: impl FnOnce(&mut InboundRow)) {
        let mut row = self.table.inbound(SPI).unwrap().clone();
        change(&mut row);
        let mut next = self.table.edit();
        next.set_inbound(row);
        self.table = next.build();
    }

    /// Puts a frame into the batch.
    pub(super) fn offer(&mut self, frame: &[u8]) -> Handled {
        self.egress.handle_frame(&self.table, TUNNEL, frame, &mut self.batch, &mut self.reports, self.now)
    }

    /// Seals the batch and takes it off as (path, TOS, DF, segment, bytes).
    pub(super) fn sent(&mut self) -> Vec<Sent> {
        self.egress.seal(&mut self.batch);
        let sent = self
            .batch
            .runs()
            .map(|run| Sent {
                path: run.path,
                tos: run.tos,
                dont_fragment: run.dont_fragment,
                segment: run.segment,
                bytes: run.bytes.to_vec(),
            })
            .collect();
        self.batch.clear();
        sent
    }

    /// Receives messages and gives the frames to write.
    pub(super) fn receive(&mut self, mut sent: Vec<Sent>) -> Vec<Vec<u8>> {
        let mut messages: Vec<Received<'_>> = sent
            .iter_mut()
            .map(|one| Received {
                bytes: &mut one.bytes,
                segment: one.segment,
                path: one.path,
                ifindex: 4,
                tos: one.tos,
            })
            .collect();
        self.ingress.handle_batch(&self.table, &mut messages, &mut self.reports, self.now);
        let mut frames = Vec::new();
        self.ingress.for_each_write(&messages, |tunnel, vector| {
            assert_eq!(tunnel, TUNNEL);
            frames.push(vector.iter().flat_map(|slice| slice.to_vec()).collect());
        });
        assert_eq!(frames.len(), self.ingress.write_count());
        self.ingress.clear();
        frames
    }

    /// Frames in, frames out at the far end.
    pub(super) fn carry(&mut self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for frame in frames {
            while self.offer(frame) == Handled::Full {
                let sent = self.sent();
                assert!(!sent.is_empty());
                out.extend(self.receive(sent));
            }
        }
        let sent = self.sent();
        out.extend(self.receive(sent));
        out
    }

    pub(super) fn reported(&mut self) -> Vec<Report> {
        std::iter::from_fn(|| self.reports.poll()).collect()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) path: OuterPath,
    pub(super) tos: u8,
    pub(super) dont_fragment: bool,
    pub(super) segment: usize,
    pub(super) bytes: Vec<u8>,
}

impl Sent {
    pub(super) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.segment)
    }
}
