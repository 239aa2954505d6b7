//! The payloads (RFC 7296 section 3.2 on): one table row each, and the values they become.

pub(crate) mod authentication;
pub(crate) mod configuration;
pub(crate) mod delete;
pub(crate) mod exchange;
pub(crate) mod notify;
pub(crate) mod sa;
pub(crate) mod ts;

use crate::error::{EncodeError, Error};
use crate::iana::PayloadType;
use crate::reader::Reader;
use crate::writer::Writer;
use authentication::{Authentication, Certificate, CertificateRequest, Identification};
use configuration::Configuration;
use delete::Delete;
use exchange::KeyExchange;
use notify::Notify;
use sa::SecurityAssociation;
use ts::TrafficSelectors;

/// One payload of a message, without its generic header.
///
/// SK and SKF are no payloads here: they are how a message is protected, see
/// [`ProtectedBody`](crate::ProtectedBody).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA: what is proposed, or what was chosen (section 3.3).
    SecurityAssociation(SecurityAssociation),
    /// KE: a public value (section 3.4).
    KeyExchange(KeyExchange),
    /// IDi: who the initiator says it is (section 3.5).
    IdInitiator(Identification),
    /// IDr: who the responder says it is, or whom the initiator wants (section 3.5).
    IdResponder(Identification),
    /// CERT: a certificate or a part of its chain (section 3.6).
    Certificate(Certificate),
    /// CERTREQ: which authorities the sender trusts (section 3.7).
    CertificateRequest(CertificateRequest),
    /// AUTH: the proof of identity (section 3.8).
    Authentication(Authentication),
    /// Ni, Nr: 16 to 256 octets (section 3.9).
    Nonce(Vec<u8>),
    /// N: an error or a status (section 3.10).
    Notify(Notify),
    /// D: SAs the sender has closed (section 3.11).
    Delete(Delete),
    /// V: any octets (section 3.12).
    VendorId(Vec<u8>),
    /// TSi: the addresses of the initiator's side (section 3.13).
    TsInitiator(TrafficSelectors),
    /// TSr: the addresses of the responder's side (section 3.13).
    TsResponder(TrafficSelectors),
    /// CP: addresses, names and networks asked for or given (section 3.15).
    Configuration(Configuration),
    /// EAP: an EAP message, not looked into (section 3.16).
    Eap(Vec<u8>),
    /// A payload of a type not listed above, kept as it came.
    Unknown(UnknownPayload),
}

/// A payload this codec does not know. Only uncritical ones survive parsing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPayload {
    /// Its type.
    pub kind: PayloadType,
    /// The critical bit: a receiver that does not know the type must refuse the message (section 2.5).
    pub critical: bool,
    /// The body, without the generic header.
    pub data: Vec<u8>,
}

/// A row of the payload table: number, notation of RFC 7296 section 1.2, and how a body is read.
pub(crate) struct Row {
    kind: PayloadType,
    notation: &'static str,
    parse: fn(&mut Reader<'_>) -> Result<Payload, Error>,
}

const fn row(
    kind: PayloadType,
    notation: &'static str,
    parse: fn(&mut Reader<'_>) -> Result<Payload, Error>,
) -> Row {
    Row { kind, notation, parse }
}

/// Every payload known here.
const PAYLOADS: &[Row] = &[
    row(PayloadType::SA, "SA", |r| SecurityAssociation::parse(r).map(Payload::SecurityAssociation)),
    row(PayloadType::KE, "KE", |r| KeyExchange::parse(r).map(Payload::KeyExchange)),
    row(PayloadType::ID_I, "IDi", |r| Identification::parse(r).map(Payload::IdInitiator)),
    row(PayloadType::ID_R, "IDr", |r| Identification::parse(r).map(Payload::IdResponder)),
    row(PayloadType::CERT, "CERT", |r| Certificate::parse(r).map(Payload::Certificate)),
    row(PayloadType::CERTREQ, "CERTREQ", |r| CertificateRequest::parse(r).map(Payload::CertificateRequest)),
    row(PayloadType::AUTH, "AUTH", |r| Authentication::parse(r).map(Payload::Authentication)),
    row(PayloadType::NONCE, "No", |r| exchange::parse_nonce(r).map(Payload::Nonce)),
    row(PayloadType::NOTIFY, "N", |r| Notify::parse(r).map(Payload::Notify)),
    row(PayloadType::DELETE, "D", |r| Delete::parse(r).map(Payload::Delete)),
    row(PayloadType::VENDOR_ID, "V", |r| Ok(Payload::VendorId(r.rest().to_vec()))),
    row(PayloadType::TS_I, "TSi", |r| TrafficSelectors::parse(r).map(Payload::TsInitiator)),
    row(PayloadType::TS_R, "TSr", |r| TrafficSelectors::parse(r).map(Payload::TsResponder)),
    row(PayloadType::CP, "CP", |r| Configuration::parse(r).map(Payload::Configuration)),
    row(PayloadType::EAP, "EAP", |r| Ok(Payload::Eap(r.rest().to_vec()))),
];

fn find(kind: PayloadType) -> Option<&'static Row> {
    PAYLOADS.iter().find(|row| row.kind == kind)
}

impl Payload {
    /// The number of this payload's type.
    #[must_use]
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::SecurityAssociation(_) => PayloadType::SA,
            Self::KeyExchange(_) => PayloadType::KE,
            Self::IdInitiator(_) => PayloadType::ID_I,
            Self::IdResponder(_) => PayloadType::ID_R,
            Self::Certificate(_) => PayloadType::CERT,
            Self::CertificateRequest(_) => PayloadType::CERTREQ,
            Self::Authentication(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsInitiator(_) => PayloadType::TS_I,
            Self::TsResponder(_) => PayloadType::TS_R,
            Self::Configuration(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Unknown(unknown) => unknown.kind,
        }
    }

    /// The short name of RFC 7296 section 1.2 for log lines: `SA`, `N(NAT_DETECTION_SOURCE_IP)`,
    /// `PayloadType(0xc8)` for one not known.
    #[must_use]
    pub fn notation(&self) -> String {
        match self {
            Self::Notify(notify) => format!("N({})", notify.kind),
            Self::Configuration(configuration) => format!("CP({})", configuration.kind),
            other => {
                find(other.kind()).map_or_else(|| other.kind().to_string(), |row| row.notation.to_owned())
            }
        }
    }

    /// Reads a body of the given type; `body` holds it and nothing else.
    ///
    /// The critical bit is looked at for unknown types alone: RFC 7296 section 2.5 has it "ignored by the
    /// recipient if the recipient understands the payload type code".
    pub(crate) fn parse(kind: PayloadType, critical: bool, mut body: Reader<'_>) -> Result<Self, Error> {
        if kind == PayloadType::SK || kind == PayloadType::SKF {
            return Err(Error::Misplaced(kind));
        }
        let Some(row) = find(kind) else {
            if critical {
                return Err(Error::UnsupportedCriticalPayload(kind));
            }
            return Ok(Self::Unknown(UnknownPayload { kind, critical, data: body.rest().to_vec() }));
        };
        let payload = (row.parse)(&mut body)?;
        body.finish(row.notation)?;
        Ok(payload)
    }

    /// Writes the body.
    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        match self {
            Self::SecurityAssociation(sa) => sa.emit(w),
            Self::KeyExchange(ke) => {
                ke.emit(w);
                Ok(())
            }
            Self::IdInitiator(id) | Self::IdResponder(id) => {
                w.bytes(&id.body());
                Ok(())
            }
            Self::Certificate(cert) => {
                cert.emit(w);
                Ok(())
            }
            Self::CertificateRequest(request) => {
                request.emit(w);
                Ok(())
            }
            Self::Authentication(auth) => {
                auth.emit(w);
                Ok(())
            }
            Self::Notify(notify) => notify.emit(w),
            Self::Delete(delete) => delete.emit(w),
            Self::TsInitiator(ts) | Self::TsResponder(ts) => ts.emit(w),
            Self::Configuration(configuration) => configuration.emit(w),
            Self::Nonce(nonce) => exchange::emit_nonce(w, nonce),
            Self::VendorId(data) | Self::Eap(data) => {
                w.bytes(data);
                Ok(())
            }
            Self::Unknown(unknown) => unknown.emit(w),
        }
    }

    /// The octet of the generic header that holds the critical bit. RFC 7296 section 2.5: it "MUST be cleared"
    /// in payloads the RFC defines.
    pub(crate) const fn critical_octet(&self) -> u8 {
        if let Self::Unknown(UnknownPayload { critical: true, .. }) = self { 0x80 } else { 0 }
    }
}

impl UnknownPayload {
    /// A number with a meaning of its own would be read as something else.
    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let taken = [PayloadType::NONE, PayloadType::SK, PayloadType::SKF].contains(&self.kind);
        if taken || find(self.kind).is_some() {
            return Err(EncodeError::Invalid { what: "unknown payload of a known type" });
        }
        w.bytes(&self.data);
        Ok(())
    }
}
