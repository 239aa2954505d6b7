//! Properties every suite must have.

use core::ops::Range;

use proptest::prelude::*;

use crate::{Encr, Forged, Frame, Integ, KeyBits, KeyError, Misfit, Opener, Sealer, Suite};

fn pair(suite: Suite) -> (Sealer, Opener) {
    let encr_key: Vec<u8> = (1..=suite.encr_key_len() as u8).collect();
    let integ_key: Vec<u8> = (101..=100 + suite.integ_key_len() as u8).collect();
    let sealer = Sealer::new(suite, &encr_key, &integ_key, [42; 16]).unwrap();
    (sealer, Opener::new(suite, &encr_key, &integ_key).unwrap())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 256) as u8).collect()
}

/// Header, room for the IV, text, room for the ICV.
fn frame_of(suite: Suite, header: usize, text: &[u8]) -> Vec<u8> {
    let room = |len| vec![0xee; len];
    [pattern(header), room(suite.iv_len()), text.to_vec(), room(suite.icv_len())].concat()
}

fn seal(sealer: &Sealer, header: usize, esn_hi: Option<u32>, text: &[u8], counter: u64) -> Vec<u8> {
    let mut bytes = frame_of(sealer.suite(), header, text);
    sealer.seal(Frame { bytes: &mut bytes, header, esn_hi }, counter).unwrap();
    bytes
}

fn open(opener: &Opener, header: usize, esn_hi: Option<u32>, bytes: &[u8]) -> Result<Vec<u8>, Forged> {
    let mut bytes = bytes.to_vec();
    let range = opener.open(Frame { bytes: &mut bytes, header, esn_hi })?;
    Ok(bytes[range].to_vec())
}

#[test]
fn every_length_round_trips_in_every_suite() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        for len in (0..=200).chain([1399, 1400, 2047, 2048, 2049, 4096, 9000, 65_000]) {
            let len = len - len % suite.block();
            let text = pattern(len);
            for (header, esn_hi) in [(8, None), (8, Some(7)), (32, None), (0, None)] {
                let sealed = seal(&sealer, header, esn_hi, &text, 5);
                assert_eq!(&sealed[..header], pattern(header));
                if len >= 16 {
                    assert_ne!(&sealed[header + suite.iv_len()..][..len], text);
                }
                assert_eq!(open(&opener, header, esn_hi, &sealed), Ok(text.clone()), "{suite} {len}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_is_refused_in_every_suite() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        for esn_hi in [None, Some(1)] {
            let sealed = seal(&sealer, 8, esn_hi, &pattern(48), 77);
            for bit in 0..sealed.len() * 8 {
                let mut bytes = sealed.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(&opener, 8, esn_hi, &bytes), Err(Forged), "{suite} bit {bit}");
            }
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused_in_every_suite() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        let sealed = seal(&sealer, 8, None, &pattern(64), 1);
        for len in 0..sealed.len() {
            assert_eq!(open(&opener, 8, None, &sealed[..len]), Err(Forged), "{suite} {len}");
        }
        for more in 1..=32 {
            let longer = [sealed.as_slice(), &vec![0; more]].concat();
            assert_eq!(open(&opener, 8, None, &longer), Err(Forged), "{suite} {more}");
        }
    }
}

#[test]
fn the_unsent_half_of_the_sequence_number_is_authenticated() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        let halves = [None, Some(0), Some(1), Some(u32::MAX)];
        for sent in halves {
            let sealed = seal(&sealer, 8, sent, &pattern(32), 9);
            for assumed in halves {
                let opened = open(&opener, 8, assumed, &sealed);
                assert_eq!(opened.is_ok(), sent == assumed, "{suite} {sent:?} {assumed:?}");
            }
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_is_not_sealed() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        let least = 8 + suite.iv_len() + suite.icv_len();
        let mut cases: Vec<(usize, usize, Option<u32>)> = (0..least).map(|len| (len, 8, None)).collect();
        cases.extend([(least, usize::MAX, None), (least, least, None), (least + 16, 24, Some(0))]);
        if suite.block() > 1 {
            cases.extend((1..suite.block()).map(|odd| (least + odd, 8, None)));
        }
        for (len, header, esn_hi) in cases {
            let mut bytes = pattern(len);
            let outcome = sealer.seal(Frame { bytes: &mut bytes, header, esn_hi }, 0);
            assert_eq!((outcome, &bytes), (Err(Misfit), &pattern(len)), "{suite} {len}");
            assert_eq!(open(&opener, header, esn_hi, &bytes), Err(Forged), "{suite} {len}");
        }
    }
}

#[test]
fn a_batch_is_what_its_packets_are_one_by_one() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        for count in [0, 1, 7, 8, 9, 23] {
            let texts: Vec<Vec<u8>> = (0..count).map(|n| pattern(16 * ((n * 5) % 12))).collect();
            let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| frame_of(suite, 8, text)).collect();
            let esn_hi = (count % 2 == 1).then_some(3);
            sealer.seal_batch(&mut frames(&mut bytes, esn_hi), 1000).unwrap();
            for (n, (sealed, text)) in bytes.iter().zip(&texts).enumerate() {
                assert_eq!(*sealed, seal(&sealer, 8, esn_hi, text, 1000 + n as u64), "{suite} {n}");
            }
            if let Some(forged) = bytes.get_mut(3) {
                *forged.last_mut().unwrap() ^= 1;
            }
            let mut outcomes: Vec<(usize, Result<Range<usize>, Forged>)> = Vec::new();
            opener.open_batch(&mut frames(&mut bytes, esn_hi), |at, outcome| outcomes.push((at, outcome)));
            assert_eq!(outcomes.len(), count);
            for (n, (at, outcome)) in outcomes.into_iter().enumerate() {
                assert_eq!(at, n);
                match outcome {
                    Ok(range) => assert_eq!(bytes[n][range], texts[n]),
                    Err(Forged) => assert_eq!(n, 3),
                }
            }
        }
    }
}

fn frames(bytes: &mut [Vec<u8>], esn_hi: Option<u32>) -> Vec<Frame<'_>> {
    bytes.iter_mut().map(|bytes| Frame { bytes, header: 8, esn_hi }).collect()
}

#[test]
fn one_misfit_leaves_the_whole_batch_untouched() {
    for suite in Suite::all() {
        let (sealer, _) = pair(suite);
        let whole = frame_of(suite, 8, &pattern(32));
        let mut bytes = vec![whole.clone(), whole[..9].to_vec(), whole.clone()];
        let before = bytes.clone();
        assert_eq!(sealer.seal_batch(&mut frames(&mut bytes, None), 1), Err(Misfit));
        assert_eq!(bytes, before);
    }
}

#[test]
fn counters_do_not_wrap_within_a_batch() {
    for suite in Suite::all() {
        let (sealer, opener) = pair(suite);
        let mut bytes = vec![frame_of(suite, 8, &pattern(16)); 2];
        assert_eq!(sealer.seal_batch(&mut frames(&mut bytes, None), u64::MAX), Err(Misfit));
        assert_eq!(sealer.seal_batch(&mut frames(&mut bytes, None), u64::MAX - 1), Ok(()));
        assert_eq!(open(&opener, 8, None, &bytes[1]), Ok(pattern(16)));
    }
}

#[test]
fn ivs_never_repeat_and_those_of_cbc_show_no_counter() {
    for suite in Suite::all() {
        let (sealer, _) = pair(suite);
        let ivs: Vec<Vec<u8>> = (0..512)
            .map(|counter| seal(&sealer, 8, None, &pattern(16), counter)[8..8 + suite.iv_len()].to_vec())
            .collect();
        let distinct: std::collections::BTreeSet<&Vec<u8>> = ivs.iter().collect();
        assert_eq!(distinct.len(), ivs.len(), "{suite}");
        if suite.encr.is_aead() {
            assert_eq!(ivs[258], [0, 0, 0, 0, 0, 0, 1, 2], "{suite}");
        } else {
            assert!(ivs.iter().all(|iv| iv[..8] != [0; 8]), "{suite}");
        }
    }
}

#[test]
fn keys_of_the_wrong_length_and_unsound_suites_are_refused() {
    for suite in Suite::all() {
        let (encr, integ) = (vec![1; suite.encr_key_len()], vec![2; suite.integ_key_len()]);
        let long = |key: &[u8]| [key, &[0]].concat();
        for bad in [&encr[1..], &long(&encr), &[]] {
            assert_eq!(Sealer::new(suite, bad, &integ, [0; 16]).unwrap_err(), KeyError::EncrKey);
            assert_eq!(Opener::new(suite, bad, &integ).unwrap_err(), KeyError::EncrKey);
        }
        assert_eq!(Opener::new(suite, &encr, &long(&integ)).unwrap_err(), KeyError::IntegKey);
        assert_eq!(Sealer::new(suite, &encr, &long(&integ), [0; 16]).unwrap_err(), KeyError::IntegKey);
    }
    let unsound = Suite { encr: Encr::AesCbc(KeyBits::B128), integ: None };
    assert_eq!(Sealer::new(unsound, &[0; 16], &[], [0; 16]).unwrap_err(), KeyError::Suite);
    let unsound = Suite { encr: Encr::ChaCha20Poly1305, integ: Some(Integ::HmacSha1_96) };
    assert_eq!(Opener::new(unsound, &[0; 36], &[0; 20]).unwrap_err(), KeyError::Suite);
}

proptest! {
    #[test]
    fn random_octets_never_open_and_never_panic(
        which in 0..Suite::all().count(),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        header in 0usize..40,
        esn_hi in any::<Option<u32>>(),
    ) {
        let suite = Suite::all().nth(which).unwrap();
        let (_, opener) = pair(suite);
        prop_assert_eq!(open(&opener, header, esn_hi, &bytes), Err(Forged));
    }

    #[test]
    fn any_text_under_any_counter_round_trips(
        which in 0..Suite::all().count(),
        blocks in 0usize..100,
        header in 0usize..64,
        counter in any::<u64>(),
        seed in any::<u8>(),
    ) {
        let suite = Suite::all().nth(which).unwrap();
        let (sealer, opener) = pair(suite);
        let text: Vec<u8> = pattern(blocks * suite.block()).iter().map(|octet| octet ^ seed).collect();
        let sealed = seal(&sealer, header, None, &text, counter);
        prop_assert_eq!(open(&opener, header, None, &sealed), Ok(text));
    }
}
