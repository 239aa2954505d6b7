//! `show bgp summary` and `show bgp neighbors`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ::bgp::{
    Direction, FamilyView, MessageCounters, NeighborId, NeighborView, RefusedCounts, State, SummaryView,
};
use bgp_wire::{Capability, CapabilityCode, Family};
use control::view::{
    BgpCapability, BgpDecision, BgpFamily, BgpMalformed, BgpNeighbor, BgpPrefixStats, BgpRestart, BgpSummary,
    BgpSummaryRow, BgpTimer, MessageCount, NamedCount,
};

use super::ago;
use crate::gateway::Gateway;

impl Gateway {
    pub(super) fn bgp_summary_view(&self, now: Instant) -> BgpSummary {
        let config = self.speaker.config();
        let (rib_memory, peer_memory) = self.speaker.memory();
        let ids = self.neighbors.keys().filter_map(|id| self.speaker.neighbor(*id));
        let peers: Vec<BgpSummaryRow> = ids.map(|view| self.summary_row(&view, now)).collect();
        BgpSummary {
            router_id: config.router_id.to_string(),
            asn: config.asn,
            table_version: self.table_version,
            rib_count: self.speaker.table_len(),
            rib_memory,
            vrf_name: "default".to_owned(),
            peer_count: peers.len(),
            peer_memory,
            total_peers: peers.len(),
            displayed_peers: peers.len(),
            failed_peers: peers.iter().filter(|peer| peer.state != State::Established.to_string()).count(),
            strangers: self.strangers.count(),
            best_path: BgpDecision {
                always_compare_med: config.decision.always_compare_med,
                deterministic_med: true,
                missing_med_worst: config.decision.missing_med_worst,
                ignore_age: config.decision.ignore_age,
            },
            peers,
            ..BgpSummary::default()
        }
    }

    fn summary_row(&self, view: &NeighborView, now: Instant) -> BgpSummaryRow {
        let NeighborView { summary, counters, hostname, .. } = view;
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        let established = Some(summary.since).filter(|_| summary.state == State::Established);
        let in_state = now.saturating_duration_since(summary.since);
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
            peer_uptime: in_state.as_secs(),
            peer_uptime_msec: whole(in_state.as_millis()),
            peer_uptime_established_epoch: established.and_then(|since| self.epoch(since, now)),
            pfx_rcd: summary.received,
            pfx_snt: summary.sent,
            state: summary.state.to_string(),
            peer_state: peer_state(summary),
            reason: summary.reason.clone(),
            hostname: hostname.as_ref().and_then(|(host, _)| named(host)),
            domainname: hostname.as_ref().and_then(|(_, domain)| named(domain)),
            software_version: software_version(view),
            id_type: if summary.address.is_ipv4() { "ipv4" } else { "ipv6" }.to_owned(),
            dynamic_peer: false,
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
        let families = |pick: fn(&FamilyView) -> bool| {
            view.families.iter().filter(|f| pick(f)).map(|f| f.family.to_string()).collect()
        };
        let known = self.neighbors.get(&view.summary.id);
        let measured = view.conn.and_then(|conn| self.facts.connections.get(&conn));
        // Zero: nothing of ours was acknowledged yet.
        let rtt = measured.map(|measured| measured.rtt).filter(|rtt| !rtt.is_zero());
        BgpNeighbor {
            summary: self.summary_row(view, now),
            nbr_external_link: view.external,
            local_role: "undefined".to_owned(),
            remote_role: "undefined".to_owned(),
            remote_router_id: view.remote_router_id.map(|id| id.to_string()),
            local_router_id: view.local_router_id.to_string(),
            last_read: since(view.last_read),
            last_write: since(view.last_write),
            in_update_elapsed: since(view.last_update),
            min_advertisement_interval: 0,
            passive: view.passive,
            capabilities: view.capabilities.iter().map(capability).collect(),
            graceful_restart: restart(view, now),
            messages: messages(&view.counters.sent, &view.counters.received),
            address_families: view.families.iter().map(|family| family_page(view, family)).collect(),
            prefix_stats: prefix_stats(view),
            import: view.import.clone(),
            export: view.export.clone(),
            max_prefix: limit(view.max_prefix.0),
            max_prefix_warning: limit(warning(view.max_prefix.0)),
            max_prefix_out: limit(view.max_prefix.1),
            accepted: view.summary.accepted,
            refused: refused(view.refused),
            eor_received: families(|f| f.end_of_rib_received),
            eor_sent: families(|f| f.end_of_rib_sent),
            last_reset: view.last_reset.as_ref().map(|(at, _)| ago(*at, now)),
            last_reset_epoch: view.last_reset.as_ref().and_then(|(at, _)| self.epoch(*at, now)),
            last_reset_due_to: view.last_reset.as_ref().map(|(_, cause)| cause.clone()),
            last_error_code_subcode: view.last_error_code.clone(),
            host_local: view.local.map(|a| a.to_string()),
            host_foreign: view.remote.map(|a| a.to_string()),
            nexthop: view.local.map(|a| a.ip().to_string()),
            bgp_connection: self.connection_words(view).to_owned(),
            connected_by: view.direction.map(|direction| opener(direction).to_owned()),
            tcp_mss_configured: known.and_then(|_| self.target(view.summary.id)?.mss),
            tcp_mss_synced: measured.map(|measured| measured.mss),
            estimated_rtt_in_msecs: rtt.map(|rtt| whole(rtt.as_millis())),
            estimated_rtt_in_usecs: rtt.map(|rtt| whole(rtt.as_micros())),
            connect_retry_in: view.retry_at.or(view.idle_until).map(|at| left(at, now)),
            connections_refused: view.counters.refused,
            collisions: view.counters.collisions,
            last_malformed: view.last_malformed.as_ref().map(|(at, message)| malformed(*at, message, now)),
            multihop: view.multihop,
            authentication_enabled: known.is_some_and(|neighbor| neighbor.plan.password.is_some()),
            ..timers(view, now)
        }
    }

    /// Is the peer on a subnet of an interface of ours? Never through a tunnel.
    fn connection_words(&self, view: &NeighborView) -> &'static str {
        let address = view.summary.address;
        let shared = view.summary.tunnel.is_none()
            && self.underlay.connected(&self.tunnel_ifindexes()).any(|subnet| subnet.contains(address));
        if shared { "shared network" } else { "non shared network" }
    }
}

/// Seconds until then.
fn left(at: Instant, now: Instant) -> u64 {
    at.saturating_duration_since(now).as_secs()
}

/// What fits a page's number.
fn whole(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn opener(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "local",
        Direction::Incoming => "remote",
    }
}

fn limit(limit: Option<u32>) -> Option<usize> {
    limit.map(|limit| limit as usize)
}

/// The alarm is raised at four fifths.
fn warning(limit: Option<u32>) -> Option<u32> {
    limit.map(|limit| u32::try_from((u64::from(limit) * 4).div_ceil(5)).unwrap_or(u32::MAX))
}

/// The page's timers, and nothing else of it.
fn timers(view: &NeighborView, now: Instant) -> BgpNeighbor {
    let negotiated = view.negotiated.as_ref();
    let seconds = |span: Option<Duration>| span.map_or(0, |span| span.as_secs());
    let remaining = |at: Option<Instant>| at.map(|at| left(at, now));
    BgpNeighbor {
        hold_time: BgpTimer {
            configured: view.configured_hold.into(),
            negotiated: negotiated.map(|n| seconds(n.hold)),
            remaining: remaining(view.hold_at),
        },
        keepalive: BgpTimer {
            configured: view.configured_keepalive.into(),
            negotiated: negotiated.map(|n| n.keepalive.as_secs()),
            remaining: remaining(view.keepalive_at),
        },
        send_hold_time: BgpTimer {
            configured: view.configured_send_hold.as_secs(),
            negotiated: negotiated.map(|n| seconds(n.send_hold)),
            remaining: remaining(view.send_hold_at),
        },
        ..BgpNeighbor::default()
    }
}

fn capability(view: &::bgp::CapabilityView) -> BgpCapability {
    BgpCapability {
        name: capability_name(&view.capability),
        advertised: view.advertised,
        received: view.received,
    }
}

fn restart(view: &NeighborView, now: Instant) -> BgpRestart {
    let offered = view.graceful_restart.as_ref();
    let name = |family: &bgp_wire::GracefulFamily| {
        Family::from_wire(family.afi, family.safi)
            .map_or_else(|| format!("AFI {} SAFI {}", family.afi, family.safi), |family| family.to_string())
    };
    BgpRestart {
        local_mode: "helper".to_owned(),
        offered: offered.is_some(),
        restarting: offered.is_some_and(|offered| offered.restarting),
        notification: offered.is_some_and(|offered| offered.notification),
        restart_time: offered.map(|offered| offered.time.into()),
        families: offered.into_iter().flat_map(|offered| offered.families.iter().map(name)).collect(),
        stale: view.stale,
        remaining: view.stale_until.map(|at| left(at, now)),
    }
}

fn family_page(view: &NeighborView, family: &FamilyView) -> BgpFamily {
    BgpFamily {
        family: family.family.to_string(),
        negotiated: family.negotiated,
        soft_reconfiguration: true,
        communities_sent: "standard, extended and large".to_owned(),
        received_prefix_counter: family.received,
        accepted_prefix_counter: family.accepted,
        sent_prefix_counter: family.sent,
        held_back: family.held_back,
        prefix_allowed_max: limit(view.max_prefix.0),
        prefix_allowed_max_warning: limit(warning(view.max_prefix.0)),
        prefix_out_allowed_max: limit(view.max_prefix.1),
        incoming_update_prefix_filter_list: view.import.clone(),
        outgoing_update_prefix_filter_list: view.export.clone(),
        import_denies_all: view.import_denies_all,
        export_denies_all: view.export_denies_all,
        end_of_rib_sent: family.end_of_rib_sent,
        end_of_rib_received: family.end_of_rib_received,
    }
}

fn prefix_stats(view: &NeighborView) -> BgpPrefixStats {
    let (held, counted) = (&view.refused, &view.counters);
    BgpPrefixStats {
        inbound_filtered: held.policy,
        guarded: held.guard,
        aspath_loop: held.as_loop,
        originator_loop: held.originator_loop,
        cluster_loop: held.cluster_loop,
        invalid_next_hop: held.next_hop,
        withdrawn: counted.withdrawn,
        treated_as_withdraw: counted.treated_as_withdraw,
        attributes_discarded: counted.attributes_discarded,
        unsendable: counted.unsendable,
    }
}

fn malformed(at: Instant, message: &[u8], now: Instant) -> BgpMalformed {
    let mut digits = String::with_capacity(message.len() * 2);
    for octet in message {
        // A string takes whatever is written to it.
        let _ = write!(digits, "{octet:02x}");
    }
    BgpMalformed { age: ago(at, now), message: digits }
}

/// Capability 75: one octet of length and the text.
fn software_version(view: &NeighborView) -> Option<String> {
    /// `draft-ietf-idr-software-version`.
    const SOFTWARE_VERSION: CapabilityCode = CapabilityCode(75);
    view.capabilities.iter().find_map(|offer| match &offer.capability {
        Capability::Unknown { code: SOFTWARE_VERSION, value } => {
            Some(bgp_wire::sanitise(&String::from_utf8_lossy(value.get(1..)?)))
        }
        _ => None,
    })
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
        ("of our own, reflected", counts.originator_loop),
        ("reflected in a circle", counts.cluster_loop),
        ("with an unusable next hop", counts.next_hop),
    ]
    .into_iter()
    .map(|(name, count)| NamedCount { name: name.to_owned(), count: count as u64 })
    .collect()
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
