//! The datapath in both directions: frames a host writes into the TUN, and datagrams from a peer that has the
//! keys or from anyone.
//!
//! Packets come as `kind, tos, length (2), content`. What leaves is led back in, so that both halves judge it.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;

use crypto::{Encr, KeyBits, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, Refusal, Slot, replay};
use inet::Selector;
use libfuzzer_sys::fuzz_target;
use tunnel::offload::{coalesce::Joining, virtio};
use tunnel::{
    DfPolicy, Drops, Egress, Handled, InboundRow, Ingress, MssPolicy, OutboundRow, OuterPath, Received,
    Reports, Selectors, SendBatch, Table, Tick, TunnelId, TunnelRow,
};

const TUNNEL: TunnelId = TunnelId(1);
const SUITE: Suite = Suite { encr: Encr::AesGcm16(KeyBits::B128), integ: None };
const OWN: u32 = 0x0000_1001;
const PEER: u32 = 0x0000_1002;
const MTU: u16 = 1400;
const NOW: Tick = Tick(1);
const REPORTS: usize = 16;

fn outbound(spi: u32) -> OutboundSa {
    let (encr_key, integ_key, limits) = (&[7; 20][..], &[][..], Limits::default());
    OutboundSa::new(OutboundParams {
        spi,
        suite: SUITE,
        encr_key,
        integ_key,
        iv_seed: [3; 16],
        esn: false,
        limits,
    })
    .expect("sound parameters")
}

fn inbound(spi: u32) -> InboundSa {
    let (encr_key, integ_key, limits) = (&[7; 20][..], &[][..], Limits::default());
    let replay_window = replay::DEFAULT;
    InboundSa::new(InboundParams {
        spi,
        suite: SUITE,
        encr_key,
        integ_key,
        esn: false,
        replay_window,
        limits,
    })
    .expect("sound parameters")
}

/// Both directions of one tunnel, led back into itself.
struct World {
    table: Table,
    looped: Arc<InboundSa>,
    peer: OutboundSa,
    path: OuterPath,
    egress: Egress,
    ingress: Ingress,
    batch: SendBatch,
    reports: Reports,
}

impl World {
    fn new(choice: u8) -> Self {
        let end = SocketAddr::from(([192, 0, 2, 1], 4500));
        let path = if choice & 1 == 0 {
            OuterPath::Udp { local: end, remote: end }
        } else {
            OuterPath::Esp { local: end.ip(), remote: end.ip() }
        };
        let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
        let df = [DfPolicy::Copy, DfPolicy::Set, DfPolicy::Clear][usize::from(choice >> 1 & 3) % 3];
        let mss = if choice & 8 == 0 { MssPolicy::Auto } else { MssPolicy::Fixed(1350) };
        let (local, remote) = (Arc::clone(&any), Arc::clone(&any));
        let row = OutboundRow { sa: Arc::new(outbound(OWN)), path, local, remote };
        let looped = Arc::new(inbound(OWN));
        let mut builder = Table::new().edit();
        builder.set_tunnel(TunnelRow { id: TUNNEL, mtu: MTU, mss, df, outbound: vec![row] });
        for sa in [Arc::clone(&looped), Arc::new(inbound(PEER))] {
            let (local, remote) = (Arc::clone(&any), Arc::clone(&any));
            builder.set_inbound(InboundRow { tunnel: TUNNEL, sa, path, local, remote });
        }
        let drops = Arc::new(Drops::default());
        let joining = Joining { tcp: choice & 16 != 0, udp: choice & 32 != 0 };
        Self {
            table: builder.build(),
            looped,
            peer: outbound(PEER),
            path,
            egress: Egress::new(Arc::clone(&drops)),
            ingress: Ingress::new(drops, joining),
            batch: SendBatch::default(),
            reports: Reports::new(REPORTS),
        }
    }

    /// A frame out, and what became of it back in.
    fn out(&mut self, frame: &[u8]) {
        let (table, batch, reports) = (&self.table, &mut self.batch, &mut self.reports);
        let handled = self.egress.handle_frame(table, TUNNEL, frame, batch, reports, NOW);
        assert_eq!(handled, Handled::Done, "an empty batch has room");
        self.egress.seal(&mut self.batch);
        let runs: Vec<_> = self.batch.runs().map(|run| (run.bytes.to_vec(), run.segment, run.tos)).collect();
        self.batch.clear();
        while let Some((_, reply)) = self.egress.poll_reply() {
            assert!(reply.len() > virtio::LEN);
        }
        for (bytes, segment, tos) in runs {
            assert!(bytes.chunks(segment).all(|packet| !packet.is_empty()));
            self.receive(bytes, segment, tos);
        }
        for reason in [Refusal::Forged, Refusal::Padding, Refusal::Length, Refusal::Replayed] {
            assert_eq!(self.looped.refusals().get(reason), 0, "our own packet was refused: {reason}");
        }
    }

    /// A packet from a peer that has the keys.
    fn sealed(&mut self, inner: &[u8], tos: u8) {
        let mut bytes = vec![0; self.peer.sealed_len(inner.len())];
        let at = self.peer.geometry().inner_offset();
        bytes[at..at + inner.len()].copy_from_slice(inner);
        let next_header = if inner.first().is_some_and(|first| first >> 4 == 6) { 41 } else { 4 };
        let number = self.peer.reserve(1, inner.len() as u64, NOW).expect("no limit").first;
        let slot = Slot { bytes: &mut bytes, inner: inner.len(), next_header };
        self.peer.seal_batch(&mut [slot], number).expect("the slot fits");
        self.receive(bytes, 0, tos);
    }

    fn receive(&mut self, mut bytes: Vec<u8>, segment: usize, tos: u8) {
        let mut messages = [Received { bytes: &mut bytes, segment, path: self.path, ifindex: 0, tos }];
        self.ingress.handle_batch(&self.table, &mut messages, &mut self.reports, NOW);
        self.ingress.for_each_write(&messages, |tunnel, vector| {
            assert_eq!(tunnel, TUNNEL);
            let frame = vector.iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>();
            let (_, packet) = virtio::Header::split(&frame).expect("a virtio header in front");
            assert!(matches!(packet.first().map(|first| first >> 4), Some(4 | 6)), "only IP reaches the TUN");
        });
        self.ingress.clear();
        let mut told = 0;
        while self.reports.poll().is_some() {
            told += 1;
        }
        assert!(told <= REPORTS);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let mut world = World::new(choice);
    while let [kind, tos, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (content, behind) = tail.split_at(length);
        rest = behind;
        match kind % 3 {
            0 => world.out(content),
            1 => world.sealed(content, *tos),
            _ => world.receive(content.to_vec(), usize::from(*kind / 3) * 16, *tos),
        }
    }
});
