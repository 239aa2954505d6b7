//! The IKE header (RFC 7296 section 3.1).

use crate::error::Error;
use crate::iana::{ExchangeType, PayloadType};
use crate::reader::Reader;
use crate::writer::Writer;

/// Octets of the IKE header.
pub const HEADER_LEN: usize = 28;
/// The longest message read or written, in octets.
pub const MAX_MESSAGE: usize = 65535;

/// The major version of IKEv2, in the high four bits of the version octet.
const MAJOR: u8 = 2;
const INITIATOR: u8 = 0x08;
const VERSION: u8 = 0x10;
const RESPONSE: u8 = 0x20;

/// One side's SPI of an IKE SA. Zero stands for "not chosen yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IkeSpi(pub u64);

impl IkeSpi {
    /// Not chosen yet: the responder's SPI in a first request (RFC 7296 section 3.1).
    pub const ZERO: Self = Self(0);

    /// Reads an SPI from the eight octets in a proposal; `None` for another length.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }

    /// The octets in wire order, as key derivation and proposals take them.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// Whether this is [`IkeSpi::ZERO`].
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The header's flags. Other bits are ignored on receipt and sent as zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ExchangeFlags {
    /// I: sent by the original initiator of the IKE SA, in requests and responses alike.
    pub initiator: bool,
    /// R: a response to the request of the same message ID.
    pub response: bool,
    /// V: the sender could speak a higher major version. Ignored on receipt, never set by us.
    pub version: bool,
}

impl ExchangeFlags {
    const fn from_octet(octet: u8) -> Self {
        Self {
            initiator: octet & INITIATOR != 0,
            response: octet & RESPONSE != 0,
            version: octet & VERSION != 0,
        }
    }

    const fn octet(self) -> u8 {
        (if self.initiator { INITIATOR } else { 0 })
            | (if self.response { RESPONSE } else { 0 })
            | (if self.version { VERSION } else { 0 })
    }
}

/// What the IKE header says, apart from what the codec fills in itself (first payload, version, length).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Header {
    /// The SPI chosen by the initiator of the IKE SA.
    pub initiator_spi: IkeSpi,
    /// The SPI chosen by the responder; zero in the first request.
    pub responder_spi: IkeSpi,
    /// The exchange this message belongs to.
    pub exchange: ExchangeType,
    /// Who sent it, and whether it is a response.
    pub flags: ExchangeFlags,
    /// Pairs requests with responses and tells retransmissions.
    pub message_id: u32,
}

/// A header as it stands in front of a message, with the fields only the codec needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawHeader {
    pub(crate) header: Header,
    pub(crate) first: PayloadType,
    pub(crate) major: u8,
    pub(crate) length: u32,
}

impl RawHeader {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let initiator_spi = IkeSpi(r.u64("initiator SPI")?);
        let responder_spi = IkeSpi(r.u64("responder SPI")?);
        let first = PayloadType(r.u8("first payload")?);
        // RFC 7296 section 3.1: "implementations [...] MUST ignore minor version numbers".
        let major = r.u8("version")? >> 4;
        let exchange = ExchangeType(r.u8("exchange type")?);
        let flags = ExchangeFlags::from_octet(r.u8("flags")?);
        let message_id = r.u32("message ID")?;
        let length = r.u32("message length")?;
        Ok(Self {
            header: Header { initiator_spi, responder_spi, exchange, flags, message_id },
            first,
            major,
            length,
        })
    }
}

impl Header {
    /// Reads the header in front of a datagram and nothing behind it, whatever its version.
    ///
    /// For answers to messages that [`parse_outer`](crate::parse_outer) refused.
    ///
    /// # Errors
    /// [`Error::Truncated`] for less than [`HEADER_LEN`] octets.
    pub fn peek(bytes: &[u8]) -> Result<Self, Error> {
        RawHeader::parse(&mut Reader::new(bytes)).map(|raw| raw.header)
    }

    /// The header of the response to this request: same SPIs, exchange and message ID, R set, I turned.
    #[must_use]
    pub const fn response(&self) -> Self {
        Self {
            flags: ExchangeFlags { initiator: !self.flags.initiator, response: true, version: false },
            ..*self
        }
    }

    /// Writes the header; `length` is the whole message's, in octets.
    pub(crate) fn emit(&self, w: &mut Writer, first: PayloadType, length: u32) {
        w.u64(self.initiator_spi.0);
        w.u64(self.responder_spi.0);
        w.u8(first.0);
        w.u8(MAJOR << 4);
        w.u8(self.exchange.0);
        w.u8(self.flags.octet());
        w.u32(self.message_id);
        w.u32(length);
    }
}

pub(crate) const fn is_our_version(major: u8) -> bool {
    major == MAJOR
}
