//! What may be wrong with a path attribute, and the consequence (RFC 7606 section 2).

use std::fmt;

use crate::AttributeType;

/// The consequence of a fault, from the mildest to the strongest; with several the strongest holds
/// (RFC 7606 section 3 (h)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Attribute discard: the attribute is dropped, the routes stay.
    Discard,
    /// Treat-as-withdraw: the routes of the message are withdrawn.
    Withdraw,
    /// Session reset.
    Reset,
}

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Optional, Transitive or Partial bit in conflict with the attribute's definition.
    Flags,
    /// The value's length is not one the attribute can have.
    Length,
    /// The value has the right length and no meaning.
    Value,
    /// An AS path with AS 0 (RFC 7607).
    AsZero,
    /// An AS path with a set (RFC 9774).
    AsSet,
    /// An AS path from an external peer with confederation segments (RFC 5065 section 5).
    Confederation,
    /// An AS path whose first AS is not the peer's (RFC 4271 section 6.3).
    FirstAs,
    /// The attribute came twice (RFC 7606 section 3 (g)).
    Duplicate,
    /// A mandatory attribute is missing (RFC 7606 section 3 (d)).
    Missing,
    /// A well-known attribute no RFC defines (RFC 4271 section 6.3).
    UnknownWellKnown,
    /// Not to be sent by a peer of this kind (RFC 7606 sections 7.5, 7.9, 7.10; RFC 6793 section 6).
    NotFromThisPeer,
    /// The attribute runs past the end of the list (RFC 7606 section 4).
    Overrun,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flags => "flags in conflict with the attribute's definition",
            Self::Length => "invalid length",
            Self::Value => "invalid value",
            Self::AsZero => "AS 0 in the path",
            Self::AsSet => "AS_SET in the path",
            Self::Confederation => "confederation segment from an external peer",
            Self::FirstAs => "first AS is not the peer's",
            Self::Duplicate => "attribute repeated",
            Self::Missing => "mandatory attribute missing",
            Self::UnknownWellKnown => "unrecognized well-known attribute",
            Self::NotFromThisPeer => "attribute not valid from this peer",
            Self::Overrun => "attribute runs past the end of the list",
        })
    }
}

/// One thing wrong with one attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// The attribute.
    pub attribute: AttributeType,
    /// What was wrong with it.
    pub kind: FaultKind,
    /// What follows.
    pub action: Action,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self.action {
            Action::Discard => "attribute discarded",
            Action::Withdraw => "treated as withdrawn",
            Action::Reset => "session reset",
        };
        write!(f, "{}: {} ({consequence})", self.attribute, self.kind)
    }
}
