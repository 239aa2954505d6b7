//! The MODP groups against `num-bigint`: the constants themselves, and the exponentiation.

use num_bigint::BigUint;

use super::hex;
use super::kex::modulus;
use crate::kex::primes;
use crate::{Group, KeyPair};

/// RFC 3526 and RFC 7296 appendix B give each prime as a formula over pi.
const FORMULAS: [(Group, u32, u32); 7] = [
    (Group::Modp1024, 1024, 129_093),
    (Group::Modp1536, 1536, 741_804),
    (Group::Modp2048, 2048, 124_476),
    (Group::Modp3072, 3072, 1_690_314),
    (Group::Modp4096, 4096, 240_904),
    (Group::Modp6144, 6144, 929_484),
    (Group::Modp8192, 8192, 4_743_158),
];

#[test]
fn the_primes_are_those_of_the_formula() {
    let pi = pi(PI_BITS);
    for (group, bits, addend) in FORMULAS {
        let power = |exponent: u32| BigUint::from(1u8) << exponent;
        let middle = (&pi >> (PI_BITS - (bits - 130))) + addend;
        let prime = power(bits) - power(bits - 64) - 1u8 + (middle << 64);
        assert_eq!(BigUint::from_bytes_be(&modulus(group).unwrap()), prime, "{group}");
    }
}

/// Fermat's test to base 3: a wrong digit would not survive it.
#[test]
fn the_smaller_primes_are_safe_primes() {
    let three = BigUint::from(3u8);
    for (group, bits, _) in FORMULAS.into_iter().filter(|(_, bits, _)| *bits <= 2048) {
        let prime = BigUint::from_bytes_be(&modulus(group).unwrap());
        let half = (&prime - 1u8) >> 1;
        for number in [prime, half] {
            assert_eq!(three.modpow(&(&number - 1u8), &number), BigUint::from(1u8), "{bits}");
        }
    }
}

/// RFC 5114 §2.3: q divides p-1, and g has order q.
#[test]
fn the_subgroup_of_group_24_has_the_stated_order() {
    let number = |text: &str| BigUint::from_bytes_be(&hex(text));
    let p = number(primes::MODP_2048_256);
    let q = number(primes::MODP_2048_256_ORDER);
    let g = number(primes::MODP_2048_256_GENERATOR);
    assert_eq!((&p - 1u8) % &q, BigUint::from(0u8));
    assert_eq!(g.modpow(&q, &p), BigUint::from(1u8));
    assert_ne!(g, BigUint::from(1u8));
}

#[test]
fn public_values_and_secrets_are_those_of_an_independent_exponentiation() {
    for group in Group::ALL {
        let Some(octets) = modulus(group) else { continue };
        let p = BigUint::from_bytes_be(&octets);
        let g = match group {
            Group::Modp2048s256 => BigUint::from_bytes_be(&hex(primes::MODP_2048_256_GENERATOR)),
            _ => BigUint::from(2u8),
        };
        for (x, y) in [(vec![0x5a; 40], vec![0xff; 32]), (vec![1], vec![0, 0, 3]), (vec![7; 64], vec![9; 64])]
        {
            let (x_pair, y_pair) =
                (KeyPair::with_private(group, &x).unwrap(), KeyPair::with_private(group, &y).unwrap());
            let power = |exponent: &[u8]| g.modpow(&BigUint::from_bytes_be(exponent), &p);
            assert_eq!(BigUint::from_bytes_be(x_pair.public()), power(&x), "{group}");
            let shared = power(&y).modpow(&BigUint::from_bytes_be(&x), &p);
            assert_eq!(BigUint::from_bytes_be(&x_pair.agree(y_pair.public()).unwrap()), shared, "{group}");
        }
    }
}

/// pi scaled by 2^bits, by Machin's formula with guard bits.
fn pi(bits: u32) -> BigUint {
    let unity = BigUint::from(1u8) << (bits + GUARD);
    let scaled = arctan_of_inverse(5, &unity) * 16u8 - arctan_of_inverse(239, &unity) * 4u8;
    scaled >> GUARD
}

fn arctan_of_inverse(x: u32, unity: &BigUint) -> BigUint {
    let zero = BigUint::from(0u8);
    let (mut plus, mut minus) = (zero.clone(), zero.clone());
    let mut term = unity / x;
    let mut n = 1u32;
    while term > zero {
        let part = &term / n;
        if n % 4 == 1 {
            plus += part
        } else {
            minus += part
        }
        term /= x * x;
        n += 2;
    }
    plus - minus
}

const PI_BITS: u32 = 8192;
const GUARD: u32 = 64;
