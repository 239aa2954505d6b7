//! A message under construction: header first, its length filled in at the end.

use crate::{HEADER_LENGTH, MessageType};

/// Octets of one message.
#[derive(Debug)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Marker, a length to be filled in, and the type (RFC 4271 section 4.1).
    pub(crate) fn new(kind: MessageType) -> Self {
        let mut bytes = vec![0xff; HEADER_LENGTH];
        if let [.., high, low, octet] = bytes.as_mut_slice() {
            (*high, *low, *octet) = (0, 0, kind.0);
        }
        Self { bytes }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(crate) fn slice(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// The message, with its length written. Callers keep it at or below 65535 octets.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(slot) = self.bytes.get_mut(16..18) {
            slot.copy_from_slice(&length);
        }
        self.bytes
    }
}
