//! Answers to `show`.

use std::net::IpAddr;
use std::sync::Arc;

use bgp_rib::{NeighborId, Path, Step, Verdict};
use bgp_wire::{Capability, Family};
use inet::Prefix;

use super::Speaker;
use crate::config::NeighborConfig;
use crate::connection::Connection;
use crate::event::{ConnId, ResetCause};
use crate::neighbor::{Gate, Hold, Neighbor, State};
use crate::open;
use crate::view::{
    AdvertisedRoute, CapabilityView, FamilyView, NeighborView, PathView, PrefixView, ReceivedRoute,
    RefusedCounts, SummaryView, TableRow,
};

impl Speaker {
    /// All neighbours, in the order of their numbers.
    #[must_use]
    pub fn summary(&self) -> Vec<SummaryView> {
        self.neighbors.iter().map(|(id, neighbor)| summary(*id, neighbor)).collect()
    }

    /// A neighbour's configuration: what a dial needs, among others.
    #[must_use]
    pub fn neighbor_config(&self, id: NeighborId) -> Option<&NeighborConfig> {
        self.neighbors.get(&id).map(|neighbor| &neighbor.config)
    }

    /// A neighbour's state.
    #[must_use]
    pub fn state(&self, id: NeighborId) -> Option<State> {
        self.neighbors.get(&id).map(Neighbor::state)
    }

    /// The neighbours that have this address: more than one where it stands behind several tunnels.
    pub fn neighbors_at(&self, address: IpAddr) -> impl Iterator<Item = NeighborId> {
        let there = move |(_, neighbor): &(&NeighborId, &Neighbor)| neighbor.config.address == address;
        self.neighbors.iter().filter(there).map(|(id, _)| *id)
    }

    /// Everything about one neighbour.
    #[must_use]
    pub fn neighbor(&self, id: NeighborId) -> Option<NeighborView> {
        let neighbor = self.neighbors.get(&id)?;
        let foremost = foremost(neighbor);
        let connection = foremost.map(|(_, connection)| connection);
        let negotiated = connection.and_then(Connection::negotiated).cloned();
        let config = &neighbor.config;
        let last = neighbor.last_reset.as_ref();
        Some(NeighborView {
            summary: summary(id, neighbor),
            external: config.kind() == bgp_wire::PeerKind::External,
            local_router_id: self.config.router_id,
            remote_router_id: negotiated.as_ref().map(|negotiated| negotiated.router_id),
            hostname: connection.and_then(hostname),
            conn: foremost.map(|(conn, _)| conn),
            direction: connection.map(|connection| connection.direction),
            local: connection.map(|connection| connection.local),
            remote: connection.map(|connection| connection.remote),
            last_read: connection.map(|connection| connection.last_read),
            last_write: connection.map(|connection| connection.last_write),
            last_update: connection.and_then(|connection| connection.last_update),
            configured_hold: config.hold_time,
            configured_keepalive: config.keepalive,
            hold_at: connection.and_then(|connection| connection.hold_at),
            keepalive_at: connection.and_then(|connection| connection.output.keepalive_at),
            send_hold_at: connection.and_then(|connection| connection.output.send_hold_at),
            configured_send_hold: config.send_hold(config.hold_time),
            negotiated,
            retry_at: neighbor.retry_at,
            idle_until: neighbor.hold.and_then(Hold::until),
            capabilities: capabilities(neighbor, connection),
            graceful_restart: connection
                .and_then(Connection::opened)
                .and_then(|opened| opened.open.graceful_restart().cloned()),
            stale: neighbor.adj_in.iter().filter(|(_, route)| route.stale).count(),
            stale_until: neighbor.retained.map(|retained| retained.until),
            families: families(neighbor),
            import: config.import.to_string(),
            export: config.export.to_string(),
            import_denies_all: config.effective(&config.import).denies_all(),
            export_denies_all: config.effective(&config.export).denies_all(),
            max_prefix: (config.max_prefix, config.max_prefix_out),
            refused: refused(neighbor),
            multihop: config.multihop,
            passive: config.passive,
            counters: neighbor.counters,
            last_reset: last.map(|last| (last.at, last.cause.to_string())),
            last_error_code: last.and_then(|last| error_code(&last.cause)),
            last_malformed: neighbor.last_malformed.clone(),
        })
    }

    /// The table: every prefix with its paths, in prefix order.
    pub fn table(&self) -> impl Iterator<Item = TableRow> {
        self.loc.iter().map(|(prefix, paths)| self.row(*prefix, paths))
    }

    /// How many prefixes the table has.
    #[must_use]
    pub fn table_len(&self) -> usize {
        self.loc.len()
    }

    /// About how many octets the table and the neighbours take, what they share and what waits in buffers aside.
    #[must_use]
    pub fn memory(&self) -> (usize, usize) {
        (self.loc.memory(), self.neighbors.len() * size_of::<Neighbor>())
    }

    /// Everything about one prefix; `None` when nobody has said anything of it.
    #[must_use]
    pub fn prefix(&self, prefix: Prefix) -> Option<PrefixView> {
        let row = self.row(prefix, self.loc.paths(&prefix));
        let mut view = PrefixView { row, advertised_to: Vec::new(), refused: Vec::new() };
        for (id, neighbor) in &self.neighbors {
            let name = &neighbor.config.name;
            let told = neighbor
                .session
                .as_ref()
                .is_some_and(|session| session.out.iter().any(|(p, _)| *p == prefix));
            if told {
                view.advertised_to.push((*id, Arc::clone(name)));
            }
            if let Some(route) = neighbor.adj_in.get(&prefix).filter(|route| !route.verdict.is_accepted()) {
                view.refused.push((*id, Arc::clone(name), route.verdict.clone()));
            }
        }
        (!view.row.paths.is_empty() || !view.refused.is_empty()).then_some(view)
    }

    /// What a neighbour sent, before policy, in prefix order. Those with an accepting verdict are its `routes`.
    pub fn received(&self, id: NeighborId) -> impl Iterator<Item = ReceivedRoute> {
        self.neighbors.get(&id).into_iter().flat_map(|neighbor| neighbor.adj_in.iter()).map(
            move |(prefix, route)| {
                let best = self.loc.best(prefix).is_some_and(|(path, _)| path.source.neighbor() == Some(id));
                ReceivedRoute {
                    prefix: *prefix,
                    attributes: Arc::clone(&route.attributes),
                    verdict: route.verdict.clone(),
                    since: route.since,
                    stale: route.stale,
                    best,
                }
            },
        )
    }

    /// What a neighbour was told, as it was told, in prefix order.
    pub fn advertised(&self, id: NeighborId) -> impl Iterator<Item = AdvertisedRoute> {
        let session = self.neighbors.get(&id).and_then(|neighbor| neighbor.session.as_ref());
        session.into_iter().flat_map(|session| session.out.iter()).map(|(prefix, attributes)| {
            AdvertisedRoute { prefix: *prefix, attributes: Arc::clone(attributes) }
        })
    }

    fn row(&self, prefix: Prefix, paths: &[(Path, Step)]) -> TableRow {
        let views = paths.iter().enumerate().map(|(index, (path, step))| PathView {
            path: path.clone(),
            neighbor: path
                .source
                .neighbor()
                .and_then(|id| self.neighbors.get(&id))
                .map(|n| Arc::clone(&n.config.name)),
            best: index == 0,
            step: *step,
            stale: path
                .source
                .neighbor()
                .and_then(|id| self.neighbors.get(&id)?.adj_in.get(&prefix))
                .is_some_and(|route| route.stale),
        });
        TableRow { prefix, paths: views.collect() }
    }
}

/// The connection that has come furthest.
fn foremost(neighbor: &Neighbor) -> Option<(ConnId, &Connection)> {
    let all = neighbor.connections.iter().map(|(conn, connection)| (*conn, connection));
    all.max_by_key(|(_, connection)| {
        (connection.is_established(), connection.output.keepalive_at.is_some(), connection.opened().is_some())
    })
}

fn summary(id: NeighborId, neighbor: &Neighbor) -> SummaryView {
    let config = &neighbor.config;
    let connection = foremost(neighbor).map(|(_, connection)| connection);
    let out = neighbor.session.as_ref().map(|session| &session.out);
    let both = |count: &dyn Fn(Family) -> usize| Family::ALL.into_iter().map(count).sum::<usize>();
    SummaryView {
        id,
        name: Arc::clone(&config.name),
        description: config.description.clone(),
        address: config.address,
        tunnel: config.tunnel.clone(),
        asn: config.asn,
        local_asn: config.local_asn,
        state: neighbor.state(),
        since: neighbor.since,
        state_word: state_word(neighbor),
        reason: reason(neighbor),
        messages: (neighbor.counters.received.total(), neighbor.counters.sent.total()),
        input_queue: connection.map_or(0, |connection| connection.cutter.pending()),
        output_queue: connection.map_or(0, |connection| connection.output.outstanding),
        received: neighbor.adj_in.len(),
        accepted: both(&|family| neighbor.adj_in.accepted(family)),
        sent: both(&|family| out.map_or(0, |out| out.announced(family))),
    }
}

fn denies(neighbor: &Neighbor) -> (bool, bool) {
    let config = &neighbor.config;
    (config.effective(&config.import).denies_all(), config.effective(&config.export).denies_all())
}

fn state_word(neighbor: &Neighbor) -> String {
    let state = neighbor.state();
    let remark = match (state, &neighbor.gate, neighbor.hold) {
        (State::Established, _, _) if denies(neighbor) == (true, true) => "Policy",
        (State::Idle, _, _) if neighbor.config.shutdown.is_some() => "Admin",
        (State::Idle, Gate::Down(_), _) => "Transport",
        (State::Idle, Gate::Up, Some(Hold::PrefixLimit(_))) => "PfxCt",
        _ => return state.to_string(),
    };
    format!("{state} ({remark})")
}

fn reason(neighbor: &Neighbor) -> Option<String> {
    if neighbor.state() == State::Established {
        return match denies(neighbor) {
            (false, false) => None,
            (true, false) => Some(format!("import policy {} lets no route pass", neighbor.config.import)),
            (false, true) => Some(format!("export policy {} lets no route pass", neighbor.config.export)),
            (true, true) => Some(format!(
                "import policy {} and export policy {} let no route pass",
                neighbor.config.import, neighbor.config.export
            )),
        };
    }
    if let Some(text) = &neighbor.config.shutdown {
        return Some(if text.is_empty() {
            "shut down here".into()
        } else {
            format!("shut down here: {text}")
        });
    }
    if let Gate::Down(words) = &neighbor.gate {
        return Some(format!("transport down: {words}"));
    }
    neighbor.last_reset.as_ref().map(|last| last.cause.to_string())
}

fn hostname(connection: &Connection) -> Option<(String, String)> {
    connection.opened()?.open.capabilities.iter().find_map(|capability| match capability {
        Capability::Fqdn { host, domain } => Some((host.clone(), domain.clone())),
        _ => None,
    })
}

fn capabilities(neighbor: &Neighbor, connection: Option<&Connection>) -> Vec<CapabilityView> {
    let ours = open::capabilities(&neighbor.config, neighbor.bare);
    let theirs = connection.and_then(Connection::opened).map_or(&[][..], |opened| &opened.open.capabilities);
    // The AS number and what survives a restart are each side's own, so the two never are the same value.
    let same = |a: &Capability, b: &Capability| {
        a == b || (a.code() == b.code() && matches!(a, Capability::As4(_) | Capability::GracefulRestart(_)))
    };
    let mut views: Vec<CapabilityView> = ours
        .iter()
        .map(|capability| CapabilityView {
            capability: capability.clone(),
            advertised: true,
            received: theirs.iter().any(|other| same(other, capability)),
        })
        .collect();
    for capability in theirs {
        if !views.iter().any(|view| same(&view.capability, capability)) {
            views.push(CapabilityView { capability: capability.clone(), advertised: false, received: true });
        }
    }
    views
}

fn families(neighbor: &Neighbor) -> Vec<FamilyView> {
    let session = neighbor.session.as_ref();
    let view = |family| FamilyView {
        family,
        negotiated: session.is_some_and(|session| session.context.families.contains(family)),
        received: neighbor.adj_in.received(family),
        accepted: neighbor.adj_in.accepted(family),
        sent: session.map_or(0, |session| session.out.announced(family)),
        held_back: session
            .map_or(0, |session| session.out.held().filter(|prefix| Family::of(prefix) == family).count()),
        end_of_rib_sent: session.is_some_and(|session| session.end_of_rib_sent),
        end_of_rib_received: session.is_some_and(|session| session.end_of_rib_received.contains(family)),
    };
    neighbor.config.families.iter().map(view).collect()
}

fn refused(neighbor: &Neighbor) -> RefusedCounts {
    let mut counts = RefusedCounts::default();
    for (_, route) in neighbor.adj_in.iter() {
        match route.verdict {
            Verdict::Accepted(_) => {}
            Verdict::Denied(_) => counts.policy += 1,
            Verdict::Excluded(_) => counts.guard += 1,
            Verdict::AsLoop(_) => counts.as_loop += 1,
            Verdict::NextHop(_) => counts.next_hop += 1,
            Verdict::OriginatorLoop => counts.originator_loop += 1,
            Verdict::ClusterLoop => counts.cluster_loop += 1,
        }
    }
    counts
}

fn error_code(cause: &ResetCause) -> Option<String> {
    match cause {
        ResetCause::Sent(notification) | ResetCause::Received(notification) => {
            Some(format!("{:02X}{:02X}", notification.code.code, notification.code.subcode))
        }
        ResetCause::Closed
        | ResetCause::ConnectFailed(_)
        | ResetCause::TransportDown(_)
        | ResetCause::Replaced
        | ResetCause::PeerRestarted => None,
    }
}
