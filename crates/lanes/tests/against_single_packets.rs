//! Every result is that of the single-packet crates, at every level of this processor, for every length.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use hmac::{Hmac as OneHmac, Mac};
use lanes::{Cbc, Hash, Hmac, Job, Level};
use proptest::prelude::*;

const HASHES: [Hash; 4] = [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512];

/// Octets that repeat in no block.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u32 | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn expected_code(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    fn run<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
        let mut mac = <M as KeyInit>::new_from_slice(key).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().to_vec()
    }
    match hash {
        Hash::Sha1 => run::<OneHmac<sha1::Sha1>>(key, parts),
        Hash::Sha256 => run::<OneHmac<sha2::Sha256>>(key, parts),
        Hash::Sha384 => run::<OneHmac<sha2::Sha384>>(key, parts),
        Hash::Sha512 => run::<OneHmac<sha2::Sha512>>(key, parts),
    }
}

/// CBC by the book: one block after the other.
fn expected_text(key: &[u8], stream: &[u8]) -> Vec<u8> {
    fn run<C: BlockCipherEncrypt + KeyInit>(key: &[u8], stream: &[u8]) -> Vec<u8> {
        let cipher = C::new_from_slice(key).unwrap();
        let mut done = stream.to_vec();
        for at in (16..stream.len() / 16 * 16).step_by(16) {
            let mut block: Vec<u8> =
                done[at..at + 16].iter().zip(&done[at - 16..]).map(|(a, b)| a ^ b).collect();
            cipher.encrypt_block(Array::try_from_mut_slice(&mut block));
            done[at..at + 16].copy_from_slice(&block);
        }
        done
    }
    match key.len() {
        16 => run::<aes::Aes128>(key, stream),
        24 => run::<aes::Aes192>(key, stream),
        _ => run::<aes::Aes256>(key, stream),
    }
}

trait TryFromMut {
    fn try_from_mut_slice(slice: &mut [u8]) -> &mut Self;
}

impl<U: aes::cipher::array::ArraySize> TryFromMut for Array<u8, U> {
    fn try_from_mut_slice(slice: &mut [u8]) -> &mut Self {
        slice.try_into().unwrap()
    }
}

/// The codes of a batch, each cut to `cut` octets.
fn codes(mac: &Hmac, texts: &[(Vec<u8>, Option<[u8; 4]>)], cut: usize) -> Vec<Vec<u8>> {
    let mut codes = vec![vec![0xee; cut]; texts.len()];
    let mut jobs: Vec<Job<'_>> = texts
        .iter()
        .zip(&mut codes)
        .map(|((text, suffix), code)| Job { text, suffix: *suffix, code })
        .collect();
    mac.codes(&mut jobs);
    codes
}

fn check_codes(hash: Hash, key: &[u8], texts: &[(Vec<u8>, Option<[u8; 4]>)]) {
    let expected: Vec<Vec<u8>> = texts
        .iter()
        .map(|(text, suffix)| {
            expected_code(hash, key, &[text, suffix.as_ref().map_or(&[], <[u8; 4]>::as_slice)])
        })
        .collect();
    for level in Level::available() {
        let found = codes(&Hmac::new(level, hash, key), texts, expected.first().map_or(0, Vec::len));
        for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(
                found,
                expected,
                "{level:?} {hash:?}, {at} of {}: {} octets",
                texts.len(),
                texts[at].0.len()
            );
        }
    }
}

/// Enciphers at every level, compares, deciphers again.
fn check_streams(key: &[u8], streams: &[Vec<u8>]) {
    let expected: Vec<Vec<u8>> = streams.iter().map(|stream| expected_text(key, stream)).collect();
    for level in Level::available() {
        let cbc = Cbc::new(level, key).unwrap();
        let mut done = streams.to_vec();
        cbc.encrypt(&mut done.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
        for (at, (found, expected)) in done.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{level:?}, {at} of {}: {} octets", streams.len(), expected.len());
        }
        done.iter_mut().for_each(|stream| cbc.decrypt(stream));
        assert_eq!(done, streams, "{level:?}");
    }
}

#[test]
fn this_processor_has_the_levels_its_flags_say() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let expected = usize::from(has("aes") && has("avx2")) + usize::from(has("avx512bw") && has("vaes"));
    assert_eq!(Level::available().count(), expected);
    assert_eq!(Level::best(), Level::available().next());
}

#[test]
fn the_code_of_every_length_is_that_of_one_packet() {
    for hash in HASHES {
        let key = pattern(40, 3);
        for first in (0..=3000).step_by(60) {
            let text = |len: usize| (pattern(len, len), (len % 3 == 1).then(|| (len as u32).to_be_bytes()));
            check_codes(hash, &key, &(first..first + 60).map(text).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_number_of_packets_of_one_length_has_its_codes() {
    for hash in HASHES {
        for count in 0..=70 {
            let texts: Vec<_> = (0..count).map(|at| (pattern(300, at), Some([at as u8; 4]))).collect();
            check_codes(hash, b"a key", &texts);
        }
    }
}

#[test]
fn packets_of_one_length_have_their_codes_whatever_it_is() {
    for hash in HASHES {
        for len in (0..=300).chain([1432, 1436, 1500]) {
            for suffixed in [false, true] {
                let text = |at: usize| (pattern(len, at), suffixed.then_some([at as u8, 1, 2, at as u8]));
                check_codes(hash, b"a key", &(0..3).map(text).collect::<Vec<_>>());
                check_codes(hash, b"a key", &(0..35).map(text).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn one_packet_that_is_not_like_the_others_has_its_code_as_they_have() {
    for hash in HASHES {
        for odd in [0, 1, 7, 8, 15, 16, 31, 32, 33, 62, 63] {
            for other in [(pattern(200, 1), None), (pattern(256, 2), Some([9; 4]))] {
                let mut texts: Vec<_> = (0..64).map(|at| (pattern(256, at), None)).collect();
                texts[odd] = other;
                check_codes(hash, b"a key", &texts);
            }
        }
    }
}

#[test]
fn keys_of_every_length_are_those_of_rfc_2104() {
    for hash in HASHES {
        for len in [0, 1, 20, 63, 64, 65, 127, 128, 129, 200, 255, 256, 257] {
            check_codes(hash, &pattern(len, 1), &[(pattern(100, 2), None), (Vec::new(), None)]);
        }
    }
}

#[test]
fn a_code_is_cut_to_its_place_and_no_more_than_the_hash_gives_is_written() {
    for level in Level::available() {
        for hash in HASHES {
            let whole = expected_code(hash, b"key", &[b"text"]);
            for cut in 0..=70 {
                let found =
                    codes(&Hmac::new(level, hash, b"key"), &[(b"text".to_vec(), None)], cut).remove(0);
                let mut expected = vec![0xee; cut];
                expected.iter_mut().zip(&whole).for_each(|(to, from)| *to = *from);
                assert_eq!(found, expected, "{level:?} {hash:?} {cut}");
            }
        }
    }
}

#[test]
fn cbc_of_every_length_and_key_is_that_of_one_packet() {
    for key in [16, 24, 32].map(|len| pattern(len, 9)) {
        for first in (0..=3000).step_by(50) {
            check_streams(&key, &(first..first + 50).map(|len| pattern(len, len)).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_number_of_streams_of_one_length_is_enciphered() {
    for count in 0..=70 {
        check_streams(&pattern(32, 5), &(0..count).map(|at| pattern(16 * 20, at)).collect::<Vec<_>>());
    }
}

#[test]
fn keys_that_are_none_of_aes_are_refused() {
    for level in Level::available() {
        for len in (0..=64).filter(|len| ![16, 24, 32].contains(len)) {
            assert!(Cbc::new(level, &vec![0; len]).is_none(), "{len}");
        }
    }
}

#[test]
fn debug_output_shows_no_key() {
    for level in Level::available() {
        let shown = format!("{:?}", Cbc::new(level, &[7; 32]).unwrap());
        assert_eq!(shown, format!("Cbc({level:?}, 14 rounds)"));
        let shown = format!("{:?}", Hmac::new(level, Hash::Sha1, &[7; 20]));
        assert_eq!(shown, format!("Hmac({level:?}, Sha1)"));
    }
}

proptest! {
    #[test]
    fn any_batch_has_the_codes_of_its_packets(
        which in 0usize..4,
        key in proptest::collection::vec(any::<u8>(), 0..150),
        lengths in proptest::collection::vec((0usize..2200, any::<Option<[u8; 4]>>()), 1..=70),
    ) {
        let texts: Vec<_> =
            lengths.iter().enumerate().map(|(at, (len, suffix))| (pattern(*len, at), *suffix)).collect();
        check_codes(HASHES[which], &key, &texts);
    }

    #[test]
    fn any_batch_is_enciphered_as_its_packets_are(
        bits in 0usize..3,
        lengths in proptest::collection::vec(0usize..2200, 1..=70),
    ) {
        let streams: Vec<_> = lengths.iter().enumerate().map(|(at, len)| pattern(*len, at)).collect();
        check_streams(&pattern(16 + 8 * bits, 1), &streams);
    }
}
