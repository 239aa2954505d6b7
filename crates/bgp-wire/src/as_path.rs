//! The AS_PATH and what may be asked of it (RFC 4271 sections 4.3 and 5.1.2, RFC 5065, RFC 6793).

use std::fmt;

/// The kind of one segment, with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SegmentKind {
    /// 1: unordered.
    Set,
    /// 2: ordered, the nearest AS first.
    Sequence,
    /// 3: ordered, inside a confederation (RFC 5065).
    ConfedSequence,
    /// 4: unordered, inside a confederation (RFC 5065).
    ConfedSet,
}

impl SegmentKind {
    /// From the number on the wire.
    #[must_use]
    pub fn from_wire(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Set),
            2 => Some(Self::Sequence),
            3 => Some(Self::ConfedSequence),
            4 => Some(Self::ConfedSet),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub fn wire(self) -> u8 {
        match self {
            Self::Set => 1,
            Self::Sequence => 2,
            Self::ConfedSequence => 3,
            Self::ConfedSet => 4,
        }
    }
}

/// One segment of an AS path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Segment {
    /// Ordered or not.
    pub kind: SegmentKind,
    /// Its AS numbers, at least one.
    pub asns: Vec<u32>,
}

/// An AS path. Segments longer than 255 AS numbers are split when written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AsPath {
    /// The segments, the nearest first.
    pub segments: Vec<Segment>,
}

impl AsPath {
    /// The path of a route originated here: no AS at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// One sequence.
    #[must_use]
    pub fn sequence(asns: impl IntoIterator<Item = u32>) -> Self {
        let asns: Vec<u32> = asns.into_iter().collect();
        if asns.is_empty() {
            return Self::empty();
        }
        Self { segments: vec![Segment { kind: SegmentKind::Sequence, asns }] }
    }

    /// Is there no AS in it?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The length as the decision process counts it: a set counts 1 (RFC 4271 section 9.1.2.2),
    /// confederation segments count 0 (RFC 5065 section 5.3).
    #[must_use]
    pub fn hop_count(&self) -> usize {
        self.segments.iter().map(Segment::hop_count).sum()
    }

    /// Is `asn` anywhere in it?
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.segments.iter().any(|segment| segment.asns.contains(&asn))
    }

    /// The neighbouring AS: the first of a leading sequence. `None` for an empty path or one that begins with a set.
    #[must_use]
    pub fn first_as(&self) -> Option<u32> {
        let first = self.segments.first()?;
        match first.kind {
            SegmentKind::Sequence => first.asns.first().copied(),
            SegmentKind::Set | SegmentKind::ConfedSequence | SegmentKind::ConfedSet => None,
        }
    }

    /// The AS the route came from: the last of a closing sequence.
    #[must_use]
    pub fn origin_as(&self) -> Option<u32> {
        let last = self.segments.last()?;
        match last.kind {
            SegmentKind::Sequence => last.asns.last().copied(),
            SegmentKind::Set | SegmentKind::ConfedSequence | SegmentKind::ConfedSet => None,
        }
    }

    /// Does a set occur in it (RFC 9774)?
    #[must_use]
    pub fn has_set(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment.kind, SegmentKind::Set | SegmentKind::ConfedSet))
    }

    /// Does a confederation segment occur in it (RFC 5065)?
    #[must_use]
    pub fn has_confed(&self) -> bool {
        self.segments
            .iter()
            .any(|segment| matches!(segment.kind, SegmentKind::ConfedSequence | SegmentKind::ConfedSet))
    }

    /// The path with `asn` put in front `times` times, as on export to an external peer
    /// (RFC 4271 section 5.1.2). A sequence that would pass 255 starts a new one.
    #[must_use]
    pub fn prepended(&self, asn: u32, times: usize) -> Self {
        let mut segments = self.segments.clone();
        for _ in 0..times {
            match segments.first_mut() {
                Some(first) if first.kind == SegmentKind::Sequence && first.asns.len() < 255 => {
                    first.asns.insert(0, asn);
                }
                _ => segments.insert(0, Segment { kind: SegmentKind::Sequence, asns: vec![asn] }),
            }
        }
        Self { segments }
    }

    /// All AS numbers in the order written.
    pub fn asns(&self) -> impl Iterator<Item = u32> {
        self.segments.iter().flat_map(|segment| segment.asns.iter().copied())
    }
}

impl Segment {
    /// What the segment adds to the path's length.
    #[must_use]
    pub fn hop_count(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.asns.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
}

impl fmt::Display for AsPath {
    /// As every router prints it: `65515 64512 {1,2} (65001)`; nothing for an empty path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            segment.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, between, close) = match self.kind {
            SegmentKind::Sequence => ("", " ", ""),
            SegmentKind::Set => ("{", ",", "}"),
            SegmentKind::ConfedSequence => ("(", " ", ")"),
            SegmentKind::ConfedSet => ("[", ",", "]"),
        };
        f.write_str(open)?;
        for (index, asn) in self.asns.iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            write!(f, "{asn}")?;
        }
        f.write_str(close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed() -> AsPath {
        AsPath {
            segments: vec![
                Segment { kind: SegmentKind::ConfedSequence, asns: vec![65001, 65002] },
                Segment { kind: SegmentKind::Sequence, asns: vec![65515, 64512] },
                Segment { kind: SegmentKind::Set, asns: vec![1, 2, 3] },
            ],
        }
    }

    #[test]
    fn a_set_counts_one_hop_and_confederation_segments_none() {
        assert_eq!(mixed().hop_count(), 3);
        assert_eq!(mixed().to_string(), "(65001 65002) 65515 64512 {1,2,3}");
    }

    #[test]
    fn prepending_past_255_starts_a_new_sequence() {
        let long = AsPath::sequence((0..254).map(|n| 1000 + n)).prepended(65510, 3);
        assert_eq!(long.segments.len(), 2);
        assert_eq!(long.segments[0].asns, [65510, 65510]);
        assert_eq!(long.segments[1].asns.len(), 255);
        assert_eq!(long.hop_count(), 257);
    }

    #[test]
    fn prepending_to_a_set_leaves_the_set_alone() {
        let path = AsPath { segments: vec![Segment { kind: SegmentKind::Set, asns: vec![7] }] };
        assert_eq!(path.prepended(65510, 1).to_string(), "65510 {7}");
        assert_eq!(path.first_as(), None);
    }

    #[test]
    fn first_and_origin_as_come_from_sequences() {
        let path = AsPath::sequence([65515, 12076]);
        assert_eq!((path.first_as(), path.origin_as()), (Some(65515), Some(12076)));
        assert!(AsPath::sequence([]).is_empty());
        assert_eq!(AsPath::empty().to_string(), "");
    }
}
