//! The processor time of a whole IKE handshake (IKE_SA_INIT and IKE_AUTH with one CHILD SA, PSK), both ends in
//! memory, key exchanges included. Half of it is one end's.
#![expect(clippy::unwrap_used, reason = "a bench fails by saying so")]

use std::net::IpAddr;
use std::time::{Duration, Instant};

use causeway_benches::harness::Bench;
use causeway_benches::now;
use crypto::Secret;
use ike::{Command, ConnId, Connection, Engine, EspProposal, Event, IkeProposal, Limits, Path, Remote};

const CONN: ConnId = ConnId(1);

fn main() {
    let bench = Bench::from_env();
    for suite in [
        "aes128-sha256-curve25519",
        "aes256gcm16-prfsha256-ecp256",
        "aes256gcm16-prfsha384-ecp384",
        "aes256-sha1-modp1024",
        "aes256-sha256-modp2048",
        "aes256-sha512-modp4096",
    ] {
        let mut seed = 0;
        bench.case(&format!("handshake, both ends, {suite}"), 1, 0, || {
            seed += 1;
            shake(suite, seed, now());
        });
    }
}

fn address(host: usize) -> IpAddr {
    [IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2])][host]
}

fn engine(host: usize, suite: &str, seed: u64, now: Instant) -> Engine {
    let remote = Remote::Addresses(vec![address(1 - host)]);
    let mut connection = Connection::new("site", remote, Secret::from("a secret of some length"));
    connection.ike_proposals = vec![IkeProposal::parse(suite).unwrap()];
    connection.esp_proposals = vec![EspProposal::parse("aes256gcm16").unwrap()];
    let mut bytes = [host as u8; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut engine = Engine::new(bytes, Limits::default());
    engine.upsert_connection(CONN, connection, now);
    engine
}

fn shake(suite: &str, seed: u64, mut now: Instant) {
    let mut ends = [engine(0, suite, seed, now), engine(1, suite, seed, now)];
    let path = Path { local: (address(0), 500).into(), remote: (address(1), 500).into() };
    ends[0].handle_command(Command::Initiate { conn: CONN, path }, now);
    let mut up = [false; 2];
    while up != [true; 2] {
        now += Duration::from_millis(1);
        let mut moved = false;
        for host in [0, 1] {
            while let Some((id, work)) = ends[host].poll_work() {
                ends[host].handle_work(id, work.perform(), now);
                moved = true;
            }
            while let Some(event) = ends[host].poll_event() {
                up[host] |= matches!(event, Event::ChildUp(_));
            }
            while let Some(sent) = ends[host].poll_transmit() {
                let path = Path { local: sent.path.remote, remote: sent.path.local };
                ends[1 - host].handle_datagram(path, &sent.bytes, now);
                moved = true;
            }
        }
        assert!(moved || up == [true; 2], "the handshake stands still");
    }
}
