//! The internet checksum's sum at every length and alignment, against the definition of RFC 1071.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use lanes::{Level, copy_and_sum, sum};

/// Word by word.
fn by_definition(bytes: &[u8]) -> u16 {
    let mut total = 0u64;
    for pair in bytes.chunks(2) {
        total += u64::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u64::from);
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn levels() -> impl Iterator<Item = Option<Level>> {
    core::iter::once(None).chain(Level::available().map(Some))
}

fn octets(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn the_example_of_rfc_1071_comes_out() {
    for level in levels() {
        assert_eq!(sum(level, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2, "{level:?}");
    }
}

#[test]
fn every_length_at_every_alignment_has_the_sum_of_the_definition() {
    let source = octets(2048 + 64);
    for len in 0..=2048 {
        for at in 0..64 {
            let bytes = &source[at..at + len];
            let expected = by_definition(bytes);
            for level in levels() {
                assert_eq!(sum(level, bytes), expected, "{level:?}, {len} octets at {at}");
            }
        }
    }
}

#[test]
fn a_copy_is_whole_has_the_same_sum_and_touches_nothing_else() {
    let source = octets(2048 + 64);
    for len in 0..=2048 {
        for at in 0..64 {
            let bytes = &source[at..at + len];
            let expected = by_definition(bytes);
            // To another alignment than from.
            let (start, end) = (64 - at, 64 - at + len);
            for level in levels() {
                let mut to = [0xa5; 2048 + 128];
                assert_eq!(copy_and_sum(level, bytes, &mut to[start..end]), expected, "{level:?} {len} {at}");
                assert!(to[start..end] == *bytes, "{level:?} {len} {at}");
                assert!(to[..start].iter().chain(&to[end..]).all(|octet| *octet == 0xa5), "{level:?} {len}");
            }
        }
    }
}

#[test]
fn carries_are_not_lost() {
    for level in levels() {
        for len in [1, 2, 63, 64, 65, 1500, 65_535] {
            for octet in [0, 1, 0xff] {
                let bytes = vec![octet; len];
                assert_eq!(sum(level, &bytes), by_definition(&bytes), "{level:?}, {len} of {octet}");
            }
        }
    }
}

#[test]
fn slices_of_two_lengths_count_as_the_shorter() {
    let source = octets(200);
    for level in levels() {
        let mut to = [0; 100];
        assert_eq!(copy_and_sum(level, &source, &mut to), by_definition(&source[..100]));
        assert_eq!(to, source[..100]);
        let mut to = [7; 300];
        assert_eq!(copy_and_sum(level, &source, &mut to), by_definition(&source));
        assert!(to[..200] == source && to[200..] == [7; 100]);
    }
}
