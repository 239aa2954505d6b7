//! A growing buffer whose length fields are filled in when their content is known.

use crate::error::EncodeError;

/// Writes fields in order.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn zeros(&mut self, n: usize) {
        self.bytes.resize(self.bytes.len() + n, 0);
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// A two-octet length, then what it measures: `before` octets already written, its own two, and `body`.
    pub(crate) fn measured(
        &mut self,
        before: usize,
        what: &'static str,
        body: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let at = self.len();
        self.u16(0);
        body(self)?;
        let length = before + self.len() - at;
        let field = u16::try_from(length).map_err(|_| EncodeError::TooLong { what, length })?;
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        Ok(())
    }

    /// A one-octet count or size.
    pub(crate) fn count_u8(
        &mut self,
        count: usize,
        limit: usize,
        what: &'static str,
    ) -> Result<(), EncodeError> {
        match u8::try_from(count) {
            Ok(field) if count <= limit => {
                self.u8(field);
                Ok(())
            }
            Ok(_) | Err(_) => Err(EncodeError::TooMany { what, count }),
        }
    }
}
