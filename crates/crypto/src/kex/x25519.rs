//! Curve25519 (RFC 7748 §5, §6.1; RFC 8031).

use x25519_dalek::{PublicKey, StaticSecret};

use super::BadPublicValue;
use crate::secret::Secret;

pub(super) fn public(private: &StaticSecret) -> Box<[u8]> {
    Box::from(PublicKey::from(private).as_bytes().as_slice())
}

pub(super) fn agree(private: &StaticSecret, peer: &[u8; 32]) -> Result<Secret, BadPublicValue> {
    let shared = private.diffie_hellman(&PublicKey::from(*peer));
    // RFC 7748 §6.1: "Both MAY check, without leaking extra information about the value of K, whether K is
    // the all-zero value and abort if so".
    if !shared.was_contributory() {
        return Err(BadPublicValue::SmallOrder);
    }
    Ok(Secret::new(shared.as_bytes()))
}
