//! Whole ESP packets from RFCs and drafts.

use super::{hex, rows};
use crate::aes_block::{Aes, Block, Lane};
use crate::{Encr, Frame, Integ, KeyBits, Opener, Sealer, Suite};

#[test]
fn gcm_packets_of_the_esp_test_draft_are_reproduced_and_opened() {
    for row in rows::<6>(include_str!("gcm_esp.txt")) {
        let bits = KeyBits::new(row[0].len() as u16 * 8).unwrap();
        // RFC 4106 §6: a shorter ICV is the full one cut off at its end.
        for encr in [Encr::AesGcm16(bits), Encr::AesGcm12(bits), Encr::AesGcm8(bits)] {
            check_packet(encr, &row);
        }
    }
}

#[test]
fn the_chacha_packet_of_rfc_7634_is_reproduced_and_opened() {
    for row in rows::<6>(include_str!("chacha_esp.txt")) {
        check_packet(Encr::ChaCha20Poly1305, &row);
    }
}

fn check_packet(encr: Encr, [key, nonce, plain, aad, text, icv]: &[Vec<u8>; 6]) {
    let suite = Suite::new(encr, None).unwrap();
    let (salt, iv) = nonce.split_at(4);
    let counter = u64::from_be_bytes(iv.try_into().unwrap());
    let encr_key = [key.as_slice(), salt].concat();
    // With extended sequence numbers the AAD is SPI, high half, low half, of which the middle is not sent.
    let (header, esn_hi) = match aad.len() {
        8 => (aad.clone(), None),
        _ => {
            let high = u32::from_be_bytes(aad[4..8].try_into().unwrap());
            ([&aad[..4], &aad[8..]].concat(), Some(high))
        }
    };
    let icv = &icv[..suite.icv_len()];
    let expected = [header.as_slice(), iv, text, icv].concat();

    let mut bytes = [header.as_slice(), &[0xaa; 8], plain, &vec![0xaa; icv.len()]].concat();
    let sealer = Sealer::new(suite, &encr_key, &[], [0; 16]).unwrap();
    sealer.seal(Frame { bytes: &mut bytes, header: 8, esn_hi }, counter).unwrap();
    assert_eq!(bytes, expected, "{suite}");

    let opener = Opener::new(suite, &encr_key, &[]).unwrap();
    let range = opener.open(Frame { bytes: &mut bytes, header: 8, esn_hi }).unwrap();
    assert_eq!(&bytes[range], plain.as_slice(), "{suite}");
}

#[test]
fn cbc_packets_of_rfc_3602_are_enciphered_and_deciphered() {
    for [key, packet, payload, next_header] in rows::<4>(include_str!("cbc_esp.txt")) {
        let cipher = Aes::new(&key).unwrap();
        let iv = Block::try_from(&packet[8..24]).unwrap();
        let mut text = payload.clone();
        let pad = (16 - (payload.len() + 2) % 16) % 16;
        text.extend(1..=pad as u8);
        text.extend([pad as u8, next_header[0]]);
        let plain = text.clone();

        let (blocks, rest) = Block::slice_as_chunks_mut(&mut text);
        assert!(rest.is_empty());
        cipher.cbc_encrypt(&mut [Lane { chain: iv, text: &mut *blocks }]);
        assert_eq!(blocks.as_flattened_octets(), &packet[24..]);
        cipher.cbc_decrypt(iv, blocks);
        assert_eq!(text, plain);
    }
}

trait Flat {
    fn as_flattened_octets(&self) -> Vec<u8>;
}

impl Flat for [Block] {
    fn as_flattened_octets(&self) -> Vec<u8> {
        self.iter().flatten().copied().collect()
    }
}

/// RFC 3602 §4, cases 1 to 4.
#[test]
fn cbc_blocks_of_rfc_3602_are_enciphered() {
    let cases = [
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".to_vec(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            (0..32).collect(),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
        ),
        (
            "6c3ea0477630ce21a2ce334aa746c2cd",
            "c782dc4c098c66cbd9cd27d825682c81",
            b"This is a 48-byte message (exactly 3 AES blocks)".to_vec(),
            "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5\
             021c19216bad525c8579695d83ba2684",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            (0xa0..0xe0).collect(),
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e\
             35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    ];
    for (key, iv, mut text, expected) in cases {
        let (blocks, _) = Block::slice_as_chunks_mut(&mut text);
        let chain = Block::try_from(hex(iv).as_slice()).unwrap();
        Aes::new(&hex(key)).unwrap().cbc_encrypt(&mut [Lane { chain, text: &mut *blocks }]);
        assert_eq!(text, hex(expected));
    }
}

/// RFC 4303 §2.2.1: the high half stands after the packet in the ICV's computation, and is not sent.
#[test]
fn the_icv_of_cbc_is_hmac_over_header_iv_text_and_the_unsent_half() {
    let suite = Suite::new(Encr::AesCbc(KeyBits::B256), Some(Integ::HmacSha2_512_256)).unwrap();
    let (encr_key, integ_key) = ([7; 32], [9; 64]);
    let sealer = Sealer::new(suite, &encr_key, &integ_key, [3; 16]).unwrap();
    for esn_hi in [None, Some(0), Some(0x0102_0304)] {
        let mut bytes = vec![0x55; 8 + 16 + 48 + 32];
        sealer.seal(Frame { bytes: &mut bytes, header: 8, esn_hi }, 1).unwrap();
        let mut signed = bytes[..72].to_vec();
        signed.extend(esn_hi.iter().flat_map(|high| high.to_be_bytes()));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA512, &integ_key);
        assert_eq!(&bytes[72..], &ring::hmac::sign(&key, &signed).as_ref()[..32]);
    }
}
