//! Key Exchange and Nonce payloads (RFC 7296 sections 3.4 and 3.9).

use crate::error::{EncodeError, Error};
use crate::iana::KeGroup;
use crate::reader::Reader;
use crate::writer::Writer;

/// The shortest nonce, in octets (section 3.9).
pub const MIN_NONCE: usize = 16;
/// The longest nonce, in octets (section 3.9).
pub const MAX_NONCE: usize = 256;

/// The KE payload: a public value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// The method the value belongs to.
    pub group: KeGroup,
    /// The public value; its length is the method's to judge.
    pub data: Vec<u8>,
}

impl KeyExchange {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let group = KeGroup(r.u16("KE group")?);
        r.skip(2, "KE reserved")?;
        Ok(Self { group, data: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, w: &mut Writer) {
        w.u16(self.group.0);
        w.u16(0);
        w.bytes(&self.data);
    }
}

/// RFC 7296 section 3.9: "The size of the Nonce Data MUST be between 16 and 256 octets, inclusive."
pub(crate) fn parse_nonce(r: &mut Reader<'_>) -> Result<Vec<u8>, Error> {
    let length = r.left();
    if !is_nonce_length(length) {
        return Err(Error::Length { what: "nonce", length });
    }
    Ok(r.rest().to_vec())
}

pub(crate) fn emit_nonce(w: &mut Writer, nonce: &[u8]) -> Result<(), EncodeError> {
    if !is_nonce_length(nonce.len()) {
        return Err(EncodeError::Invalid { what: "nonce length" });
    }
    w.bytes(nonce);
    Ok(())
}

fn is_nonce_length(length: usize) -> bool {
    (MIN_NONCE..=MAX_NONCE).contains(&length)
}
