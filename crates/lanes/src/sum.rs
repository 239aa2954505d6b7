//! The ones' complement sum of internet checksums (RFC 1071), alone or with a copy that is made anyway.
//!
//! The sum does not depend on byte order (RFC 1071 §2), so words are added as the machine has them, 32 bits in
//! lanes of 64, and only the folded sum is swapped.

use crate::level::Level;
#[cfg(target_arch = "x86_64")]
use crate::{level::Kind, x86::sum};

/// The folded ones' complement sum of `bytes` as big-endian words, not inverted; an odd last octet counts as the
/// high half of a word. For less than 2^32 octets. Without a level, by the processor's plain instructions.
#[must_use]
pub fn sum(level: Option<Level>, bytes: &[u8]) -> u16 {
    fold(match level.map(|level| level.kind) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level says that the instructions are there.
        Some(Kind::Avx512) => unsafe { sum::sum_512(bytes) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Some(Kind::Avx2) => unsafe { sum::sum_256(bytes) },
        _ => plain(bytes),
    })
}

/// Copies `from` to `to` and gives the sum of what was copied, as [`sum`] does. Of slices of two lengths the
/// longer one counts as cut to the shorter.
pub fn copy_and_sum(level: Option<Level>, from: &[u8], to: &mut [u8]) -> u16 {
    let len = from.len().min(to.len());
    let (from, to) = (from.get(..len).unwrap_or_default(), to.get_mut(..len).unwrap_or_default());
    fold(match level.map(|level| level.kind) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level says that the instructions are there; both slices are equally long.
        Some(Kind::Avx512) => unsafe { sum::copy_and_sum_512(from, to) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Some(Kind::Avx2) => unsafe { sum::copy_and_sum_256(from, to) },
        _ => {
            to.copy_from_slice(from);
            plain(from)
        }
    })
}

/// The sum of 32-bit words in the machine's order, not folded; what is missing of the last one is zeros.
pub(crate) fn plain(bytes: &[u8]) -> u64 {
    // Eight lanes of 64 bits, which the compiler makes vectors of.
    let mut lanes = [0u64; 8];
    let (blocks, rest) = bytes.as_chunks::<32>();
    for block in blocks {
        let (words, _) = block.as_chunks::<4>();
        lanes.iter_mut().zip(words).for_each(|(lane, word)| *lane += u64::from(u32::from_ne_bytes(*word)));
    }
    let (words, rest) = rest.as_chunks::<4>();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
    lanes.iter().copied().chain(words).sum()
}

/// Carries go round until 16 bits are left, in the order of the network.
fn fold(total: u64) -> u16 {
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 32) + (total & 0xffff_ffff);
    let total = (total >> 16) + (total & 0xffff);
    let total = (total >> 16) + (total & 0xffff);
    u16::from_be(((total >> 16) + (total & 0xffff)) as u16)
}
