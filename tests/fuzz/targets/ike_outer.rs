//! A datagram as it comes from anyone: header, payloads in clear, frame of the encrypted body.
#![no_main]

use ike_wire::{Header, encode, parse_outer, unpad};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let outer = match parse_outer(datagram) {
        Ok(outer) => outer,
        Err(error) => {
            // What an engine does with a refusal must work for every one.
            let _ = (error.to_string(), error.notify());
            return;
        }
    };
    assert_eq!(Header::peek(datagram), Ok(outer.header));
    if let Some(body) = outer.protected {
        let sealed = datagram.get(body.header_len..).expect("the body lies inside the datagram");
        let _ = unpad(sealed);
    }
    let again = encode(&outer.header, &outer.payloads).expect("what was read can be written");
    let again = parse_outer(&again).expect("what was written can be read");
    assert_eq!((again.header, again.payloads), (outer.header, outer.payloads));
});
