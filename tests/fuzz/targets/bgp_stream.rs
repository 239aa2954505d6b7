//! A peer's byte stream: the first octet says what was negotiated and how the stream comes in pieces.
#![no_main]

use bgp_wire::{Cutter, Message};
use libfuzzer_sys::fuzz_target;

#[path = "negotiated.rs"]
mod negotiated;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, stream)) = input.split_first() else { return };
    let context = negotiated::context(choice);
    let mut cutter = Cutter::new();
    for piece in stream.chunks(1 + usize::from(choice >> 5) * 7) {
        cutter.push(piece);
        loop {
            match cutter.next_frame(&context) {
                Ok(Some(frame)) => match Message::decode(&frame, &context) {
                    Ok(message) => assert_eq!(message.kind(), frame.kind()),
                    Err(_) => return,
                },
                Ok(None) => break,
                Err(_) => return,
            }
        }
        assert!(cutter.pending() <= stream.len());
    }
});
