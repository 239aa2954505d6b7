//! `show bgp`, `show bgp PREFIX`, and the routes a neighbour sent or heard.

use std::net::IpAddr;
use std::time::Instant;

use ::bgp::{NeighborId, PathView, TableRow};
use bgp_rib::{Path, Source, Verdict};
use bgp_wire::{PathAttributes, PeerKind, SegmentKind};
use control::view::{BgpPath, BgpPrefix, BgpReceived, BgpRoutes, BgpSegment, BgpTable};
use inet::{Prefix, PrefixMap};

use super::ago;
use crate::fib::Key;
use crate::gateway::Gateway;

/// LOCAL_PREF where none was set.
const LOCAL_PREF: u32 = 100;

impl Gateway {
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
        let mut path = self.heard_path(id, &route, now);
        path.peer = name.to_owned();
        path.reason = verdict.to_string();
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
        let neighboring = |path: &PathView| path.path.attributes.as_path.first_as();
        let paths = row.paths.iter().enumerate().map(|(at, view)| {
            let mut path = table_path(view, installed, now);
            path.last_update = self.moment(view.path.since, now);
            path.nexthop_accessible = match view.path.source {
                Source::Local => true,
                Source::Neighbor(peer) => self.is_accessible(peer.id, &view.path.attributes),
            };
            let before = row.paths.iter().take(at);
            path.bestpath_from_as =
                neighboring(view).is_some() && !before.map(neighboring).any(|asn| asn == neighboring(view));
            path
        });
        BgpPrefix { prefix: row.prefix.to_string(), paths: paths.collect(), advertised_to: Vec::new() }
    }

    /// Is there a way to the next hop? A tunnel's neighbour is reached through the tunnel whatever the next hop says.
    fn is_accessible(&self, id: NeighborId, attributes: &PathAttributes) -> bool {
        let Some(neighbor) = self.neighbors.get(&id) else { return false };
        match neighbor.tunnel {
            Some(tunnel) => self.tunnels.get(&tunnel).is_some_and(crate::tunnels::Tunnel::carries),
            None => {
                let hop = attributes.next_hop.address();
                self.underlay.path_to(hop, &self.tunnel_ifindexes()).is_some()
            }
        }
    }

    /// A route as a neighbour sent it.
    fn heard_path(&self, id: NeighborId, route: &::bgp::ReceivedRoute, now: Instant) -> BgpPath {
        let view = self.speaker.neighbor(id);
        let kind = view.as_ref().map_or("", |view| if view.external { "external" } else { "internal" });
        BgpPath {
            valid: route.verdict.is_accepted(),
            best: route.best,
            stale: route.stale,
            kind: kind.to_owned(),
            peer: view.as_ref().map(|view| view.summary.name.to_string()).unwrap_or_default(),
            peer_address: view.as_ref().map(|view| view.summary.address.to_string()).unwrap_or_default(),
            peer_id: view
                .as_ref()
                .and_then(|view| view.remote_router_id)
                .map(|id| id.to_string())
                .unwrap_or_default(),
            weight: self.speaker.neighbor_config(id).map_or(0, |config| config.weight.into()),
            nexthop_accessible: self.is_accessible(id, &route.attributes),
            age: ago(route.since, now),
            last_update: self.moment(route.since, now),
            ..attributes(&route.attributes)
        }
    }

    /// The page's head, for the neighbour it is about.
    fn routes_page(&self, id: NeighborId, name: &str, kind: &str, routes: Vec<BgpReceived>) -> BgpRoutes {
        let config = self.speaker.neighbor_config(id);
        BgpRoutes {
            neighbor: name.to_owned(),
            address: config.map(|config| config.address.to_string()).unwrap_or_default(),
            remote_as: config.map_or(0, |config| config.asn),
            kind: kind.to_owned(),
            routes,
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
            .map(|route| BgpReceived {
                prefix: route.prefix.to_string(),
                path: self.heard_path(id, &route, now),
                verdict: route.verdict.to_string(),
                accepted: route.verdict.is_accepted(),
            })
            .collect();
        let kind = if accepted { "accepted" } else { "received" };
        Ok(self.routes_page(id, name, kind, routes))
    }

    pub(super) fn bgp_advertised_view(&self, name: &str, _now: Instant) -> Result<BgpRoutes, String> {
        let id = self.find_neighbor(name)?;
        let routes = self
            .speaker
            .advertised(id)
            .map(|route| BgpReceived {
                prefix: route.prefix.to_string(),
                path: BgpPath { valid: true, ..attributes(&route.attributes) },
                verdict: "announced".to_owned(),
                accepted: true,
            })
            .collect();
        Ok(self.routes_page(id, name, "advertised", routes))
    }
}

fn table_path(view: &PathView, installed: bool, now: Instant) -> BgpPath {
    let mut path = attributes(&view.path.attributes);
    path.valid = true;
    path.best = view.best;
    path.reason = view.step.to_string();
    path.age = ago(view.path.since, now);
    path.fib_installed = installed && view.best;
    path.stale = view.stale;
    path.weight = view.path.weight().into();
    path.kind = kind(&view.path).to_owned();
    match &view.path.source {
        Source::Local => {
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

fn kind(path: &Path) -> &'static str {
    match &path.source {
        Source::Local => "local",
        Source::Neighbor(peer) => match peer.kind {
            PeerKind::External => "external",
            PeerKind::Internal => "internal",
        },
    }
}

fn attributes(attributes: &PathAttributes) -> BgpPath {
    let standard = attributes.communities.iter().map(ToString::to_string);
    let large = attributes.large_communities.iter().map(ToString::to_string);
    BgpPath {
        aspath: attributes.as_path.to_string(),
        aspath_segments: attributes.as_path.segments.iter().map(segment).collect(),
        aspath_length: attributes.as_path.hop_count(),
        origin: attributes.origin.letter().to_string(),
        med: attributes.med,
        local_pref: attributes.local_pref.unwrap_or(LOCAL_PREF),
        nexthop: attributes.next_hop.address().to_string(),
        communities: standard.chain(large).collect(),
        extended_communities: attributes.extended_communities.iter().map(ToString::to_string).collect(),
        atomic_aggregate: attributes.atomic_aggregate,
        aggregator: attributes.aggregator.map(|by| format!("{} {}", by.asn, by.address)),
        originator_id: attributes.originator_id.map(|id| id.to_string()),
        cluster_list: attributes.cluster_list.iter().map(ToString::to_string).collect(),
        otc: attributes.only_to_customer,
        unknown_attributes: attributes.unknown.iter().map(|unknown| unknown.kind.0).collect(),
        ..BgpPath::default()
    }
}

fn segment(segment: &bgp_wire::Segment) -> BgpSegment {
    let kind = match segment.kind {
        SegmentKind::Sequence => "as-sequence",
        SegmentKind::Set => "as-set",
        SegmentKind::ConfedSequence => "as-confed-sequence",
        SegmentKind::ConfedSet => "as-confed-set",
    };
    BgpSegment { kind: kind.to_owned(), list: segment.asns.clone() }
}
