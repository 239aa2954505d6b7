//! What is written reads back the same, fits where it must, and prints by its registry's names.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests are sentences, and may fail loudly")]

mod common;

use common::{HEADER, body, chain_of, samples};
use ike_wire::{
    ConfigAttribute, ConfigAttributeType, ConfigType, Configuration, Delete, EncodeError, EncrId,
    ExchangeFlags, ExchangeType, HEADER_LEN, Header, IdType, Identification, IkeSpi, KeGroup, MAX_FRAGMENTS,
    MAX_MESSAGE, MAX_PAYLOADS, Notify, NotifyType, Payload, PayloadType, Proposal, Protected,
    ProtectedLayout, ProtocolId, SecurityAssociation, TrafficSelectors, Transform, TransformType,
    UnknownPayload, encode, encode_fragments, encode_protected, parse_chain, parse_outer, unpad,
};
use proptest::prelude::*;

const AEAD: ProtectedLayout = ProtectedLayout { iv_len: 8, block: 1, icv_len: 16 };
const CBC: ProtectedLayout = ProtectedLayout { iv_len: 16, block: 16, icv_len: 12 };

/// The body between IV and ICV, as it stands before sealing.
fn plaintext(protected: &Protected, layout: ProtectedLayout) -> &[u8] {
    &protected.bytes[protected.header_len + layout.iv_len..protected.bytes.len() - layout.icv_len]
}

#[test]
fn every_payload_reads_back_alone_and_in_a_chain() {
    for payload in samples() {
        assert_eq!(parse_chain(payload.kind(), &chain_of(&body(&payload))).unwrap(), [payload]);
    }
    let message = encode(&HEADER, &samples()).unwrap();
    assert_eq!(parse_outer(&message).unwrap().payloads, samples());
}

#[test]
fn an_identity_is_signed_over_the_octets_it_came_in() {
    let received = [11, 1, 2, 3, b'k'];
    let Payload::IdResponder(id) = parse_chain(PayloadType::ID_R, &chain_of(&received)).unwrap().remove(0)
    else {
        panic!("IDr");
    };
    assert_eq!(id.body(), received);
    assert_eq!(Identification::new(IdType::ID_KEY_ID, vec![b'k']).body(), [11, 0, 0, 0, b'k']);
}

#[test]
fn a_response_mirrors_its_request() {
    let response = HEADER.response();
    assert!(response.flags.response && !response.flags.initiator);
    assert_eq!((response.message_id, response.exchange), (HEADER.message_id, HEADER.exchange));
    assert_eq!(
        (response.initiator_spi, response.responder_spi),
        (HEADER.initiator_spi, HEADER.responder_spi)
    );
}

#[test]
fn an_spi_prints_in_hex_and_comes_from_eight_octets_alone() {
    let spi = IkeSpi(0x00ff_0000_0000_0001);
    assert_eq!(format!("{spi} {spi:?}"), "00ff000000000001 00ff000000000001");
    assert_eq!(IkeSpi::from_bytes(&spi.to_bytes()), Some(spi));
    assert_eq!(IkeSpi::from_bytes(&[0; 4]), None);
    assert!(IkeSpi::ZERO.is_zero() && !spi.is_zero());
}

#[test]
fn a_protected_message_has_room_for_iv_padding_and_icv() {
    for layout in [AEAD, CBC, ProtectedLayout { iv_len: 8, block: 4, icv_len: 8 }] {
        for extra in 0..40 {
            let payloads = [Payload::VendorId(vec![0x5a; extra])];
            let protected = encode_protected(&HEADER, &payloads, layout).unwrap();
            let outer = parse_outer(&protected.bytes).unwrap();
            let place = outer.protected.unwrap();
            assert_eq!((place.first, place.fragment), (PayloadType::VENDOR_ID, None));
            assert_eq!((place.header_len, protected.header_len), (32, 32));
            let plaintext = plaintext(&protected, layout);
            assert_eq!(plaintext.len() % layout.block, 0);
            assert_eq!(parse_chain(place.first, unpad(plaintext).unwrap()).unwrap(), payloads);
            assert!(plaintext.len() < extra + 4 + 1 + layout.block, "no more padding than needed");
        }
    }
}

#[test]
fn an_empty_protected_message_is_a_pad_length_alone() {
    let protected = encode_protected(&HEADER, &[], AEAD).unwrap();
    assert_eq!(protected.bytes.len(), HEADER_LEN + 4 + 8 + 1 + 16);
    let place = parse_outer(&protected.bytes).unwrap().protected.unwrap();
    assert_eq!(place.first, PayloadType::NONE);
    assert_eq!(unpad(plaintext(&protected, AEAD)), Ok(&[][..]));
}

#[test]
fn fragments_fit_their_datagram_and_join_to_the_same_body() {
    for (layout, max) in [(AEAD, 65), (AEAD, 200), (CBC, 96), (CBC, 127), (CBC, 300)] {
        let fragments = encode_fragments(&HEADER, &samples(), layout, max).unwrap();
        let (mut joined, mut first) = (Vec::new(), PayloadType::NONE);
        for (i, fragment) in fragments.iter().enumerate() {
            assert!(fragment.bytes.len() <= max);
            let place = parse_outer(&fragment.bytes).unwrap().protected.unwrap();
            assert_eq!(place.header_len, fragment.header_len);
            let which = place.fragment.unwrap();
            assert_eq!(usize::from(which.number), i + 1);
            assert_eq!(usize::from(which.total), fragments.len());
            assert!(i == 0 || place.first == PayloadType::NONE);
            first = if i == 0 { place.first } else { first };
            joined.extend_from_slice(unpad(plaintext(fragment, layout)).unwrap());
        }
        assert!(fragments.len() > 1);
        assert_eq!(parse_chain(first, &joined).unwrap(), samples());
    }
}

#[test]
fn a_message_that_fits_is_not_cut() {
    let whole = encode_protected(&HEADER, &samples(), CBC).unwrap();
    let fit = whole.bytes.len();
    assert_eq!(encode_fragments(&HEADER, &samples(), CBC, fit).unwrap(), [whole]);
    assert_eq!(encode_fragments(&HEADER, &samples(), CBC, fit - 1).unwrap().len(), 2);
}

#[test]
fn a_datagram_too_small_for_content_is_an_error() {
    let long = [Payload::VendorId(vec![1; 1000])];
    let around = 36 + 8 + 16 + 1;
    for max in 0..=around {
        let error = EncodeError::FragmentSize { max_datagram: max };
        assert_eq!(encode_fragments(&HEADER, &long, AEAD, max), Err(error));
    }
    let per_fragment = 1004_usize.div_ceil(MAX_FRAGMENTS);
    assert!(encode_fragments(&HEADER, &long, AEAD, around + per_fragment).is_ok());
    assert!(encode_fragments(&HEADER, &long, AEAD, around + per_fragment - 1).is_err());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let fails = |payload: Payload| encode(&HEADER, &[payload]).unwrap_err();
    let half = || Payload::VendorId(vec![0; 40_000]);
    let whole = Err(EncodeError::TooLong { what: "message", length: 28 + 2 * 40_004 });
    assert_eq!(encode(&HEADER, &[half(), half()]), whole);
    assert!(encode_protected(&HEADER, &[half(), half()], AEAD).is_err());
    assert!(encode_fragments(&HEADER, &[half(), half()], AEAD, 1400).is_err());
    assert_eq!(
        fails(Payload::Eap(vec![0; 65_532])),
        EncodeError::TooLong { what: "payload", length: 65_536 }
    );
    let vendor = vec![Payload::VendorId(vec![]); MAX_PAYLOADS + 1];
    assert_eq!(
        encode(&HEADER, &vendor),
        Err(EncodeError::TooMany { what: "payloads", count: MAX_PAYLOADS + 1 })
    );
    let spi = Notify { spi: vec![0; 256], ..Notify::new(NotifyType::REKEY_SA, vec![]) };
    assert!(matches!(fails(Payload::Notify(spi)), EncodeError::TooMany { count: 256, .. }));
    let transforms = vec![Transform::new(TransformType::PRF, 1); 129];
    let proposals = vec![Proposal { number: 1, protocol: ProtocolId::IKE, spi: vec![], transforms }];
    let sa = Payload::SecurityAssociation(SecurityAssociation { proposals });
    assert_eq!(fails(sa), EncodeError::TooMany { what: "transforms", count: 129 });
    let attribute = ConfigAttribute { kind: ConfigAttributeType(1), value: vec![] };
    let configuration = Configuration { kind: ConfigType::CFG_SET, attributes: vec![attribute; 257] };
    assert!(matches!(fails(Payload::Configuration(configuration)), EncodeError::TooMany { count: 257, .. }));
    let zero = ProtectedLayout { block: 0, ..AEAD };
    assert!(matches!(encode_protected(&HEADER, &[], zero), Err(EncodeError::Invalid { .. })));
}

#[test]
fn what_a_reader_would_misread_is_never_written() {
    let invalid = [
        Payload::SecurityAssociation(SecurityAssociation { proposals: vec![] }),
        Payload::TsInitiator(TrafficSelectors { selectors: vec![] }),
        Payload::Delete(Delete { protocol: ProtocolId::IKE, spis: vec![1] }),
        Payload::Unknown(UnknownPayload { kind: PayloadType::NONE, critical: false, data: vec![] }),
        Payload::Unknown(UnknownPayload { kind: PayloadType::SK, critical: false, data: vec![] }),
        Payload::Unknown(UnknownPayload { kind: PayloadType::SA, critical: false, data: vec![] }),
    ];
    for payload in invalid {
        assert!(
            matches!(encode(&HEADER, std::slice::from_ref(&payload)), Err(EncodeError::Invalid { .. })),
            "{payload:?}"
        );
    }
}

#[test]
fn the_longest_message_is_written_and_read() {
    let payload = Payload::VendorId(vec![1; MAX_MESSAGE - HEADER_LEN - 4]);
    let message = encode(&HEADER, std::slice::from_ref(&payload)).unwrap();
    assert_eq!(message.len(), MAX_MESSAGE);
    assert_eq!(parse_outer(&message).unwrap().payloads, [payload]);
}

#[test]
fn registries_print_their_own_names_or_hex() {
    assert_eq!(
        format!("{:?} {:?}", ExchangeType::IKE_AUTH, ExchangeType(250)),
        "IKE_AUTH ExchangeType(0xfa)"
    );
    assert_eq!(format!("{:?} {:?}", PayloadType::SKF, PayloadType(200)), "SKF PayloadType(0xc8)");
    assert_eq!(
        format!("{} {}", NotifyType(16388), NotifyType(40500)),
        "NAT_DETECTION_SOURCE_IP NotifyType(0x9e34)"
    );
    assert_eq!(format!("{:?} {:?}", KeGroup(31), KeGroup(999)), "CURVE25519 KeGroup(0x3e7)");
    assert_eq!(format!("{:?} {:?}", EncrId(20), EncrId(0)), "ENCR_AES_GCM_16 EncrId(0x0)");
    assert_eq!(format!("{:?}", ConfigAttributeType(0x7007)), "UNITY_PFS");
    assert_eq!((NotifyType(14).name(), NotifyType(15).name()), (Some("NO_PROPOSAL_CHOSEN"), None));
    assert!(NotifyType(16383).is_error() && !NotifyType(16384).is_error());
}

fn transforms() -> impl Strategy<Value = Vec<Transform>> {
    let transform = (any::<u8>(), any::<u16>(), any::<Option<u16>>()).prop_map(|(kind, id, key_length)| {
        Transform { kind: TransformType(kind), id, key_length, attributes: vec![] }
    });
    proptest::collection::vec(transform, 0..6)
}

fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let spi = proptest::collection::vec(any::<u8>(), 0..9);
    let proposal =
        (any::<u8>(), any::<u8>(), spi, transforms()).prop_map(|(number, protocol, spi, transforms)| {
            Proposal { number, protocol: ProtocolId(protocol), spi, transforms }
        });
    proptest::collection::vec(proposal, 1..5)
}

fn payloads() -> impl Strategy<Value = Vec<Payload>> {
    let data = || proptest::collection::vec(any::<u8>(), 0..60);
    let payload = prop_oneof![
        proposals().prop_map(|proposals| Payload::SecurityAssociation(SecurityAssociation { proposals })),
        (any::<u8>(), data(), any::<u16>(), data()).prop_map(|(protocol, spi, kind, data)| {
            Payload::Notify(Notify { protocol: ProtocolId(protocol), spi, kind: NotifyType(kind), data })
        }),
        (any::<u8>(), any::<[u8; 3]>(), data()).prop_map(|(kind, reserved, data)| {
            Payload::IdInitiator(Identification { kind: IdType(kind), reserved, data })
        }),
        proptest::collection::vec(any::<u32>(), 0..9).prop_map(|spis| Payload::Delete(Delete::esp(spis))),
        (55..=u8::MAX, data()).prop_map(|(kind, data)| {
            Payload::Unknown(UnknownPayload { kind: PayloadType(kind), critical: false, data })
        }),
        data().prop_map(Payload::VendorId),
    ];
    proptest::collection::vec(payload, 0..8)
}

proptest! {
    #[test]
    fn any_values_read_back_the_same(
        (spis, exchange, bits, message_id) in (any::<(u64, u64)>(), any::<u8>(), any::<[bool; 3]>(), any::<u32>()),
        payloads in payloads(),
    ) {
        let [initiator, response, version] = bits;
        let header = Header {
            initiator_spi: IkeSpi(spis.0),
            responder_spi: IkeSpi(spis.1),
            exchange: ExchangeType(exchange),
            flags: ExchangeFlags { initiator, response, version },
            message_id,
        };
        let outer = parse_outer(&encode(&header, &payloads).unwrap()).unwrap();
        prop_assert_eq!(outer.header, header);
        prop_assert_eq!(outer.payloads, payloads);
    }
}
