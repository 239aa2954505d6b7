//! Sums of 32-bit words in lanes of 64 bits, which cannot overflow below 2^32 octets.

use core::arch::x86_64::*;

use crate::sum::plain;

/// The sum of 32-bit words; what is missing of the last one is zeros.
///
/// # Safety
/// The processor has AVX-512 F and BW.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn sum_512(bytes: &[u8]) -> u64 {
    // SAFETY: nothing is copied.
    unsafe { wide::<false>(bytes, core::ptr::null_mut()) }
}

/// The same of what is copied on the way.
///
/// # Safety
/// The processor has AVX-512 F and BW; both slices are equally long.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn copy_and_sum_512(from: &[u8], to: &mut [u8]) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { wide::<true>(from, to.as_mut_ptr()) }
}

/// # Safety
/// For a copy `to` may be written for as many octets as there are.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn wide<const COPY: bool>(bytes: &[u8], mut to: *mut u8) -> u64 {
    // Sums side by side, as an addition waits for the one before.
    let mut sums = [_mm512_setzero_si512(); 4];
    let low = _mm512_set1_epi64(0xffff_ffff);
    let mut take = |part: &[u8], mask: u64, at: usize| {
        // SAFETY: the mask has a bit for each octet of the part, and no other is read.
        let words = unsafe { _mm512_maskz_loadu_epi8(mask, part.as_ptr().cast()) };
        if COPY {
            // SAFETY: the caller's promise; no octet without a bit is written.
            unsafe { _mm512_mask_storeu_epi8(to.cast(), mask, words) };
            to = to.wrapping_add(64);
        }
        sums[at] = _mm512_add_epi64(sums[at], _mm512_and_si512(words, low));
        sums[at + 1] = _mm512_add_epi64(sums[at + 1], _mm512_srli_epi64::<32>(words));
    };
    let (parts, rest) = bytes.as_chunks::<64>();
    let (fours, parts) = parts.as_chunks::<4>();
    for [a, b, c, d] in fours {
        take(a, u64::MAX, 0);
        take(b, u64::MAX, 2);
        take(c, u64::MAX, 0);
        take(d, u64::MAX, 2);
    }
    parts.iter().for_each(|part| take(part, u64::MAX, 0));
    if !rest.is_empty() {
        take(rest, u64::MAX >> (64 - rest.len()), 2);
    }
    let [a, b, c, d] = sums;
    let sum = _mm512_add_epi64(_mm512_add_epi64(a, b), _mm512_add_epi64(c, d));
    _mm512_reduce_add_epi64(sum).cast_unsigned()
}

/// As [`sum_512`].
///
/// # Safety
/// The processor has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn sum_256(bytes: &[u8]) -> u64 {
    let (parts, rest) = bytes.as_chunks();
    lanes_256(parts.iter()) + plain(rest)
}

/// As [`copy_and_sum_512`].
///
/// # Safety
/// The processor has AVX2; both slices are equally long.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn copy_and_sum_256(from: &[u8], to: &mut [u8]) -> u64 {
    let ((parts, rest), (places, end)) = (from.as_chunks(), to.as_chunks_mut());
    end.copy_from_slice(rest);
    lanes_256(parts.iter().zip(places).map(|(part, place)| {
        *place = *part;
        part
    })) + plain(rest)
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes_256<'a>(parts: impl Iterator<Item = &'a [u8; 32]>) -> u64 {
    let mut sums = [_mm256_setzero_si256(); 2];
    let low = _mm256_set1_epi64x(0xffff_ffff);
    for part in parts {
        // SAFETY: the reference is to 32 octets.
        let words = unsafe { _mm256_loadu_si256(part.as_ptr().cast()) };
        sums[0] = _mm256_add_epi64(sums[0], _mm256_and_si256(words, low));
        sums[1] = _mm256_add_epi64(sums[1], _mm256_srli_epi64::<32>(words));
    }
    let mut lanes = [0u64; 4];
    // SAFETY: the array is 32 octets.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), _mm256_add_epi64(sums[0], sums[1])) };
    lanes.iter().sum()
}
