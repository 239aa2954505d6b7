//! Plain answers, one file a page.

mod bgp;
mod ike;
mod interfaces;
mod ipsec;
mod routes;
mod status;

pub use bgp::{
    BgpCapability, BgpNeighbor, BgpPath, BgpPrefix, BgpReceived, BgpRoutes, BgpSummary, BgpSummaryRow,
    BgpTable, BgpTimer, MessageCount,
};
pub use ike::IkeSa;
pub use interfaces::{Interface, Interfaces, NamedCount, Offload, Socket};
pub use ipsec::{ChildSa, Direction};
pub use routes::{Route, Routes};
pub use status::{Layer, Status, TunnelStatus, Why};
