//! Sending runs past the stack where a way is known, and by the raw socket where not.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::sync_channel;

use super::device::XdpDevice;
use super::frame;
use super::hop::{Hop, Hops, Slow};
use super::inject::{Injector, LONGEST};
use super::scout::{WAITING, XdpScout};
use super::socket::XdpTransmitter;
use crate::datagram::{Run, SendArena, SendReport};
use crate::raw::EspSocket;

/// Packets of a batch from which on they go as frames of the program: fewer go by the socket, whose call is shorter.
const MANY: usize = 24;
/// Milliseconds for which no frames of the program are asked for, when the kernel made none: it is short of memory.
const REST: u64 = 1000;
/// Octets of an Ethernet header.
const ETHERNET: usize = 14;

/// What went which way since the start, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpCounts {
    /// Sent past the stack.
    pub sent: u64,
    /// Of those, by frames of the program.
    pub injected: u64,
    /// Given to the raw socket for want of a way: not asked for yet, in doubt, none, or its turn of each second.
    pub no_way: u64,
    /// Given to the raw socket since they are longer than the way takes, or came behind such a one in its batch.
    pub too_long: u64,
    /// Given to the raw socket since every frame was on its way, or behind such a one.
    pub no_frame: u64,
    /// Lost since the kernel made no frames for them, and the socket had none either.
    pub lost: u64,
}

/// Whether large batches go by frames that a device's program makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpFrames {
    /// They do.
    On,
    /// Nothing had its way by the device yet, and so nobody asked its driver.
    Unasked,
    /// The kernel made none lately, for want of memory mostly; they are asked for again within a second.
    Resting,
    /// The device's driver does not take them, as things are.
    NotTaken,
    /// The kernel cannot make them (before Linux 5.18), or the program is not in the driver.
    Absent,
}

/// One device to send by.
struct Port {
    device: XdpDevice,
    transmitter: XdpTransmitter,
    injector: Option<Injector>,
    /// The injector is not used before this time.
    rests_until: u64,
    /// Did the driver take frames, when a way by it was found last?
    takes: Option<bool>,
    counts: XdpCounts,
}

impl Port {
    fn frames(&self, now: u64) -> XdpFrames {
        match (&self.injector, self.takes) {
            (None, _) => XdpFrames::Absent,
            (Some(_), None) => XdpFrames::Unasked,
            (Some(_), Some(false)) => XdpFrames::NotTaken,
            (Some(_), Some(true)) if now < self.rests_until => XdpFrames::Resting,
            (Some(_), Some(true)) => XdpFrames::On,
        }
    }
}

/// Sends protocol 50 by devices with our program on them. It holds the devices: when it goes, so do the programs.
pub struct XdpSender {
    hops: Hops,
    ports: Vec<Port>,
    identification: u16,
    /// Packets given to the raw socket on ways that led by no device of ours yet.
    elsewhere: u64,
}

/// Runs on their way: what the raw socket has to send yet. It lies in the arena's memory.
pub struct Rest<'a> {
    report: SendReport,
    runs: Vec<Run<'a>>,
    /// Their places among the runs that were given.
    numbers: Vec<usize>,
}

impl Rest<'_> {
    /// Sends it; the report is of all, as are the numbers of failed runs in the arena, which is the one it was gathered
    /// with.
    pub fn send(self, raw: &EspSocket, arena: &mut SendArena) -> SendReport {
        let by_raw = raw.send_runs(&self.runs, arena);
        arena.renumber(&self.numbers);
        arena.give_back(self.runs, self.numbers);
        SendReport {
            datagrams: self.report.datagrams + by_raw.datagrams,
            bytes: self.report.bytes + by_raw.bytes,
            calls: self.report.calls + by_raw.calls,
            full: self.report.full + by_raw.full,
            ..by_raw
        }
    }
}

impl XdpSender {
    /// Without a device yet, and who finds out the ways for it. `mark` is that of the outer packets, as rules may look at it.
    /// Opens its sockets in the calling thread's network namespace; sending must be done there as well.
    ///
    /// # Errors
    /// The kernel gives no netlink socket.
    pub fn new(mark: Option<u32>) -> io::Result<(Self, XdpScout)> {
        let (questions, asked) = sync_channel(WAITING);
        let (found, answers) = sync_channel(WAITING);
        let hops = Hops::new(mark, questions, answers)?;
        let scout = XdpScout::new(asked, found)?;
        Ok((Self { hops, ports: Vec::new(), identification: 0, elsewhere: 0 }, scout))
    }

    /// Sends by this device as well, through one of its sockets, from now on.
    pub fn add(&mut self, mut device: XdpDevice, transmitter: XdpTransmitter) {
        let (injector, ears) = (device.take_injector(), device.take_ears());
        let counts = XdpCounts::default();
        self.ports.push(Port { device, transmitter, injector, rests_until: 0, takes: None, counts });
        self.hops.set_devices(self.ports.iter().map(|port| port.device.index()).collect(), ears);
    }

    /// The names of the devices, in the order they were added, and what went which way on each.
    pub fn devices(&self) -> impl Iterator<Item = (&str, XdpCounts)> {
        self.ports.iter().map(|port| (port.device.name(), port.counts))
    }

    /// Whether large batches go by frames of the program, of each device in the same order. `now`: as for
    /// [`Self::send_runs`].
    pub fn frames(&self, now: u64) -> impl Iterator<Item = XdpFrames> {
        self.ports.iter().map(move |port| port.frames(now))
    }

    /// Packets given to the raw socket on ways that led by none of the devices so far.
    #[must_use]
    pub fn elsewhere(&self) -> u64 {
        self.elsewhere
    }

    /// Packets carry this mark from now on.
    pub fn set_mark(&mut self, mark: Option<u32>) {
        self.hops.set_mark(mark);
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
        self.send_past(runs, dont_fragment, arena, now).send(raw, arena)
    }

    /// Sends those runs that have a way past the stack. Who shares the sender with others gives the rest to the raw socket
    /// when it has let the sender go: that socket may be full, and its wait is nobody else's. What of one way begins to go by
    /// it in this call goes on so: no packet overtakes another of its way.
    #[must_use = "what has no way past the stack is not sent yet"]
    pub fn send_past<'a>(
        &mut self,
        runs: &[Run<'a>],
        dont_fragment: bool,
        arena: &mut SendArena,
        now: u64,
    ) -> Rest<'a> {
        self.hops.refresh(now);
        let (left, numbers) = arena.take_room();
        let mut rest = Rest { report: SendReport::default(), runs: left, numbers };
        let many = runs.iter().map(packets).sum::<usize>() >= MANY;
        for (number, run) in runs.iter().enumerate() {
            if let Some((left, why)) = self.lay_out(run, many, dont_fragment, now, &mut rest.report) {
                self.hops.leave(&(run.dest.ip(), run.source), why);
                self.count(why, &left);
                rest.runs.push(left);
                rest.numbers.push(number);
            }
        }
        for port in &mut self.ports {
            rest.report.calls += port.transmitter.flush();
            inject(port, now, &mut rest.report);
        }
        rest
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
        let hop = match self.hops.find(to, run.source, now) {
            Ok(hop) => hop,
            Err(why) => return Some((*run, why)),
        };
        let Some(port) = self.ports.get_mut(hop.port) else { return Some((*run, Slow::NoWay(None))) };
        port.takes = Some(hop.injects);
        let stride = stride(run);
        let longest = stride.min(run.bytes.len()) + hop.head.ip_len();
        if longest > hop.mtu {
            return Some((*run, Slow::TooLong(hop.port)));
        }
        let fits = longest + ETHERNET <= LONGEST;
        let mut by_program = many && fits && hop.injects && now >= port.rests_until;
        if !by_program {
            // What the program has of the runs before goes first.
            inject(port, now, report);
        }
        let mut done = 0;
        for packet in run.bytes.chunks(stride) {
            let identification = (!dont_fragment).then_some(self.identification);
            self.identification = self.identification.wrapping_add(1);
            if by_program && port.injector.as_ref().is_some_and(Injector::is_full) {
                inject(port, now, report);
                by_program = now >= port.rests_until;
            }
            if !push(port, by_program, hop, run.tos, identification, packet) {
                let bytes = run.bytes.get(done..).unwrap_or_default();
                return Some((Run { bytes, ..*run }, Slow::NoFrame(hop.port)));
            }
            port.counts.sent += 1;
            report.datagrams += 1;
            report.bytes += packet.len() as u64;
            done += packet.len();
        }
        None
    }

    fn count(&mut self, why: Slow, run: &Run<'_>) {
        let packets = packets(run) as u64;
        let mut of = |port: usize, count: fn(&mut XdpCounts) -> &mut u64| {
            if let Some(port) = self.ports.get_mut(port) {
                *count(&mut port.counts) += packets;
            }
        };
        match why {
            Slow::NoWay(None) => self.elsewhere += packets,
            Slow::NoWay(Some(port)) => of(port, |counts| &mut counts.no_way),
            Slow::TooLong(port) => of(port, |counts| &mut counts.too_long),
            Slow::NoFrame(port) => of(port, |counts| &mut counts.no_frame),
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

/// Sends what was laid out for the program. What the kernel makes no frames for goes by the socket, and so does all
/// else for a moment.
fn inject(port: &mut Port, now: u64, report: &mut SendReport) {
    let Some(injector) = port.injector.as_mut().filter(|injector| !injector.is_empty()) else { return };
    // What the socket has was laid out before it.
    report.calls += port.transmitter.flush();
    let (made, left) = injector.flush();
    report.calls += 1;
    port.counts.injected += made as u64;
    if left.is_empty() {
        return;
    }
    port.rests_until = now + REST;
    for frame in left {
        let Some(frame) = injector.left(frame) else { continue };
        if !port.transmitter.push(|place| copy(frame, place)) {
            let octets = frame::parse(frame, 0..frame.len()).map_or(0, |parsed| parsed.payload.len());
            report.datagrams = report.datagrams.saturating_sub(1);
            report.bytes = report.bytes.saturating_sub(octets as u64);
            report.full += 1;
            port.counts.sent = port.counts.sent.saturating_sub(1);
            port.counts.lost += 1;
        }
    }
    report.calls += port.transmitter.flush();
}

/// Copies a frame to its place; its octets, or 0 when it does not fit.
fn copy(frame: &[u8], place: &mut [u8]) -> usize {
    let Some(place) = place.get_mut(..frame.len()) else { return 0 };
    place.copy_from_slice(frame);
    frame.len()
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
    /// What went which way over all devices and none.
    pub(crate) fn counts(&self) -> XdpCounts {
        let mut sum = XdpCounts { no_way: self.elsewhere, ..XdpCounts::default() };
        for (_, counts) in self.devices() {
            sum.sent += counts.sent;
            sum.injected += counts.injected;
            sum.no_way += counts.no_way;
            sum.too_long += counts.too_long;
            sum.no_frame += counts.no_frame;
            sum.lost += counts.lost;
        }
        sum
    }

    /// Puts a whole frame on the wire of the first device.
    pub(crate) fn send_frame(&mut self, frame: &[u8]) {
        let transmitter = &mut self.ports[0].transmitter;
        assert!(transmitter.push(|place| copy(frame, place)));
        transmitter.flush();
    }

    /// Exchanges the first device's program for another descriptor, and so what makes its frames.
    pub(crate) fn swap_program(&mut self, other: &mut std::os::fd::OwnedFd) {
        self.ports[0].injector.as_mut().unwrap().swap(other);
    }
}
