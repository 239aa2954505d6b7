//! The Configuration payload (RFC 7296 section 3.15).

use crate::error::{EncodeError, Error};
use crate::iana::{ConfigAttributeType, ConfigType};
use crate::reader::Reader;
use crate::writer::Writer;

/// Attributes read from one Configuration payload.
pub const MAX_CONFIG_ATTRIBUTES: usize = 256;

/// The reserved bit in front of an attribute's type.
const RESERVED: u16 = 0x8000;

/// The CP payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Asked for, given, or set.
    pub kind: ConfigType,
    /// The attributes, several of one type being several values. At most [`MAX_CONFIG_ATTRIBUTES`].
    pub attributes: Vec<ConfigAttribute>,
}

/// One attribute; its length is its type's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigAttribute {
    /// What it is, 15 bits.
    pub kind: ConfigAttributeType,
    /// Its value; empty in a request for any value.
    pub value: Vec<u8>,
}

impl Configuration {
    pub(crate) fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = ConfigType(r.u8("CP type")?);
        r.skip(3, "CP reserved")?;
        let mut attributes = Vec::new();
        while !r.is_empty() {
            if attributes.len() == MAX_CONFIG_ATTRIBUTES {
                return Err(Error::TooMany { what: "CP attributes", limit: MAX_CONFIG_ATTRIBUTES });
            }
            attributes.push(ConfigAttribute::parse(r)?);
        }
        Ok(Self { kind, attributes })
    }

    pub(crate) fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let count = self.attributes.len();
        if count > MAX_CONFIG_ATTRIBUTES {
            return Err(EncodeError::TooMany { what: "CP attributes", count });
        }
        w.u8(self.kind.0);
        w.zeros(3);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(w))
    }
}

impl ConfigAttribute {
    fn parse(r: &mut Reader<'_>) -> Result<Self, Error> {
        let kind = ConfigAttributeType(r.u16("CP attribute type")? & !RESERVED);
        let length = usize::from(r.u16("CP attribute length")?);
        Ok(Self { kind, value: r.take(length, "CP attribute value")?.to_vec() })
    }

    fn emit(&self, w: &mut Writer) -> Result<(), EncodeError> {
        let length = self.value.len();
        let field =
            u16::try_from(length).map_err(|_| EncodeError::TooLong { what: "CP attribute", length })?;
        w.u16(self.kind.0 & !RESERVED);
        w.u16(field);
        w.bytes(&self.value);
        Ok(())
    }
}
