//! The Delete payload (RFC 7296 section 3.11).

use crate::error::{EncodeError, Error};
use crate::iana::ProtocolId;
use crate::reader::Reader;
use crate::writer::Writer;

/// Octets of an ESP or AH SPI.
const SPI: u8 = 4;

/// The D payload: SAs the sender no longer accepts packets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// IKE for the IKE SA the message travels in; ESP or AH for CHILD SAs.
    pub protocol: ProtocolId,
    /// The sender's inbound SPIs; none for IKE.
    pub spis: Vec<u32>,
}

impl Delete {
    /// Deletes the IKE SA the message travels in.
    #[must_use]
    pub const fn ike() -> Self {
        Self { protocol: ProtocolId::IKE, spis: Vec::new() }
    }

    /// Deletes CHILD SAs of ESP by the sender's inbound SPIs.
    #[must_use]
    pub const fn esp(spis: Vec<u32>) -> Self {
        Self { protocol: ProtocolId::ESP, spis }
    }

    /// RFC 7296 section 3.11: the SPI size "MUST be zero for IKE (SPI is in message header) or four for AH and
    /// ESP".
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let protocol = ProtocolId(r.u8("D protocol")?);
        let size = r.u8("D SPI size")?;
        let count = usize::from(r.u16("D SPI count")?);
        let expected = if protocol == ProtocolId::IKE { 0 } else { SPI };
        // Without SPIs the size measures nothing, and senders differ in what they write.
        if count > 0 && size != expected {
            return Err(Error::Value { what: "D SPI size", value: u32::from(size) });
        }
        let count = if size == 0 { 0 } else { count };
        let mut list = r.sub(count * usize::from(SPI), "D SPIs")?;
        let mut spis = Vec::with_capacity(count);
        while !list.is_empty() {
            spis.push(list.u32("D SPI")?);
        }
        Ok(Self { protocol, spis })
    }

    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let count = self.spis.len();
        let ike = self.protocol == ProtocolId::IKE;
        if ike && count > 0 {
            return Err(EncodeError::Invalid { what: "Delete of the IKE SA with SPIs" });
        }
        let field =
            u16::try_from(count).map_err(|_| EncodeError::TooMany { what: "SPIs to delete", count })?;
        w.u8(self.protocol.0);
        w.u8(if ike { 0 } else { SPI });
        w.u16(field);
        self.spis.iter().for_each(|spi| w.u32(*spi));
        Ok(())
    }
}
