//! `show ike`.

use serde::{Deserialize, Serialize};

use super::NamedCount;

/// The page: the SAs, and what the engine counted over all of them and of strangers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ike {
    /// The IKE SAs.
    pub sas: Vec<IkeSa>,
    /// Requests of strangers being answered that have not authenticated.
    pub half_open: usize,
    /// From so many half-open on, cookies are demanded of everybody (RFC 7296 section 2.6).
    pub cookie_from: usize,
    /// At most so many are half-open, whatever anybody sends: it follows the number of connections.
    pub half_open_max: usize,
    /// At most so many of one address that brought no cookie; the next of it is asked for one.
    pub half_open_per_address: usize,
    /// Everything counted since the start, by name: each has one of its own, also when it is 0.
    pub counters: Vec<NamedCount>,
}

/// One IKE SA.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IkeSa {
    /// The tunnel it is of.
    pub tunnel: String,
    /// The state, by its RFC name or a word.
    pub state: String,
    /// Did we start it?
    pub initiator: bool,
    /// SPIs, as 16 hex digits.
    pub spi_initiator: String,
    /// The responder's.
    pub spi_responder: String,
    /// Our address and port.
    pub local: String,
    /// The peer's address and port.
    pub remote: String,
    /// Our identity.
    pub local_id: String,
    /// The peer's identity, as it proved it.
    pub remote_id: String,
    /// The suite, in the file's keywords.
    pub suite: String,
    /// Is there a NAT before us?
    pub nat_local: bool,
    /// Is there one before the peer?
    pub nat_remote: bool,
    /// Seconds since established.
    pub age: u64,
    /// Seconds until we rekey it.
    pub rekey_in: Option<u64>,
    /// Seconds until it ends.
    pub expires_in: Option<u64>,
    /// Seconds since the peer was last heard.
    pub last_heard: Option<u64>,
    /// Children it has.
    pub children: usize,
}
