//! Counter mode and GHASH in 512-bit registers, four of them at a time.
//!
//! GHASH numbers its bits the other way round than a processor does. With the octets of a block reversed and
//! the hash key multiplied by x beforehand, a carry-less product comes out right but for its reduction, which
//! two more multiplications by the polynomial do (Gueron, Kounavis: Intel Carry-Less Multiplication Instruction
//! and its Usage for Computing the GCM Mode).

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, Schedule};
use crate::gcm::{Powers, STRIDE};

/// Octets of four registers.
const CHUNK: usize = BLOCK * STRIDE;
/// x^128 + x^127 + x^126 + x^121 + 1, reflected.
const POLYNOMIAL: u128 = 0xc200_0000_0000_0000_0000_0000_0000_0001;

/// A product not yet reduced, in each 128-bit lane: its low, middle and high part.
#[derive(Clone, Copy)]
struct Product {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

/// The powers of the hash key, which is the enciphered zero block.
///
/// # Safety
/// The processor has AES and PCLMULQDQ.
#[target_feature(enable = "aes,pclmulqdq,sse4.1,ssse3")]
pub(crate) unsafe fn powers(keys: &Schedule, powers: &mut Powers) {
    let key = u128::from_be_bytes(bytes(encrypt_block(keys, _mm_setzero_si128())));
    // Times x. Without a branch, as the carry is a secret.
    let key = (key << 1) ^ (POLYNOMIAL & 0_u128.wrapping_sub(key >> 127));
    let key = vector(key.to_le_bytes());
    let mut power = key;
    for slot in powers.0[..STRIDE].iter_mut().rev() {
        *slot = bytes(power);
        power = multiply(power, key);
    }
}

/// Enciphers (`SEAL`) or deciphers `text` in place under a key of `R` rounds; the tag.
///
/// # Safety
/// The processor has AES, VAES, PCLMULQDQ, VPCLMULQDQ and AVX-512 F, BW, VL.
#[target_feature(enable = "aes,pclmulqdq,sse4.1,ssse3,avx,avx2,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
pub(crate) unsafe fn work<const R: usize, const SEAL: bool>(
    keys: &Schedule,
    powers: &Powers,
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
) -> [u8; BLOCK] {
    let round: [__m512i; 15] = core::array::from_fn(|at| _mm512_broadcast_i32x4(vector(keys.encrypt[at])));
    let bits = |octets: usize| (octets as i64) << 3;
    let lengths = _mm_set_epi64x(bits(aad.len()), bits(text.len()));
    let first = first_counter(nonce);
    let mut counter = _mm512_add_epi32(_mm512_broadcast_i32x4(first), by_lane([1, 2, 3, 4]));
    let mut hash = hash_aad(powers, aad);
    let (chunks, tail) = text.as_chunks_mut::<CHUNK>();
    let mut before: Option<&[u8; CHUNK]> = None;
    for chunk in chunks {
        // What was sealed is hashed a turn later, when it need not be waited for.
        let hashed = if SEAL { before } else { Some(&*chunk) };
        if let Some(hashed) = hashed {
            hash = hash_chunk(powers, hash, hashed);
        }
        counter = crypt_chunk::<R>(&round, counter, chunk);
        before = Some(chunk);
    }
    if let (true, Some(last)) = (SEAL, before) {
        hash = hash_chunk(powers, hash, last);
    }
    hash = work_tail::<R, SEAL>(&round, powers, counter, hash, tail);
    hash = multiply(_mm_xor_si128(hash, lengths), vector(powers.0[STRIDE - 1]));
    let mask = encrypt_block(keys, reverse(first));
    bytes(_mm_xor_si128(reverse(hash), mask))
}

/// The counter block that masks the tag, reversed so that its counter is the lowest word.
#[target_feature(enable = "ssse3")]
fn first_counter(nonce: &[u8; 12]) -> __m128i {
    let mut block = [0; BLOCK];
    block[..12].copy_from_slice(nonce);
    block[BLOCK - 1] = 1;
    reverse(vector(block))
}

/// Additional data is short: block by block.
#[target_feature(enable = "pclmulqdq,sse4.1,ssse3")]
fn hash_aad(powers: &Powers, aad: &[u8]) -> __m128i {
    let key = vector(powers.0[STRIDE - 1]);
    let mut hash = _mm_setzero_si128();
    for part in aad.chunks(BLOCK) {
        let mut block = [0; BLOCK];
        block[..part.len()].copy_from_slice(part);
        hash = multiply(_mm_xor_si128(hash, reverse(vector(block))), key);
    }
    hash
}

/// Exclusive-ors sixteen key stream blocks into a chunk; the next counters.
#[target_feature(enable = "avx512f,avx512bw,vaes")]
fn crypt_chunk<const R: usize>(round: &[__m512i; 15], counter: __m512i, chunk: &mut [u8; CHUNK]) -> __m512i {
    let four = by_lane([4, 4, 4, 4]);
    let mut counters = [counter; 4];
    for at in 1..4 {
        counters[at] = _mm512_add_epi32(counters[at - 1], four);
    }
    let mut state = counters.map(|one| _mm512_xor_si512(reverse_each(one), round[0]));
    for key in &round[1..R] {
        for one in &mut state {
            *one = _mm512_aesenc_epi128(*one, *key);
        }
    }
    let (parts, _) = chunk.as_chunks_mut::<64>();
    for (part, one) in parts.iter_mut().zip(state) {
        let key = _mm512_xor_si512(round[R], load(part));
        store(part, _mm512_aesenclast_epi128(one, key));
    }
    _mm512_add_epi32(counters[3], four)
}

/// Takes sixteen blocks of ciphertext into the hash.
#[target_feature(enable = "avx2,avx512f,avx512bw,vpclmulqdq,pclmulqdq,sse4.1")]
fn hash_chunk(powers: &Powers, hash: __m128i, chunk: &[u8; CHUNK]) -> __m128i {
    let (parts, _) = chunk.as_chunks::<64>();
    let mut sum: Option<Product> = None;
    for (at, part) in parts.iter().enumerate() {
        let mut blocks = reverse_each(load(part));
        if at == 0 {
            blocks = _mm512_xor_si512(blocks, _mm512_zextsi128_si512(hash));
        }
        sum = Some(add_product(sum, blocks, four_powers(powers, 4 * at)));
    }
    match sum {
        Some(sum) => reduce_lanes(sum),
        None => hash,
    }
}

/// What is less than a chunk: its last register may be partly empty.
#[target_feature(enable = "avx2,avx512f,avx512bw,vaes,vpclmulqdq,pclmulqdq,sse4.1")]
fn work_tail<const R: usize, const SEAL: bool>(
    round: &[__m512i; 15],
    powers: &Powers,
    mut counter: __m512i,
    hash: __m128i,
    tail: &mut [u8],
) -> __m128i {
    let mut power = STRIDE - tail.len().div_ceil(BLOCK);
    let mut carried = _mm512_zextsi128_si512(hash);
    let mut sum: Option<Product> = None;
    for part in tail.chunks_mut(64) {
        let mut state = _mm512_xor_si512(reverse_each(counter), round[0]);
        for key in &round[1..R] {
            state = _mm512_aesenc_epi128(state, *key);
        }
        state = _mm512_aesenclast_epi128(state, round[R]);
        counter = _mm512_add_epi32(counter, by_lane([4, 4, 4, 4]));
        let filled = u64::MAX >> (64 - part.len());
        // SAFETY: the mask has a bit for each octet of the part, and no octet without one is touched.
        let text = unsafe { _mm512_maskz_loadu_epi8(filled, part.as_ptr().cast()) };
        let other = _mm512_maskz_mov_epi8(filled, _mm512_xor_si512(state, text));
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi8(part.as_mut_ptr().cast(), filled, other) };
        let blocks = _mm512_xor_si512(reverse_each(if SEAL { other } else { text }), carried);
        carried = _mm512_setzero_si512();
        // Lanes without a block meet the zeros behind the first power.
        sum = Some(add_product(sum, blocks, four_powers(powers, power)));
        power += 4;
    }
    match sum {
        Some(sum) => reduce_lanes(sum),
        None => hash,
    }
}

/// Adds the products of four blocks with four powers.
#[target_feature(enable = "avx512f,vpclmulqdq")]
fn add_product(sum: Option<Product>, a: __m512i, b: __m512i) -> Product {
    let low = _mm512_clmulepi64_epi128::<0x00>(a, b);
    let (one, other) = (_mm512_clmulepi64_epi128::<0x01>(a, b), _mm512_clmulepi64_epi128::<0x10>(a, b));
    let high = _mm512_clmulepi64_epi128::<0x11>(a, b);
    match sum {
        None => Product { low, middle: _mm512_xor_si512(one, other), high },
        Some(sum) => Product {
            low: _mm512_xor_si512(sum.low, low),
            middle: _mm512_ternarylogic_epi64::<0x96>(sum.middle, one, other),
            high: _mm512_xor_si512(sum.high, high),
        },
    }
}

/// The sum of the lanes, reduced.
#[target_feature(enable = "avx2,avx512f,pclmulqdq,sse4.1")]
fn reduce_lanes(sum: Product) -> __m128i {
    reduce(fold(sum.low), fold(sum.middle), fold(sum.high))
}

#[target_feature(enable = "avx2,avx512f")]
fn fold(lanes: __m512i) -> __m128i {
    let half = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn multiply(a: __m128i, b: __m128i) -> __m128i {
    let (one, other) = (_mm_clmulepi64_si128::<0x01>(a, b), _mm_clmulepi64_si128::<0x10>(a, b));
    let (low, high) = (_mm_clmulepi64_si128::<0x00>(a, b), _mm_clmulepi64_si128::<0x11>(a, b));
    reduce(low, _mm_xor_si128(one, other), high)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn reduce(low: __m128i, middle: __m128i, high: __m128i) -> __m128i {
    let polynomial = vector(POLYNOMIAL.to_le_bytes());
    let step = |from, into| {
        let product = _mm_clmulepi64_si128::<0x01>(polynomial, from);
        _mm_xor_si128(_mm_xor_si128(into, product), _mm_shuffle_epi32::<0x4e>(from))
    };
    step(step(low, middle), high)
}

/// One block, as it is wanted a few times a packet.
#[target_feature(enable = "aes,sse4.1")]
fn encrypt_block(keys: &Schedule, block: __m128i) -> __m128i {
    let mut state = _mm_xor_si128(block, vector(keys.encrypt[0]));
    for key in &keys.encrypt[1..keys.rounds] {
        state = _mm_aesenc_si128(state, vector(*key));
    }
    _mm_aesenclast_si128(state, vector(keys.encrypt[keys.rounds]))
}

/// A number for the lowest word of each 128-bit lane.
#[target_feature(enable = "avx512f")]
fn by_lane([a, b, c, d]: [i32; 4]) -> __m512i {
    _mm512_set_epi32(0, 0, 0, d, 0, 0, 0, c, 0, 0, 0, b, 0, 0, 0, a)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn reverse_each(blocks: __m512i) -> __m512i {
    _mm512_shuffle_epi8(blocks, _mm512_broadcast_i32x4(backwards()))
}

#[target_feature(enable = "ssse3")]
fn reverse(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, backwards())
}

#[target_feature(enable = "sse2")]
fn backwards() -> __m128i {
    _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

#[target_feature(enable = "avx512f")]
fn four_powers(powers: &Powers, first: usize) -> __m512i {
    load(powers.0[first..first + 4].as_flattened().first_chunk().unwrap_or(&[0; 64]))
}

#[target_feature(enable = "avx512f")]
fn load(from: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is to 64 octets.
    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn store(to: &mut [u8; 64], what: __m512i) {
    // SAFETY: the reference is to 64 octets.
    unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), what) }
}

#[target_feature(enable = "sse2")]
fn vector(block: [u8; BLOCK]) -> __m128i {
    // SAFETY: the array is sixteen octets.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[target_feature(enable = "sse2")]
fn bytes(block: __m128i) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    // SAFETY: the array is sixteen octets.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), block) };
    out
}
