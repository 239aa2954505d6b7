//! GCM in wide registers: the octets are those of the plain way, at every length, for every key and ICV.

use lanes::Level;

use crate::{Encr, Frame, Opener, Sealer, Suite};

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
