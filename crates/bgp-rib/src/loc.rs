//! Loc-RIB: every usable path to every prefix, ranked (RFC 4271 sections 3.2 and 9.1.2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bgp_wire::PathAttributes;
use inet::Prefix;

use crate::adj_in::InChange;
use crate::decision::{Options, Step, rank};
use crate::route::{NeighborId, Path, Peer, Source};

/// The best path to a prefix moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BestChange {
    /// The prefix.
    pub prefix: Prefix,
    /// The best path from now on; `None` when there is none left. It belongs in the forwarding table
    /// only if its source is a neighbour.
    pub best: Option<Path>,
}

/// All usable paths.
#[derive(Clone, Debug, Default)]
pub struct LocRib {
    options: Options,
    entries: BTreeMap<Prefix, Vec<(Path, Step)>>,
    arrivals: u64,
}

impl LocRib {
    /// An empty table that decides with `options`.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self { options, ..Self::default() }
    }

    /// Takes over what [`crate::AdjRibIn`] said about a neighbour's route.
    pub fn apply(
        &mut self,
        peer: &Peer,
        prefix: Prefix,
        change: InChange,
        now: Instant,
    ) -> Option<BestChange> {
        match change {
            InChange::Unchanged => None,
            InChange::Usable(attributes) => self.put(Source::Neighbor(*peer), prefix, attributes, now),
            InChange::Unusable => self.take(prefix, Some(peer.id)),
        }
    }

    /// Originates a prefix here.
    pub fn originate(
        &mut self,
        prefix: Prefix,
        attributes: Arc<PathAttributes>,
        now: Instant,
    ) -> Option<BestChange> {
        self.put(Source::Local, prefix, attributes, now)
    }

    /// No longer originates it.
    pub fn stop_originating(&mut self, prefix: Prefix) -> Option<BestChange> {
        self.take(prefix, None)
    }

    /// Drops the neighbour's path to each of `prefixes`, as when its session ends; those whose best moved
    /// come back.
    pub fn withdraw_all(&mut self, id: NeighborId, prefixes: &[Prefix]) -> Vec<BestChange> {
        prefixes.iter().filter_map(|prefix| self.take(*prefix, Some(id))).collect()
    }

    /// The best path to exactly this prefix, and the step that decided.
    #[must_use]
    pub fn best(&self, prefix: &Prefix) -> Option<&(Path, Step)> {
        self.entries.get(prefix)?.first()
    }

    /// All paths to exactly this prefix, the best first; each loser with the step it lost at, the winner
    /// with the step at which the second lost.
    #[must_use]
    pub fn paths(&self, prefix: &Prefix) -> &[(Path, Step)] {
        self.entries.get(prefix).map_or(&[], Vec::as_slice)
    }

    /// All prefixes with their ranked paths, in prefix order.
    pub fn iter(&self) -> impl Iterator<Item = (&Prefix, &[(Path, Step)])> {
        self.entries.iter().map(|(prefix, paths)| (prefix, paths.as_slice()))
    }

    /// How many prefixes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how many octets the entries take, their attributes aside, which routes share.
    #[must_use]
    pub fn memory(&self) -> usize {
        let paths: usize = self.entries.values().map(Vec::len).sum();
        self.entries.len() * size_of::<(Prefix, Vec<(Path, Step)>)>() + paths * size_of::<(Path, Step)>()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(
        &mut self,
        source: Source,
        prefix: Prefix,
        attributes: Arc<PathAttributes>,
        now: Instant,
    ) -> Option<BestChange> {
        self.arrivals += 1;
        let new = Path { source, attributes, since: now, arrival: self.arrivals };
        let id = source.neighbor();
        self.change(prefix, |paths| {
            let same = |old: &Path| old.source == new.source && old.attributes == new.attributes;
            if paths.iter().any(same) {
                return;
            }
            paths.retain(|old| old.source.neighbor() != id);
            paths.push(new);
        })
    }

    fn take(&mut self, prefix: Prefix, id: Option<NeighborId>) -> Option<BestChange> {
        self.change(prefix, |paths| paths.retain(|path| path.source.neighbor() != id))
    }

    /// Changes the paths to one prefix, ranks them, and says whether the best moved in content.
    fn change(&mut self, prefix: Prefix, edit: impl FnOnce(&mut Vec<Path>)) -> Option<BestChange> {
        let ranked = self.entries.remove(&prefix).unwrap_or_default();
        let mut paths: Vec<Path> = ranked.into_iter().map(|(path, _)| path).collect();
        let before = paths.first().cloned();
        edit(&mut paths);
        let ranked = rank(paths, &self.options);
        let best = ranked.first().map(|(path, _)| path.clone());
        if !ranked.is_empty() {
            self.entries.insert(prefix, ranked);
        }
        let content = |path: &Option<Path>| path.as_ref().map(|p| (p.source, Arc::clone(&p.attributes)));
        (content(&before) != content(&best)).then_some(BestChange { prefix, best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{learned, now, peer, prefix};

    struct World {
        table: LocRib,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { table: LocRib::new(Options::default()), now: now() }
        }

        fn offer(&mut self, id: u32, text: &str, path: &[u32]) -> Option<BestChange> {
            let change = InChange::Usable(Arc::new(learned(path)));
            self.table.apply(&peer(id), prefix(text), change, self.now)
        }

        fn withdraw(&mut self, id: u32, text: &str) -> Option<BestChange> {
            self.table.apply(&peer(id), prefix(text), InChange::Unusable, self.now)
        }
    }

    fn winner(change: Option<BestChange>) -> Option<u32> {
        change.expect("the best moved").best.map(|path| path.source.neighbor().unwrap().0)
    }

    #[test]
    fn the_best_falls_over_to_the_next_and_back() {
        let mut world = World::new();
        assert_eq!(winner(world.offer(1, "10.0.0.0/8", &[65515])), Some(1));
        assert_eq!(world.offer(2, "10.0.0.0/8", &[65515]), None, "an equal younger path changes nothing");
        assert_eq!(winner(world.withdraw(1, "10.0.0.0/8")), Some(2));
        assert_eq!(world.offer(1, "10.0.0.0/8", &[65515]), None, "the older path stays");
        assert_eq!(winner(world.offer(1, "10.0.0.0/8", &[])), Some(1));
        world.withdraw(1, "10.0.0.0/8");
        assert_eq!(winner(world.withdraw(2, "10.0.0.0/8")), None);
        assert!(world.table.is_empty());
    }

    #[test]
    fn a_repeated_path_keeps_its_age() {
        let mut world = World::new();
        world.offer(1, "10.0.0.0/8", &[65515]);
        world.offer(2, "10.0.0.0/8", &[65515]);
        assert_eq!(world.offer(1, "10.0.0.0/8", &[65515]), None);
        assert_eq!(world.table.best(&prefix("10.0.0.0/8")).unwrap().1, Step::Oldest);
    }

    #[test]
    fn what_we_originate_is_best_and_says_so() {
        let mut world = World::new();
        world.offer(1, "192.168.1.0/24", &[65515]);
        let change = world.table.originate(prefix("192.168.1.0/24"), Arc::new(learned(&[])), world.now);
        assert_eq!(change.unwrap().best.unwrap().source, Source::Local);
        let paths = world.table.paths(&prefix("192.168.1.0/24"));
        assert_eq!((paths.len(), paths[1].1), (2, Step::Weight));
        assert_eq!(winner(world.table.stop_originating(prefix("192.168.1.0/24"))), Some(1));
    }

    #[test]
    fn a_session_that_ends_takes_only_its_own_paths() {
        let mut world = World::new();
        let both = [prefix("10.0.0.0/8"), prefix("11.0.0.0/8")];
        world.offer(1, "10.0.0.0/8", &[65515]);
        world.offer(1, "11.0.0.0/8", &[65515]);
        world.offer(2, "11.0.0.0/8", &[65515]);
        let changes = world.table.withdraw_all(NeighborId(1), &both);
        assert_eq!(changes.len(), 2);
        assert_eq!((world.table.len(), world.table.paths(&both[1]).len()), (1, 1));
    }
}
