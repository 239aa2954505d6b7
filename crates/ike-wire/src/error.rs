//! What can be wrong with bytes received, and with a message to be sent.

use crate::header::Header;
use crate::iana::{NotifyType, PayloadType, ProtocolId};
use crate::payload::notify::Notify;

/// Why bytes are not an IKEv2 message. `what` names the field or structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a field.
    #[error("{what}: {needed} octets needed, {left} left")]
    Truncated {
        /// The field that does not fit.
        what: &'static str,
        /// Octets the field takes.
        needed: usize,
        /// Octets that were left.
        left: usize,
    },
    /// Bytes are left over behind the last field of a structure.
    #[error("{what}: {left} octets left over")]
    Leftover {
        /// The structure that should have ended.
        what: &'static str,
        /// Octets behind its end.
        left: usize,
    },
    /// A length field contradicts what it measures.
    #[error("{what}: a length of {length} cannot be")]
    Length {
        /// The field.
        what: &'static str,
        /// Its value.
        length: usize,
    },
    /// A field has a value the RFC does not allow.
    #[error("{what}: a value of {value} cannot be")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u32,
    },
    /// A list is longer than this implementation reads.
    #[error("{what}: more than {limit}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many would have been read.
        limit: usize,
    },
    /// A payload stands where it must not: SK or SKF inside a decrypted body.
    #[error("a {0} payload inside an encrypted body")]
    Misplaced(PayloadType),
    /// An unknown payload with its critical bit set (RFC 7296 section 2.5).
    #[error("unsupported critical payload {}", .0.0)]
    UnsupportedCriticalPayload(PayloadType),
    /// Another major version than 2. The header is read as version 2 lays it out.
    #[error("IKE version {major}")]
    MajorVersion {
        /// The version of the message.
        major: u8,
        /// What an answer has to mirror; sent only to versions above 2 (RFC 7296 section 2.5).
        header: Header,
    },
}

impl Error {
    /// The notification that tells a peer of this error, where the exchange's state permits an answer at all.
    ///
    /// RFC 7296 section 3.10.1: UNSUPPORTED_CRITICAL_PAYLOAD carries the one-octet payload type;
    /// INVALID_MAJOR_VERSION and INVALID_SYNTAX carry nothing.
    #[must_use]
    pub fn notify(&self) -> Notify {
        let (kind, data) = match self {
            Self::UnsupportedCriticalPayload(payload) => {
                (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![payload.0])
            }
            Self::MajorVersion { .. } => (NotifyType::INVALID_MAJOR_VERSION, Vec::new()),
            Self::Truncated { .. }
            | Self::Leftover { .. }
            | Self::Length { .. }
            | Self::Value { .. }
            | Self::TooMany { .. }
            | Self::Misplaced(_) => (NotifyType::INVALID_SYNTAX, Vec::new()),
        };
        Notify { protocol: ProtocolId::NONE, spi: Vec::new(), kind, data }
    }
}

/// Why values do not fit into a message. Always the caller's own doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A structure is longer than its length field can say.
    #[error("{what}: {length} octets are too many")]
    TooLong {
        /// The structure.
        what: &'static str,
        /// Its length in octets.
        length: usize,
    },
    /// A list is longer than its count field, or than a reader of this crate would accept.
    #[error("{what}: {count} are too many")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        count: usize,
    },
    /// The datagram size leaves no room for a fragment's content, or would need more than
    /// [`MAX_FRAGMENTS`](crate::MAX_FRAGMENTS).
    #[error("fragments of {max_datagram} octets cannot carry the message")]
    FragmentSize {
        /// The size asked for, in octets.
        max_datagram: usize,
    },
    /// A value that no reader would take, such as a nonce too short or an empty list where one is required.
    #[error("{what}: not to be sent like this")]
    Invalid {
        /// The value.
        what: &'static str,
    },
}
