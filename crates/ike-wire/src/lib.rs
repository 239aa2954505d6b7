//! Bytes to and from IKEv2 messages (RFC 7296 section 3, fragments of RFC 7383), with no opinion about them.
//!
//! Reading takes two steps, because keys stand between them:
//!
//! 1. [`parse_outer`] reads the header and the payloads in clear. Where an Encrypted (SK) or Encrypted Fragment
//!    (SKF) payload follows, [`Outer::protected`] says where its IV begins and what its first inner payload is.
//! 2. The caller opens the body, takes the padding off with [`unpad`], joins fragments if there are any, and
//!    hands the result to [`parse_chain`].
//!
//! Writing mirrors it: [`encode`] for messages in clear, [`encode_protected`] and [`encode_fragments`] for
//! buffers with room for IV, padding and ICV, ready to be sealed in place.
//!
//! Input is hostile. No call here panics on any input, every list is bounded (the `MAX_` constants), a length
//! that lies ends at the payload that holds it, and what is left over is an error with a name. Reserved fields
//! are ignored on receipt and sent as zero, as RFC 7296 section 2.5 asks.

mod chain;
mod error;
mod fragment;
mod header;
mod iana;
mod outer;
mod payload;
mod protected;
mod reader;
mod registry;
mod writer;

pub use chain::{MAX_PAYLOADS, parse_chain};
pub use error::{EncodeError, Error};
pub use fragment::{MAX_FRAGMENTS, encode_fragments};
pub use header::{ExchangeFlags, HEADER_LEN, Header, IkeSpi, MAX_MESSAGE};
pub use iana::{
    AttributeType, AuthMethod, CertEncoding, ConfigAttributeType, ConfigType, EncrId, EsnId, ExchangeType,
    IdType, IntegId, IpcompId, KeGroup, NotifyType, PayloadType, PrfId, ProtocolId, TransformType, TsType,
};
pub use outer::{Fragment, Message, Outer, ProtectedBody, encode, parse_outer};
pub use payload::authentication::{Authentication, Certificate, CertificateRequest, Identification};
pub use payload::configuration::{ConfigAttribute, Configuration, MAX_CONFIG_ATTRIBUTES};
pub use payload::delete::Delete;
pub use payload::exchange::{KeyExchange, MAX_NONCE, MIN_NONCE};
pub use payload::notify::Notify;
pub use payload::sa::{
    Attribute, AttributeValue, MAX_ATTRIBUTES, MAX_PROPOSALS, MAX_TRANSFORMS, Proposal, SecurityAssociation,
    Transform,
};
pub use payload::ts::{Addresses, IpSelector, OtherSelector, TrafficSelector, TrafficSelectors};
pub use payload::{Payload, UnknownPayload};
pub use protected::{Protected, ProtectedLayout, encode_protected, unpad};

/// The result of reading.
pub type Result<T, E = Error> = std::result::Result<T, E>;
