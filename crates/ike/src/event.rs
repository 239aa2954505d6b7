//! What comes out of the engine: datagrams to send, and events for whoever owns the datapath and the routes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crypto::{Group, Secret, Suite};
use inet::Selector;

use crate::config::{ConnId, Path};
use crate::failure::{Failure, SelectorsTooNarrow};
use crate::identity::Identity;
use crate::resource::Resource;

/// An IKE SA's number, never reused by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IkeId(pub u64);

/// A CHILD SA's number, never reused by one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// A datagram to send.
#[derive(Clone, PartialEq, Eq)]
pub struct Transmit {
    /// From where to where. On local port 4500 the shell writes the non-ESP marker first, unless `keepalive`.
    pub path: Path,
    /// The message, without marker.
    pub bytes: Arc<[u8]>,
    /// A NAT keepalive: the single byte 0xFF, which takes no marker (RFC 3948 section 2.3).
    pub keepalive: bool,
}

impl Transmit {
    /// Does it answer a request of the peer? A NAT keepalive answers nothing.
    #[must_use]
    pub fn is_response(&self) -> bool {
        ike_wire::Header::peek(&self.bytes).is_ok_and(|header| header.flags.response)
    }
}

/// Which side began an exchange or an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We did.
    Initiator,
    /// The peer did.
    Responder,
}

/// Something happened that others must act on.
#[derive(Clone, Debug)]
pub enum Event {
    /// An IKE SA is established and the peer's identity proven.
    IkeUp(IkeUp),
    /// A CHILD SA is agreed: the datapath can be built. Always after the `IkeUp` or `IkeRekeyed` of its `ike`.
    ChildUp(Box<ChildUp>),
    /// A CHILD SA is gone. When it was the one in use and others of the connection are up, the datapath moves to
    /// the newest of them.
    ChildDown {
        /// Its connection.
        conn: ConnId,
        /// Which.
        child: ChildId,
        /// The SPI packets to us carried.
        spi_in: u32,
        /// Why.
        reason: DownReason,
        /// Keep the inbound half alive this long: packets may still be under way. Zero: drop it now.
        linger: Duration,
    },
    /// An IKE SA was replaced by a successor; its CHILD SAs moved and go on.
    IkeRekeyed {
        /// The connection.
        conn: ConnId,
        /// The IKE SA that ends.
        old: IkeId,
        /// The one that goes on.
        new: IkeId,
        /// Who started it.
        role: Role,
    },
    /// An established IKE SA is gone; the `ChildDown` of each of its CHILD SAs came before. It is for the owner of
    /// the connection to dial again.
    IkeDown {
        /// The connection.
        conn: ConnId,
        /// Which.
        ike: IkeId,
        /// Why.
        reason: DownReason,
        /// Does another established IKE SA of the connection go on (a duplicate was removed)?
        replaced: bool,
    },
    /// A dial, or an attempt to make or rekey a CHILD SA, failed. See [`Failure::is_advisory`].
    Failed {
        /// The connection.
        conn: ConnId,
        /// Why, with everything `show status` needs.
        failure: Failure,
    },
    /// The peer is now reached elsewhere; encapsulated CHILD SAs must send there.
    PathChanged {
        /// The connection.
        conn: ConnId,
        /// Its IKE SA.
        ike: IkeId,
        /// From now on.
        path: Path,
    },
    /// Worth a log line, never an action.
    Note(Note),
}

/// An IKE SA is established.
#[derive(Clone, Debug)]
pub struct IkeUp {
    /// The connection.
    pub conn: ConnId,
    /// Its number.
    pub ike: IkeId,
    /// Where the peer is.
    pub path: Path,
    /// Who began.
    pub role: Role,
    /// Who we said we are.
    pub local_id: Identity,
    /// Who the peer proved to be.
    pub remote_id: Identity,
    /// What detection found.
    pub nat: Nat,
}

/// What NAT detection found (RFC 7296 section 2.23).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// We are behind a translator, or said so.
    pub local: bool,
    /// The peer is.
    pub remote: bool,
}

impl Nat {
    /// Is there a translator anywhere on the path?
    #[must_use]
    pub fn found(self) -> bool {
        self.local || self.remote
    }
}

/// A CHILD SA is agreed.
#[derive(Clone, Debug)]
pub struct ChildUp {
    /// The connection.
    pub conn: ConnId,
    /// Its number.
    pub child: ChildId,
    /// The IKE SA that made it.
    pub ike: IkeId,
    /// SPI of packets to us.
    pub spi_in: u32,
    /// SPI of packets to the peer.
    pub spi_out: u32,
    /// Encryption and integrity.
    pub suite: Suite,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// The keys, for one `InboundSa` and one `OutboundSa`.
    pub keys: ChildKeys,
    /// Traffic of our side, as agreed.
    pub local_ts: Vec<Selector>,
    /// Traffic of the peer's side, as agreed.
    pub remote_ts: Vec<Selector>,
    /// Where the peer is.
    pub path: Path,
    /// ESP travels in UDP between the addresses and ports of `path` (its ports turned from 500 to 4500); otherwise
    /// as IP protocol 50 between its addresses.
    pub encap: bool,
    /// Which of those with the same selectors it is (RFC 9611): packets may go out on any of them. Those that are not
    /// [`Resource::ANY`] come after that one of the same IKE SA and end with it.
    pub resource: Resource,
    /// The CHILD SA it takes over from.
    pub replaces: Option<ChildId>,
    /// Who began the exchange that made it. With `replaces`: as initiator send on it at once; as responder stay on the
    /// old one until a packet comes in on the new or the old one goes down, for until then the peer may lack the keys.
    /// The same holds of a further resource's first, where the old one is that of [`Resource::ANY`].
    pub role: Role,
    /// It lost against one the peer made at the same time and goes soon: receive on it, never send.
    pub inbound_only: bool,
    /// The group of its own key exchange, when it had one.
    pub pfs: Option<Group>,
    /// The agreed selectors leave out an address pair they must carry; a [`Failure::SelectorsTooNarrow`] follows.
    pub too_narrow: Option<SelectorsTooNarrow>,
    /// Anti-replay window in packets.
    pub replay_window: u32,
    /// Hard limit of bytes, from the connection.
    pub bytes: Option<u64>,
    /// Hard limit of packets, from the connection.
    pub packets: Option<u64>,
}

/// Keying material of one CHILD SA (RFC 7296 section 2.17), each in the form `crypto` wants: an AEAD key with its
/// salt at the end and an empty integrity key, or cipher and HMAC keys.
#[derive(Clone)]
pub struct ChildKeys {
    /// Encryption, packets to us.
    pub encr_in: Secret,
    /// Integrity, packets to us.
    pub integ_in: Secret,
    /// Encryption, packets to the peer.
    pub encr_out: Secret,
    /// Integrity, packets to the peer.
    pub integ_out: Secret,
}

impl std::fmt::Debug for ChildKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChildKeys(..)")
    }
}

impl std::fmt::Debug for Transmit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transmit({} bytes {} -> {})", self.bytes.len(), self.path.local, self.path.remote)
    }
}

/// Why an SA ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DownReason {
    /// The peer deleted it.
    PeerDeleted,
    /// A request of ours went unanswered for the whole of `dpd.timeout`.
    PeerSilent,
    /// Its hard lifetime ended before a successor was there.
    Lifetime,
    /// We were told to end it.
    Commanded,
    /// The connection was changed or removed.
    Reconfigured,
    /// Its successor took over.
    Rekeyed,
    /// Both ends made one at the same time, and the other was kept.
    Redundant,
    /// It stood beside the CHILD SA that any resource may use, and that ended (RFC 9611).
    Orphaned,
    /// The same peer came again with a new IKE SA.
    Replaced,
    /// The same peer came again and said INITIAL_CONTACT (RFC 7296 section 2.4): it remembers nothing of this one, as
    /// after a crash.
    PeerRestarted,
    /// The peer said that it knows no such SA, or that it does not trust us any more.
    PeerLost,
    /// The peer broke the protocol so that going on makes no sense.
    Misbehaved,
    /// The peer has what we asked it for, and we were too busy to compute its keys.
    Overloaded,
}

impl std::fmt::Display for DownReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PeerDeleted => "the peer deleted it",
            Self::PeerSilent => "the peer did not answer",
            Self::Lifetime => "its lifetime ended",
            Self::Commanded => "ended by command",
            Self::Reconfigured => "the configuration changed",
            Self::Rekeyed => "replaced by its successor",
            Self::Redundant => "a duplicate of one made at the same time",
            Self::Orphaned => "the CHILD SA it stood beside ended",
            Self::Replaced => "the peer came again",
            Self::PeerRestarted => "the peer came again and remembers nothing of it (INITIAL_CONTACT)",
            Self::PeerLost => "the peer lost it",
            Self::Misbehaved => "the peer broke the protocol",
            Self::Overloaded => "this host could not compute a key exchange: too many wait",
        })
    }
}

/// Worth a log line. Those about strangers are rate-limited by [`crate::Limits::notes_per_second`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// No connection admits this address.
    UnknownPeer {
        /// Who asked.
        remote: SocketAddr,
        /// On which of our addresses.
        local: SocketAddr,
    },
    /// A peer at an admitted address failed to become one of its connections.
    Refused {
        /// Who asked.
        remote: SocketAddr,
        /// The identity it claimed, when it got that far.
        claimed: Option<Identity>,
        /// Why; it also goes to the connection as [`Event::Failed`] where exactly one is concerned.
        failure: Failure,
    },
    /// A request has been repeated this often without an answer; the end comes at `dpd.timeout`.
    NoAnswer {
        /// The connection.
        conn: ConnId,
        /// Where the request went.
        remote: SocketAddr,
        /// Times sent.
        sent: u32,
    },
    /// The peer rekeyed without the key exchange our proposals name, and the connection accepts that.
    RekeyWithoutPfs {
        /// The connection.
        conn: ConnId,
    },
    /// The peer has enough CHILD SAs with the same selectors (RFC 9611 section 5.2): no further ones are asked for on this
    /// IKE SA.
    EnoughResources {
        /// The connection.
        conn: ConnId,
        /// How many there are.
        have: usize,
    },
    /// Half-open IKE SAs reached their bound; newcomers are refused.
    HalfOpenFull,
    /// IKE_SA_INIT must bring a cookie from now on.
    CookiesOn,
    /// The peer pushed configuration (Cisco's CFG_SET), answered and not used.
    ConfigurationPushed {
        /// The connection.
        conn: ConnId,
        /// How many attributes.
        attributes: usize,
    },
    /// A notify of unknown type came in an authenticated message.
    UnknownNotify {
        /// The connection.
        conn: ConnId,
        /// Its number.
        kind: u16,
        /// Its first bytes.
        data: Vec<u8>,
    },
}
