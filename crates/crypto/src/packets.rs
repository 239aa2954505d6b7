//! Cipher and HMAC over the packets of a batch: in lanes where the processor has them, else one by one.
//!
//! Both ways give the same octets, and the tests hold every level of the processor against the plain one.

use lanes::{Job, Level};

use crate::aes_block::{Aes, Block, Lane};
use crate::algorithm::Suite;
use crate::frame::KeyError;
use crate::hash::{Hash, MacKey};

/// The keys of AES-CBC with an HMAC beside it.
pub(crate) struct Packets {
    cipher: Aes,
    mac: MacKey,
    lanes: Option<Box<Lanes>>,
}

struct Lanes {
    cipher: lanes::Cbc,
    mac: lanes::Hmac,
}

impl Packets {
    /// With lanes of a level, or none.
    pub(crate) fn new(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        level: Option<Level>,
    ) -> Result<Self, KeyError> {
        let hash = suite.integ.ok_or(KeyError::Suite)?.hash();
        let lanes = level.and_then(|level| {
            let cipher = lanes::Cbc::new(level, encr_key)?;
            Some(Box::new(Lanes { cipher, mac: lanes::Hmac::new(level, lane_hash(hash), integ_key) }))
        });
        let cipher = Aes::new(encr_key).ok_or(KeyError::EncrKey)?;
        Ok(Self { cipher, mac: MacKey::new(hash, integ_key), lanes })
    }

    /// Enciphers the text of each stream, which begins with its IV.
    pub(crate) fn encrypt(&self, streams: &mut [&mut [u8]]) {
        if let Some(lanes) = &self.lanes {
            return lanes.cipher.encrypt(streams);
        }
        for group in streams.chunks_mut(SIDE_BY_SIDE) {
            let mut lanes = [const { None }; SIDE_BY_SIDE];
            lanes.iter_mut().zip(group).for_each(|(lane, stream)| *lane = lane_of(stream));
            self.cipher.cbc_encrypt(&mut lanes.map(|lane| lane.unwrap_or_else(idle)));
        }
    }

    /// Deciphers the text of a stream, which begins with its IV.
    pub(crate) fn decrypt(&self, stream: &mut [u8]) {
        if let Some(lanes) = &self.lanes {
            lanes.cipher.decrypt(stream);
        } else if let Some(Lane { chain, text }) = lane_of(stream) {
            self.cipher.cbc_decrypt(chain, text);
        }
    }

    /// Computes the code of each job.
    pub(crate) fn codes(&self, jobs: &mut [Job<'_>]) {
        let mut alone = jobs;
        if let Some(Lanes { mac, .. }) = self.lanes.as_deref()
            && let Some(least) = mac.worthwhile()
        {
            // What would leave most lanes empty is faster one by one.
            let over = alone.len() % mac.lanes();
            let together = if over < least { alone.len() - over } else { alone.len() };
            let (first, rest) = alone.split_at_mut(together);
            mac.codes(first);
            alone = rest;
        }
        for job in alone {
            let suffix = job.suffix.as_ref().map_or(&[][..], <[u8; 4]>::as_slice);
            self.mac.mac(&[job.text, suffix], job.code);
        }
    }
}

/// The same function under the name the lanes have for it.
pub(crate) fn lane_hash(hash: Hash) -> lanes::Hash {
    match hash {
        Hash::Sha1 => lanes::Hash::Sha1,
        Hash::Sha2_256 => lanes::Hash::Sha256,
        Hash::Sha2_384 => lanes::Hash::Sha384,
        Hash::Sha2_512 => lanes::Hash::Sha512,
    }
}

fn lane_of<'a>(stream: &'a mut [u8]) -> Option<Lane<'a>> {
    let (iv, text) = stream.split_first_chunk_mut::<16>()?;
    let (text, _) = Block::slice_as_chunks_mut(text);
    Some(Lane { chain: Block::from(*iv), text })
}

fn idle<'a>() -> Lane<'a> {
    Lane { chain: Block::default(), text: &mut [] }
}

/// Streams the plain way keeps in flight: AES-NI's latency over its throughput is near eight.
const SIDE_BY_SIDE: usize = 8;
