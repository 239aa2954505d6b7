//! One sample or more of every payload, with every optional part in use.

use std::net::{Ipv4Addr, Ipv6Addr};

use ike_wire::{
    Addresses, Attribute, AttributeType, AttributeValue, AuthMethod, Authentication, CertEncoding,
    Certificate, CertificateRequest, ConfigAttribute, ConfigAttributeType, ConfigType, Configuration, Delete,
    EncrId, ExchangeFlags, ExchangeType, Header, IdType, Identification, IkeSpi, IpSelector, KeGroup,
    KeyExchange, Notify, NotifyType, OtherSelector, Payload, PayloadType, PrfId, Proposal, ProtocolId,
    SecurityAssociation, TrafficSelector, TrafficSelectors, Transform, TransformType, TsType, UnknownPayload,
};

pub(crate) const HEADER: Header = Header {
    initiator_spi: IkeSpi(0x1122_3344_5566_7788),
    responder_spi: IkeSpi(0x99aa_bbcc_ddee_ff00),
    exchange: ExchangeType::CREATE_CHILD_SA,
    flags: ExchangeFlags { initiator: true, response: false, version: false },
    message_id: 42,
};

pub(crate) fn samples() -> Vec<Payload> {
    let v6 = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let range = |addresses| IpSelector { protocol: 17, start_port: 500, end_port: 4500, addresses };
    vec![
        Payload::SecurityAssociation(SecurityAssociation { proposals: vec![ike_proposal(), esp_proposal()] }),
        Payload::KeyExchange(KeyExchange { group: KeGroup::CURVE25519, data: vec![9; 32] }),
        Payload::IdInitiator(Identification::new(IdType::ID_FQDN, b"gw.example.net".to_vec())),
        Payload::IdResponder(Identification { kind: IdType::ID_KEY_ID, reserved: [1, 2, 3], data: vec![] }),
        Payload::Certificate(Certificate { encoding: CertEncoding::X509_SIGNATURE, data: vec![0x30; 9] }),
        Payload::CertificateRequest(CertificateRequest {
            encoding: CertEncoding(0),
            authorities: vec![4; 40],
        }),
        Payload::Authentication(Authentication { method: AuthMethod::SHARED_KEY_MIC, data: vec![5; 32] }),
        Payload::Nonce((0..32).collect()),
        Payload::Notify(Notify::about(ProtocolId::ESP, 0xdead_beef, NotifyType::REKEY_SA)),
        Payload::Notify(Notify::new(NotifyType(0x3fff), b"private".to_vec())),
        Payload::Delete(Delete::esp(vec![1, 0xffff_ffff])),
        Payload::Delete(Delete::ike()),
        Payload::VendorId(b"a maker".to_vec()),
        Payload::VendorId(vec![]),
        Payload::TsInitiator(TrafficSelectors {
            selectors: vec![
                TrafficSelector::Ip(range(Addresses::V4(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST))),
                TrafficSelector::Ip(range(Addresses::V6(v6(1), v6(9)))),
            ],
        }),
        Payload::TsResponder(TrafficSelectors {
            selectors: vec![TrafficSelector::Other(OtherSelector {
                kind: TsType::TS_SECLABEL,
                protocol: 0,
                data: b"label".to_vec(),
            })],
        }),
        Payload::Configuration(Configuration {
            kind: ConfigType::CFG_REQUEST,
            attributes: vec![
                ConfigAttribute { kind: ConfigAttributeType::INTERNAL_IP4_ADDRESS, value: vec![] },
                ConfigAttribute { kind: ConfigAttributeType(0x7abc), value: vec![1, 2, 3] },
            ],
        }),
        Payload::Eap(vec![1, 2, 0, 4]),
        Payload::Unknown(UnknownPayload { kind: PayloadType(199), critical: false, data: vec![8; 3] }),
    ]
}

fn ike_proposal() -> Proposal {
    let encr = EncrId::ENCR_AES_CBC.0;
    Proposal {
        number: 1,
        protocol: ProtocolId::IKE,
        spi: vec![7; 8],
        transforms: vec![
            Transform::with_key_length(TransformType::ENCR, encr, 256),
            Transform::with_key_length(TransformType::ENCR, encr, 128),
            Transform::new(TransformType::PRF, PrfId::PRF_HMAC_SHA1.0),
            Transform::new(TransformType(77), 0xfefe),
        ],
    }
}

fn esp_proposal() -> Proposal {
    let odd = Transform {
        kind: TransformType::ENCR,
        id: EncrId::ENCR_AES_GCM_16.0,
        key_length: Some(128),
        attributes: vec![
            Attribute { kind: AttributeType(99), value: AttributeValue::Short(1) },
            Attribute { kind: AttributeType::KEY_LENGTH, value: AttributeValue::Long(vec![0, 0, 1, 0]) },
        ],
    };
    Proposal {
        number: 2,
        protocol: ProtocolId::ESP,
        spi: vec![1, 2, 3, 4],
        transforms: vec![odd, Transform::new(TransformType::ESN, 1)],
    }
}

/// A body without its generic header, as it would stand in a chain.
pub(crate) fn body(payload: &Payload) -> Vec<u8> {
    let message = ike_wire::encode(&HEADER, std::slice::from_ref(payload)).unwrap();
    message[32..].to_vec()
}

/// A chain of one payload around any octets.
pub(crate) fn chain_of(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 4).unwrap();
    [&[0, 0], &length.to_be_bytes()[..], body].concat()
}
