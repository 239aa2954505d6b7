//! `show interfaces`.

use serde::{Deserialize, Serialize};

/// The whole page.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interfaces {
    /// The tunnels' devices.
    pub interfaces: Vec<Interface>,
    /// The outer sockets.
    pub sockets: Vec<Socket>,
    /// Packets the datapath dropped, of all tunnels and of none, by reason.
    pub drops: Vec<NamedCount>,
}

/// One tunnel interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// The tunnel.
    pub tunnel: String,
    /// The device's name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MTU.
    pub mtu: u32,
    /// Where that comes from: the file, or the outer MTU less what the SA costs.
    pub mtu_from: String,
    /// The MSS that SYN segments are clamped to, IPv4; `None` when off.
    pub mss: Option<u16>,
    /// Addresses on it.
    pub addresses: Vec<String>,
    /// Inner packets to the peer, over all its SAs since the tunnel was configured.
    pub packets_out: u64,
    /// Octets.
    pub bytes_out: u64,
    /// From the peer.
    pub packets_in: u64,
    /// Octets.
    pub bytes_in: u64,
    /// Offloads and why one is off.
    pub offloads: Vec<Offload>,
    /// Packets its SAs refused, by reason, those of past SAs too.
    pub drops: Vec<NamedCount>,
    /// What the host's kernel did not take or not keep at the device: packets to the peer that it dropped before they were
    /// read (`tx-dropped` by the device, `qdisc-dropped` by its queue discipline, since the device was made), and joined
    /// packets from the peer that it refused and that were written one by one (`refused-joined`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<NamedCount>,
}

/// One offload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offload {
    /// Its name, as `tso4`.
    pub name: String,
    /// On?
    pub on: bool,
    /// Why not.
    pub why: Option<String>,
}

/// One outer socket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// As `udp 0.0.0.0:4500`, `esp ::` or `xdp wan0`.
    pub name: String,
    /// Offloads and why one is off.
    pub offloads: Vec<Offload>,
    /// Packets that came and were dropped before they were received, nearly always because the buffer was full
    /// (`receive-dropped`). Of `xdp`: those sent past the kernel's stack by this device and beside it, by reason, and those
    /// lost in receiving from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<NamedCount>,
}

/// A counter with its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCount {
    /// What is counted.
    pub name: String,
    /// How many.
    pub count: u64,
}
