//! GCM against the one that works block by block, of another library, at every length.
#![allow(clippy::unwrap_used, reason = "a test fails by saying so")]

use lanes::{Gcm, Level, Packet};
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

fn encrypt(gcm: &Gcm, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
    let mut packet = [gcm.packet(nonce, aad, text)];
    gcm.encrypt(&mut packet);
    *packet[0].tag()
}

fn decrypt(gcm: &Gcm, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
    let mut packet = [gcm.packet(nonce, aad, text)];
    gcm.decrypt(&mut packet);
    *packet[0].tag()
}

/// What the other library makes of it.
fn foreign(theirs: &LessSafeKey, nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = theirs.seal_in_place_separate_tag(nonce, Aad::from(aad), text).unwrap();
    tag.as_ref().try_into().unwrap()
}

fn same(ours: &Gcm, theirs: &LessSafeKey, len: usize, aad: &[u8]) {
    let (clear, nonce) = (octets(len, aad.len()), octets(12, len).try_into().unwrap());
    let (mut a, mut b) = (clear.clone(), clear.clone());
    let tag = encrypt(ours, &nonce, aad, &mut a);
    let other = foreign(theirs, nonce, aad, &mut b);
    assert_eq!((&a, tag), (&b, other), "{len} octets, {} of additional data", aad.len());
    assert_eq!(decrypt(ours, &nonce, aad, &mut a), tag, "{len} octets");
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

/// Room before and behind each packet's text, which nobody may write to.
const ROOM: usize = 64;

/// The packets of a batch: packet `at` has its own nonce, and additional data of its own length.
fn batch<'a>(gcm: &Gcm, buffers: &'a mut [Vec<u8>]) -> Vec<Packet<'a>> {
    let packet = |(at, buffer): (usize, &'a mut Vec<u8>)| {
        let end = buffer.len() - ROOM;
        gcm.packet(&nonce_of(at), &aad_of(at), &mut buffer[ROOM..end])
    };
    buffers.iter_mut().enumerate().map(packet).collect()
}

fn tags(packets: &[Packet<'_>]) -> Vec<[u8; 16]> {
    packets.iter().map(|packet| *packet.tag()).collect()
}

fn nonce_of(at: usize) -> [u8; 12] {
    octets(12, at).try_into().unwrap()
}

fn aad_of(at: usize) -> Vec<u8> {
    octets([8, 12, 0, 40][at % 4], at)
}

/// A packet is hashed to its end in the first turn of the next: each length stands before and behind others, of every
/// number of registers in the first turn, of several segments, and empty.
#[test]
fn packets_of_a_batch_do_not_touch_each_other() {
    for (algorithm, shift) in (0..140).map(|n| ([&AES_128_GCM, &AES_256_GCM][n % 2], n / 2)) {
        let Some((ours, theirs)) = pair(algorithm) else { return };
        let len = |at| [0, 17, 1404, 3071, 64, 5000, 333, 1][(at + shift) % 8] + at * shift;
        let clear: Vec<Vec<u8>> = (0..shift % 9 + 2).map(|at| octets(len(at) + 2 * ROOM, at)).collect();
        let mut sealed = clear.clone();
        let mut packets = batch(&ours, &mut sealed);
        ours.encrypt(&mut packets);
        let sealed_tags = tags(&packets);
        let mut wanted = clear.clone();
        for (at, wanted) in wanted.iter_mut().enumerate() {
            let end = wanted.len() - ROOM;
            let tag = foreign(&theirs, nonce_of(at), &aad_of(at), &mut wanted[ROOM..end]);
            assert_eq!(sealed_tags[at], tag, "{shift}, packet {at}");
        }
        assert!(sealed == wanted, "{shift}");
        let mut packets = batch(&ours, &mut sealed);
        ours.decrypt(&mut packets);
        assert_eq!(tags(&packets), sealed_tags, "{shift}");
        assert!(sealed == clear, "{shift}");
    }
}

#[test]
fn a_batch_may_have_no_packet() {
    let Some((ours, _)) = pair(&AES_256_GCM) else { return };
    ours.encrypt(&mut []);
    ours.decrypt(&mut []);
}

#[test]
fn a_changed_octet_anywhere_changes_the_tag() {
    let Some((ours, _)) = pair(&AES_256_GCM) else { return };
    let (nonce, mut text) = ([9; 12], octets(333, 1));
    let tag = encrypt(&ours, &nonce, &[1; 8], &mut text);
    for at in 0..text.len() {
        let mut changed = text.clone();
        changed[at] ^= 0x40;
        assert_ne!(decrypt(&ours, &nonce, &[1; 8], &mut changed), tag, "octet {at}");
    }
    assert_ne!(decrypt(&ours, &nonce, &[2; 8], &mut text.clone()), tag);
    assert_ne!(decrypt(&ours, &[8; 12], &[1; 8], &mut text), tag);
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for level in Level::available() {
        assert!([0, 15, 17, 31, 33].iter().all(|len| Gcm::new(level, &octets(*len, 0)).is_none()));
    }
}
