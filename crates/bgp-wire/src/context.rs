//! What a session negotiated, as far as it changes the meaning of bytes.

use crate::{Families, MAX_EXTENDED_LENGTH, MAX_LENGTH, MessageType};

/// External or internal peer (RFC 4271 section 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// Of another AS.
    External,
    /// Of our own AS.
    Internal,
}

/// Everything the decoder and the encoder must know of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Both sides offered 4-octet AS numbers (RFC 6793).
    pub as4: bool,
    /// The families both sides offered.
    pub families: Families,
    /// Both sides offered extended messages (RFC 8654).
    pub extended_message: bool,
    /// External or internal.
    pub peer: PeerKind,
    /// The AS the leftmost hop of a path must have; `None` asks nothing
    /// (RFC 4271 section 6.3: "MAY check"; off behind a route server).
    pub first_as: Option<u32>,
    /// Paths with an AS_SET are treated as withdrawn (RFC 9774).
    pub reject_as_sets: bool,
}

impl Context {
    /// The longest message of a type, in octets (RFC 8654 section 4: never longer for OPEN and KEEPALIVE).
    #[must_use]
    pub fn max_length(&self, kind: MessageType) -> usize {
        if self.extended_message && kind != MessageType::OPEN && kind != MessageType::KEEPALIVE {
            MAX_EXTENDED_LENGTH
        } else {
            MAX_LENGTH
        }
    }
}
