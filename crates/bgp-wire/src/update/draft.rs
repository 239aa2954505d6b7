//! Attributes while they are gathered from one message.

use std::net::Ipv4Addr;

use inet::Prefix;

use super::{Action, Fault, FaultKind};
use crate::{
    Aggregator, AsPath, AttributeType, Community, ExtendedCommunity, Family, LargeCommunity, NextHop,
    Notification, Origin, PathAttributes, UnknownAttribute,
};

/// The reachable prefixes of MP_REACH_NLRI.
#[derive(Debug)]
pub(super) struct MpReach {
    pub(super) next_hop: NextHop,
    pub(super) prefixes: Vec<Prefix>,
}

/// Everything one list of attributes said, and what was wrong with it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) origin: Option<Origin>,
    pub(super) as_path: Option<AsPath>,
    pub(super) next_hop: Option<Ipv4Addr>,
    pub(super) med: Option<u32>,
    pub(super) local_pref: Option<u32>,
    pub(super) atomic_aggregate: bool,
    pub(super) aggregator: Option<Aggregator>,
    pub(super) communities: Vec<Community>,
    pub(super) originator_id: Option<Ipv4Addr>,
    pub(super) cluster_list: Vec<Ipv4Addr>,
    pub(super) extended_communities: Vec<ExtendedCommunity>,
    pub(super) as4_path: Option<AsPath>,
    pub(super) as4_aggregator: Option<Aggregator>,
    pub(super) large_communities: Vec<LargeCommunity>,
    pub(super) only_to_customer: Option<u32>,
    pub(super) unknown: Vec<UnknownAttribute>,
    pub(super) mp_reach: Option<MpReach>,
    /// MP_UNREACH_NLRI of a family of ours, as far as it was negotiated.
    pub(super) mp_unreach: Option<(Family, Vec<Prefix>)>,
    /// An MP_REACH_NLRI was there that named prefixes, of whatever family.
    pub(super) mp_reach_named: bool,
    /// Any attribute but MP_UNREACH_NLRI was there.
    pub(super) others: bool,
    pub(super) faults: Vec<Fault>,
    pub(super) reset: Option<Notification>,
}

impl Draft {
    /// Notes a fault. A reset's notification is kept by the one who knows it; see [`Draft::reset`].
    pub(super) fn fault(&mut self, attribute: AttributeType, kind: FaultKind, action: Action) {
        let fault = Fault { attribute, kind, action };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Keeps an attribute to be passed on, in its place of the order.
    pub(super) fn pass_on(&mut self, attribute: UnknownAttribute) {
        let at = self.unknown.partition_point(|other| other.kind < attribute.kind);
        self.unknown.insert(at, attribute);
    }

    /// The attributes of a route with this next hop; `None` while a mandatory one is missing.
    pub(super) fn attributes(&self, next_hop: NextHop) -> Option<PathAttributes> {
        Some(PathAttributes {
            origin: self.origin?,
            as_path: self.as_path.clone()?,
            next_hop,
            med: self.med,
            local_pref: self.local_pref,
            atomic_aggregate: self.atomic_aggregate,
            aggregator: self.aggregator,
            communities: self.communities.clone(),
            originator_id: self.originator_id,
            cluster_list: self.cluster_list.clone(),
            extended_communities: self.extended_communities.clone(),
            large_communities: self.large_communities.clone(),
            only_to_customer: self.only_to_customer,
            unknown: self.unknown.clone(),
        })
    }
}
