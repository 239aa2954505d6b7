//! Sending runs: cut into pieces the kernel takes, many pieces a call, and an answer to each error.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::outcome::{RunFailure, SendFailure, SendReport};
use super::piece::{Cursor, Piece, Pieces, stride};
use super::{Run, Segmentation, Segmenting, Source};
use crate::sys::message::SendBlock;

/// Memory a sender keeps between calls, and what it does when the socket's buffer is full.
pub struct SendArena {
    block: SendBlock,
    wait: Duration,
    failures: Vec<RunFailure>,
    left: LeftOver,
}

/// Room for those of a caller's runs that another way left over, and for their places among the caller's.
#[derive(Default)]
struct LeftOver {
    runs: Vec<Run<'static>>,
    numbers: Vec<usize>,
}

impl SendArena {
    /// An arena that never waits: what finds no room is dropped and counted.
    #[must_use]
    pub fn new() -> Self {
        Self::with_wait(Duration::ZERO)
    }

    /// An arena whose sends wait up to `wait` for room in the socket's buffer, once a call. A worker
    /// that owns its thread should: the wait moves the queue from our drops into the TUN's queue.
    #[must_use]
    pub fn with_wait(wait: Duration) -> Self {
        Self { block: SendBlock::new(), wait, failures: Vec::new(), left: LeftOver::default() }
    }

    /// The runs of the last call that were not sent whole, in order, each at most once.
    #[must_use]
    pub fn failures(&self) -> &[RunFailure] {
        &self.failures
    }

    /// Empty room for runs that are left over, and for their places, to be [given back](Self::give_back).
    pub(crate) fn take_room<'a>(&mut self) -> (Vec<Run<'a>>, Vec<usize>) {
        let LeftOver { runs, numbers } = std::mem::take(&mut self.left);
        (runs, numbers)
    }

    /// Keeps the room, not what is in it.
    pub(crate) fn give_back(&mut self, runs: Vec<Run<'_>>, mut numbers: Vec<usize>) {
        numbers.clear();
        // Collecting in place keeps the memory: it outlives what the runs borrowed.
        self.left = LeftOver { runs: runs.into_iter().map_while(|_| None).collect(), numbers };
    }

    /// What was sent was a part of the caller's runs: which one each of them was.
    pub(crate) fn renumber(&mut self, numbers: &[usize]) {
        for failure in &mut self.failures {
            failure.run = numbers.get(failure.run).copied().unwrap_or(failure.run);
        }
        self.failures.dedup_by_key(|failure| failure.run);
    }
}

impl Default for SendArena {
    fn default() -> Self {
        Self::new()
    }
}

/// What a socket brings to [`send_runs`].
pub(crate) struct Sending<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    /// May still use GSO; given up here when the device cannot. `None`: never (raw sockets).
    pub(crate) gso: Option<&'a Segmenting>,
    /// Asks the kernel for the path MTU.
    pub(crate) path_mtu: &'a dyn Fn(SocketAddr, Option<Source>) -> Option<u32>,
}

/// Send all the runs, whatever becomes of one of them.
pub(crate) fn send_runs(sending: &Sending<'_>, runs: &[Run<'_>], arena: &mut SendArena) -> SendReport {
    arena.failures.clear();
    let mut state = State::new(runs, sending);
    loop {
        let pieces = state.pieces();
        let (offered, result) = arena.block.send(sending.fd, pieces.clone().map(|p| p.message));
        if offered == 0 {
            return state.report;
        }
        state.report.calls += 1;
        match result {
            Ok(taken) => state.advance(pieces.take(taken), sending),
            Err(error) => state.refused(&error, sending, pieces, arena),
        }
    }
}

struct State<'r> {
    runs: &'r [Run<'r>],
    cursor: Cursor,
    gso: bool,
    /// This run is sent without GSO: the kernel called its arguments invalid.
    singly_until: Option<usize>,
    /// And if all of it is taken so, segmentation was to blame: it fits its path.
    suspected: bool,
    /// Raw sockets: see [`Pieces`].
    raw: bool,
    retried: bool,
    waited: bool,
    report: SendReport,
}

impl<'r> State<'r> {
    fn new(runs: &'r [Run<'r>], sending: &Sending<'_>) -> Self {
        Self {
            runs,
            cursor: Cursor { run: 0, offset: 0 },
            gso: sending.gso.is_some_and(Segmenting::is_on),
            raw: sending.gso.is_none(),
            singly_until: None,
            suspected: false,
            retried: false,
            waited: false,
            report: SendReport::default(),
        }
    }

    /// What is still to send.
    fn pieces(&self) -> Pieces<'r> {
        Pieces {
            runs: self.runs,
            at: self.cursor,
            gso: self.gso,
            raw: self.raw,
            singly_until: self.singly_until,
        }
    }

    fn advance<'a>(&mut self, taken: impl Iterator<Item = Piece<'a>>, sending: &Sending<'_>) {
        for piece in taken {
            self.report.datagrams += piece.datagrams;
            self.report.bytes += piece.message.bytes.len() as u64;
            self.cursor = piece.next;
            self.retried = false;
        }
        if self.suspected && self.singly_until.is_some_and(|run| run < self.cursor.run) {
            self.give_up(Segmentation::Refused, sending);
        }
    }

    /// Segmentation will never work here.
    fn give_up(&mut self, why: Segmentation, sending: &Sending<'_>) {
        if let Some(gso) = sending.gso {
            gso.give_up(why);
        }
        (self.gso, self.suspected) = (false, false);
        self.report.given_up = Some(why);
    }

    /// Do the datagrams of the run at the cursor fit its path, as far as the kernel knows that?
    fn fits(&self, sending: &Sending<'_>) -> bool {
        let run = &self.runs[self.cursor.run];
        let headers = if run.dest.is_ipv4() { 20 + 8 } else { 40 + 8 };
        (sending.path_mtu)(run.dest, run.source).is_some_and(|mtu| stride(run) + headers <= mtu as usize)
    }

    /// The kernel refused the piece at the cursor.
    fn refused(
        &mut self,
        error: &io::Error,
        sending: &Sending<'_>,
        mut pieces: Pieces<'_>,
        arena: &mut SendArena,
    ) {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let run = self.cursor.run;
        let Some(piece) = pieces.next() else { return };
        match errno {
            libc::EINTR => {}
            // The device cannot checksum what it segments.
            libc::EIO if piece.segmented => self.give_up(Segmentation::NoChecksum, sending),
            // No segmentation here at all, or a segment above the MTU on older kernels: singly, the true error shows.
            libc::EINVAL if piece.segmented => {
                (self.singly_until, self.suspected) = (Some(run), self.fits(sending));
            }
            libc::EAGAIN if !self.waited && !arena.wait.is_zero() => {
                self.waited = true;
                wait_writable(sending.fd, arena.wait);
            }
            // The buffer is full for all that follows as well.
            libc::EAGAIN => self.drop_rest(arena),
            // This device's queue is full; another run may use another device.
            libc::ENOBUFS | libc::ENOMEM => {
                self.report.full += piece.datagrams;
                note(arena, run, SendFailure::Full);
                self.cursor = piece.next;
                self.suspected = false;
            }
            // May be an earlier packet's ICMP error rather than this one's, reported once and cleared.
            _ if !self.retried && pending_possible(errno) => self.retried = true,
            libc::EMSGSIZE => {
                let target = &self.runs[run];
                let mtu = (sending.path_mtu)(target.dest, target.source);
                self.fail_run(arena, SendFailure::TooBig { mtu });
            }
            // The kernel's word for a source address that is not (or no longer) ours.
            libc::EINVAL if self.runs[run].source.is_some() => {
                self.fail_run(arena, SendFailure::Unreachable(libc::EADDRNOTAVAIL));
            }
            _ => self.fail_run(arena, classify(errno)),
        }
    }

    /// Give the rest of the run at the cursor up.
    fn fail_run(&mut self, arena: &mut SendArena, failure: SendFailure) {
        self.report.failed += self.datagrams_left();
        note(arena, self.cursor.run, failure);
        self.next_run();
    }

    fn drop_rest(&mut self, arena: &mut SendArena) {
        while self.cursor.run < self.runs.len() {
            self.report.full += self.datagrams_left();
            note(arena, self.cursor.run, SendFailure::Full);
            self.next_run();
        }
    }

    fn next_run(&mut self) {
        self.cursor = Cursor { run: self.cursor.run + 1, offset: 0 };
        (self.retried, self.suspected) = (false, false);
    }

    fn datagrams_left(&self) -> u64 {
        let run = &self.runs[self.cursor.run];
        let left = run.bytes.len() - self.cursor.offset;
        left.div_ceil(stride(run)).max(1) as u64
    }
}

/// A run keeps the first reason it failed for.
fn note(arena: &mut SendArena, run: usize, failure: SendFailure) {
    if arena.failures.last().is_none_or(|last| last.run != run) {
        arena.failures.push(RunFailure { run, failure });
    }
}

/// Errors that an ICMP answer to an earlier packet leaves on a socket which hears them.
fn pending_possible(errno: i32) -> bool {
    matches!(
        errno,
        libc::EMSGSIZE
            | libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EACCES
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EOPNOTSUPP
            | libc::EHOSTDOWN
            | libc::ENONET
    )
}

fn classify(errno: i32) -> SendFailure {
    match errno {
        libc::EPERM => SendFailure::Filtered,
        libc::EHOSTUNREACH
        | libc::ENETUNREACH
        | libc::ENETDOWN
        | libc::EHOSTDOWN
        | libc::EADDRNOTAVAIL
        | libc::ECONNREFUSED
        | libc::EACCES
        | libc::ENODEV => SendFailure::Unreachable(errno),
        _ => SendFailure::Other(errno),
    }
}

fn wait_writable(fd: BorrowedFd<'_>, wait: Duration) {
    let timeout = Timespec { tv_sec: wait.as_secs() as _, tv_nsec: wait.subsec_nanos().into() };
    // Its outcome does not matter: the send is tried again either way.
    let _ = poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Two runs of three datagrams, refused with these errors one after the other, then let through.
    fn refuse(errors: &[i32], flag: &Segmenting) -> (SendReport, Vec<RunFailure>, Vec<u64>) {
        refuse_on(1300, errors, flag)
    }

    /// On a path of this MTU.
    fn refuse_on(mtu: u32, errors: &[i32], flag: &Segmenting) -> (SendReport, Vec<RunFailure>, Vec<u64>) {
        let payload = [0; 300];
        let run = Run { segment: Some(100), ..Run::single("192.0.2.1:4500".parse().unwrap(), &payload) };
        let runs = [run, run];
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let sending = Sending { fd: socket.as_fd(), gso: Some(flag), path_mtu: &|_, _| Some(mtu) };
        let mut arena = SendArena::new();
        let mut state = State::new(&runs, &sending);
        for errno in errors {
            let pieces = state.pieces();
            state.refused(&io::Error::from_raw_os_error(*errno), &sending, pieces, &mut arena);
        }
        let sizes = state.pieces().map(|piece| piece.datagrams).collect();
        let pieces = state.pieces();
        state.advance(pieces, &sending);
        (state.report, arena.failures, sizes)
    }

    #[test]
    fn a_device_that_cannot_checksum_ends_gso_for_the_socket_and_loses_nothing() {
        let flag = Segmenting::new(true);
        let (report, failures, sizes) = refuse(&[libc::EIO], &flag);
        assert_eq!((report.given_up, flag.get()), (Some(Segmentation::NoChecksum), Segmentation::NoChecksum));
        assert_eq!((report.datagrams, failures, sizes), (6, vec![], vec![1; 6]));
    }

    #[test]
    fn a_run_called_invalid_goes_singly_and_if_all_of_it_is_taken_so_gso_ends() {
        let flag = Segmenting::new(true);
        let (report, failures, sizes) = refuse(&[libc::EINVAL], &flag);
        assert_eq!((report.given_up, flag.get()), (Some(Segmentation::Refused), Segmentation::Refused));
        assert_eq!((report.datagrams, failures, sizes), (6, vec![], vec![1, 1, 1, 3]));
    }

    #[test]
    fn a_run_that_is_invalid_for_another_reason_ends_nothing() {
        let flag = Segmenting::new(true);
        // One datagram is called invalid as well.
        let (report, failures, _) = refuse(&[libc::EINVAL, libc::EINVAL], &flag);
        assert_eq!((report.datagrams, report.failed, failures.len()), (3, 3, 1));
        // One finds no room, so not all of the run was taken.
        let (report, _, sizes) = refuse(&[libc::EINVAL, libc::ENOBUFS], &flag);
        assert_eq!((report.datagrams, report.full, sizes), (5, 1, vec![1, 1, 3]));
        // It does not fit its path, which older kernels call invalid: with its headers it has 128 octets.
        let (report, _, _) = refuse_on(127, &[libc::EINVAL], &flag);
        assert_eq!((report.datagrams, report.given_up), (6, None));
        assert!(flag.is_on());
        let (report, _, _) = refuse_on(128, &[libc::EINVAL], &flag);
        assert_eq!(report.given_up, Some(Segmentation::Refused));
    }

    #[test]
    fn an_error_left_by_an_earlier_packet_costs_nothing_and_a_second_one_the_run() {
        let flag = Segmenting::new(true);
        let (report, failures, _) = refuse(&[libc::ECONNREFUSED], &flag);
        assert_eq!((report.datagrams, report.failed, failures.len()), (6, 0, 0));
        let (report, failures, _) = refuse(&[libc::EMSGSIZE, libc::EMSGSIZE], &flag);
        assert_eq!((report.datagrams, report.failed), (3, 3));
        assert_eq!(failures, [RunFailure { run: 0, failure: SendFailure::TooBig { mtu: Some(1300) } }]);
    }

    #[test]
    fn a_full_device_drops_one_piece_and_a_full_socket_all_that_follow() {
        let flag = Segmenting::new(true);
        let (report, failures, sizes) = refuse(&[libc::ENOBUFS, libc::EINTR], &flag);
        assert_eq!((report.datagrams, report.full, failures.len(), sizes), (3, 3, 1, vec![3]));
        let (report, failures, sizes) = refuse(&[libc::EAGAIN], &flag);
        assert_eq!((report.datagrams, report.full, failures.len(), sizes), (0, 6, 2, vec![]));
    }

    #[test]
    fn a_packet_filters_refusal_is_told_apart() {
        let flag = Segmenting::new(true);
        let (report, failures, _) = refuse(&[libc::EPERM], &flag);
        assert_eq!((report.failed, failures[0].failure), (3, SendFailure::Filtered));
    }
}
