//! What a speaker and its neighbours are told to be. Names are resolved; nothing here is text to parse.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bgp_rib::{Options, Policy};
use bgp_wire::{Families, PeerKind};

use crate::timer::SEND_HOLD_MIN;

/// The router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// Our AS number; a neighbour may know us by another ([`NeighborConfig::local_asn`]).
    pub asn: u32,
    /// Our BGP identifier: any value but 0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// The knobs of the decision process.
    pub decision: Options,
}

/// One neighbour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborConfig {
    /// What the operator calls it.
    pub name: Arc<str>,
    /// A remark for `show`.
    pub description: Option<Arc<str>>,
    /// Its address.
    pub address: IpAddr,
    /// Its TCP port; 179.
    pub port: u16,
    /// Its AS number. Equal to `local_asn` it is an internal peer.
    pub asn: u32,
    /// Our AS number towards it.
    pub local_asn: u32,
    /// The tunnel it lives and dies with; `None`: its transport is always up.
    pub tunnel: Option<Arc<str>>,
    /// Our end of the session; `None` leaves it to the kernel. For the socket.
    pub source: Option<IpAddr>,
    /// The TTL of our packets, 1-255. For the socket.
    pub multihop: u8,
    /// The hold time offered, in seconds: 0 or 3-65535 (RFC 4271 section 4.2).
    pub hold_time: u16,
    /// The most seconds between our keepalives; a third of the negotiated hold time if that is less.
    pub keepalive: u16,
    /// Seconds without a written octet that end the session while something waits (RFC 9687); more than `hold_time`.
    /// `None`: the RFC's own default.
    pub send_hold_time: Option<u16>,
    /// Wait for its connection, never dial.
    pub passive: bool,
    /// The families offered.
    pub families: Families,
    /// What is taken from it.
    pub import: Policy,
    /// What it is told.
    pub export: Policy,
    /// What its paths weigh, before anything they say of themselves; our own weigh 32768.
    pub weight: u16,
    /// The most prefixes of one family taken from it, counted before policy; one more ends the session with 6/1.
    pub max_prefix: Option<u32>,
    /// How long the session stays down after that; `None`: until cleared by hand.
    pub max_prefix_restart: Option<Duration>,
    /// The most prefixes of one family it is told: the rest is held back with an alarm.
    pub max_prefix_out: Option<u32>,
    /// Next hop of IPv4 routes told to it; `None`: our end of the session if that is IPv4.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes told to it; `None`: our end of the session if that is IPv6.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// Paths of an external peer must begin with its AS. Off behind a route server.
    pub enforce_first_as: bool,
    /// Paths with an AS_SET are treated as withdrawn (RFC 9774).
    pub reject_as_sets: bool,
    /// Offer messages up to 65535 octets (RFC 8654). Off: older peers have been seen to stumble.
    pub extended_message: bool,
    /// Kept down by the operator, with the text the peer was told (RFC 9003); may be empty.
    pub shutdown: Option<Arc<str>>,
}

impl NeighborConfig {
    /// A neighbour with every default: hold 180 s, keepalive 60 s, TTL 1, IPv4 alone, dialling, no policy
    /// (so no routes, RFC 8212), 15 minutes down after too many prefixes.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, address: IpAddr, asn: u32, local_asn: u32) -> Self {
        Self {
            name: name.into(),
            description: None,
            address,
            port: 179,
            asn,
            local_asn,
            tunnel: None,
            source: None,
            multihop: 1,
            hold_time: 180,
            keepalive: 60,
            send_hold_time: None,
            passive: false,
            families: Families::IPV4,
            import: Policy::Unset,
            export: Policy::Unset,
            weight: 0,
            max_prefix: None,
            max_prefix_restart: Some(Duration::from_mins(15)),
            max_prefix_out: None,
            next_hop_v4: None,
            next_hop_v6: None,
            enforce_first_as: true,
            reject_as_sets: true,
            extended_message: false,
            shutdown: None,
        }
    }

    /// The send hold time beside an agreed hold time of so many seconds: "If SendHoldTime is non-zero, then it MUST be
    /// greater than the value of HoldTime" (RFC 9687 section 4.4), and its default is the greater of eight minutes and
    /// twice the hold time (section 6).
    #[must_use]
    pub(crate) fn send_hold(&self, hold: u16) -> Duration {
        let hold = Duration::from_secs(hold.into());
        match self.send_hold_time {
            Some(seconds) => Duration::from_secs(seconds.into()).max(hold + Duration::from_secs(1)),
            None => SEND_HOLD_MIN.max(hold.saturating_mul(2)),
        }
    }

    /// External or internal.
    #[must_use]
    pub fn kind(&self) -> PeerKind {
        if self.asn == self.local_asn { PeerKind::Internal } else { PeerKind::External }
    }

    /// The policy that holds: RFC 8212 asks for one only between ASes.
    #[must_use]
    pub(crate) fn effective(&self, policy: &Policy) -> Policy {
        match (self.kind(), policy) {
            (PeerKind::Internal, Policy::Unset) => Policy::Any,
            (_, policy) => policy.clone(),
        }
    }

    /// What taking over `new` costs. One line a field, in field order.
    #[must_use]
    pub fn change(&self, new: &Self) -> Change {
        let restart = [
            (self.address == new.address, Field::Address),
            (self.port == new.port, Field::Port),
            (self.asn == new.asn, Field::Asn),
            (self.local_asn == new.local_asn, Field::LocalAsn),
            (self.tunnel == new.tunnel, Field::Tunnel),
            (self.source == new.source, Field::Source),
            (self.multihop == new.multihop, Field::Multihop),
            (self.hold_time == new.hold_time, Field::HoldTime),
            (self.keepalive == new.keepalive, Field::Keepalive),
            (self.send_hold_time == new.send_hold_time, Field::SendHoldTime),
            (self.families == new.families, Field::Families),
            (self.enforce_first_as == new.enforce_first_as, Field::EnforceFirstAs),
            (self.reject_as_sets == new.reject_as_sets, Field::RejectAsSets),
            (self.extended_message == new.extended_message, Field::ExtendedMessage),
            (self.shutdown == new.shutdown, Field::Shutdown),
        ];
        match restart.into_iter().find(|(same, _)| !same) {
            Some((_, field)) => Change::Restart(field),
            None if self == new => Change::Keep,
            None => Change::Absorb,
        }
    }
}

/// What a changed configuration means for a running session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing changed.
    Keep,
    /// Taken over without the session noticing (policies, limits, names, next hops, passive).
    Absorb,
    /// The session must begin anew, because of this field.
    Restart(Field),
}

/// A field that forces a session to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `address`
    Address,
    /// `port`
    Port,
    /// `asn`
    Asn,
    /// `local_asn`
    LocalAsn,
    /// `tunnel`
    Tunnel,
    /// `source`
    Source,
    /// `multihop`
    Multihop,
    /// `hold_time`
    HoldTime,
    /// `keepalive`
    Keepalive,
    /// `send_hold_time`
    SendHoldTime,
    /// `families`
    Families,
    /// `enforce_first_as`
    EnforceFirstAs,
    /// `reject_as_sets`
    RejectAsSets,
    /// `extended_message`
    ExtendedMessage,
    /// `shutdown`
    Shutdown,
}
