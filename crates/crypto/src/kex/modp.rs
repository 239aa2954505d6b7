//! Groups modulo a prime: RFC 3526, RFC 7296 appendix B.2 and group 24 of RFC 5114.

use std::sync::LazyLock;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Limb, Odd, U1024, U1536, U2048, U3072, U4096, U6144, U8192, Uint, Word};
use zeroize::Zeroizing;

use super::{BadPublicValue, Modular, primes};
use crate::secret::Secret;

pub(super) static MODP_1024: LazyLock<Modp<{ U1024::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_1024, 256));
pub(super) static MODP_1536: LazyLock<Modp<{ U1536::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_1536, 256));
pub(super) static MODP_2048: LazyLock<Modp<{ U2048::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_2048, 256));
pub(super) static MODP_3072: LazyLock<Modp<{ U3072::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_3072, 320));
pub(super) static MODP_4096: LazyLock<Modp<{ U4096::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_4096, 384));
pub(super) static MODP_6144: LazyLock<Modp<{ U6144::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_6144, 448));
pub(super) static MODP_8192: LazyLock<Modp<{ U8192::LIMBS }>> =
    LazyLock::new(|| Modp::safe_prime(primes::MODP_8192, 512));
pub(super) static MODP_2048_256: LazyLock<Modp<{ U2048::LIMBS }>> = LazyLock::new(Modp::rfc5114_24);

/// One group, over integers of `L` machine words.
pub(super) struct Modp<const L: usize> {
    params: FixedMontyParams<L>,
    generator: Uint<L>,
    /// Length of our exponents. A safe prime leaves no subgroup to fall into, so the best attack on a short
    /// exponent is the square root one (RFC 7919 §5.2): twice the bits of the group's strength suffice,
    /// which NIST SP 800-57 puts at 112 for 2048 bits, 128 for 3072, 152 for 4096, 176 for 6144 and 200 for
    /// 8192. These lie above, and cost a tenth of an exponent as long as the modulus.
    exponent_bits: u32,
    /// The prime order of the subgroup, where the modulus is not a safe prime.
    order: Option<Uint<L>>,
}

impl<const L: usize> Modp<L> {
    fn safe_prime(modulus: &str, exponent_bits: u32) -> Self {
        Self {
            params: FixedMontyParams::new_vartime(Odd::from_be_hex(modulus)),
            generator: Uint::from_u8(2),
            exponent_bits,
            order: None,
        }
    }

    const OCTETS: usize = L * Limb::BYTES;

    /// Public values need no constant time.
    ///
    /// RFC 6989 §2.1: the peer's value r must be in the range 1 < r < p-1. RFC 6989 §2.2, for a group with
    /// small subgroups: r^q = 1 mod p as well, where q is the order of the subgroup. RFC 6989 asks for the
    /// second check when a private value serves more than once; here it is always made.
    fn check(&self, peer: &Uint<L>) -> Result<(), BadPublicValue> {
        let last = self.params.modulus().as_ref().wrapping_sub(&Uint::ONE);
        if *peer <= Uint::ONE || *peer >= last {
            return Err(BadPublicValue::Range);
        }
        match &self.order {
            None => Ok(()),
            Some(order) => {
                let power = FixedMontyForm::new(peer, &self.params).pow_vartime(order);
                if power.retrieve() == Uint::ONE { Ok(()) } else { Err(BadPublicValue::Subgroup) }
            }
        }
    }

    /// Constant time in base and exponent; the exponent's length is that of the group.
    fn power(&self, base: &Uint<L>, private: &Secret) -> Zeroizing<Uint<L>> {
        let exponent = Zeroizing::new(from_octets::<L>(private));
        let bits = u32::try_from(private.len() * 8).unwrap_or(u32::MAX);
        let base = FixedMontyForm::new(base, &self.params);
        Zeroizing::new(base.pow_amm_bounded_exp(&exponent, bits).retrieve())
    }
}

impl<const L: usize> Modular for Modp<L> {
    /// Octets of a private value.
    fn private_len(&self) -> usize {
        self.exponent_bits as usize / 8
    }

    /// The generator to the power of our private value.
    fn public(&self, private: &Secret) -> Box<[u8]> {
        let value = self.power(&self.generator, private);
        to_octets(&value).collect()
    }

    /// The peer's value to the power of our private value, once it has passed RFC 6989 §2.1 and §2.2.
    fn agree(&self, private: &Secret, peer: &[u8]) -> Result<Secret, BadPublicValue> {
        let peer = from_octets::<L>(peer);
        self.check(&peer)?;
        let shared = self.power(&peer, private);
        let mut secret = Secret::zeroed(Self::OCTETS);
        secret.as_mut_bytes().iter_mut().zip(to_octets(&shared)).for_each(|(to, from)| *to = from);
        Ok(secret)
    }
}

impl Modp<{ U2048::LIMBS }> {
    /// Exponents of 320 bits reach every element of the subgroup of 256-bit order, evenly to 2^-64
    /// (FIPS 186-4 B.1.1), without a draw that may have to be repeated.
    fn rfc5114_24() -> Self {
        let order = Uint::<4>::from_be_hex(primes::MODP_2048_256_ORDER);
        Self {
            params: FixedMontyParams::new_vartime(Odd::from_be_hex(primes::MODP_2048_256)),
            generator: Uint::from_be_hex(primes::MODP_2048_256_GENERATOR),
            exponent_bits: 320,
            order: Some(order.resize()),
        }
    }
}

/// Big-endian octets as an integer; octets beyond its width are left out, missing ones are zero.
fn from_octets<const L: usize>(octets: &[u8]) -> Uint<L> {
    let mut words = Zeroizing::new([0 as Word; L]);
    for (word, octets) in words.iter_mut().zip(octets.rchunks(Limb::BYTES)) {
        *word = octets.iter().fold(0, |high, low| (high << 8) | Word::from(*low));
    }
    Uint::from_words(*words)
}

/// The integer as octets, big endian, at its full width.
fn to_octets<const L: usize>(value: &Uint<L>) -> impl Iterator<Item = u8> {
    value.as_words().iter().rev().flat_map(|word| word.to_be_bytes())
}
