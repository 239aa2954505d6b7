//! The `show bgp` pages, laid out as routers lay them out.

use control::view::{
    BgpNeighbor, BgpPath, BgpPrefix, BgpRoutes, BgpSummary, BgpSummaryRow, BgpTable, BgpTimer, NamedCount,
};

use super::table::{Table, age, maybe_age, or_dash, sanitised};

pub(crate) fn bgp_summary(view: &BgpSummary) -> String {
    let mut out = format!(
        "BGP router identifier {}, local AS {}\ntable version {}, {} prefixes\n\n",
        view.router_id, view.asn, view.table_version, view.rib_count
    );
    let mut table = Table::new(&[
        "Neighbor",
        "V",
        "AS",
        "MsgRcvd",
        "MsgSent",
        "TblVer",
        "InQ",
        "OutQ",
        "Up/Down",
        "State/PfxRcd",
        "PfxSnt",
        "Name",
    ]);
    for peer in &view.peers {
        table.row(summary_row(peer));
    }
    out.push_str(&table.print());
    out.push_str(&format!("\n{} neighbors\n", view.peers.len()));
    out
}

fn summary_row(peer: &BgpSummaryRow) -> Vec<String> {
    vec![
        peer.address.clone(),
        peer.version.to_string(),
        peer.remote_as.to_string(),
        peer.msg_rcvd.to_string(),
        peer.msg_sent.to_string(),
        peer.table_version.to_string(),
        peer.inq.to_string(),
        peer.outq.to_string(),
        age(peer.peer_uptime),
        state_or_count(peer),
        peer.pfx_snt.to_string(),
        peer.name.clone(),
    ]
}

/// A number when Established; else the state, with the reason in brackets where there is one.
fn state_or_count(peer: &BgpSummaryRow) -> String {
    match (peer.state.as_str(), peer.peer_state.as_str()) {
        ("Established", "OK" | "") => peer.pfx_rcd.to_string(),
        ("Established", why) => format!("{} ({why})", peer.pfx_rcd),
        (state, "" | "OK") => state.to_owned(),
        (state, why) => format!("{state} ({why})"),
    }
}

pub(crate) fn bgp_neighbors(view: &[BgpNeighbor]) -> String {
    view.iter().map(neighbor).collect::<Vec<_>>().join("\n")
}

fn neighbor(n: &BgpNeighbor) -> String {
    let s = &n.summary;
    let mut out = format!(
        "BGP neighbor {} ({}), remote AS {}, local AS {}, external link\n",
        s.address, s.name, s.remote_as, s.local_as
    );
    let tunnel = s.tunnel.as_ref().map_or_else(|| "no tunnel".to_owned(), |t| format!("tunnel {t}"));
    out.push_str(&format!(
        "  BGP version {}, remote router ID {}, local router ID {}, through {tunnel}\n  BGP state = {}, for {}\n",
        s.version,
        n.remote_router_id.as_deref().unwrap_or("unknown"),
        n.local_router_id,
        state_or_count(s),
        age(s.peer_uptime)
    ));
    out.push_str(&format!(
        "  Last read {} ago, last write {} ago\n  Hold time is {}, keepalive interval is {}\n",
        maybe_age(n.last_read),
        maybe_age(n.last_write),
        timer(n.hold_time),
        timer(n.keepalive)
    ));
    out.push_str(&capabilities(n));
    out.push_str(&messages(n));
    out.push_str(&policy(n));
    out.push_str(&connection(n));
    out
}

fn timer(timer: BgpTimer) -> String {
    match timer.negotiated {
        Some(agreed) => format!("{agreed}s (configured {}s)", timer.configured),
        None => format!("{}s configured", timer.configured),
    }
}

fn capabilities(n: &BgpNeighbor) -> String {
    let mut out = "  Neighbor capabilities:\n".to_owned();
    for capability in &n.capabilities {
        let who = match (capability.advertised, capability.received) {
            (true, true) => "advertised and received",
            (true, false) => "advertised",
            (false, true) => "received",
            (false, false) => "neither",
        };
        out.push_str(&format!("    {}: {who}\n", capability.name));
    }
    out
}

fn messages(n: &BgpNeighbor) -> String {
    let mut table = Table::new(&["  Message", "Sent", "Rcvd"]);
    for count in &n.messages {
        table.row(vec![format!("  {}", count.name), count.sent.to_string(), count.received.to_string()]);
    }
    table.row(vec!["  Total".to_owned(), n.summary.msg_sent.to_string(), n.summary.msg_rcvd.to_string()]);
    table.print()
}

fn policy(n: &BgpNeighbor) -> String {
    let limit = |limit: Option<usize>| limit.map_or_else(|| "no limit".to_owned(), |l| format!("limit {l}"));
    format!(
        "  Import {}, {} received ({}), {} accepted{}\n  Export {}, {} announced ({})\n  End-of-RIB received {}, sent {}\n",
        n.import,
        n.summary.pfx_rcd,
        limit(n.max_prefix),
        n.accepted,
        refused(&n.refused),
        n.export,
        n.summary.pfx_snt,
        limit(n.max_prefix_out),
        or_dash(&n.eor_received.join(", ")),
        or_dash(&n.eor_sent.join(", ")),
    )
}

fn refused(list: &[NamedCount]) -> String {
    list.iter().filter(|c| c.count > 0).map(|c| format!(", {} {}", c.count, c.name)).collect()
}

fn connection(n: &BgpNeighbor) -> String {
    let s = &n.summary;
    let mut out = format!(
        "  Connections established {}, dropped {}\n  Last reset {}, due to {}\n",
        s.connections_established,
        s.connections_dropped,
        n.last_reset.map_or_else(|| "never".to_owned(), |ago| format!("{} ago", age(ago))),
        n.last_reset_due_to.as_deref().map_or_else(|| "-".to_owned(), sanitised),
    );
    if let Some(code) = &n.last_error_code_subcode {
        out.push_str(&format!("  Last NOTIFICATION {code}\n"));
    }
    out.push_str(&format!(
        "  Local host {}, foreign host {}, next hop {}, {} hops, MD5 {}\n",
        n.host_local.as_deref().unwrap_or("-"),
        n.host_foreign.as_deref().unwrap_or("-"),
        n.nexthop.as_deref().unwrap_or("-"),
        n.multihop,
        if n.authentication_enabled { "yes" } else { "no" }
    ));
    if let Some(retry) = n.connect_retry_in {
        out.push_str(&format!("  Next connect in {}\n", age(retry)));
    }
    out
}

pub(crate) fn bgp_table(view: &BgpTable) -> String {
    if view.detail {
        return view.prefixes.iter().map(prefix_detail).collect();
    }
    let mut out = format!(
        "BGP table version {}, router ID {}, local AS {}\nStatus: * valid, > best. Origin: i IGP, e EGP, ? incomplete\n\n",
        view.table_version, view.router_id, view.local_as
    );
    let mut table = Table::new(&["", "Network", "Next Hop", "Metric", "LocPrf", "Weight", "Path"]);
    for prefix in &view.prefixes {
        for path in &prefix.paths {
            table.row(path_row(&prefix.prefix, path));
        }
    }
    out.push_str(&table.print());
    out.push_str(&format!("\n{} prefixes\n", view.prefixes.len()));
    out
}

fn path_row(prefix: &str, path: &BgpPath) -> Vec<String> {
    vec![
        marks(path),
        prefix.to_owned(),
        path.nexthop.clone(),
        path.med.map(|med| med.to_string()).unwrap_or_default(),
        path.local_pref.to_string(),
        path.weight.to_string(),
        format!("{} {}", path.aspath, path.origin).trim().to_owned(),
    ]
}

fn marks(path: &BgpPath) -> String {
    format!("{}{}", if path.valid { "*" } else { " " }, if path.best { ">" } else { " " })
}

fn prefix_detail(prefix: &BgpPrefix) -> String {
    let best = prefix.paths.iter().position(|path| path.best).map_or(0, |index| index + 1);
    let told =
        if prefix.advertised_to.is_empty() { "nobody".to_owned() } else { prefix.advertised_to.join(" ") };
    let mut out = format!(
        "BGP routing table entry for {}\nPaths: {} available, best #{best}\n  Announced to {told}\n",
        prefix.prefix,
        prefix.paths.len()
    );
    for path in &prefix.paths {
        out.push_str(&path_detail(path));
    }
    out
}

fn path_detail(path: &BgpPath) -> String {
    let med = path.med.map_or_else(String::new, |med| format!(", metric {med}"));
    let origin = match path.origin.as_str() {
        "i" => "IGP",
        "e" => "EGP",
        _ => "incomplete",
    };
    let mut flags = Vec::new();
    flags.push(if path.valid { "valid" } else { "not valid" });
    flags.push(if path.aspath.is_empty() { "local" } else { "external" });
    if path.best {
        flags.push("best");
    }
    if path.fib_installed {
        flags.push("in the kernel");
    }
    let communities = if path.communities.is_empty() {
        String::new()
    } else {
        format!("      communities {}\n", path.communities.join(" "))
    };
    format!(
        "  {}\n    {} from {} {} ({})\n      origin {origin}{med}, localpref {}, weight {}, {} ({})\n{communities}      last update {} ago\n",
        if path.aspath.is_empty() { "Local" } else { &path.aspath },
        path.nexthop,
        path.peer,
        path.peer_address,
        path.peer_id,
        path.local_pref,
        path.weight,
        flags.join(", "),
        path.reason,
        age(path.age)
    )
}

pub(crate) fn bgp_routes(view: &BgpRoutes) -> String {
    let mut table = Table::new(&["", "Network", "Next Hop", "Metric", "Path", "Verdict"]);
    for route in &view.routes {
        table.row(vec![
            if route.accepted { "*" } else { "" }.to_owned(),
            route.prefix.clone(),
            route.path.nexthop.clone(),
            route.path.med.map(|med| med.to_string()).unwrap_or_default(),
            format!("{} {}", route.path.aspath, route.path.origin).trim().to_owned(),
            route.verdict.clone(),
        ]);
    }
    format!(
        "{} routes, neighbor {}\n\n{}\n{} prefixes\n",
        view.kind,
        view.neighbor,
        table.print(),
        view.routes.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_established_neighbour_shows_its_prefix_count_and_a_policy_its_name() {
        let peer = |state: &str, peer_state: &str| {
            state_or_count(&BgpSummaryRow {
                state: state.into(),
                peer_state: peer_state.into(),
                pfx_rcd: 3,
                ..BgpSummaryRow::default()
            })
        };
        assert_eq!(peer("Established", "OK"), "3");
        assert_eq!(peer("Established", "Policy"), "3 (Policy)");
        assert_eq!(peer("Active", "Tunnel"), "Active (Tunnel)");
        assert_eq!(peer("Connect", ""), "Connect");
    }
}
