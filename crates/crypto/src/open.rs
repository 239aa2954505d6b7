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
            Engine::Aead(Box::new(Aead::new(suite, encr_key, level)?))
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
        let mut opened = Err(Forged);
        self.open_batch(core::slice::from_mut(&mut frame), |_, outcome| opened = outcome);
        opened
    }

    /// Opens many packets and hands out each outcome, with its index, in order. A forged packet changes
    /// nothing for the others; AES packets are deciphered and checked side by side, which is faster than one after
    /// another; with CBC several times.
    pub fn open_batch(
        &self,
        frames: &mut [Frame<'_>],
        outcome: impl FnMut(usize, Result<Range<usize>, Forged>),
    ) {
        match &self.engine {
            Engine::Aead(aead) => aead.open_batch(frames, outcome),
            Engine::Cbc(cbc) => cbc.open_batch(frames, outcome),
            #[cfg(feature = "unprotected")]
            Engine::Nothing => unprotected(frames, self.suite, outcome),
        }
    }
}

/// Takes every frame that fits the suite as it is.
#[cfg(feature = "unprotected")]
fn unprotected(
    frames: &[Frame<'_>],
    suite: Suite,
    mut outcome: impl FnMut(usize, Result<Range<usize>, Forged>),
) {
    for (index, frame) in frames.iter().enumerate() {
        outcome(index, frame.text(suite).ok_or(Forged));
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.suite)
    }
}
