//! AES-GCM in the widest registers, with any key and ICV, where the processor has what it takes (RFC 4106).

use core::ops::Range;

use lanes::Level;

use crate::algorithm::{Encr, Suite};
use crate::frame::{Aad, Forged, Frame, Misfit};
use crate::seal::{nonce, split_salt};
use crate::secret::constant_time_eq;

pub(crate) struct LaneGcm {
    gcm: lanes::Gcm,
    salt: [u8; 4],
}

impl LaneGcm {
    /// `None` for another cipher, and where lanes of this level cannot.
    pub(crate) fn new(level: Option<Level>, encr: Encr, encr_key: &[u8]) -> Option<Self> {
        match encr {
            Encr::AesGcm8(_) | Encr::AesGcm12(_) | Encr::AesGcm16(_) => {}
            Encr::AesCbc(_) | Encr::ChaCha20Poly1305 => return None,
        }
        let (key, salt) = split_salt(encr_key).ok()?;
        Some(Self { gcm: lanes::Gcm::new(level?, key)?, salt })
    }

    pub(crate) fn seal(&self, frame: &mut Frame<'_>, suite: Suite, counter: u64) -> Result<(), Misfit> {
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Misfit)?;
        let iv = counter.to_be_bytes();
        parts.iv.copy_from_slice(&iv);
        let aad = Aad::new(parts.header, esn_hi);
        let tag = self.gcm.encrypt(&nonce(self.salt, iv), aad.as_ref(), parts.text);
        parts.icv.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        Ok(())
    }

    pub(crate) fn open(&self, frame: &mut Frame<'_>, suite: Suite) -> Result<Range<usize>, Forged> {
        let range = frame.text(suite).ok_or(Forged)?;
        let esn_hi = frame.esn_hi;
        let parts = frame.split(suite).ok_or(Forged)?;
        let iv: [u8; 8] = (&*parts.iv).try_into().map_err(|_| Forged)?;
        let aad = Aad::new(parts.header, esn_hi);
        let tag = self.gcm.decrypt(&nonce(self.salt, iv), aad.as_ref(), parts.text);
        let expected = tag.get(..parts.icv.len()).ok_or(Forged)?;
        if constant_time_eq(expected, parts.icv) { Ok(range) } else { Err(Forged) }
    }
}
