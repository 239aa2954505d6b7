//! AES-CBC enciphered in 512-bit registers, four streams in each.
//!
//! A round waits for the one before, so there is time among the rounds of a block to write the block before and to
//! read the next one. All reads in front of the rounds and all writes behind them take a third longer: the
//! processor does not look that far ahead.

use core::arch::x86_64::*;

use crate::cbc::{BLOCK, STREAMS, Schedule};
use crate::x86::aes::broadcast;
use crate::x86::order::{hold, read_again};

/// Enciphers `blocks` blocks of four streams a register, in so many registers; see [`super::aes::encrypt_512`].
///
/// # Safety
/// As there; there are places for all lanes of the registers.
#[target_feature(enable = "avx512f,vaes")]
pub(super) unsafe fn encipher<const ROUNDS: usize, const REGISTERS: usize>(
    keys: &Schedule,
    places: &[*mut u8; STREAMS],
    blocks: usize,
) {
    if blocks == 0 {
        return;
    }
    // SAFETY: the caller's promise; no block past the last is read or written. A block is read two steps before
    // any lane writes it, so that lanes which repeat a stream read what it reads. The first to be written is the one
    // that was there.
    unsafe {
        let mut chains = [_mm512_setzero_si512(); REGISTERS];
        let mut texts = chains;
        for (register, (chain, text)) in chains.iter_mut().zip(&mut texts).enumerate() {
            (*chain, *text) = (load4(places, register, 0), load4(places, register, BLOCK));
        }
        for done in 0..blocks {
            step::<ROUNDS, REGISTERS>(keys, places, [done, blocks.min(done + 2)], &mut chains, &mut texts);
            core::mem::swap(&mut chains, &mut texts);
        }
        for (register, chain) in chains.into_iter().enumerate() {
            store4(places, register, blocks * BLOCK, chain);
        }
    }
}

/// The rounds but for the last. Among them a register is written and another one read, each after its own round.
/// Written out, as the compiler makes a loop of it, which cannot have registers by number.
macro_rules! rounds {
    ($keys:ident, $places:ident, [$write:ident, $read:ident], $chains:ident, $texts:ident, $($at:literal)*) => { $(
        if $at < ROUNDS {
            let key = broadcast(&$keys.encrypt[$at]);
            for text in &mut $texts[..] {
                *text = _mm512_aesenc_epi128(*text, key);
            }
            if $at <= REGISTERS {
                store4($places, $at - 1, $write * BLOCK, $chains[$at - 1]);
            }
            if $at >= 2 && $at - 2 < REGISTERS {
                $chains[$at - 2] = load4($places, $at - 2, $read * BLOCK);
            }
            hold($texts);
        }
    )* };
}

/// Enciphers `texts`, chained to `chains`, while these, the block numbered first of the two, are written, and the
/// block numbered second is read in their place.
///
/// # Safety
/// As [`encipher`]; there are these blocks.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
unsafe fn step<const ROUNDS: usize, const REGISTERS: usize>(
    keys: &Schedule,
    places: &[*mut u8; STREAMS],
    [write, read]: [usize; 2],
    chains: &mut [__m512i; REGISTERS],
    texts: &mut [__m512i; REGISTERS],
) {
    // The shortest key has nine such rounds.
    const { assert!(REGISTERS <= 8) };
    let keys = read_again(keys);
    let key = broadcast(&keys.encrypt[0]);
    for (text, chain) in texts.iter_mut().zip(&*chains) {
        *text = _mm512_ternarylogic_epi64::<0x96>(*chain, *text, key);
    }
    // SAFETY: the caller's promise.
    unsafe {
        rounds!(keys, places, [write, read], chains, texts, 1 2 3 4 5 6 7 8 9 10 11 12 13);
    }
    let key = broadcast(&keys.encrypt[ROUNDS]);
    for text in texts {
        *text = _mm512_aesenclast_epi128(*text, key);
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn load4(places: &[*mut u8; STREAMS], register: usize, offset: usize) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let block = |lane: usize| _mm_loadu_si128(places[4 * register + lane].add(offset).cast());
        let low = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(block(0)), block(1));
        _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(low, block(2)), block(3))
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store4(places: &[*mut u8; STREAMS], register: usize, offset: usize, value: __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        let place = |lane: usize| places[4 * register + lane].add(offset).cast::<__m128i>();
        _mm_storeu_si128(place(0), _mm512_castsi512_si128(value));
        _mm_storeu_si128(place(1), _mm512_extracti32x4_epi32::<1>(value));
        _mm_storeu_si128(place(2), _mm512_extracti32x4_epi32::<2>(value));
        _mm_storeu_si128(place(3), _mm512_extracti32x4_epi32::<3>(value));
    }
}
