//! What changes around a tunnel while it is dialled or up: our address, and its neighbours.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use ::tunnel::TunnelId;
use ike::{Event, Role};

use crate::gateway::Gateway;
use crate::many::NoSecrets;
use crate::tunnels::children::tests::child;
use crate::tunnels::dial::Dial;
use crate::underlay::{Address, Link, Underlay, UnderlayRoute};
use crate::{Effect, Input, KernelView};

const WAN: u32 = 2;
const TUNNEL: TunnelId = TunnelId(1);

/// Our outer address is whatever the interface has.
fn file(start: &str) -> String {
    format!(
        "[router]\nid = \"192.168.1.1\"\nasn = 65510\n[bgp]\nredistribute = [\"connected\"]\n\
         [tunnel.t]\nlocal = \"eth0\"\nremote = \"198.18.0.1\"\nstart = \"{start}\"\n\
         psk = {{ value = \"shared\" }}\n[tunnel.t.interface]\nname = \"vti1\"\n\
         [bgp.neighbor.n]\naddress = \"172.16.0.1\"\nasn = 65515\ntunnel = \"t\"\n\
         source = \"192.168.1.1\"\nimport = \"any\"\nexport = \"any\"\n"
    )
}

/// The interface has this address alone, and no other host on its link.
fn view(address: &str) -> KernelView {
    let default = UnderlayRoute {
        prefix: "0.0.0.0/0".parse().unwrap(),
        gateway: None,
        ifindex: WAN,
        source: None,
        metric: 0,
        protocol: 4,
        mtu: None,
    };
    let address: IpAddr = address.parse().unwrap();
    let underlay = Underlay {
        links: [(WAN, Link { name: "eth0".into(), mtu: 1500, up: true })].into(),
        addresses: vec![Address { ifindex: WAN, address, prefix: inet::Prefix::host(address) }],
        routes: vec![default],
        unread: Vec::new(),
    };
    KernelView { underlay, ours: Vec::new() }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
    Instant::now()
}

fn gateway(text: &str, now: Instant) -> Gateway {
    let plan = config::load("causeway.toml", text, &NoSecrets).map_err(|errors| errors.to_string());
    let mut gateway = Gateway::new(plan.unwrap().gateway, [7; 32], NonZeroU32::MIN, now);
    gateway.handle(Input::Kernel(view("203.0.113.1")), now);
    gateway.handle(Input::DeviceReady { tunnel: TUNNEL, outcome: Ok(100) }, now);
    gateway
}

fn guards(gateway: &Gateway, address: &str) -> bool {
    gateway.guarded.contains(&address.parse::<IpAddr>().unwrap())
}

#[test]
fn the_address_a_dial_goes_out_from_is_guarded_from_then_on_and_the_one_before_no_more() {
    let now = now();
    let mut gateway = gateway(&file("on-demand"), now);
    assert!(!guards(&gateway, "203.0.113.1"), "nothing came from it yet");
    gateway.dial(TUNNEL, now);
    gateway.handle(Input::Time, now);
    assert!(guards(&gateway, "203.0.113.1"));
    gateway.handle(Input::Kernel(view("203.0.113.7")), now);
    assert!(guards(&gateway, "203.0.113.7") && !guards(&gateway, "203.0.113.1"));
}

#[test]
fn wherever_the_peer_is_found_it_is_guarded_for_as_long_as_it_is_there() {
    let now = now();
    let mut gateway = gateway(&file("respond"), now);
    let mut up = child(1, None, Role::Responder);
    up.path = ike::Path::ike("203.0.113.1".parse().unwrap(), "198.18.0.99".parse().unwrap());
    gateway.ike_event(Event::ChildUp(Box::new(up)), now);
    gateway.handle(Input::Time, now);
    assert!(guards(&gateway, "203.0.113.1") && guards(&gateway, "198.18.0.99"));
    // Back at the one of the file, which is guarded all the time.
    let path = ike::Path::ike("203.0.113.1".parse().unwrap(), "198.18.0.1".parse().unwrap());
    gateway.ike_event(Event::PathChanged { conn: ike::ConnId(TUNNEL.0), ike: ike::IkeId(1), path }, now);
    gateway.handle(Input::Time, now);
    assert!(guards(&gateway, "198.18.0.1") && !guards(&gateway, "198.18.0.99"));
}

#[test]
fn a_dial_from_an_address_that_is_gone_begins_anew_from_the_one_there_is() {
    for start in ["initiate", "on-demand"] {
        let now = now();
        let mut gateway = gateway(&file(start), now);
        gateway.dial(TUNNEL, now);
        gateway.handle(Input::Time, now);
        let tunnel = gateway.tunnels.get(&TUNNEL).unwrap();
        assert_eq!(tunnel.local, Some("203.0.113.1".parse().unwrap()));
        gateway.handle(Input::Kernel(view("203.0.113.7")), now);
        let tunnel = gateway.tunnels.get(&TUNNEL).unwrap();
        assert!(matches!(tunnel.dial, Dial::Dialing { .. }), "{start}: {:?}", tunnel.dial);
        let status = gateway.ike.ike_status(tunnel.conn());
        let from: Vec<IpAddr> = status.iter().map(|sa| sa.path.local.ip()).collect();
        assert_eq!(from, ["203.0.113.7".parse::<IpAddr>().unwrap()]);
    }
}

#[test]
fn a_tunnel_whose_only_silent_neighbour_is_taken_out_is_up_from_then_on() {
    let begin = now();
    let mut gateway = gateway(&file("respond"), begin);
    gateway.ike_event(Event::ChildUp(Box::new(child(1, None, Role::Responder))), begin);
    gateway.handle(Input::Time, begin);
    while let Some(effect) = gateway.poll_effect() {
        drop::<Effect>(effect);
    }
    assert!(!gateway.tunnels.get(&TUNNEL).unwrap().was_up, "its session is not");
    let later = begin + Duration::from_secs(5);
    gateway.neighbors_of(TUNNEL).into_iter().for_each(|id| gateway.remove_neighbor(id, later));
    gateway.handle(Input::Time, later);
    let tunnel = gateway.tunnels.get(&TUNNEL).unwrap();
    assert_eq!((tunnel.was_up, tunnel.since), (true, later));
    let said = std::iter::from_fn(|| gateway.poll_effect())
        .any(|effect| matches!(effect, Effect::Log(line) if line.text.contains("is UP")));
    assert!(said);
}
