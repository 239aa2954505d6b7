//! A table with one tunnel whose packets come back to it, and the frames a TUN device would give: for the test that
//! counts allocations and for the benches.

use std::sync::Arc;

use crypto::Suite;
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa};
use inet::Selector;
use tunnel::offload::virtio::{Gso, Header};
use tunnel::{
    DfPolicy, InboundRow, MssPolicy, OutboundRow, OuterPath, Selectors, Table, TunnelId, TunnelRow,
};

/// The tunnel.
pub(crate) const TUNNEL: TunnelId = TunnelId(1);
/// The SPI of both directions.
pub(crate) const SPI: u32 = 0x1234;

/// A path in UDP.
pub(crate) fn path() -> OuterPath {
    OuterPath::Udp { local: "192.0.2.1:4500".parse().unwrap(), remote: "192.0.2.2:4500".parse().unwrap() }
}

/// An inbound SA.
pub(crate) fn inbound(suite: Suite, spi: u32) -> InboundRow {
    let (key, mac_key) = (vec![1; suite.encr_key_len()], vec![2; suite.integ_key_len()]);
    let params = InboundParams {
        spi,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        esn: true,
        replay_window: 1024,
        limits: Limits::default(),
    };
    let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let sa = Arc::new(InboundSa::new(params).unwrap());
    InboundRow { tunnel: TUNNEL, sa, path: path(), local: Arc::clone(&any), remote: any }
}

/// A tunnel of `mtu` octets that sends to its own inbound SA.
pub(crate) fn table(suite: Suite, mtu: u16) -> Table {
    let (key, mac_key) = (vec![1; suite.encr_key_len()], vec![2; suite.integ_key_len()]);
    let outbound = OutboundParams {
        spi: SPI,
        suite,
        encr_key: &key,
        integ_key: &mac_key,
        iv_seed: [3; 16],
        esn: true,
        limits: Limits::default(),
    };
    let inbound = inbound(suite, SPI);
    let mut table = Table::new().edit();
    table.set_tunnel(TunnelRow {
        id: TUNNEL,
        mtu,
        mss: MssPolicy::Auto,
        df: DfPolicy::Copy,
        outbound: vec![OutboundRow {
            sa: Arc::new(OutboundSa::new(outbound).unwrap()),
            path: path(),
            local: Arc::clone(&inbound.local),
            remote: Arc::clone(&inbound.remote),
        }],
    });
    table.set_inbound(inbound);
    table.build()
}

/// A TCP super-packet of `segments` segments of `payload` octets, as the TUN gives it.
pub(crate) fn frame(segments: usize, payload: usize) -> Vec<u8> {
    let total = 40 + payload * segments;
    let header = Header {
        needs_checksum: true,
        gso: Gso::Tcp4,
        header_len: 40,
        gso_size: payload as u16,
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
