//! AES-GCM where `ring` has none: AES-192, and ICVs of 8 and 12 octets (NIST SP 800-38D §7, RFC 4106).

use core::ops::Range;

use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use crate::aes_block::{Aes, Block, counter_block};
use crate::algorithm::{Encr, Suite};
use crate::frame::{Aad, Forged, Frame, KeyError, Misfit};
use crate::seal::{nonce, split_salt};
use crate::secret::constant_time_eq;

pub(crate) struct Gcm {
    cipher: Aes,
    hash: GHash,
    salt: [u8; 4],
}

impl Gcm {
    pub(crate) fn new(encr: Encr, encr_key: &[u8]) -> Result<Self, KeyError> {
        if !encr.is_aead() {
            return Err(KeyError::Suite);
        }
        let (key, salt) = split_salt(encr_key)?;
        let cipher = Aes::new(key).ok_or(KeyError::EncrKey)?;
        let mut hash_key = Block::default();
        cipher.encrypt_block(&mut hash_key);
        let hash = GHash::new(&hash_key);
        zeroize::Zeroize::zeroize(&mut hash_key[..]);
        Ok(Self { cipher, hash, salt })
    }

    pub(crate) fn seal(&self, frame: &mut Frame<'_>, suite: Suite, counter: u64) -> Result<(), Misfit> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Misfit)?;
        let iv = counter.to_be_bytes();
        parts.iv.copy_from_slice(&iv);
        let nonce = nonce(self.salt, iv);
        self.cipher.ctr32(nonce, FIRST_TEXT, parts.text);
        let tag = self.tag(nonce, Aad::new(parts.header, esn_hi).as_ref(), parts.text);
        parts.icv.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        Ok(())
    }

    pub(crate) fn open(&self, frame: &mut Frame<'_>, suite: Suite) -> Result<Range<usize>, Forged> {
        let range = frame.text(suite).ok_or(Forged)?;
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Forged)?;
        let iv: [u8; 8] = (&*parts.iv).try_into().map_err(|_| Forged)?;
        let nonce = nonce(self.salt, iv);
        let tag = self.tag(nonce, Aad::new(parts.header, esn_hi).as_ref(), parts.text);
        let expected = tag.get(..parts.icv.len()).ok_or(Forged)?;
        if !constant_time_eq(expected, parts.icv) {
            return Err(Forged);
        }
        self.cipher.ctr32(nonce, FIRST_TEXT, parts.text);
        Ok(range)
    }

    /// The full tag over ciphertext and additional data.
    fn tag(&self, nonce: [u8; 12], aad: &[u8], text: &[u8]) -> Block {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(text);
        let bits = (u128::from(bit_length(aad)) << 64) | u128::from(bit_length(text));
        hash.update(&[bits.to_be_bytes().into()]);
        let mut mask = counter_block(nonce, FIRST_TEXT - 1);
        self.cipher.encrypt_block(&mut mask);
        let mut tag = hash.finalize();
        tag.iter_mut().zip(mask).for_each(|(to, from)| *to ^= from);
        tag
    }
}

/// The counter that masks the tag is 1, so the text begins at 2.
const FIRST_TEXT: u32 = 2;

fn bit_length(octets: &[u8]) -> u64 {
    octets.len() as u64 * 8
}
