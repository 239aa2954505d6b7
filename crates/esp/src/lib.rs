//! One ESP security association: seal, open, count, expire (RFC 4303).
//!
//! An SA is made once, from keys, and lives behind an `Arc`: [`OutboundSa`] and [`InboundSa`] are shared by
//! the threads that use them and by the views that count them, and they are never copied. Nothing here
//! allocates for a packet, knows a socket or reads a clock; coarse time is an argument ([`Tick`]).
//!
//! What is kept: RFC 4303 (tunnel mode; the anti-replay window, extended sequence numbers, padding, dummy
//! packets), RFC 4106, RFC 3602, RFC 4868, RFC 2404, RFC 7634 by way of `crypto`. What is not: transport
//! mode, TFC padding on sending (tolerated on receipt only where the inner length says so), AH.

mod counters;
mod error;
mod geometry;
mod inbound;
mod lifetime;
mod outbound;
pub mod replay;
pub mod seq;

pub use counters::{Tick, Usage};
pub use error::{Refusal, Refusals, SetupError, Unsealed};
pub use geometry::{Geometry, HEADER_LEN};
pub use inbound::{InboundParams, InboundSa, MAX_RUN, Opened, RunReport, Segment};
pub use lifetime::{Limits, Soft};
pub use outbound::{OutboundParams, OutboundSa, Reservation, Slot};

/// The next header values an SA in tunnel mode carries.
///
/// IANA: <https://www.iana.org/assignments/protocol-numbers/>.
pub mod next_header {
    /// An IPv4 packet inside.
    pub const IPV4: u8 = 4;
    /// An IPv6 packet inside.
    pub const IPV6: u8 = 41;
    /// RFC 4303 section 2.6: a dummy packet, to be discarded without an error.
    pub const NONE: u8 = 59;
}
