//! Diffie-Hellman key exchange (RFC 7296 §1.2, §3.4).

use core::fmt;

use x25519_dalek::StaticSecret;
use zeroize::Zeroizing;

use crate::algorithm::{Group, Prf};
use crate::secret::Secret;

mod ecp;
mod modp;
pub(crate) mod primes;
mod x25519;

/// A private value and the public value that goes into our KE payload.
///
/// Calculations with the private value take the same time whatever it is. It is wiped on drop.
#[derive(Clone)]
pub struct KeyPair {
    group: Group,
    private: Private,
    public: Box<[u8]>,
}

/// The private value, in the form its group computes with.
#[derive(Clone)]
enum Private {
    /// An exponent, big endian, of the length the group asks for.
    Modp(&'static dyn Modular, Secret),
    Ecp256(p256::SecretKey),
    Ecp384(p384::SecretKey),
    Ecp521(p521::SecretKey),
    Curve25519(StaticSecret),
}

/// The peer's KE payload is not a value of the group that RFC 6989 §2 lets us use. Nothing was computed
/// from our private value that the peer can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPublicValue {
    /// Not [`Group::public_len`] octets long.
    #[error("public value of {got} octets, {want} expected")]
    Length {
        /// Octets received.
        got: usize,
        /// Octets the group's values have.
        want: usize,
    },
    /// MODP: 0, 1, p-1 or not below the modulus (RFC 6989 §2.1).
    #[error("public value outside 2..=p-2")]
    Range,
    /// MODP with a small subgroup: not in the prime-order subgroup (RFC 6989 §2.2).
    #[error("public value outside the prime-order subgroup")]
    Subgroup,
    /// ECP: coordinates not below the field's prime, or no point of the curve (RFC 6989 §2.3).
    #[error("public value is no point of the curve")]
    NotOnCurve,
    /// Curve25519: the shared secret is all zero, so the value has small order (RFC 7748 §6.1).
    #[error("public value of small order")]
    SmallOrder,
}

impl KeyPair {
    /// A fresh key pair. The seed must be random, secret and used for this one pair; for the larger MODP
    /// groups this takes milliseconds.
    #[must_use]
    pub fn generate(group: Group, seed: [u8; 32]) -> Self {
        Self::from_private(group, Private::draw(group, &Zeroizing::new(seed)))
    }

    fn from_private(group: Group, private: Private) -> Self {
        let public = match &private {
            Private::Modp(modular, exponent) => modular.public(exponent),
            Private::Ecp256(key) => ecp::public(key),
            Private::Ecp384(key) => ecp::public(key),
            Private::Ecp521(key) => ecp::public(key),
            Private::Curve25519(key) => x25519::public(key),
        };
        Self { group, private, public }
    }

    /// A key pair of a known private value, as published vectors give it; `None` when it is none of the
    /// group.
    #[cfg(test)]
    pub(crate) fn with_private(group: Group, octets: &[u8]) -> Option<Self> {
        let private = match Private::draw(group, &[0; 32]) {
            Private::Modp(modular, _) => Private::Modp(modular, Secret::new(octets)),
            Private::Ecp256(_) => Private::Ecp256(p256::SecretKey::from_slice(octets).ok()?),
            Private::Ecp384(_) => Private::Ecp384(p384::SecretKey::from_slice(octets).ok()?),
            Private::Ecp521(_) => Private::Ecp521(p521::SecretKey::from_slice(octets).ok()?),
            Private::Curve25519(_) => {
                Private::Curve25519(StaticSecret::from(<[u8; 32]>::try_from(octets).ok()?))
            }
        };
        Some(Self::from_private(group, private))
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> Group {
        self.group
    }

    /// The body of our KE payload: [`Group::public_len`] octets.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The shared secret g^ir: [`Group::shared_len`] octets, with leading zeros kept (RFC 7296 §2.14).
    ///
    /// # Errors
    /// [`BadPublicValue`] when the peer's value fails the group's checks.
    pub fn agree(&self, peer_public: &[u8]) -> Result<Secret, BadPublicValue> {
        // RFC 7296 §3.4: "The length of the Diffie-Hellman public value for MODP groups MUST be equal to the
        // length of the prime modulus over which the exponentiation was performed, prepending zero bits to
        // the value if necessary." The other groups fix their lengths as well.
        let length = BadPublicValue::Length { got: peer_public.len(), want: self.group.public_len() };
        if peer_public.len() != self.group.public_len() {
            return Err(length);
        }
        match &self.private {
            Private::Modp(modular, exponent) => modular.agree(exponent, peer_public),
            Private::Ecp256(key) => ecp::agree(key, peer_public),
            Private::Ecp384(key) => ecp::agree(key, peer_public),
            Private::Ecp521(key) => ecp::agree(key, peer_public),
            Private::Curve25519(key) => x25519::agree(key, peer_public.try_into().map_err(|_| length)?),
        }
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.group)
    }
}

impl Private {
    /// Draws a private value from the seed.
    fn draw(group: Group, seed: &[u8; 32]) -> Self {
        match group {
            Group::Ecp256 => {
                Self::Ecp256(draw_until(seed, 32, |octets| p256::SecretKey::from_slice(octets).ok()))
            }
            Group::Ecp384 => {
                Self::Ecp384(draw_until(seed, 48, |octets| p384::SecretKey::from_slice(octets).ok()))
            }
            Group::Ecp521 => Self::Ecp521(draw_until(seed, 66, p521_key)),
            Group::Curve25519 => Self::Curve25519(StaticSecret::from(*seed)),
            Group::Modp1024 => Self::exponent(&*modp::MODP_1024, seed),
            Group::Modp1536 => Self::exponent(&*modp::MODP_1536, seed),
            Group::Modp2048 => Self::exponent(&*modp::MODP_2048, seed),
            Group::Modp3072 => Self::exponent(&*modp::MODP_3072, seed),
            Group::Modp4096 => Self::exponent(&*modp::MODP_4096, seed),
            Group::Modp6144 => Self::exponent(&*modp::MODP_6144, seed),
            Group::Modp8192 => Self::exponent(&*modp::MODP_8192, seed),
            Group::Modp2048s256 => Self::exponent(&*modp::MODP_2048_256, seed),
        }
    }

    /// Zero is drawn with a chance of 2^-256 and drawn again all the same: it would give the secret away.
    fn exponent(modular: &'static dyn Modular, seed: &[u8; 32]) -> Self {
        let nonzero = |octets: &[u8]| octets.iter().any(|octet| *octet != 0).then(|| Secret::new(octets));
        Self::Modp(modular, draw_until(seed, modular.private_len(), nonzero))
    }
}

/// A P-521 scalar has one bit in its first octet.
fn p521_key(octets: &[u8]) -> Option<p521::SecretKey> {
    let mut octets = Secret::new(octets);
    *octets.as_mut_bytes().first_mut()? &= 1;
    p521::SecretKey::from_slice(&octets).ok()
}

/// Draws `len` octets until `accept` takes them, as FIPS 186-4 B.4.2 draws scalars: that the outcome is
/// even among the accepted ones matters more than a fixed number of draws. The first draw is nearly always
/// taken.
fn draw_until<T>(seed: &[u8; 32], len: usize, accept: impl Fn(&[u8]) -> Option<T>) -> T {
    let mut attempt = 0u64;
    let mut octets = Secret::zeroed(len);
    loop {
        Prf::HmacSha2_512.expand(seed, &[LABEL, &attempt.to_be_bytes()], octets.as_mut_bytes());
        if let Some(value) = accept(&octets) {
            return value;
        }
        attempt = attempt.wrapping_add(1);
    }
}

/// Keeps the stream apart from any other use of HMAC under the same octets.
const LABEL: &[u8] = b"key exchange private value";

/// A MODP group of whatever width.
trait Modular: Send + Sync {
    fn private_len(&self) -> usize;
    fn public(&self, private: &Secret) -> Box<[u8]>;
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue>;
}
