//! A decrypted body: the first octet is the type of its first payload.
#![no_main]

use ike_wire::{
    ExchangeFlags, ExchangeType, Header, IkeSpi, Payload, ProtectedLayout, encode_fragments, parse_chain,
    parse_outer, unpad,
};
use libfuzzer_sys::fuzz_target;

const HEADER: Header = Header {
    initiator_spi: IkeSpi(1),
    responder_spi: IkeSpi(2),
    exchange: ExchangeType::IKE_AUTH,
    flags: ExchangeFlags { initiator: true, response: false, version: false },
    message_id: 1,
};
const LAYOUT: ProtectedLayout = ProtectedLayout { iv_len: 16, block: 16, icv_len: 12 };

fuzz_target!(|input: &[u8]| {
    let Some((&first, body)) = input.split_first() else { return };
    let Ok(payloads) = parse_chain(first.into(), body) else { return };
    let _: Vec<String> = payloads.iter().map(Payload::notation).collect();
    // Written in fragments and joined again, it is the same.
    let mut joined = Vec::new();
    let mut first = None;
    for fragment in encode_fragments(&HEADER, &payloads, LAYOUT, 576).expect("what was read can be written") {
        let place =
            parse_outer(&fragment.bytes).expect("a fragment reads").protected.expect("an encrypted body");
        first = first.or(Some(place.first));
        let end = fragment.bytes.len() - LAYOUT.icv_len;
        joined.extend_from_slice(
            unpad(&fragment.bytes[place.header_len + LAYOUT.iv_len..end]).expect("padding"),
        );
    }
    assert_eq!(parse_chain(first.expect("one fragment at least"), &joined), Ok(payloads));
});
