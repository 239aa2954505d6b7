//! Bytes to and from BGP-4 messages, given what the session negotiated (RFC 4271 section 4 and its extensions).
//!
//! No opinion lives here: a [`Cutter`] finds the messages in a stream, [`Message::decode`] turns each into
//! values, and a malformed UPDATE says its own consequence as RFC 7606 has it: some attributes discarded,
//! the routes treated as withdrawn, or the session reset with the [`Notification`] to send. Encoders write
//! what the oldest peers accept: attributes in ascending order with MP_REACH_NLRI and MP_UNREACH_NLRI first,
//! low flag bits zero, no message above the negotiated size.
//!
//! Nothing in this crate panics on any input; every parser reads through a cursor that knows its end.

mod as_path;
mod attributes;
mod capability;
mod context;
mod family;
mod frame;
mod iana;
mod message;
mod nlri;
mod notification;
mod open;
mod reader;
mod refresh;
mod update;
mod writer;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use attributes::{
    Aggregator, Community, ExtendedCommunity, LargeCommunity, NextHop, Origin, PathAttributes,
    UnknownAttribute,
};
pub use capability::{Capability, GracefulFamily, GracefulRestart};
pub use context::{Context, PeerKind};
pub use family::{Families, Family};
pub use frame::{Cutter, Frame, HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH};
pub use iana::{AS_TRANS, AttributeType, CapabilityCode, MessageType};
pub use message::{Message, keepalive};
pub use notification::{Notification, NotificationCode, PrefixLimit, sanitise};
pub use open::Open;
pub use refresh::{RefreshKind, RouteRefresh};
pub use update::{
    Action, Fault, FaultKind, Reach, TooLong, Update, encode_announce, encode_end_of_rib, encode_withdraw,
};
