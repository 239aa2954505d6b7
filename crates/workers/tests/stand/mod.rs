//! What tests of whole workers stand on: two network namespaces with a wire between, a device in each, and a tunnel's table.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa};
use inet::{Prefix, Selector};
use kernel::netlink::{Address, LinkChange, Netlink, Route, RouteChange, Target};
use kernel::netns::Namespace;
use kernel::tun::{Tun, TunError, TunOptions};
use tunnel::{
    DfPolicy, InboundRow, MssPolicy, OutboundRow, OuterPath, Selectors, Table, TunnelId, TunnelRow,
};

pub(crate) const TUNNEL: TunnelId = TunnelId(3);
pub(crate) const DEVICE: &str = "vti0";

#[derive(Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) outer: [u8; 4],
    pub(crate) inner: [u8; 4],
    /// Of packets to this side.
    pub(crate) spi: u32,
}

pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "ticks need an origin")]
    Instant::now()
}

/// The tunnel's device, with an address, and a route to the peer's.
pub(crate) fn device_as(
    netlink: &mut Netlink,
    own: Ends,
    peer: Ends,
    options: &TunOptions,
) -> Result<Tun, TunError> {
    let tun = Tun::open(netlink, options)?;
    let change = LinkChange { mtu: Some(1400), up: Some(true), ..LinkChange::default() };
    netlink.set_link(tun.index(), &change).unwrap();
    netlink.add_address(&Address::new(tun.index(), own.inner.into(), 32)).unwrap();
    let to_peer = Route::new(Prefix::host(peer.inner.into()), 179, Target::Device(tun.index()));
    let route = Route { source: Some(own.inner.into()), ..to_peer };
    assert_eq!(netlink.apply(&[RouteChange::Add(route)]), [Ok(())]);
    Ok(tun)
}

fn path(own: Ends, peer: Ends, udp: bool) -> OuterPath {
    let (local, remote) = (IpAddr::from(own.outer), IpAddr::from(peer.outer));
    if udp {
        OuterPath::Udp { local: (local, 4500).into(), remote: (remote, 4500).into() }
    } else {
        OuterPath::Esp { local, remote }
    }
}

pub(crate) fn table(own: Ends, peer: Ends, udp: bool) -> Table {
    let suite = crypto::Suite::new(crypto::Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap();
    let (encr_key, limits) = ([7; 36], Limits::default());
    let all = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let outbound = OutboundParams {
        spi: peer.spi,
        suite,
        encr_key: &encr_key,
        integ_key: &[],
        iv_seed: [0; 16],
        esn: false,
        limits,
    };
    let inbound = InboundParams {
        spi: own.spi,
        suite,
        encr_key: &encr_key,
        integ_key: &[],
        esn: false,
        replay_window: 1024,
        limits,
    };
    let mut builder = Table::new().edit();
    let path = path(own, peer, udp);
    builder.set_tunnel(TunnelRow {
        id: TUNNEL,
        mtu: 1400,
        mss: MssPolicy::Auto,
        df: DfPolicy::Copy,
        outbound: vec![OutboundRow {
            sa: Arc::new(OutboundSa::new(outbound).unwrap()),
            path,
            local: Arc::clone(&all),
            remote: Arc::clone(&all),
        }],
    });
    builder.set_inbound(InboundRow {
        tunnel: TUNNEL,
        sa: Arc::new(InboundSa::new(inbound).unwrap()),
        path,
        local: Arc::clone(&all),
        remote: all,
    });
    builder.build()
}

/// Two namespaces with a veth between, addresses on both ends.
pub(crate) fn wire(on_left: Ends, on_right: Ends) -> (Namespace, Namespace) {
    let (left, right) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
    left.netlink().unwrap().create_veth("wan", "wan", Some(right.as_fd())).unwrap();
    for (namespace, own) in [(&left, on_left), (&right, on_right)] {
        namespace.loopback_up().unwrap();
        let mut netlink = namespace.netlink().unwrap();
        let index = netlink.link_by_name("wan").unwrap().unwrap().index;
        netlink.add_address(&Address::new(index, own.outer.into(), 24)).unwrap();
        netlink
            .set_link(index, &LinkChange { up: Some(true), no_link_local: true, ..LinkChange::default() })
            .unwrap();
    }
    (left, right)
}
