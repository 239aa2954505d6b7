//! AES-CBC with HMAC beside it: encrypt, then authenticate (RFC 3602, RFC 4303 §3.3.2, RFC 7296 §3.14).

use core::array;
use core::ops::Range;

use lanes::{Job, Level};

use crate::aes_block::{Aes, Block};
use crate::algorithm::Suite;
use crate::frame::{Forged, Frame, KeyError, Misfit, Shape};
use crate::packets::Packets;
use crate::secret::constant_time_eq;

pub(crate) struct CbcHmacSealer {
    shape: Shape,
    packets: Packets,
    /// Turns counters into IVs.
    iv_cipher: Aes,
}

impl CbcHmacSealer {
    pub(crate) fn new(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        iv_seed: [u8; 16],
        level: Option<Level>,
    ) -> Result<Self, KeyError> {
        let iv_seed = zeroize::Zeroizing::new(iv_seed);
        Ok(Self {
            shape: Shape::of(suite),
            packets: Packets::new(suite, encr_key, integ_key, level)?,
            iv_cipher: Aes::new(iv_seed.as_slice()).ok_or(KeyError::EncrKey)?,
        })
    }

    /// The caller has checked that every frame fits.
    pub(crate) fn seal_batch(&self, frames: &mut [Frame<'_>], first_counter: u64) -> Result<(), Misfit> {
        let mut counter = first_counter;
        for group in frames.chunks_mut(GROUP) {
            self.encrypt(group, counter)?;
            self.authenticate(group)?;
            counter = counter.wrapping_add(group.len() as u64);
        }
        Ok(())
    }

    /// Writes the IVs and enciphers the texts.
    fn encrypt(&self, group: &mut [Frame<'_>], counter: u64) -> Result<(), Misfit> {
        let mut ivs = [Block::default(); GROUP];
        self.ivs(ivs.get_mut(..group.len()).ok_or(Misfit)?, counter);
        let mut streams: [&mut [u8]; GROUP] = array::from_fn(|_| &mut [][..]);
        let mut used = 0;
        for ((frame, iv), place) in group.iter_mut().zip(&ivs).zip(&mut streams) {
            let stream = stream(frame, self.shape).ok_or(Misfit)?;
            stream.first_chunk_mut::<16>().ok_or(Misfit)?.copy_from_slice(iv);
            *place = stream;
            used += 1;
        }
        self.packets.encrypt(streams.get_mut(..used).ok_or(Misfit)?);
        Ok(())
    }

    /// NIST SP 800-38A appendix C, first method: the IV is a nonce enciphered by the forward cipher, here
    /// under a key of its own so that no observer can predict it.
    fn ivs(&self, ivs: &mut [Block], first_counter: u64) {
        let mut counter = first_counter;
        for iv in ivs.iter_mut() {
            *iv = Block::from(u128::from(counter).to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        self.iv_cipher.encrypt_blocks(ivs);
    }

    fn authenticate(&self, group: &mut [Frame<'_>]) -> Result<(), Misfit> {
        let mut jobs = jobs();
        let mut used = 0;
        for (frame, job) in group.iter_mut().zip(&mut jobs) {
            let end = frame.text_of(self.shape).ok_or(Misfit)?.end;
            let suffix = unsent(frame);
            let (text, code) = frame.bytes.split_at_mut_checked(end).ok_or(Misfit)?;
            *job = Job { text, suffix, code };
            used += 1;
        }
        self.packets.codes(jobs.get_mut(..used).ok_or(Misfit)?);
        Ok(())
    }
}

pub(crate) struct CbcHmacOpener {
    shape: Shape,
    packets: Packets,
}

impl CbcHmacOpener {
    pub(crate) fn new(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        level: Option<Level>,
    ) -> Result<Self, KeyError> {
        Ok(Self { shape: Shape::of(suite), packets: Packets::new(suite, encr_key, integ_key, level)? })
    }

    /// Opens every frame that is authentic and gives each one's outcome, in order.
    pub(crate) fn open_batch(
        &self,
        frames: &mut [Frame<'_>],
        mut outcome: impl FnMut(usize, Result<Range<usize>, Forged>),
    ) {
        let mut index = 0;
        for group in frames.chunks_mut(GROUP) {
            let mut expected = [[0; MAX_ICV]; GROUP];
            self.expect(group, &mut expected);
            for (frame, expected) in group.iter_mut().zip(&expected) {
                outcome(index, self.settle(frame, expected));
                index += 1;
            }
        }
    }

    /// What the ICV of each frame that has one should be.
    fn expect(&self, group: &[Frame<'_>], expected: &mut [[u8; MAX_ICV]; GROUP]) {
        let mut jobs = jobs();
        let mut free = jobs.iter_mut();
        let mut used = 0;
        for (frame, expected) in group.iter().zip(expected) {
            let Some(text) = frame.text_of(self.shape).and_then(|range| frame.bytes.get(..range.end)) else {
                continue;
            };
            let code = expected.get_mut(..self.shape.icv).unwrap_or_default();
            if let Some(job) = free.next() {
                *job = Job { text, suffix: unsent(frame), code };
                used += 1;
            }
        }
        self.packets.codes(jobs.get_mut(..used).unwrap_or_default());
    }

    /// RFC 4303 §3.4.4.1: the ICV first, and only then decryption.
    fn settle(&self, frame: &mut Frame<'_>, expected: &[u8; MAX_ICV]) -> Result<Range<usize>, Forged> {
        let range = frame.text_of(self.shape).ok_or(Forged)?;
        let icv = frame.bytes.get(range.end..).ok_or(Forged)?;
        if !constant_time_eq(expected.get(..icv.len()).ok_or(Forged)?, icv) {
            return Err(Forged);
        }
        self.packets.decrypt(stream(frame, self.shape).ok_or(Forged)?);
        Ok(range)
    }
}

/// IV and text: what the cipher calls a stream.
fn stream<'a>(frame: &'a mut Frame<'_>, shape: Shape) -> Option<&'a mut [u8]> {
    let text = frame.text_of(shape)?;
    frame.bytes.get_mut(frame.header..text.end)
}

/// RFC 4303 §2.2.1: the high half of an extended sequence number follows what is authenticated, unsent.
fn unsent(frame: &Frame<'_>) -> Option<[u8; 4]> {
    frame.esn_hi.map(u32::to_be_bytes)
}

fn jobs<'a>() -> [Job<'a>; GROUP] {
    array::from_fn(|_| Job { text: &[], suffix: None, code: &mut [] })
}

/// Packets worked on together: what one segmentation batch carries.
const GROUP: usize = 64;

/// Octets of the longest ICV, HMAC-SHA2-512-256.
const MAX_ICV: usize = 32;
