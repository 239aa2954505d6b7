//! `show status`: one line a tunnel, and why.

use serde::{Deserialize, Serialize};

/// The whole page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// The router's identifier.
    pub router_id: String,
    /// The router's AS number.
    pub asn: u32,
    /// One a tunnel, in the file's order.
    pub tunnels: Vec<TunnelStatus>,
    /// Neighbours that use no tunnel.
    pub neighbors: Vec<Layer>,
    /// Why the last reload was refused, if it was.
    pub reload_error: Option<String>,
}

/// One tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// The section's name.
    pub name: String,
    /// `up` only when IPsec and every BGP session of it are; else `down`, `starting` or `stopped`.
    pub state: String,
    /// Seconds in that state.
    pub since: u64,
    /// Our outer address and the peer's.
    pub local: String,
    /// The peer's outer address, as far as known; `any` before that.
    pub remote: String,
    /// The interface.
    pub interface: String,
    /// The IKE SA.
    pub ike: Layer,
    /// The CHILD SA.
    pub child: Layer,
    /// Each neighbour that lives in this tunnel.
    pub bgp: Vec<Layer>,
    /// Routes accepted from its neighbours.
    pub routes_in: usize,
    /// Routes announced to its neighbours.
    pub routes_out: usize,
    /// When something is down: why, who said so, what to change.
    pub why: Option<Why>,
}

/// One layer of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// What it is called: a neighbour's name; empty for the IKE and CHILD SAs.
    pub name: String,
    /// The RFC's state name.
    pub state: String,
    /// Does it do its work?
    pub up: bool,
    /// Seconds in that state.
    pub since: u64,
    /// Of a neighbour: when its session is down, or lets nothing pass, why.
    pub why: Option<Why>,
}

/// Why something is down, from a closed set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// The reason's short name, as `peer-silent` or `no-proposal`.
    pub code: String,
    /// In words.
    pub text: String,
    /// Who said so: `local`, `peer` or `kernel`.
    pub source: String,
    /// What to change.
    pub hint: String,
    /// Seconds ago.
    pub ago: u64,
}
