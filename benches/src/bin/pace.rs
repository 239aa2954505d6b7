//! Numbered UDP datagrams at a steady rate, one packet a time as an ordinary sender makes them, and their count.
//!
//! `pace receive --bind ADDRESS:PORT` prints `ready`, counts until nothing comes any more, and prints one line of
//! JSON: what came, and the longest gap between two datagrams in each tenth of a second since the first, in
//! microseconds. `pace send --to ADDRESS:PORT --rate PER_SECOND --size OCTETS --millis TIME [--spread N [--step M]]`
//! sends, with `--spread` to N addresses in turn, M apart (default 4).

use std::error::Error;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use causeway_benches::args::Args;
use causeway_benches::now;
use kernel::datagram::{RecvRing, Run, SendArena};
use kernel::epoll::{Epoll, Interest};
use kernel::udp::{UdpOptions, UdpSocket};

type Failure = Box<dyn Error>;

/// Datagrams of one system call at most; a sender of steady traffic makes small bursts.
const BURST: u64 = 32;
/// How long the sender sleeps when nothing is due.
const NAP: Duration = Duration::from_micros(50);
/// Silence after which the receiver has heard all.
const SILENCE: Duration = Duration::from_millis(400);
/// How long it waits for the first.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time over which the longest gap is kept.
const SLICE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Failure> {
    let args = Args::from_env();
    match std::env::args().nth(1).as_deref() {
        Some("send") => send(&args),
        Some("receive") => receive(&args),
        Some(_) | None => Err("pace send|receive".into()),
    }
}

fn open(bind: SocketAddr) -> Result<UdpSocket, Failure> {
    Ok(UdpSocket::bind(&UdpOptions { offload: false, ..UdpOptions::new(bind) })?)
}

fn send(args: &Args) -> Result<(), Failure> {
    let dest: SocketAddr = args.need("to")?.parse()?;
    let any: IpAddr =
        if dest.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = open(SocketAddr::new(any, 0))?;
    let (rate, size) = (args.number("rate", 1000)?, args.number("size", 1300)?.max(8) as usize);
    let length = Duration::from_millis(args.number("millis", 1000)?);
    let targets = targets(dest, args)?;
    let mut arena = SendArena::with_wait(Duration::from_millis(1));
    let mut payload = vec![0u8; size * BURST as usize];
    let (began, mut sent, mut lost) = (now(), 0u64, 0u64);
    while began.elapsed() < length {
        let due = (began.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
        if due <= sent {
            std::thread::sleep(NAP);
            continue;
        }
        let count = (due - sent).min(BURST);
        for (number, datagram) in (sent..sent + count).zip(payload.chunks_exact_mut(size)) {
            if let Some(place) = datagram.first_chunk_mut() {
                *place = number.to_be_bytes();
            }
        }
        let turn = targets.iter().cycle().skip(sent as usize % targets.len());
        let bytes = payload.chunks_exact(size).take(count as usize);
        let runs: Vec<Run<'_>> = turn.zip(bytes).map(|(dest, bytes)| Run::single(*dest, bytes)).collect();
        let report = socket.send_runs(&runs, &mut arena);
        lost += report.full + report.failed;
        sent += count;
    }
    println!("{{\"sent\": {sent}, \"refused\": {lost}, \"seconds\": {:.3}}}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Where to send: the address, and those that follow it.
fn targets(first: SocketAddr, args: &Args) -> Result<Vec<SocketAddr>, Failure> {
    let (count, step) = (args.number("spread", 1)?.max(1), args.number("step", 4)?);
    let IpAddr::V4(base) = first.ip() else { return Ok(vec![first]) };
    let nth = |number| Ipv4Addr::from(u32::from(base).wrapping_add((number * step) as u32));
    Ok((0..count).map(|number| SocketAddr::new(nth(number).into(), first.port())).collect())
}

/// The longest silence of each slice of time.
#[derive(Default)]
struct Gaps {
    first: Option<Instant>,
    last: Option<Instant>,
    worst: Vec<u128>,
}

impl Gaps {
    fn arrived(&mut self, at: Instant) {
        let first = *self.first.get_or_insert(at);
        let gap = self.last.replace(at).map_or(0, |last| (at - last).as_micros());
        let slice = ((at - first).as_millis() / SLICE.as_millis()) as usize;
        if self.worst.len() <= slice {
            self.worst.resize(slice + 1, 0);
        }
        if let Some(worst) = self.worst.get_mut(slice) {
            *worst = gap.max(*worst);
        }
    }

    fn seconds(&self) -> f64 {
        self.first.zip(self.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64())
    }
}

fn receive(args: &Args) -> Result<(), Failure> {
    let socket = open(args.need("bind")?.parse()?)?;
    let epoll = Epoll::new()?;
    epoll.add(&socket, 0, Interest::READ)?;
    println!("ready");
    std::io::stdout().flush()?;
    let mut ring = RecvRing::new(64, 2048);
    let mut ready = Vec::with_capacity(1);
    let (mut received, mut reordered, mut next) = (0u64, 0u64, 0u64);
    let mut gaps = Gaps::default();
    loop {
        epoll.wait(&mut ready, Some(if gaps.first.is_some() { SILENCE } else { PATIENCE }))?;
        if ready.is_empty() {
            break;
        }
        while socket.recv_batch(&mut ring)? > 0 {
            for message in ring.messages() {
                let Some(number) = message.bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else {
                    continue;
                };
                received += 1;
                reordered += u64::from(number < next);
                next = next.max(number + 1);
            }
            gaps.arrived(now());
        }
    }
    let (seconds, worst) = (gaps.seconds(), &gaps.worst);
    println!(
        "{{\"received\": {received}, \"reordered\": {reordered}, \"seconds\": {seconds:.3}, \"gaps\": {worst:?}}}"
    );
    Ok(())
}
