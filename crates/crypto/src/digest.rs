//! Plain hashes.

use sha1::{Digest, Sha1};

/// SHA-1 of the parts joined, as NAT detection hashes SPIs, address and port (RFC 7296 §2.23).
#[must_use]
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
