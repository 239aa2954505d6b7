//! Products of GHASH (NIST SP 800-38D §6.3), of single blocks and of four in a register, and a block enciphered.
//!
//! GHASH numbers its bits the other way round than a processor does. With the octets of a block reversed and
//! the hash key multiplied by x beforehand, a carry-less product comes out right but for its reduction, which
//! two more multiplications by the polynomial do (Gueron, Kounavis: Intel Carry-Less Multiplication Instruction
//! and its Usage for Computing the GCM Mode).

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, Schedule};
use crate::gcm::Key;

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

/// Products not yet reduced, in each 128-bit lane: the low halves', that of the halves' sums (Karatsuba), and the
/// high halves'.
#[derive(Clone, Copy)]
pub(super) struct Product(pub(super) [__m512i; 3]);

pub(super) const NOTHING: Product = {
    // SAFETY: any bits are a register's.
    Product([unsafe { core::mem::zeroed() }; 3])
};

/// Powers of the hash key from one of them on, four in a register, and the sums of their halves.
#[derive(Clone, Copy)]
pub(super) struct Powers {
    powers: *const [u8; BLOCK],
    sums: *const [u8; BLOCK],
}

impl Powers {
    /// From this register of the table on.
    #[inline]
    pub(super) fn at(key: &Key, register: usize) -> Self {
        Self { powers: key.powers.as_ptr(), sums: key.sums.as_ptr() }.of(register)
    }

    /// As many registers further.
    #[inline]
    pub(super) fn of(self, registers: usize) -> Self {
        Self { powers: self.powers.wrapping_add(4 * registers), sums: self.sums.wrapping_add(4 * registers) }
    }
}

/// Adds the products of a register with the powers.
///
/// # Safety
/// The powers are at least four before the table's end, and at a whole register.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) unsafe fn add(a: __m512i, powers: Powers, Product([low, middle, high]): &mut Product) {
    // SAFETY: the caller's promise.
    let (b, y) = unsafe { (_mm512_load_si512(powers.powers.cast()), _mm512_load_si512(powers.sums.cast())) };
    let x = halves([a, a]);
    *low = _mm512_xor_si512(*low, _mm512_clmulepi64_epi128::<0x00>(a, b));
    *middle = _mm512_xor_si512(*middle, _mm512_clmulepi64_epi128::<0x00>(x, y));
    *high = _mm512_xor_si512(*high, _mm512_clmulepi64_epi128::<0x11>(a, b));
}

/// Adds the products of two registers, whose sums of halves share one.
///
/// # Safety
/// The powers are at least eight before the table's end, and at a whole register.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) unsafe fn add_pair(a: [__m512i; 2], powers: Powers, Product([low, middle, high]): &mut Product) {
    // SAFETY: the caller's promise.
    let of = |from: *const [u8; BLOCK]| unsafe {
        [_mm512_load_si512(from.cast()), _mm512_load_si512(from.wrapping_add(4).cast())]
    };
    let (b, x, y) = (of(powers.powers), halves(a), of(powers.sums));
    *low = add_both(*low, [0, 1].map(|n| _mm512_clmulepi64_epi128::<0x00>(a[n], b[n])));
    let middles = [_mm512_clmulepi64_epi128::<0x00>(x, y[0]), _mm512_clmulepi64_epi128::<0x11>(x, y[1])];
    *middle = add_both(*middle, middles);
    *high = add_both(*high, [0, 1].map(|n| _mm512_clmulepi64_epi128::<0x11>(a[n], b[n])));
}

/// Adds the products of eight registers.
///
/// # Safety
/// As for [`add_pair`], of eight registers.
#[inline]
#[target_feature(enable = "avx512f,vpclmulqdq")]
pub(super) unsafe fn add_all(all: [__m512i; 8], powers: Powers, sum: &mut Product) {
    for (n, pair) in all.as_chunks().0.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { add_pair(*pair, powers.of(2 * n), sum) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_both(sum: __m512i, [one, other]: [__m512i; 2]) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(sum, one, other)
}

/// The sums of the halves of each lane: of the one register in the low half, of the other in the high.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn halves([one, other]: [__m512i; 2]) -> __m512i {
    _mm512_xor_si512(_mm512_unpacklo_epi64(one, other), _mm512_unpackhi_epi64(one, other))
}

/// The sum of the lanes, reduced.
#[inline]
#[target_feature(enable = "avx2,avx512f,pclmulqdq,sse4.1")]
pub(super) fn reduce_lanes(Product([low, middle, high]): Product) -> __m128i {
    let (low, high) = (fold(low), fold(high));
    reduce(low, _mm_xor_si128(fold(middle), _mm_xor_si128(low, high)), high)
}

#[inline]
#[target_feature(enable = "avx2,avx512f")]
fn fold(lanes: __m512i) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
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
