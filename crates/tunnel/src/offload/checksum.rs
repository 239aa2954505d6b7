//! The internet checksum (RFC 1071) and its repair (RFC 1624).

use std::sync::LazyLock;

use lanes::Level;

/// Asked of the processor once.
static LEVEL: LazyLock<Option<Level>> = LazyLock::new(Level::best);

/// The folded ones' complement sum of `bytes` as big-endian words, not inverted. An odd last octet counts
/// as the high half of a word.
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    if bytes.len() <= HEADERS { few(bytes) } else { lanes::sum(*LEVEL, bytes) }
}

/// The same of a header of known length.
#[inline]
#[must_use]
pub fn header<const N: usize>(bytes: &[u8; N]) -> u16 {
    few(bytes)
}

/// Octets up to which wide registers are not worth their setting up: those of most headers.
const HEADERS: usize = 64;

#[inline]
fn few(bytes: &[u8]) -> u16 {
    let (words, rest) = bytes.as_chunks();
    let mut last = [0; 4];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    // The sum does not depend on the order of octets (RFC 1071 section 2), so only the folded one is swapped.
    let words = words.iter().chain([&last]).map(|word| u64::from(u32::from_ne_bytes(*word)));
    u16::from_be(fold(words.sum()))
}

/// Copies `from` to `to`, which is as long, and sums it as [`sum`] does.
pub fn copy(from: &[u8], to: &mut [u8]) -> u16 {
    lanes::copy_and_sum(*LEVEL, from, to)
}

/// Adds sums.
#[inline]
#[must_use]
pub fn add(parts: &[u16]) -> u16 {
    fold(parts.iter().copied().map(u64::from).sum())
}

/// The sum of the pseudo-header of TCP or UDP (RFC 9293 section 3.1, RFC 8200 section 8.1): `addresses` are
/// both addresses as they stand in the header.
#[inline]
#[must_use]
pub fn pseudo(addresses: &[u8], protocol: u8, length: usize) -> u16 {
    let addresses = if let Some(both) = addresses.as_array::<8>() {
        header(both)
    } else if let Some(both) = addresses.as_array::<32>() {
        header(both)
    } else {
        sum(addresses)
    };
    fold(u64::from(addresses) + u64::from(protocol) + length as u64)
}

/// The checksum field after one word under it changed from `old` to `new` (RFC 1624, equation 3).
#[must_use]
pub fn replace(field: u16, old: u16, new: u16) -> u16 {
    !add(&[!field, !old, new])
}

#[inline]
fn fold(total: u64) -> u16 {
    // Carries go round until none is left: of 64 bits after four times.
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff) + (total >> 16);
    ((total & 0xffff) + (total >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slow(bytes: &[u8]) -> u16 {
        let mut total = 0u64;
        for pair in bytes.chunks(2) {
            total += u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
        }
        while total > 0xffff {
            total = (total & 0xffff) + (total >> 16);
        }
        total as u16
    }

    #[test]
    fn the_example_of_rfc_1071_comes_out() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn all_ones_do_not_overflow() {
        assert_eq!(sum(&[0xff; 65535]), slow(&[0xff; 65535]));
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_slow_one(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(sum(&bytes), slow(&bytes));
        }

        #[test]
        fn replacing_a_word_is_summing_again(
            mut bytes in prop::collection::vec(any::<u8>(), 20..21),
            new: u16,
        ) {
            // Words that are all zero have two representations; a real header is never all zero.
            bytes[0] |= 0x40;
            let field = !sum(&bytes);
            let old = u16::from_be_bytes([bytes[4], bytes[5]]);
            let replaced = replace(field, old, new);
            bytes[4..6].copy_from_slice(&new.to_be_bytes());
            prop_assert_eq!(add(&[replaced, sum(&bytes)]), 0xffff);
        }
    }
}
