//! A thousand tunnels: a change of one looks at that one, and at those that share an address with it.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ::tunnel::TunnelId;
use config::{Host, SecretError};
use crypto::Secret;
use inet::Prefix;

use crate::fib::Origin;
use crate::gateway::Gateway;
use crate::looks;
use crate::tunnels::dial::Dial;
use crate::underlay::{Address, Link, Underlay, UnderlayRoute};
use crate::{Effect, Hop, Input, KernelView};

const WAN: u32 = 2;
/// The device of tunnel n has this index and n.
const DEVICES: u32 = 100;

/// No file has a secret here.
pub(crate) struct NoSecrets;

impl Host for NoSecrets {
    fn file(&self, _: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NoCredentials)
    }

    fn credential(&self, _: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NoCredentials)
    }

    fn table(&self, _: &str) -> Option<u32> {
        None
    }
}

/// So many tunnels, each with a peer and a neighbour of its own; but all of the last two alike.
fn file(tunnels: u32) -> String {
    let mut text = "[router]\nid = \"203.0.113.1\"\nasn = 65510\n".to_owned();
    for n in 1..=tunnels {
        let own = n.min(tunnels - 1);
        let (high, low) = (own >> 8, own & 255);
        write!(
            text,
            "[tunnel.t{n:04}]\nlocal = \"203.0.113.1\"\nremote = \"198.18.{high}.{low}\"\nstart = \"respond\"\n\
             psk = {{ value = \"shared\" }}\nremote_id = \"keyid:{n}\"\n\
             [tunnel.t{n:04}.interface]\nname = \"vti{n}\"\n\
             [bgp.neighbor.n{n:04}]\naddress = \"172.16.{high}.{low}\"\nasn = 65515\ntunnel = \"t{n:04}\"\n\
             source = \"192.168.1.1\"\nimport = \"any\"\nexport = \"any\"\n"
        )
        .unwrap();
    }
    text
}

fn underlay() -> Underlay {
    let address = |ifindex, address: &str, prefix: &str| Address {
        ifindex,
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
    };
    let default = UnderlayRoute {
        prefix: "0.0.0.0/0".parse().unwrap(),
        gateway: Some("203.0.113.254".parse().unwrap()),
        ifindex: WAN,
        source: None,
        metric: 0,
        protocol: 4,
        mtu: None,
    };
    let link = |name: String| Link { name, mtu: 1500, up: true };
    let tunnels = (1..=1000).map(|n| (DEVICES + n, link(format!("vti{n}"))));
    Underlay {
        links: tunnels.chain([(WAN, link("eth0".into()))]).collect(),
        addresses: vec![address(WAN, "203.0.113.1", "203.0.113.0/24")],
        routes: vec![default],
        unread: Vec::new(),
    }
}

/// A gateway with so many tunnels. The devices of those that the tests change are there.
fn gateway(tunnels: u32) -> Gateway {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    let now = Instant::now();
    let plan = config::load("causeway.toml", &file(tunnels), &NoSecrets).map_err(|errors| errors.to_string());
    let mut gateway = Gateway::new(plan.unwrap().gateway, [7; 32], NonZeroU32::MIN, now);
    gateway.handle(Input::Kernel(KernelView { underlay: underlay(), ours: Vec::new() }), now);
    for n in [3, tunnels - 1, tunnels] {
        gateway.handle(Input::DeviceReady { tunnel: TunnelId(n), outcome: Ok(DEVICES + n) }, now);
    }
    while let Some(effect) = gateway.poll_effect() {
        drop::<Effect>(effect);
    }
    gateway
}

/// Where the routes of one origin lead, by destination.
fn led(gateway: &Gateway, origin: Origin, to: &str) -> Option<(String, Hop)> {
    let prefix = Prefix::host(to.parse().unwrap());
    let found = gateway.fib.wishes(origin).find(|(key, _)| key.prefix == prefix);
    found.map(|(_, wish)| (wish.from.clone(), wish.hop))
}

#[test]
fn a_change_of_one_tunnel_looks_at_no_other() {
    let seen = [10, 1000].map(|tunnels| {
        let mut gateway = gateway(tunnels);
        let peer = looks::of(|| gateway.want_peer_routes_of(TunnelId(3)));
        let neighbor = looks::of(|| gateway.want_static_routes(TunnelId(3)));
        let carries = looks::of(|| gateway.choose_neighbor_route(bgp::NeighborId(3)));
        (peer, neighbor, carries)
    });
    assert_eq!(seen, [(1, 1, 0); 2]);
    // Those of the last two share their addresses, and are looked at together.
    let mut gateway = gateway(1000);
    assert_eq!(looks::of(|| gateway.want_peer_routes_of(TunnelId(1000))), 2);
    assert_eq!(looks::of(|| gateway.choose_neighbor_route(bgp::NeighborId(1000))), 2);
    assert_eq!(looks::of(|| gateway.want_peer_routes()), 1000, "a change of the underlay concerns all");
}

#[test]
fn what_the_change_of_one_leaves_is_what_looking_at_all_would_leave() {
    let mut gateway = gateway(50);
    let host = |gateway: &Gateway, to: &str| led(gateway, Origin::Peer, to).map(|(from, _)| from);
    let new: IpAddr = "198.18.9.9".parse().unwrap();
    gateway.tunnels.get_mut(&TunnelId(3)).unwrap().peer = Some(new);
    gateway.want_peer_routes_of(TunnelId(3));
    assert_eq!(host(&gateway, "198.18.9.9").as_deref(), Some("t0003"));
    assert_eq!(host(&gateway, "198.18.0.3").as_deref(), Some("t0003"), "the one of the file stays");
    gateway.tunnels.get_mut(&TunnelId(3)).unwrap().peer = None;
    gateway.want_peer_routes_of(TunnelId(3));
    assert_eq!(host(&gateway, "198.18.9.9"), None);
    let before: Vec<_> = gateway.fib.wishes(Origin::Peer).map(|(key, wish)| (*key, wish.clone())).collect();
    assert_eq!(before.len(), 49);
    gateway.want_peer_routes();
    let after: Vec<_> = gateway.fib.wishes(Origin::Peer).map(|(key, wish)| (*key, wish.clone())).collect();
    assert_eq!(before, after);
}

#[test]
fn a_tunnel_that_changes_is_published_alone_and_beside_all_others() {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    let now = Instant::now();
    let mut gateway = gateway(1000);
    gateway.table_dirty = true;
    gateway.publish();
    assert_eq!(gateway.table().sizes(), (1000, 0));
    gateway.tunnels.get_mut(&TunnelId(3)).unwrap().mtu = 1300;
    gateway.table_dirty = true;
    assert_eq!(looks::of(|| gateway.publish()), 1);
    assert_eq!(gateway.table().tunnel(TunnelId(3)).unwrap().mtu, 1300);
    assert_eq!(gateway.table().sizes(), (1000, 0));
    gateway.remove_tunnel(TunnelId(7), now);
    gateway.publish();
    assert!(gateway.table().tunnel(TunnelId(7)).is_none());
    assert_eq!(gateway.table().sizes(), (999, 0));
}

#[test]
fn of_a_thousand_that_wait_to_dial_again_each_does_when_its_time_comes() {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    let now = Instant::now();
    let mut gateway = gateway(1000);
    let at = |n: u32| now + Duration::from_millis(u64::from(1 + n % 10));
    for tunnel in gateway.tunnels.values_mut() {
        tunnel.dial = Dial::BackOff { until: at(tunnel.id.0), attempt: 1 };
    }
    gateway.handle(Input::Time, now);
    for turn in 0..10 {
        assert_eq!(gateway.poll_timeout(), Some(at(turn)));
        gateway.handle(Input::Time, at(turn));
        let waiting = gateway.tunnels.values().filter(|tunnel| matches!(tunnel.dial, Dial::BackOff { .. }));
        assert_eq!(waiting.count(), 900 - 100 * turn as usize);
    }
}

#[test]
fn an_address_behind_two_tunnels_keeps_its_route_when_one_of_them_goes() {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    let now = Instant::now();
    let mut gateway = gateway(10);
    let into = |gateway: &Gateway| led(gateway, Origin::Neighbor, "172.16.0.9").map(|(from, _)| from);
    assert_eq!(into(&gateway).as_deref(), Some("t0009"));
    let first = gateway.neighbors_of(TunnelId(9));
    first.into_iter().for_each(|id| gateway.remove_neighbor(id, now));
    gateway.remove_tunnel(TunnelId(9), now);
    assert_eq!(into(&gateway).as_deref(), Some("t0010"));
    assert_eq!(led(&gateway, Origin::Peer, "198.18.0.9").map(|(from, _)| from).as_deref(), Some("t0010"));
    let second = gateway.neighbors_of(TunnelId(10));
    second.into_iter().for_each(|id| gateway.remove_neighbor(id, now));
    gateway.remove_tunnel(TunnelId(10), now);
    assert_eq!((into(&gateway), led(&gateway, Origin::Peer, "198.18.0.9")), (None, None));
}
