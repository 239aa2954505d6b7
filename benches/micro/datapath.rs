//! One packet's way through the datapath without a system call: cut and sealed on the way out; opened, judged
//! and joined on the way in. Times are for one packet of a super-packet of 45.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use std::sync::Arc;

use causeway_benches::harness::Bench;
use crypto::{Encr, Integ, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, Tick};
use inet::Selector;
use tunnel::offload::checksum;
use tunnel::offload::coalesce::Joining;
use tunnel::offload::virtio::{Gso, Header};
use tunnel::{
    DfPolicy, Drops, Egress, InboundRow, Ingress, MssPolicy, OutboundRow, OuterPath, Received, Reports,
    Selectors, SendBatch, Table, TunnelId, TunnelRow,
};

const TUNNEL: TunnelId = TunnelId(1);
const SEGMENTS: usize = 45;
const PAYLOAD: usize = 1360;

fn main() {
    let bench = Bench::from_env();
    for (encr, integ) in [
        ("aes256gcm16", None),
        ("chacha20poly1305", None),
        ("aes256", Some("sha1")),
        ("aes256", Some("sha256")),
        ("aes256", Some("sha512")),
    ] {
        let integ = integ.map(|name| Integ::from_keyword(name).unwrap());
        run(&bench, Suite::new(Encr::from_keyword(encr).unwrap(), integ).unwrap());
    }
    let bytes = vec![0x5a; 1400];
    bench.case("checksum of 1400 octets", 1, 1400, || checksum::sum(&bytes));
}

fn run(bench: &Bench, suite: Suite) {
    let path = OuterPath::Udp {
        local: "192.0.2.1:4500".parse().unwrap(),
        remote: "192.0.2.2:4500".parse().unwrap(),
    };
    let table = table(suite, path);
    let frame = frame();
    let drops = Arc::new(Drops::default());
    let mut egress = Egress::new(Arc::clone(&drops));
    let mut ingress = Ingress::new(Arc::clone(&drops), Joining { tcp: true, udp: true });
    let (mut batch, mut reports) = (SendBatch::default(), Reports::new(16));
    let octets = (PAYLOAD + 40) as u64;
    bench.case(&format!("out: cut and seal, {suite}"), SEGMENTS as u64, octets, || {
        batch.clear();
        let _ = egress.handle_frame(&table, TUNNEL, &frame, &mut batch, &mut reports, Tick(0));
        egress.seal(&mut batch);
        assert_eq!(batch.len(), SEGMENTS);
    });
    // Every round needs fresh numbers, as the replay window refuses old ones: sealing is in this figure too.
    let mut buffer = vec![0; 65_536];
    bench.case(&format!("out and in: and open, judge, join, {suite}"), SEGMENTS as u64, octets, || {
        batch.clear();
        let _ = egress.handle_frame(&table, TUNNEL, &frame, &mut batch, &mut reports, Tick(0));
        egress.seal(&mut batch);
        let mut writes = 0;
        for run in batch.runs() {
            let bytes = &mut buffer[..run.bytes.len()];
            bytes.copy_from_slice(run.bytes);
            let mut messages = [Received { bytes, segment: run.segment, path, tos: run.tos }];
            ingress.handle_batch(&table, &mut messages, &mut reports, Tick(0));
            ingress.for_each_write(&messages, |_, slices| writes += slices.len());
            ingress.clear();
        }
        assert!(writes > SEGMENTS && drops.total() == 0);
    });
}

fn table(suite: Suite, path: OuterPath) -> Table {
    let (key, mac_key) = (vec![1; suite.encr_key_len()], vec![2; suite.integ_key_len()]);
    let limits = Limits::default();
    let outbound = OutboundParams {
        spi: 0x1234,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        iv_seed: [3; 16],
        esn: true,
        limits,
    };
    let inbound = InboundParams {
        spi: 0x1234,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        esn: true,
        replay_window: 1024,
        limits,
    };
    let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let (local, remote) = (Arc::clone(&any), Arc::clone(&any));
    let mut table = Table::new().edit();
    table.set_tunnel(TunnelRow {
        id: TUNNEL,
        mtu: 1438,
        mss: MssPolicy::Auto,
        df: DfPolicy::Copy,
        outbound: vec![OutboundRow { sa: Arc::new(OutboundSa::new(outbound).unwrap()), path, local, remote }],
    });
    let sa = Arc::new(InboundSa::new(inbound).unwrap());
    table.set_inbound(InboundRow { tunnel: TUNNEL, sa, path, local: Arc::clone(&any), remote: any });
    table.build()
}

/// A TCP super-packet as the TUN gives it.
fn frame() -> Vec<u8> {
    let total = 40 + PAYLOAD * SEGMENTS;
    let header = Header {
        needs_checksum: true,
        gso: Gso::Tcp4,
        header_len: 40,
        gso_size: PAYLOAD as u16,
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
