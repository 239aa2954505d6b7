//! AES of every key length, and the three ways its blocks are strung together here.
//!
//! The chains are written over the block cipher, not taken from mode crates, because a CBC stream can only
//! be sped up from outside: by enciphering several packets side by side.

use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
    KeyInit,
};

/// Sixteen octets.
pub(crate) type Block = aes::Block;

/// An expanded key; the `aes` crate wipes it on drop.
pub(crate) enum Aes {
    B128(aes::Aes128),
    B192(aes::Aes192),
    B256(aes::Aes256),
}

macro_rules! each {
    ($aes:expr, $cipher:ident => $body:expr) => {
        match $aes {
            Aes::B128($cipher) => $body,
            Aes::B192($cipher) => $body,
            Aes::B256($cipher) => $body,
        }
    };
}

/// One CBC stream: what the next block is combined with, and the blocks to encipher in place.
pub(crate) struct Lane<'a> {
    pub(crate) chain: Block,
    pub(crate) text: &'a mut [Block],
}

impl Aes {
    /// `None` unless the key has 16, 24 or 32 octets.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => aes::Aes128::new_from_slice(key).ok().map(Self::B128),
            24 => aes::Aes192::new_from_slice(key).ok().map(Self::B192),
            32 => aes::Aes256::new_from_slice(key).ok().map(Self::B256),
            _ => None,
        }
    }

    pub(crate) fn encrypt_block(&self, block: &mut Block) {
        each!(self, cipher => cipher.encrypt_block(block));
    }

    /// Blocks that do not depend on each other.
    pub(crate) fn encrypt_blocks(&self, blocks: &mut [Block]) {
        each!(self, cipher => cipher.encrypt_blocks(blocks));
    }

    /// CBC over several streams at once. Their lengths may differ; equal ones are fastest.
    pub(crate) fn cbc_encrypt(&self, lanes: &mut [Lane<'_>]) {
        each!(self, cipher => cipher.encrypt_with_backend(CbcEncrypt(lanes)));
    }

    /// Undoes CBC in place, many blocks at a time.
    pub(crate) fn cbc_decrypt(&self, iv: Block, text: &mut [Block]) {
        let mut chain = iv;
        let mut saved = [Block::default(); CHUNK];
        for chunk in text.chunks_mut(CHUNK) {
            saved.iter_mut().zip(&*chunk).for_each(|(to, from)| *to = *from);
            each!(self, cipher => cipher.decrypt_blocks(chunk));
            for (block, enciphered) in chunk.iter_mut().zip(&saved) {
                xor(block, &chain);
                chain = *enciphered;
            }
        }
    }

    /// Counter mode with the 32-bit counter of GCM (NIST SP 800-38D §6.5), from `first` on.
    pub(crate) fn ctr32(&self, nonce: [u8; 12], first: u32, text: &mut [u8]) {
        let mut counter = first;
        let mut stream = [Block::default(); CHUNK];
        for chunk in text.chunks_mut(16 * CHUNK) {
            let used = stream.get_mut(..chunk.len().div_ceil(16)).unwrap_or_default();
            for block in used.iter_mut() {
                *block = counter_block(nonce, counter);
                counter = counter.wrapping_add(1);
            }
            each!(self, cipher => cipher.encrypt_blocks(used));
            for (octets, key) in chunk.chunks_mut(16).zip(used) {
                octets.iter_mut().zip(key).for_each(|(to, key)| *to ^= *key);
            }
        }
    }
}

/// The block GCM enciphers: nonce and counter.
pub(crate) fn counter_block(nonce: [u8; 12], counter: u32) -> Block {
    let mut block = [0; 16];
    let (head, tail) = block.split_at_mut(nonce.len());
    head.copy_from_slice(&nonce);
    tail.copy_from_slice(&counter.to_be_bytes());
    Block::from(block)
}

/// Blocks handled in one call of the cipher: 2 KiB, more than a full-sized packet.
const CHUNK: usize = 128;

/// Runs inside the cipher's own dispatch, so that choosing the instructions and loading the round keys
/// happens once for all blocks of all streams.
struct CbcEncrypt<'a, 'b>(&'a mut [Lane<'b>]);

impl BlockSizeUser for CbcEncrypt<'_, '_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for CbcEncrypt<'_, '_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let longest = self.0.iter().map(|lane| lane.text.len()).max().unwrap_or(0);
        for index in 0..longest {
            for lane in self.0.iter_mut() {
                if let Some(block) = lane.text.get_mut(index) {
                    xor(&mut lane.chain, block);
                    backend.encrypt_block((&mut lane.chain).into());
                    *block = lane.chain;
                }
            }
        }
    }
}

#[inline(always)]
fn xor(block: &mut Block, other: &Block) {
    block.iter_mut().zip(other).for_each(|(to, from)| *to ^= from);
}
