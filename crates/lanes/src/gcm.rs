//! AES-GCM, up to 32 blocks at a time (NIST SP 800-38D).
//!
//! Counter blocks do not wait for each other, and neither do products with powers of the hash key: a packet
//! fills the widest registers by itself.

use core::fmt;

use zeroize::Zeroize;

use crate::Level;
use crate::cbc::{BLOCK, ROUND_KEYS, Schedule};
#[cfg(target_arch = "x86_64")]
use crate::level::Kind;
#[cfg(target_arch = "x86_64")]
use crate::x86::gcm;

/// Blocks hashed before one reduction: those of a packet of the usual length.
pub(crate) const POWERS: usize = 96;

/// An AES key for GCM with nonces of 12 octets.
pub struct Gcm {
    /// 10, 12 or 14.
    rounds: usize,
    /// Made where it stays, so that no copy is left behind on a stack.
    key: Box<Key>,
}

/// A key as the registers take it.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// The round keys, each in all four lanes.
    pub(crate) rounds: [[u8; 4 * BLOCK]; ROUND_KEYS],
    /// The hash key's powers from the highest down to the first.
    pub(crate) powers: [[u8; BLOCK]; POWERS],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.rounds.as_flattened_mut().zeroize();
        self.powers.as_flattened_mut().zeroize();
    }
}

impl Gcm {
    /// The key expanded; `None` unless it has 16, 24 or 32 octets, the level has 512-bit registers and the
    /// processor multiplies without carry in all of one (VPCLMULQDQ).
    #[cfg(target_arch = "x86_64")]
    #[must_use]
    pub fn new(level: Level, key: &[u8]) -> Option<Self> {
        let multiplies = is_x86_feature_detected!("vpclmulqdq") && is_x86_feature_detected!("pclmulqdq");
        if level.kind != Kind::Avx512 || !multiplies {
            return None;
        }
        let keys = Schedule::expand(level, key)?;
        let mut key = Box::new(Key { rounds: [[0; 4 * BLOCK]; ROUND_KEYS], powers: [[0; BLOCK]; POWERS] });
        // SAFETY: the level has AES, and the multiplication was just asked for.
        unsafe { gcm::prepare(&keys, &mut key) };
        Some(Self { rounds: keys.rounds, key })
    }

    /// Never: there are no levels for this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    #[must_use]
    pub fn new(_level: Level, _key: &[u8]) -> Option<Self> {
        None
    }

    /// Enciphers `text` in place (at most 2^36 - 32 octets, SP 800-38D §5.2.1.1); its tag over `aad` and the
    /// ciphertext.
    #[must_use]
    pub fn encrypt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; BLOCK] {
        self.work::<true>(nonce, aad, text)
    }

    /// Deciphers `text` in place; the tag it should have had. The text means nothing until the caller has found
    /// the packet's tag equal, in constant time.
    #[must_use]
    pub fn decrypt(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; BLOCK] {
        self.work::<false>(nonce, aad, text)
    }

    #[cfg(target_arch = "x86_64")]
    fn work<const SEAL: bool>(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; BLOCK] {
        // SAFETY: `new` makes a value only where the processor has all these instructions.
        unsafe {
            match self.rounds {
                10 => gcm::work::<10, SEAL>(&self.key, nonce, aad, text),
                12 => gcm::work::<12, SEAL>(&self.key, nonce, aad, text),
                _ => gcm::work::<14, SEAL>(&self.key, nonce, aad, text),
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn work<const SEAL: bool>(&self, _nonce: &[u8; 12], _aad: &[u8], _text: &mut [u8]) -> [u8; BLOCK] {
        unreachable!("no value of this type is ever made here")
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gcm({} rounds)", self.rounds)
    }
}
