//! What a connection is meant to be: the engine's own configuration, free of any text format.
//!
//! Nothing here is optional by accident: names are resolved, defaults filled in. An `Option` has a
//! meaning of its own, written at the field.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use crypto::Secret;
use inet::Selector;

use crate::identity::Identity;
use crate::proposal::{EspProposal, IkeProposal};

/// A connection's number, chosen by the caller and stable for as long as the connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

/// One peer, and the one CHILD SA kept with it.
#[derive(Clone)]
pub struct Connection {
    /// The name users know it by; the engine only carries it.
    pub name: Arc<str>,
    /// Our addresses a request for this connection may arrive on; empty means any.
    pub local: Vec<IpAddr>,
    /// Where the peer may be.
    pub remote: Remote,
    /// Who we say we are (RFC 7296 section 3.5). `None`: the local address of the path used.
    pub local_id: Option<Identity>,
    /// Who the peer must prove to be. `None`: the address it is reached at; with [`Remote::Any`] it must be set,
    /// or the connection never answers.
    pub remote_id: Option<Identity>,
    /// The secret that proves us (RFC 7296 section 2.15).
    pub psk_local: Arc<Secret>,
    /// The secret that proves the peer; usually the same as `psk_local`.
    pub psk_remote: Arc<Secret>,
    /// Suites of the IKE SA, the dearest first. Never empty.
    pub ike_proposals: Vec<IkeProposal>,
    /// Suites of the CHILD SA, the dearest first. Never empty.
    pub esp_proposals: Vec<EspProposal>,
    /// Traffic of our side. Never empty.
    pub local_ts: Vec<Selector>,
    /// Traffic of the peer's side. Never empty.
    pub remote_ts: Vec<Selector>,
    /// Pairs (local, remote) of addresses that the agreed selectors must carry: the BGP session's ends.
    pub must_cover: Vec<(IpAddr, IpAddr)>,
    /// When ESP travels in UDP.
    pub encapsulation: Encapsulation,
    /// Life of the IKE SA.
    pub ike_lifetime: Lifetime,
    /// Life of a CHILD SA.
    pub child_lifetime: Lifetime,
    /// Hard limit of bytes a CHILD SA may carry each way; carried to the datapath, which reports the soft one.
    pub child_bytes: Option<u64>,
    /// Hard limit of packets a CHILD SA may carry each way; as above.
    pub child_packets: Option<u64>,
    /// Liveness of the peer and the patience with one request.
    pub dpd: Dpd,
    /// Anti-replay window in packets (64-8192); carried to the datapath.
    pub replay_window: u32,
    /// Accept, and fall back to, a rekey without key exchange although our proposals name a group. Azure's
    /// default policy never sends one.
    pub accept_rekey_without_pfs: bool,
    /// How many CHILD SAs with the same selectors are kept with a peer that agrees to have several (RFC 9611), each for
    /// another receiver; 1: one, and nothing is said of it.
    pub resource_sas: NonZeroU8,
    /// How often a NAT in front of us is reminded of its mapping (RFC 3948 section 4): 20 s by custom. Zero: never.
    pub keepalive: Duration,
    /// How long the old inbound CHILD SA stays usable after its DELETE, for packets still under way: 5 s by custom.
    pub linger: Duration,
}

impl Connection {
    /// A connection with every default of this page filled in; `psk` proves both sides.
    ///
    /// Selectors are 0.0.0.0/0 both ways, suites the strong defaults, IKE 8 h, CHILD 1 h, liveness 30 s / 150 s.
    #[must_use]
    pub fn new(name: &str, remote: Remote, psk: Secret) -> Self {
        let psk = Arc::new(psk);
        Self {
            name: name.into(),
            local: Vec::new(),
            remote,
            local_id: None,
            remote_id: None,
            psk_local: Arc::clone(&psk),
            psk_remote: psk,
            ike_proposals: IkeProposal::defaults(),
            esp_proposals: EspProposal::defaults(),
            local_ts: vec![Selector::any_v4()],
            remote_ts: vec![Selector::any_v4()],
            must_cover: Vec::new(),
            encapsulation: Encapsulation::Auto,
            ike_lifetime: Lifetime::hard(Duration::from_secs(8 * 3600)),
            child_lifetime: Lifetime::hard(Duration::from_secs(3600)),
            child_bytes: None,
            child_packets: None,
            dpd: Dpd::default(),
            replay_window: 1024,
            accept_rekey_without_pfs: false,
            resource_sas: NonZeroU8::MIN,
            keepalive: Duration::from_secs(20),
            linger: Duration::from_secs(5),
        }
    }

    /// May a request from `remote` to our `local` belong to this connection? Identities decide later.
    #[must_use]
    pub fn admits(&self, local: IpAddr, remote: IpAddr) -> bool {
        (self.local.is_empty() || self.local.contains(&local))
            && match &self.remote {
                // Without an identity to ask for, anyone who holds the secret would be let in.
                Remote::Any => self.remote_id.is_some(),
                Remote::Addresses(list) => list.contains(&remote),
            }
    }
}

/// Where the peer may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// Anywhere: we only answer.
    Any,
    /// At one of these addresses.
    Addresses(Vec<IpAddr>),
}

/// When ESP travels in UDP (RFC 3948). The port IKE uses never decides it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encapsulation {
    /// Exactly when NAT detection found a translator.
    #[default]
    Auto,
    /// Always: our detection hash is falsified so that the peer sees a translator too.
    Always,
    /// Never: detection is not offered at all.
    Never,
}

/// When a security association ends, and when its successor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// After this the SA is deleted, successor or not.
    pub hard: Duration,
    /// After this it is rekeyed. `None`: at 90 % of `hard`, less up to 10 % at random so that two ends, or a hundred
    /// tunnels, do not rekey at the same moment.
    pub soft: Option<Duration>,
}

impl Lifetime {
    /// The default soft time before this hard one.
    #[must_use]
    pub const fn hard(hard: Duration) -> Self {
        Self { hard, soft: None }
    }

    /// The soft time for one SA; `random` (any value) places it in its range.
    #[must_use]
    pub fn soft_after(&self, random: u32) -> Duration {
        let soft = self.soft.unwrap_or_else(|| {
            let share = 0.9 - 0.1 * f64::from(random) / f64::from(u32::MAX);
            self.hard.mul_f64(share)
        });
        soft.min(self.hard)
    }
}

/// Liveness of the peer (RFC 7296 section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpd {
    /// Silence (no IKE message and no ESP packet from the peer) after which it is asked for a sign of life. Zero: never.
    pub delay: Duration,
    /// The whole time one request is repeated, with exponential back-off, before the peer counts as dead.
    pub timeout: Duration,
}

impl Default for Dpd {
    fn default() -> Self {
        Self { delay: Duration::from_secs(30), timeout: Duration::from_secs(150) }
    }
}

/// The two ends of an IKE conversation as this host sees them.
///
/// A `local` port of 4500 means that the datagram carries the four zero bytes of RFC 3948 section 2.2 on the wire;
/// the shell takes them off on receipt and puts them on when sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port, or its translator's.
    pub remote: SocketAddr,
}

/// Port of IKE.
pub const IKE_PORT: u16 = 500;
/// Port of IKE and ESP behind a translator (RFC 3948).
pub const NAT_PORT: u16 = 4500;

impl Path {
    /// Both ends on port 500.
    #[must_use]
    pub fn ike(local: IpAddr, remote: IpAddr) -> Self {
        Self { local: SocketAddr::new(local, IKE_PORT), remote: SocketAddr::new(remote, IKE_PORT) }
    }

    /// The same ends with every port 500 turned into 4500 (RFC 7296 section 2.23).
    #[must_use]
    pub fn floated(mut self) -> Self {
        for end in [&mut self.local, &mut self.remote] {
            if end.port() == IKE_PORT {
                end.set_port(NAT_PORT);
            }
        }
        self
    }
}

/// Bounds of the whole engine: each exists because someone unauthenticated could otherwise spend our memory or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Half-open IKE SAs as responder in the room that all share. Each connection whose peer may be anywhere adds one, and
    /// the addresses that connections name have rooms of their own beside it, see [`Engine`](crate::Engine)'s
    /// `half_open_bound`.
    pub half_open: usize,
    /// Half-open IKE SAs as responder that one remote address may have without a cookie. One that brings a cookie may have
    /// more, by the number of connections that take it, and so many besides.
    pub half_open_per_address: usize,
    /// From this many half-open on, IKE_SA_INIT must bring a cookie (RFC 7296 section 2.6). Zero: always.
    pub cookie_from: usize,
    /// Cookies demanded per second: so many of each address that connections name, and so many of all others together.
    pub cookies_per_second: u32,
    /// How long a half-open IKE SA may wait for its IKE_AUTH.
    pub half_open_timeout: Duration,
    /// CHILD SAs of one IKE SA at a time, those being replaced included; and two more for each further one of
    /// [`Connection::resource_sas`].
    pub children: usize,
    /// Notes (rate-limited remarks about strangers) per second.
    pub notes_per_second: u32,
    /// Answers to strangers (error notifies outside an IKE SA) per second.
    pub answers_per_second: u32,
    /// IKE messages longer than this many bytes are sent in fragments to peers that know them (RFC 7383).
    pub fragment_size: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 256,
            half_open_per_address: 8,
            cookie_from: 30,
            cookies_per_second: 1000,
            half_open_timeout: Duration::from_secs(30),
            children: 16,
            notes_per_second: 5,
            answers_per_second: 50,
            // 1280 less the headers of IPv6 and UDP and the non-ESP marker.
            fragment_size: 1228,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_time_lies_between_80_and_90_percent() {
        let life = Lifetime::hard(Duration::from_secs(1000));
        assert_eq!(life.soft_after(0), Duration::from_secs(900));
        assert_eq!(life.soft_after(u32::MAX), Duration::from_secs(800));
    }

    #[test]
    fn an_explicit_soft_time_is_kept_but_never_past_the_hard_one() {
        let life = Lifetime { hard: Duration::from_secs(10), soft: Some(Duration::from_secs(7)) };
        assert_eq!(life.soft_after(12345), Duration::from_secs(7));
        let life = Lifetime { hard: Duration::from_secs(10), soft: Some(Duration::from_secs(70)) };
        assert_eq!(life.soft_after(1), Duration::from_secs(10));
    }

    #[test]
    fn floating_moves_only_port_500() {
        let mut path = Path::ike("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        path.remote.set_port(1027);
        assert_eq!(path.floated().local.port(), 4500);
        assert_eq!(path.floated().remote.port(), 1027);
    }
}
