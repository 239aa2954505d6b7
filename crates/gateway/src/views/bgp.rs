//! The `show bgp` pages.

use std::net::IpAddr;
use std::time::Instant;

use ::bgp::{
    MessageCounters, NeighborId, NeighborView, PathView, RefusedCounts, State, SummaryView, TableRow,
};
use bgp_rib::{Source, Verdict};
use bgp_wire::{Capability, PathAttributes};
use control::view::{
    BgpCapability, BgpNeighbor, BgpPath, BgpPrefix, BgpReceived, BgpRoutes, BgpSummary, BgpSummaryRow,
    BgpTable, BgpTimer, MessageCount, NamedCount,
};
use inet::{Prefix, PrefixMap};

use super::ago;
use crate::fib::Key;
use crate::gateway::Gateway;

/// The weight routers give their own routes.
const OWN_WEIGHT: u32 = 32_768;
/// LOCAL_PREF where none was set.
const LOCAL_PREF: u32 = 100;

impl Gateway {
    pub(super) fn bgp_summary_view(&self, now: Instant) -> BgpSummary {
        let config = self.speaker.config();
        BgpSummary {
            router_id: config.router_id.to_string(),
            asn: config.asn,
            table_version: self.table_version,
            rib_count: self.speaker.table_len(),
            peers: self.speaker.summary().iter().map(|summary| self.summary_row(summary, now)).collect(),
        }
    }

    fn summary_row(&self, summary: &SummaryView, now: Instant) -> BgpSummaryRow {
        let counters = self.speaker.neighbor(summary.id).map(|view| view.counters).unwrap_or_default();
        BgpSummaryRow {
            name: summary.name.to_string(),
            address: summary.address.to_string(),
            tunnel: summary.tunnel.as_ref().map(ToString::to_string),
            remote_as: summary.asn,
            local_as: summary.local_asn,
            version: 4,
            msg_rcvd: summary.messages.0,
            msg_sent: summary.messages.1,
            table_version: if summary.state == State::Established { self.table_version } else { 0 },
            inq: summary.input_queue as u64,
            outq: summary.output_queue as u64,
            peer_uptime: ago(summary.since, now),
            pfx_rcd: summary.received,
            pfx_snt: summary.sent,
            state: summary.state.to_string(),
            peer_state: peer_state(summary),
            connections_established: counters.established,
            connections_dropped: counters.dropped,
            desc: summary.description.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }

    pub(super) fn bgp_neighbors_view(
        &self,
        name: Option<&str>,
        now: Instant,
    ) -> Result<Vec<BgpNeighbor>, String> {
        let ids: Vec<NeighborId> = match name {
            Some(name) => vec![self.find_neighbor(name)?],
            None => self.neighbors.keys().copied().collect(),
        };
        Ok(ids
            .iter()
            .filter_map(|id| self.speaker.neighbor(*id))
            .map(|view| self.neighbor_page(&view, now))
            .collect())
    }

    fn neighbor_page(&self, view: &NeighborView, now: Instant) -> BgpNeighbor {
        let since = |at: Option<Instant>| at.map(|at| ago(at, now));
        let families = |pick: fn(&::bgp::FamilyView) -> bool| {
            view.families.iter().filter(|f| pick(f)).map(|f| f.family.to_string()).collect()
        };
        let negotiated = view.negotiated.as_ref();
        BgpNeighbor {
            summary: self.summary_row(&view.summary, now),
            remote_router_id: view.remote_router_id.map(|id| id.to_string()),
            local_router_id: view.local_router_id.to_string(),
            last_read: since(view.last_read),
            last_write: since(view.last_write),
            hold_time: BgpTimer {
                configured: view.configured_hold.into(),
                negotiated: negotiated.map(|n| n.hold.map_or(0, |hold| hold.as_secs())),
            },
            keepalive: BgpTimer {
                configured: view.configured_keepalive.into(),
                negotiated: negotiated.map(|n| n.keepalive.as_secs()),
            },
            capabilities: view
                .capabilities
                .iter()
                .map(|c| BgpCapability {
                    name: capability_name(&c.capability),
                    advertised: c.advertised,
                    received: c.received,
                })
                .collect(),
            messages: messages(&view.counters.sent, &view.counters.received),
            import: view.import.clone(),
            export: view.export.clone(),
            max_prefix: view.max_prefix.0.map(|limit| limit as usize),
            max_prefix_out: view.max_prefix.1.map(|limit| limit as usize),
            accepted: view.summary.accepted,
            refused: refused(view.refused),
            eor_received: families(|f| f.end_of_rib_received),
            eor_sent: families(|f| f.end_of_rib_sent),
            last_reset: view.last_reset.as_ref().map(|(at, _)| ago(*at, now)),
            last_reset_due_to: view.last_reset.as_ref().map(|(_, cause)| cause.clone()),
            last_error_code_subcode: view.last_error_code.clone(),
            host_local: view.local.map(|a| a.to_string()),
            host_foreign: view.remote.map(|a| a.to_string()),
            nexthop: view.local.map(|a| a.ip().to_string()),
            connect_retry_in: view
                .retry_at
                .or(view.idle_until)
                .map(|at| at.saturating_duration_since(now).as_secs()),
            multihop: view.multihop,
            authentication_enabled: self
                .neighbors
                .get(&view.summary.id)
                .is_some_and(|neighbor| neighbor.plan.password.is_some()),
        }
    }

    pub(super) fn bgp_table_view(&self, now: Instant) -> BgpTable {
        let prefixes = self.speaker.table().map(|row| self.prefix_row(&row, now)).collect();
        BgpTable { prefixes, ..self.table_head(false) }
    }

    pub(super) fn bgp_prefix_view(&self, text: &str, now: Instant) -> Result<BgpTable, String> {
        let prefix = self.prefix_asked(text)?;
        let view = self.speaker.prefix(prefix).ok_or_else(|| format!("{prefix} is not in the table"))?;
        let mut row = self.prefix_row(&view.row, now);
        row.advertised_to = view.advertised_to.iter().map(|(_, name)| name.to_string()).collect();
        for (id, name, verdict) in &view.refused {
            row.paths.extend(self.refused_path(*id, name, prefix, verdict, now));
        }
        Ok(BgpTable { prefixes: vec![row], ..self.table_head(true) })
    }

    /// A path that is held but kept out of the decision, with the reason.
    fn refused_path(
        &self,
        id: NeighborId,
        name: &str,
        prefix: Prefix,
        verdict: &Verdict,
        now: Instant,
    ) -> Option<BgpPath> {
        let route = self.speaker.received(id).find(|route| route.prefix == prefix)?;
        let mut path = attributes(&route.attributes);
        path.peer = name.to_owned();
        path.peer_address = self.neighbors.get(&id).map(|n| n.address().to_string()).unwrap_or_default();
        path.reason = verdict.to_string();
        path.age = ago(route.since, now);
        Some(path)
    }

    fn prefix_asked(&self, text: &str) -> Result<Prefix, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let map: PrefixMap<()> = self.speaker.table().map(|row| (row.prefix, ())).collect();
            let found = map.longest_match(address).map(|(prefix, ())| prefix);
            return found.ok_or_else(|| format!("no prefix of the table holds {address}"));
        }
        text.parse::<Prefix>().map_err(|error| error.to_string())
    }

    fn table_head(&self, detail: bool) -> BgpTable {
        let config = self.speaker.config();
        BgpTable {
            router_id: config.router_id.to_string(),
            local_as: config.asn,
            table_version: self.table_version,
            prefixes: Vec::new(),
            detail,
        }
    }

    fn prefix_row(&self, row: &TableRow, now: Instant) -> BgpPrefix {
        let key = Key { table: self.plan.routes.table, prefix: row.prefix };
        let installed = self.fib.is_installed(&key);
        BgpPrefix {
            prefix: row.prefix.to_string(),
            paths: row.paths.iter().map(|path| table_path(path, installed, now)).collect(),
            advertised_to: Vec::new(),
        }
    }

    pub(super) fn bgp_received_view(
        &self,
        name: &str,
        accepted: bool,
        now: Instant,
    ) -> Result<BgpRoutes, String> {
        let id = self.find_neighbor(name)?;
        let routes = self
            .speaker
            .received(id)
            .filter(|route| !accepted || route.verdict.is_accepted())
            .map(|route| {
                let mut path = attributes(&route.attributes);
                path.best = route.best;
                path.valid = route.verdict.is_accepted();
                path.age = ago(route.since, now);
                BgpReceived {
                    prefix: route.prefix.to_string(),
                    path,
                    verdict: route.verdict.to_string(),
                    accepted: route.verdict.is_accepted(),
                }
            })
            .collect();
        let kind = if accepted { "accepted" } else { "received" };
        Ok(BgpRoutes { neighbor: name.to_owned(), kind: kind.to_owned(), routes })
    }

    pub(super) fn bgp_advertised_view(&self, name: &str, _now: Instant) -> Result<BgpRoutes, String> {
        let id = self.find_neighbor(name)?;
        let routes = self
            .speaker
            .advertised(id)
            .map(|route| BgpReceived {
                prefix: route.prefix.to_string(),
                path: attributes(&route.attributes),
                verdict: "announced".to_owned(),
                accepted: true,
            })
            .collect();
        Ok(BgpRoutes { neighbor: name.to_owned(), kind: "advertised".to_owned(), routes })
    }
}

fn peer_state(summary: &SummaryView) -> String {
    let bracket = summary.state_word.split_once('(').map(|(_, rest)| rest.trim_end_matches(')'));
    match (bracket, summary.state) {
        (Some(word), _) => word.to_owned(),
        (None, State::Established) => "OK".to_owned(),
        (None, _) => String::new(),
    }
}

fn messages(sent: &MessageCounters, received: &MessageCounters) -> Vec<MessageCount> {
    let rows = [
        ("OPEN", sent.opens, received.opens),
        ("UPDATE", sent.updates, received.updates),
        ("NOTIFICATION", sent.notifications, received.notifications),
        ("KEEPALIVE", sent.keepalives, received.keepalives),
        ("ROUTE-REFRESH", sent.route_refreshes, received.route_refreshes),
    ];
    rows.into_iter()
        .map(|(name, sent, received)| MessageCount { name: name.to_owned(), sent, received })
        .collect()
}

fn refused(counts: RefusedCounts) -> Vec<NamedCount> {
    [
        ("denied by policy", counts.policy),
        ("kept out by the guard", counts.guard),
        ("with our AS in the path", counts.as_loop),
        ("with an unusable next hop", counts.next_hop),
    ]
    .into_iter()
    .map(|(name, count)| NamedCount { name: name.to_owned(), count: count as u64 })
    .collect()
}

fn table_path(view: &PathView, installed: bool, now: Instant) -> BgpPath {
    let mut path = attributes(&view.path.attributes);
    path.valid = true;
    path.best = view.best;
    path.reason = view.step.to_string();
    path.age = ago(view.path.since, now);
    path.fib_installed = installed && view.best;
    match &view.path.source {
        Source::Local => {
            path.weight = OWN_WEIGHT;
            path.nexthop = "0.0.0.0".to_owned();
            path.peer = "ourselves".to_owned();
            path.fib_installed = false;
        }
        Source::Neighbor(peer) => {
            path.peer = view.neighbor.as_ref().map(ToString::to_string).unwrap_or_default();
            path.peer_address = peer.address.to_string();
            path.peer_id = peer.router_id.to_string();
        }
    }
    path
}

fn attributes(attributes: &PathAttributes) -> BgpPath {
    let standard = attributes.communities.iter().map(ToString::to_string);
    let large = attributes.large_communities.iter().map(ToString::to_string);
    BgpPath {
        aspath: attributes.as_path.to_string(),
        origin: attributes.origin.letter().to_string(),
        med: attributes.med,
        local_pref: attributes.local_pref.unwrap_or(LOCAL_PREF),
        nexthop: attributes.next_hop.address().to_string(),
        communities: standard.chain(large).collect(),
        ..BgpPath::default()
    }
}

/// As routers name them.
fn capability_name(capability: &Capability) -> String {
    match capability {
        Capability::Multiprotocol { afi: 1, safi: 1 } => "multiprotocol IPv4 unicast".to_owned(),
        Capability::Multiprotocol { afi: 2, safi: 1 } => "multiprotocol IPv6 unicast".to_owned(),
        Capability::Multiprotocol { afi, safi } => format!("multiprotocol AFI {afi} SAFI {safi}"),
        Capability::RouteRefresh => "route refresh".to_owned(),
        Capability::ExtendedMessage => "extended message".to_owned(),
        Capability::GracefulRestart(restart) => format!("graceful restart ({} s)", restart.time),
        Capability::As4(asn) => format!("4-octet AS ({asn})"),
        Capability::EnhancedRefresh => "enhanced route refresh".to_owned(),
        Capability::Fqdn { host, domain } => format!("hostname ({host}.{domain})"),
        Capability::Unknown { code, .. } => format!("capability {code:?}"),
    }
}
