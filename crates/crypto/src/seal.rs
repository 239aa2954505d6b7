//! Sealing: plaintext to packets, in place.

use lanes::Level;

use crate::aead::Aead;
use crate::algorithm::Suite;
use crate::cbc::CbcHmacSealer;
use crate::frame::{Frame, KeyError, Misfit, Shape};

/// Seals the packets of one direction of one SA.
///
/// Takes `&self`, so that several threads may share one. What the caller owes: **no counter is ever used
/// twice with the same keys**. Under an AEAD a repeat gives away the authentication key
/// (RFC 4106 §3.1), so the counter comes from the one place that counts the SA's packets.
pub struct Sealer {
    suite: Suite,
    shape: Shape,
    engine: Engine,
}

/// Boxed, so that moving it leaves no copy of the expanded keys behind.
enum Engine {
    Aead(Box<Aead>),
    Cbc(Box<CbcHmacSealer>),
    #[cfg(feature = "unprotected")]
    Nothing,
}

impl Sealer {
    /// A sealer under these keys.
    ///
    /// * `encr_key`: the key, followed by the salt for an AEAD: [`Suite::encr_key_len`] octets.
    /// * `integ_key`: [`Suite::integ_key_len`] octets; empty for an AEAD.
    /// * `iv_seed`: random octets of this SA and direction alone; CBC draws its IVs from them, an AEAD
    ///   leaves them unused.
    ///
    /// # Errors
    /// [`KeyError`] when a key does not fit the suite.
    pub fn new(suite: Suite, encr_key: &[u8], integ_key: &[u8], iv_seed: [u8; 16]) -> Result<Self, KeyError> {
        Self::with_lanes(suite, encr_key, integ_key, iv_seed, Level::best())
    }

    /// A sealer whose CBC and GCM use lanes of this level, or none.
    pub(crate) fn with_lanes(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        iv_seed: [u8; 16],
        level: Option<Level>,
    ) -> Result<Self, KeyError> {
        check_keys(suite, encr_key, integ_key)?;
        let engine = if suite.encr.is_aead() {
            Engine::Aead(Box::new(Aead::new(suite, encr_key, level)?))
        } else {
            Engine::Cbc(Box::new(CbcHmacSealer::new(suite, encr_key, integ_key, iv_seed, level)?))
        };
        Ok(Self { suite, shape: Shape::of(suite), engine })
    }

    /// A sealer that leaves text, IV and ICV as they are: a packet of the suite's length that nothing protects.
    #[cfg(feature = "unprotected")]
    #[must_use]
    pub fn unprotected(suite: Suite) -> Self {
        Self { suite, shape: Shape::of(suite), engine: Engine::Nothing }
    }

    /// The suite this sealer was made for.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Writes IV, ciphertext and ICV into the frame.
    ///
    /// The IV of an AEAD is `counter` itself, big endian (RFC 4106 §3.1 allows a counter; RFC 7634 §2); that
    /// of CBC is the counter enciphered under a key of its own, unpredictable and never repeated
    /// (NIST SP 800-38A appendix C).
    ///
    /// # Errors
    /// [`Misfit`] when the buffer does not fit the suite; the frame is then untouched and must not be sent.
    pub fn seal(&self, mut frame: Frame<'_>, counter: u64) -> Result<(), Misfit> {
        self.seal_batch(core::slice::from_mut(&mut frame), counter)
    }

    /// Seals many packets, the first with `first_counter`, each next one with one more. AES packets are
    /// enciphered and authenticated side by side, which is faster than one after another; with CBC several times.
    ///
    /// # Errors
    /// [`Misfit`] when some frame does not fit the suite or the counters would pass `u64::MAX`: then no
    /// frame was touched and no counter used.
    pub fn seal_batch(&self, frames: &mut [Frame<'_>], first_counter: u64) -> Result<(), Misfit> {
        if frames.iter().any(|frame| frame.text_of(self.shape).is_none()) {
            return Err(Misfit);
        }
        let last = u64::try_from(frames.len()).map_err(|_| Misfit)?.saturating_sub(1);
        first_counter.checked_add(last).ok_or(Misfit)?;
        match &self.engine {
            Engine::Aead(aead) => aead.seal_batch(frames, first_counter),
            Engine::Cbc(cbc) => cbc.seal_batch(frames, first_counter),
            #[cfg(feature = "unprotected")]
            Engine::Nothing => Ok(()),
        }
    }
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sealer({})", self.suite)
    }
}

pub(crate) fn check_keys(suite: Suite, encr_key: &[u8], integ_key: &[u8]) -> Result<(), KeyError> {
    if !suite.is_sound() {
        return Err(KeyError::Suite);
    }
    if encr_key.len() != suite.encr_key_len() {
        return Err(KeyError::EncrKey);
    }
    if integ_key.len() != suite.integ_key_len() {
        return Err(KeyError::IntegKey);
    }
    Ok(())
}
