//! AES-CBC with HMAC beside it: encrypt, then authenticate (RFC 3602, RFC 4303 §3.3.2, RFC 7296 §3.14).

use core::ops::Range;

use crate::aes_block::{Aes, Block, Lane};
use crate::algorithm::Suite;
use crate::frame::{Forged, Frame, KeyError, Misfit};
use crate::hash::MacKey;
use crate::secret::constant_time_eq;

pub(crate) struct CbcHmacSealer {
    suite: Suite,
    cipher: Aes,
    /// Turns counters into IVs.
    iv_cipher: Aes,
    mac: MacKey,
}

impl CbcHmacSealer {
    pub(crate) fn new(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        iv_seed: [u8; 16],
    ) -> Result<Self, KeyError> {
        let iv_seed = zeroize::Zeroizing::new(iv_seed);
        let integ = suite.integ.ok_or(KeyError::Suite)?;
        Ok(Self {
            suite,
            cipher: Aes::new(encr_key).ok_or(KeyError::EncrKey)?,
            iv_cipher: Aes::new(iv_seed.as_slice()).ok_or(KeyError::EncrKey)?,
            mac: MacKey::new(integ.hash(), integ_key),
        })
    }

    pub(crate) fn seal(&self, frame: &mut Frame<'_>, counter: u64) -> Result<(), Misfit> {
        let lane = self.lane(frame, counter).ok_or(Misfit)?;
        self.cipher.cbc_encrypt(&mut [lane]);
        self.authenticate(frame)
    }

    /// As many packets side by side as the processor keeps in flight; a chain alone waits for itself.
    pub(crate) fn seal_batch(&self, frames: &mut [Frame<'_>], first_counter: u64) -> Result<(), Misfit> {
        let mut counter = first_counter;
        for group in frames.chunks_mut(LANES) {
            let used = group.len();
            let mut lanes = [const { None }; LANES];
            for (lane, frame) in lanes.iter_mut().zip(group.iter_mut()) {
                *lane = Some(self.lane(frame, counter).ok_or(Misfit)?);
                counter = counter.wrapping_add(1);
            }
            let mut lanes = lanes.map(|lane| lane.unwrap_or_else(idle));
            self.cipher.cbc_encrypt(lanes.get_mut(..used).ok_or(Misfit)?);
            group.iter_mut().try_for_each(|frame| self.authenticate(frame))?;
        }
        Ok(())
    }

    /// Writes the IV and gives the text as the stream that begins with it.
    ///
    /// NIST SP 800-38A appendix C, first method: the IV is a nonce enciphered by the forward cipher, here
    /// under a key of its own so that no observer can predict it.
    fn lane<'a>(&self, frame: &'a mut Frame<'_>, counter: u64) -> Option<Lane<'a>> {
        let parts = frame.split(self.suite)?;
        let mut chain = Block::from(u128::from(counter).to_be_bytes());
        self.iv_cipher.encrypt_block(&mut chain);
        parts.iv.copy_from_slice(&chain);
        let (text, _) = Block::slice_as_chunks_mut(parts.text);
        Some(Lane { chain, text })
    }

    fn authenticate(&self, frame: &mut Frame<'_>) -> Result<(), Misfit> {
        let end = frame.text(self.suite).ok_or(Misfit)?.end;
        let high = frame.esn_hi.map(u32::to_be_bytes);
        let (authenticated, icv) = frame.bytes.split_at_mut_checked(end).ok_or(Misfit)?;
        self.mac.mac(&[authenticated, unsent(high.as_ref())], icv);
        Ok(())
    }
}

pub(crate) struct CbcHmacOpener {
    suite: Suite,
    cipher: Aes,
    mac: MacKey,
}

impl CbcHmacOpener {
    pub(crate) fn new(suite: Suite, encr_key: &[u8], integ_key: &[u8]) -> Result<Self, KeyError> {
        let integ = suite.integ.ok_or(KeyError::Suite)?;
        Ok(Self {
            suite,
            cipher: Aes::new(encr_key).ok_or(KeyError::EncrKey)?,
            mac: MacKey::new(integ.hash(), integ_key),
        })
    }

    /// RFC 4303 §3.4.4.1: the ICV first, and only then decryption.
    pub(crate) fn open(&self, frame: &mut Frame<'_>) -> Result<Range<usize>, Forged> {
        let range = frame.text(self.suite).ok_or(Forged)?;
        let high = frame.esn_hi.map(u32::to_be_bytes);
        let (authenticated, icv) = frame.bytes.split_at_checked(range.end).ok_or(Forged)?;
        let mut expected = [0; MAX_ICV];
        let expected = expected.get_mut(..icv.len()).ok_or(Forged)?;
        self.mac.mac(&[authenticated, unsent(high.as_ref())], expected);
        if !constant_time_eq(expected, icv) {
            return Err(Forged);
        }
        let parts = frame.split(self.suite).ok_or(Forged)?;
        let iv = Block::try_from(&*parts.iv).map_err(|_| Forged)?;
        let (text, _) = Block::slice_as_chunks_mut(parts.text);
        self.cipher.cbc_decrypt(iv, text);
        Ok(range)
    }
}

/// RFC 4303 §2.2.1: the high half of an extended sequence number follows what is authenticated, unsent.
fn unsent(high: Option<&[u8; 4]>) -> &[u8] {
    high.map_or(&[], <[u8; 4]>::as_slice)
}

fn idle<'a>() -> Lane<'a> {
    Lane { chain: Block::default(), text: &mut [] }
}

/// Streams in flight: AES-NI's latency over its throughput is near eight on current processors.
const LANES: usize = 8;

/// Octets of the longest ICV, HMAC-SHA2-512-256.
const MAX_ICV: usize = 32;
