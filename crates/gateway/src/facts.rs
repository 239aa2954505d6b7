//! What the shell alone knows, for the pages.

use std::collections::BTreeMap;
use std::time::Duration;

use ::tunnel::TunnelId;
use bgp::ConnId;

/// What the shell knows and the views show.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The tunnels' devices.
    pub interfaces: BTreeMap<TunnelId, DeviceFacts>,
    /// Outer sockets and their offloads.
    pub sockets: Vec<control::view::Socket>,
    /// Drops of the datapath, by reason.
    pub drops: Vec<control::view::NamedCount>,
    /// What the kernel measured of BGP's connections.
    pub connections: BTreeMap<ConnId, Measured>,
    /// The time of day when the page is drawn: since 1970, UTC. `None`: nobody knows, and the pages show ages alone.
    pub wall: Option<Duration>,
}

/// What the shell knows of a tunnel's device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceFacts {
    /// Its offloads as they are now, and its queue discipline.
    pub offloads: Vec<control::view::Offload>,
    /// What its kernel dropped or refused.
    pub counts: Vec<control::view::NamedCount>,
}

/// What the kernel measured of one TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The smoothed round-trip time.
    pub rtt: Duration,
    /// The largest segment, in octets of payload.
    pub mss: u16,
}
