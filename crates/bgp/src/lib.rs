//! BGP-4 sessions and the speaker that holds them (RFC 4271 section 8), without a socket or a clock.
//!
//! [`Speaker`] is the whole of it: connections, bytes, commands and time go in; connects, writes, closes,
//! events and route changes come out. Its documentation has the order of calls.
//!
//! What is built: RFC 4271 with collision detection (RFC 6286), RFC 4760 (IPv4 and IPv6 unicast), 6793, 2918,
//! 7313, 7606, 8212, 9003, 9687, 4486; of 4724 End-of-RIB and the receiving speaker: a peer that restarts is waited for,
//! but nothing is kept over a restart of our own.

mod collision;
mod config;
mod connection;
mod counters;
mod event;
mod neighbor;
mod open;
mod session;
mod speaker;
mod timer;
mod view;

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test's clock must begin somewhere")]
mod tests;

pub use bgp_rib::NeighborId;
pub use config::{Change, Field, NeighborConfig, SpeakerConfig};
pub use connection::Direction;
pub use counters::{MessageCounters, NeighborCounters};
pub use event::{Alarm, BestRoute, ConnId, ConnectError, Effect, Event, ResetCause, RouteDelta, Way};
pub use neighbor::State;
pub use open::Negotiated;
pub use speaker::{Clear, Speaker};
pub use timer::{
    CHALLENGE_TIME, CONNECT_TIMEOUT, IDLE_HOLD_FORGET, IDLE_HOLD_MAX, LARGE_HOLD, PROBE_TIME, RETRY_MAX,
    RETRY_MIN, SEND_HOLD_MIN,
};
pub use view::{
    AdvertisedRoute, CapabilityView, FamilyView, NeighborView, PathView, PrefixView, ReceivedRoute,
    RefusedCounts, SummaryView, TableRow,
};
