//! `show ipsec`.

use serde::{Deserialize, Serialize};

/// One CHILD SA: both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChildSa {
    /// The tunnel it is of.
    pub tunnel: String,
    /// `INSTALLED`, `REKEYED` (its successor has taken over) or `LINGERING` (still opened for late packets).
    pub state: String,
    /// The suite, in the file's keywords.
    pub suite: String,
    /// The key exchange that gave it fresh secrecy, if one did.
    pub pfs: Option<String>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// `UDP` or `ESP` (protocol 50).
    pub encapsulation: String,
    /// Where its IKE SA found translators; `None` once that is gone.
    pub nat: Option<Nat>,
    /// Our outer address and port.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// What our side may carry.
    pub local_ts: Vec<String>,
    /// What theirs may.
    pub remote_ts: Vec<String>,
    /// Seconds since it was made.
    pub age: u64,
    /// Seconds until we rekey it.
    pub rekey_in: Option<u64>,
    /// Seconds until it ends.
    pub expires_in: Option<u64>,
    /// Which of those with the same selectors (RFC 9611): 0 is the one for all.
    #[serde(default)]
    pub resource: u8,
    /// What the peer calls that, in hex, if it gave it a name.
    #[serde(default)]
    pub peer_resource: Option<String>,
    /// With the one for all, where the file wants several: how many there are, and why not more.
    #[serde(default)]
    pub resources: Option<String>,
    /// Packets the replay window spans.
    pub replay_window: u32,
    /// From the peer.
    pub inbound: Direction,
    /// To the peer.
    pub outbound: Direction,
}

/// What NAT detection found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nat {
    /// Is there one before us?
    pub local: bool,
    /// Is there one before the peer?
    pub remote: bool,
}

/// One direction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Direction {
    /// As eight hex digits.
    pub spi: String,
    /// Inner packets.
    pub packets: u64,
    /// Inner octets.
    pub bytes: u64,
    /// The newest sequence number.
    pub sequence: u64,
    /// Seconds since the last packet.
    pub last_use: Option<u64>,
    /// Packets refused, by reason.
    pub refused: Vec<(String, u64)>,
}
