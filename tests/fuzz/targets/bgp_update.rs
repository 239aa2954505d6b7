//! The body of an UPDATE: the first octet says what was negotiated.
#![no_main]

use bgp_wire::Update;
use libfuzzer_sys::fuzz_target;

#[path = "negotiated.rs"]
mod negotiated;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else { return };
    let _ = Update::decode(body, &negotiated::context(choice));
});
