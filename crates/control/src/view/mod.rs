//! Plain answers, one file a page.

mod bgp;
mod bgp_routes;
mod ike;
mod interfaces;
mod ipsec;
mod routes;
mod status;

pub use bgp::{
    BgpCapability, BgpDecision, BgpFamily, BgpMalformed, BgpNeighbor, BgpPrefixStats, BgpRestart, BgpSummary,
    BgpSummaryRow, BgpTimer, MessageCount,
};
pub use bgp_routes::{BgpMoment, BgpPath, BgpPrefix, BgpReceived, BgpRoutes, BgpSegment, BgpTable};
pub use ike::{Ike, IkeSa};
pub use interfaces::{Interface, Interfaces, NamedCount, Offload, Socket};
pub use ipsec::{ChildSa, Direction, Nat};
pub use routes::{Route, Routes};
pub use status::{Layer, Status, TunnelStatus, Why};
