//! Messages with an Encrypted payload (RFC 7296 section 3.14), laid out to be sealed in place.

use crate::chain;
use crate::error::{EncodeError, Error};
use crate::header::{HEADER_LEN, Header, MAX_MESSAGE};
use crate::iana::PayloadType;
use crate::outer::{Fragment, message_length};
use crate::payload::Payload;
use crate::writer::Writer;

/// Octets of the generic header, and of the two fragment fields behind it.
const SK_HEADER: usize = chain::GENERIC_HEADER;
const SKF_HEADER: usize = SK_HEADER + 4;

/// What the cipher of an IKE SA needs around a body, in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProtectedLayout {
    /// The IV in front of the body.
    pub iv_len: usize,
    /// The body with its padding and pad length is a multiple of this: 16 for AES-CBC, 1 for AEAD.
    pub block: usize,
    /// The ICV behind it.
    pub icv_len: usize,
}

/// A message to be sealed: `[header_len octets, authenticated | IV | body, padding, pad length | ICV]`, with
/// zeros where IV and ICV belong. All lengths in it are final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// The datagram.
    pub bytes: Vec<u8>,
    /// Octets in front of the IV.
    pub header_len: usize,
}

/// Writes a message whose payloads all go into one SK payload.
///
/// # Errors
/// What does not fit: see [`EncodeError`].
pub fn encode_protected(
    header: &Header,
    payloads: &[Payload],
    layout: ProtectedLayout,
) -> Result<Protected, EncodeError> {
    let body = body(payloads)?;
    frame(header, chain::first(payloads), &body, layout, None)
}

/// Takes padding and pad length off a decrypted body.
///
/// RFC 7296 section 3.14: the padding "MAY contain any value", so only its length is looked at.
///
/// # Errors
/// [`Error::Truncated`] for no octets at all, [`Error::Length`] for more padding than there is body.
pub fn unpad(plaintext: &[u8]) -> Result<&[u8], Error> {
    let Some((&pad, rest)) = plaintext.split_last() else {
        return Err(Error::Truncated { what: "pad length", needed: 1, left: 0 });
    };
    let length = usize::from(pad);
    let end = rest.len().checked_sub(length).ok_or(Error::Length { what: "pad length", length })?;
    rest.get(..end).ok_or(Error::Length { what: "pad length", length })
}

impl ProtectedLayout {
    /// Octets of a message in front of the IV.
    pub(crate) const fn header_len(fragment: bool) -> usize {
        HEADER_LEN + if fragment { SKF_HEADER } else { SK_HEADER }
    }

    /// Padding behind `body` octets, so that body, padding and pad length fill whole blocks.
    pub(crate) fn padding(&self, body: usize) -> Result<usize, EncodeError> {
        let filled = (body + 1)
            .checked_rem(self.block)
            .ok_or(EncodeError::Invalid { what: "block of zero octets" })?;
        Ok(if filled == 0 { 0 } else { self.block - filled })
    }

    /// Octets of the whole message around `body` octets.
    pub(crate) fn message_len(&self, body: usize, fragment: bool) -> Result<usize, EncodeError> {
        let sealed = body + self.padding(body)? + 1;
        Ok(Self::header_len(fragment) + self.iv_len + sealed + self.icv_len)
    }
}

/// The inner chain.
pub(crate) fn body(payloads: &[Payload]) -> Result<Vec<u8>, EncodeError> {
    let mut body = Writer::new();
    chain::emit(&mut body, payloads)?;
    if body.len() > MAX_MESSAGE {
        return Err(EncodeError::TooLong { what: "payload chain", length: body.len() });
    }
    Ok(body.into_bytes())
}

/// Lays a body, or a fragment of one, into a message of its own.
pub(crate) fn frame(
    header: &Header,
    first: PayloadType,
    body: &[u8],
    layout: ProtectedLayout,
    fragment: Option<Fragment>,
) -> Result<Protected, EncodeError> {
    let padding = layout.padding(body.len())?;
    let pad_length =
        u8::try_from(padding).map_err(|_| EncodeError::TooLong { what: "padding", length: padding })?;
    let length = layout.message_len(body.len(), fragment.is_some())?;
    let kind = if fragment.is_some() { PayloadType::SKF } else { PayloadType::SK };
    let mut w = Writer::new();
    header.emit(&mut w, kind, message_length(length)?);
    w.u8(first.0);
    w.u8(0);
    w.measured(2, "encrypted payload", |w| {
        if let Some(Fragment { number, total }) = fragment {
            w.u16(number);
            w.u16(total);
        }
        w.zeros(layout.iv_len);
        w.bytes(body);
        w.zeros(padding);
        w.u8(pad_length);
        w.zeros(layout.icv_len);
        Ok(())
    })?;
    Ok(Protected { bytes: w.into_bytes(), header_len: ProtectedLayout::header_len(fragment.is_some()) })
}
