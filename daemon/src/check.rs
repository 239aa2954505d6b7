//! `causeway check`: the file as `run` would read it, and what this host would do to it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};

use config::{Gateway, Routes};
use kernel::netlink::{Netlink, RouteFilter};
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
    let ours: BTreeSet<IpAddr> =
        netlink.addresses(None).unwrap_or_default().iter().map(|address| address.address).collect();
    for tunnel in plan.tunnels.values() {
        for address in tunnel.local.addresses().filter(|address| !ours.contains(address)) {
            remarks.push(format!("tunnel {}: local address {address} is not on this host", tunnel.name));
        }
    }
    for neighbor in plan.bgp.iter().flat_map(|bgp| bgp.neighbors.values()) {
        let on_tunnel = |address: IpAddr| {
            plan.tunnels.values().any(|t| t.interface.addresses.iter().any(|a| a.address == address))
        };
        if let Some(source) = neighbor.session.source.filter(|a| !ours.contains(a) && !on_tunnel(*a)) {
            remarks.push(format!("neighbor {}: source {source} is not on this host", neighbor.session.name));
        }
    }
    remarks.extend(winning_routes(plan, &mut netlink));
    remarks
}

fn winning_routes(plan: &Gateway, netlink: &mut Netlink) -> Vec<String> {
    let filter = RouteFilter { table: Some(Routes::MAIN), ..RouteFilter::default() };
    let routes = netlink.routes(filter).unwrap_or_default();
    let mut remarks = Vec::new();
    for tunnel in plan.tunnels.values() {
        for prefix in &tunnel.interface.routes {
            for route in
                routes.iter().filter(|route| route.prefix == *prefix && route.metric < plan.routes.metric)
            {
                if route.protocol != gateway::PROTOCOL {
                    remarks.push(format!(
                        "tunnel {}: the route {prefix} in main has metric {} and wins over ours with {}",
                        tunnel.name, route.metric, plan.routes.metric
                    ));
                }
            }
        }
    }
    remarks
}

/// Source translation on the way out would rewrite what the tunnel carries only if it leaves in clear, but a
/// translated IKE packet changes NAT detection. nftables has no stable reader but its own program.
fn masquerade() -> Option<String> {
    let output = Command::new("nft").args(["list", "ruleset"]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.contains("masquerade").then(|| {
        "a masquerade rule is loaded: exclude UDP 500 and 4500 and protocol 50 from it, and traffic into the tunnels"
            .to_owned()
    })
}
