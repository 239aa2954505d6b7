//! Encryption algorithms: IKEv2 transform type 1.

use core::fmt;

use super::keyword;

/// AES key length. The discriminant is the length in bits, as the Key Length attribute carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum KeyBits {
    /// 128 bits.
    B128 = 128,
    /// 192 bits.
    B192 = 192,
    /// 256 bits.
    B256 = 256,
}

impl KeyBits {
    /// All lengths, shortest first.
    pub const ALL: [Self; 3] = [Self::B128, Self::B192, Self::B256];

    /// The length in bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self as u16
    }

    /// The length in octets.
    #[must_use]
    pub const fn octets(self) -> usize {
        self as usize / 8
    }

    /// The key length of that many bits, as the Key Length attribute gives it.
    #[must_use]
    pub fn new(bits: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.bits() == bits)
    }
}

/// An encryption algorithm with its key length.
///
/// IANA: <https://www.iana.org/assignments/ikev2-parameters/#ikev2-parameters-5>.
/// `Display` gives the IANA name with the key length after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encr {
    /// ENCR_AES_CBC (12), RFC 3602. Needs an integrity algorithm beside it.
    AesCbc(KeyBits),
    /// ENCR_AES_GCM_8 (18), RFC 4106, RFC 5282.
    AesGcm8(KeyBits),
    /// ENCR_AES_GCM_12 (19), RFC 4106, RFC 5282.
    AesGcm12(KeyBits),
    /// ENCR_AES_GCM_16 (20), RFC 4106, RFC 5282.
    AesGcm16(KeyBits),
    /// ENCR_CHACHA20_POLY1305 (28), RFC 7634.
    ChaCha20Poly1305,
}

impl Encr {
    /// Every algorithm of this crate.
    pub const ALL: [Self; 13] = [
        Self::AesCbc(KeyBits::B128),
        Self::AesCbc(KeyBits::B192),
        Self::AesCbc(KeyBits::B256),
        Self::AesGcm8(KeyBits::B128),
        Self::AesGcm8(KeyBits::B192),
        Self::AesGcm8(KeyBits::B256),
        Self::AesGcm12(KeyBits::B128),
        Self::AesGcm12(KeyBits::B192),
        Self::AesGcm12(KeyBits::B256),
        Self::AesGcm16(KeyBits::B128),
        Self::AesGcm16(KeyBits::B192),
        Self::AesGcm16(KeyBits::B256),
        Self::ChaCha20Poly1305,
    ];

    /// The algorithm of a transform: its identifier and its Key Length attribute, if there was one.
    ///
    /// RFC 7296 §3.3.5: the attribute must accompany a cipher of variable key length and must not
    /// accompany one of fixed length; either mistake, like an unknown identifier, is `None`.
    #[must_use]
    pub fn from_iana(id: u16, key_bits: Option<u16>) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.iana() == (id, key_bits))
    }

    /// The transform identifier, and the Key Length attribute in bits where one must be sent.
    #[must_use]
    pub const fn iana(self) -> (u16, Option<u16>) {
        match self {
            Self::AesCbc(key) => (12, Some(key.bits())),
            Self::AesGcm8(key) => (18, Some(key.bits())),
            Self::AesGcm12(key) => (19, Some(key.bits())),
            Self::AesGcm16(key) => (20, Some(key.bits())),
            Self::ChaCha20Poly1305 => (28, None),
        }
    }

    /// Octets of keying material: the key and, for an AEAD, the 4-octet salt after it
    /// (RFC 4106 §8.1, RFC 5282 §7.1, RFC 7634 §2).
    #[must_use]
    pub const fn key_len(self) -> usize {
        self.cipher_key_len() + self.salt_len()
    }

    /// Octets of the cipher's own key, without salt.
    #[must_use]
    pub const fn cipher_key_len(self) -> usize {
        match self {
            Self::AesCbc(key) | Self::AesGcm8(key) | Self::AesGcm12(key) | Self::AesGcm16(key) => {
                key.octets()
            }
            Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Octets of salt at the end of the keying material: 4 for an AEAD, else 0.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }

    /// Octets of the IV carried in each packet.
    #[must_use]
    pub const fn iv_len(self) -> usize {
        if self.is_aead() { 8 } else { 16 }
    }

    /// Octets of the AEAD's ICV; 0 for a cipher that leaves integrity to an [`super::Integ`].
    #[must_use]
    pub const fn icv_len(self) -> usize {
        match self {
            Self::AesCbc(_) => 0,
            Self::AesGcm8(_) => 8,
            Self::AesGcm12(_) => 12,
            Self::AesGcm16(_) | Self::ChaCha20Poly1305 => 16,
        }
    }

    /// Octets the plaintext must be a multiple of: 16 for CBC, 1 for an AEAD. (ESP aligns to 4 besides.)
    #[must_use]
    pub const fn block(self) -> usize {
        if self.is_aead() { 1 } else { 16 }
    }

    /// Whether the algorithm authenticates too, and so takes no integrity algorithm beside it.
    #[must_use]
    pub const fn is_aead(self) -> bool {
        match self {
            Self::AesCbc(_) => false,
            Self::AesGcm8(_) | Self::AesGcm12(_) | Self::AesGcm16(_) | Self::ChaCha20Poly1305 => true,
        }
    }

    /// The strongSwan keyword, as in `aes256gcm16`.
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

    pub(crate) fn key_bits(self) -> Option<u16> {
        self.iana().1
    }
}

impl fmt::Display for Encr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::AesCbc(_) => "ENCR_AES_CBC",
            Self::AesGcm8(_) => "ENCR_AES_GCM_8",
            Self::AesGcm12(_) => "ENCR_AES_GCM_12",
            Self::AesGcm16(_) => "ENCR_AES_GCM_16",
            Self::ChaCha20Poly1305 => "ENCR_CHACHA20_POLY1305",
        };
        match self.key_bits() {
            Some(bits) => write!(f, "{name}_{bits}"),
            None => f.write_str(name),
        }
    }
}

/// The first word of an algorithm is the one it is shown by.
const KEYWORDS: &[(&str, Encr)] = &[
    ("aes128", Encr::AesCbc(KeyBits::B128)),
    ("aes", Encr::AesCbc(KeyBits::B128)),
    ("aes192", Encr::AesCbc(KeyBits::B192)),
    ("aes256", Encr::AesCbc(KeyBits::B256)),
    ("aes128gcm8", Encr::AesGcm8(KeyBits::B128)),
    ("aes128gcm64", Encr::AesGcm8(KeyBits::B128)),
    ("aes192gcm8", Encr::AesGcm8(KeyBits::B192)),
    ("aes192gcm64", Encr::AesGcm8(KeyBits::B192)),
    ("aes256gcm8", Encr::AesGcm8(KeyBits::B256)),
    ("aes256gcm64", Encr::AesGcm8(KeyBits::B256)),
    ("aes128gcm12", Encr::AesGcm12(KeyBits::B128)),
    ("aes128gcm96", Encr::AesGcm12(KeyBits::B128)),
    ("aes192gcm12", Encr::AesGcm12(KeyBits::B192)),
    ("aes192gcm96", Encr::AesGcm12(KeyBits::B192)),
    ("aes256gcm12", Encr::AesGcm12(KeyBits::B256)),
    ("aes256gcm96", Encr::AesGcm12(KeyBits::B256)),
    ("aes128gcm16", Encr::AesGcm16(KeyBits::B128)),
    ("aes128gcm128", Encr::AesGcm16(KeyBits::B128)),
    ("aes128gcm", Encr::AesGcm16(KeyBits::B128)),
    ("aes192gcm16", Encr::AesGcm16(KeyBits::B192)),
    ("aes192gcm128", Encr::AesGcm16(KeyBits::B192)),
    ("aes192gcm", Encr::AesGcm16(KeyBits::B192)),
    ("aes256gcm16", Encr::AesGcm16(KeyBits::B256)),
    ("aes256gcm128", Encr::AesGcm16(KeyBits::B256)),
    ("aes256gcm", Encr::AesGcm16(KeyBits::B256)),
    ("chacha20poly1305", Encr::ChaCha20Poly1305),
];
