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
    Some(Batch::Announce { attributes: attributes(asn), prefixes: nets.iter().map(|n| net(*n)).collect() })
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

#[test]
fn what_changes_and_changes_back_within_a_refresh_is_said_again_all_the_same() {
    // Else a peer that takes what was not said between the two markers for gone (RFC 7313) forgets it.
    let mut out = AdjRibOut::new(None);
    out.set(net(1), Some(attributes(7)));
    out.take(100);
    out.refresh(Family::Ipv4Unicast);
    out.set(net(1), Some(attributes(8)));
    out.set(net(1), Some(attributes(7)));
    assert_eq!(out.take(100), announce(7, &[1]));
    out.refresh(Family::Ipv4Unicast);
    out.set(net(1), None);
    out.set(net(1), Some(attributes(7)));
    assert_eq!(out.take(100), announce(7, &[1]));
    assert_eq!(out.take(100), None);
}

#[test]
fn a_large_table_of_many_attributes_is_said_whole() {
    let mut out = AdjRibOut::new(None);
    let all: Vec<_> = (0..16).map(attributes).collect();
    let prefix = |n: u32| Prefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + (n << 8)).into(), 24).unwrap();
    for (n, attributes) in (0..100_000).zip(all.iter().cycle()) {
        out.set(prefix(n), Some(Arc::clone(attributes)));
    }
    let mut said = 0;
    while let Some(Batch::Announce { prefixes, .. }) = out.take(900) {
        said += prefixes.len();
    }
    assert_eq!((said, out.announced(Family::Ipv4Unicast)), (100_000, 100_000));
}

#[test]
fn what_fits_in_no_message_is_not_tried_again_until_it_changes() {
    let mut out = AdjRibOut::new(Some(1));
    out.set(net(1), Some(attributes(7)));
    out.set(net(2), Some(attributes(8)));
    assert_eq!(out.take(100), announce(7, &[1]));
    out.give_up(&[net(1)]);
    assert_eq!((out.announced(Family::Ipv4Unicast), out.iter().count()), (0, 0));
    assert_eq!(out.take(100), announce(8, &[2]), "its place is free");
    assert_eq!(out.take(100), None);
    out.refresh(Family::Ipv4Unicast);
    assert_eq!(out.take(100), announce(8, &[2]));
    out.set(net(2), None);
    out.set(net(1), Some(attributes(9)));
    assert_eq!(out.take(100), withdraw(&[2]));
    assert_eq!(out.take(100), announce(9, &[1]));
}
