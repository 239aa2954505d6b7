//! One inbound SA against a peer that has the keys and means harm, and a network that damages and repeats.
//!
//! First octet: the suite and extended sequence numbers. Then packets: `kind, number (2), length, content`,
//! the content being the text to seal, padding and trailer included, or the packet itself.
#![no_main]

use std::collections::HashSet;

use crypto::{Encr, Frame, Integ, KeyBits, Sealer, Suite};
use esp::{HEADER_LEN, InboundParams, InboundSa, Limits, Refusal, Segment, Tick, replay};
use libfuzzer_sys::fuzz_target;

const SPI: u32 = 0xc0ff_ee01;
const SUITES: [Suite; 4] = [
    Suite { encr: Encr::AesGcm16(KeyBits::B128), integ: None },
    Suite { encr: Encr::AesCbc(KeyBits::B256), integ: Some(Integ::HmacSha1_96) },
    Suite { encr: Encr::ChaCha20Poly1305, integ: None },
    Suite { encr: Encr::AesCbc(KeyBits::B128), integ: Some(Integ::HmacSha2_256_128) },
];

/// What the network does to a packet.
enum Fate {
    Arrives,
    Damaged,
    Raw,
}

struct Peer {
    suite: Suite,
    esn: bool,
    sealer: Sealer,
}

impl Peer {
    fn packet(&self, fate: &Fate, number: u16, content: &[u8]) -> Vec<u8> {
        if matches!(fate, Fate::Raw) {
            return content.to_vec();
        }
        let mut text = content.to_vec();
        text.resize(content.len().next_multiple_of(self.suite.block()), 1);
        let mut bytes = [SPI.to_be_bytes(), u32::from(number).to_be_bytes()].concat();
        bytes.resize(HEADER_LEN + self.suite.iv_len(), 0);
        bytes.extend(text);
        bytes.resize(bytes.len() + self.suite.icv_len(), 0);
        let frame = Frame { bytes: &mut bytes, header: HEADER_LEN, esn_hi: self.esn.then_some(0) };
        self.sealer.seal(frame, u64::from(number)).expect("the frame fits its suite");
        if matches!(fate, Fate::Damaged) {
            // Anywhere from the sequence number on: the SPI chose the SA before.
            let at = 4 + usize::from(number) % (bytes.len() - 4);
            bytes[at] ^= 1 << (number % 8);
        }
        bytes
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, mut rest)) = input.split_first() else { return };
    let suite = SUITES[usize::from(choice) % SUITES.len()];
    let esn = choice & 0x80 != 0;
    let (encr_key, integ_key) = (vec![7; suite.encr_key_len()], vec![9; suite.integ_key_len()]);
    let sealer = Sealer::new(suite, &encr_key, &integ_key, [3; 16]).expect("keys of the suite's length");
    let peer = Peer { suite, esn, sealer };
    let limits = Limits::default();
    let (encr_key, integ_key) = (&encr_key[..], &integ_key[..]);
    let params =
        InboundParams { spi: SPI, suite, encr_key, integ_key, esn, replay_window: replay::MIN, limits };
    let sa = InboundSa::new(params).expect("sound parameters");

    let mut accepted = HashSet::new();
    while let [kind, high, low, length, tail @ ..] = rest {
        let (content, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = behind;
        let number = u16::from_be_bytes([*high, *low]);
        let fate = match kind % 4 {
            0 | 1 => Fate::Arrives,
            2 => Fate::Damaged,
            _ => Fate::Raw,
        };
        let mut bytes = peer.packet(&fate, number, content);
        let size = bytes.len();
        let mut run = [Segment::new(&mut bytes)];
        sa.open_batch(&mut run, Tick(1));
        match (&run[0].outcome, fate) {
            (Ok(opened), Fate::Arrives) => {
                assert!(accepted.insert(number), "{number} was accepted twice");
                assert!(opened.inner.start <= opened.inner.end && opened.inner.end <= size);
                assert!(opened.next_header == 4 || opened.next_header == 41);
            }
            (Ok(_), Fate::Damaged | Fate::Raw) => panic!("a forged packet was accepted"),
            // With extended numbers, one left of the window is taken for one of the next 2^32 (RFC 4303
            // appendix A2.2), so its check fails.
            (Err(reason), Fate::Arrives) => {
                assert!(esn || *reason != Refusal::Forged, "an authentic packet called forged")
            }
            (Err(_), Fate::Damaged | Fate::Raw) => {}
        }
    }
});
