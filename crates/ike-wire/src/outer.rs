//! A datagram before its body is opened: the header and what follows it in clear.

use crate::chain::{self, Link};
use crate::error::{EncodeError, Error};
use crate::fragment::MAX_FRAGMENTS;
use crate::header::{HEADER_LEN, Header, MAX_MESSAGE, RawHeader, is_our_version};
use crate::iana::PayloadType;
use crate::payload::Payload;
use crate::reader::Reader;
use crate::writer::Writer;

/// A whole message: what an exchange works with once nothing is encrypted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// Its payloads, in order.
    pub payloads: Vec<Payload>,
}

/// A datagram read as far as is possible without keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outer {
    /// Its header.
    pub header: Header,
    /// The payloads in clear: all of them, or those in front of the encrypted one.
    pub payloads: Vec<Payload>,
    /// Where the encrypted body is, if there is one.
    pub protected: Option<ProtectedBody>,
}

/// An SK or SKF payload, which reaches to the end of the datagram (RFC 7296 section 3.14).
///
/// The datagram is `[header_len octets, authenticated | IV | ciphertext | ICV]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectedBody {
    /// The type of the first inner payload, for [`parse_chain`](crate::parse_chain). In a fragment it means
    /// something only in the first one (RFC 7383 section 2.5).
    pub first: PayloadType,
    /// Octets from the start of the datagram to the IV; all of them are authenticated.
    pub header_len: usize,
    /// Which fragment this is; `None` for a whole message.
    pub fragment: Option<Fragment>,
}

/// The place of a fragment (RFC 7383 section 2.5), with 1 <= `number` <= `total` <=
/// [`MAX_FRAGMENTS`](crate::MAX_FRAGMENTS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// Counted from 1.
    pub number: u16,
    /// How many fragments the message has.
    pub total: u16,
}

impl Fragment {
    /// RFC 7383 section 2.5: both fields start from 1, and the number "MUST be less than or equal to Total
    /// Fragments".
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let number = r.u16("fragment number")?;
        let total = r.u16("total fragments")?;
        if number == 0 || number > total {
            return Err(Error::Value { what: "fragment number", value: u32::from(number) });
        }
        if usize::from(total) > MAX_FRAGMENTS {
            return Err(Error::TooMany { what: "fragments", limit: MAX_FRAGMENTS });
        }
        Ok(Self { number, total })
    }
}

/// Reads a datagram (without a non-ESP marker) up to where keys are needed.
///
/// # Errors
/// [`Error::MajorVersion`] for another version than 2, before anything behind the header is looked at;
/// otherwise what is wrong with the header, the chain in clear or the frame of the encrypted payload. Use
/// [`Header::peek`] where an answer needs the header of such a message.
pub fn parse_outer(datagram: &[u8]) -> Result<Outer, Error> {
    let mut r = Reader::new(datagram);
    let raw = RawHeader::parse(&mut r)?;
    if !is_our_version(raw.major) {
        return Err(Error::MajorVersion { major: raw.major, header: raw.header });
    }
    let length = usize::try_from(raw.length).unwrap_or(usize::MAX);
    if length != datagram.len() || length > MAX_MESSAGE {
        return Err(Error::Length { what: "message length", length });
    }
    let mut payloads = Vec::new();
    let mut kind = raw.first;
    while kind != PayloadType::NONE {
        let link = Link::parse(&mut r)?;
        if kind == PayloadType::SK || kind == PayloadType::SKF {
            let protected = protected(kind, link, &r, datagram.len())?;
            return Ok(Outer { header: raw.header, payloads, protected: Some(protected) });
        }
        chain::push(&mut payloads, kind, link.critical, link.body)?;
        kind = link.next;
    }
    r.finish("message")?;
    Ok(Outer { header: raw.header, payloads, protected: None })
}

/// RFC 7296 section 3.14: the Encrypted payload "MUST be the last payload in the message"; `behind` is what
/// follows it.
fn protected(
    kind: PayloadType,
    mut link: Link<'_>,
    behind: &Reader<'_>,
    datagram_len: usize,
) -> Result<ProtectedBody, Error> {
    behind.clone().finish("message behind its encrypted payload")?;
    let fragment = if kind == PayloadType::SKF { Some(Fragment::parse(&mut link.body)?) } else { None };
    let header_len = datagram_len - link.body.left();
    Ok(ProtectedBody { first: link.next, header_len, fragment })
}

/// Writes a message in clear.
///
/// # Errors
/// What does not fit: see [`EncodeError`].
pub fn encode(header: &Header, payloads: &[Payload]) -> Result<Vec<u8>, EncodeError> {
    let mut body = Writer::new();
    chain::emit(&mut body, payloads)?;
    let body = body.into_bytes();
    let mut w = Writer::new();
    header.emit(&mut w, chain::first(payloads), message_length(HEADER_LEN + body.len())?);
    w.bytes(&body);
    Ok(w.into_bytes())
}

/// A message's length as its header says it.
pub(crate) fn message_length(length: usize) -> Result<u32, EncodeError> {
    let too_long = EncodeError::TooLong { what: "message", length };
    if length > MAX_MESSAGE {
        return Err(too_long);
    }
    u32::try_from(length).map_err(|_| too_long)
}
