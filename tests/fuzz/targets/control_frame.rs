//! Frames of the control socket as a hostile local process would send them.
#![no_main]

use control::frame::{self, Kind};
use control::{Answer, Request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = bytes;
    while let Ok((kind, body)) = frame::read(&mut input, frame::MAX_REQUEST) {
        let mut again = Vec::new();
        frame::write(&mut again, kind, &body).expect("what was read can be written");
        assert!(bytes.windows(again.len()).any(|window| window == again));
        if kind != Kind::Json {
            continue;
        }
        if let Ok(request) = serde_json::from_slice::<Request>(&body) {
            let text = serde_json::to_vec(&request).expect("a request prints");
            assert_eq!(serde_json::from_slice::<Request>(&text).expect("and reads"), request);
        }
        let _ = serde_json::from_slice::<Answer>(&body);
    }
});
