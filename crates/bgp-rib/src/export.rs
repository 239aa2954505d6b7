//! Which routes a neighbour may hear, and what they look like when it does (RFC 4271 section 9.1.3).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bgp_wire::{Community, NextHop, PathAttributes, PeerKind};
use inet::Prefix;

use crate::guard::{Excluded, Guard};
use crate::policy::{Denial, Policy, Ruling};
use crate::route::{Path, Peer, Source};

/// Everything the export to one established neighbour needs.
#[derive(Clone, Copy, Debug)]
pub struct ExportRules<'a> {
    /// The guard all neighbours share.
    pub guard: &'a Guard,
    /// The neighbour's export policy.
    pub policy: &'a Policy,
    /// The neighbour.
    pub peer: &'a Peer,
    /// The AS it knows us by.
    pub local_asn: u32,
    /// Next hop of IPv4 routes: our end of the session, or an IPv4 address of ours the neighbour reaches.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes.
    pub next_hop_v6: Option<Ipv6Addr>,
}

/// What becomes of our best path toward one neighbour. Closed, as [`crate::Verdict`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportVerdict {
    /// It is announced; the number of the rule that permitted it, if a list did.
    Announced(Option<u32>),
    /// Kept back by the export policy.
    Denied(Denial),
    /// Kept back by the guard: the host route of an outer or session address.
    Excluded(Excluded),
    /// It came from this neighbour.
    SplitHorizon,
    /// Learned from an internal peer, and this one is internal too (RFC 4271 section 9.2).
    Internal,
    /// A well-known community keeps it here (RFC 1997).
    Community(Community),
    /// We have no address of its family to be its next hop.
    NoNextHop,
}

impl ExportRules<'_> {
    /// May the neighbour hear of `path`?
    #[must_use]
    pub fn judge(&self, prefix: &Prefix, path: &Path) -> ExportVerdict {
        if let Source::Neighbor(from) = &path.source {
            if from.id == self.peer.id {
                return ExportVerdict::SplitHorizon;
            }
            if from.kind == PeerKind::Internal && self.peer.kind == PeerKind::Internal {
                return ExportVerdict::Internal;
            }
        }
        if let Some(excluded) = self.guard.check_endpoint(prefix) {
            return ExportVerdict::Excluded(excluded);
        }
        if let Some(community) = self.kept_by_community(&path.attributes) {
            return ExportVerdict::Community(community);
        }
        if self.next_hop(prefix).is_none() {
            return ExportVerdict::NoNextHop;
        }
        match self.policy.evaluate(prefix) {
            Ruling::Permit(seq) => ExportVerdict::Announced(seq),
            Ruling::Deny(denial) => ExportVerdict::Denied(denial),
        }
    }

    /// The attributes as this neighbour hears them; `None` when there is no next hop of the prefix's family.
    #[must_use]
    pub fn attributes(&self, prefix: &Prefix, path: &Path) -> Option<PathAttributes> {
        let next_hop = self.next_hop(prefix)?;
        let mut attributes = PathAttributes { next_hop, ..(*path.attributes).clone() };
        match self.peer.kind {
            PeerKind::External => self.make_external(&mut attributes, path),
            // RFC 4271 section 5.1.5: LOCAL_PREF "SHALL be included in all UPDATE messages" to internal peers.
            PeerKind::Internal => {
                attributes.local_pref.get_or_insert(100);
            }
        }
        Some(attributes)
    }

    fn make_external(&self, attributes: &mut PathAttributes, path: &Path) {
        attributes.as_path = attributes.as_path.prepended(self.local_asn, 1);
        attributes.local_pref = None;
        attributes.originator_id = None;
        attributes.cluster_list.clear();
        attributes.extended_communities.retain(|community| community.is_transitive());
        // RFC 4271 section 5.1.4: a MED received "MUST NOT be propagated to other neighboring ASes".
        if path.source != Source::Local {
            attributes.med = None;
        }
    }

    /// Always ourselves: a tunnel has two ends, and a multihop peer resolves nothing else.
    fn next_hop(&self, prefix: &Prefix) -> Option<NextHop> {
        let address: Option<IpAddr> = if prefix.is_ipv4() {
            self.next_hop_v4.map(Into::into)
        } else {
            self.next_hop_v6.map(Into::into)
        };
        address.map(NextHop::from)
    }

    fn kept_by_community(&self, attributes: &PathAttributes) -> Option<Community> {
        let external = self.peer.kind == PeerKind::External;
        attributes.communities.iter().copied().find(|community| match *community {
            Community::NO_ADVERTISE => true,
            Community::NO_EXPORT | Community::NO_EXPORT_SUBCONFED => external,
            Community(_) => false,
        })
    }
}

impl ExportVerdict {
    /// Does the neighbour hear it?
    #[must_use]
    pub fn is_announced(&self) -> bool {
        matches!(self, Self::Announced(_))
    }
}

impl fmt::Display for ExportVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced(Some(seq)) => write!(f, "announced by seq {seq}"),
            Self::Announced(None) => f.write_str("announced"),
            Self::Denied(denial) => denial.fmt(f),
            Self::Excluded(excluded) => excluded.fmt(f),
            Self::SplitHorizon => f.write_str("learned from this neighbour"),
            Self::Internal => f.write_str("learned from an internal peer"),
            Self::Community(community) => write!(f, "kept here by community {community}"),
            Self::NoNextHop => f.write_str("we have no next hop of its family"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{learned, path, peer, prefix};

    fn with_rules<T>(peer: &Peer, policy: &Policy, test: impl FnOnce(ExportRules<'_>) -> T) -> T {
        let mut guard = Guard::new();
        guard.add_outer("192.0.2.1".parse().unwrap());
        test(ExportRules {
            guard: &guard,
            policy,
            peer,
            local_asn: 65510,
            next_hop_v4: Some(Ipv4Addr::new(192, 168, 1, 1)),
            next_hop_v6: None,
        })
    }

    #[test]
    fn an_external_peer_hears_our_as_our_next_hop_and_no_foreign_med() {
        let mut foreign = learned(&[65515]);
        (foreign.med, foreign.local_pref) = (Some(7), Some(200));
        let heard = with_rules(&peer(2), &Policy::Any, |rules| {
            rules.attributes(&prefix("10.0.0.0/8"), &path(1, foreign, 0))
        });
        let heard = heard.unwrap();
        assert_eq!(heard.as_path.to_string(), "65510 65515");
        assert_eq!(heard.next_hop.to_string(), "192.168.1.1");
        assert_eq!((heard.med, heard.local_pref), (None, None));
    }

    #[test]
    fn each_reason_not_to_announce_is_named() {
        let judged = |peer: &Peer, policy: &Policy, text: &str, path: &Path| {
            with_rules(peer, policy, |rules| rules.judge(&prefix(text), path))
        };
        let from_1 = path(1, learned(&[65515]), 0);
        let any = Policy::Any;
        assert_eq!(judged(&peer(2), &any, "10.0.0.0/8", &from_1), ExportVerdict::Announced(None));
        assert_eq!(judged(&peer(1), &any, "10.0.0.0/8", &from_1), ExportVerdict::SplitHorizon);
        assert!(matches!(judged(&peer(2), &any, "192.0.2.1/32", &from_1), ExportVerdict::Excluded(_)));
        assert_eq!(judged(&peer(2), &any, "2001:db8::/32", &from_1), ExportVerdict::NoNextHop);
        assert_eq!(
            judged(&peer(2), &Policy::Unset, "10.0.0.0/8", &from_1),
            ExportVerdict::Denied(Denial::Unset)
        );

        let internal = |id| Peer { kind: PeerKind::Internal, ..peer(id) };
        let from_internal = Path { source: Source::Neighbor(internal(1)), ..from_1.clone() };
        assert_eq!(judged(&internal(2), &any, "10.0.0.0/8", &from_internal), ExportVerdict::Internal);

        let mut attributes = learned(&[65515]);
        attributes.communities.push(Community::NO_EXPORT);
        let kept = path(1, attributes, 0);
        assert_eq!(
            judged(&peer(2), &any, "10.0.0.0/8", &kept),
            ExportVerdict::Community(Community::NO_EXPORT)
        );
        assert!(judged(&internal(2), &any, "10.0.0.0/8", &kept).is_announced());
    }
}
