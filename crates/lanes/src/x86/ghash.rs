//! Single blocks of GCM: products of GHASH (NIST SP 800-38D §6.3), and a block enciphered.
//!
//! GHASH numbers its bits the other way round than a processor does. With the octets of a block reversed and
//! the hash key multiplied by x beforehand, a carry-less product comes out right but for its reduction, which
//! two more multiplications by the polynomial do (Gueron, Kounavis: Intel Carry-Less Multiplication Instruction
//! and its Usage for Computing the GCM Mode).

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, Schedule};

/// x^128 + x^127 + x^126 + x^121 + 1, reflected.
pub(super) const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;

#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let (one, other) = (_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    let (low, high) = (_mm_clmulepi64_si128::<0x00>(a, b), _mm_clmulepi64_si128::<0x11>(a, b));
    reduce(low, _mm_xor_si128(one, other), high)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
pub(super) fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let polynomial = vector(POLYNOMIAL.to_le_bytes());
    let step = |from, into| {
        let product = _mm_clmulepi64_si128::<0x01>(polynomial, from);
        _mm_xor_si128(_mm_xor_si128(into, product), _mm_shuffle_epi32::<0x4e>(from))
    };
    step(step(low, middle), high)
}

/// One block, as it is wanted once a key.
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn encrypt_block(keys: &Schedule, block: __m128i) -> __m128i {
    let mut state = _mm_xor_si128(block, vector(keys.encrypt[0]));
    for key in &keys.encrypt[1..keys.rounds] {
        state = _mm_aesenc_si128(state, vector(*key));
    }
    _mm_aesenclast_si128(state, vector(keys.encrypt[keys.rounds]))
}

#[target_feature(enable = "ssse3")]
pub(super) fn reverse(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, backwards())
}

#[target_feature(enable = "sse2")]
pub(super) fn backwards() -> __m128i {
    _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

#[target_feature(enable = "sse2")]
pub(super) fn vector(block: [u8; BLOCK]) -> __m128i {
    // SAFETY: the array is sixteen octets.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[target_feature(enable = "sse2")]
pub(super) fn bytes(block: __m128i) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    // SAFETY: the array is sixteen octets.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), block) };
    out
}
