//! The judge from outside: messages another implementation wrote, and what they say, by hand.
//!
//! `vectors/scapy.txt` holds bytes of scapy's IKEv2 layer; `vectors/generate.py` made it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests are sentences, and may fail loudly"
)]

use std::net::{Ipv4Addr, Ipv6Addr};

use ike_wire::{
    Addresses, AuthMethod, Authentication, CertEncoding, Certificate, CertificateRequest, ConfigAttribute,
    ConfigAttributeType, ConfigType, Configuration, Delete, EncrId, Error, ExchangeFlags, ExchangeType,
    Fragment, Header, IdType, Identification, IkeSpi, IntegId, IpSelector, KeGroup, KeyExchange, Notify,
    NotifyType, Payload, PayloadType, PrfId, Proposal, ProtectedBody, ProtocolId, SecurityAssociation,
    TrafficSelector, TrafficSelectors, Transform, TransformType, UnknownPayload, encode, parse_chain,
    parse_outer,
};

const VECTORS: &str = include_str!("vectors/scapy.txt");
const I: IkeSpi = IkeSpi(0x0102_0304_0506_0708);
const R: IkeSpi = IkeSpi(0x1112_1314_1516_1718);
const ESP: u32 = 0xc0ff_ee01;

fn vector(name: &str) -> Vec<u8> {
    let prefix = format!("{name} = ");
    let hex = VECTORS.lines().find_map(|line| line.strip_prefix(&prefix)).expect("a vector of this name");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn header(
    exchange: ExchangeType,
    responder_spi: IkeSpi,
    initiator: bool,
    response: bool,
    message_id: u32,
) -> Header {
    let flags = ExchangeFlags { initiator, response, version: false };
    Header { initiator_spi: I, responder_spi, exchange, flags, message_id }
}

/// A message in clear reads as expected, and is written again to the same octets.
fn same_message(name: &str, header: Header, payloads: &[Payload]) {
    let bytes = vector(&format!("message {name}"));
    let outer = parse_outer(&bytes).unwrap();
    assert_eq!(outer.header, header);
    assert_eq!(outer.payloads, payloads);
    assert_eq!(outer.protected, None);
    assert_eq!(encode(&header, payloads).unwrap(), bytes);
}

/// A decrypted body reads as expected, and is written again to the same octets.
fn same_chain(name: &str, payloads: &[Payload]) {
    let bytes = vector(&format!("chain {name}"));
    let first = PayloadType(name.split(' ').next().unwrap().parse().unwrap());
    assert_eq!(parse_chain(first, &bytes).unwrap(), payloads);
    let any = header(ExchangeType::INFORMATIONAL, R, true, false, 0);
    let message = encode(&any, payloads).unwrap();
    assert_eq!(message[16], first.0);
    assert_eq!(message[28..], bytes);
}

fn sa(proposals: Vec<Proposal>) -> Payload {
    Payload::SecurityAssociation(SecurityAssociation { proposals })
}

fn azure() -> Proposal {
    Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, EncrId::ENCR_AES_CBC.0, 256),
            Transform::new(TransformType::PRF, PrfId::PRF_HMAC_SHA1.0),
            Transform::new(TransformType::INTEG, IntegId::AUTH_HMAC_SHA1_96.0),
            Transform::new(TransformType::KE, KeGroup::MODP_1024.0),
        ],
    }
}

fn gcm() -> Proposal {
    let aes = EncrId::ENCR_AES_GCM_16.0;
    Proposal {
        number: 2,
        protocol: ProtocolId::IKE,
        spi: vec![],
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, aes, 256),
            Transform::with_key_length(TransformType::ENCR, aes, 128),
            Transform::new(TransformType::PRF, PrfId::PRF_HMAC_SHA2_256.0),
            Transform::new(TransformType::KE, KeGroup::CURVE25519.0),
            Transform::new(TransformType::KE, KeGroup::ECP_256.0),
        ],
    }
}

fn note(kind: NotifyType, data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(kind, data.to_vec()))
}

#[test]
fn a_first_request_with_two_proposals() {
    let payloads = [
        sa(vec![azure(), gcm()]),
        Payload::KeyExchange(KeyExchange { group: KeGroup::MODP_1024, data: (0..128).collect() }),
        Payload::Nonce(vec![b'n'; 32]),
        note(NotifyType::NAT_DETECTION_SOURCE_IP, &[b's'; 20]),
        note(NotifyType::NAT_DETECTION_DESTINATION_IP, &[b'd'; 20]),
        note(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED, &[]),
        note(NotifyType::SIGNATURE_HASH_ALGORITHMS, &[0, 2, 0, 3, 0, 4]),
    ];
    same_message("init request", header(ExchangeType::IKE_SA_INIT, IkeSpi::ZERO, true, false, 0), &payloads);
}

#[test]
fn a_hub_that_sends_vendor_ids_and_a_certificate_request_of_encoding_zero() {
    let payloads = [
        sa(vec![azure()]),
        Payload::KeyExchange(KeyExchange { group: KeGroup::MODP_1024, data: vec![7; 128] }),
        Payload::Nonce(vec![b'r'; 20]),
        Payload::VendorId(b"CISCO-DELETE-REASON".to_vec()),
        Payload::VendorId(b"CISCOVPN-REV-02".to_vec()),
        Payload::VendorId(b"CISCO-DYNAMIC-ROUTE".to_vec()),
        Payload::VendorId(b"FLEXVPN-SUPPORTED".to_vec()),
        note(NotifyType::NAT_DETECTION_SOURCE_IP, &[b's'; 20]),
        note(NotifyType::NAT_DETECTION_DESTINATION_IP, &[b'd'; 20]),
        Payload::CertificateRequest(CertificateRequest { encoding: CertEncoding(0), authorities: vec![] }),
    ];
    let header = header(ExchangeType::IKE_SA_INIT, R, false, true, 0);
    same_message("init response of a FlexVPN hub", header, &payloads);
    let words: Vec<_> = payloads.iter().map(Payload::notation).collect();
    assert_eq!(
        words.join(" "),
        "SA KE No V V V V N(NAT_DETECTION_SOURCE_IP) N(NAT_DETECTION_DESTINATION_IP) CERTREQ"
    );
}

#[test]
fn answers_of_one_notification() {
    let header = header(ExchangeType::IKE_SA_INIT, IkeSpi::ZERO, false, true, 0);
    // The 38 octets Azure answers a wrong group with.
    assert_eq!(vector("message invalid ke").len(), 38);
    same_message("invalid ke", header, &[note(NotifyType::INVALID_KE_PAYLOAD, &[0, 14])]);
    same_message("cookie", header, &[note(NotifyType::COOKIE, b"cookie!!")]);
}

#[test]
fn a_sealed_message_shows_where_its_iv_begins() {
    let outer = parse_outer(&vector("message sealed")).unwrap();
    assert_eq!(outer.header, header(ExchangeType::INFORMATIONAL, R, true, true, 7));
    assert_eq!(outer.payloads, []);
    let body = ProtectedBody { first: PayloadType::DELETE, header_len: 32, fragment: None };
    assert_eq!(outer.protected, Some(body));
}

#[test]
fn a_fragment_says_its_place() {
    let outer = parse_outer(&vector("message fragment")).unwrap();
    let fragment = Some(Fragment { number: 2, total: 3 });
    assert_eq!(outer.protected, Some(ProtectedBody { first: PayloadType::NONE, header_len: 36, fragment }));
}

#[test]
fn an_auth_answer_with_a_vendor_id_in_front_and_selectors_of_both_families() {
    let esp = Proposal {
        number: 1,
        protocol: ProtocolId::ESP,
        spi: ESP.to_be_bytes().to_vec(),
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, EncrId::ENCR_AES_CBC.0, 256),
            Transform::new(TransformType::INTEG, IntegId::AUTH_HMAC_SHA1_96.0),
            Transform::new(TransformType::ESN, 0),
        ],
    };
    let v4 = |protocol, first: [u8; 4], last: [u8; 4]| {
        let addresses = Addresses::V4(Ipv4Addr::from(first), Ipv4Addr::from(last));
        TrafficSelector::Ip(IpSelector { protocol, start_port: 0, end_port: 65535, addresses })
    };
    let v6 = TrafficSelector::Ip(IpSelector {
        protocol: 6,
        start_port: 179,
        end_port: 179,
        addresses: Addresses::V6(
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff),
        ),
    });
    let selectors = vec![v4(0, [0; 4], [255; 4]), v4(47, [198, 51, 100, 1], [198, 51, 100, 1])];
    same_chain(
        "43 auth answer of a FlexVPN hub",
        &[
            Payload::VendorId(b"CISCO-DELETE-REASON".to_vec()),
            Payload::IdResponder(Identification::new(IdType::ID_IPV4_ADDR, vec![192, 0, 2, 1])),
            Payload::Authentication(Authentication {
                method: AuthMethod::SHARED_KEY_MIC,
                data: vec![0xa5; 20],
            }),
            sa(vec![esp]),
            Payload::TsInitiator(TrafficSelectors { selectors }),
            Payload::TsResponder(TrafficSelectors { selectors: vec![v6] }),
            note(NotifyType::SET_WINDOW_SIZE, &[0, 0, 0, 5]),
            note(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED, &[]),
            note(NotifyType::NON_FIRST_FRAGMENTS_ALSO, &[]),
        ],
    );
}

#[test]
fn a_configuration_pushed_by_a_hub() {
    let attribute = |kind, value: &[u8]| ConfigAttribute { kind, value: value.to_vec() };
    same_chain(
        "47 cfg set",
        &[Payload::Configuration(Configuration {
            kind: ConfigType::CFG_SET,
            attributes: vec![
                attribute(ConfigAttributeType::INTERNAL_IP4_SUBNET, &[10, 0, 0, 0, 255, 0, 0, 0]),
                attribute(ConfigAttributeType::APPLICATION_VERSION, b"Cisco IOS"),
                attribute(ConfigAttributeType(0x7007), &[0, 1]),
            ],
        })],
    );
}

#[test]
fn deletes_of_child_sas_and_of_the_ike_sa() {
    same_chain("42 delete", &[Payload::Delete(Delete::esp(vec![ESP, 256])), Payload::Delete(Delete::ike())]);
}

#[test]
fn a_private_notification_with_an_error_code_of_its_maker() {
    let (status, failed) = (NotifyType(12345), NotifyType::AUTHENTICATION_FAILED);
    same_chain("41 microsoft status", &[note(status, &[0, 0, 0, 87]), note(failed, &[])]);
    assert!(status.is_error() && failed.is_error());
}

#[test]
fn a_rekeying_request_with_spis() {
    let proposal = Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: R.to_bytes().to_vec(),
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, EncrId::ENCR_AES_GCM_16.0, 256),
            Transform::new(TransformType::PRF, PrfId::PRF_HMAC_SHA2_512.0),
            Transform::new(TransformType::KE, KeGroup::ECP_521.0),
        ],
    };
    let rekey = Notify::about(ProtocolId::ESP, ESP, NotifyType::REKEY_SA);
    assert_eq!(rekey.child_spi(), Some(ESP));
    same_chain("41 rekey", &[Payload::Notify(rekey), sa(vec![proposal]), Payload::Nonce(vec![b'k'; 16])]);
}

#[test]
fn identities_certificates_and_eap() {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).octets().to_vec();
    same_chain(
        "35 identities",
        &[
            Payload::IdInitiator(Identification::new(IdType::ID_FQDN, b"gw.example.net".to_vec())),
            Payload::IdResponder(Identification::new(IdType::ID_IPV6_ADDR, v6)),
            Payload::Certificate(Certificate {
                encoding: CertEncoding::HASH_AND_URL_X509,
                data: b"hash and url".to_vec(),
            }),
            Payload::Eap(vec![1, 1, 0, 5, 1]),
        ],
    );
}

#[test]
fn an_unknown_payload_is_kept_unless_it_is_critical() {
    let unknown = UnknownPayload { kind: PayloadType(200), critical: false, data: b"future".to_vec() };
    same_chain("200 unknown", &[Payload::Unknown(unknown), Payload::Nonce(vec![b'k'; 16])]);
    let refused = parse_chain(PayloadType(201), &vector("chain 201 unknown critical")).unwrap_err();
    assert_eq!(refused, Error::UnsupportedCriticalPayload(PayloadType(201)));
    assert_eq!(refused.notify(), Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![201]));
}
