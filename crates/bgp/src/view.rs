//! What `show` may ask: plain values, built where the data lives. Instants are the caller's clock;
//! ages and what is left of timers are theirs to compute.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp_rib::{NeighborId, Path, Step, Verdict};
use bgp_wire::{Capability, Family, GracefulRestart, PathAttributes};
use inet::Prefix;

use crate::connection::Direction;
use crate::counters::NeighborCounters;
use crate::event::ConnId;
use crate::neighbor::State;
use crate::open::Negotiated;

/// One line of the summary.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryView {
    /// Which neighbour.
    pub id: NeighborId,
    /// Its name.
    pub name: Arc<str>,
    /// The operator's remark.
    pub description: Option<Arc<str>>,
    /// Its address.
    pub address: IpAddr,
    /// The tunnel it lives with.
    pub tunnel: Option<Arc<str>>,
    /// Its AS.
    pub asn: u32,
    /// Ours towards it.
    pub local_asn: u32,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// The state as routers print it: the state's name, or `Idle (Admin)`, `Idle (PfxCt)`, `Idle (Transport)`,
    /// `Established (Policy)` when a policy lets nothing pass at all.
    pub state_word: String,
    /// Why it is not established, or why nothing passes, in words; `None` when all is well.
    pub reason: Option<String>,
    /// Messages received and sent.
    pub messages: (u64, u64),
    /// Octets received that wait for the rest of their message.
    pub input_queue: usize,
    /// Octets handed out and not yet taken by the socket.
    pub output_queue: usize,
    /// Prefixes received, before policy.
    pub received: usize,
    /// Prefixes accepted.
    pub accepted: usize,
    /// Prefixes announced to it.
    pub sent: usize,
}

/// One capability and who offered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityView {
    /// Which; for families and AS numbers with its value.
    pub capability: Capability,
    /// By us.
    pub advertised: bool,
    /// By the peer.
    pub received: bool,
}

/// What was refused on import, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedCounts {
    /// By the import policy.
    pub policy: usize,
    /// By the guard: own prefixes, outer and session addresses, martians.
    pub guard: usize,
    /// Our AS in the path.
    pub as_loop: usize,
    /// An unusable next hop.
    pub next_hop: usize,
    /// Our own, reflected.
    pub originator_loop: usize,
    /// Through a reflector twice.
    pub cluster_loop: usize,
}

/// One family of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyView {
    /// Which.
    pub family: Family,
    /// Both sides offered it.
    pub negotiated: bool,
    /// Prefixes received, before policy.
    pub received: usize,
    /// Prefixes accepted.
    pub accepted: usize,
    /// Prefixes announced.
    pub sent: usize,
    /// Prefixes held back by `max_prefix_out`.
    pub held_back: usize,
    /// Our End-of-RIB went out.
    pub end_of_rib_sent: bool,
    /// Theirs came.
    pub end_of_rib_received: bool,
}

/// Everything about one neighbour.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighborView {
    /// Its line of the summary.
    pub summary: SummaryView,
    /// An external peer.
    pub external: bool,
    /// Our identifier.
    pub local_router_id: Ipv4Addr,
    /// Its identifier, once it said it.
    pub remote_router_id: Option<Ipv4Addr>,
    /// Its host and domain name, if it told (capability 73).
    pub hostname: Option<(String, String)>,
    /// The connection's number, for what only its owner can measure.
    pub conn: Option<ConnId>,
    /// Who opened the connection.
    pub direction: Option<Direction>,
    /// Our end.
    pub local: Option<SocketAddr>,
    /// Its end.
    pub remote: Option<SocketAddr>,
    /// When something was last read.
    pub last_read: Option<Instant>,
    /// When something was last written.
    pub last_write: Option<Instant>,
    /// When the last UPDATE came.
    pub last_update: Option<Instant>,
    /// The hold time offered, in seconds.
    pub configured_hold: u16,
    /// The keepalive time configured, in seconds.
    pub configured_keepalive: u16,
    /// What was agreed on.
    pub negotiated: Option<Negotiated>,
    /// When the hold timer expires.
    pub hold_at: Option<Instant>,
    /// When the next KEEPALIVE is due.
    pub keepalive_at: Option<Instant>,
    /// When the send hold timer expires, while something waits to be written.
    pub send_hold_at: Option<Instant>,
    /// When the next dial is due.
    pub retry_at: Option<Instant>,
    /// When the wait in Idle ends.
    pub idle_until: Option<Instant>,
    /// Every capability offered by either side.
    pub capabilities: Vec<CapabilityView>,
    /// The peer's graceful restart capability.
    pub graceful_restart: Option<GracefulRestart>,
    /// Routes of an earlier session, or of a refresh under way, that wait to be confirmed.
    pub stale: usize,
    /// The peer must be back by then, or what it taught goes.
    pub stale_until: Option<Instant>,
    /// The families.
    pub families: Vec<FamilyView>,
    /// The import policy's name.
    pub import: String,
    /// The export policy's name.
    pub export: String,
    /// Import policy lets nothing pass.
    pub import_denies_all: bool,
    /// Export policy lets nothing pass.
    pub export_denies_all: bool,
    /// The limits in and out.
    pub max_prefix: (Option<u32>, Option<u32>),
    /// What was refused on import.
    pub refused: RefusedCounts,
    /// The TTL of our packets.
    pub multihop: u8,
    /// It is waited for and never dialled.
    pub passive: bool,
    /// Counts since it was configured.
    pub counters: NeighborCounters,
    /// The last end of a session or attempt, and its cause in words.
    pub last_reset: Option<(Instant, String)>,
    /// Error code and subcode of that end as four hexadecimal digits, if a NOTIFICATION was its cause.
    pub last_error_code: Option<String>,
    /// When the last malformed UPDATE came, and the message.
    pub last_malformed: Option<(Instant, Vec<u8>)>,
    /// The send hold time if the hold time we offer is agreed on.
    pub configured_send_hold: Duration,
}

/// A path as the table shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PathView {
    /// The path: where from, attributes, since when.
    pub path: Path,
    /// Its neighbour's name; `None` for our own.
    pub neighbor: Option<Arc<str>>,
    /// It is the best.
    pub best: bool,
    /// The step that decided (for the best: against the second).
    pub step: Step,
    /// It waits to be confirmed by its peer.
    pub stale: bool,
}

/// One prefix of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// The prefix.
    pub prefix: Prefix,
    /// Its paths, the best first.
    pub paths: Vec<PathView>,
}

/// Everything about one prefix.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixView {
    /// The prefix and its paths.
    pub row: TableRow,
    /// The neighbours that were told of it.
    pub advertised_to: Vec<(NeighborId, Arc<str>)>,
    /// Neighbours whose route to it was refused, and why.
    pub refused: Vec<(NeighborId, Arc<str>, Verdict)>,
}

/// One route as received, before policy, with what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedRoute {
    /// The prefix.
    pub prefix: Prefix,
    /// What came with it.
    pub attributes: Arc<PathAttributes>,
    /// What became of it.
    pub verdict: Verdict,
    /// Since when it stands as it is.
    pub since: Instant,
    /// It waits to be confirmed by a refresh.
    pub stale: bool,
    /// It is the best path to its prefix.
    pub best: bool,
}

/// One route as announced.
#[derive(Clone, Debug, PartialEq)]
pub struct AdvertisedRoute {
    /// The prefix.
    pub prefix: Prefix,
    /// What went with it.
    pub attributes: Arc<PathAttributes>,
}
