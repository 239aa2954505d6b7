//! The `show bgp` pages. Field names follow those of the routing daemons people come from.

use serde::{Deserialize, Serialize};

/// `show bgp summary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpSummary {
    /// Our identifier.
    pub router_id: String,
    /// Our AS number.
    #[serde(rename = "as")]
    pub asn: u32,
    /// Counts up with every change of the table.
    pub table_version: u64,
    /// Prefixes in the table.
    pub rib_count: usize,
    /// One a neighbour.
    pub peers: Vec<BgpSummaryRow>,
}

/// One line of the summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpSummaryRow {
    /// The neighbour's name in the file.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The tunnel it lives in.
    pub tunnel: Option<String>,
    /// Its AS number.
    pub remote_as: u32,
    /// Ours towards it.
    pub local_as: u32,
    /// Always 4.
    pub version: u8,
    /// Messages received.
    pub msg_rcvd: u64,
    /// Messages sent.
    pub msg_sent: u64,
    /// The table version it has been told of.
    pub table_version: u64,
    /// Octets received and not yet read.
    pub inq: u64,
    /// Octets not yet taken by the kernel.
    pub outq: u64,
    /// Seconds in this state.
    pub peer_uptime: u64,
    /// Prefixes held from it.
    pub pfx_rcd: usize,
    /// Prefixes announced to it.
    pub pfx_snt: usize,
    /// The state's RFC name.
    pub state: String,
    /// `OK`, `Policy` (no policy: nothing is exchanged), `PolicyDeniesAll`, `Admin`, `PfxCt`, `Tunnel`, or empty.
    pub peer_state: String,
    /// Sessions that reached Established.
    pub connections_established: u64,
    /// Sessions that were lost.
    pub connections_dropped: u64,
    /// The description.
    pub desc: String,
}

/// `show bgp neighbors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpNeighbor {
    /// The line of the summary.
    #[serde(flatten)]
    pub summary: BgpSummaryRow,
    /// The peer's identifier, once it said it.
    pub remote_router_id: Option<String>,
    /// Ours.
    pub local_router_id: String,
    /// Seconds since a message came.
    pub last_read: Option<u64>,
    /// Seconds since one went.
    pub last_write: Option<u64>,
    /// Hold time.
    pub hold_time: BgpTimer,
    /// Keepalive interval.
    pub keepalive: BgpTimer,
    /// Capabilities, each with who offered it.
    pub capabilities: Vec<BgpCapability>,
    /// Messages by type.
    pub messages: Vec<MessageCount>,
    /// The import policy's name.
    pub import: String,
    /// The export policy's name.
    pub export: String,
    /// Most prefixes taken from it.
    pub max_prefix: Option<usize>,
    /// Most prefixes announced to it.
    pub max_prefix_out: Option<usize>,
    /// Prefixes accepted.
    pub accepted: usize,
    /// Prefixes refused on the way in, by reason.
    pub refused: Vec<super::NamedCount>,
    /// End-of-RIB received, by family.
    pub eor_received: Vec<String>,
    /// End-of-RIB sent, by family.
    pub eor_sent: Vec<String>,
    /// Seconds since the last session ended.
    pub last_reset: Option<u64>,
    /// Why it ended.
    pub last_reset_due_to: Option<String>,
    /// Code and subcode of the NOTIFICATION, as four hex digits.
    pub last_error_code_subcode: Option<String>,
    /// Our end of the connection.
    pub host_local: Option<String>,
    /// The peer's end.
    pub host_foreign: Option<String>,
    /// The next hop we announce.
    pub nexthop: Option<String>,
    /// Seconds until the next attempt to connect.
    pub connect_retry_in: Option<u64>,
    /// Hops allowed.
    pub multihop: u8,
    /// A TCP MD5 key is set.
    pub authentication_enabled: bool,
}

/// A timer as configured and as agreed on, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpTimer {
    /// From the file.
    pub configured: u64,
    /// With the peer, once a session is up.
    pub negotiated: Option<u64>,
}

/// One capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpCapability {
    /// Its name.
    pub name: String,
    /// We offer it.
    pub advertised: bool,
    /// The peer offers it.
    pub received: bool,
}

/// Messages of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCount {
    /// OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH.
    pub name: String,
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

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
    /// AS path as text; empty for our own.
    pub aspath: String,
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
    /// The neighbour it came from.
    pub peer: String,
    /// Its address.
    pub peer_address: String,
    /// Its identifier.
    pub peer_id: String,
    /// Communities, standard and large.
    pub communities: Vec<String>,
    /// In the kernel?
    pub fib_installed: bool,
    /// Seconds since it came.
    pub age: u64,
}

/// `received-routes`, `routes`, `advertised-routes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpRoutes {
    /// The neighbour.
    pub neighbor: String,
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
