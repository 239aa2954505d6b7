//! Traffic between the hosts at both ends: echo requests and a TCP stream.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use kernel::netns::Namespace;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Failure, now};

/// ICMP (RFC 792).
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Octets of an echo request: header and payload, as `ping` sends them.
const ECHO: usize = 64;
/// How long an answer may take: a machine that is busy for a moment loses nothing.
const WAIT: Duration = Duration::from_secs(2);
/// The port of the stream.
const PORT: u16 = 5201;
const BLOCK: usize = 256 * 1024;

/// Sends echo requests from one host.
pub(super) struct Pinger {
    socket: Socket,
    identifier: u16,
    sequence: u16,
}

impl Pinger {
    pub(super) fn new(from: &Namespace) -> Result<Self, Failure> {
        let socket = from.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)))??;
        socket.set_read_timeout(Some(WAIT))?;
        // Any number will do: the namespace has no other pinger.
        Ok(Self { socket, identifier: std::process::id() as u16, sequence: 0 })
    }

    /// One echo: its round-trip time, `None` when none came back in time.
    pub(super) fn ping(&mut self, to: Ipv4Addr) -> io::Result<Option<Duration>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = echo(self.identifier, self.sequence);
        let sent = now();
        match self.socket.send_to(&request, &SocketAddr::new(to.into(), 0).into()) {
            Ok(_) => {}
            // No route yet, or an answer "unreachable" to an earlier one.
            Err(_) => return Ok(None),
        }
        let mut packet = [0; 2048];
        while sent.elapsed() < WAIT {
            let length = match (&self.socket).read(&mut packet) {
                Ok(length) => length,
                Err(error) if timed_out(&error) => return Ok(None),
                // Stopped and continued: with a time limit the kernel does not begin the call again (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if self.is_reply(packet.get(..length).unwrap_or_default(), to) {
                return Ok(Some(sent.elapsed()));
            }
        }
        Ok(None)
    }

    /// A raw socket gives the IP header too, and every host's ICMP.
    fn is_reply(&self, packet: &[u8], from: Ipv4Addr) -> bool {
        let header = packet.first().map_or(0, |octet| usize::from(octet & 0x0f) * 4);
        let source = packet.get(12..16);
        let Some([kind, _, _, _, i0, i1, s0, s1]) = packet.get(header..header + 8) else { return false };
        source == Some(&from.octets()[..])
            && *kind == ECHO_REPLY
            && u16::from_be_bytes([*i0, *i1]) == self.identifier
            && u16::from_be_bytes([*s0, *s1]) == self.sequence
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn echo(identifier: u16, sequence: u16) -> Vec<u8> {
    let mut message = vec![ECHO_REQUEST, 0, 0, 0];
    message.extend(identifier.to_be_bytes());
    message.extend(sequence.to_be_bytes());
    message.extend((0..).take(ECHO - 8));
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let (first, second) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
        sum += u32::from(u16::from_be_bytes([first, second]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// One TCP stream for that long: bits a second that arrived.
pub(super) fn throughput(
    from: &Namespace,
    to: &Namespace,
    address: Ipv4Addr,
    length: Duration,
) -> Result<f64, Failure> {
    let listener = to.run(|| TcpListener::bind((address, PORT)))??;
    let receiver = thread::Builder::new().name("receiver".to_owned()).spawn(move || drain(&listener))?;
    let sent = from.run(|| send(address.into(), length))?;
    // A sender that failed to connect leaves the receiver waiting: it ends with this process.
    sent?;
    match receiver.join() {
        Ok(rate) => Ok(rate?),
        Err(_) => Err("the receiving thread panicked".into()),
    }
}

fn send(address: IpAddr, length: Duration) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Pacing congestion control would measure its own timers. Not every kernel has another.
    let _ = socket.set_tcp_congestion(b"cubic");
    socket.connect_timeout(&SocketAddr::new(address, PORT).into(), Duration::from_secs(3))?;
    socket.set_write_timeout(Some(Duration::from_secs(5)))?;
    let block = vec![0x5a; BLOCK];
    let begin = now();
    while begin.elapsed() < length {
        (&socket).write_all(&block)?;
    }
    socket.shutdown(std::net::Shutdown::Write)
}

fn drain(listener: &TcpListener) -> io::Result<f64> {
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; BLOCK];
    let (mut total, mut begin): (f64, Option<Instant>) = (0.0, None);
    loop {
        let count = stream.read(&mut buffer)?;
        let since = *begin.get_or_insert_with(now);
        total += count as f64;
        if count == 0 {
            return Ok(total * 8.0 / since.elapsed().as_secs_f64().max(1e-6));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_has_a_checksum_that_sums_to_nothing() {
        let message = echo(7, 9);
        assert_eq!((message.len(), checksum(&message)), (ECHO, 0));
    }

    #[test]
    fn only_our_own_answer_is_an_answer() {
        let namespace = Namespace::current().unwrap();
        let mut pinger = Pinger::new(&namespace).unwrap();
        pinger.sequence = 9;
        let mut packet = vec![0x45; 20];
        packet[12..16].copy_from_slice(&[192, 0, 2, 1]);
        packet.extend([ECHO_REPLY, 0, 0, 0]);
        packet.extend(pinger.identifier.to_be_bytes());
        packet.extend(9_u16.to_be_bytes());
        assert!(pinger.is_reply(&packet, Ipv4Addr::new(192, 0, 2, 1)));
        assert!(!pinger.is_reply(&packet, Ipv4Addr::new(192, 0, 2, 2)));
        for cut in 0..packet.len() {
            assert!(!pinger.is_reply(&packet[..cut], Ipv4Addr::new(192, 0, 2, 1)));
        }
        packet[20] = ECHO_REQUEST;
        assert!(!pinger.is_reply(&packet, Ipv4Addr::new(192, 0, 2, 1)));
    }
}
