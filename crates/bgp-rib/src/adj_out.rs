//! Adj-RIB-Out: what one neighbour shall hear and what it has heard (RFC 4271 section 3.2).
//!
//! Not a queue of messages but two states, wanted and sent, and the set of prefixes where they differ. However
//! slowly the peer reads, memory is bounded by the table and the peer hears the latest state, not the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bgp_wire::{Families, Family, PathAttributes};
use inet::Prefix;

/// The next thing to say: it fits one kind of UPDATE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Batch {
    /// These prefixes of one family are gone.
    Withdraw(Vec<Prefix>),
    /// These prefixes of one family, all with the same attributes.
    Announce {
        /// What goes with them.
        attributes: Arc<PathAttributes>,
        /// In prefix order.
        prefixes: Vec<Prefix>,
    },
}

#[derive(Clone, Debug, Default)]
struct OutRoute {
    wanted: Option<Arc<PathAttributes>>,
    sent: Option<Arc<PathAttributes>>,
}

impl OutRoute {
    /// Known to the neighbour, and to stay so.
    fn stays(&self) -> bool {
        self.wanted.is_some() && self.sent.is_some()
    }

    /// Not yet known to the neighbour.
    fn is_fresh(&self) -> bool {
        self.wanted.is_some() && self.sent.is_none()
    }
}

/// The routes toward one neighbour.
#[derive(Clone, Debug, Default)]
pub struct AdjRibOut {
    routes: BTreeMap<Prefix, OutRoute>,
    /// Where `wanted` and `sent` differ, or must be said again; also what the limit keeps back.
    dirty: BTreeSet<Prefix>,
    limit: Option<u32>,
}

impl AdjRibOut {
    /// Empty. `limit` is the number of prefixes of each family the neighbour is known to bear
    /// (`max_prefix_out`); not one more is ever announced, since many peers answer that by closing the session
    /// for good.
    #[must_use]
    pub fn new(limit: Option<u32>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Changes the limit. What the neighbour already knows past a lower one is withdrawn, the last in prefix
    /// order first.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// What the neighbour shall hear of `prefix` from now on; `None`: nothing.
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<PathAttributes>>) {
        let route = self.routes.entry(prefix).or_default();
        if route.wanted != wanted {
            route.wanted = wanted;
            if route.wanted == route.sent {
                self.dirty.remove(&prefix);
            } else {
                self.dirty.insert(prefix);
            }
        }
        self.forget_empty(&prefix);
    }

    /// The next batch of at most `max` prefixes, which counts as sent from here on; `None` when the neighbour
    /// knows all it may know. Withdrawals come first: they make room under the limit.
    pub fn take(&mut self, max: usize) -> Option<Batch> {
        self.take_withdrawals(max).or_else(|| self.take_announcements(max))
    }

    /// Says everything of `family` again (RFC 2918 section 3).
    pub fn refresh(&mut self, family: Family) {
        let known =
            self.routes.iter().filter(|(prefix, route)| Family::of(prefix) == family && route.stays());
        self.dirty.extend(known.map(|(prefix, _)| *prefix));
    }

    /// A new session: nothing has been sent.
    pub fn restart(&mut self) {
        self.routes.retain(|_, route| {
            route.sent = None;
            route.wanted.is_some()
        });
        self.dirty = self.routes.keys().copied().collect();
    }

    /// How many prefixes of `family` the neighbour knows.
    #[must_use]
    pub fn announced(&self, family: Family) -> usize {
        self.count(family, |route| route.sent.is_some())
    }

    /// The families with more to say than the limit allows: what the alarm is about.
    #[must_use]
    pub fn over_limit(&self) -> Families {
        self.held().map(|prefix| Family::of(&prefix)).collect()
    }

    /// The prefixes the limit keeps back, or is about to take back, in order.
    pub fn held(&self) -> impl Iterator<Item = Prefix> {
        Family::ALL.into_iter().flat_map(|family| {
            let of_family = move |prefix: &&Prefix| Family::of(prefix) == family;
            let room = self.room(family);
            let fresh = self.dirty.iter().filter(of_family).filter(|prefix| self.is_fresh(prefix));
            fresh.skip(room).copied().chain(self.excess(family))
        })
    }

    /// What the neighbour has heard, in prefix order: `advertised-routes`.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &Arc<PathAttributes>)> {
        self.routes.iter().filter_map(|(prefix, route)| Some((prefix, route.sent.as_ref()?)))
    }

    fn take_withdrawals(&mut self, max: usize) -> Option<Batch> {
        let gone = |prefix: &&Prefix| self.routes.get(*prefix).is_some_and(|route| route.wanted.is_none());
        let mut batch: Vec<Prefix> = self.dirty.iter().filter(gone).copied().collect();
        if batch.is_empty() {
            batch = Family::ALL.into_iter().flat_map(|family| self.excess(family)).collect();
        }
        let family = Family::of(batch.first()?);
        batch.retain(|prefix| Family::of(prefix) == family);
        batch.truncate(max.max(1));
        for prefix in &batch {
            if let Some(route) = self.routes.get_mut(prefix) {
                route.sent = None;
                self.dirty.insert(*prefix);
            }
            self.forget_empty(prefix);
        }
        Some(Batch::Withdraw(batch))
    }

    fn take_announcements(&mut self, max: usize) -> Option<Batch> {
        let mut room = Family::ALL.map(|family| self.room(family));
        let first = *self.dirty.iter().find(|prefix| self.may_announce(prefix, &mut room))?;
        let family = Family::of(&first);
        let attributes = Arc::clone(self.routes.get(&first)?.wanted.as_ref()?);
        let mut room = Family::ALL.map(|family| self.room(family));
        let same = |prefix: &Prefix| {
            Family::of(prefix) == family
                && self.routes.get(prefix).is_some_and(|route| route.wanted.as_ref() == Some(&attributes))
        };
        let fitting = self.dirty.iter().filter(|prefix| same(prefix) && self.may_announce(prefix, &mut room));
        let prefixes: Vec<Prefix> = fitting.take(max.max(1)).copied().collect();
        for prefix in &prefixes {
            self.dirty.remove(prefix);
            if let Some(route) = self.routes.get_mut(prefix) {
                route.sent.clone_from(&route.wanted);
            }
        }
        Some(Batch::Announce { attributes, prefixes })
    }

    /// What the neighbour knows may change freely; what is new to it takes one of the places left.
    fn may_announce(&self, prefix: &Prefix, room: &mut [usize; 2]) -> bool {
        if !self.is_fresh(prefix) {
            return true;
        }
        let [v4, v6] = room;
        let left = if prefix.is_ipv4() { v4 } else { v6 };
        let fits = *left > 0;
        *left = left.saturating_sub(1);
        fits
    }

    /// How many prefixes new to the neighbour may still be announced, once all withdrawals are out.
    fn room(&self, family: Family) -> usize {
        let Some(limit) = self.limit else { return usize::MAX };
        to_usize(limit).saturating_sub(self.count(family, OutRoute::stays))
    }

    /// What the neighbour knows past the limit.
    fn excess(&self, family: Family) -> Vec<Prefix> {
        let Some(limit) = self.limit else { return Vec::new() };
        let stays = |(prefix, route): &(&Prefix, &OutRoute)| Family::of(prefix) == family && route.stays();
        self.routes.iter().filter(stays).skip(to_usize(limit)).map(|(prefix, _)| *prefix).collect()
    }

    fn count(&self, family: Family, which: impl Fn(&OutRoute) -> bool) -> usize {
        self.routes.iter().filter(|(prefix, route)| Family::of(prefix) == family && which(route)).count()
    }

    fn is_fresh(&self, prefix: &Prefix) -> bool {
        self.routes.get(prefix).is_some_and(OutRoute::is_fresh)
    }

    fn forget_empty(&mut self, prefix: &Prefix) {
        if self.routes.get(prefix).is_some_and(|route| route.wanted.is_none() && route.sent.is_none()) {
            self.routes.remove(prefix);
            self.dirty.remove(prefix);
        }
    }
}

fn to_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::samples::{learned, prefix};

    fn attributes(asn: u32) -> Arc<PathAttributes> {
        Arc::new(learned(&[asn]))
    }

    fn net(n: u32) -> Prefix {
        prefix(&format!("10.{n}.0.0/16"))
    }

    fn announce(asn: u32, nets: &[u32]) -> Option<Batch> {
        Some(Batch::Announce {
            attributes: attributes(asn),
            prefixes: nets.iter().map(|n| net(*n)).collect(),
        })
    }

    fn withdraw(nets: &[u32]) -> Option<Batch> {
        Some(Batch::Withdraw(nets.iter().map(|n| net(*n)).collect()))
    }

    #[test]
    fn prefixes_with_the_same_attributes_go_together_and_the_latest_state_wins() {
        let mut out = AdjRibOut::new(None);
        out.set(net(1), Some(attributes(7)));
        out.set(net(2), Some(attributes(8)));
        out.set(net(3), Some(attributes(7)));
        out.set(net(2), Some(attributes(7)));
        out.set(net(4), Some(attributes(7)));
        out.set(net(4), None);
        assert_eq!(out.take(100), announce(7, &[1, 2, 3]));
        assert_eq!(out.take(100), None);
        out.set(net(1), Some(attributes(9)));
        out.set(net(1), Some(attributes(7)));
        assert_eq!(out.take(100), None, "what came back before it was said is not said");
        out.set(net(1), None);
        assert_eq!(out.take(100), withdraw(&[1]));
        assert_eq!(out.take(100), None);
    }

    #[test]
    fn a_batch_is_of_one_family_and_bounded() {
        let mut out = AdjRibOut::new(None);
        for n in 1..=3 {
            out.set(net(n), Some(attributes(7)));
        }
        out.set(prefix("2001:db8::/32"), Some(attributes(7)));
        assert_eq!(out.take(2), announce(7, &[1, 2]));
        assert_eq!(out.take(100), announce(7, &[3]));
        assert!(matches!(out.take(100), Some(Batch::Announce { prefixes, .. }) if !prefixes[0].is_ipv4()));
    }

    #[test]
    fn the_limit_is_never_passed_and_room_is_used_when_it_comes() {
        let mut out = AdjRibOut::new(Some(2));
        for n in 1..=4 {
            out.set(net(n), Some(attributes(7)));
        }
        assert_eq!(out.take(100), announce(7, &[1, 2]));
        assert_eq!(out.take(100), None);
        assert_eq!(out.over_limit(), Families::IPV4);
        assert_eq!(out.held().collect::<Vec<_>>(), [net(3), net(4)]);
        out.set(net(1), Some(attributes(8)));
        assert_eq!(out.take(100), announce(8, &[1]), "what the peer knows may still change");
        out.set(net(1), None);
        assert_eq!(out.take(100), withdraw(&[1]));
        assert_eq!(out.take(100), announce(7, &[3]));
        out.set(net(4), None);
        assert!(out.over_limit().is_empty(), "the alarm ends when nothing is kept back");
    }

    #[test]
    fn a_lower_limit_withdraws_and_a_higher_one_announces() {
        let mut out = AdjRibOut::new(None);
        for n in 1..=3 {
            out.set(net(n), Some(attributes(7)));
        }
        out.take(100);
        out.set_limit(Some(1));
        assert_eq!(out.over_limit(), Families::IPV4);
        assert_eq!(out.take(100), withdraw(&[2, 3]));
        assert_eq!(out.take(100), None);
        out.set_limit(Some(2));
        assert_eq!(out.take(100), announce(7, &[2]));
    }

    #[test]
    fn a_refresh_says_all_of_a_family_again_and_a_new_session_everything() {
        let mut out = AdjRibOut::new(None);
        out.set(net(1), Some(attributes(7)));
        out.take(100);
        out.refresh(Family::Ipv6Unicast);
        assert_eq!(out.take(100), None);
        out.refresh(Family::Ipv4Unicast);
        assert_eq!(out.take(100), announce(7, &[1]));
        out.set(net(2), None);
        out.restart();
        assert_eq!(out.announced(Family::Ipv4Unicast), 0);
        assert_eq!(out.take(100), announce(7, &[1]));
    }

    proptest! {
        /// A peer that applies every batch holds exactly what is wanted, less what the limit keeps back, and
        /// never more than the limit on the way.
        #[test]
        fn a_peer_that_listens_knows_what_is_wanted(
            steps in prop::collection::vec((0_u32..6, prop::option::of(1_u32..3), 0_usize..3, 0_u32..20), 1..60),
            start in prop::option::of(0_u32..5),
        ) {
            let mut out = AdjRibOut::new(start);
            let mut limit = start;
            let mut wanted = BTreeMap::new();
            let mut heard: BTreeMap<Prefix, Arc<PathAttributes>> = BTreeMap::new();
            let hear = |heard: &mut BTreeMap<_, _>, batch: Batch| match batch {
                Batch::Withdraw(prefixes) => prefixes.iter().for_each(|p| { heard.remove(p); }),
                Batch::Announce { attributes, prefixes } => {
                    heard.extend(prefixes.into_iter().map(|p| (p, Arc::clone(&attributes))));
                }
            };
            for (n, asn, reads, other) in steps {
                match other {
                    0 => { limit = Some(n); out.set_limit(limit); }
                    1 => out.refresh(Family::Ipv4Unicast),
                    2 => { out.restart(); heard.clear(); }
                    _ => {
                        match asn {
                            Some(asn) => { wanted.insert(net(n), attributes(asn)); }
                            None => { wanted.remove(&net(n)); }
                        }
                        out.set(net(n), asn.map(attributes));
                    }
                }
                for _ in 0..reads {
                    if let Some(batch) = out.take(2) { hear(&mut heard, batch); }
                }
            }
            while let Some(batch) = out.take(3) {
                hear(&mut heard, batch);
                prop_assert_eq!(heard.len(), out.announced(Family::Ipv4Unicast));
            }
            let bound = limit.map_or(usize::MAX, to_usize);
            prop_assert_eq!(heard.len(), wanted.len().min(bound));
            for (prefix, attributes) in &heard {
                prop_assert_eq!(wanted.get(prefix), Some(attributes));
            }
            prop_assert_eq!(out.held().count(), wanted.len() - heard.len());
            prop_assert_eq!(out.iter().count(), heard.len());
        }
    }
}
