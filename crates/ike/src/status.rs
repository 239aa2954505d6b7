//! What views may know of a connection: plain values, no keys.

use std::time::Instant;

use inet::Selector;

use crate::config::Path;
use crate::event::{ChildId, IkeId, Nat, Role};
use crate::identity::Identity;
use crate::proposal::{EspSuite, IkeSuite};
use crate::resource::{Resource, Resources};

/// Where an IKE SA stands, in the words of RFC 7296's exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IkeState {
    /// IKE_SA_INIT is under way.
    Init,
    /// IKE_AUTH is under way.
    Auth,
    /// Up.
    Established,
    /// Replaced by a successor, waiting for its DELETE.
    Rekeyed,
    /// Our DELETE is under way.
    Deleting,
}

/// One IKE SA.
#[derive(Clone, Debug)]
pub struct IkeStatus {
    /// Its number.
    pub ike: IkeId,
    /// Where it stands.
    pub state: IkeState,
    /// Who began it.
    pub role: Role,
    /// SPI of its initiator.
    pub spi_i: u64,
    /// SPI of its responder; 0 while unknown.
    pub spi_r: u64,
    /// Where the peer is.
    pub path: Path,
    /// What NAT detection found.
    pub nat: Nat,
    /// Who we said we are, once said.
    pub local_id: Option<Identity>,
    /// Who the peer proved to be.
    pub remote_id: Option<Identity>,
    /// The suite, once chosen.
    pub suite: Option<IkeSuite>,
    /// When it was begun, or established once it was.
    pub since: Instant,
    /// When it will be rekeyed, if it is up.
    pub rekey_at: Option<Instant>,
    /// When it will be deleted, if it is up.
    pub expires_at: Option<Instant>,
    /// Times its request under way was sent; 0: none is.
    pub sent: u32,
    /// Message id of our next request, and of the peer's.
    pub message_ids: (u32, u32),
    /// The last authenticated sign of life, ESP included.
    pub last_heard: Option<Instant>,
    /// Does the peer reassemble fragments (RFC 7383)?
    pub fragmentation: bool,
    /// Vendor ids the peer sent, printable ones as text, others in hex.
    pub vendors: Vec<String>,
    /// How many CHILD SAs with the same selectors there may be (RFC 9611).
    pub resources: Resources,
}

/// Where a CHILD SA stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildState {
    /// In use.
    Installed,
    /// In use, and its successor is being made.
    Rekeying,
    /// Its successor is in use.
    Rekeyed,
    /// Our DELETE is under way.
    Deleting,
}

/// One CHILD SA.
#[derive(Clone, Debug)]
pub struct ChildStatus {
    /// Its number.
    pub child: ChildId,
    /// The IKE SA it belongs to now.
    pub ike: IkeId,
    /// Where it stands.
    pub state: ChildState,
    /// SPI of packets to us.
    pub spi_in: u32,
    /// SPI of packets to the peer.
    pub spi_out: u32,
    /// The suite.
    pub suite: EspSuite,
    /// In UDP?
    pub encap: bool,
    /// Which of those with the same selectors.
    pub resource: Resource,
    /// What the peer calls that: opaque octets, at most 16 (RFC 9611 section 5.1).
    pub peer_resource: Vec<u8>,
    /// Traffic of our side.
    pub local_ts: Vec<Selector>,
    /// Traffic of the peer's side.
    pub remote_ts: Vec<Selector>,
    /// When it came up.
    pub since: Instant,
    /// When it will be rekeyed.
    pub rekey_at: Option<Instant>,
    /// When it will be deleted.
    pub expires_at: Instant,
}
