//! GCM in wide registers: the octets are those of the plain way, at every length, for every key and ICV.

use lanes::Level;

use crate::{Encr, Forged, Frame, Opener, Sealer, Suite};

fn sealed(sealer: &Sealer, text: usize, esn_hi: Option<u32>) -> Vec<u8> {
    let len = 8 + sealer.suite().iv_len() + text + sealer.suite().icv_len();
    let mut bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 256 + text) as u8).collect();
    sealer.seal(Frame { bytes: &mut bytes, header: 8, esn_hi }, text as u64 + 1).unwrap();
    bytes
}

#[test]
fn wide_gcm_and_the_plain_one_understand_each_other_at_every_length() {
    let aes_gcm = |encr| matches!(encr, Encr::AesGcm8(_) | Encr::AesGcm12(_) | Encr::AesGcm16(_));
    for suite in Suite::all().filter(|suite| aes_gcm(suite.encr)) {
        let key: Vec<u8> = (1..).take(suite.encr_key_len()).collect();
        let pair = |level| {
            let sealer = Sealer::with_lanes(suite, &key, &[], [0; 16], level).unwrap();
            (sealer, Opener::with_lanes(suite, &key, &[], level).unwrap())
        };
        let (wide, plain) = (pair(Level::best()), pair(None));
        for (text, esn_hi) in (0..700).chain(1490..1580).map(|len| (len, (len % 3 == 0).then_some(5))) {
            let bytes = sealed(&wide.0, text, esn_hi);
            assert_eq!(bytes, sealed(&plain.0, text, esn_hi), "{suite} {text}");
            let open = |opener: &Opener, change: Option<usize>| {
                let mut bytes = bytes.clone();
                if let Some(at) = change {
                    bytes[at] ^= 1;
                }
                let frame = Frame { bytes: &mut bytes, header: 8, esn_hi };
                opener.open(frame).map(|range| bytes[range].to_vec())
            };
            let clear = open(&plain.1, None).unwrap();
            assert_eq!(open(&wide.1, None).as_ref(), Ok(&clear), "{suite} {text}");
            for change in [0, 7, 8, 15, bytes.len() - suite.icv_len(), bytes.len() - 1, text % bytes.len()] {
                assert!(open(&wide.1, Some(change)).is_err(), "{suite} {text}, octet {change} changed");
            }
        }
    }
}

/// A batch of `count` packets of many lengths.
fn batch(sealer: &Sealer, count: usize, esn_hi: Option<u32>) -> Vec<Vec<u8>> {
    let icv = sealer.suite().icv_len();
    let mut packets: Vec<Vec<u8>> =
        (0..count).map(|at| vec![at as u8; 8 + 8 + [1404, 0, 64, 3000, 7][at % 5] + at + icv]).collect();
    let mut frames: Vec<_> =
        packets.iter_mut().map(|bytes| Frame { bytes: bytes.as_mut_slice(), header: 8, esn_hi }).collect();
    sealer.seal_batch(&mut frames, 77).unwrap();
    packets
}

#[test]
fn a_batch_is_sealed_and_opened_as_its_packets_are_one_by_one() {
    let suite = Suite::new(Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap();
    let key: Vec<u8> = (1..).take(suite.encr_key_len()).collect();
    let sealer = |level| Sealer::with_lanes(suite, &key, &[], [0; 16], level).unwrap();
    let opener = |level| Opener::with_lanes(suite, &key, &[], level).unwrap();
    for count in (0..=20).chain(63..=66).chain([130]) {
        let esn_hi = (count % 2 == 0).then_some(9);
        let mut packets = batch(&sealer(Level::best()), count, esn_hi);
        assert_eq!(packets, batch(&sealer(None), count, esn_hi), "{count}");
        packets.iter_mut().skip(2).step_by(5).for_each(|packet| packet[12] ^= 1);
        packets.iter_mut().skip(3).step_by(7).for_each(|packet| packet.truncate(20));
        let opened = |opener: Opener| {
            let mut packets = packets.clone();
            let mut frames: Vec<_> = packets
                .iter_mut()
                .map(|bytes| Frame { bytes: bytes.as_mut_slice(), header: 8, esn_hi })
                .collect();
            let mut outcomes = Vec::new();
            opener.open_batch(&mut frames, |index, outcome| outcomes.push((index, outcome)));
            let clear = |(index, outcome): (usize, Result<core::ops::Range<usize>, Forged>)| {
                (index, outcome.map(|range| packets[index][range].to_vec()))
            };
            outcomes.into_iter().map(clear).collect::<Vec<_>>()
        };
        let outcomes = opened(opener(Level::best()));
        assert_eq!(outcomes, opened(opener(None)), "{count}");
        let bad = |index: &usize| index % 5 == 2 || index % 7 == 3;
        assert!(outcomes.iter().all(|(index, outcome)| outcome.is_err() == bad(index)), "{count}");
        assert!(outcomes.iter().map(|(index, _)| *index).eq(0..count), "{count}");
    }
}

#[test]
fn a_batch_with_a_misfit_is_not_touched() {
    let suite = Suite::new(Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap();
    let key: Vec<u8> = (1..).take(suite.encr_key_len()).collect();
    let sealer = Sealer::new(suite, &key, &[], [0; 16]).unwrap();
    for misfit in [0, 3, 69] {
        let mut packets = vec![vec![0x5a; 100]; 70];
        packets[misfit].truncate(31);
        let before = packets.clone();
        let mut frames: Vec<_> = packets
            .iter_mut()
            .map(|bytes| Frame { bytes: bytes.as_mut_slice(), header: 8, esn_hi: None })
            .collect();
        assert!(sealer.seal_batch(&mut frames, 1).is_err());
        assert!(packets == before, "{misfit}");
    }
}
