//! The fast AEADs, by `ring`: AES-128-GCM and AES-256-GCM with the full ICV, and ChaCha20-Poly1305.

use core::ops::Range;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad as RingAad, Algorithm, CHACHA20_POLY1305};
use ring::aead::{LessSafeKey, Nonce, Tag, UnboundKey};

use crate::algorithm::{Encr, KeyBits, Suite};
use crate::frame::{Aad, Forged, Frame, KeyError, Misfit};
use crate::seal::{nonce, split_salt};

pub(crate) struct RingAead {
    key: LessSafeKey,
    salt: [u8; 4],
}

impl RingAead {
    /// Whether `ring` has the algorithm; it knows neither AES-192 nor short ICVs.
    pub(crate) fn serves(encr: Encr) -> bool {
        algorithm(encr).is_some()
    }

    pub(crate) fn new(encr: Encr, encr_key: &[u8]) -> Result<Self, KeyError> {
        let (key, salt) = split_salt(encr_key)?;
        let algorithm = algorithm(encr).ok_or(KeyError::Suite)?;
        let key = UnboundKey::new(algorithm, key).map_err(|_| KeyError::EncrKey)?;
        Ok(Self { key: LessSafeKey::new(key), salt })
    }

    pub(crate) fn seal(&self, frame: &mut Frame<'_>, suite: Suite, counter: u64) -> Result<(), Misfit> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Misfit)?;
        let iv = counter.to_be_bytes();
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, iv));
        let aad = RingAad::from(Aad::new(parts.header, esn_hi));
        // ring refuses only text beyond the cipher's 2^36 octets, which no buffer of a packet is.
        let tag = self.key.seal_in_place_separate_tag(nonce, aad, parts.text).map_err(|_| Misfit)?;
        parts.iv.copy_from_slice(&iv);
        parts.icv.copy_from_slice(tag.as_ref());
        Ok(())
    }

    pub(crate) fn open(&self, frame: &mut Frame<'_>, suite: Suite) -> Result<Range<usize>, Forged> {
        let range = frame.text(suite).ok_or(Forged)?;
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Forged)?;
        let iv: [u8; 8] = (&*parts.iv).try_into().map_err(|_| Forged)?;
        let tag = Tag::try_from(&*parts.icv).map_err(|_| Forged)?;
        let nonce = Nonce::assume_unique_for_key(nonce(self.salt, iv));
        let aad = RingAad::from(Aad::new(parts.header, esn_hi));
        self.key.open_in_place_separate_tag(nonce, aad, tag, parts.text, 0..).map_err(|_| Forged)?;
        Ok(range)
    }
}

fn algorithm(encr: Encr) -> Option<&'static Algorithm> {
    match encr {
        Encr::AesGcm16(KeyBits::B128) => Some(&AES_128_GCM),
        Encr::AesGcm16(KeyBits::B256) => Some(&AES_256_GCM),
        Encr::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
        Encr::AesGcm16(KeyBits::B192) | Encr::AesGcm12(_) | Encr::AesGcm8(_) | Encr::AesCbc(_) => None,
    }
}
