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
    /// The sums of each power's halves, twice (Karatsuba).
    pub(crate) sums: [[u8; BLOCK]; POWERS],
}

/// A packet to be enciphered or deciphered.
pub struct Packet<'a> {
    /// The nonce and a counter of zero, the first octet the most significant.
    pub(crate) nonce: u128,
    /// The additional data, hashed but for the last multiplication; likewise.
    pub(crate) aad: u128,
    /// Its octets.
    pub(crate) aad_len: usize,
    pub(crate) text: &'a mut [u8],
    /// What it should be, once the packet is through.
    pub(crate) tag: [u8; BLOCK],
}

impl Packet<'_> {
    /// No packet, to fill an array with.
    #[inline]
    #[must_use]
    pub const fn none() -> Self {
        Self { nonce: 0, aad: 0, aad_len: 0, text: &mut [], tag: [0; BLOCK] }
    }

    /// The tag, of a packet enciphered or deciphered; until then zeros.
    #[inline]
    #[must_use]
    pub const fn tag(&self) -> &[u8; BLOCK] {
        &self.tag
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.rounds.as_flattened_mut().zeroize();
        self.powers.as_flattened_mut().zeroize();
        self.sums.as_flattened_mut().zeroize();
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
        let mut key = Box::new(Key {
            rounds: [[0; 4 * BLOCK]; ROUND_KEYS],
            powers: [[0; BLOCK]; POWERS],
            sums: [[0; BLOCK]; POWERS],
        });
        // SAFETY: the level has AES and AVX-512, and the multiplication was just asked for.
        unsafe { gcm::prepare(&keys, &mut key) };
        Some(Self { rounds: keys.rounds, key })
    }

    /// Never: there are no levels for this architecture.
    #[cfg(not(target_arch = "x86_64"))]
    #[must_use]
    pub fn new(_level: Level, _key: &[u8]) -> Option<Self> {
        None
    }

    /// A packet of this key: its nonce, additional data, and the text, in place (at most 2^36 - 32 octets, SP 800-38D
    /// §5.2.1.1).
    #[inline]
    #[must_use]
    pub fn packet<'a>(&self, nonce: &[u8; 12], aad: &[u8], text: &'a mut [u8]) -> Packet<'a> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
        let nonce = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0]);
        // As ESP has it, with 32-bit and with 64-bit sequence numbers.
        let hash = if let Ok(aad) = <[u8; 8]>::try_from(aad) {
            u128::from(u64::from_be_bytes(aad)) << 64
        } else if let Ok([a, b, c, d, e, f, g, h, i, j, k, l]) = <[u8; 12]>::try_from(aad) {
            u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 0])
        } else {
            self.hash_aad(aad)
        };
        Packet { nonce, aad: hash, aad_len: aad.len(), text, tag: [0; BLOCK] }
    }

    /// Enciphers the packets' texts; each then has its tag over additional data and ciphertext. Together they take
    /// less time than each by itself; and one whose text begins less than 64 octets behind the end of a page that does
    /// not exist takes several times as long as others, as a register that begins there is loaded with a mask.
    #[cfg(target_arch = "x86_64")]
    pub fn encrypt(&self, packets: &mut [Packet<'_>]) {
        // SAFETY: `new` makes a value only where the processor has all these instructions.
        unsafe {
            match self.rounds {
                10 => gcm::seal::<10>(&self.key, packets),
                12 => gcm::seal::<12>(&self.key, packets),
                _ => gcm::seal::<14>(&self.key, packets),
            }
        }
    }

    /// Deciphers the packets' texts; each then has the tag it should have come with. A text means nothing until the
    /// caller has found the packet's tag equal, in constant time.
    #[cfg(target_arch = "x86_64")]
    pub fn decrypt(&self, packets: &mut [Packet<'_>]) {
        // SAFETY: as above.
        unsafe {
            match self.rounds {
                10 => gcm::open::<10>(&self.key, packets),
                12 => gcm::open::<12>(&self.key, packets),
                _ => gcm::open::<14>(&self.key, packets),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(never)]
    fn hash_aad(&self, aad: &[u8]) -> u128 {
        // SAFETY: as above.
        unsafe { gcm::hash_aad(&self.key, aad) }
    }
}

/// Never called: no value of this type is ever made here.
#[cfg(not(target_arch = "x86_64"))]
impl Gcm {
    /// Never called.
    pub fn encrypt(&self, _packets: &mut [Packet<'_>]) {
        unreachable!("there are no levels for this architecture")
    }

    /// Never called.
    pub fn decrypt(&self, _packets: &mut [Packet<'_>]) {
        unreachable!("there are no levels for this architecture")
    }

    fn hash_aad(&self, _aad: &[u8]) -> u128 {
        unreachable!("there are no levels for this architecture")
    }
}

/// Says nothing of the octets, which may be plaintext.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({} octets)", self.text.len())
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gcm({} rounds)", self.rounds)
    }
}
