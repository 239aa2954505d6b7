//! The registries: each algorithm by its IANA number, its IANA name and its strongSwan keyword.

mod encr;
mod group;
mod integ;
mod keyword;
mod prf;
mod suite;

pub use encr::{Encr, KeyBits};
pub use group::Group;
pub use integ::Integ;
pub use prf::{Prf, TooLong};
pub use suite::Suite;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_round_trips_and_is_used_once() {
        for encr in Encr::ALL {
            let (id, bits) = encr.iana();
            assert_eq!(Encr::from_iana(id, bits), Some(encr));
        }
        Integ::ALL.iter().for_each(|it| assert_eq!(Integ::from_iana(it.iana()), Some(*it)));
        Prf::ALL.iter().for_each(|it| assert_eq!(Prf::from_iana(it.iana()), Some(*it)));
        Group::ALL.iter().for_each(|it| assert_eq!(Group::from_iana(it.iana()), Some(*it)));
    }

    #[test]
    fn every_keyword_round_trips_in_any_case() {
        macro_rules! walk {
            ($($type:ty),*) => {$(
                for it in <$type>::ALL {
                    assert!(!it.keyword().is_empty(), "{it}");
                    assert_eq!(<$type>::from_keyword(&it.keyword().to_uppercase()), Some(it));
                }
                for word in <$type>::keywords() {
                    assert!(<$type>::from_keyword(word).is_some(), "{word}");
                }
                assert_eq!(<$type>::from_keyword(""), None);
            )*};
        }
        walk!(Encr, Integ, Prf, Group);
    }

    #[test]
    fn names_are_those_of_the_registry() {
        assert_eq!(Encr::AesGcm16(KeyBits::B256).to_string(), "ENCR_AES_GCM_16_256");
        assert_eq!(Encr::ChaCha20Poly1305.to_string(), "ENCR_CHACHA20_POLY1305");
        assert_eq!(Integ::HmacSha2_256_128.to_string(), "AUTH_HMAC_SHA2_256_128");
        assert_eq!(Prf::HmacSha1.to_string(), "PRF_HMAC_SHA1");
        assert_eq!(Group::Ecp384.to_string(), "384-bit random ECP group");
    }

    #[test]
    fn the_key_length_attribute_is_required_or_refused() {
        assert_eq!(Encr::from_iana(12, None), None);
        assert_eq!(Encr::from_iana(20, Some(64)), None);
        assert_eq!(Encr::from_iana(28, Some(256)), None);
        assert_eq!(Encr::from_iana(3, None), None);
    }

    #[test]
    fn suites_pair_an_aead_with_nothing_and_a_cipher_with_a_mac() {
        assert_eq!(Suite::all().count(), 3 * 4 + 10);
        assert!(Suite::all().all(Suite::is_sound));
        assert_eq!(Suite::new(Encr::AesCbc(KeyBits::B256), None), None);
        assert_eq!(Suite::new(Encr::ChaCha20Poly1305, Some(Integ::HmacSha1_96)), None);
        let suite = Suite::new(Encr::AesCbc(KeyBits::B256), Some(Integ::HmacSha1_96)).unwrap();
        assert_eq!(suite.to_string(), "aes256-sha1");
        assert_eq!((suite.iv_len(), suite.icv_len(), suite.block()), (16, 12, 16));
    }

    #[test]
    fn key_material_lengths_are_those_of_the_rfcs() {
        let lengths = [
            ("aes128", 16),
            ("aes192", 24),
            ("aes256", 32),
            ("aes128gcm16", 20),
            ("aes192gcm12", 28),
            ("aes256gcm8", 36),
            ("chacha20poly1305", 36),
        ];
        for (word, octets) in lengths {
            assert_eq!(Encr::from_keyword(word).unwrap().key_len(), octets, "{word}");
        }
    }
}
