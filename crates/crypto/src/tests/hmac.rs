//! HMAC and prf+.

use super::hex;
use crate::hash::{Hash, MacKey};
use crate::{Integ, Prf, TooLong, digest};

#[test]
fn sha1_is_that_of_rfc_3174_and_joins_its_parts() {
    assert_eq!(digest::sha1(&[b"a", b"", b"bc"]).to_vec(), hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
    assert_eq!(digest::sha1(&[]).to_vec(), hex("da39a3ee5e6b4b0d3255bfef95601890afd80709"));
}

/// RFC 2202 §3.
#[test]
fn hmac_sha1_is_that_of_rfc_2202() {
    let cases: [(Vec<u8>, Vec<u8>, &str); 7] = [
        (vec![0x0b; 20], b"Hi There".to_vec(), "b617318655057264e28bc0b6fb378c8ef146be00"),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (vec![0xaa; 20], vec![0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
        ((1..=25).collect(), vec![0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da"),
        (vec![0x0c; 20], b"Test With Truncation".to_vec(), "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04"),
        (
            vec![0xaa; 80],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "aa4ae5e15272d00e95705637ce8a3b55ed402112",
        ),
        (
            vec![0xaa; 80],
            b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data".to_vec(),
            "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
        ),
    ];
    for (key, data, expected) in cases {
        assert_eq!(Prf::HmacSha1.mac(&key, &[&data]).as_bytes(), hex(expected));
    }
}

/// RFC 4868 §2.7.1, PRF vectors, first and second case; they are also those of RFC 4231.
#[test]
fn prfs_of_sha2_are_those_of_rfc_4868() {
    let cases = [
        (
            Prf::HmacSha2_256,
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            Prf::HmacSha2_384,
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59c\
             faea9ea9076ede7f4af152e8b2fa9cb6",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
             8e2240ca5e69e2c78b3239ecfab21649",
        ),
        (
            Prf::HmacSha2_512,
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ];
    for (prf, first, second) in cases {
        assert_eq!(prf.mac(&[0x0b; 20], &[b"Hi There"]).as_bytes(), hex(first), "{prf}");
        let mac = prf.mac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(mac.as_bytes(), hex(second), "{prf}");
    }
}

/// RFC 4868 §2.7.2: authenticator vectors, whose keys have the length of the hash.
#[test]
fn truncated_codes_are_those_of_rfc_4868() {
    let cases = [
        (Integ::HmacSha2_256_128, "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (Integ::HmacSha2_384_192, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (Integ::HmacSha2_512_256, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
    ];
    for (integ, expected) in cases {
        let mut icv = vec![0; integ.icv_len()];
        MacKey::new(integ.hash(), &vec![0x0b; integ.key_len()]).mac(&[b"Hi There"], &mut icv);
        assert_eq!(icv, hex(expected), "{integ}");
    }
}

#[test]
fn codes_are_those_of_another_implementation_at_every_length() {
    let hashes = [
        (Hash::Sha1, ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (Hash::Sha2_256, ring::hmac::HMAC_SHA256),
        (Hash::Sha2_384, ring::hmac::HMAC_SHA384),
        (Hash::Sha2_512, ring::hmac::HMAC_SHA512),
    ];
    let data: Vec<u8> = (0..300u16).map(|n| n as u8).collect();
    for (hash, algorithm) in hashes {
        for len in 0..data.len() {
            let (key, message) = data.split_at(len);
            let (front, back) = message.split_at(message.len() / 3);
            let mut code = vec![0; hash.output_len()];
            MacKey::new(hash, key).mac(&[front, back], &mut code);
            let expected = ring::hmac::sign(&ring::hmac::Key::new(algorithm, key), message);
            assert_eq!(code, expected.as_ref());
        }
    }
}

/// RFC 7296 §2.13, written out over another HMAC.
#[test]
fn prf_plus_is_the_chain_of_rfc_7296() {
    let prfs = [
        (Prf::HmacSha1, ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        (Prf::HmacSha2_256, ring::hmac::HMAC_SHA256),
        (Prf::HmacSha2_384, ring::hmac::HMAC_SHA384),
        (Prf::HmacSha2_512, ring::hmac::HMAC_SHA512),
    ];
    for (prf, algorithm) in prfs {
        let key = ring::hmac::Key::new(algorithm, b"the key");
        let most = prf.output_len() * 255;
        let mut expected = Vec::new();
        let mut last: Vec<u8> = Vec::new();
        for round in 1..=255u8 {
            let message = [&last, b"nonces and spis".as_slice(), &[round]].concat();
            last = ring::hmac::sign(&key, &message).as_ref().to_vec();
            expected.extend_from_slice(&last);
        }
        for len in (0..200).chain([most - 1, most]) {
            let stream = prf.prf_plus(b"the key", &[b"nonces ", b"and ", b"spis"], len).unwrap();
            assert_eq!(stream.as_bytes(), &expected[..len], "{prf} {len}");
        }
        assert_eq!(prf.prf_plus(b"the key", &[b"x"], most + 1).unwrap_err(), TooLong);
    }
}
