//! Who a peer is and how it proves it: ID, CERT, CERTREQ and AUTH (RFC 7296 sections 3.5 to 3.8).

use crate::error::Error;
use crate::iana::{AuthMethod, CertEncoding, IdType};
use crate::reader::Reader;
use crate::writer::Writer;

/// The body of an IDi or IDr payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// How `data` is to be read.
    pub kind: IdType,
    /// Zero when sent. Kept as received, because [`body`](Self::body) is what the peer signed.
    pub reserved: [u8; 3],
    /// The identity: 4 or 16 octets for addresses, text without a terminator for names, DER for the rest.
    pub data: Vec<u8>,
}

impl Identification {
    /// An identity to send.
    #[must_use]
    pub const fn new(kind: IdType, data: Vec<u8>) -> Self {
        Self { kind, reserved: [0; 3], data }
    }

    /// The payload's octets behind the generic header: RestOfInitIDPayload and RestOfRespIDPayload of
    /// RFC 7296 section 2.15, over which AUTH is computed.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.data.len());
        body.push(self.kind.0);
        body.extend_from_slice(&self.reserved);
        body.extend_from_slice(&self.data);
        body
    }

    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = IdType(r.u8("ID type")?);
        let reserved = r.array("ID reserved")?;
        Ok(Self { kind, reserved, data: r.rest().to_vec() })
    }
}

/// The CERT payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// How `data` is to be read.
    pub encoding: CertEncoding,
    /// The certificate, revocation list, or address of one.
    pub data: Vec<u8>,
}

impl Certificate {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let encoding = CertEncoding(r.u8("CERT encoding")?);
        Ok(Self { encoding, data: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(&self.data);
    }
}

/// The CERTREQ payload. Some gateways send one with encoding 0 even where a shared key is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The encoding asked for; any number is kept.
    pub encoding: CertEncoding,
    /// Authorities trusted: for X.509, SHA-1 hashes of their keys, 20 octets each.
    pub authorities: Vec<u8>,
}

impl CertificateRequest {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let encoding = CertEncoding(r.u8("CERTREQ encoding")?);
        Ok(Self { encoding, authorities: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(&self.authorities);
    }
}

/// The AUTH payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// How the proof was made.
    pub method: AuthMethod,
    /// The proof.
    pub data: Vec<u8>,
}

impl Authentication {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let method = AuthMethod(r.u8("AUTH method")?);
        r.skip(3, "AUTH reserved")?;
        Ok(Self { method, data: r.rest().to_vec() })
    }

    pub(crate) fn emit(&self, w: &mut Writer) {
        w.u8(self.method.0);
        w.zeros(3);
        w.bytes(&self.data);
    }
}
