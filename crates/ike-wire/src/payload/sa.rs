//! The Security Association payload: proposals, transforms and their attributes (RFC 7296 section 3.3).

use crate::error::{EncodeError, Error};
use crate::iana::{AttributeType, ProtocolId, TransformType};
use crate::reader::Reader;
use crate::writer::Writer;

/// Proposals read from one SA payload.
pub const MAX_PROPOSALS: usize = 64;
/// Transforms read from one proposal.
pub const MAX_TRANSFORMS: usize = 128;
/// Attributes read from one transform.
pub const MAX_ATTRIBUTES: usize = 16;

/// "More" markers of the substructures: 0 for the last, else the substructure's own number.
const LAST: u8 = 0;
const MORE_PROPOSALS: u8 = 2;
const MORE_TRANSFORMS: u8 = 3;
/// Octets in front of a proposal's SPI, and in front of a transform's attributes.
const PROPOSAL_HEADER: usize = 8;
const TRANSFORM_HEADER: usize = 8;
/// The format bit of an attribute: set when the value stands in the place of the length.
const SHORT: u16 = 0x8000;

/// The SA payload: proposals in order of preference, or the one chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityAssociation {
    /// The proposals. At most [`MAX_PROPOSALS`].
    pub proposals: Vec<Proposal>,
}

/// One proposal (section 3.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// 1 for the first proposal offered, one more for each that follows; in an answer, the one chosen.
    pub number: u8,
    /// The protocol the proposal is for.
    pub protocol: ProtocolId,
    /// The sender's SPI: empty in IKE_SA_INIT, 8 octets when an IKE SA is rekeyed, 4 for ESP and AH.
    pub spi: Vec<u8>,
    /// The transforms, several of one type being alternatives. At most [`MAX_TRANSFORMS`].
    pub transforms: Vec<Transform>,
}

/// One transform (section 3.3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// What it is a choice of.
    pub kind: TransformType,
    /// The algorithm, a number in the registry of `kind`: [`EncrId`](crate::EncrId), [`PrfId`](crate::PrfId),
    /// [`IntegId`](crate::IntegId), [`KeGroup`](crate::KeGroup), [`EsnId`](crate::EsnId).
    pub id: u16,
    /// The Key Length attribute, in bits.
    pub key_length: Option<u16>,
    /// Any other attribute. Section 3.3.6: a transform with one that is not understood is not acceptable.
    pub attributes: Vec<Attribute>,
}

/// A transform attribute other than a well-formed Key Length (section 3.3.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its type, 15 bits; the format bit follows from the value.
    pub kind: AttributeType,
    /// Its value.
    pub value: AttributeValue,
}

/// An attribute's value in the form it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    /// Type and value (TV): two octets.
    Short(u16),
    /// Type, length and value (TLV): any length.
    Long(Vec<u8>),
}

impl Transform {
    /// A transform without attributes.
    #[must_use]
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_length: None, attributes: Vec::new() }
    }

    /// A transform with a key length in bits.
    #[must_use]
    pub const fn with_key_length(kind: TransformType, id: u16, bits: u16) -> Self {
        Self { kind, id, key_length: Some(bits), attributes: Vec::new() }
    }
}

impl SecurityAssociation {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let mut proposals = Vec::new();
        loop {
            if proposals.len() == MAX_PROPOSALS {
                return Err(Error::TooMany { what: "proposals", limit: MAX_PROPOSALS });
            }
            let more = more(r, "last proposal", MORE_PROPOSALS)?;
            proposals.push(Proposal::parse(r)?);
            if !more {
                return Ok(Self { proposals });
            }
        }
    }

    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        if self.proposals.is_empty() {
            return Err(EncodeError::Invalid { what: "SA without a proposal" });
        }
        if self.proposals.len() > MAX_PROPOSALS {
            return Err(EncodeError::TooMany { what: "proposals", count: self.proposals.len() });
        }
        for (i, proposal) in self.proposals.iter().enumerate() {
            w.u8(if i + 1 == self.proposals.len() { LAST } else { MORE_PROPOSALS });
            w.u8(0);
            w.measured(2, "proposal", |w| proposal.emit(w))?;
        }
        Ok(())
    }
}

impl Proposal {
    /// Reads a proposal from its length field on.
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let mut body = measured(r, "proposal length", PROPOSAL_HEADER)?;
        let number = body.u8("proposal number")?;
        let protocol = ProtocolId(body.u8("proposal protocol")?);
        let spi_size = usize::from(body.u8("proposal SPI size")?);
        let count = usize::from(body.u8("transform count")?);
        if count > MAX_TRANSFORMS {
            return Err(Error::TooMany { what: "transforms", limit: MAX_TRANSFORMS });
        }
        let spi = body.take(spi_size, "proposal SPI")?.to_vec();
        let mut transforms = Vec::new();
        for i in 1..=count {
            let more = more(&mut body, "last transform", MORE_TRANSFORMS)?;
            if more != (i < count) {
                return Err(Error::Value { what: "last transform", value: u32::from(more) });
            }
            transforms.push(Transform::parse(&mut body)?);
        }
        body.finish("proposal")?;
        Ok(Self { number, protocol, spi, transforms })
    }

    /// Writes what stands behind the length field.
    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.u8(self.number);
        w.u8(self.protocol.0);
        w.count_u8(self.spi.len(), usize::from(u8::MAX), "octets of a proposal's SPI")?;
        w.count_u8(self.transforms.len(), MAX_TRANSFORMS, "transforms")?;
        w.bytes(&self.spi);
        for (i, transform) in self.transforms.iter().enumerate() {
            w.u8(if i + 1 == self.transforms.len() { LAST } else { MORE_TRANSFORMS });
            w.u8(0);
            w.measured(2, "transform", |w| transform.emit(w))?;
        }
        Ok(())
    }
}

impl Transform {
    /// Reads a transform from its length field on.
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let mut body = measured(r, "transform length", TRANSFORM_HEADER)?;
        let kind = TransformType(body.u8("transform type")?);
        body.skip(1, "transform reserved")?;
        let mut transform = Self::new(kind, body.u16("transform ID")?);
        for read in 0.. {
            if body.is_empty() {
                break;
            }
            if read == MAX_ATTRIBUTES {
                return Err(Error::TooMany { what: "transform attributes", limit: MAX_ATTRIBUTES });
            }
            transform.push(Attribute::parse(&mut body)?)?;
        }
        Ok(transform)
    }

    /// Sorts an attribute in. A Key Length in the long form is not one: section 3.3.5 has it in the short form
    /// only, so it stays an attribute nobody understands.
    fn push(&mut self, attribute: Attribute) -> Result<(), Error> {
        match attribute {
            Attribute { kind: AttributeType::KEY_LENGTH, value: AttributeValue::Short(bits) } => {
                if self.key_length.replace(bits).is_some() {
                    return Err(Error::Value { what: "second key length", value: u32::from(bits) });
                }
            }
            other => self.attributes.push(other),
        }
        Ok(())
    }

    /// Writes what stands behind the length field.
    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let count = self.attributes.len() + usize::from(self.key_length.is_some());
        if count > MAX_ATTRIBUTES {
            return Err(EncodeError::TooMany { what: "transform attributes", count });
        }
        w.u8(self.kind.0);
        w.u8(0);
        w.u16(self.id);
        if let Some(bits) = self.key_length {
            w.u16(AttributeType::KEY_LENGTH.0 | SHORT);
            w.u16(bits);
        }
        self.attributes.iter().try_for_each(|attribute| attribute.emit(w))
    }
}

impl Attribute {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let word = r.u16("attribute type")?;
        let kind = AttributeType(word & !SHORT);
        let field = r.u16("attribute length or value")?;
        let value = if word & SHORT != 0 {
            AttributeValue::Short(field)
        } else {
            AttributeValue::Long(r.take(usize::from(field), "attribute value")?.to_vec())
        };
        Ok(Self { kind, value })
    }

    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        match &self.value {
            AttributeValue::Short(value) => {
                w.u16(self.kind.0 | SHORT);
                w.u16(*value);
                Ok(())
            }
            AttributeValue::Long(value) => {
                w.u16(self.kind.0 & !SHORT);
                let length = value.len();
                let field = u16::try_from(length)
                    .map_err(|_| EncodeError::TooLong { what: "transform attribute", length })?;
                w.u16(field);
                w.bytes(value);
                Ok(())
            }
        }
    }
}

/// The "last substructure" octet and the reserved one behind it: whether another of its kind follows.
fn more(r: &mut Reader<'_>, what: &'static str, marker: u8) -> Result<bool, Error> {
    let value = r.u8(what)?;
    r.skip(1, "substructure reserved")?;
    match value {
        LAST => Ok(false),
        value if value == marker => Ok(true),
        value => Err(Error::Value { what, value: u32::from(value) }),
    }
}

/// A reader of what stands behind a substructure's length field, whose two octets in front are read already.
fn measured<'a>(r: &mut Reader<'a>, what: &'static str, header: usize) -> Result<Reader<'a>, Error> {
    let length = usize::from(r.u16(what)?);
    if length < header {
        return Err(Error::Length { what, length });
    }
    r.sub(length - 4, what)
}
