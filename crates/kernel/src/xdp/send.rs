//! Sending runs past the stack where a way is known, and by the raw socket where not.

use std::io;
use std::net::IpAddr;

use super::device::XdpDevice;
use super::hop::{Hop, Hops};
use super::inject::{Injector, LONGEST};
use super::socket::XdpTransmitter;
use crate::datagram::{Run, SendArena, SendReport};
use crate::raw::EspSocket;

/// Packets of a batch from which on they go as frames of the program: fewer go by the socket, whose call is shorter.
const MANY: usize = 24;
/// Octets of an Ethernet header.
const ETHERNET: usize = 14;
/// Milliseconds between two readings of the host's addresses, whatever changes meanwhile.
const PAUSE: u64 = 100;

/// What went which way since the start, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpCounts {
    /// Sent past the stack.
    pub sent: u64,
    /// Of those, by frames of the program.
    pub injected: u64,
    /// Given to the raw socket for want of a way: not asked for yet, in doubt, none, or its turn of each second.
    pub no_way: u64,
    /// Given to the raw socket since they are longer than the way takes.
    pub too_long: u64,
    /// Given to the raw socket since every frame was on its way.
    pub no_frame: u64,
    /// Lost in a batch that the kernel did not make frames for.
    pub lost: u64,
}

/// One device to send by.
struct Port {
    device: XdpDevice,
    transmitter: XdpTransmitter,
    injector: Option<Injector>,
}

/// Sends protocol 50 by devices with our program on them. It holds the devices: when it goes, so do the programs.
pub struct XdpSender {
    hops: Hops,
    ports: Vec<Port>,
    /// The numbers of their devices.
    devices: Vec<u32>,
    identification: u16,
    /// Milliseconds at which the host's addresses were read last; `None`: they are to be read.
    heard: Option<u64>,
    counts: XdpCounts,
}

/// Why the raw socket gets a packet.
#[derive(Clone, Copy)]
enum Slow {
    NoWay,
    TooLong,
    NoFrame,
}

impl XdpSender {
    /// Without a device yet. `mark` is that of the outer packets, as rules may look at it. Opens its sockets for questions in the
    /// calling thread's network namespace; sending must be done there as well.
    pub fn new(mark: Option<u32>) -> io::Result<Self> {
        Ok(Self {
            hops: Hops::new(mark)?,
            ports: Vec::new(),
            devices: Vec::new(),
            identification: 0,
            heard: None,
            counts: XdpCounts::default(),
        })
    }

    /// Sends by this device as well, through one of its sockets, from now on.
    pub fn add(&mut self, mut device: XdpDevice, transmitter: XdpTransmitter) {
        let injector = device.take_injector();
        self.devices.push(device.index());
        self.ports.push(Port { device, transmitter, injector });
        self.heard = None;
    }

    /// The devices.
    pub fn devices(&self) -> impl Iterator<Item = &XdpDevice> {
        self.ports.iter().map(|port| &port.device)
    }

    /// Packets carry this mark from now on.
    pub fn set_mark(&mut self, mark: Option<u32>) {
        self.hops.set_mark(mark);
    }

    /// What went which way.
    #[must_use]
    pub fn counts(&self) -> XdpCounts {
        self.counts
    }

    /// Sends runs, as [`EspSocket::send_runs`] does and with the same report; what has no way past the stack, by `raw`.
    /// `dont_fragment`: on every IPv4 packet or on none, as `raw` has it. `now`: milliseconds of a clock that never goes
    /// back.
    pub fn send_runs(
        &mut self,
        raw: &EspSocket,
        runs: &[Run<'_>],
        dont_fragment: bool,
        arena: &mut SendArena,
        now: u64,
    ) -> SendReport {
        self.refresh(now);
        let mut report = SendReport::default();
        let many = runs.iter().map(packets).sum::<usize>() >= MANY;
        // Both stay without memory unless something goes the slow way.
        let (mut slow, mut numbers) = (Vec::new(), Vec::new());
        for (number, run) in runs.iter().enumerate() {
            if let Some((rest, why)) = self.lay_out(run, many, dont_fragment, now, &mut report) {
                self.count(why, &rest);
                slow.push(rest);
                numbers.push(number);
            }
        }
        for port in &mut self.ports {
            report.calls += port.transmitter.flush();
            inject(port, &mut report, &mut self.counts);
        }
        self.counts.sent += report.datagrams;
        let by_raw = raw.send_runs(&slow, arena);
        arena.renumber(&numbers);
        SendReport {
            datagrams: report.datagrams + by_raw.datagrams,
            bytes: report.bytes + by_raw.bytes,
            calls: report.calls + by_raw.calls,
            full: report.full + by_raw.full,
            ..by_raw
        }
    }

    /// Follows what has changed on the host: the addresses that are heard, and the ways.
    fn refresh(&mut self, now: u64) {
        let stirred = self.hops.listen();
        if stirred {
            self.heard = self.heard.filter(|at| now.saturating_sub(*at) < PAUSE);
        }
        if self.heard.is_none() {
            self.heard = Some(now);
            for port in &mut self.ports {
                // What is not heard so goes through the stack.
                let _ = port.device.hear_host(self.hops.netlink());
            }
        }
    }

    /// Lays a run's packets out; what is left for the raw socket, and why.
    fn lay_out<'a>(
        &mut self,
        run: &Run<'a>,
        many: bool,
        dont_fragment: bool,
        now: u64,
        report: &mut SendReport,
    ) -> Option<(Run<'a>, Slow)> {
        let to: IpAddr = run.dest.ip();
        let Some(hop) = self.hops.find(&self.devices, to, run.source, now) else {
            return Some((*run, Slow::NoWay));
        };
        let Some(port) = self.ports.get_mut(hop.port) else { return Some((*run, Slow::NoWay)) };
        let stride = stride(run);
        let longest = stride.min(run.bytes.len()) + hop.head.ip_len();
        if longest > hop.mtu {
            return Some((*run, Slow::TooLong));
        }
        let by_program = many && hop.injects && longest + ETHERNET <= LONGEST;
        let mut done = 0;
        for packet in run.bytes.chunks(stride) {
            let identification = (!dont_fragment).then_some(self.identification);
            self.identification = self.identification.wrapping_add(1);
            if by_program && port.injector.as_ref().is_some_and(Injector::is_full) {
                inject(port, report, &mut self.counts);
            }
            if !push(port, by_program, hop, run.tos, identification, packet) {
                let bytes = run.bytes.get(done..).unwrap_or_default();
                return Some((Run { bytes, ..*run }, Slow::NoFrame));
            }
            report.datagrams += 1;
            report.bytes += packet.len() as u64;
            done += packet.len();
        }
        None
    }

    fn count(&mut self, why: Slow, run: &Run<'_>) {
        let packets = packets(run) as u64;
        match why {
            Slow::NoWay => self.counts.no_way += packets,
            Slow::TooLong => self.counts.too_long += packets,
            Slow::NoFrame => self.counts.no_frame += packets,
        }
    }
}

/// Lays one packet out for the program or the socket.
fn push(
    port: &mut Port,
    by_program: bool,
    hop: &Hop,
    tos: u8,
    identification: Option<u16>,
    packet: &[u8],
) -> bool {
    let write = |frame: &mut [u8]| hop.head.write(frame, tos, identification, packet);
    match port.injector.as_mut().filter(|_| by_program) {
        Some(injector) => injector.push(write),
        None => port.transmitter.push(write),
    }
}

/// Sends what was laid out for the program. One that the kernel refuses to run is not asked again.
fn inject(port: &mut Port, report: &mut SendReport, counts: &mut XdpCounts) {
    let Some(injector) = &mut port.injector else { return };
    let (count, outcome) = injector.flush();
    let count = count as u64;
    report.calls += u64::from(count > 0);
    if outcome.is_ok() {
        counts.injected += count;
    } else {
        port.injector = None;
        counts.lost += count;
        report.datagrams = report.datagrams.saturating_sub(count);
        report.full += count;
    }
}

/// Octets from one packet of a run to the next.
fn stride(run: &Run<'_>) -> usize {
    run.segment.map_or(run.bytes.len(), usize::from).max(1)
}

/// How many packets a run is.
fn packets(run: &Run<'_>) -> usize {
    run.bytes.len().div_ceil(stride(run))
}

#[cfg(test)]
impl XdpSender {
    /// Puts a whole frame on the wire of the first device.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) {
        let transmitter = &mut self.ports[0].transmitter;
        assert!(transmitter.push(|place| {
            place[..frame.len()].copy_from_slice(frame);
            frame.len()
        }));
        transmitter.flush();
    }
}
