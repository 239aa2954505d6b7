//! `show routes`: what we want in the kernel, what is there, and what is kept out.

use serde::{Deserialize, Serialize};

/// The whole page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Routes {
    /// The kernel table's number.
    pub table: u32,
    /// Our routing protocol number.
    pub protocol: u8,
    /// Every route we want, in prefix order.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The destination.
    pub prefix: String,
    /// `bgp`, `static`, `peer` (the path to a peer's outer address), `neighbor` (a BGP peer's address) or `unreachable`.
    pub origin: String,
    /// The tunnel or neighbour it comes from.
    pub from: String,
    /// The interface, if it has one.
    pub interface: Option<String>,
    /// The gateway, if it has one.
    pub gateway: Option<String>,
    /// The preferred source.
    pub source: Option<String>,
    /// The metric.
    pub metric: u32,
    /// The kernel's table.
    pub table: u32,
    /// `installed`, `pending` or `failed`.
    pub state: String,
    /// Why it failed or is kept out.
    pub why: Option<String>,
}
