//! Wishes against what the kernel holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::wishes::Wishes;
use super::{Applied, Change, Hop, Key, Op, Origin, Place, Wish};

/// Routes in one batch: keeps a batch's answer within milliseconds.
const BATCH: usize = 512;
/// How long a route the kernel refused waits for its next try.
const RETRY: Duration = Duration::from_secs(5);
/// The same for one that could not be removed: well within a stop's patience.
const RETRY_REMOVAL: Duration = Duration::from_millis(500);

/// What is known of one place.
#[derive(Clone, Debug, Default)]
struct State {
    /// The route of ours the kernel holds there.
    installed: Option<Hop>,
    /// What it did not take.
    refused: Option<Refused>,
}

/// A change the kernel refused. It changed nothing: what stood there stands.
#[derive(Clone, Debug)]
struct Refused {
    /// What should have stood there; `None`: nothing.
    target: Option<Hop>,
    why: String,
    retry: Instant,
    /// Is `unreachable` to stand in its place until then?
    stands_in: bool,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Fib {
    metric: u32,
    wishes: Wishes,
    kernel: BTreeMap<Place, State>,
    dirty: BTreeSet<Place>,
    in_flight: Vec<Change>,
    /// Table or metric changed: what nobody wants any more stays until [`end_move`](Fib::end_move).
    moving: bool,
    /// The end: nothing is wanted any more, whoever asks.
    closed: bool,
}

/// One row of `show routes`.
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    /// Which.
    pub(crate) key: Key,
    /// Whose.
    pub(crate) origin: Origin,
    /// The wish.
    pub(crate) wish: &'a Wish,
    /// `installed`, `pending` or `failed`.
    pub(crate) state: &'static str,
    /// Why it failed.
    pub(crate) why: Option<&'a str>,
}

impl Fib {
    /// An empty one; `metric` is that of every route of ours.
    #[must_use]
    pub(crate) fn new(metric: u32) -> Self {
        Self {
            metric,
            wishes: Wishes::default(),
            kernel: BTreeMap::new(),
            dirty: BTreeSet::new(),
            in_flight: Vec::new(),
            moving: false,
            closed: false,
        }
    }

    /// States a wish; the same again changes nothing.
    pub(crate) fn want(&mut self, key: Key, origin: Origin, wish: Wish) {
        if !self.closed && self.wishes.insert(key, origin, wish) {
            self.dirty.insert(Place { key, metric: self.metric });
        }
    }

    /// From now on no route is wanted: news that come while the daemon ends must leave none behind.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Takes it back.
    pub(crate) fn forget(&mut self, key: Key, origin: Origin) {
        if self.wishes.remove(&key, origin) {
            self.dirty.insert(Place { key, metric: self.metric });
        }
    }

    /// Takes back every wish of `origin` that `which` picks.
    pub(crate) fn forget_where(&mut self, origin: Origin, which: impl Fn(&Key, &Wish) -> bool) {
        let picked = self.wishes(origin).filter(|(key, wish)| which(key, wish));
        let keys: Vec<Key> = picked.map(|(key, _)| *key).collect();
        for key in keys {
            self.forget(key, origin);
        }
    }

    /// From now on every route has this metric: each is put there anew, and the old ones stay until the move ends.
    pub(crate) fn set_metric(&mut self, metric: u32) {
        if metric != self.metric {
            self.dirty.extend(self.kernel.keys());
            self.metric = metric;
            self.dirty.extend(self.wishes.keys().into_iter().map(|key| Place { key, metric }));
            self.moving = true;
        }
    }

    /// Wishes of these origins in one table are wishes in another from now on; the routes in the old one stay until
    /// the move ends.
    pub(crate) fn transfer(&mut self, origins: &[Origin], from: u32, to: u32) {
        self.moving = true;
        for origin in origins {
            let of_old = self.wishes(*origin).filter(|(key, _)| key.table == from);
            let all: Vec<(Key, Wish)> = of_old.map(|(key, wish)| (*key, wish.clone())).collect();
            for (key, wish) in all {
                self.forget(key, *origin);
                self.want(Key { table: to, ..key }, *origin, wish);
            }
        }
    }

    /// Does every new place have its route, or a reason why not, so that the old ones may go?
    #[must_use]
    pub(crate) fn has_moved(&self) -> bool {
        let waits = |place: &Place| {
            self.kernel.get(place).is_some_and(|state| {
                state.refused.is_some() || state.installed.is_some() && self.wanted(place).is_none()
            })
        };
        self.moving && self.in_flight.is_empty() && self.dirty.iter().all(waits)
    }

    /// The old places are emptied from now on.
    pub(crate) fn end_move(&mut self) {
        self.moving = false;
    }

    /// The wishes of one origin.
    pub(crate) fn wishes(&self, origin: Origin) -> impl Iterator<Item = (&Key, &Wish)> {
        self.wishes.of(origin)
    }

    /// The wish of one origin for one place.
    pub(crate) fn wish(&self, key: &Key, origin: Origin) -> Option<&Wish> {
        self.wishes.get(key, origin)
    }

    /// What the kernel holds of ours, read anew: whatever differs is put right by the next batch.
    pub(crate) fn observed(&mut self, found: &[(Place, Hop)]) {
        let found: BTreeMap<Place, Hop> = found.iter().copied().collect();
        let flying: BTreeSet<Place> = self.in_flight.iter().map(place_of).collect();
        let gone: Vec<Place> = self
            .kernel
            .iter()
            .filter(|(place, state)| {
                state.installed.is_some() && !found.contains_key(place) && !flying.contains(place)
            })
            .map(|(place, _)| *place)
            .collect();
        for place in gone {
            self.kernel.entry(place).or_default().installed = None;
            self.dirty.insert(place);
        }
        for (place, hop) in found {
            let known = self.kernel.get(&place).is_some_and(|state| state.installed == Some(hop));
            if !known && !flying.contains(&place) {
                self.kernel.entry(place).or_default().installed = Some(hop);
                self.dirty.insert(place);
            }
        }
    }

    /// The host changed: what the kernel refused may be taken now.
    pub(crate) fn retry_at_once(&mut self, now: Instant) {
        for place in &self.dirty {
            if let Some(refused) = self.kernel.get_mut(place).and_then(|state| state.refused.as_mut()) {
                refused.retry = now;
            }
        }
    }

    /// The next batch; empty when nothing differs or one is still under way.
    pub(crate) fn reconcile(&mut self, now: Instant) -> Vec<Change> {
        if !self.in_flight.is_empty() {
            return Vec::new();
        }
        let mut batch = Vec::new();
        let mut later = BTreeSet::new();
        while let Some(place) = self.dirty.pop_first() {
            if batch.len() == BATCH {
                later.insert(place);
                break;
            }
            match self.difference(place, now) {
                Difference::None => {}
                Difference::Moot => {
                    self.kernel.remove(&place);
                }
                Difference::Wait => {
                    later.insert(place);
                }
                Difference::Change(op) => {
                    batch.push(Change { key: place.key, metric: place.metric, op });
                }
            }
        }
        self.dirty.append(&mut later);
        self.in_flight.clone_from(&batch);
        batch
    }

    fn difference(&self, place: Place, now: Instant) -> Difference {
        let wanted = self.wanted(&place);
        let state = self.kernel.get(&place);
        let installed = state.and_then(|state| state.installed);
        let refused = state.and_then(|state| state.refused.as_ref());
        // What was refused is not asked for again before its time; until then another may stand in its place.
        let waits = refused.filter(|refused| refused.target == wanted && refused.retry > now);
        let target = match waits {
            Some(refused) if refused.stands_in => Some(Hop::Unreachable),
            Some(_) => return Difference::Wait,
            None => wanted,
        };
        match (installed, target) {
            (None, None) => Difference::Moot,
            (None, Some(hop)) => Difference::Change(Op::Add(hop)),
            (Some(held), Some(hop)) if held != hop => Difference::Change(Op::Replace { old: held, new: hop }),
            (Some(_), Some(_)) if waits.is_some() => Difference::Wait,
            (Some(_), Some(_)) => Difference::None,
            (Some(_), None) if self.moving => Difference::Wait,
            (Some(held), None) => Difference::Change(Op::Delete(held)),
        }
    }

    /// What shall stand there; nothing stands where an earlier metric was.
    fn wanted(&self, place: &Place) -> Option<Hop> {
        self.wish_for(place).map(|wish| wish.hop)
    }

    fn wish_for(&self, place: &Place) -> Option<&Wish> {
        let (_, wish) = self.effective(&place.key).filter(|_| place.metric == self.metric)?;
        Some(wish)
    }

    /// The outcome of the batch that was under way, in its order. What the kernel did not answer is read anew later.
    pub(crate) fn applied(&mut self, outcomes: &[Applied], now: Instant) {
        let batch = std::mem::take(&mut self.in_flight);
        for (index, change) in batch.iter().enumerate() {
            let (outcome, place) = (outcomes.get(index), place_of(change));
            match (outcome, change.op) {
                (Some(Applied::Done), op) => self.done(place, target_of(op)),
                (Some(Applied::Foreign), op) => {
                    self.fail(place, op, "a route of someone else has this prefix and metric", now);
                    let state = self.kernel.entry(place).or_default();
                    state.installed = None;
                    // The other's route has the place: there is none for a stand-in.
                    state.refused.iter_mut().for_each(|refused| refused.stands_in = false);
                }
                (Some(Applied::Failed(why)), op) => self.fail(place, op, why, now),
                (None, op) => self.fail(place, op, "the kernel did not answer", now),
            }
            // A wish may have changed while the batch was under way.
            self.dirty.insert(place);
        }
    }

    fn done(&mut self, place: Place, target: Option<Hop>) {
        let wanted = self.wanted(&place);
        let state = self.kernel.entry(place).or_default();
        state.installed = target;
        // A stand-in says nothing of what it stands for.
        if target == wanted || state.refused.as_ref().is_some_and(|refused| refused.target != wanted) {
            state.refused = None;
        }
    }

    fn fail(&mut self, place: Place, op: Op, why: &str, now: Instant) {
        let target = target_of(op);
        let closed = self.wish_for(&place).is_some_and(|wish| wish.closed && Some(wish.hop) == target);
        let wanted = self.wanted(&place);
        let state = self.kernel.entry(place).or_default();
        match &mut state.refused {
            // Not even the stand-in: then the next try of the route itself is waited for.
            Some(refused) if refused.target == wanted && target != wanted => refused.stands_in = false,
            refused => {
                let wait = if target.is_some() { RETRY } else { RETRY_REMOVAL };
                let (why, retry) = (why.to_owned(), now + wait);
                *refused = Some(Refused { target, why, retry, stands_in: closed });
            }
        }
    }

    /// When a refused route wants its next try.
    #[must_use]
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.dirty
            .iter()
            .filter_map(|place| self.kernel.get(place)?.refused.as_ref().map(|refused| refused.retry))
            .min()
    }

    /// Is everything as wished, or waiting for a retry? What is to be removed and is still there is not.
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        let waits = |place: &Place| {
            self.kernel.get(place).is_some_and(|state| {
                state.refused.is_some() && (state.installed.is_none() || self.wanted(place).is_some())
            })
        };
        self.in_flight.is_empty() && self.dirty.iter().all(waits)
    }

    /// Is it in the kernel as wished?
    #[must_use]
    pub(crate) fn is_installed(&self, key: &Key) -> bool {
        let place = Place { key: *key, metric: self.metric };
        let installed = self.kernel.get(&place).and_then(|state| state.installed);
        installed.is_some() && installed == self.effective(key).map(|(_, wish)| wish.hop)
    }

    /// Everything wished, for `show routes`.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.wishes.keys().into_iter().filter_map(|key| {
            let (origin, wish) = self.effective(&key)?;
            let held = self.kernel.get(&Place { key, metric: self.metric });
            let refused = held.and_then(|held| held.refused.as_ref());
            let (state, why) = match (held.and_then(|held| held.installed), refused) {
                (Some(hop), _) if hop == wish.hop => ("installed", None),
                (_, Some(refused)) if refused.target == Some(wish.hop) => ("failed", Some(&*refused.why)),
                (_, _) => ("pending", None),
            };
            Some(Row { key, origin, wish, state, why })
        })
    }

    fn effective(&self, key: &Key) -> Option<(Origin, &Wish)> {
        self.wishes.first(key)
    }
}

/// What a change leaves in its place.
fn target_of(op: Op) -> Option<Hop> {
    match op {
        Op::Add(hop) | Op::Replace { new: hop, .. } => Some(hop),
        Op::Delete(_) => None,
    }
}

fn place_of(change: &Change) -> Place {
    Place { key: change.key, metric: change.metric }
}

enum Difference {
    None,
    /// Nothing is there, and nobody wants anything.
    Moot,
    Wait,
    Change(Op),
}

#[cfg(test)]
mod tests;
