//! Reading and writing fields of packets in place, without a way to panic: past the end reads are `None`
//! and writes do nothing. Callers check lengths first; these keep a mistake from becoming an abort.

pub(crate) fn get8(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn get16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|octets| u16::from_be_bytes(*octets))
}

pub(crate) fn get32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

pub(crate) fn put8(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(octet) = bytes.get_mut(at) {
        *octet = value;
    }
}

pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(octets) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *octets = value.to_be_bytes();
    }
}

pub(crate) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(octets) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *octets = value.to_be_bytes();
    }
}
