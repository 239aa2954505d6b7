//! The choice among paths (RFC 4271 section 9.1.2.2) and the step that made it.
//!
//! MED is compared only between paths of one neighbouring AS, which alone is no order: a < b < c < a can
//! happen. So paths are grouped by neighbouring AS first, each group has its order with MED, and the heads of
//! the groups are compared without ("deterministic MED"). The outcome never depends on the order of arrival,
//! except in the step that asks for age by name.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use bgp_wire::PeerKind;

use crate::route::{NeighborId, Path, Peer, Source};

/// LOCAL_PREF of a path that carries none, as every external path does.
const DEFAULT_LOCAL_PREF: u32 = 100;

/// The knobs of the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Compare MED between different neighbouring ASes too. Off: their scales have nothing in common.
    pub always_compare_med: bool,
    /// A missing MED counts as the worst instead of as 0. Off, as RFC 4271 section 9.1.2.2 (c) has it.
    pub missing_med_worst: bool,
    /// Skip the age of external paths and go on to the router ID. Off: an established path stays, so a
    /// tunnel that comes back does not move traffic a second time.
    pub ignore_age: bool,
}

/// The steps in their order; each loser is shown with the step it lost at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// There is no other path.
    OnlyPath,
    /// The higher weight, which the operator gives a neighbour; ours have 32768.
    Weight,
    /// The higher LOCAL_PREF; 100 where there is none.
    LocalPref,
    /// Ours over learned.
    LocallyOriginated,
    /// The shorter AS_PATH; a set counts 1.
    AsPathLength,
    /// The lower ORIGIN: IGP, EGP, incomplete.
    Origin,
    /// The lower MULTI_EXIT_DISC, between paths of one neighbouring AS.
    Med,
    /// External over internal.
    External,
    /// The older of two external paths.
    Oldest,
    /// The lower BGP identifier, or ORIGINATOR_ID.
    RouterId,
    /// The shorter CLUSTER_LIST (RFC 4456 section 9).
    ClusterList,
    /// The lower peer address.
    PeerAddress,
    /// The same peer address behind two tunnels: the neighbour configured first.
    Neighbor,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnlyPath => "only path",
            Self::Weight => "weight",
            Self::LocalPref => "local preference",
            Self::LocallyOriginated => "locally originated",
            Self::AsPathLength => "AS path length",
            Self::Origin => "origin",
            Self::Med => "MED",
            Self::External => "external over internal",
            Self::Oldest => "oldest external path",
            Self::RouterId => "router ID",
            Self::ClusterList => "cluster list length",
            Self::PeerAddress => "peer address",
            Self::Neighbor => "neighbour number",
        })
    }
}

/// Orders `paths`, the best first, each with the step at which it lost; the winner's step is the one at
/// which the runner-up lost, or [`Step::OnlyPath`].
#[must_use]
pub fn rank(paths: Vec<Path>, options: &Options) -> Vec<(Path, Step)> {
    let mut groups: BTreeMap<Option<u32>, Vec<Path>> = BTreeMap::new();
    for path in paths {
        groups.entry(path.attributes.as_path.first_as()).or_default().push(path);
    }
    for group in groups.values_mut() {
        // The best stands last, to be popped.
        group.sort_by(|a, b| compare(b, a, options, same_as_med(a, b)).0);
    }
    let mut groups: Vec<Vec<Path>> = groups.into_values().collect();
    let mut ranked: Vec<(Path, Step)> = Vec::new();
    while let Some(next) = pop_best_head(&mut groups, options) {
        let step = lost_at(&ranked, &next, options);
        ranked.push((next, step));
    }
    let runner_up = ranked.get(1).map_or(Step::OnlyPath, |(_, step)| *step);
    if let Some((_, step)) = ranked.first_mut() {
        *step = runner_up;
    }
    ranked
}

fn pop_best_head(groups: &mut [Vec<Path>], options: &Options) -> Option<Path> {
    let best =
        groups.iter_mut().filter(|group| !group.is_empty()).min_by(|a, b| match (a.last(), b.last()) {
            (Some(a), Some(b)) => compare(a, b, options, false).0,
            (None, _) | (_, None) => Ordering::Equal,
        })?;
    best.pop()
}

/// A path loses to the best of its own group if it is not that, else to the winner.
fn lost_at(ranked: &[(Path, Step)], path: &Path, options: &Options) -> Step {
    let group = path.attributes.as_path.first_as();
    let own_head =
        ranked.iter().map(|(other, _)| other).find(|other| other.attributes.as_path.first_as() == group);
    let Some(better) = own_head.or_else(|| ranked.first().map(|(winner, _)| winner)) else {
        return Step::OnlyPath;
    };
    compare(better, path, options, same_as_med(better, path)).1
}

/// RFC 4271 section 9.1.2.2 (c): MED "is only comparable between routes learned from the same neighboring AS".
fn same_as_med(a: &Path, b: &Path) -> bool {
    let first = a.attributes.as_path.first_as();
    first.is_some() && first == b.attributes.as_path.first_as()
}

/// `Less` when `a` is preferred, and the step that says so. Total for a fixed `med`: the last step tells
/// any two neighbours apart, and one neighbour has one path.
pub(crate) fn compare(a: &Path, b: &Path, options: &Options, med: bool) -> (Ordering, Step) {
    let (x, y) = (&a.attributes, &b.attributes);
    let local_pref = |path: &Path| Reverse(path.attributes.local_pref.unwrap_or(DEFAULT_LOCAL_PREF));
    let steps: [(Step, Ordering); 7] = [
        (Step::Weight, b.weight().cmp(&a.weight())),
        (Step::LocalPref, local_pref(a).cmp(&local_pref(b))),
        (Step::LocallyOriginated, is_learned(a).cmp(&is_learned(b))),
        (Step::AsPathLength, x.as_path.hop_count().cmp(&y.as_path.hop_count())),
        (Step::Origin, x.origin.cmp(&y.origin)),
        (Step::Med, compare_med(a, b, options, med)),
        (Step::External, is_internal(a).cmp(&is_internal(b))),
    ];
    steps
        .into_iter()
        .find(|(_, order)| order.is_ne())
        .map_or_else(|| break_tie(a, b, options), |(step, order)| (order, step))
}

fn compare_med(a: &Path, b: &Path, options: &Options, med: bool) -> Ordering {
    if !med && !options.always_compare_med {
        return Ordering::Equal;
    }
    let missing = if options.missing_med_worst { u32::MAX } else { 0 };
    a.attributes.med.unwrap_or(missing).cmp(&b.attributes.med.unwrap_or(missing))
}

fn break_tie(a: &Path, b: &Path, options: &Options) -> (Ordering, Step) {
    let age = if options.ignore_age || is_internal(a) { Ordering::Equal } else { a.arrival.cmp(&b.arrival) };
    let steps: [(Step, Ordering); 5] = [
        (Step::Oldest, age),
        (Step::RouterId, router_id(a).cmp(&router_id(b))),
        (Step::ClusterList, a.attributes.cluster_list.len().cmp(&b.attributes.cluster_list.len())),
        (Step::PeerAddress, peer_address(a).cmp(&peer_address(b))),
        (Step::Neighbor, neighbor(a).cmp(&neighbor(b))),
    ];
    let found = steps.into_iter().find(|(_, order)| order.is_ne());
    found.map_or((Ordering::Equal, Step::Neighbor), |(step, order)| (order, step))
}

fn peer(path: &Path) -> Option<&Peer> {
    match &path.source {
        Source::Local => None,
        Source::Neighbor(peer) => Some(peer),
    }
}

fn is_learned(path: &Path) -> bool {
    peer(path).is_some()
}

fn is_internal(path: &Path) -> bool {
    peer(path).is_some_and(|peer| peer.kind == PeerKind::Internal)
}

fn router_id(path: &Path) -> Option<Ipv4Addr> {
    path.attributes.originator_id.or_else(|| peer(path).map(|peer| peer.router_id))
}

fn peer_address(path: &Path) -> Option<IpAddr> {
    peer(path).map(|peer| peer.address)
}

fn neighbor(path: &Path) -> Option<NeighborId> {
    path.source.neighbor()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bgp_wire::{AsPath, Origin, PathAttributes};
    use proptest::prelude::*;

    use super::*;
    use crate::samples::{learned, path};

    fn with(id: u32, arrival: u64, change: impl FnOnce(&mut PathAttributes)) -> Path {
        let mut attributes = learned(&[65515]);
        change(&mut attributes);
        path(id, attributes, arrival)
    }

    /// Who wins, and at which step the other lost.
    fn duel(a: Path, b: Path) -> (u32, Step) {
        let ranked = rank(vec![a, b], &Options::default());
        (ranked[0].0.source.neighbor().unwrap().0, ranked[1].1)
    }

    #[test]
    fn each_step_decides_when_all_before_it_are_equal() {
        let plain = |id, arrival| with(id, arrival, |_| ());
        assert_eq!(duel(plain(2, 0), with(1, 1, |a| a.local_pref = Some(101))), (1, Step::LocalPref));
        assert_eq!(
            duel(plain(2, 1), with(1, 0, |a| a.as_path = AsPath::sequence([65515, 7]))),
            (2, Step::AsPathLength)
        );
        assert_eq!(duel(plain(2, 1), with(1, 0, |a| a.origin = Origin::Incomplete)), (2, Step::Origin));
        assert_eq!(duel(plain(2, 1), with(1, 0, |a| a.med = Some(1))), (2, Step::Med));
        assert_eq!(duel(plain(2, 0), plain(1, 1)), (2, Step::Oldest));
    }

    #[test]
    fn weight_decides_before_anything_a_path_says_of_itself() {
        let heavy = |weight, id, local_pref| {
            let mut path = with(id, 0, |a| a.local_pref = Some(local_pref));
            if let Source::Neighbor(peer) = &mut path.source {
                peer.weight = weight;
            }
            path
        };
        assert_eq!(duel(heavy(1, 2, 50), heavy(0, 1, 500)), (2, Step::Weight));
        let ours = || Path { source: Source::Local, ..path(9, learned(&[]), 9) };
        let best = |learned: Path| rank(vec![learned, ours()], &Options::default())[0].clone();
        assert_eq!(best(heavy(40_000, 1, 100)).1, Step::Weight);
        assert_ne!(best(heavy(40_000, 1, 100)).0.source, Source::Local);
        // Of equal weight and preference ours still wins.
        assert_eq!(best(heavy(Path::OWN_WEIGHT, 1, 100)).1, Step::LocallyOriginated);
        assert_eq!(best(heavy(Path::OWN_WEIGHT, 1, 100)).0.source, Source::Local);
    }

    #[test]
    fn what_is_ours_beats_what_is_learned_and_internal_loses_to_external() {
        let ours = Path { source: Source::Local, ..path(9, learned(&[]), 9) };
        let ranked = rank(vec![path(1, learned(&[65515]), 0), ours], &Options::default());
        assert_eq!((ranked[0].0.source, ranked[0].1), (Source::Local, Step::Weight));

        let mut internal = with(1, 0, |_| ());
        if let Source::Neighbor(peer) = &mut internal.source {
            peer.kind = PeerKind::Internal;
        }
        assert_eq!(duel(internal, with(2, 5, |_| ())), (2, Step::External));
    }

    #[test]
    fn without_age_the_router_id_decides_and_then_the_neighbour() {
        let options = Options { ignore_age: true, ..Options::default() };
        let ranked = rank(vec![with(2, 0, |_| ()), with(1, 1, |_| ())], &options);
        assert_eq!((ranked[0].0.source.neighbor(), ranked[0].1), (Some(NeighborId(1)), Step::RouterId));

        let mut twin = with(2, 0, |_| ());
        if let (Source::Neighbor(b), Source::Neighbor(a)) = (&mut twin.source, with(1, 0, |_| ()).source) {
            (b.router_id, b.address) = (a.router_id, a.address);
        }
        assert_eq!(rank(vec![twin, with(1, 1, |_| ())], &options)[0].1, Step::Neighbor);
    }

    #[test]
    fn med_of_another_as_is_not_compared_unless_asked() {
        let theirs = || with(1, 1, |a| (a.as_path, a.med) = (AsPath::sequence([7]), Some(0)));
        let ours = || with(2, 0, |a| a.med = Some(50));
        assert_eq!(duel(ours(), theirs()), (2, Step::Oldest));
        let always = Options { always_compare_med: true, ..Options::default() };
        assert_eq!(rank(vec![ours(), theirs()], &always)[0].1, Step::Med);
    }

    #[test]
    fn the_circle_that_med_makes_is_broken_the_same_way_in_every_order() {
        // a beats c by MED, c beats b by age, b beats a by age: without groups there is no best.
        let a = with(1, 3, |p| p.med = Some(1));
        let b = with(2, 2, |p| p.as_path = AsPath::sequence([7]));
        let c = with(3, 1, |p| p.med = Some(9));
        let orders = [[&a, &b, &c], [&a, &c, &b], [&b, &a, &c], [&b, &c, &a], [&c, &a, &b], [&c, &b, &a]];
        for order in orders {
            let ranked = rank(order.into_iter().cloned().collect(), &Options::default());
            let ids: Vec<_> = ranked.iter().map(|(path, _)| path.source.neighbor().unwrap().0).collect();
            assert_eq!(ids, [2, 1, 3]);
            assert_eq!(ranked[2].1, Step::Med, "c lost to a of its own group");
        }
    }

    #[test]
    fn a_single_path_wins_without_a_step() {
        assert_eq!(rank(vec![with(1, 0, |_| ())], &Options::default())[0].1, Step::OnlyPath);
        assert!(rank(Vec::new(), &Options::default()).is_empty());
    }

    prop_compose! {
        fn any_path()(
            id in 0_u32..4, local in prop::bool::weighted(0.1), internal: bool, arrival in 0_u64..1000,
            local_pref in prop::option::of(99_u32..102), med in prop::option::of(0_u32..3),
            asns in prop::collection::vec(1_u32..4, 0..3), origin in 0_u8..3, router_id in 0_u32..3,
            address in 0_u32..3, weight in prop_oneof![4 => Just(0_u16), 1 => Just(Path::OWN_WEIGHT)],
        ) -> Path {
            let mut attributes = learned(&asns);
            (attributes.local_pref, attributes.med) = (local_pref, med);
            attributes.origin = Origin::from_wire(origin).unwrap();
            let mut path = path(id, attributes, arrival);
            if let Source::Neighbor(peer) = &mut path.source {
                peer.kind = if internal { PeerKind::Internal } else { PeerKind::External };
                peer.router_id = Ipv4Addr::from_bits(router_id);
                peer.address = Ipv4Addr::from_bits(address).into();
                peer.weight = weight;
            }
            if local {
                path.source = Source::Local;
            }
            path
        }
    }

    prop_compose! {
        fn any_options()(always_compare_med: bool, missing_med_worst: bool, ignore_age: bool) -> Options {
            Options { always_compare_med, missing_med_worst, ignore_age }
        }
    }

    proptest! {
        #[test]
        fn the_comparison_is_antisymmetric_and_transitive(
            a in any_path(), b in any_path(), c in any_path(), options in any_options(),
        ) {
            // Within a group MED counts, between the heads of groups it does not: both must be orders.
            let same_group = |mut path: Path| {
                Arc::make_mut(&mut path.attributes).as_path = AsPath::sequence([7]);
                path
            };
            for (a, b, c, med) in [
                (a.clone(), b.clone(), c.clone(), false),
                (same_group(a), same_group(b), same_group(c), true),
            ] {
                let order = |x: &Path, y: &Path| compare(x, y, &options, med).0;
                prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
                if order(&a, &b).is_le() && order(&b, &c).is_le() {
                    prop_assert!(order(&a, &c).is_le());
                }
            }
        }

        #[test]
        fn the_ranking_does_not_depend_on_the_order_given(
            mut paths in prop::collection::vec(any_path(), 1..7), options in any_options(), seed: u64,
        ) {
            for (place, path) in (0_u32..).zip(&mut paths) {
                // One path a neighbour, and arrivals are unique, as the table makes them.
                path.arrival = path.arrival * 16 + u64::from(place);
                if let Source::Neighbor(peer) = &mut path.source {
                    peer.id = NeighborId(place);
                }
            }
            let mut locals = 0;
            paths.retain(|path| path.source != Source::Local || { locals += 1; locals == 1 });
            let straight = rank(paths.clone(), &options);
            let shift = usize::try_from(seed % 7).unwrap() % paths.len();
            paths.rotate_left(shift);
            paths.reverse();
            prop_assert_eq!(rank(paths, &options), straight);
        }
    }
}
