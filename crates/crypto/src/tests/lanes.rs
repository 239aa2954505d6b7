//! CBC suites in lanes: at every level of this processor the octets are those of the plain way, whose
//! packets the other tests hold against published vectors.

use core::ops::Range;

use lanes::Level;
use proptest::prelude::*;

use crate::{Encr, Forged, Frame, Opener, Sealer, Suite};

/// A batch: blocks of text of each packet, and whether somebody changes it on its way.
type Batch = Vec<(usize, Option<usize>)>;

const SEED: [u8; 16] = [42; 16];

fn cbc_suites() -> impl Iterator<Item = Suite> {
    Suite::all().filter(|suite| matches!(suite.encr, Encr::AesCbc(_)))
}

/// Without lanes, and with those of each level.
fn levels() -> impl Iterator<Item = Option<Level>> {
    core::iter::once(None).chain(Level::available().map(Some))
}

fn keys(suite: Suite) -> (Vec<u8>, Vec<u8>) {
    let key = |len: usize, first: u8| (first..).take(len).collect();
    (key(suite.encr_key_len(), 1), key(suite.integ_key_len(), 101))
}

fn pair(suite: Suite, level: Option<Level>) -> (Sealer, Opener) {
    let (encr, integ) = keys(suite);
    let sealer = Sealer::with_lanes(suite, &encr, &integ, SEED, level).unwrap();
    (sealer, Opener::with_lanes(suite, &encr, &integ, level).unwrap())
}

/// A packet of so many blocks, unlike others of its batch.
fn clear(suite: Suite, number: usize, blocks: usize) -> Vec<u8> {
    let len = 8 + suite.iv_len() + 16 * blocks + suite.icv_len();
    (0..len).map(|at| (at * 7 + at / 256 + number * 31) as u8).collect()
}

fn frames(packets: &mut [Vec<u8>], esn_hi: Option<u32>) -> Vec<Frame<'_>> {
    packets.iter_mut().map(|bytes| Frame { bytes, header: 8, esn_hi }).collect()
}

fn seal(sealer: &Sealer, packets: &[Vec<u8>], esn_hi: Option<u32>) -> Vec<Vec<u8>> {
    let mut sealed = packets.to_vec();
    sealer.seal_batch(&mut frames(&mut sealed, esn_hi), 7).unwrap();
    sealed
}

fn open(opener: &Opener, packets: &mut [Vec<u8>], esn_hi: Option<u32>) -> Vec<Result<Range<usize>, Forged>> {
    let mut outcomes = Vec::new();
    opener.open_batch(&mut frames(packets, esn_hi), |index, outcome| {
        assert_eq!(index, outcomes.len());
        outcomes.push(outcome);
    });
    outcomes
}

/// Seals the batch at every level, changes what is to be changed, opens it at every level.
fn check(suite: Suite, batch: &Batch, esn_hi: Option<u32>) {
    let texts: Vec<_> = batch.iter().enumerate().map(|(at, (blocks, _))| clear(suite, at, *blocks)).collect();
    let (plain, _) = pair(suite, None);
    let one_by_one: Vec<_> = texts
        .iter()
        .zip(7..)
        .map(|(text, counter)| {
            let mut bytes = text.clone();
            plain.seal(Frame { bytes: &mut bytes, header: 8, esn_hi }, counter).unwrap();
            bytes
        })
        .collect();
    let mut sent = one_by_one.clone();
    for (packet, (_, changed)) in sent.iter_mut().zip(batch) {
        if let Some(bit) = changed {
            let bit = bit % (packet.len() * 8);
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }
    for level in levels() {
        let (sealer, opener) = pair(suite, level);
        assert!(seal(&sealer, &texts, esn_hi) == one_by_one, "{suite} {level:?} {batch:?}");
        let mut received = sent.clone();
        for (at, outcome) in open(&opener, &mut received, esn_hi).into_iter().enumerate() {
            let context = format!("{suite} {level:?}, packet {at} of {batch:?}");
            match (outcome, batch[at].1) {
                (Ok(range), None) => {
                    assert_eq!(range, 8 + 16..texts[at].len() - suite.icv_len(), "{context}");
                    assert!(received[at][range.clone()] == texts[at][range], "{context}");
                }
                // RFC 4303 §3.4.4.1: what is not authentic is not deciphered.
                (Err(Forged), Some(_)) => assert!(received[at] == sent[at], "{context}"),
                (outcome, changed) => panic!("{outcome:?} though {changed:?}: {context}"),
            }
        }
    }
}

#[test]
fn every_length_of_text_is_sealed_and_opened_the_same_at_every_level() {
    for suite in cbc_suites() {
        let batch: Batch = (0..=188).map(|blocks| (blocks, None)).collect();
        check(suite, &batch, None);
        check(suite, &batch, Some(9));
    }
}

#[test]
fn batches_of_one_to_seventy_packets_are_the_same_at_every_level() {
    for suite in cbc_suites() {
        for count in 1..=70 {
            // As a super-packet is cut: equal packets and a short last one.
            let mut batch: Batch = vec![(9, None); count];
            batch[count - 1].0 = 2;
            check(suite, &batch, (count % 2 == 0).then_some(1));
        }
    }
}

#[test]
fn a_forged_packet_at_any_place_of_a_batch_is_refused_alone() {
    for suite in cbc_suites() {
        for forged in 0..35 {
            let mut batch: Batch = (0..35).map(|at| (3 + at % 4, None)).collect();
            batch[forged].1 = Some(forged * 29);
            check(suite, &batch, Some(3));
        }
        check(suite, &(0..35).map(|at| (5, Some(at * 11))).collect(), None);
    }
}

#[test]
fn packets_of_no_possible_shape_are_refused_alone_at_every_level() {
    for suite in cbc_suites() {
        for level in levels() {
            let (sealer, opener) = pair(suite, level);
            let texts: Vec<_> = (0..20).map(|at| clear(suite, at, 4)).collect();
            let mut received = seal(&sealer, &texts, None);
            let whole = received[0].len();
            for (at, packet) in received.iter_mut().enumerate().filter(|(at, _)| at % 3 == 1) {
                packet.truncate(whole * at / 20);
            }
            for (at, outcome) in open(&opener, &mut received, None).into_iter().enumerate() {
                assert_eq!(outcome.is_ok(), at % 3 != 1, "{suite} {level:?} {at}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_batch_is_the_same_at_every_level(
        which in 0..cbc_suites().count(),
        batch in proptest::collection::vec((0usize..140, proptest::option::weighted(0.2, any::<usize>())), 1..=70),
        esn_hi in any::<Option<u32>>(),
    ) {
        check(cbc_suites().nth(which).unwrap(), &batch, esn_hi);
    }
}
