//! Bytes no honest peer sends: cut short, lying about lengths, damaged, endless.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests are sentences, and may fail loudly")]

mod common;

use common::{HEADER, body, chain_of, samples};
use ike_wire::{
    Error, ExchangeType, Fragment, Header, MAX_CONFIG_ATTRIBUTES, MAX_FRAGMENTS, MAX_MESSAGE, MAX_PAYLOADS,
    MAX_PROPOSALS, MAX_TRANSFORMS, NotifyType, Payload, PayloadType, ProtectedLayout, encode,
    encode_fragments, encode_protected, parse_chain, parse_outer, unpad,
};
use proptest::prelude::*;

const LAYOUT: ProtectedLayout = ProtectedLayout { iv_len: 8, block: 1, icv_len: 16 };

/// The whole message with its header's length made to fit.
fn refit(mut message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    message[24..28].copy_from_slice(&length.to_be_bytes());
    message
}

/// What was read can be written, and reads the same again.
fn settles(first: PayloadType, bytes: &[u8]) {
    if let Ok(payloads) = parse_chain(first, bytes) {
        let again = encode(&HEADER, &payloads).unwrap();
        assert_eq!(parse_outer(&again).unwrap().payloads, payloads);
    }
}

#[test]
fn a_message_cut_anywhere_is_refused() {
    let message = encode(&HEADER, &samples()).unwrap();
    for end in 0..message.len() {
        assert!(parse_outer(&message[..end]).is_err(), "{end} octets, length as sent");
        if end >= 28 {
            assert!(
                parse_outer(&refit(message[..end].to_vec())).is_err(),
                "{end} octets, length made to fit"
            );
        }
        assert_eq!(Header::peek(&message[..end]).is_ok(), end >= 28);
    }
}

#[test]
fn a_chain_cut_anywhere_is_refused() {
    let message = encode(&HEADER, &samples()).unwrap();
    let first = PayloadType(message[16]);
    let chain = &message[28..];
    assert_eq!(parse_chain(first, chain).unwrap(), samples());
    for end in 0..chain.len() {
        assert!(parse_chain(first, &chain[..end]).is_err(), "{end} octets");
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_or_reads_as_a_shorter_one() {
    for payload in samples() {
        let body = body(&payload);
        for end in 0..body.len() {
            let cut = chain_of(&body[..end]);
            if let Ok(read) = parse_chain(payload.kind(), &cut) {
                assert_ne!(read, std::slice::from_ref(&payload));
                assert_eq!(encode(&HEADER, &read).unwrap()[28..], cut, "{payload:?} cut to {end}");
            }
        }
    }
}

#[test]
fn bodies_with_structure_refuse_octets_left_over() {
    for payload in samples() {
        let open_end = !matches!(
            payload,
            Payload::SecurityAssociation(_)
                | Payload::Delete(_)
                | Payload::TsInitiator(_)
                | Payload::TsResponder(_)
                | Payload::Configuration(_)
        );
        let longer = chain_of(&[body(&payload), vec![0]].concat());
        assert_eq!(parse_chain(payload.kind(), &longer).is_ok(), open_end, "{payload:?}");
    }
}

/// Every length, size and count field inside a sample: payload type, where in the body, its width, and why.
const MEASURES: &[(PayloadType, usize, usize, &str)] = &[
    (PayloadType::SA, 2, 2, "first proposal's length"),
    (PayloadType::SA, 6, 1, "first proposal's SPI size"),
    (PayloadType::SA, 7, 1, "first proposal's transform count"),
    (PayloadType::SA, 18, 2, "first transform's length"),
    (PayloadType::SA, 30, 2, "second transform's length"),
    (PayloadType::SA, 42, 2, "third transform's length"),
    (PayloadType::SA, 58, 2, "second proposal's length"),
    (PayloadType::SA, 62, 1, "second proposal's SPI size"),
    (PayloadType::SA, 63, 1, "second proposal's transform count"),
    (PayloadType::SA, 70, 2, "odd transform's length"),
    (PayloadType::SA, 86, 2, "long attribute's length"),
    (PayloadType::TS_I, 0, 1, "selector count"),
    (PayloadType::TS_I, 6, 2, "IPv4 selector's length"),
    (PayloadType::TS_I, 22, 2, "IPv6 selector's length"),
    (PayloadType::TS_R, 0, 1, "selector count"),
    (PayloadType::TS_R, 6, 2, "other selector's length"),
    (PayloadType::CP, 6, 2, "first attribute's length"),
    (PayloadType::CP, 10, 2, "second attribute's length"),
    (PayloadType::DELETE, 1, 1, "SPI size"),
    (PayloadType::DELETE, 2, 2, "SPI count"),
];

#[test]
fn a_length_that_lies_ends_inside_its_payload() {
    for &(kind, at, width, what) in MEASURES {
        let payload = samples().into_iter().find(|payload| payload.kind() == kind).unwrap();
        let body = body(&payload);
        let field =
            |body: &[u8]| body[at..at + width].iter().fold(0_usize, |n, octet| n << 8 | usize::from(*octet));
        let truth = field(&body);
        let near = (0..=truth + 40).chain((1 << (8 * width)) - 4..1 << (8 * width));
        for lie in near.filter(|lie| *lie != truth && *lie < 1 << (8 * width)) {
            // The first attribute may swallow the second whole: that is another message, not a lie.
            if what == "first attribute's length" && lie == 7 {
                continue;
            }
            let mut lying = body.clone();
            lying[at..at + width].copy_from_slice(&lie.to_be_bytes()[8 - width..]);
            let refused = parse_chain(kind, &chain_of(&lying));
            assert!(refused.is_err(), "{what}: {lie} for {truth} gave {refused:?}");
            assert_eq!(refused.unwrap_err().notify().kind, NotifyType::INVALID_SYNTAX);
        }
    }
}

#[test]
fn a_generic_header_that_lies_never_reaches_the_next_payload() {
    let payloads = samples();
    let message = encode(&HEADER, &payloads).unwrap();
    let mut at = 28;
    for payload in &payloads {
        let truth = u16::from_be_bytes([message[at + 2], message[at + 3]]);
        for lie in [0, 1, 3, u16::try_from(message.len() - at + 1).unwrap(), u16::MAX] {
            let mut lying = message.clone();
            lying[at + 2..at + 4].copy_from_slice(&lie.to_be_bytes());
            assert!(parse_outer(&lying).is_err(), "{payload:?} with length {lie}");
        }
        at += usize::from(truth);
    }
    assert_eq!(at, message.len());
}

#[test]
fn a_notification_cannot_claim_an_spi_beyond_its_end() {
    assert!(parse_chain(PayloadType::NOTIFY, &chain_of(&[3, 4, 0x40, 9, 1, 2, 3])).is_err());
    assert!(parse_chain(PayloadType::NOTIFY, &chain_of(&[3, 255, 0x40, 9, 1, 2, 3, 4])).is_err());
}

#[test]
fn nonces_have_16_to_256_octets() {
    for (length, good) in [(0, false), (15, false), (16, true), (256, true), (257, false)] {
        let read = parse_chain(PayloadType::NONCE, &chain_of(&vec![1; length]));
        assert_eq!(read.is_ok(), good, "{length}");
        assert_eq!(encode(&HEADER, &[Payload::Nonce(vec![1; length])]).is_ok(), good, "{length}");
    }
}

#[test]
fn endless_lists_end_at_their_bound() {
    let too_many = |what, limit| Err(Error::TooMany { what, limit });
    let vendor = [43, 0, 0, 4].repeat(MAX_PAYLOADS + 1);
    assert_eq!(parse_chain(PayloadType::VENDOR_ID, &vendor), too_many("payloads", MAX_PAYLOADS));
    let proposals = [2, 0, 0, 8, 1, 1, 0, 0].repeat(MAX_PROPOSALS + 1);
    assert_eq!(parse_chain(PayloadType::SA, &chain_of(&proposals)), too_many("proposals", MAX_PROPOSALS));
    let many = u8::try_from(MAX_TRANSFORMS + 1).unwrap();
    assert_eq!(
        parse_chain(PayloadType::SA, &chain_of(&[0, 0, 0, 8, 1, 1, 0, many])),
        too_many("transforms", MAX_TRANSFORMS)
    );
    let attributes = [vec![1, 0, 0, 0], [0, 1, 0, 0].repeat(MAX_CONFIG_ATTRIBUTES + 1)].concat();
    assert_eq!(
        parse_chain(PayloadType::CP, &chain_of(&attributes)),
        too_many("CP attributes", MAX_CONFIG_ATTRIBUTES)
    );
    assert!(parse_chain(PayloadType::NONE, &vec![0; MAX_MESSAGE + 1]).is_err());
}

#[test]
fn a_key_length_said_twice_is_refused() {
    let transform = [0, 0, 0, 16, 1, 0, 0, 12, 0x80, 14, 0, 128, 0x80, 14, 1, 0];
    let proposal = [&[0, 0, 0, 24, 1, 3, 0, 1], &transform[..]].concat();
    let refused = parse_chain(PayloadType::SA, &chain_of(&proposal)).unwrap_err();
    assert_eq!(refused, Error::Value { what: "second key length", value: 256 });
}

#[test]
fn an_empty_body_has_no_payloads_and_nothing_else_is_empty() {
    assert_eq!(parse_chain(PayloadType::NONE, &[]), Ok(vec![]));
    assert!(parse_chain(PayloadType::NONE, &[0]).is_err());
    assert!(parse_chain(PayloadType::VENDOR_ID, &[]).is_err());
}

#[test]
fn another_major_version_is_named_with_the_header_to_answer() {
    let mut message = encode(&HEADER, &samples()).unwrap();
    for (version, major) in [(0x10, 1), (0x30, 3), (0xff, 15)] {
        message[17] = version;
        let refused = parse_outer(&message).unwrap_err();
        assert_eq!(refused, Error::MajorVersion { major, header: HEADER });
        assert_eq!(refused.notify().kind, NotifyType::INVALID_MAJOR_VERSION);
    }
    message[17] = 0x2f;
    assert!(parse_outer(&message).is_ok(), "a minor version is nothing to refuse");
}

#[test]
fn reserved_bits_and_the_critical_bit_of_known_payloads_are_ignored() {
    let mut message = encode(&HEADER, &samples()).unwrap();
    message[19] |= 0xc7;
    message[29] = 0xff;
    let outer = parse_outer(&message).unwrap();
    assert_eq!(outer.header, HEADER);
    assert_eq!(outer.payloads, samples());
}

#[test]
fn an_encrypted_payload_is_the_last_and_never_inside_another() {
    let sealed = encode_protected(&HEADER, &samples(), LAYOUT).unwrap();
    assert!(parse_outer(&refit([&sealed.bytes[..], &[0; 4]].concat())).is_err());
    for kind in [PayloadType::SK, PayloadType::SKF] {
        assert_eq!(parse_chain(kind, &chain_of(&[0; 40])), Err(Error::Misplaced(kind)));
    }
}

#[test]
fn payloads_in_clear_may_precede_the_encrypted_one() {
    let clear = encode(&HEADER, &[Payload::VendorId(b"clear".to_vec())]).unwrap();
    let sealed = encode_protected(&HEADER, &samples(), LAYOUT).unwrap();
    let mut message = refit([&clear[..], &sealed.bytes[28..]].concat());
    message[28] = PayloadType::SK.0;
    let outer = parse_outer(&message).unwrap();
    assert_eq!(outer.payloads, [Payload::VendorId(b"clear".to_vec())]);
    assert_eq!(outer.protected.unwrap().header_len, clear.len() + 4);
}

#[test]
fn a_fragment_whose_place_cannot_be_is_refused() {
    let long = [Payload::VendorId(vec![1; 900])];
    let message = encode_fragments(&HEADER, &long, LAYOUT, 500).unwrap().remove(1).bytes;
    let most = u16::try_from(MAX_FRAGMENTS).unwrap();
    for (number, total, good) in
        [(1, 1, true), (2, 3, true), (most, most, true), (0, 2, false), (3, 2, false)]
    {
        let mut message = message.clone();
        message[32..34].copy_from_slice(&u16::to_be_bytes(number));
        message[34..36].copy_from_slice(&u16::to_be_bytes(total));
        let place = parse_outer(&message).map(|outer| outer.protected.and_then(|body| body.fragment));
        assert_eq!(place.is_ok(), good, "{number} of {total}");
        assert!(!good || place == Ok(Some(Fragment { number, total })));
    }
    let mut message = message;
    message[34..36].copy_from_slice(&(most + 1).to_be_bytes());
    assert!(matches!(parse_outer(&message), Err(Error::TooMany { what: "fragments", .. })));
}

#[test]
fn padding_cannot_be_longer_than_its_body() {
    assert_eq!(unpad(&[7, 8, 0]), Ok(&[7, 8][..]));
    assert_eq!(unpad(&[7, 8, 99, 99, 2]), Ok(&[7, 8][..]));
    assert_eq!(unpad(&[7, 8, 2]), Ok(&[][..]));
    assert!(unpad(&[7, 8, 3]).is_err());
    assert!(unpad(&[]).is_err());
}

#[test]
fn every_octet_changed_to_every_value_is_read_without_harm() {
    let message = encode(&HEADER, &samples()).unwrap();
    for at in 0..message.len() {
        for value in 0..=u8::MAX {
            let mut damaged = message.clone();
            damaged[at] = value;
            if let Ok(outer) = parse_outer(&damaged) {
                assert!(outer.payloads.len() <= MAX_PAYLOADS);
            }
        }
    }
}

proptest! {
    #[test]
    fn any_octets_are_read_without_harm(first in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Header::peek(&bytes);
        let _ = unpad(&bytes);
        if let Ok(outer) = parse_outer(&bytes) {
            prop_assert!(outer.protected.is_none_or(|body| body.header_len <= bytes.len()));
        }
        settles(PayloadType(first), &bytes);
    }

    #[test]
    fn any_octets_in_the_place_of_a_body_are_read_without_harm(
        pick in 0..19_usize,
        bytes in proptest::collection::vec(prop_oneof![0..9_u8, any::<u8>()], 0..120),
    ) {
        settles(samples()[pick].kind(), &chain_of(&bytes));
    }

    #[test]
    fn samples_damaged_in_several_places_are_read_without_harm(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut message = encode(&HEADER, &samples()).unwrap();
        for (at, value) in damage {
            *at.get_mut(&mut message[28..]) = value;
        }
        settles(PayloadType(message[16]), &message[28..]);
    }
}

#[test]
fn an_unknown_exchange_is_read_like_any_other() {
    let header = Header { exchange: ExchangeType(250), ..HEADER };
    let outer = parse_outer(&encode(&header, &[]).unwrap()).unwrap();
    assert_eq!(outer.header, header);
}
