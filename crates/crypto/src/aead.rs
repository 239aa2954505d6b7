//! AEADs over the one shape of a packet (RFC 4106, RFC 5282, RFC 7634), and which implementation serves which.
//!
//! AES-GCM in the widest registers where the processor has what that takes, with any key and ICV; else `ring`, for
//! AES-128-GCM and AES-256-GCM with the full ICV and for ChaCha20-Poly1305; else the plain one.

use core::ops::Range;

use lanes::Level;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad as RingAad, Algorithm, CHACHA20_POLY1305};
use ring::aead::{LessSafeKey, Nonce, Tag, UnboundKey};
use subtle::ConstantTimeEq;

use crate::algorithm::{Encr, KeyBits, Suite};
use crate::frame::{Aad, Forged, Frame, KeyError, Misfit};
use crate::gcm::Gcm;
use crate::secret::constant_time_eq;

/// The cipher of an AEAD, with the salt of its nonces.
pub(crate) struct Aead {
    cipher: Cipher,
    salt: [u8; 4],
}

/// Boxed, as that of the lanes is inside, so that moving it leaves no copy of the expanded keys behind.
enum Cipher {
    Lanes(lanes::Gcm),
    Ring(Box<LessSafeKey>),
    Plain(Box<Gcm>),
}

impl Aead {
    /// With lanes of a level, or none. `encr_key` is the key with the salt behind it.
    pub(crate) fn new(encr: Encr, encr_key: &[u8], level: Option<Level>) -> Result<Self, KeyError> {
        let (key, salt) = encr_key.split_last_chunk::<4>().ok_or(KeyError::EncrKey)?;
        let wide = level.filter(|_| is_gcm(encr)).and_then(|level| lanes::Gcm::new(level, key));
        let cipher = if let Some(gcm) = wide {
            Cipher::Lanes(gcm)
        } else if let Some(algorithm) = of_ring(encr) {
            let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::EncrKey)?;
            Cipher::Ring(Box::new(LessSafeKey::new(key)))
        } else if is_gcm(encr) {
            Cipher::Plain(Box::new(Gcm::new(key)?))
        } else {
            return Err(KeyError::Suite);
        };
        Ok(Self { cipher, salt: *salt })
    }

    pub(crate) fn seal(&self, frame: &mut Frame<'_>, suite: Suite, counter: u64) -> Result<(), Misfit> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Misfit)?;
        let iv = counter.to_be_bytes();
        let nonce = nonce(self.salt, iv);
        let aad = Aad::new(parts.header, esn_hi);
        let tag = match &self.cipher {
            Cipher::Lanes(gcm) => gcm.encrypt(&nonce, aad.as_ref(), parts.text),
            Cipher::Ring(key) => ring_seal(key, nonce, aad, parts.text)?,
            Cipher::Plain(gcm) => gcm.encrypt(nonce, aad.as_ref(), parts.text),
        };
        parts.iv.copy_from_slice(&iv);
        match parts.icv.as_mut_array() {
            Some(icv) => *icv = tag,
            None => parts.icv.iter_mut().zip(tag).for_each(|(to, from)| *to = from),
        }
        Ok(())
    }

    pub(crate) fn open(&self, frame: &mut Frame<'_>, suite: Suite) -> Result<Range<usize>, Forged> {
        let range = frame.text(suite).ok_or(Forged)?;
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Forged)?;
        let iv: [u8; 8] = (&*parts.iv).try_into().map_err(|_| Forged)?;
        let nonce = nonce(self.salt, iv);
        let aad = Aad::new(parts.header, esn_hi);
        match &self.cipher {
            Cipher::Lanes(gcm) => {
                let tag = gcm.decrypt(&nonce, aad.as_ref(), parts.text);
                authentic(&tag, parts.icv)?;
            }
            Cipher::Ring(key) => {
                let tag = Tag::try_from(&*parts.icv).map_err(|_| Forged)?;
                let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), RingAad::from(aad));
                key.open_in_place_separate_tag(nonce, aad, tag, parts.text, 0..).map_err(|_| Forged)?;
            }
            Cipher::Plain(gcm) => {
                authentic(&gcm.tag(nonce, aad.as_ref(), parts.text), parts.icv)?;
                gcm.decrypt(nonce, parts.text);
            }
        }
        Ok(range)
    }
}

/// An ICV may be the beginning of a tag alone (RFC 4106 §6).
fn authentic(tag: &[u8; 16], icv: &[u8]) -> Result<(), Forged> {
    // The whole tag as one number, as `subtle` hides each piece it compares from the compiler by way of memory.
    if let Ok(icv) = icv.try_into() {
        let equal = u128::from_ne_bytes(*tag).ct_eq(&u128::from_ne_bytes(icv));
        return if equal.into() { Ok(()) } else { Err(Forged) };
    }
    let expected = tag.get(..icv.len()).ok_or(Forged)?;
    if constant_time_eq(expected, icv) { Ok(()) } else { Err(Forged) }
}

fn ring_seal(key: &LessSafeKey, nonce: [u8; 12], aad: Aad<'_>, text: &mut [u8]) -> Result<[u8; 16], Misfit> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    // ring refuses only text beyond the cipher's 2^36 octets, which no buffer of a packet is.
    let tag = key.seal_in_place_separate_tag(nonce, RingAad::from(aad), text).map_err(|_| Misfit)?;
    tag.as_ref().try_into().map_err(|_| Misfit)
}

/// The 12-octet nonce: salt, then the IV as sent (RFC 4106 §4, RFC 7634 §2).
fn nonce(salt: [u8; 4], iv: [u8; 8]) -> [u8; 12] {
    let [s0, s1, s2, s3] = salt;
    let [i0, i1, i2, i3, i4, i5, i6, i7] = iv;
    [s0, s1, s2, s3, i0, i1, i2, i3, i4, i5, i6, i7]
}

fn is_gcm(encr: Encr) -> bool {
    match encr {
        Encr::AesGcm8(_) | Encr::AesGcm12(_) | Encr::AesGcm16(_) => true,
        Encr::AesCbc(_) | Encr::ChaCha20Poly1305 => false,
    }
}

/// What `ring` has; it knows neither AES-192 nor short ICVs.
fn of_ring(encr: Encr) -> Option<&'static Algorithm> {
    match encr {
        Encr::AesGcm16(KeyBits::B128) => Some(&AES_128_GCM),
        Encr::AesGcm16(KeyBits::B256) => Some(&AES_256_GCM),
        Encr::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
        Encr::AesGcm16(KeyBits::B192) | Encr::AesGcm12(_) | Encr::AesGcm8(_) | Encr::AesCbc(_) => None,
    }
}
