//! AES-GCM where `ring` has none: AES-192, and ICVs of 8 and 12 octets (NIST SP 800-38D §7, RFC 4106).

use ghash::GHash;
use ghash::universal_hash::UniversalHash;

use crate::aes_block::{Aes, Block, counter_block};
use crate::frame::KeyError;

pub(crate) struct Gcm {
    cipher: Aes,
    hash: GHash,
}

impl Gcm {
    pub(crate) fn new(key: &[u8]) -> Result<Self, KeyError> {
        let cipher = Aes::new(key).ok_or(KeyError::EncrKey)?;
        let mut hash_key = Block::default();
        cipher.encrypt_block(&mut hash_key);
        let hash = GHash::new(&hash_key);
        zeroize::Zeroize::zeroize(&mut hash_key[..]);
        Ok(Self { cipher, hash })
    }

    /// Enciphers in place; the full tag.
    pub(crate) fn encrypt(&self, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        self.cipher.ctr32(nonce, FIRST_TEXT, text);
        self.tag(nonce, aad, text)
    }

    /// Deciphers in place what was found authentic.
    pub(crate) fn decrypt(&self, nonce: [u8; 12], text: &mut [u8]) {
        self.cipher.ctr32(nonce, FIRST_TEXT, text);
    }

    /// The full tag over ciphertext and additional data.
    pub(crate) fn tag(&self, nonce: [u8; 12], aad: &[u8], text: &[u8]) -> [u8; 16] {
        let mut hash = self.hash.clone();
        hash.update_padded(aad);
        hash.update_padded(text);
        let bits = (u128::from(bit_length(aad)) << 64) | u128::from(bit_length(text));
        hash.update(&[bits.to_be_bytes().into()]);
        let mut mask = counter_block(nonce, FIRST_TEXT - 1);
        self.cipher.encrypt_block(&mut mask);
        let mut tag = hash.finalize();
        tag.iter_mut().zip(mask).for_each(|(to, from)| *to ^= from);
        tag.into()
    }
}

/// The counter that masks the tag is 1, so the text begins at 2.
const FIRST_TEXT: u32 = 2;

fn bit_length(octets: &[u8]) -> u64 {
    octets.len() as u64 * 8
}
