//! The request socket: one question and its answer, a dump, or a batch of changes.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::error::NetlinkError;
use super::frame::{Body, Frames};
use crate::sys::option;

/// One datagram to the kernel holds no more than this.
const CHUNK: usize = 32 * 1024;
/// A dump's datagram is at most 32 KiB; room to spare for kernels to come.
const BUFFER: usize = 128 * 1024;
/// A batch in which every message is refused answers each with a buffer of about 1 KiB, before we read.
const RECEIVE_BUFFER: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// A table that changes during a dump is read again so often.
const DUMP_TRIES: usize = 8;

pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        let fd = open_route_socket(SocketFlags::CLOEXEC)?;
        option::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, 1)?;
        option::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, 1)?;
        // Dumps filtered in the kernel; without it (before 4.20) they are only longer.
        let _ = option::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK, 1);
        option::set_buffers(fd.as_fd(), RECEIVE_BUFFER)?;
        net::sockopt::set_socket_timeout(&fd, net::sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER].into() })
    }

    /// One that reaches no kernel: every question fails.
    #[cfg(test)]
    pub(super) fn broken() -> io::Result<Self> {
        let fd = std::fs::File::open("/dev/null")?.into();
        Ok(Self { fd, sequence: 0, buffer: Box::default() })
    }

    /// One change, acknowledged.
    pub(super) fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.batch(vec![(message, flags)]).pop().unwrap_or(Err(NetlinkError::Malformed))
    }

    /// One question with one answer.
    pub(super) fn ask(&mut self, message: RouteNetlinkMessage) -> Result<RouteNetlinkMessage, NetlinkError> {
        let sequence = self.next_sequence();
        let mut bytes = Vec::new();
        encode(message, NLM_F_REQUEST | NLM_F_ACK, sequence, &mut bytes);
        self.send(&bytes)?;
        let mut answer = None;
        loop {
            let len = self.receive()?;
            for frame in Frames::new(&self.buffer[..len]).filter(|f| f.sequence == sequence) {
                match frame.body {
                    Body::Outcome(outcome) | Body::Done(outcome) => {
                        return outcome.and_then(|()| answer.ok_or(NetlinkError::Malformed));
                    }
                    body @ Body::Payload(..) => answer = body.decode(),
                    Body::Noop => {}
                }
            }
        }
    }

    /// All objects a dump gives. What the decoder does not understand is left out: nothing of ours is
    /// among it.
    pub(super) fn dump(
        &mut self,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        for _ in 0..DUMP_TRIES {
            if let Some(found) = self.dump_once(message.clone())? {
                return Ok(found);
            }
        }
        Err(NetlinkError::Interrupted)
    }

    /// `None`: a change came between, and the result may lack something.
    fn dump_once(
        &mut self,
        message: RouteNetlinkMessage,
    ) -> Result<Option<Vec<RouteNetlinkMessage>>, NetlinkError> {
        let sequence = self.next_sequence();
        let mut bytes = Vec::new();
        encode(message, NLM_F_REQUEST | NLM_F_DUMP, sequence, &mut bytes);
        self.send(&bytes)?;
        let mut found = Vec::new();
        let mut whole = true;
        loop {
            let len = self.receive()?;
            for frame in Frames::new(&self.buffer[..len]).filter(|f| f.sequence == sequence) {
                whole &= !frame.interrupted;
                match frame.body {
                    Body::Outcome(outcome) | Body::Done(outcome) => {
                        return outcome.map(|()| whole.then_some(found));
                    }
                    body @ Body::Payload(..) => found.extend(body.decode()),
                    Body::Noop => {}
                }
            }
        }
    }

    /// Many changes, few datagrams. Each has its own outcome, in the order given.
    pub(super) fn batch(
        &mut self,
        messages: Vec<(RouteNetlinkMessage, u16)>,
    ) -> Vec<Result<(), NetlinkError>> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let mut chunk = Chunk::new(self.sequence);
            while let Some((message, flags)) = messages.next_if(|(m, _)| chunk.has_room(m)) {
                chunk.push(message, flags);
            }
            self.sequence = chunk.last;
            outcomes.extend(self.exchange(&mut chunk));
        }
        outcomes
    }

    /// Send one datagram of changes and gather the outcomes.
    fn exchange(&mut self, chunk: &mut Chunk) -> Vec<Result<(), NetlinkError>> {
        chunk.ask_for_acknowledgement();
        let mut refused = HashMap::new();
        let end = match self.send(&chunk.bytes) {
            Ok(()) => self.collect(chunk, &mut refused),
            Err(error) => Err(error),
        };
        (chunk.first..)
            .take(chunk.count())
            .map(|sequence| match (refused.remove(&sequence), &end) {
                (Some(error), _) => Err(error),
                (None, Ok(())) => Ok(()),
                (None, Err(error)) => Err(error.clone()),
            })
            .collect()
    }

    /// Refusals come for any message, the acknowledgement for the last only; the kernel works in order.
    fn collect(
        &mut self,
        chunk: &Chunk,
        refused: &mut HashMap<u32, NetlinkError>,
    ) -> Result<(), NetlinkError> {
        loop {
            let len = self.receive()?;
            for frame in Frames::new(&self.buffer[..len]) {
                if !chunk.holds(frame.sequence) {
                    continue;
                }
                if let Body::Outcome(outcome) = frame.body {
                    if let Err(error) = outcome {
                        refused.insert(frame.sequence, error);
                    }
                    if frame.sequence == chunk.last {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        net::sendto(&self.fd, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    /// One datagram from the kernel; what others send us is passed over.
    fn receive(&mut self) -> Result<usize, NetlinkError> {
        loop {
            let (len, _, from) = match net::recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            if from_kernel(from) {
                return Ok(len);
            }
        }
    }
}

/// Messages of one datagram, with consecutive sequence numbers.
struct Chunk {
    bytes: Vec<u8>,
    first: u32,
    last: u32,
    last_at: usize,
}

impl Chunk {
    fn new(previous: u32) -> Self {
        Self { bytes: Vec::new(), first: previous.wrapping_add(1), last: previous, last_at: 0 }
    }

    fn count(&self) -> usize {
        self.last.wrapping_sub(self.first).wrapping_add(1) as usize
    }

    fn holds(&self, sequence: u32) -> bool {
        (sequence.wrapping_sub(self.first) as usize) < self.count()
    }

    fn has_room(&self, message: &RouteNetlinkMessage) -> bool {
        use netlink_packet_core::NetlinkSerializable;
        self.bytes.is_empty() || self.bytes.len() + message.buffer_len() + 32 <= CHUNK
    }

    fn push(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.last = self.last.wrapping_add(1);
        self.last_at = self.bytes.len();
        encode(message, NLM_F_REQUEST | flags, self.last, &mut self.bytes);
    }

    /// Set NLM_F_ACK in the last message's header.
    fn ask_for_acknowledgement(&mut self) {
        let Some(flags) = self.bytes.get_mut(self.last_at + 6..self.last_at + 8) else { return };
        let value = u16::from_ne_bytes([flags[0], flags[1]]) | NLM_F_ACK;
        flags.copy_from_slice(&value.to_ne_bytes());
    }
}

/// Append one message, padded to the next multiple of four.
fn encode(message: RouteNetlinkMessage, flags: u16, sequence: u32, out: &mut Vec<u8>) {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let at = out.len();
    let len = message.buffer_len();
    out.resize(at + len.next_multiple_of(4), 0);
    message.serialize(&mut out[at..at + len]);
}

/// A NETLINK_ROUTE (protocol 0) socket bound to an address of its own.
pub(super) fn open_route_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
    Ok(fd)
}

/// Any process may send to a netlink socket; only the kernel has port 0.
pub(super) fn from_kernel(from: Option<net::SocketAddrAny>) -> bool {
    from.and_then(|a| SocketAddrNetlink::try_from(a).ok()).is_some_and(|a| a.pid() == 0)
}
