//! Routes in, the choice, routes out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bgp_rib::{
    BestChange, ExportRules, Guard, ImportRules, InChange, LocRib, NeighborId, NextHops, Own, Path,
};
use bgp_wire::{Family, NextHop, Notification, PathAttributes, Update};
use inet::Prefix;

use super::Speaker;
use crate::config::NeighborConfig;
use crate::event::{Alarm, Event};
use crate::neighbor::Neighbor;
use crate::session::ExportCache;

impl Speaker {
    /// The routes this speaker originates from now on (`networks`, `redistribute`).
    pub fn originate(&mut self, prefixes: &BTreeSet<Prefix>, now: Instant) {
        let mut changes = Vec::new();
        for gone in self.originated.difference(prefixes) {
            changes.extend(self.loc.stop_originating(*gone));
        }
        for new in prefixes.difference(&self.originated) {
            changes.extend(self.loc.originate(*new, Arc::new(originated(new)), now));
        }
        self.originated.clone_from(prefixes);
        self.propagate(changes);
        self.rebuild_guard(now);
        self.settle(now);
    }

    /// What must never be learned, whatever a policy permits. The prefixes originated here and the addresses
    /// of sessions are added by the speaker itself.
    pub fn set_guard(&mut self, guard: Guard, now: Instant) {
        self.given_guard = guard;
        self.rebuild_guard(now);
        self.settle(now);
    }

    /// The next hops this host has a way to; before the first call each is taken for resolvable. What neighbours without a
    /// tunnel sent is judged anew if that changed; behind a tunnel the next hop is not asked for.
    pub fn set_next_hops(&mut self, next_hops: NextHops, now: Instant) {
        if self.next_hops.as_ref() == Some(&next_hops) {
            return;
        }
        self.next_hops = Some(next_hops);
        let plain = self.neighbors.iter().filter(|(_, neighbor)| neighbor.config.tunnel.is_none());
        let ids: Vec<NeighborId> = plain.map(|(id, _)| *id).collect();
        for id in ids {
            self.import_all(id, now);
        }
        self.settle(now);
    }

    /// The guard that holds; judged anew only if it changed.
    pub(super) fn rebuild_guard(&mut self, now: Instant) {
        let mut guard = self.given_guard.clone();
        self.originated.iter().for_each(|prefix| guard.add_own(*prefix, Own::Originated));
        for neighbor in self.neighbors.values() {
            guard.add_session(neighbor.config.address);
            neighbor.config.source.into_iter().for_each(|source| guard.add_session(source));
            let locals = neighbor.connections.values().filter(|connection| connection.is_established());
            locals.for_each(|connection| guard.add_session(connection.local.ip()));
        }
        if guard == self.guard {
            return;
        }
        self.guard = guard;
        let ids: Vec<NeighborId> = self.neighbors.keys().copied().collect();
        for id in ids {
            self.import_all(id, now);
            self.export_all(id);
        }
    }

    /// Takes over what an UPDATE says.
    pub(super) fn import(&mut self, id: NeighborId, update: &Update, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = &neighbor.session else { return };
        let peer = session.peer;
        neighbor.counters.withdrawn += u64::try_from(update.withdrawn.len()).unwrap_or(u64::MAX);
        let mut changes = Vec::new();
        for prefix in &update.withdrawn {
            let change = neighbor.adj_in.withdraw(prefix);
            changes.extend(self.loc.apply(&peer, *prefix, change, now));
        }
        let Some(local) = neighbor.connections.get(&session.conn).map(|connection| connection.local.ip())
        else {
            return;
        };
        let policy = neighbor.config.effective(&neighbor.config.import);
        let own_asns = [self.config.asn, neighbor.config.local_asn];
        let rules = ImportRules {
            guard: &self.guard,
            policy: &policy,
            own_asns: &own_asns,
            local_address: local,
            router_id: self.config.router_id,
            next_hops: next_hops(self.next_hops.as_ref(), &neighbor.config),
        };
        for reach in &update.reach {
            for prefix in &reach.prefixes {
                let change = neighbor.adj_in.update(*prefix, Arc::clone(&reach.attributes), &rules, now);
                changes.extend(self.loc.apply(&peer, *prefix, change, now));
            }
        }
        self.propagate(changes);
    }

    /// Judges anew what a neighbour sent.
    pub(super) fn import_all(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let of_session = neighbor
            .session
            .as_ref()
            .and_then(|session| Some((session.peer, neighbor.connections.get(&session.conn)?.local.ip())));
        let of_before = neighbor.retained.map(|retained| (retained.peer, retained.local));
        let Some((peer, local_address)) = of_session.or(of_before) else { return };
        let policy = neighbor.config.effective(&neighbor.config.import);
        let own_asns = [self.config.asn, neighbor.config.local_asn];
        let rules = ImportRules {
            guard: &self.guard,
            policy: &policy,
            own_asns: &own_asns,
            local_address,
            router_id: self.config.router_id,
            next_hops: next_hops(self.next_hops.as_ref(), &neighbor.config),
        };
        let judged = neighbor.adj_in.reevaluate(&rules);
        let changes: Vec<BestChange> = judged
            .into_iter()
            .filter_map(|(prefix, change): (Prefix, InChange)| self.loc.apply(&peer, prefix, change, now))
            .collect();
        self.propagate(changes);
    }

    /// A neighbour's paths weigh what its configuration says now.
    pub(super) fn weigh(&mut self, id: NeighborId, now: Instant) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let weight = neighbor.config.weight;
        let of_session = neighbor.session.as_mut().map(|session| &mut session.peer);
        let Some(peer) = of_session.or(neighbor.retained.as_mut().map(|retained| &mut retained.peer)) else {
            return;
        };
        if std::mem::replace(&mut peer.weight, weight) == weight {
            return;
        }
        let peer = *peer;
        let usable = neighbor.adj_in.iter().filter(|(_, route)| route.verdict.is_accepted());
        let changes: Vec<BestChange> = usable
            .filter_map(|(prefix, route)| {
                let again = InChange::Usable(Arc::clone(&route.attributes));
                self.loc.apply(&peer, *prefix, again, now)
            })
            .collect();
        self.propagate(changes);
    }

    /// The peer has sent a family again: what it did not confirm goes (RFC 7313 section 4.2).
    pub(super) fn sweep(&mut self, id: NeighborId, family: Family) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let Some(session) = &mut neighbor.session else { return };
        let before = session.stale.len();
        session.stale.retain(|(stale, _)| *stale != family);
        if session.stale.len() == before {
            return;
        }
        let gone = neighbor.adj_in.sweep_stale(family);
        let changes = self.loc.withdraw_all(id, &gone);
        self.propagate(changes);
    }

    /// The best path to these prefixes moved: tells the forwarding table and every session.
    pub(super) fn propagate(&mut self, changes: Vec<BestChange>) {
        for change in changes {
            self.changed.insert(change.prefix);
            for (id, neighbor) in &mut self.neighbors {
                if export(neighbor, &self.guard, &change.prefix, change.best.as_ref()) {
                    self.touched.insert(*id);
                }
            }
        }
    }

    /// Says what a neighbour shall hear of every prefix.
    pub(super) fn export_all(&mut self, id: NeighborId) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        if let Some(session) = &mut neighbor.session {
            session.cache = None;
        }
        let best = |loc: &LocRib| -> Vec<(Prefix, Path)> {
            loc.iter().filter_map(|(prefix, paths)| Some((*prefix, paths.first()?.0.clone()))).collect()
        };
        for (prefix, path) in best(&self.loc) {
            export(neighbor, &self.guard, &prefix, Some(&path));
        }
        self.touched.insert(id);
    }

    /// More than the limit is the end of the session (RFC 4271 section 8.2.1.2, RFC 4486 section 4).
    /// Counted before policy: it is the peer's table that is out of hand.
    pub(super) fn check_prefix_limit(&mut self, id: NeighborId) -> Result<(), Notification> {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return Ok(()) };
        let (Some(limit), Some(session)) = (neighbor.config.max_prefix, &mut neighbor.session) else {
            return Ok(());
        };
        let mut alarms = Vec::new();
        for family in session.context.families.iter() {
            let count = u32::try_from(neighbor.adj_in.received(family)).unwrap_or(u32::MAX);
            if count > limit {
                let alarm = Alarm::PrefixLimitExceeded { family, limit };
                self.event(Event::Alarm { neighbor: id, alarm });
                return Err(Notification::max_prefixes(family, limit));
            }
            let near = u64::from(count) * 5 >= u64::from(limit) * 4;
            if near && !session.near_alarm.contains(family) {
                session.near_alarm.insert(family);
                alarms.push(Alarm::PrefixLimitNear { family, count, limit });
            } else if !near {
                session.near_alarm.remove(family);
            }
        }
        alarms.into_iter().for_each(|alarm| self.event(Event::Alarm { neighbor: id, alarm }));
        Ok(())
    }

    /// Says once when prefixes are held back for the peer's sake, and once when none are any more.
    pub(super) fn check_export_limit(&mut self, id: NeighborId) {
        let Some(neighbor) = self.neighbors.get_mut(&id) else { return };
        let (Some(limit), Some(session)) = (neighbor.config.max_prefix_out, &mut neighbor.session) else {
            return;
        };
        let over = !session.out.over_limit().is_empty();
        if over == session.export_alarm || (over && session.has_pending()) {
            return;
        }
        session.export_alarm = over;
        let alarm = if over {
            Alarm::ExportLimit { held: session.out.held().count(), limit }
        } else {
            Alarm::ExportLimitCleared
        };
        self.event(Event::Alarm { neighbor: id, alarm });
    }
}

/// A tunnel's neighbour is reached through its tunnel, and so is everything it announces.
fn next_hops<'a>(known: Option<&'a NextHops>, config: &NeighborConfig) -> Option<&'a NextHops> {
    known.filter(|_| config.tunnel.is_none())
}

/// A route of ours before any neighbour's export made it its own.
fn originated(prefix: &Prefix) -> PathAttributes {
    let unspecified = match Family::of(prefix) {
        Family::Ipv4Unicast => NextHop::V4(std::net::Ipv4Addr::UNSPECIFIED),
        Family::Ipv6Unicast => NextHop::V6 { global: std::net::Ipv6Addr::UNSPECIFIED, link_local: None },
    };
    PathAttributes::originated(unspecified)
}

/// Sets what one neighbour shall hear of one prefix; false when it has no session.
fn export(neighbor: &mut Neighbor, guard: &Guard, prefix: &Prefix, best: Option<&Path>) -> bool {
    let config = &neighbor.config;
    let Some(session) = &mut neighbor.session else { return false };
    let family = Family::of(prefix);
    if !session.context.families.contains(family) {
        return false;
    }
    let local = neighbor.connections.get(&session.conn).map(|connection| connection.local.ip());
    let policy = config.effective(&config.export);
    let peer = session.peer;
    let rules = ExportRules {
        guard,
        policy: &policy,
        peer: &peer,
        local_asn: config.local_asn,
        next_hop_v4: config.next_hop_v4.or(local.and_then(|ip| match ip {
            std::net::IpAddr::V4(v4) => Some(v4),
            std::net::IpAddr::V6(_) => None,
        })),
        next_hop_v6: config.next_hop_v6.or(local.and_then(|ip| match ip {
            std::net::IpAddr::V4(_) => None,
            std::net::IpAddr::V6(v6) => Some(v6),
        })),
    };
    let wanted = best
        .filter(|path| rules.judge(prefix, path).is_announced())
        .and_then(|path| told(&rules, &mut session.cache, prefix, path));
    session.out.set(*prefix, wanted);
    true
}

/// The attributes the neighbour hears, made once for a run of prefixes that share theirs.
fn told(
    rules: &ExportRules<'_>,
    cache: &mut Option<ExportCache>,
    prefix: &Prefix,
    path: &Path,
) -> Option<Arc<PathAttributes>> {
    let family = Family::of(prefix);
    if let Some(hit) = cache
        && hit.family == family
        && Arc::ptr_eq(&hit.learned, &path.attributes)
    {
        return Some(Arc::clone(&hit.told));
    }
    let told = Arc::new(rules.attributes(prefix, path)?);
    *cache = Some(ExportCache { learned: Arc::clone(&path.attributes), family, told: Arc::clone(&told) });
    Some(told)
}
