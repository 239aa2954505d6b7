//! `show bgp summary` and `show bgp neighbors`, laid out as routers lay them out.

use control::utc;
use control::view::{BgpFamily, BgpNeighbor, BgpRestart, BgpSummary, BgpSummaryRow, BgpTimer, NamedCount};

use super::table::{Table, age, maybe_age, octets, or_dash, sanitised};

pub(crate) fn bgp_summary(view: &BgpSummary) -> String {
    let mut out = format!(
        "BGP router identifier {}, local AS number {}, VRF {}\n\
         BGP table version {}, {} RIB entries, using {}\n\
         Peers {}, using {}, peer groups {}\n\n",
        view.router_id,
        view.asn,
        view.vrf_name,
        view.table_version,
        view.rib_count,
        octets(view.rib_memory as u64),
        view.peer_count,
        octets(view.peer_memory as u64),
        view.peer_group_count,
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
        "Desc",
    ]);
    for peer in &view.peers {
        table.row(summary_row(peer));
    }
    out.push_str(&table.print());
    out.push_str(&format!(
        "\nTotal number of neighbors {}, not established {}\n",
        view.total_peers, view.failed_peers
    ));
    if view.strangers > 0 {
        out.push_str(&format!("Connections from no neighbor's address: {}\n", view.strangers));
    }
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
        sanitised(&peer.desc),
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
    let mut out = identity(n);
    out.push_str(&times(n));
    out.push_str(&capabilities(n));
    out.push_str(&restart(&n.graceful_restart));
    out.push_str(&messages(n));
    out.push_str(&policy(n));
    n.address_families.iter().for_each(|family| out.push_str(&address_family(family)));
    out.push_str(&connection(n));
    out.push_str(&troubles(n));
    out
}

fn identity(n: &BgpNeighbor) -> String {
    let s = &n.summary;
    let link = if n.nbr_external_link { "external" } else { "internal" };
    let mut out = format!(
        "BGP neighbor {} ({}), remote AS {}, local AS {}, {link} link\n",
        s.address, s.name, s.remote_as, s.local_as
    );
    if !s.desc.is_empty() {
        out.push_str(&format!("  Description: {}\n", sanitised(&s.desc)));
    }
    if let Some(host) = &s.hostname {
        let domain = s.domainname.as_ref().map_or_else(String::new, |domain| format!(", domain {domain}"));
        out.push_str(&format!("  Hostname: {host}{domain}\n"));
    }
    if let Some(software) = &s.software_version {
        out.push_str(&format!("  Software: {software}\n"));
    }
    let tunnel = s.tunnel.as_ref().map_or_else(|| "no tunnel".to_owned(), |t| format!("tunnel {t}"));
    out.push_str(&format!(
        "  BGP version {}, remote router ID {}, local router ID {}, through {tunnel}\n  BGP state = {}, for {}\n",
        s.version,
        n.remote_router_id.as_deref().unwrap_or("unknown"),
        n.local_router_id,
        state_or_count(s),
        age(s.peer_uptime)
    ));
    if let Some(since) = s.peer_uptime_established_epoch {
        out.push_str(&format!("  Established since {}\n", utc(since)));
    }
    if let Some(reason) = &s.reason {
        out.push_str(&format!("  Because: {}\n", sanitised(reason)));
    }
    out
}

fn times(n: &BgpNeighbor) -> String {
    format!(
        "  Last read {} ago, last write {} ago, last UPDATE {} ago\n  \
         Hold time is {}, keepalive interval is {}, send hold time is {}\n  \
         Minimum time between advertisement runs is {} seconds\n",
        maybe_age(n.last_read),
        maybe_age(n.last_write),
        maybe_age(n.in_update_elapsed),
        timer(n.hold_time),
        timer(n.keepalive),
        timer(n.send_hold_time),
        n.min_advertisement_interval,
    )
}

fn timer(timer: BgpTimer) -> String {
    let left = timer.remaining.map_or_else(String::new, |left| format!(", {left}s left"));
    match timer.negotiated {
        Some(agreed) => format!("{agreed}s (configured {}s{left})", timer.configured),
        None => format!("{}s configured{left}", timer.configured),
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

fn restart(r: &BgpRestart) -> String {
    let mut out = format!("  Graceful restart: local mode {}", r.local_mode);
    match (r.offered, r.restart_time) {
        (true, Some(time)) => out.push_str(&format!(
            ", peer needs {time}s{}{} and keeps {}\n",
            if r.restarting { ", has restarted (R)" } else { "" },
            if r.notification { ", also over a NOTIFICATION (N)" } else { "" },
            if r.families.is_empty() { "nothing".to_owned() } else { r.families.join(", ") }
        )),
        _ => out.push_str(", not offered by the peer\n"),
    }
    if r.stale > 0 {
        let left = r.remaining.map_or_else(String::new, |left| format!(", {} left to come back", age(left)));
        out.push_str(&format!("    {} stale routes{left}\n", r.stale));
    }
    out
}

fn address_family(f: &BgpFamily) -> String {
    let limit = |limit: Option<usize>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let held = if f.held_back > 0 {
        format!(", {} HELD BACK: the neighbor takes no more", f.held_back)
    } else {
        String::new()
    };
    format!(
        "  For address family {}{}\n    \
         Inbound soft reconfiguration {}, communities sent: {}\n    \
         {} received, {} accepted (filter {}{}), maximum {}, warning at {}\n    \
         {} announced (filter {}{}), maximum {}{held}\n",
        f.family,
        if f.negotiated { "" } else { " (not negotiated)" },
        if f.soft_reconfiguration { "always" } else { "never" },
        f.communities_sent,
        f.received_prefix_counter,
        f.accepted_prefix_counter,
        f.incoming_update_prefix_filter_list,
        if f.import_denies_all { ", which lets nothing pass" } else { "" },
        limit(f.prefix_allowed_max),
        limit(f.prefix_allowed_max_warning),
        f.sent_prefix_counter,
        f.outgoing_update_prefix_filter_list,
        if f.export_denies_all { ", which lets nothing pass" } else { "" },
        limit(f.prefix_out_allowed_max),
    )
}

/// What was counted of this peer's faults; nothing where there were none.
fn troubles(n: &BgpNeighbor) -> String {
    let p = &n.prefix_stats;
    let counted = [
        (p.withdrawn, "prefixes withdrawn"),
        (p.treated_as_withdraw, "UPDATEs treated as withdrawals"),
        (p.attributes_discarded, "attributes discarded"),
        (p.unsendable, "routes too large to send"),
        (n.connections_refused, "connections refused"),
        (n.collisions, "collisions"),
    ];
    let words: Vec<String> = counted
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let mut out = String::new();
    if !words.is_empty() {
        out.push_str(&format!("  Counted: {}\n", words.join(", ")));
    }
    if let Some(last) = &n.last_malformed {
        out.push_str(&format!("  Last malformed UPDATE {} ago: {}\n", age(last.age), last.message));
    }
    out
}

fn messages(n: &BgpNeighbor) -> String {
    let mut table = Table::new(&["  Message", "Sent", "Rcvd"]);
    for count in &n.messages {
        table.row(vec![format!("  {}", count.name), count.sent.to_string(), count.received.to_string()]);
    }
    table.row(vec!["  Total".to_owned(), n.summary.msg_sent.to_string(), n.summary.msg_rcvd.to_string()]);
    format!("{}  Queue depth in {}, out {}\n", table.print(), n.summary.inq, n.summary.outq)
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
        n.last_reset
            .map_or_else(|| "never".to_owned(), |ago| format!("{} ago{}", age(ago), at(n.last_reset_epoch))),
        n.last_reset_due_to.as_deref().map_or_else(|| "-".to_owned(), sanitised),
    );
    if let Some(code) = &n.last_error_code_subcode {
        out.push_str(&format!("  Last NOTIFICATION {code}\n"));
    }
    out.push_str(&format!(
        "  Local host {}, foreign host {}, next hop {}\n  BGP connection: {}, {} hops, opened by {}{}, MD5 {}\n  TCP MSS {}, in use {}, estimated round-trip time {}\n",
        n.host_local.as_deref().unwrap_or("-"),
        n.host_foreign.as_deref().unwrap_or("-"),
        n.nexthop.as_deref().unwrap_or("-"),
        n.bgp_connection,
        n.multihop,
        n.connected_by.as_deref().unwrap_or("-"),
        if n.passive { " (passive)" } else { "" },
        if n.authentication_enabled { "yes" } else { "no" },
        n.tcp_mss_configured.map_or_else(|| "by the kernel".to_owned(), |mss| format!("configured {mss}")),
        n.tcp_mss_synced.map_or_else(|| "-".to_owned(), |mss| mss.to_string()),
        n.estimated_rtt_in_usecs.map_or_else(|| "-".to_owned(), milliseconds),
    ));
    if let Some(retry) = n.connect_retry_in {
        out.push_str(&format!("  Next connect in {}\n", age(retry)));
    }
    out
}

/// A time of day in brackets, where it is known.
fn at(epoch: Option<u64>) -> String {
    epoch.map_or_else(String::new, |epoch| format!(" ({})", utc(epoch)))
}

/// Microseconds as milliseconds: on a LAN whole ones would all be 0.
fn milliseconds(microseconds: u64) -> String {
    format!("{}.{:03} ms", microseconds / 1000, microseconds % 1000)
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
        assert_eq!(peer("Idle", "Transport"), "Idle (Transport)");
        assert_eq!(peer("Connect", ""), "Connect");
    }

    #[test]
    fn a_neighbours_page_says_what_kind_of_link_it_is_and_what_is_held_back() {
        let page = |external| {
            bgp_neighbors(&[BgpNeighbor {
                nbr_external_link: external,
                address_families: vec![BgpFamily {
                    family: "ipv4 unicast".into(),
                    sent_prefix_counter: 100,
                    held_back: 7,
                    prefix_out_allowed_max: Some(100),
                    ..BgpFamily::default()
                }],
                ..BgpNeighbor::default()
            }])
        };
        assert!(page(true).contains("external link") && !page(true).contains("internal link"));
        assert!(page(false).contains("internal link") && !page(false).contains("external link"));
        assert!(page(true).contains("maximum 100, 7 HELD BACK"), "{}", page(true));
    }
}
