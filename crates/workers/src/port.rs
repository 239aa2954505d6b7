//! A worker's outer sockets, and its way upward.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, PoisonError};

use kernel::datagram::{
    MESSAGES, PathError, PathErrorKind, RecvRing, Run, SLOT, SendArena, SendFailure, SendReport, Source,
};
use kernel::raw::{EspSocket, Family};
use kernel::udp::UdpSocket;
use kernel::xdp::XdpReceiver;
use tokio::sync::mpsc::Sender;
use tunnel::{Drop, OuterPath, Report, Reports, SendBatch, Tick};

use super::counters::{Counters, Loss};
use super::sockets::{Bypass, WorkerSockets};
use super::{REPORTS, Upward};

/// Slots of protocol 50; nothing joins its packets, but one may be reassembled from fragments.
const ESP_SLOTS: usize = 64;
/// Where a run that is not filled in yet goes.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
/// Reports of the error queue read in one go.
const ERRORS: usize = 64;
/// Destinations whose path MTU is asked for after one such reading.
const ASKED: usize = 8;
/// Reports gathered in one step.
const GATHERED: usize = 256;
/// The same path MTU is told again after so many milliseconds.
const MTU_PAUSE: u64 = 1000;
/// Peers whose path MTU is remembered as told.
const MTU_PAUSES: usize = 32;

/// One outer socket.
pub(super) enum Outer {
    Udp(Arc<UdpSocket>),
    Esp(Arc<EspSocket>),
    /// Protocol 50 past the kernel's stack, one queue of a device: to receive from.
    Xdp(Box<XdpReceiver>),
}

impl Outer {
    /// Does it carry packets of this path?
    fn carries(&self, path: &OuterPath) -> bool {
        match (self, path) {
            (Self::Udp(socket), OuterPath::Udp { remote, .. }) => {
                socket.local().is_ipv4() == remote.is_ipv4()
            }
            (Self::Esp(socket), OuterPath::Esp { remote, .. }) => {
                (socket.family() == Family::V4) == remote.is_ipv4()
            }
            (Self::Udp(_), OuterPath::Esp { .. })
            | (Self::Esp(_), OuterPath::Udp { .. })
            | (Self::Xdp(_), _) => false,
        }
    }

    fn set_dont_fragment(&self, on: bool) -> std::io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_dont_fragment(on),
            Self::Esp(socket) => socket.set_dont_fragment(on),
            Self::Xdp(_) => Ok(()),
        }
    }

    /// What the kernel believes the path to `dest` takes. Unlike the error queue's number, which is the router's as it
    /// came or anyone's who forged it, this has the kernel's own lower bound and never grows by an error.
    fn path_mtu(&self, dest: SocketAddr) -> std::io::Result<u32> {
        match self {
            Self::Udp(socket) => socket.path_mtu(dest, None),
            Self::Esp(socket) => socket.path_mtu(dest, None),
            Self::Xdp(_) => Err(std::io::ErrorKind::Unsupported.into()),
        }
    }

    fn next_path_error(&self) -> std::io::Result<Option<PathError>> {
        match self {
            Self::Udp(socket) => socket.next_path_error(),
            Self::Esp(socket) => socket.next_path_error(),
            Self::Xdp(_) => Ok(None),
        }
    }
}

impl AsFd for Outer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Esp(socket) => socket.as_fd(),
            Self::Xdp(receiver) => receiver.as_fd(),
        }
    }
}

/// A socket with the memory it receives into.
pub(super) struct Port {
    pub(super) outer: Outer,
    pub(super) ring: RecvRing,
}

/// All of a worker's sockets: those it hears first.
pub(super) struct Ports {
    ports: Vec<Port>,
    heard: usize,
    /// Sends protocol 50 past the kernel's stack where it can; all workers' one.
    bypass: Option<Bypass>,
}

impl Ports {
    pub(super) fn new(sockets: WorkerSockets) -> Self {
        let udp = sockets
            .udp
            .into_iter()
            .map(|socket| Port { outer: Outer::Udp(socket), ring: RecvRing::coalescing() });
        // What a receiver brings lies in frames of its own.
        let xdp = sockets
            .xdp
            .into_iter()
            .map(|receiver| Port { outer: Outer::Xdp(Box::new(receiver)), ring: RecvRing::new(1, 1) });
        let mut ports: Vec<Port> = udp.chain(xdp).collect();
        let before_esp = ports.len();
        ports.extend(
            sockets
                .esp
                .into_iter()
                .map(|socket| Port { outer: Outer::Esp(socket), ring: RecvRing::new(ESP_SLOTS, SLOT) }),
        );
        let heard = if sockets.hears_esp { ports.len() } else { before_esp };
        Self { ports, heard, bypass: sockets.bypass }
    }

    /// Those to wait for, in the order of their numbers.
    pub(super) fn heard(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ports.iter().take(self.heard).map(|port| port.outer.as_fd())
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Port> {
        self.ports.get_mut(number)
    }

    /// Sends a sealed batch, runs of one socket together.
    pub(super) fn send(&self, batch: &SendBatch, arena: &mut SendArena, up: &mut Up, now: Tick) {
        let mut runs = [Run::single(NOWHERE, &[]); MESSAGES];
        let mut gathered = 0;
        let mut through: Option<(&Outer, bool)> = None;
        for run in batch.runs() {
            let Some(port) = self.ports.iter().find(|port| port.outer.carries(&run.path)) else {
                up.counters.count(Loss::NoSocket, run.count() as u64);
                continue;
            };
            if let Some((outer, dont_fragment)) = through
                && (gathered == MESSAGES
                    || !std::ptr::eq(outer, &port.outer)
                    || dont_fragment != run.dont_fragment)
            {
                self.send_as(outer, dont_fragment, runs.get(..gathered).unwrap_or_default(), arena, up, now);
                gathered = 0;
            }
            through = Some((&port.outer, run.dont_fragment));
            if let Some(slot) = runs.get_mut(gathered) {
                *slot = kernel_run(&run);
                gathered += 1;
            }
        }
        if let Some((outer, dont_fragment)) = through {
            self.send_as(outer, dont_fragment, runs.get(..gathered).unwrap_or_default(), arena, up, now);
        }
    }

    /// Linux has the don't-fragment bit as a property of the socket, not of a packet. The raw sockets are shared
    /// by all workers: in a race a packet has the other's bit, which costs at most that packet.
    fn send_as(
        &self,
        outer: &Outer,
        dont_fragment: bool,
        runs: &[Run<'_>],
        arena: &mut SendArena,
        up: &mut Up,
        now: Tick,
    ) {
        let cleared = !dont_fragment && outer.set_dont_fragment(false).is_ok();
        let report = match (outer, &self.bypass) {
            (Outer::Udp(socket), _) => socket.send_runs(runs, arena),
            (Outer::Esp(socket), None) => socket.send_runs(runs, arena),
            (Outer::Esp(socket), Some(bypass)) => {
                let rest = {
                    let mut bypass = bypass.lock().unwrap_or_else(PoisonError::into_inner);
                    bypass.send_past(runs, !cleared, arena, now.0)
                };
                rest.send(socket, arena)
            }
            (Outer::Xdp(_), _) => return,
        };
        account(&report, runs, arena, up, now);
        if cleared {
            // It worked the other way round a moment ago.
            let _ = outer.set_dont_fragment(true);
        }
    }

    /// Empties a socket's error queue. Where it says that a path takes less, the kernel is asked how much.
    pub(super) fn hear_errors(&self, number: usize, up: &mut Up, now: Tick) {
        let Some(port) = self.ports.get(number) else { return };
        let mut narrow: Vec<SocketAddr> = Vec::new();
        for _ in 0..ERRORS {
            match port.outer.next_path_error() {
                Ok(Some(error)) => match error.kind {
                    PathErrorKind::TooBig { .. } => {
                        if narrow.len() < ASKED && !narrow.contains(&error.dest) {
                            narrow.push(error.dest);
                        }
                    }
                    // The IKE engine learns of a silent peer by itself, and ICMP proves nothing.
                    PathErrorKind::Refused | PathErrorKind::Unreachable(_) => {}
                },
                Ok(None) | Err(_) => break,
            }
        }
        for dest in narrow {
            if let Ok(mtu) = port.outer.path_mtu(dest) {
                up.path_mtu(dest.ip(), mtu, now);
            }
        }
    }
}

fn kernel_run<'a>(run: &tunnel::Run<'a>) -> Run<'a> {
    let dest = match run.path {
        OuterPath::Udp { remote, .. } => remote,
        OuterPath::Esp { remote, .. } => (remote, 0).into(),
    };
    let local = run.path.local();
    Run {
        dest,
        source: (!local.is_unspecified()).then_some(Source { address: local, ifindex: 0 }),
        tos: run.tos,
        segment: (run.count() > 1).then(|| u16::try_from(run.segment).unwrap_or(u16::MAX)),
        bytes: run.bytes,
    }
}

/// Counts what was not sent, and tells of paths that take less.
fn account(report: &SendReport, runs: &[Run<'_>], arena: &SendArena, up: &mut Up, now: Tick) {
    if report.full > 0 {
        up.counters.count(Loss::SendFull, report.full);
    }
    for failed in arena.failures() {
        let Some(run) = runs.get(failed.run) else { continue };
        match failed.failure {
            // Counted by the datagram above.
            SendFailure::Full => continue,
            SendFailure::TooBig { mtu: Some(mtu) } => up.path_mtu(run.dest.ip(), mtu, now),
            SendFailure::TooBig { mtu: None }
            | SendFailure::Unreachable(_)
            | SendFailure::Filtered
            | SendFailure::Other(_) => {}
        }
        let datagrams = run.segment.map_or(1, |size| run.bytes.len().div_ceil(usize::from(size.max(1))));
        up.counters.count(Loss::of_send(failed.failure), datagrams as u64);
    }
    if let Some(why) = report.given_up {
        tracing::warn!(?why, "the kernel refuses UDP in segments: packets go out one by one from now on");
    }
}

/// A worker's way upward.
pub(super) struct Up {
    pub(super) reports: Reports,
    pub(super) counters: Arc<Counters>,
    queue: Sender<Upward>,
    /// Path MTUs told lately.
    told: Vec<(IpAddr, u32, Tick)>,
    /// Reports lost within a step, as counted already.
    lost: u64,
}

impl Up {
    pub(super) fn new(queue: Sender<Upward>, counters: Arc<Counters>) -> Self {
        Self {
            reports: Reports::new(GATHERED),
            counters,
            queue,
            told: Vec::with_capacity(MTU_PAUSES),
            lost: 0,
        }
    }

    pub(super) fn sender(&self) -> Sender<Upward> {
        self.queue.clone()
    }

    /// Passes on what a step gathered. What anyone can send, IKE messages and ESP of no SA, never takes the last
    /// quarter of the queue from the datapath's own.
    pub(super) fn pass(&mut self) {
        while let Some(report) = self.reports.poll() {
            if self.queue.capacity() < REPORTS / 4 {
                match report {
                    Report::Ike { .. } => {
                        self.counters.drops.count(Drop::IkeOverflow, 1);
                        continue;
                    }
                    Report::UnknownSpi { .. } => {
                        self.counters.count(Loss::ReportOverflow, 1);
                        continue;
                    }
                    _ => {}
                }
            }
            if self.queue.try_send(Upward::Report(report)).is_err() {
                self.counters.count(Loss::ReportOverflow, 1);
            }
        }
        let lost = self.reports.overflow();
        self.counters.count(Loss::ReportOverflow, lost - self.lost);
        self.lost = lost;
    }

    fn path_mtu(&mut self, remote: IpAddr, mtu: u32, now: Tick) {
        let known = self.told.iter().position(|(address, _, _)| *address == remote);
        if let Some((_, last, at)) = known.and_then(|index| self.told.get(index))
            && *last == mtu
            && now.since(*at) < MTU_PAUSE
        {
            return;
        }
        if self.queue.try_send(Upward::PathMtu { remote, mtu }).is_err() {
            self.counters.count(Loss::ReportOverflow, 1);
            return;
        }
        match known {
            Some(index) => drop(self.told.swap_remove(index)),
            None if self.told.len() >= MTU_PAUSES => drop(self.told.swap_remove(0)),
            None => {}
        }
        self.told.push((remote, mtu, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up() -> (Up, tokio::sync::mpsc::Receiver<Upward>) {
        let (queue, receiver) = tokio::sync::mpsc::channel(REPORTS);
        (Up::new(queue, Arc::default()), receiver)
    }

    #[test]
    fn the_same_path_mtu_is_told_once_a_second_and_another_at_once() {
        let (mut up, mut receiver) = up();
        let remote = "192.0.2.1".parse().unwrap();
        for (mtu, at) in [(1400, 0), (1400, 10), (1300, 20), (1300, 30), (1300, 1020)] {
            up.path_mtu(remote, mtu, Tick(at));
        }
        let told: Vec<u32> = std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|told| match told {
                Upward::PathMtu { mtu, .. } => mtu,
                Upward::Report(_) | Upward::Died { .. } => 0,
            })
            .collect();
        assert_eq!(told, [1400, 1300, 1300]);
    }

    #[test]
    fn a_flood_of_ike_leaves_room_for_the_datapaths_own_reports() {
        let (mut up, mut receiver) = up();
        let address = "192.0.2.1:4500".parse().unwrap();
        for _ in 0..4 * REPORTS {
            up.reports.push(Report::Ike { local: address, remote: address, ifindex: 0, bytes: Vec::new() });
            up.pass();
        }
        up.reports.push(Report::OnDemand { tunnel: tunnel::TunnelId(1) });
        up.pass();
        let told: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert!(told.len() < REPORTS);
        assert!(matches!(told.last(), Some(Upward::Report(Report::OnDemand { .. }))));
        assert!(up.counters.drops.get(Drop::IkeOverflow) > 0);
    }

    #[test]
    fn a_flood_of_unknown_spis_leaves_room_for_the_datapaths_own_reports() {
        let (mut up, mut receiver) = up();
        let address = "192.0.2.1:4500".parse().unwrap();
        let path = OuterPath::Udp { local: address, remote: address };
        for spi in 0..4 * REPORTS {
            up.reports.push(Report::UnknownSpi { spi: u32::try_from(spi).unwrap(), path });
            up.pass();
        }
        up.reports.push(Report::FirstPacket { tunnel: tunnel::TunnelId(1), spi: 256 });
        up.pass();
        let told: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        assert!(told.len() < REPORTS);
        assert!(matches!(told.last(), Some(Upward::Report(Report::FirstPacket { .. }))));
        assert!(up.counters.get(Loss::ReportOverflow) > 0);
    }
}
