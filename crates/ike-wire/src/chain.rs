//! Chains of payloads, each naming the type of the next (RFC 7296 section 3.2).

use crate::error::{EncodeError, Error};
use crate::header::MAX_MESSAGE;
use crate::iana::PayloadType;
use crate::payload::Payload;
use crate::reader::Reader;
use crate::writer::Writer;

/// Payloads read from one message or one decrypted body.
pub const MAX_PAYLOADS: usize = 64;

/// Octets of the generic payload header.
pub(crate) const GENERIC_HEADER: usize = 4;
const CRITICAL: u8 = 0x80;

/// A generic header with a reader of the body it measures.
pub(crate) struct Link<'a> {
    pub(crate) next: PayloadType,
    pub(crate) critical: bool,
    pub(crate) body: Reader<'a>,
}

impl<'a> Link<'a> {
    pub(crate) fn parse(r: &mut Reader<'a>) -> Result<Self, Error> {
        let next = PayloadType(r.u8("next payload")?);
        let critical = r.u8("critical bit")? & CRITICAL != 0;
        let length = usize::from(r.u16("payload length")?);
        let body =
            length.checked_sub(GENERIC_HEADER).ok_or(Error::Length { what: "payload length", length })?;
        Ok(Self { next, critical, body: r.sub(body, "payload")? })
    }
}

/// Reads the payloads of a decrypted body without its padding, `first` being the Next Payload of its SK (or
/// first SKF) header. An empty body with `first` NONE is a chain of no payloads.
///
/// # Errors
/// Any [`Error`] but [`Error::MajorVersion`]. The first one found ends the reading.
pub fn parse_chain(first: PayloadType, bytes: &[u8]) -> Result<Vec<Payload>, Error> {
    // Joined fragments could exceed what a whole message can be.
    if bytes.len() > MAX_MESSAGE {
        return Err(Error::Length { what: "payload chain", length: bytes.len() });
    }
    let mut r = Reader::new(bytes);
    let mut payloads = Vec::new();
    let mut kind = first;
    while kind != PayloadType::NONE {
        let link = Link::parse(&mut r)?;
        push(&mut payloads, kind, link.critical, link.body)?;
        kind = link.next;
    }
    r.finish("payload chain")?;
    Ok(payloads)
}

/// Reads one more payload of a chain.
pub(crate) fn push(
    payloads: &mut Vec<Payload>,
    kind: PayloadType,
    critical: bool,
    body: Reader<'_>,
) -> Result<(), Error> {
    if payloads.len() == MAX_PAYLOADS {
        return Err(Error::TooMany { what: "payloads", limit: MAX_PAYLOADS });
    }
    payloads.push(Payload::parse(kind, critical, body)?);
    Ok(())
}

/// The type a chain's head has to name.
pub(crate) fn first(payloads: &[Payload]) -> PayloadType {
    payloads.first().map_or(PayloadType::NONE, Payload::kind)
}

/// Writes a chain.
pub(crate) fn emit(w: &mut Writer, payloads: &[Payload]) -> Result<(), EncodeError> {
    if payloads.len() > MAX_PAYLOADS {
        return Err(EncodeError::TooMany { what: "payloads", count: payloads.len() });
    }
    for (i, payload) in payloads.iter().enumerate() {
        w.u8(payloads.get(i + 1).map_or(PayloadType::NONE, Payload::kind).0);
        w.u8(payload.critical_octet());
        w.measured(2, "payload", |w| payload.emit(w))?;
    }
    Ok(())
}
