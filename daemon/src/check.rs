//! `causeway check`: the file as `run` would read it, and what this host would do to it.

use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use config::{Gateway, Local, LocalEnd, Routes};
use kernel::netlink::{Netlink, Route, RouteFilter, Target};
use kernel::{procnet, sysctl};

use crate::start;

/// Prints every error, or the plan and what the host has to say about it.
pub(crate) fn check(path: &Path, host: bool, out: &mut impl Write) -> ExitCode {
    let plan = match start::load(path) {
        Ok(plan) => plan,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    let mut text = plan.to_string();
    for warning in &plan.warnings {
        text.push_str(&format!("warning: {}:{warning}\n", path.display()));
    }
    if host {
        for remark in host_remarks(&plan.gateway) {
            text.push_str(&format!("host: {remark}\n"));
        }
    }
    if out.write_all(text.as_bytes()).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What of this host would get in the way, each with what to do.
fn host_remarks(plan: &Gateway) -> Vec<String> {
    let mut remarks = forwarding(plan);
    remarks.extend(holders(plan));
    remarks.extend(addresses(plan));
    remarks.extend(masquerade());
    if remarks.is_empty() {
        remarks.push("nothing stands in the way".to_owned());
    }
    remarks
}

fn forwarding(plan: &Gateway) -> Vec<String> {
    let mut remarks = Vec::new();
    if sysctl::forwards_v4().is_ok_and(|on| !on) {
        remarks.push(
            "IPv4 forwarding is off: nothing passes from the LAN (sysctl net.ipv4.ip_forward=1)".to_owned(),
        );
    }
    let v6 = plan.tunnels.values().any(|t| t.esp.remote_ts.iter().any(|ts| !ts.addresses.is_ipv4()));
    if v6 && sysctl::forwards_v6().is_ok_and(|on| !on) {
        remarks.push(
            "IPv6 forwarding is off and a tunnel carries IPv6 (sysctl net.ipv6.conf.all.forwarding=1)"
                .to_owned(),
        );
    }
    for tunnel in plan.tunnels.values() {
        let name = &tunnel.interface.name;
        if sysctl::rp_filter(name).or_else(|_| sysctl::rp_filter("default")).is_ok_and(|value| value == 1) {
            remarks.push(format!(
                "strict reverse-path filtering holds for {name}: return traffic by another tunnel is dropped \
                 (sysctl net.ipv4.conf.{name}.rp_filter=2 when several tunnels lead to the same prefixes)"
            ));
        }
    }
    remarks
}

/// Who else has the ports.
fn holders(plan: &Gateway) -> Vec<String> {
    let mut remarks = Vec::new();
    let mut say = |what: String, list: Vec<procnet::Holder>| {
        for holder in list {
            let who = if holder.processes.is_empty() {
                "a process".to_owned()
            } else {
                holder.processes.join(", ")
            };
            if !who.starts_with("causeway ") {
                remarks.push(format!("{what} is held by {who} on {}: stop it first", holder.address));
            }
        }
    };
    for port in [500, 4500] {
        say(format!("UDP port {port}"), procnet::udp_holders(&[port]).unwrap_or_default());
    }
    say("IP protocol 50".to_owned(), procnet::raw_holders(50).unwrap_or_default());
    if std::os::unix::net::UnixStream::connect(&plan.control.socket).is_ok() {
        remarks.push(format!("a causeway is running: it answers on {}", plan.control.socket.display()));
    }
    remarks
}

/// Our own addresses, and routes that would win over learned ones.
fn addresses(plan: &Gateway) -> Vec<String> {
    let Ok(mut netlink) = Netlink::open() else {
        return vec!["netlink does not open: addresses and routes were not looked at".to_owned()];
    };
    let mut remarks = Vec::new();
    let ours = own_addresses(&mut netlink);
    let has = |address: &IpAddr| ours.iter().any(|(_, own)| own == address);
    for tunnel in plan.tunnels.values() {
        for address in tunnel.local.addresses().filter(|address| !has(address)) {
            remarks.push(format!("tunnel {}: local address {address} is not on this host", tunnel.name));
        }
    }
    for neighbor in plan.bgp.iter().flat_map(|bgp| bgp.neighbors.values()) {
        let on_tunnel = |address: IpAddr| {
            plan.tunnels.values().any(|t| t.interface.addresses.iter().any(|a| a.address == address))
        };
        if let Some(source) = neighbor.session.source.filter(|a| !has(a) && !on_tunnel(*a)) {
            remarks.push(format!("neighbor {}: source {source} is not on this host", neighbor.session.name));
        }
    }
    remarks.extend(outer_and_inner(plan, &ours));
    let filter = RouteFilter { table: Some(Routes::MAIN), ..RouteFilter::default() };
    remarks.extend(winning_routes(plan, &netlink.routes(filter).unwrap_or_default()));
    remarks
}

/// The addresses of this host, each with its interface.
fn own_addresses(netlink: &mut Netlink) -> Vec<(String, IpAddr)> {
    let links = netlink.links().unwrap_or_default();
    let name = |index: u32| links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    let all = netlink.addresses(None).unwrap_or_default();
    all.iter().map(|held| (name(held.index).unwrap_or_default(), held.address)).collect()
}

/// A neighbour behind a tunnel whose address is an outer one of this very host. What is written in the file the file's
/// reader refuses; here is what only the host knows.
fn outer_and_inner(plan: &Gateway, ours: &[(String, IpAddr)]) -> Vec<String> {
    let mut remarks = Vec::new();
    for neighbor in plan.bgp.iter().flat_map(|bgp| bgp.neighbors.values()) {
        let session = &neighbor.session;
        if session.tunnel.is_none() {
            continue;
        }
        for tunnel in plan.tunnels.values() {
            let outer = |link: &str| match &tunnel.local {
                Local::Any => plan.tunnels.values().all(|tunnel| tunnel.interface.name != link),
                Local::Ends(ends) => {
                    ends.iter().any(|end| matches!(end, LocalEnd::Interface(name) if name == link))
                }
            };
            if let Some((link, _)) = ours.iter().find(|(link, own)| *own == session.address && outer(link)) {
                remarks.push(format!(
                    "neighbor {}: its address {} is this host's own on {link}, from which tunnel {} is dialled: \
                     write the address the peer has inside the tunnel",
                    session.name, session.address, tunnel.name
                ));
            }
        }
    }
    remarks
}

/// Routes of others in `main` that packets take although the file would have them in a tunnel.
fn winning_routes(plan: &Gateway, routes: &[Route]) -> Vec<String> {
    let others = || routes.iter().filter(|route| route.protocol != gateway::PROTOCOL);
    let lower = |route: &&Route| metric(route) < plan.routes.metric;
    let mut remarks = Vec::new();
    for tunnel in plan.tunnels.values() {
        for prefix in &tunnel.interface.routes {
            for route in others().filter(|route| route.prefix == *prefix).filter(lower) {
                remarks.push(format!(
                    "tunnel {}: the route {prefix} in main has metric {} and wins over ours with {}",
                    tunnel.name,
                    metric(route),
                    plan.routes.metric
                ));
            }
        }
    }
    // With a table of our own the rules look into main first, but for its default route.
    let apart = plan.routes.table != Routes::MAIN;
    let wins = |route: &&Route| if apart { !route.prefix.is_empty() } else { lower(route) };
    for neighbor in plan.bgp.iter().flat_map(|bgp| bgp.neighbors.values()) {
        let session = &neighbor.session;
        // Connected prefixes are refused at import anyway, as our own.
        let permitted = |route: &&Route| {
            !matches!(route.target, Target::Device(_)) && session.import.permits(&route.prefix)
        };
        for route in others().filter(wins).filter(permitted) {
            let how = if apart {
                "stands in main, where packets look first".to_owned()
            } else {
                format!("in main has metric {} and wins over ours with {}", metric(route), plan.routes.metric)
            };
            remarks.push(format!(
                "neighbor {}: may teach {}, but a route of that prefix {how}",
                session.name, route.prefix
            ));
        }
    }
    remarks
}

/// On an IPv6 route 0 means 1024.
fn metric(route: &Route) -> u32 {
    if route.metric == 0 && !route.prefix.is_ipv4() { 1024 } else { route.metric }
}

/// Source translation on the way out would rewrite what the tunnel carries only if it leaves in clear, but a
/// translated IKE packet changes NAT detection. nftables has no stable reader but its own program.
fn masquerade() -> Option<String> {
    let says = |program: &str, arguments: &[&str], word: &str| {
        let output = Command::new(program).args(arguments).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(word))
    };
    let loaded = says("nft", &["list", "ruleset"], "masquerade")
        || ["iptables-legacy-save", "ip6tables-legacy-save"]
            .into_iter()
            .any(|program| says(program, &["-t", "nat"], "MASQUERADE"));
    loaded.then(|| {
        "a masquerade rule is loaded: exclude UDP 500 and 4500 and protocol 50 from it, and traffic into the tunnels"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped example, with a table or metric of its own.
    fn plan(routes: &str, local: &str, address: &str) -> Gateway {
        let text = format!(
            "[router]\nid = \"203.0.113.1\"\nasn = 65510\n[routes]\n{routes}\n\
             [tunnel.t]\nlocal = {local}\nremote = \"192.0.2.1\"\npsk = {{ value = \"{}\" }}\n\
             [tunnel.t.interface]\nname = \"vti0\"\nroutes = [\"172.16.0.0/16\"]\n\
             [bgp]\n[bgp.neighbor.n]\naddress = \"{address}\"\nasn = 65515\ntunnel = \"t\"\n\
             source = \"192.168.1.1\"\nimport = \"in\"\nexport = \"none\"\n\
             [prefix_list]\nin = [{{ seq = 1, action = \"permit\", prefix = \"10.0.0.0/8\", le = 24 }}, \
             {{ seq = 2, action = \"permit\", prefix = \"0.0.0.0/0\" }}]\n",
            "a secret long enough for anyone"
        );
        let host = config::ThisHost::new(Path::new("/nowhere/causeway.toml"), None);
        config::load("causeway.toml", &text, &host).unwrap_or_else(|errors| panic!("{errors}")).gateway
    }

    fn route(prefix: &str, metric: u32) -> Route {
        let via = "192.168.1.254".parse().unwrap();
        let target = Target::Gateway { via, device: Some(2), onlink: false };
        Route { metric, ..Route::new(prefix.parse().unwrap(), 4, target) }
    }

    #[test]
    fn routes_in_main_that_win_are_named_whether_static_or_to_be_learned() {
        let main = [
            route("172.16.0.0/16", 5),
            route("10.1.0.0/16", 5),
            route("10.2.0.0/16", 100),
            route("10.3.3.0/25", 5),
            route("0.0.0.0/0", 0),
            Route { protocol: gateway::PROTOCOL, ..route("10.4.0.0/16", 5) },
            Route { target: Target::Device(2), ..route("10.5.0.0/16", 0) },
        ];
        let said = winning_routes(&plan("", "\"203.0.113.1\"", "172.16.0.254"), &main);
        let found: Vec<bool> = ["172.16.0.0/16", "10.1.0.0/16", "0.0.0.0/0"]
            .iter()
            .map(|prefix| said.iter().any(|line| line.contains(prefix)))
            .collect();
        assert_eq!((said.len(), found), (3, vec![true; 3]), "{said:?}");
        // In a table of its own a learned default wins over main's, and nothing else does.
        let said = winning_routes(&plan("table = 100", "\"203.0.113.1\"", "172.16.0.254"), &main);
        let of = |prefix: &str| said.iter().any(|line| line.starts_with("neighbor") && line.contains(prefix));
        assert!(of("10.1.0.0/16") && of("10.2.0.0/16") && !of("0.0.0.0/0"), "{said:?}");
    }

    #[test]
    fn a_neighbours_address_that_is_an_outer_one_of_the_host_is_named() {
        let ours = [
            ("eth0".to_owned(), "203.0.113.1".parse().unwrap()),
            ("lan0".to_owned(), "192.168.1.1".parse().unwrap()),
        ];
        for (local, said) in [("\"eth0\"", 1), ("\"any\"", 1), ("\"lan0\"", 0)] {
            let remarks = outer_and_inner(&plan("", local, "203.0.113.1"), &ours);
            assert_eq!(remarks.len(), said, "{local}: {remarks:?}");
        }
        assert!(outer_and_inner(&plan("", "\"eth0\"", "172.16.0.254"), &ours).is_empty());
    }
}
