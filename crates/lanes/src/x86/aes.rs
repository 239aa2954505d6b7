//! AES (FIPS 197) by the processor's own rounds, strung together as CBC.

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, ROUND_KEYS, STREAMS, Schedule};
use crate::x86::chains::encipher;

/// Expands a key of 16, 24 or 32 octets (FIPS 197 §5.2, §5.3.5).
///
/// # Safety
/// The processor has AES.
#[target_feature(enable = "aes,sse2")]
pub(crate) unsafe fn expand(key: &[u8], keys: &mut Schedule) {
    let words = key.len() / 4;
    let count = 4 * (keys.rounds + 1);
    let mut schedule = [0u32; 4 * ROUND_KEYS];
    for (word, octets) in schedule.iter_mut().zip(key.chunks_exact(4)) {
        *word = octets.try_into().map_or(0, u32::from_le_bytes);
    }
    let mut constant = 1u32;
    for at in words..count {
        let mut last = schedule[at - 1];
        if at % words == 0 {
            last = substitute(last).rotate_right(8) ^ constant;
            // Doubling in the field of FIPS 197 §4.2.
            constant = (constant << 1) ^ ((constant >> 7) * 0x11b);
        } else if words > 6 && at % words == 4 {
            last = substitute(last);
        }
        schedule[at] = schedule[at - words] ^ last;
    }
    for (block, words) in keys.encrypt.iter_mut().zip(schedule.chunks_exact(4)).take(keys.rounds + 1) {
        for (octets, word) in block.chunks_exact_mut(4).zip(words) {
            octets.copy_from_slice(&word.to_le_bytes());
        }
    }
    // The equivalent inverse cipher: the same keys backwards, the middle ones with their columns mixed.
    for round in 0..=keys.rounds {
        // SAFETY: both are sixteen octets.
        unsafe {
            let mut key = _mm_loadu_si128(keys.encrypt[keys.rounds - round].as_ptr().cast());
            if round != 0 && round != keys.rounds {
                key = _mm_aesimc_si128(key);
            }
            _mm_storeu_si128(keys.decrypt[round].as_mut_ptr().cast(), key);
        }
    }
    zeroize::Zeroize::zeroize(&mut schedule);
}

/// The S-box over the octets of a word, without a table.
#[target_feature(enable = "aes,sse2")]
fn substitute(word: u32) -> u32 {
    _mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(_mm_set1_epi32(word.cast_signed()))).cast_unsigned()
}

/// Calls a function made for the number of rounds and, where it has one, a width.
macro_rules! by_rounds {
    ($keys:expr, $function:ident [$($width:literal)?] $arguments:tt) => {
        match $keys.rounds {
            10 => $function::<10 $(, $width)?> $arguments,
            12 => $function::<12 $(, $width)?> $arguments,
            _ => $function::<14 $(, $width)?> $arguments,
        }
    };
}

/// Enciphers `blocks` blocks of each stream. A place is a stream's block before the first of them, which it
/// is chained to.
///
/// # Safety
/// The processor has AVX-512F and VAES. Every place may be written for one block more than `blocks`; places
/// past the first `streams` repeat the first one, others do not overlap.
#[target_feature(enable = "avx512f,vaes")]
pub(crate) unsafe fn encrypt_512(
    keys: &Schedule,
    places: &[*mut u8; STREAMS],
    streams: usize,
    blocks: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match streams {
            0..=4 => by_rounds!(keys, encipher[1](keys, places, blocks)),
            5..=8 => by_rounds!(keys, encipher[2](keys, places, blocks)),
            9..=16 => by_rounds!(keys, encipher[4](keys, places, blocks)),
            17..=24 => by_rounds!(keys, encipher[6](keys, places, blocks)),
            _ => by_rounds!(keys, encipher[8](keys, places, blocks)),
        }
    }
}

/// A round key in all four lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn broadcast(key: &[u8; BLOCK]) -> __m512i {
    // SAFETY: a key is sixteen octets.
    unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(key.as_ptr().cast())) }
}

/// As [`encrypt_512`], eight streams at most.
///
/// # Safety
/// The processor has AES and AVX2; else as there.
#[target_feature(enable = "aes,avx2")]
pub(crate) unsafe fn encrypt_128(
    keys: &Schedule,
    places: &[*mut u8; STREAMS],
    streams: usize,
    blocks: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match streams {
            0..=1 => by_rounds!(keys, narrow_encrypt[1](keys, places, blocks)),
            2..=4 => by_rounds!(keys, narrow_encrypt[4](keys, places, blocks)),
            _ => by_rounds!(keys, narrow_encrypt[8](keys, places, blocks)),
        }
    }
}

/// A stream a register.
#[target_feature(enable = "aes,avx2")]
unsafe fn narrow_encrypt<const ROUNDS: usize, const WIDTH: usize>(
    keys: &Schedule,
    places: &[*mut u8; STREAMS],
    blocks: usize,
) {
    // SAFETY: the caller's promise; all reads of a step come before its writes, so that
    // lanes which repeat a stream read what it reads.
    unsafe {
        let key = |round: usize| _mm_loadu_si128(keys.encrypt[round].as_ptr().cast());
        let mut chains = [_mm_setzero_si128(); WIDTH];
        for (chain, place) in chains.iter_mut().zip(places) {
            *chain = _mm_loadu_si128(place.cast());
        }
        for block in 1..=blocks {
            for (chain, place) in chains.iter_mut().zip(places) {
                let text = _mm_loadu_si128(place.add(block * BLOCK).cast());
                *chain = _mm_xor_si128(*chain, _mm_xor_si128(text, key(0)));
            }
            for round in 1..ROUNDS {
                let key = key(round);
                for chain in &mut chains {
                    *chain = _mm_aesenc_si128(*chain, key);
                }
            }
            for (chain, place) in chains.iter_mut().zip(places) {
                *chain = _mm_aesenclast_si128(*chain, key(ROUNDS));
                _mm_storeu_si128(place.add(block * BLOCK).cast(), *chain);
            }
        }
    }
}

/// Deciphers `blocks` blocks in place behind the one at `stream`, which they are chained to.
///
/// # Safety
/// The processor has AVX-512F and VAES; `stream` may be written for one block more than `blocks`.
#[target_feature(enable = "avx512f,vaes")]
pub(crate) unsafe fn decrypt_512(keys: &Schedule, stream: *mut u8, blocks: usize) {
    // SAFETY: the caller's promise.
    unsafe { by_rounds!(keys, wide_decrypt [] (keys, stream, blocks)) }
}

#[target_feature(enable = "avx512f,vaes")]
unsafe fn wide_decrypt<const ROUNDS: usize>(keys: &Schedule, stream: *mut u8, blocks: usize) {
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller's promise; no piece is longer than what is left.
    unsafe {
        let mut wide = [_mm512_setzero_si512(); ROUND_KEYS];
        wide.iter_mut().zip(&keys.decrypt).for_each(|(wide, key)| *wide = broadcast(key));
        // The last block before what follows, in the highest quarter: what was enciphered is overwritten.
        let mut before = _mm512_broadcast_i32x4(_mm_loadu_si128(stream.cast()));
        let (mut at, end) = (stream.add(BLOCK), stream.add((blocks + 1) * BLOCK));
        let left = |at: *mut u8| end.offset_from(at).cast_unsigned() / BLOCK;
        while left(at) >= 32 {
            at = wide_piece::<ROUNDS, 8>(&wide, at, &mut before, u8::MAX);
        }
        if left(at) >= 16 {
            at = wide_piece::<ROUNDS, 4>(&wide, at, &mut before, u8::MAX);
        }
        while left(at) >= 4 {
            at = wide_piece::<ROUNDS, 1>(&wide, at, &mut before, u8::MAX);
        }
        let rest = left(at);
        if rest > 0 {
            wide_piece::<ROUNDS, 1>(&wide, at, &mut before, (1 << (2 * rest)) - 1);
        }
    }
}

/// Deciphers four blocks a register, of which `mask` says which halves of blocks there are; gives where
/// the next piece begins.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
unsafe fn wide_piece<const ROUNDS: usize, const REGISTERS: usize>(
    keys: &[__m512i; ROUND_KEYS],
    at: *mut u8,
    before: &mut __m512i,
    mask: u8,
) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        let mut texts = [_mm512_setzero_si512(); REGISTERS];
        let mut chains = [_mm512_setzero_si512(); REGISTERS];
        for (register, (text, chain)) in texts.iter_mut().zip(&mut chains).enumerate() {
            let enciphered = _mm512_maskz_loadu_epi64(mask, at.add(64 * register).cast());
            *chain = _mm512_alignr_epi64::<6>(enciphered, *before);
            *before = enciphered;
            *text = _mm512_xor_si512(enciphered, keys[0]);
        }
        for key in keys.iter().take(ROUNDS).skip(1) {
            for text in &mut texts {
                *text = _mm512_aesdec_epi128(*text, *key);
            }
        }
        for (register, (text, chain)) in texts.iter().zip(&chains).enumerate() {
            let clear = _mm512_xor_si512(_mm512_aesdeclast_epi128(*text, keys[ROUNDS]), *chain);
            _mm512_mask_storeu_epi64(at.add(64 * register).cast(), mask, clear);
        }
        at.wrapping_add(64 * REGISTERS)
    }
}

/// As [`decrypt_512`].
///
/// # Safety
/// The processor has AES and AVX2; else as there.
#[target_feature(enable = "aes,avx2")]
pub(crate) unsafe fn decrypt_128(keys: &Schedule, stream: *mut u8, blocks: usize) {
    // SAFETY: the caller's promise.
    unsafe { by_rounds!(keys, narrow_decrypt [] (keys, stream, blocks)) }
}

#[target_feature(enable = "aes,avx2")]
unsafe fn narrow_decrypt<const ROUNDS: usize>(keys: &Schedule, stream: *mut u8, blocks: usize) {
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller's promise; no piece is longer than what is left.
    unsafe {
        let mut before = _mm_loadu_si128(stream.cast());
        let mut done = 1;
        while blocks + 1 - done >= 8 {
            narrow_piece::<ROUNDS, 8>(keys, stream.add(done * BLOCK), &mut before);
            done += 8;
        }
        while done <= blocks {
            narrow_piece::<ROUNDS, 1>(keys, stream.add(done * BLOCK), &mut before);
            done += 1;
        }
    }
}

#[inline]
#[target_feature(enable = "aes,avx2")]
unsafe fn narrow_piece<const ROUNDS: usize, const WIDTH: usize>(
    keys: &Schedule,
    at: *mut u8,
    before: &mut __m128i,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let key = |round: usize| _mm_loadu_si128(keys.decrypt[round].as_ptr().cast());
        let enciphered = |block: usize| _mm_loadu_si128(at.add(block * BLOCK).cast());
        let mut texts = [_mm_setzero_si128(); WIDTH];
        for (block, text) in texts.iter_mut().enumerate() {
            *text = _mm_xor_si128(enciphered(block), key(0));
        }
        for round in 1..ROUNDS {
            let key = key(round);
            for text in &mut texts {
                *text = _mm_aesdec_si128(*text, key);
            }
        }
        for (block, text) in texts.iter().enumerate() {
            let next = enciphered(block);
            let clear = _mm_xor_si128(_mm_aesdeclast_si128(*text, key(ROUNDS)), *before);
            _mm_storeu_si128(at.add(block * BLOCK).cast(), clear);
            *before = next;
        }
    }
}
