//! How one SA protects its packets: a cipher with the integrity algorithm that belongs to it.

use core::fmt;

use super::{Encr, Integ};

/// The algorithms of one IKE SA's SK payloads or of one CHILD SA's packets.
///
/// `integ` is `None` exactly when `encr` is an AEAD (RFC 7296 §3.3.3); [`Suite::new`] checks it, and keys
/// are never made for a suite that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suite {
    /// The encryption algorithm.
    pub encr: Encr,
    /// The integrity algorithm, unless `encr` is an AEAD.
    pub integ: Option<Integ>,
}

impl Suite {
    /// The suite of two algorithms; `None` for an AEAD with, or a plain cipher without, an integrity
    /// algorithm.
    #[must_use]
    pub fn new(encr: Encr, integ: Option<Integ>) -> Option<Self> {
        let suite = Self { encr, integ };
        suite.is_sound().then_some(suite)
    }

    /// Whether the two algorithms belong together.
    #[must_use]
    pub const fn is_sound(self) -> bool {
        self.encr.is_aead() == self.integ.is_none()
    }

    /// Every sound suite of this crate.
    pub fn all() -> impl Iterator<Item = Self> {
        Encr::ALL.into_iter().flat_map(|encr| {
            let aead = encr.is_aead().then_some(Self { encr, integ: None });
            let plain = Integ::ALL.into_iter().filter(move |_| !encr.is_aead());
            aead.into_iter().chain(plain.map(move |integ| Self { encr, integ: Some(integ) }))
        })
    }

    /// Octets of encryption key, an AEAD's salt included.
    #[must_use]
    pub const fn encr_key_len(self) -> usize {
        self.encr.key_len()
    }

    /// Octets of integrity key: 0 for an AEAD.
    #[must_use]
    pub const fn integ_key_len(self) -> usize {
        match self.integ {
            Some(integ) => integ.key_len(),
            None => 0,
        }
    }

    /// Octets of IV in each packet.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        self.encr.iv_len()
    }

    /// Octets of ICV in each packet.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self.integ {
            Some(integ) => integ.icv_len(),
            None => self.encr.icv_len(),
        }
    }

    /// Octets the plaintext must be a multiple of: 16 for CBC, 1 for an AEAD. (ESP aligns to 4 besides.)
    #[must_use]
    pub const fn block(self) -> usize {
        self.encr.block()
    }
}

/// strongSwan's words, as in `aes256-sha1` or `aes256gcm16`.
impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encr.keyword())?;
        match self.integ {
            Some(integ) => write!(f, "-{}", integ.keyword()),
            None => Ok(()),
        }
    }
}
