//! Key exchange methods: IKEv2 transform type 4.

use core::fmt;

use super::keyword;

/// A Diffie-Hellman group.
///
/// IANA: <https://www.iana.org/assignments/ikev2-parameters/#ikev2-parameters-8>. The discriminant is the
/// transform identifier; `Display` gives the IANA name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Group {
    /// 1024-bit MODP, RFC 7296 appendix B.2. Weak; some head-ends offer nothing else.
    Modp1024 = 2,
    /// 1536-bit MODP, RFC 3526 §2.
    Modp1536 = 5,
    /// 2048-bit MODP, RFC 3526 §3.
    Modp2048 = 14,
    /// 3072-bit MODP, RFC 3526 §4.
    Modp3072 = 15,
    /// 4096-bit MODP, RFC 3526 §5.
    Modp4096 = 16,
    /// 6144-bit MODP, RFC 3526 §6.
    Modp6144 = 17,
    /// 8192-bit MODP, RFC 3526 §7.
    Modp8192 = 18,
    /// 256-bit random ECP (P-256), RFC 5903 §3.1.
    Ecp256 = 19,
    /// 384-bit random ECP (P-384), RFC 5903 §3.2.
    Ecp384 = 20,
    /// 521-bit random ECP (P-521), RFC 5903 §3.3.
    Ecp521 = 21,
    /// 2048-bit MODP with a 256-bit prime order subgroup, RFC 5114 §2.3.
    Modp2048s256 = 24,
    /// Curve25519, RFC 8031.
    Curve25519 = 31,
}

impl Group {
    /// Every group of this crate.
    pub const ALL: [Self; 12] = [
        Self::Modp1024,
        Self::Modp1536,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Modp6144,
        Self::Modp8192,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::Modp2048s256,
        Self::Curve25519,
    ];

    /// The group of a transform identifier; `None` when it is not one of these.
    #[must_use]
    pub fn from_iana(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.iana() == id)
    }

    /// The transform identifier.
    #[must_use]
    pub const fn iana(self) -> u16 {
        self as u16
    }

    /// Octets of the public value in a KE payload: the modulus for MODP (RFC 7296 §3.4), x and y for ECP
    /// (RFC 5903 §7), 32 for Curve25519 (RFC 8031).
    #[must_use]
    pub const fn public_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp1536 => 192,
            Self::Modp2048 | Self::Modp2048s256 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Modp6144 => 768,
            Self::Modp8192 => 1024,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::Curve25519 => 32,
        }
    }

    /// Octets of the shared secret g^ir: as the public value, but the x coordinate alone for ECP
    /// (RFC 5903 §7).
    #[must_use]
    pub const fn shared_len(self) -> usize {
        match self {
            Self::Ecp256 | Self::Ecp384 | Self::Ecp521 => self.public_len() / 2,
            Self::Modp1024
            | Self::Modp1536
            | Self::Modp2048
            | Self::Modp3072
            | Self::Modp4096
            | Self::Modp6144
            | Self::Modp8192
            | Self::Modp2048s256
            | Self::Curve25519 => self.public_len(),
        }
    }

    /// The strongSwan keyword, as in `modp2048`.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        keyword::of(KEYWORDS, self)
    }

    /// The group a strongSwan keyword names, its other spellings included; ASCII case does not matter.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        keyword::find(KEYWORDS, word)
    }

    /// Every accepted keyword, for "nearest known word" hints.
    pub fn keywords() -> impl Iterator<Item = &'static str> {
        keyword::all(KEYWORDS)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modp1024 => "1024-bit MODP Group",
            Self::Modp1536 => "1536-bit MODP Group",
            Self::Modp2048 => "2048-bit MODP Group",
            Self::Modp3072 => "3072-bit MODP Group",
            Self::Modp4096 => "4096-bit MODP Group",
            Self::Modp6144 => "6144-bit MODP Group",
            Self::Modp8192 => "8192-bit MODP Group",
            Self::Ecp256 => "256-bit random ECP group",
            Self::Ecp384 => "384-bit random ECP group",
            Self::Ecp521 => "521-bit random ECP group",
            Self::Modp2048s256 => "2048-bit MODP Group with 256-bit Prime Order Subgroup",
            Self::Curve25519 => "Curve25519",
        })
    }
}

const KEYWORDS: keyword::Table<Group> = &[
    ("modp1024", Group::Modp1024),
    ("modp1536", Group::Modp1536),
    ("modp2048", Group::Modp2048),
    ("modp3072", Group::Modp3072),
    ("modp4096", Group::Modp4096),
    ("modp6144", Group::Modp6144),
    ("modp8192", Group::Modp8192),
    ("ecp256", Group::Ecp256),
    ("ecp384", Group::Ecp384),
    ("ecp521", Group::Ecp521),
    ("modp2048s256", Group::Modp2048s256),
    ("curve25519", Group::Curve25519),
    ("x25519", Group::Curve25519),
];
