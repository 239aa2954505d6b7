//! Pseudorandom functions: IKEv2 transform type 2, and prf+ of RFC 7296 §2.13.

use core::fmt;

use super::keyword;
use crate::hash::{Hash, MacKey};
use crate::secret::Secret;

/// A pseudorandom function.
///
/// IANA: <https://www.iana.org/assignments/ikev2-parameters/#ikev2-parameters-6>. The discriminant is the
/// transform identifier; `Display` gives the IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Prf {
    /// PRF_HMAC_SHA1, RFC 2104.
    HmacSha1 = 2,
    /// PRF_HMAC_SHA2_256, RFC 4868.
    HmacSha2_256 = 5,
    /// PRF_HMAC_SHA2_384, RFC 4868.
    HmacSha2_384 = 6,
    /// PRF_HMAC_SHA2_512, RFC 4868.
    HmacSha2_512 = 7,
}

/// prf+ was asked for more than 255 times the PRF's output (RFC 7296 §2.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("prf+ gives at most 255 times the output of its prf")]
pub struct TooLong;

impl Prf {
    /// Every function of this crate.
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha2_256, Self::HmacSha2_384, Self::HmacSha2_512];

    /// The function of a transform identifier; `None` when it is not one of these.
    #[must_use]
    pub fn from_iana(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.iana() == id)
    }

    /// The transform identifier.
    #[must_use]
    pub const fn iana(self) -> u16 {
        self as u16
    }

    /// Octets of output, which is also the preferred key length: that of SK_d, SK_pi and SK_pr.
    #[must_use]
    pub const fn output_len(self) -> usize {
        self.hash().output_len()
    }

    /// prf(key, parts joined). A key of any length is taken, as HMAC does.
    #[must_use]
    pub fn mac(self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let mut out = Secret::zeroed(self.output_len());
        MacKey::new(self.hash(), key).mac(parts, out.as_mut_bytes());
        out
    }

    /// prf+ (key, seed parts joined), `len` octets of it (RFC 7296 §2.13):
    /// T1 | T2 | … with T1 = prf (key, seed | 0x01), Tn = prf (key, Tn-1 | seed | n).
    ///
    /// # Errors
    /// [`TooLong`] when `len` needs more than 255 rounds, for the round number is one octet.
    pub fn prf_plus(self, key: &[u8], seed: &[&[u8]], len: usize) -> Result<Secret, TooLong> {
        if len > self.output_len() * 255 {
            return Err(TooLong);
        }
        let mut out = Secret::zeroed(len);
        self.expand(key, seed, out.as_mut_bytes());
        Ok(out)
    }

    /// prf+ into `out`, as far as 255 rounds reach.
    pub(crate) fn expand(self, key: &[u8], seed: &[&[u8]], out: &mut [u8]) {
        let key = MacKey::new(self.hash(), key);
        let mut block = Secret::zeroed(self.output_len());
        let mut previous = 0;
        for (round, chunk) in (1..=u8::MAX).zip(out.chunks_mut(self.output_len())) {
            let mut mac = key.begin();
            mac.update(block.get(..previous).unwrap_or_default());
            seed.iter().for_each(|part| mac.update(part));
            mac.update(&[round]);
            mac.finish(block.as_mut_bytes());
            previous = self.output_len();
            chunk.iter_mut().zip(block.iter()).for_each(|(to, from)| *to = *from);
        }
    }

    /// The strongSwan keyword, as in `prfsha256`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        keyword::of(KEYWORDS, self)
    }

    /// The function a strongSwan keyword names; ASCII case does not matter.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        keyword::find(KEYWORDS, word)
    }

    /// Every accepted keyword, for "nearest known word" hints.
    pub fn keywords() -> impl Iterator<Item = &'static str> {
        keyword::all(KEYWORDS)
    }

    pub(crate) const fn hash(self) -> Hash {
        match self {
            Self::HmacSha1 => Hash::Sha1,
            Self::HmacSha2_256 => Hash::Sha2_256,
            Self::HmacSha2_384 => Hash::Sha2_384,
            Self::HmacSha2_512 => Hash::Sha2_512,
        }
    }
}

impl fmt::Display for Prf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1 => "PRF_HMAC_SHA1",
            Self::HmacSha2_256 => "PRF_HMAC_SHA2_256",
            Self::HmacSha2_384 => "PRF_HMAC_SHA2_384",
            Self::HmacSha2_512 => "PRF_HMAC_SHA2_512",
        })
    }
}

const KEYWORDS: keyword::Table<Prf> = &[
    ("prfsha1", Prf::HmacSha1),
    ("prfsha256", Prf::HmacSha2_256),
    ("prfsha384", Prf::HmacSha2_384),
    ("prfsha512", Prf::HmacSha2_512),
];
