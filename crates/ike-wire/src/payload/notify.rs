//! The Notify payload (RFC 7296 section 3.10).

use crate::error::{EncodeError, Error};
use crate::iana::{NotifyType, ProtocolId};
use crate::reader::Reader;
use crate::writer::Writer;

/// The N payload: an error or a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA it is about; NONE where `spi` is empty.
    pub protocol: ProtocolId,
    /// The SPI of the SA it is about; empty where it concerns the IKE SA or none.
    pub spi: Vec<u8>,
    /// What it says.
    pub kind: NotifyType,
    /// What belongs to it, by `kind`.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification about no other SA than the one it travels in.
    #[must_use]
    pub const fn new(kind: NotifyType, data: Vec<u8>) -> Self {
        Self { protocol: ProtocolId::NONE, spi: Vec::new(), kind, data }
    }

    /// A notification about the CHILD SA of this SPI, such as REKEY_SA or CHILD_SA_NOT_FOUND.
    #[must_use]
    pub fn about(protocol: ProtocolId, spi: u32, kind: NotifyType) -> Self {
        Self { protocol, spi: spi.to_be_bytes().to_vec(), kind, data: Vec::new() }
    }

    /// The SPI where it is one of ESP or AH: four octets.
    #[must_use]
    pub fn child_spi(&self) -> Option<u32> {
        self.spi.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let protocol = ProtocolId(r.u8("N protocol")?);
        let spi_size = usize::from(r.u8("N SPI size")?);
        let kind = NotifyType(r.u16("N type")?);
        let spi = r.take(spi_size, "N SPI")?.to_vec();
        Ok(Self { protocol, spi, kind, data: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u8(self.protocol.0);
        w.count_u8(self.spi.len(), usize::from(u8::MAX), "octets of a notification's SPI")?;
        w.u16(self.kind.0);
        w.bytes(&self.spi);
        w.bytes(&self.data);
        Ok(())
    }
}
