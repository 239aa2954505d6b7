//! The IKE engine as a stranger meets it: datagrams of any bytes from a few addresses, and time that passes.
//! Nothing may come of it but bounded answers.
#![no_main]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crypto::Secret;
use ike::{Command, ConnId, Connection, Engine, Event, Limits, Path, Remote};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let start = Instant::now();
    let ours: IpAddr = [203, 0, 113, 1].into();
    let peer: IpAddr = [192, 0, 2, 1].into();
    let mut engine = Engine::new([7; 32], Limits::default());
    let connection = Connection::new("fuzzed", Remote::Addresses(vec![peer]), Secret::from("fuzzed"));
    engine.upsert_connection(ConnId(1), connection, start);
    engine.handle_command(Command::Initiate { conn: ConnId(1), path: Path::ike(ours, peer) }, start);
    let mut now = start;
    let mut rest = bytes;
    // Each datagram: an octet that chooses sender, port and delay, two octets of length, and the bytes.
    while let [choice, high, low, tail @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]) % 1600).min(tail.len());
        let (datagram, after) = tail.split_at(length);
        rest = after;
        now += Duration::from_millis(u64::from(choice >> 3) * 200);
        let from = if choice & 1 == 0 { peer } else { [198, 51, 100, *choice].into() };
        let mut path = Path::ike(ours, from);
        if choice & 2 != 0 {
            path = path.floated();
        }
        engine.handle_datagram(path, datagram, now);
        engine.handle_timeout(now);
        while let Some(event) = engine.poll_event() {
            assert!(!matches!(event, Event::IkeUp(_) | Event::ChildUp(_)), "a stranger got in");
        }
        while engine.poll_transmit().is_some() {}
        while let Some((id, work)) = engine.poll_work() {
            // Key exchanges take milliseconds; most inputs shall not pay for them.
            if choice & 4 != 0 {
                engine.handle_work(id, work.perform(), now);
            }
        }
        assert!(engine.half_open() <= engine.half_open_bound());
    }
});
