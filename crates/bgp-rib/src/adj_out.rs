//! Adj-RIB-Out: what one neighbour shall hear and what it has heard (RFC 4271 section 3.2).
//!
//! Not a queue of messages but two states, wanted and sent, and the sets of prefixes where they differ. However
//! slowly the peer reads, memory is bounded by the table and the peer hears the latest state, not the history. What is
//! left to say is found without looking at what is not: a batch costs what is in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// To be said although nothing changed: the peer asked for all again.
    again: bool,
    /// What is wanted fits in no message.
    unsendable: bool,
}

/// What is left to say of a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// That it is gone.
    Gone,
    /// Its attributes, which the neighbour knows otherwise or is to hear again.
    Changed,
    /// That it is there; this takes a place under the limit.
    Fresh,
}

impl OutRoute {
    fn left(&self) -> Left {
        match (&self.wanted, &self.sent) {
            (None, None) => Left::Nothing,
            (None, Some(_)) => Left::Gone,
            (Some(_), None) if self.unsendable => Left::Nothing,
            (Some(_), None) => Left::Fresh,
            (Some(wanted), Some(sent)) if wanted != sent || self.again => Left::Changed,
            (Some(_), Some(_)) => Left::Nothing,
        }
    }

    /// Known to the neighbour, and to stay so.
    fn stays(&self) -> bool {
        self.wanted.is_some() && self.sent.is_some()
    }
}

/// One family: what is left to say, in order and by attributes, and what the limit counts.
#[derive(Clone, Debug, Default)]
struct Side {
    gone: BTreeSet<Prefix>,
    changed: BTreeSet<Prefix>,
    fresh: BTreeSet<Prefix>,
    /// `changed` and `fresh` by what they are wanted with.
    groups: HashMap<Arc<PathAttributes>, BTreeSet<Prefix>>,
    /// Known to the neighbour.
    announced: usize,
    /// Known to it, and to stay so.
    stays: usize,
}

impl Side {
    fn enter(&mut self, prefix: Prefix, route: &OutRoute) {
        match route.left() {
            Left::Nothing => {}
            Left::Gone => {
                self.gone.insert(prefix);
            }
            Left::Changed => {
                self.changed.insert(prefix);
            }
            Left::Fresh => {
                self.fresh.insert(prefix);
            }
        }
        if let (Left::Changed | Left::Fresh, Some(wanted)) = (route.left(), &route.wanted) {
            self.groups.entry(Arc::clone(wanted)).or_default().insert(prefix);
        }
        self.announced += usize::from(route.sent.is_some());
        self.stays += usize::from(route.stays());
    }

    fn leave(&mut self, prefix: &Prefix, route: &OutRoute) {
        match route.left() {
            Left::Nothing => {}
            Left::Gone => {
                self.gone.remove(prefix);
            }
            Left::Changed => {
                self.changed.remove(prefix);
            }
            Left::Fresh => {
                self.fresh.remove(prefix);
            }
        }
        if let (Left::Changed | Left::Fresh, Some(wanted)) = (route.left(), &route.wanted)
            && let Some(group) = self.groups.get_mut(wanted)
        {
            group.remove(prefix);
            if group.is_empty() {
                self.groups.remove(wanted);
            }
        }
        self.announced -= usize::from(route.sent.is_some());
        self.stays -= usize::from(route.stays());
    }
}

/// The routes toward one neighbour.
#[derive(Clone, Debug, Default)]
pub struct AdjRibOut {
    routes: BTreeMap<Prefix, OutRoute>,
    sides: [Side; 2],
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

    /// Changes the limit. What the neighbour already knows past a lower one is withdrawn, from the last in prefix
    /// order on.
    pub fn set_limit(&mut self, limit: Option<u32>) {
        self.limit = limit;
    }

    /// What the neighbour shall hear of `prefix` from now on; `None`: nothing.
    pub fn set(&mut self, prefix: Prefix, wanted: Option<Arc<PathAttributes>>) {
        if self.routes.get(&prefix).and_then(|route| route.wanted.as_ref()) != wanted.as_ref() {
            self.change(prefix, |route| {
                route.wanted = wanted;
                route.unsendable = false;
            });
        }
    }

    /// The next batch of at most `max` prefixes, which counts as sent from here on; `None` when the neighbour
    /// knows all it may know. Withdrawals come first: they make room under the limit.
    pub fn take(&mut self, max: usize) -> Option<Batch> {
        let max = max.max(1);
        self.take_withdrawals(max).or_else(|| self.take_announcements(max))
    }

    /// These were taken to be announced and fit in no message: the neighbour does not know them, and will not until they
    /// change.
    pub fn give_up(&mut self, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.change(*prefix, |route| {
                route.sent = None;
                route.unsendable = true;
            });
        }
    }

    /// Says everything of `family` again (RFC 2918 section 3).
    pub fn refresh(&mut self, family: Family) {
        let known: Vec<Prefix> = self
            .routes
            .iter()
            .filter(|(prefix, route)| Family::of(prefix) == family && route.stays())
            .map(|(prefix, _)| *prefix)
            .collect();
        for prefix in known {
            self.change(prefix, |route| route.again = true);
        }
    }

    /// A new session: nothing has been sent.
    pub fn restart(&mut self) {
        let routes = std::mem::take(&mut self.routes);
        self.sides = <[Side; 2]>::default();
        for (prefix, route) in routes {
            if let Some(wanted) = route.wanted {
                self.set(prefix, Some(wanted));
            }
        }
    }

    /// How many prefixes of `family` the neighbour knows.
    #[must_use]
    pub fn announced(&self, family: Family) -> usize {
        self.side(family).announced
    }

    /// The families with more to say than the limit allows: what the alarm is about.
    #[must_use]
    pub fn over_limit(&self) -> Families {
        let over =
            |family: &Family| self.excess(*family) > 0 || self.side(*family).fresh.len() > self.room(*family);
        Family::ALL.into_iter().filter(over).collect()
    }

    /// The prefixes the limit keeps back, or is about to take back, in order.
    pub fn held(&self) -> impl Iterator<Item = Prefix> {
        Family::ALL.into_iter().flat_map(|family| {
            let fresh = self.side(family).fresh.iter().copied().skip(self.room(family));
            fresh.chain(self.last_known(family, self.excess(family)))
        })
    }

    /// What the neighbour has heard, in prefix order: `advertised-routes`.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &Arc<PathAttributes>)> {
        self.routes.iter().filter_map(|(prefix, route)| Some((prefix, route.sent.as_ref()?)))
    }

    fn take_withdrawals(&mut self, max: usize) -> Option<Batch> {
        let first = |batch: &Vec<Prefix>| !batch.is_empty();
        let gone = Family::ALL.map(|family| self.side(family).gone.iter().copied().take(max).collect());
        let batch = gone.into_iter().find(first).or_else(|| {
            let excess = Family::ALL.map(|family| self.last_known(family, self.excess(family).min(max)));
            excess.into_iter().find(first)
        })?;
        for prefix in &batch {
            self.change(*prefix, |route| route.sent = None);
        }
        Some(Batch::Withdraw(batch))
    }

    fn take_announcements(&mut self, max: usize) -> Option<Batch> {
        let (family, first) = Family::ALL.into_iter().find_map(|family| {
            let side = self.side(family);
            let fresh = side.fresh.first().filter(|_| self.room(family) > 0);
            Some((family, *side.changed.first().into_iter().chain(fresh).min()?))
        })?;
        let attributes = Arc::clone(self.routes.get(&first)?.wanted.as_ref()?);
        let side = self.side(family);
        // What the neighbour knows may change freely; what is new to it takes one of the places left.
        let mut room = self.room(family);
        let mut fits = |prefix: &Prefix| {
            if !side.fresh.contains(prefix) {
                return true;
            }
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        };
        let same = side.groups.get(&attributes)?.iter().copied();
        let prefixes: Vec<Prefix> = same.filter(|prefix| fits(prefix)).take(max).collect();
        for prefix in &prefixes {
            self.change(*prefix, |route| {
                route.sent.clone_from(&route.wanted);
                route.again = false;
            });
        }
        Some(Batch::Announce { attributes, prefixes })
    }

    /// How many prefixes new to the neighbour may still be announced, once all withdrawals are out.
    fn room(&self, family: Family) -> usize {
        let Some(limit) = self.limit else { return usize::MAX };
        to_usize(limit).saturating_sub(self.side(family).stays)
    }

    /// How many the neighbour knows past the limit.
    fn excess(&self, family: Family) -> usize {
        self.limit.map_or(0, |limit| self.side(family).stays.saturating_sub(to_usize(limit)))
    }

    /// The last `count` in prefix order that the neighbour knows and that are to stay, in order.
    fn last_known(&self, family: Family, count: usize) -> Vec<Prefix> {
        let stays = |(prefix, route): &(&Prefix, &OutRoute)| Family::of(prefix) == family && route.stays();
        let last = self.routes.iter().rev().filter(stays).take(count).map(|(prefix, _)| *prefix);
        let mut last: Vec<Prefix> = last.collect();
        last.reverse();
        last
    }

    fn side(&self, family: Family) -> &Side {
        let [v4, v6] = &self.sides;
        match family {
            Family::Ipv4Unicast => v4,
            Family::Ipv6Unicast => v6,
        }
    }

    /// The one way to change a route: the sets follow.
    fn change(&mut self, prefix: Prefix, change: impl FnOnce(&mut OutRoute)) {
        let [v4, v6] = &mut self.sides;
        let side = if prefix.is_ipv4() { v4 } else { v6 };
        let route = self.routes.entry(prefix).or_default();
        side.leave(&prefix, route);
        change(route);
        side.enter(prefix, route);
        if route.wanted.is_none() && route.sent.is_none() {
            self.routes.remove(&prefix);
        }
    }
}

fn to_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
