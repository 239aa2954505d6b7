//! The IKEv2 engine (RFC 7296), initiator and responder, without I/O: datagrams, commands and time go in, datagrams,
//! deadlines and events come out.
//!
//! * [`Engine`] is the machine and says how it is driven.
//! * [`Connection`] is what it is told to keep up; [`IkeProposal`], [`EspProposal`] and [`Identity`] read the forms
//!   that strongSwan users know.
//! * [`Event`] is what others must act on, [`Failure`] why something did not work, [`Counter`] what was refused.
//! * [`Work`] is the key exchange, to be computed elsewhere.
//!
//! RFCs: 7296 whole but for EAP, certificates, IPComp, transport mode and configuration beyond answering;
//! 7383 (fragmentation); 3948 (NAT traversal); 4868, 5282, 7634, 8031, 5903, 5114, 3526 by way of `crypto`;
//! 9611 (several CHILD SAs with the same selectors).
//! MOBIKE (RFC 4555) is not offered: the port then says nothing about encapsulation.

mod auth;
mod child;
mod config;
mod cookie;
mod core;
mod counters;
mod dn;
mod engine;
mod event;
mod exchange;
mod failure;
mod fragment;
mod identity;
mod keys;
mod natd;
mod negotiate;
mod proposal;
mod protect;
mod random;
mod resource;
mod sa;
mod selectors;
mod status;
mod timer;
mod window;
mod work;

#[cfg(test)]
mod tests;

pub use config::{
    ConnId, Connection, Dpd, Encapsulation, IKE_PORT, Lifetime, Limits, NAT_PORT, Path, Remote,
};
pub use counters::{Counter, Counters};
pub use engine::{Command, Engine, Report};
pub use event::{ChildId, ChildKeys, ChildUp, DownReason, Event, IkeId, IkeUp, Nat, Note, Role, Transmit};
pub use failure::{Exchange, Failure, Misbehaviour, NoProposal, SelectorsTooNarrow};
pub use identity::{Identity, IdentityError};
pub use proposal::{EspProposal, EspSuite, IkeProposal, IkeSuite, ProposalError};
pub use random::Generator;
pub use resource::{Resource, Resources};
pub use status::{ChildState, ChildStatus, IkeState, IkeStatus};
pub use work::{Work, WorkId, WorkOutcome};
