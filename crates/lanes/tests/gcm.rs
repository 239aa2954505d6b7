//! GCM against the one that works block by block, of another library, at every length.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use lanes::{Gcm, Level};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};

/// `None` on processors without the instructions: there is nothing to compare.
fn pair(algorithm: &'static Algorithm) -> Option<(Gcm, LessSafeKey)> {
    let key: Vec<u8> = (0..algorithm.key_len()).map(|at| (at * 37 + 11) as u8).collect();
    let ours = Level::available().find_map(|level| Gcm::new(level, &key))?;
    Some((ours, LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap())))
}

fn octets(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256 + seed * 31) as u8).collect()
}

fn same(ours: &Gcm, theirs: &LessSafeKey, len: usize, aad: &[u8]) {
    let (clear, nonce) = (octets(len, aad.len()), octets(12, len).try_into().unwrap());
    let (mut a, mut b) = (clear.clone(), clear.clone());
    let tag = ours.encrypt(&nonce, aad, &mut a);
    let other = theirs
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut b)
        .unwrap();
    assert_eq!((&a, &tag[..]), (&b, other.as_ref()), "{len} octets, {} of additional data", aad.len());
    assert_eq!(ours.decrypt(&nonce, aad, &mut a), tag, "{len} octets");
    assert_eq!(a, clear, "{len} octets");
}

#[test]
fn every_length_gives_the_ciphertext_and_tag_of_another_library() {
    for algorithm in [&AES_128_GCM, &AES_256_GCM] {
        let Some((ours, theirs)) = pair(algorithm) else { return };
        for len in (0..=2100).chain(3030..3060).chain([4095, 4096, 9000, 65_535]) {
            same(&ours, &theirs, len, &octets(8, len));
        }
    }
}

#[test]
fn additional_data_may_have_any_length() {
    let Some((ours, theirs)) = pair(&AES_256_GCM) else { return };
    for aad in 0..=100 {
        same(&ours, &theirs, 300, &octets(aad, aad));
    }
}

#[test]
fn a_changed_octet_anywhere_changes_the_tag() {
    let Some((ours, _)) = pair(&AES_256_GCM) else { return };
    let (nonce, mut text) = ([9; 12], octets(333, 1));
    let tag = ours.encrypt(&nonce, &[1; 8], &mut text);
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 0x40;
        assert_ne!(ours.decrypt(&nonce, &[1; 8], &mut changed), tag, "octet {at}");
    }
    assert_ne!(ours.decrypt(&nonce, &[2; 8], &mut text.clone()), tag);
    assert_ne!(ours.decrypt(&[8; 12], &[1; 8], &mut text), tag);
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for level in Level::available() {
        assert!([0, 15, 17, 31, 33].iter().all(|len| Gcm::new(level, &octets(*len, 0)).is_none()));
    }
}
