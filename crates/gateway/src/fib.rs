//! The routes we want in the kernel, reconciled with those that are there.
//!
//! Everyone states wishes (`want`, `forget`); [`Fib::reconcile`] turns the difference into one batch at
//! a time, whose outcome comes back through [`Fib::applied`]. The kernel's identity of a route is table,
//! prefix and metric; with one constant metric a (table, prefix) holds at most one route of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use inet::Prefix;

/// `rtm_protocol` of every route of ours: free in the registries in use, and easy to remember.
pub const PROTOCOL: u8 = 179;
/// Routes in one batch: keeps a batch's answer within milliseconds.
const BATCH: usize = 512;
/// How long a route the kernel refused waits for its next try.
const RETRY: Duration = Duration::from_secs(5);

/// Where a route stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kernel's table.
    pub table: u32,
    /// The destination.
    pub prefix: Prefix,
}

/// Why a route is wanted. Where two want the same key, the first in this order has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Origin {
    /// The path to a peer's outer address through the underlay.
    Peer,
    /// A tunnel neighbour's address.
    Neighbor,
    /// From the file.
    Static,
    /// Learned.
    Bgp,
    /// A learned prefix whose tunnel is down.
    Unreachable,
    /// Left by an earlier run; stands as unreachable until its tunnel has spoken again.
    Stale,
}

impl Origin {
    /// As `show routes` prints it.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Neighbor => "neighbor",
            Self::Static => "static",
            Self::Bgp => "bgp",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
        }
    }
}

/// Where packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Out of a device, to a gateway on it or directly.
    Device {
        /// The device.
        ifindex: u32,
        /// The gateway.
        gateway: Option<IpAddr>,
        /// The preferred source.
        source: Option<IpAddr>,
    },
    /// Nowhere: the sender is told.
    Unreachable,
}

/// One change for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which route.
    pub key: Key,
    /// The metric of all our routes.
    pub metric: u32,
    /// What to do.
    pub op: Op,
}

/// What to do with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Create it; fails if any route has the key.
    Add(Hop),
    /// Put it in the place of ours.
    Replace {
        /// What stands there now.
        old: Hop,
        /// What shall.
        new: Hop,
    },
    /// Remove ours.
    Delete(Hop),
}

/// What came of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Done, or it already was.
    Done,
    /// A route of someone else has the key.
    Foreign,
    /// Refused, in the kernel's words.
    Failed(String),
}

/// A wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Where to.
    pub(crate) hop: Hop,
    /// The tunnel or neighbour it comes from.
    pub(crate) from: String,
}

#[derive(Clone, Debug)]
enum State {
    Installed(Hop),
    Failed { why: String, retry: Instant },
}

/// The table.
#[derive(Debug)]
pub(crate) struct Fib {
    metric: u32,
    wishes: BTreeMap<Key, BTreeMap<Origin, Wish>>,
    kernel: BTreeMap<Key, State>,
    dirty: BTreeSet<Key>,
    in_flight: Vec<Change>,
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
            wishes: BTreeMap::new(),
            kernel: BTreeMap::new(),
            dirty: BTreeSet::new(),
            in_flight: Vec::new(),
        }
    }

    /// States a wish; the same again changes nothing.
    pub(crate) fn want(&mut self, key: Key, origin: Origin, wish: Wish) {
        let slot = self.wishes.entry(key).or_default();
        if slot.get(&origin) != Some(&wish) {
            slot.insert(origin, wish);
            self.dirty.insert(key);
        }
    }

    /// Takes it back.
    pub(crate) fn forget(&mut self, key: Key, origin: Origin) {
        let Some(slot) = self.wishes.get_mut(&key) else { return };
        if slot.remove(&origin).is_some() {
            self.dirty.insert(key);
        }
        if slot.is_empty() {
            self.wishes.remove(&key);
        }
    }

    /// Takes back every wish of `origin` that `which` picks.
    pub(crate) fn forget_where(&mut self, origin: Origin, which: impl Fn(&Key, &Wish) -> bool) {
        let keys: Vec<Key> = self
            .wishes
            .iter()
            .filter(|(key, slot)| slot.get(&origin).is_some_and(|wish| which(key, wish)))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            self.forget(key, origin);
        }
    }

    /// The wishes of one origin.
    pub(crate) fn wishes(&self, origin: Origin) -> impl Iterator<Item = (&Key, &Wish)> {
        self.wishes.iter().filter_map(move |(key, slot)| slot.get(&origin).map(|wish| (key, wish)))
    }

    /// What the kernel holds of ours, read anew: whatever differs is put right by the next batch.
    pub(crate) fn observed(&mut self, found: &[(Key, Hop)]) {
        let found: BTreeMap<Key, Hop> = found.iter().copied().collect();
        let flying: BTreeSet<Key> = self.in_flight.iter().map(|change| change.key).collect();
        let gone: Vec<Key> = self
            .kernel
            .iter()
            .filter(|(key, state)| {
                matches!(state, State::Installed(_)) && !found.contains_key(key) && !flying.contains(key)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in gone {
            self.kernel.remove(&key);
            self.dirty.insert(key);
        }
        for (key, hop) in found {
            let known = matches!(self.kernel.get(&key), Some(State::Installed(held)) if *held == hop);
            if !known && !flying.contains(&key) {
                self.kernel.insert(key, State::Installed(hop));
                self.dirty.insert(key);
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
        while let Some(key) = self.dirty.pop_first() {
            if batch.len() == BATCH {
                later.insert(key);
                break;
            }
            match self.difference(key, now) {
                Difference::None => {}
                Difference::Wait => {
                    later.insert(key);
                }
                Difference::Change(op) => batch.push(Change { key, metric: self.metric, op }),
            }
        }
        self.dirty.append(&mut later);
        self.in_flight.clone_from(&batch);
        batch
    }

    fn difference(&self, key: Key, now: Instant) -> Difference {
        let want = self.effective(&key).map(|(_, wish)| wish.hop);
        match (self.kernel.get(&key), want) {
            (None, None) | (Some(State::Failed { .. }), None) => Difference::None,
            (None, Some(hop)) => Difference::Change(Op::Add(hop)),
            (Some(State::Installed(held)), Some(hop)) if *held == hop => Difference::None,
            (Some(State::Installed(held)), Some(hop)) => {
                Difference::Change(Op::Replace { old: *held, new: hop })
            }
            (Some(State::Installed(held)), None) => Difference::Change(Op::Delete(*held)),
            (Some(State::Failed { retry, .. }), Some(_)) if *retry > now => Difference::Wait,
            (Some(State::Failed { .. }), Some(hop)) => Difference::Change(Op::Add(hop)),
        }
    }

    /// The outcome of the batch that was under way, in its order. What the kernel did not answer is read anew later.
    pub(crate) fn applied(&mut self, outcomes: &[Applied], now: Instant) {
        let batch = std::mem::take(&mut self.in_flight);
        for (index, change) in batch.iter().enumerate() {
            let outcome = outcomes.get(index);
            match (outcome, change.op) {
                (Some(Applied::Done), Op::Add(hop) | Op::Replace { new: hop, .. }) => {
                    self.kernel.insert(change.key, State::Installed(hop));
                }
                (Some(Applied::Done), Op::Delete(_)) => {
                    self.kernel.remove(&change.key);
                }
                (Some(Applied::Foreign), _) => {
                    self.fail(change.key, "a route of someone else has this prefix and metric", now);
                }
                (Some(Applied::Failed(why)), _) => self.fail(change.key, why, now),
                (None, _) => self.fail(change.key, "the kernel did not answer", now),
            }
            // A wish may have changed while the batch was under way.
            self.dirty.insert(change.key);
        }
    }

    fn fail(&mut self, key: Key, why: &str, now: Instant) {
        self.kernel.insert(key, State::Failed { why: why.to_owned(), retry: now + RETRY });
    }

    /// When a refused route wants its next try.
    #[must_use]
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.dirty
            .iter()
            .filter_map(|key| match self.kernel.get(key) {
                Some(State::Failed { retry, .. }) => Some(*retry),
                Some(State::Installed(_)) | None => None,
            })
            .min()
    }

    /// Is everything as wished, or waiting for a retry?
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        self.in_flight.is_empty()
            && self.dirty.iter().all(|key| matches!(self.kernel.get(key), Some(State::Failed { .. })))
    }

    /// Is it in the kernel as wished?
    #[must_use]
    pub(crate) fn is_installed(&self, key: &Key) -> bool {
        match (self.kernel.get(key), self.effective(key)) {
            (Some(State::Installed(held)), Some((_, wish))) => *held == wish.hop,
            _ => false,
        }
    }

    /// Everything wished, for `show routes`.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.wishes.keys().filter_map(|key| {
            let (origin, wish) = self.effective(key)?;
            let (state, why) = match self.kernel.get(key) {
                Some(State::Installed(held)) if *held == wish.hop => ("installed", None),
                Some(State::Installed(_)) | None => ("pending", None),
                Some(State::Failed { why, .. }) => ("failed", Some(why.as_str())),
            };
            Some(Row { key: *key, origin, wish, state, why })
        })
    }

    fn effective(&self, key: &Key) -> Option<(Origin, &Wish)> {
        self.wishes.get(key)?.iter().next().map(|(origin, wish)| (*origin, wish))
    }
}

enum Difference {
    None,
    Wait,
    Change(Op),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(prefix: &str) -> Key {
        Key { table: 254, prefix: prefix.parse().unwrap() }
    }

    fn device(ifindex: u32) -> Wish {
        Wish { hop: Hop::Device { ifindex, gateway: None, source: None }, from: "azure".into() }
    }

    fn unreachable() -> Wish {
        Wish { hop: Hop::Unreachable, from: "azure".into() }
    }

    /// A kernel that does what it is told, and holds what it holds.
    fn settle(fib: &mut Fib, now: Instant) -> Vec<Change> {
        let mut all = Vec::new();
        loop {
            let batch = fib.reconcile(now);
            if batch.is_empty() {
                return all;
            }
            fib.applied(&vec![Applied::Done; batch.len()], now);
            all.extend(batch);
        }
    }

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some point in time")]
        Instant::now()
    }

    #[test]
    fn a_dead_tunnels_prefix_is_replaced_in_one_step_and_comes_back_in_one() {
        let (mut fib, now) = (Fib::new(20), now());
        fib.want(key("172.16.0.0/22"), Origin::Bgp, device(7));
        settle(&mut fib, now);
        fib.want(key("172.16.0.0/22"), Origin::Unreachable, unreachable());
        assert!(settle(&mut fib, now).is_empty(), "the learned route still has the key");
        fib.forget(key("172.16.0.0/22"), Origin::Bgp);
        let changes = settle(&mut fib, now);
        assert!(matches!(changes[..], [Change { op: Op::Replace { new: Hop::Unreachable, .. }, .. }]));
    }

    #[test]
    fn a_route_the_kernel_dropped_is_put_back() {
        let (mut fib, now) = (Fib::new(20), now());
        fib.want(key("10.0.0.0/8"), Origin::Static, device(7));
        settle(&mut fib, now);
        fib.observed(&[]);
        assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Add(_), .. }]));
    }

    #[test]
    fn a_stale_route_of_an_earlier_run_is_removed_when_nobody_wants_it() {
        let (mut fib, now) = (Fib::new(20), now());
        fib.observed(&[(key("10.0.0.0/8"), Hop::Unreachable)]);
        assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Delete(Hop::Unreachable), .. }]));
    }

    #[test]
    fn a_foreign_route_is_left_alone_and_tried_again_later() {
        let (mut fib, now) = (Fib::new(20), now());
        fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
        assert_eq!(fib.reconcile(now).len(), 1);
        fib.applied(&[Applied::Foreign], now);
        assert!(fib.reconcile(now).is_empty());
        assert_eq!(fib.rows().next().unwrap().state, "failed");
        assert_eq!(fib.next_retry(), Some(now + RETRY));
        assert_eq!(fib.reconcile(now + RETRY).len(), 1);
    }

    #[test]
    fn a_wish_changed_while_a_batch_flies_is_not_lost() {
        let (mut fib, now) = (Fib::new(20), now());
        fib.want(key("10.0.0.0/8"), Origin::Bgp, device(7));
        let batch = fib.reconcile(now);
        fib.forget(key("10.0.0.0/8"), Origin::Bgp);
        assert!(fib.reconcile(now).is_empty(), "one batch at a time");
        fib.applied(&vec![Applied::Done; batch.len()], now);
        assert!(matches!(settle(&mut fib, now)[..], [Change { op: Op::Delete(_), .. }]));
    }

    #[test]
    fn a_batch_is_bounded_and_the_rest_follows() {
        let (mut fib, now) = (Fib::new(20), now());
        for i in 0..1500_u32 {
            let prefix = Prefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + (i << 8)).into(), 24).unwrap();
            fib.want(Key { table: 254, prefix }, Origin::Bgp, device(7));
        }
        assert_eq!(fib.reconcile(now).len(), BATCH);
        fib.applied(&vec![Applied::Done; BATCH], now);
        assert_eq!(settle(&mut fib, now).len(), 1500 - BATCH);
    }
}
