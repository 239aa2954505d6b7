//! Adj-RIB-In: everything one neighbour sent, as it came (RFC 4271 section 3.2).
//!
//! It is always kept, so a changed policy or guard is applied without asking the peer again, and
//! `received-routes` shows what was refused and why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bgp_wire::{Families, Family, PathAttributes};
use inet::Prefix;

use crate::import::{ImportRules, Verdict};

/// A route as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InRoute {
    /// What came with it.
    pub attributes: Arc<PathAttributes>,
    /// What became of it.
    pub verdict: Verdict,
    /// When it came, or last changed.
    pub since: Instant,
    /// Not confirmed since the peer began to send its table anew (RFC 7313 section 4.2, RFC 4724 section 4.2).
    pub stale: bool,
}

/// What a change here means for the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InChange {
    /// Nothing.
    Unchanged,
    /// The neighbour offers this path now, in place of any earlier one.
    Usable(Arc<PathAttributes>),
    /// The neighbour no longer offers a path.
    Unusable,
}

/// The routes of one neighbour.
#[derive(Clone, Debug, Default)]
pub struct AdjRibIn {
    routes: BTreeMap<Prefix, InRoute>,
    /// How many of `routes` are IPv4: asked after every UPDATE, so not counted each time.
    ipv4: usize,
}

impl AdjRibIn {
    /// No routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The neighbour announced `prefix`. An announcement equal to the last one changes nothing but takes
    /// the stale mark away.
    pub fn update(
        &mut self,
        prefix: Prefix,
        attributes: Arc<PathAttributes>,
        rules: &ImportRules<'_>,
        now: Instant,
    ) -> InChange {
        let verdict = rules.judge(&prefix, &attributes);
        let accepted = verdict.is_accepted();
        let route = InRoute { attributes: Arc::clone(&attributes), verdict, since: now, stale: false };
        let Some(old) = self.routes.get_mut(&prefix) else {
            self.routes.insert(prefix, route);
            self.ipv4 += usize::from(prefix.is_ipv4());
            return if accepted { InChange::Usable(attributes) } else { InChange::Unchanged };
        };
        let was_accepted = old.verdict.is_accepted();
        if old.attributes == attributes {
            (old.verdict, old.stale) = (route.verdict, false);
            return change(was_accepted, accepted, &attributes);
        }
        *old = route;
        match (was_accepted, accepted) {
            (_, true) => InChange::Usable(attributes),
            (true, false) => InChange::Unusable,
            (false, false) => InChange::Unchanged,
        }
    }

    /// The neighbour withdrew `prefix`, or sent it malformed (RFC 7606 section 2: treat-as-withdraw).
    pub fn withdraw(&mut self, prefix: &Prefix) -> InChange {
        let Some(route) = self.routes.remove(prefix) else { return InChange::Unchanged };
        self.ipv4 -= usize::from(prefix.is_ipv4());
        if route.verdict.is_accepted() { InChange::Unusable } else { InChange::Unchanged }
    }

    /// Judges every route anew, after a change of policy or guard. Only what changed for the decision is
    /// returned.
    pub fn reevaluate(&mut self, rules: &ImportRules<'_>) -> Vec<(Prefix, InChange)> {
        let judged = self.routes.iter_mut().map(|(prefix, route)| {
            let was_accepted = route.verdict.is_accepted();
            route.verdict = rules.judge(prefix, &route.attributes);
            (*prefix, change(was_accepted, route.verdict.is_accepted(), &route.attributes))
        });
        judged.filter(|(_, change)| *change != InChange::Unchanged).collect()
    }

    /// Forgets everything, as when the session ends; returns the prefixes that were in the decision.
    pub fn clear(&mut self) -> Vec<Prefix> {
        let Self { routes, .. } = std::mem::take(self);
        routes
            .into_iter()
            .filter(|(_, route)| route.verdict.is_accepted())
            .map(|(prefix, _)| prefix)
            .collect()
    }

    /// The session is lost, and the peer keeps forwarding these families while it restarts (RFC 4724 section 4.2): their
    /// routes stay, stale; "a route [...] previously marked as stale MUST be deleted", and so are all others. Returns the
    /// prefixes of those that were in the decision.
    pub fn keep_stale(&mut self, families: Families) -> Vec<Prefix> {
        let mut gone = Vec::new();
        self.routes.retain(|prefix, route| {
            let keep = !route.stale && families.contains(Family::of(prefix));
            if !keep && route.verdict.is_accepted() {
                gone.push(*prefix);
            }
            route.stale = true;
            keep
        });
        self.ipv4 = self.routes.keys().filter(|prefix| prefix.is_ipv4()).count();
        gone
    }

    /// The peer begins to send `family` anew (BoRR of RFC 7313): all of it is stale until confirmed.
    pub fn mark_stale(&mut self, family: Family) {
        let of_family = self.routes.iter_mut().filter(|(prefix, _)| Family::of(prefix) == family);
        of_family.for_each(|(_, route)| route.stale = true);
    }

    /// The peer has sent all of `family` (EoRR or End-of-RIB): what is still stale goes. Returns the
    /// prefixes that were in the decision.
    pub fn sweep_stale(&mut self, family: Family) -> Vec<Prefix> {
        let mut gone = Vec::new();
        self.routes.retain(|prefix, route| {
            let keep = !route.stale || Family::of(prefix) != family;
            if !keep && route.verdict.is_accepted() {
                gone.push(*prefix);
            }
            keep
        });
        self.ipv4 = self.routes.keys().filter(|prefix| prefix.is_ipv4()).count();
        gone
    }

    /// The route to exactly this prefix.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&InRoute> {
        self.routes.get(prefix)
    }

    /// All routes, in prefix order: what `received-routes` shows.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &InRoute)> {
        self.routes.iter()
    }

    /// How many routes of `family` the neighbour sent, refused ones included: what `max_prefix` counts.
    #[must_use]
    pub fn received(&self, family: Family) -> usize {
        match family {
            Family::Ipv4Unicast => self.ipv4,
            Family::Ipv6Unicast => self.routes.len() - self.ipv4,
        }
    }

    /// How many routes of `family` are in the decision.
    #[must_use]
    pub fn accepted(&self, family: Family) -> usize {
        let accepted = |(prefix, route): &(&Prefix, &InRoute)| {
            route.verdict.is_accepted() && Family::of(prefix) == family
        };
        self.routes.iter().filter(accepted).count()
    }

    /// How many routes of both families there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

/// The change when the attributes stayed and only the verdict may have moved.
fn change(was_accepted: bool, accepted: bool, attributes: &Arc<PathAttributes>) -> InChange {
    match (was_accepted, accepted) {
        (false, true) => InChange::Usable(Arc::clone(attributes)),
        (true, false) => InChange::Unusable,
        (true, true) | (false, false) => InChange::Unchanged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Guard;
    use crate::policy::Policy;
    use crate::samples::{learned, now, prefix};

    struct World {
        guard: Guard,
        policy: Policy,
        table: AdjRibIn,
        now: Instant,
    }

    impl World {
        fn new(policy: Policy) -> Self {
            Self { guard: Guard::new(), policy, table: AdjRibIn::new(), now: now() }
        }

        fn update(&mut self, text: &str, path: &[u32]) -> InChange {
            let rules = ImportRules {
                guard: &self.guard,
                policy: &self.policy,
                own_asns: &[65510],
                local_address: "192.168.1.1".parse().unwrap(),
                router_id: [10, 0, 0, 9].into(),
                next_hops: None,
            };
            self.table.update(prefix(text), Arc::new(learned(path)), &rules, self.now)
        }

        fn reevaluate(&mut self) -> Vec<(Prefix, InChange)> {
            let rules = ImportRules {
                guard: &self.guard,
                policy: &self.policy,
                own_asns: &[65510],
                local_address: "192.168.1.1".parse().unwrap(),
                router_id: [10, 0, 0, 9].into(),
                next_hops: None,
            };
            self.table.reevaluate(&rules)
        }
    }

    #[test]
    fn a_repeated_announcement_changes_nothing() {
        let mut world = World::new(Policy::Any);
        assert!(matches!(world.update("10.0.0.0/8", &[65515]), InChange::Usable(_)));
        assert_eq!(world.update("10.0.0.0/8", &[65515]), InChange::Unchanged);
        assert!(matches!(world.update("10.0.0.0/8", &[65515, 7]), InChange::Usable(_)));
    }

    #[test]
    fn a_path_that_turns_into_a_loop_leaves_the_decision_and_stays_in_the_table() {
        let mut world = World::new(Policy::Any);
        world.update("10.0.0.0/8", &[65515]);
        assert_eq!(world.update("10.0.0.0/8", &[65515, 65510]), InChange::Unusable);
        assert_eq!(world.table.get(&prefix("10.0.0.0/8")).unwrap().verdict, Verdict::AsLoop(65510));
        assert_eq!((world.table.len(), world.table.accepted(Family::Ipv4Unicast)), (1, 0));
    }

    #[test]
    fn refused_routes_are_kept_and_come_back_when_the_policy_changes() {
        let mut world = World::new(Policy::Unset);
        assert_eq!(world.update("10.0.0.0/8", &[65515]), InChange::Unchanged);
        assert_eq!(world.table.received(Family::Ipv4Unicast), 1);
        world.policy = Policy::Any;
        let changes = world.reevaluate();
        assert!(matches!(changes.as_slice(), [(_, InChange::Usable(_))]));
        assert!(world.reevaluate().is_empty(), "a second look finds nothing new");
        world.policy = Policy::None;
        assert_eq!(world.reevaluate(), [(prefix("10.0.0.0/8"), InChange::Unusable)]);
    }

    #[test]
    fn what_a_refresh_does_not_confirm_is_swept() {
        let mut world = World::new(Policy::Any);
        for text in ["10.0.0.0/8", "11.0.0.0/8", "2001:db8::/32"] {
            world.update(text, &[65515]);
        }
        world.table.mark_stale(Family::Ipv4Unicast);
        assert_eq!(world.update("10.0.0.0/8", &[65515]), InChange::Unchanged);
        assert_eq!(world.table.sweep_stale(Family::Ipv4Unicast), [prefix("11.0.0.0/8")]);
        assert_eq!(world.table.len(), 2, "the other family is not touched");
    }

    #[test]
    fn a_restarting_peers_routes_stay_stale_once_and_only_those_of_its_families() {
        let mut world = World::new(Policy::Any);
        for text in ["10.0.0.0/8", "11.0.0.0/8", "2001:db8::/32"] {
            world.update(text, &[65515]);
        }
        assert_eq!(world.table.keep_stale(Families::IPV4), [prefix("2001:db8::/32")]);
        assert_eq!((world.table.len(), world.table.received(Family::Ipv4Unicast)), (2, 2));
        assert_eq!(world.update("10.0.0.0/8", &[65515]), InChange::Unchanged);
        assert_eq!(world.table.keep_stale(Families::IPV4), [prefix("11.0.0.0/8")]);
        assert!(world.table.get(&prefix("10.0.0.0/8")).unwrap().stale);
    }

    #[test]
    fn clearing_names_only_what_was_in_the_decision() {
        let mut world = World::new(Policy::Any);
        world.update("10.0.0.0/8", &[65515]);
        world.update("127.0.0.0/8", &[65515]);
        assert_eq!(world.table.clear(), [prefix("10.0.0.0/8")]);
        assert_eq!(world.table.withdraw(&prefix("10.0.0.0/8")), InChange::Unchanged);
    }
}
