//! The routes of the `show bgp` pages: the table, one prefix, and what a neighbour sent or heard. Field names follow
//! those of the routing daemons people come from.

use serde::{Deserialize, Serialize};

/// `show bgp` and `show bgp PREFIX`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpTable {
    /// Our identifier.
    pub router_id: String,
    /// Our AS number.
    pub local_as: u32,
    /// Counts up with every change.
    pub table_version: u64,
    /// The prefixes, each with all its paths.
    pub prefixes: Vec<BgpPrefix>,
    /// True for `show bgp PREFIX`: print every detail.
    pub detail: bool,
}

/// One prefix.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpPrefix {
    /// The prefix.
    pub prefix: String,
    /// Its paths, the best first.
    pub paths: Vec<BgpPath>,
    /// Neighbours it is announced to.
    pub advertised_to: Vec<String>,
}

/// One path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpPath {
    /// Usable?
    pub valid: bool,
    /// Chosen?
    pub best: bool,
    /// The step of the decision that chose it, or why it is not eligible.
    pub reason: String,
    /// It waits to be confirmed by its peer.
    pub stale: bool,
    /// The best of those through its neighbouring AS.
    pub bestpath_from_as: bool,
    /// `external`, `internal` or `local`.
    pub kind: String,
    /// AS path as text; empty for our own.
    pub aspath: String,
    /// Its segments.
    pub aspath_segments: Vec<BgpSegment>,
    /// Its length as it is compared: a set counts 1.
    pub aspath_length: usize,
    /// `i`, `e` or `?`.
    pub origin: String,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF.
    pub local_pref: u32,
    /// Weight: 32768 for our own.
    pub weight: u32,
    /// Next hop; `0.0.0.0` for our own.
    pub nexthop: String,
    /// Is there a way to it: its tunnel is up, or the underlay leads there?
    pub nexthop_accessible: bool,
    /// Always 0: no metric of an interior protocol is known here.
    pub nexthop_metric: u32,
    /// The neighbour it came from.
    pub peer: String,
    /// Its address.
    pub peer_address: String,
    /// Its identifier.
    pub peer_id: String,
    /// Communities, standard and large.
    pub communities: Vec<String>,
    /// Extended communities.
    pub extended_communities: Vec<String>,
    /// ATOMIC_AGGREGATE is there.
    pub atomic_aggregate: bool,
    /// AGGREGATOR: AS and identifier.
    pub aggregator: Option<String>,
    /// ORIGINATOR_ID.
    pub originator_id: Option<String>,
    /// CLUSTER_LIST.
    pub cluster_list: Vec<String>,
    /// OTC (RFC 9234): the AS that marked it.
    pub otc: Option<u32>,
    /// Attributes not known here that are passed on, by number.
    pub unknown_attributes: Vec<u8>,
    /// In the kernel?
    pub fib_installed: bool,
    /// Seconds since it came.
    pub age: u64,
    /// When it came.
    pub last_update: Option<BgpMoment>,
}

/// A time of day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpMoment {
    /// Seconds since 1970, UTC.
    pub epoch: u64,
    /// The same as `2026-01-31T23:59:59Z`.
    pub string: String,
}

/// One segment of an AS path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpSegment {
    /// `as-sequence`, `as-set`, `as-confed-sequence` or `as-confed-set`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its AS numbers.
    pub list: Vec<u32>,
}

/// `received-routes`, `routes`, `advertised-routes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpRoutes {
    /// The neighbour.
    pub neighbor: String,
    /// Its address.
    pub address: String,
    /// Its AS number.
    pub remote_as: u32,
    /// `received`, `accepted` or `advertised`.
    pub kind: String,
    /// The routes.
    pub routes: Vec<BgpReceived>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpReceived {
    /// The prefix.
    pub prefix: String,
    /// Its attributes.
    #[serde(flatten)]
    pub path: BgpPath,
    /// `accepted`, or which rule or guard keeps it out, in words.
    pub verdict: String,
    /// Was it accepted?
    pub accepted: bool,
}
