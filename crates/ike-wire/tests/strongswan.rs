//! The judge from the field: a session between two strongSwan daemons, read as strongSwan itself read it.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests are sentences, and may fail loudly"
)]

use ike_wire::{
    ExchangeFlags, ExchangeType, Header, IkeSpi, Payload, PayloadType, encode, parse_chain, parse_outer,
};

/// A line of `vectors/strongswan.txt`.
struct Vector {
    exchange: String,
    response: bool,
    message_id: u32,
    words: String,
    bytes: Vec<u8>,
}

fn vectors(kind: &str) -> Vec<Vector> {
    let lines = include_str!("vectors/strongswan.txt").lines().filter_map(|line| line.strip_prefix(kind));
    lines
        .map(|line| Vector::parse(line.trim_start()).expect("EXCHANGE request|response ID [ WORDS ] = HEX"))
        .collect()
}

impl Vector {
    fn parse(line: &str) -> Option<Self> {
        let (name, hex) = line.split_once(" = ")?;
        let (name, words) = name.split_once('[')?;
        let mut name = name.split(' ');
        Some(Self {
            exchange: name.next()?.to_owned(),
            response: name.next()? == "response",
            message_id: name.next()?.parse().ok()?,
            words: words.trim_end_matches(']').trim().to_owned(),
            bytes: (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
                .collect::<Option<_>>()?,
        })
    }

    fn first(&self) -> PayloadType {
        match self.words.split([' ', '(']).next().unwrap() {
            "SA" => PayloadType::SA,
            "IDi" => PayloadType::ID_I,
            "IDr" => PayloadType::ID_R,
            "N" => PayloadType::NOTIFY,
            "D" => PayloadType::DELETE,
            other => panic!("{other} begins no body of this session"),
        }
    }
}

/// strongSwan's abbreviations and the registry's names.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("NAT_DETECTION_SOURCE_IP", "NATD_S_IP"),
    ("NAT_DETECTION_DESTINATION_IP", "NATD_D_IP"),
    ("IKEV2_FRAGMENTATION_SUPPORTED", "FRAG_SUP"),
    ("SIGNATURE_HASH_ALGORITHMS", "HASH_ALG"),
    ("REDIRECT_SUPPORTED", "REDIR_SUP"),
    ("MULTIPLE_AUTH_SUPPORTED", "MULT_AUTH"),
    ("INITIAL_CONTACT", "INIT_CONTACT"),
    ("EAP_ONLY_AUTHENTICATION", "EAP_ONLY"),
    ("IKEV2_MESSAGE_ID_SYNC_SUPPORTED", "MSG_ID_SYN_SUP"),
];

fn words(payloads: &[Payload]) -> String {
    let words = payloads.iter().map(Payload::notation).collect::<Vec<_>>().join(" ");
    ABBREVIATIONS.iter().fold(words, |words, (long, short)| words.replace(long, short))
}

#[test]
fn every_message_is_read_as_strongswan_reads_it() {
    let vectors = vectors("message");
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let outer = parse_outer(&vector.bytes).unwrap();
        assert_eq!(outer.header.exchange.to_string(), vector.exchange);
        assert_eq!(outer.header.flags.response, vector.response);
        assert_eq!(outer.header.message_id, vector.message_id);
        match outer.protected {
            None => {
                assert_eq!(words(&outer.payloads), vector.words);
                assert_eq!(encode(&outer.header, &outer.payloads).unwrap(), vector.bytes);
            }
            Some(body) => {
                let place = body.fragment.map(|place| format!("EF({}/{})", place.number, place.total));
                assert_eq!(place.is_some(), vector.words.starts_with("EF"));
                assert_eq!(place.unwrap_or_else(|| vector.words.clone()), vector.words);
                assert_eq!(body.header_len, if body.fragment.is_some() { 36 } else { 32 });
            }
        }
    }
}

#[test]
fn every_body_is_read_as_strongswan_reads_it_and_written_to_the_same_octets() {
    let header = Header {
        initiator_spi: IkeSpi(1),
        responder_spi: IkeSpi(2),
        exchange: ExchangeType::INFORMATIONAL,
        flags: ExchangeFlags::default(),
        message_id: 0,
    };
    let vectors = vectors("chain");
    assert_eq!(vectors.len(), 12);
    for vector in vectors {
        let payloads = parse_chain(vector.first(), &vector.bytes).unwrap();
        assert_eq!(words(&payloads), vector.words);
        assert_eq!(encode(&header, &payloads).unwrap()[28..], vector.bytes, "{}", vector.words);
    }
}
