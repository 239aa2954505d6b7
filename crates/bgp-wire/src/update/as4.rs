//! AS_PATH and AGGREGATOR across a session of 2-octet AS numbers (RFC 6793 sections 4.2.2 and 4.2.3).

use super::draft::Draft;
use crate::{AS_TRANS, AsPath, Segment};

/// Puts the 4-octet numbers back where a speaker of two octets carried them beside the path.
pub(super) fn merge(draft: &mut Draft) {
    let (path, aggregator) = (draft.as4_path.take(), draft.as4_aggregator.take());
    // "If the AGGREGATOR attribute is present and its AS number is not AS_TRANS, then both AS4_AGGREGATOR
    // and AS4_PATH are to be ignored" - when the former came with it.
    let plain = draft.aggregator.is_some_and(|aggregator| aggregator.asn != u32::from(AS_TRANS));
    if plain && aggregator.is_some() {
        return;
    }
    if draft.aggregator.is_some() && aggregator.is_some() {
        draft.aggregator = aggregator;
    }
    if let (Some(as_path), Some(as4_path)) = (&mut draft.as_path, path) {
        *as_path = merged(as_path, as4_path);
    }
}

/// The leading hops of `short` that `long` does not have, then `long`.
fn merged(short: &AsPath, long: AsPath) -> AsPath {
    // "If the number of AS numbers in the AS_PATH attribute is less than the number of AS numbers in the
    // AS4_PATH attribute, then the AS4_PATH attribute SHALL be ignored".
    let Some(mut wanted) = short.hop_count().checked_sub(long.hop_count()) else {
        return short.clone();
    };
    let mut segments = Vec::new();
    for segment in &short.segments {
        let hops = segment.hop_count();
        if wanted == 0 && hops > 0 {
            break;
        }
        let mut kept = segment.clone();
        if hops > wanted {
            kept.asns.truncate(wanted);
        }
        wanted -= hops.min(wanted);
        segments.push(kept);
    }
    join(segments, long)
}

/// Adjoining sequences are one sequence where they fit.
fn join(mut segments: Vec<Segment>, long: AsPath) -> AsPath {
    for segment in long.segments {
        match segments.last_mut() {
            Some(last)
                if last.kind == segment.kind
                    && last.kind == crate::SegmentKind::Sequence
                    && last.asns.len() + segment.asns.len() <= 255 =>
            {
                last.asns.extend(segment.asns);
            }
            _ => segments.push(segment),
        }
    }
    AsPath { segments }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SegmentKind;

    #[test]
    fn the_hops_in_front_stay_and_the_rest_comes_from_as4_path() {
        let got = merged(&AsPath::sequence([65001, 23456, 23456]), AsPath::sequence([70000, 80000]));
        assert_eq!(got, AsPath::sequence([65001, 70000, 80000]));
    }

    #[test]
    fn a_longer_as4_path_is_ignored() {
        let short = AsPath::sequence([23456]);
        assert_eq!(merged(&short, AsPath::sequence([70000, 80000])), short);
    }

    #[test]
    fn a_set_counts_one_hop_on_both_sides() {
        let set = |asns: &[u32]| Segment { kind: SegmentKind::Set, asns: asns.to_vec() };
        let mut short = AsPath::sequence([65001]);
        short.segments.push(set(&[23456, 23456]));
        let long = AsPath { segments: vec![set(&[70000, 80000])] };
        assert_eq!(merged(&short, long).to_string(), "65001 {70000,80000}");
    }
}
