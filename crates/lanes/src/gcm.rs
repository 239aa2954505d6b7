//! AES-GCM, sixteen blocks at a time (NIST SP 800-38D).
//!
//! Counter blocks do not wait for each other, and neither do products with powers of the hash key: a packet
//! fills the widest registers by itself.

use core::fmt;

use zeroize::Zeroize;

use crate::Level;
use crate::cbc::{BLOCK, Schedule};
#[cfg(target_arch = "x86_64")]
use crate::level::Kind;
#[cfg(target_arch = "x86_64")]
use crate::x86::gcm;

/// Blocks hashed before one reduction.
pub(crate) const STRIDE: usize = 16;

/// An AES key for GCM with nonces of 12 octets.
pub struct Gcm {
    /// Both made where they stay, so that no copy is left behind on a stack.
    keys: Box<Schedule>,
    powers: Box<Powers>,
}

/// The hash key's powers from the sixteenth down to the first, and zeros behind for the lanes of a register
/// that have no block.
#[repr(align(64))]
pub(crate) struct Powers(pub(crate) [[u8; BLOCK]; STRIDE + 4]);

impl Drop for Powers {
    fn drop(&mut self) {
        self.0.zeroize();
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
        let mut powers = Box::new(Powers([[0; BLOCK]; STRIDE + 4]));
        // SAFETY: the level has AES and 512-bit registers, and the multiplication was just asked for.
        unsafe { gcm::powers(&keys, &mut powers) };
        Some(Self { keys, powers })
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
            match self.keys.rounds {
                10 => gcm::work::<10, SEAL>(&self.keys, &self.powers, nonce, aad, text),
                12 => gcm::work::<12, SEAL>(&self.keys, &self.powers, nonce, aad, text),
                _ => gcm::work::<14, SEAL>(&self.keys, &self.powers, nonce, aad, text),
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
        write!(f, "Gcm({} rounds)", self.keys.rounds)
    }
}
