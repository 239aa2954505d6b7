//! The steady state allocates nothing: neither for a packet nor for a batch.
//!
//! One test in one binary, as the counter counts the whole process.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use std::alloc::System;
use std::sync::Arc;

use crypto::{Encr, Integ, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, Tick};
use inet::Selector;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tunnel::offload::coalesce::Joining;
use tunnel::offload::virtio::{Gso, Header};
use tunnel::publish::Publisher;
use tunnel::{
    DfPolicy, Drops, Egress, Handled, InboundRow, Ingress, MssPolicy, OutboundRow, OuterPath, Received,
    Reports, Selectors, SendBatch, Table, TunnelId, TunnelRow,
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TUNNEL: TunnelId = TunnelId(1);

fn table(suite: Suite, path: OuterPath) -> Table {
    let (key, mac_key) = (vec![1; suite.encr_key_len()], vec![2; suite.integ_key_len()]);
    let limits = Limits::default();
    let sa = OutboundSa::new(OutboundParams {
        spi: 0x1234,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        iv_seed: [3; 16],
        esn: true,
        limits,
    });
    let inbound = InboundSa::new(InboundParams {
        spi: 0x1234,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        esn: true,
        replay_window: 1024,
        limits,
    });
    let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let mut table = Table::new().edit();
    table.set_tunnel(TunnelRow {
        id: TUNNEL,
        mtu: 1400,
        mss: MssPolicy::Auto,
        df: DfPolicy::Copy,
        outbound: vec![OutboundRow {
            sa: Arc::new(sa.unwrap()),
            path,
            local: Arc::clone(&any),
            remote: Arc::clone(&any),
        }],
    });
    let sa = Arc::new(inbound.unwrap());
    table.set_inbound(InboundRow { tunnel: TUNNEL, sa, path, local: Arc::clone(&any), remote: any });
    table.build()
}

/// A TCP super-packet of 48 segments; the reader completes what checksums it needs.
fn frame() -> Vec<u8> {
    let total = 40 + 1340 * 48;
    let header = Header {
        needs_checksum: true,
        gso: Gso::Tcp4,
        header_len: 40,
        gso_size: 1340,
        checksum_start: 20,
        checksum_offset: 16,
    };
    let mut frame = header.to_bytes().to_vec();
    frame.extend([0x45, 0]);
    frame.extend((total as u16).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 63, 6, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1, 0, 80, 1, 0, 0, 0, 0, 1]);
    frame.extend([0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(10 + total, 0x5a);
    frame
}

fn single() -> Vec<u8> {
    let mut frame = frame();
    frame.truncate(10 + 40 + 64);
    frame[..10].fill(0);
    frame[12..14].copy_from_slice(&104u16.to_be_bytes());
    frame
}

#[test]
fn the_steady_state_allocates_nothing() {
    let path = OuterPath::Udp {
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "192.0.2.2:4500".parse().unwrap(),
    };
    let frames = [frame(), single(), single(), frame(), single()];
    for (encr, integ) in [("aes256gcm16", None), ("aes256", Some("sha1")), ("aes192gcm8", None)] {
        let integ = integ.map(|name| Integ::from_keyword(name).unwrap());
        let suite = Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap();
        let publisher = Publisher::new(table(suite, path));
        let mut reader = publisher.reader();
        let drops = Arc::new(Drops::default());
        let mut egress = Egress::new(Arc::clone(&drops));
        let mut ingress = Ingress::new(Arc::clone(&drops), Joining { tcp: true, udp: true });
        let (mut batch, mut reports) = (SendBatch::default(), Reports::new(16));
        let mut buffers = vec![vec![0u8; 65_536]; 16];
        let mut round = |now| {
            let table = reader.current();
            for frame in &frames {
                let handled = egress.handle_frame(table, TUNNEL, frame, &mut batch, &mut reports, Tick(now));
                assert_eq!(handled, Handled::Done);
            }
            egress.seal(&mut batch);
            let (mut packets, mut writes) = (0, 0);
            for run in batch.runs() {
                packets += run.count();
                let buffer = buffers.first_mut().unwrap();
                let bytes = &mut buffer[..run.bytes.len()];
                bytes.copy_from_slice(run.bytes);
                let mut messages = [Received { bytes, segment: run.segment, path: run.path, tos: run.tos }];
                ingress.handle_batch(table, &mut messages, &mut reports, Tick(now));
                ingress.for_each_write(&messages, |_, _| writes += 1);
                ingress.clear();
            }
            batch.clear();
            (packets, writes)
        };
        for now in 0..3 {
            round(now);
        }
        let region = Region::new(ALLOCATOR);
        let mut packets = 0;
        for now in 3..103 {
            let (sent, writes) = round(now);
            packets += sent;
            assert!(writes < 12, "{writes}");
        }
        let change = region.change();
        assert_eq!(packets, 100 * 99);
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{suite}");
        assert_eq!(drops.total(), 0);
    }
}
