//! `show bgp summary` and `show bgp neighbors`. Field names follow those of the routing daemons people come from.

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
    /// About how many octets they take, shared attributes aside.
    pub rib_memory: usize,
    /// Always 0: there are no VRFs.
    pub vrf_id: u32,
    /// Always `default`.
    pub vrf_name: String,
    /// Neighbours.
    pub peer_count: usize,
    /// About how many octets they take, routes and buffers aside.
    pub peer_memory: usize,
    /// Always 0: a neighbour has all its settings itself.
    pub peer_group_count: usize,
    /// Always 0.
    pub peer_group_memory: usize,
    /// Neighbours.
    pub total_peers: usize,
    /// Those on this page: all.
    pub displayed_peers: usize,
    /// Those not established.
    pub failed_peers: usize,
    /// Always 0: every neighbour stands in the file.
    pub dynamic_peers: usize,
    /// Connections from addresses that are no neighbour's where they came in: closed unread.
    pub strangers: u64,
    /// The knobs of the decision.
    pub best_path: BgpDecision,
    /// One a neighbour.
    pub peers: Vec<BgpSummaryRow>,
}

/// The knobs of the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpDecision {
    /// MED is compared between neighbouring ASes too.
    pub always_compare_med: bool,
    /// Always true: the outcome does not depend on the order of arrival.
    pub deterministic_med: bool,
    /// A missing MED is the worst.
    pub missing_med_worst: bool,
    /// The age of paths counts for nothing.
    pub ignore_age: bool,
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
    /// The same in milliseconds.
    pub peer_uptime_msec: u64,
    /// When the session came up, in seconds since 1970; `None` for one that is not established.
    pub peer_uptime_established_epoch: Option<u64>,
    /// Prefixes held from it.
    pub pfx_rcd: usize,
    /// Prefixes announced to it.
    pub pfx_snt: usize,
    /// The state's RFC name.
    pub state: String,
    /// `OK`; `Policy`: established, and both policies let nothing pass; `Admin`: shut down here; `PfxCt`: it sent too many
    /// prefixes; `Transport`: its tunnel is down; or empty.
    pub peer_state: String,
    /// Why it is not established, or why nothing passes, in words.
    pub reason: Option<String>,
    /// Its host's name, if it told (capability 73).
    pub hostname: Option<String>,
    /// Its domain.
    pub domainname: Option<String>,
    /// Its software, if it told (capability 75).
    pub software_version: Option<String>,
    /// `ipv4` or `ipv6`: what its address is.
    pub id_type: String,
    /// Always false: every neighbour stands in the file.
    pub dynamic_peer: bool,
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
    /// Of another AS.
    pub nbr_external_link: bool,
    /// Always `undefined`: roles (RFC 9234) are not offered.
    pub local_role: String,
    /// Always `undefined`.
    pub remote_role: String,
    /// The peer's identifier, once it said it.
    pub remote_router_id: Option<String>,
    /// Ours.
    pub local_router_id: String,
    /// Seconds since a message came.
    pub last_read: Option<u64>,
    /// Seconds since one went.
    pub last_write: Option<u64>,
    /// Seconds since the last UPDATE came.
    pub in_update_elapsed: Option<u64>,
    /// Hold time.
    pub hold_time: BgpTimer,
    /// Keepalive interval.
    pub keepalive: BgpTimer,
    /// Send hold time (RFC 9687); its clock runs while something waits to be written.
    pub send_hold_time: BgpTimer,
    /// Seconds between runs of announcements: always 0, changes go at once and together.
    pub min_advertisement_interval: u64,
    /// It is waited for, never dialled.
    pub passive: bool,
    /// Capabilities, each with who offered it.
    pub capabilities: Vec<BgpCapability>,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: BgpRestart,
    /// Messages by type.
    pub messages: Vec<MessageCount>,
    /// Its families.
    pub address_families: Vec<BgpFamily>,
    /// What became of prefixes and attributes, since the neighbour was configured or, of prefixes held, now.
    pub prefix_stats: BgpPrefixStats,
    /// The import policy's name.
    pub import: String,
    /// The export policy's name.
    pub export: String,
    /// Most prefixes taken from it.
    pub max_prefix: Option<usize>,
    /// An alarm is raised at so many.
    pub max_prefix_warning: Option<usize>,
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
    /// When that was, in seconds since 1970.
    pub last_reset_epoch: Option<u64>,
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
    /// `shared network` or `non shared network`: is the peer on a subnet of an interface of ours?
    pub bgp_connection: String,
    /// Who opened the connection: `local` or `remote`.
    pub connected_by: Option<String>,
    /// The segment size asked for; `None`: the kernel's choice.
    pub tcp_mss_configured: Option<u16>,
    /// The segment size in use, in octets of payload, as the kernel has it: what both ends and the path take, less the
    /// options of every segment.
    pub tcp_mss_synced: Option<u16>,
    /// The kernel's smoothed round-trip time, in whole milliseconds.
    pub estimated_rtt_in_msecs: Option<u64>,
    /// The same in microseconds.
    pub estimated_rtt_in_usecs: Option<u64>,
    /// Seconds until the next attempt to connect.
    pub connect_retry_in: Option<u64>,
    /// Connections of its refused while none was wanted.
    pub connections_refused: u64,
    /// Connections that lost a collision.
    pub collisions: u64,
    /// The last malformed UPDATE.
    pub last_malformed: Option<BgpMalformed>,
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
    /// Until it expires, while it runs.
    pub remaining: Option<u64>,
}

/// Graceful restart (RFC 4724).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpRestart {
    /// Always `helper`: we wait for a peer that restarts, and keep nothing over a restart of our own.
    pub local_mode: String,
    /// The peer offers the capability.
    pub offered: bool,
    /// The R bit of its last OPEN: it has restarted.
    pub restarting: bool,
    /// The N bit.
    pub notification: bool,
    /// Seconds it may need.
    pub restart_time: Option<u64>,
    /// The families it goes on forwarding meanwhile.
    pub families: Vec<String>,
    /// Routes that wait to be confirmed.
    pub stale: usize,
    /// Seconds it has left to come back.
    pub remaining: Option<u64>,
}

/// One family of a neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpFamily {
    /// `ipv4 unicast` or `ipv6 unicast`.
    pub family: String,
    /// Both sides offered it.
    pub negotiated: bool,
    /// Always true: what a neighbour sent is kept as it came.
    pub soft_reconfiguration: bool,
    /// The communities that are sent.
    pub communities_sent: String,
    /// Prefixes received, before policy.
    pub received_prefix_counter: usize,
    /// Prefixes accepted.
    pub accepted_prefix_counter: usize,
    /// Prefixes announced.
    pub sent_prefix_counter: usize,
    /// Prefixes held back because the neighbour takes no more (`max_prefix_out`).
    pub held_back: usize,
    /// Most prefixes taken from it.
    pub prefix_allowed_max: Option<usize>,
    /// An alarm is raised at so many.
    pub prefix_allowed_max_warning: Option<usize>,
    /// Most prefixes announced to it.
    pub prefix_out_allowed_max: Option<usize>,
    /// The import policy's name.
    pub incoming_update_prefix_filter_list: String,
    /// The export policy's name.
    pub outgoing_update_prefix_filter_list: String,
    /// The import policy lets nothing pass.
    pub import_denies_all: bool,
    /// The export policy lets nothing pass.
    pub export_denies_all: bool,
    /// Our End-of-RIB went out.
    pub end_of_rib_sent: bool,
    /// Theirs came.
    pub end_of_rib_received: bool,
}

/// What became of prefixes and attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpPrefixStats {
    /// Held and denied by policy.
    pub inbound_filtered: usize,
    /// Held and kept out by the guard.
    pub guarded: usize,
    /// Held, with our AS in the path.
    pub aspath_loop: usize,
    /// Held, with our identifier as ORIGINATOR_ID.
    pub originator_loop: usize,
    /// Held, with our identifier in the CLUSTER_LIST.
    pub cluster_loop: usize,
    /// Held, with an unusable next hop.
    pub invalid_next_hop: usize,
    /// Withdrawn by the peer.
    pub withdrawn: u64,
    /// UPDATEs treated as withdrawals (RFC 7606).
    pub treated_as_withdraw: u64,
    /// Attributes discarded (RFC 7606).
    pub attributes_discarded: u64,
    /// Routes of ours whose attributes fit in no message to it.
    pub unsendable: u64,
}

/// A malformed UPDATE, for whoever asks the peer's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpMalformed {
    /// Seconds since it came.
    pub age: u64,
    /// The whole message in hexadecimal digits.
    pub message: String,
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
