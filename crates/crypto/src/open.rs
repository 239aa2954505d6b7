//! Opening: packets to plaintext, in place.

use core::fmt;
use core::ops::Range;

use lanes::Level;

use crate::aead::Aead;
use crate::algorithm::Suite;
use crate::cbc::CbcHmacOpener;
use crate::frame::{Forged, Frame, KeyError};
use crate::seal::check_keys;

/// Opens the packets of one direction of one SA. Takes `&self`, so that several threads may share one.
pub struct Opener {
    suite: Suite,
    engine: Engine,
}

/// Boxed, so that moving it leaves no copy of the expanded keys behind.
enum Engine {
    Aead(Box<Aead>),
    Cbc(Box<CbcHmacOpener>),
    #[cfg(feature = "unprotected")]
    Nothing,
}

impl Opener {
    /// An opener under these keys, which are those of [`crate::Sealer::new`].
    ///
    /// # Errors
    /// [`KeyError`] when a key does not fit the suite.
    pub fn new(suite: Suite, encr_key: &[u8], integ_key: &[u8]) -> Result<Self, KeyError> {
        Self::with_lanes(suite, encr_key, integ_key, Level::best())
    }

    /// An opener whose CBC and GCM use lanes of this level, or none.
    pub(crate) fn with_lanes(
        suite: Suite,
        encr_key: &[u8],
        integ_key: &[u8],
        level: Option<Level>,
    ) -> Result<Self, KeyError> {
        check_keys(suite, encr_key, integ_key)?;
        let engine = if suite.encr.is_aead() {
            Engine::Aead(Box::new(Aead::new(suite.encr, encr_key, level)?))
        } else {
            Engine::Cbc(Box::new(CbcHmacOpener::new(suite, encr_key, integ_key, level)?))
        };
        Ok(Self { suite, engine })
    }

    /// The other end of [`crate::Sealer::unprotected`]: takes every packet long enough for the suite.
    #[cfg(feature = "unprotected")]
    #[must_use]
    pub fn unprotected(suite: Suite) -> Self {
        Self { suite, engine: Engine::Nothing }
    }

    /// The suite this opener was made for.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// Checks the ICV and deciphers the text in place; gives where the plaintext stands in `frame.bytes`,
    /// padding and trailer included.
    ///
    /// # Errors
    /// [`Forged`] for a wrong ICV and for a packet too short or not of whole blocks. The buffer is then of
    /// no use: its text may have been overwritten.
    pub fn open(&self, mut frame: Frame<'_>) -> Result<Range<usize>, Forged> {
        self.open_in(&mut frame)
    }

    /// Opens many packets and hands out each outcome, with its index, in order. A forged packet changes
    /// nothing for the others; CBC packets are checked side by side, which is several times faster than one
    /// after another.
    pub fn open_batch(
        &self,
        frames: &mut [Frame<'_>],
        mut outcome: impl FnMut(usize, Result<Range<usize>, Forged>),
    ) {
        if let Engine::Cbc(cbc) = &self.engine {
            return cbc.open_batch(frames, outcome);
        }
        for (index, frame) in frames.iter_mut().enumerate() {
            outcome(index, self.open_in(frame));
        }
    }

    fn open_in(&self, frame: &mut Frame<'_>) -> Result<Range<usize>, Forged> {
        match &self.engine {
            Engine::Aead(aead) => aead.open(frame, self.suite),
            Engine::Cbc(cbc) => {
                let mut opened = Err(Forged);
                cbc.open_batch(core::slice::from_mut(frame), |_, outcome| opened = outcome);
                opened
            }
            #[cfg(feature = "unprotected")]
            Engine::Nothing => frame.text(self.suite).ok_or(Forged),
        }
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.suite)
    }
}
