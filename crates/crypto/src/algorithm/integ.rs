//! Integrity algorithms: IKEv2 transform type 3.

use core::fmt;

use super::keyword;
use crate::hash::Hash;

/// An integrity algorithm: HMAC over a hash, cut to its ICV.
///
/// IANA: <https://www.iana.org/assignments/ikev2-parameters/#ikev2-parameters-7>. The discriminant is the
/// transform identifier; `Display` gives the IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Integ {
    /// AUTH_HMAC_SHA1_96, RFC 2404.
    HmacSha1_96 = 2,
    /// AUTH_HMAC_SHA2_256_128, RFC 4868.
    HmacSha2_256_128 = 12,
    /// AUTH_HMAC_SHA2_384_192, RFC 4868.
    HmacSha2_384_192 = 13,
    /// AUTH_HMAC_SHA2_512_256, RFC 4868.
    HmacSha2_512_256 = 14,
}

impl Integ {
    /// Every algorithm of this crate.
    pub const ALL: [Self; 4] =
        [Self::HmacSha1_96, Self::HmacSha2_256_128, Self::HmacSha2_384_192, Self::HmacSha2_512_256];

    /// The algorithm of a transform identifier; `None` when it is not one of these.
    #[must_use]
    pub fn from_iana(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.iana() == id)
    }

    /// The transform identifier.
    #[must_use]
    pub const fn iana(self) -> u16 {
        self as u16
    }

    /// Octets of key: the hash's output length (RFC 2404 §3, RFC 4868 §2.1.1).
    #[must_use]
    pub const fn key_len(self) -> usize {
        self.hash().output_len()
    }

    /// Octets of ICV in each packet.
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            Self::HmacSha2_256_128 => 16,
            Self::HmacSha2_384_192 => 24,
            Self::HmacSha2_512_256 => 32,
        }
    }

    /// The strongSwan keyword, as in `sha256`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        keyword::of(KEYWORDS, self)
    }

    /// The algorithm a strongSwan keyword names, its older spellings included; ASCII case does not matter.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        keyword::find(KEYWORDS, word)
    }

    /// Every accepted keyword, for "nearest known word" hints.
    pub fn keywords() -> impl Iterator<Item = &'static str> {
        keyword::all(KEYWORDS)
    }

    /// The PRF over the same hash, which a proposal without a PRF of its own means.
    #[must_use]
    pub const fn prf(self) -> super::Prf {
        match self {
            Self::HmacSha1_96 => super::Prf::HmacSha1,
            Self::HmacSha2_256_128 => super::Prf::HmacSha2_256,
            Self::HmacSha2_384_192 => super::Prf::HmacSha2_384,
            Self::HmacSha2_512_256 => super::Prf::HmacSha2_512,
        }
    }

    pub(crate) const fn hash(self) -> Hash {
        match self {
            Self::HmacSha1_96 => Hash::Sha1,
            Self::HmacSha2_256_128 => Hash::Sha2_256,
            Self::HmacSha2_384_192 => Hash::Sha2_384,
            Self::HmacSha2_512_256 => Hash::Sha2_512,
        }
    }
}

impl fmt::Display for Integ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacSha1_96 => "AUTH_HMAC_SHA1_96",
            Self::HmacSha2_256_128 => "AUTH_HMAC_SHA2_256_128",
            Self::HmacSha2_384_192 => "AUTH_HMAC_SHA2_384_192",
            Self::HmacSha2_512_256 => "AUTH_HMAC_SHA2_512_256",
        })
    }
}

const KEYWORDS: keyword::Table<Integ> = &[
    ("sha1", Integ::HmacSha1_96),
    ("sha", Integ::HmacSha1_96),
    ("sha256", Integ::HmacSha2_256_128),
    ("sha2_256", Integ::HmacSha2_256_128),
    ("sha384", Integ::HmacSha2_384_192),
    ("sha2_384", Integ::HmacSha2_384_192),
    ("sha512", Integ::HmacSha2_512_256),
    ("sha2_512", Integ::HmacSha2_512_256),
];
