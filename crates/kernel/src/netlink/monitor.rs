//! What changes in this namespace's network, as the kernel announces it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags};

use super::frame::{Body, Frames};
use super::groups::{self, listen};
use super::socket::from_kernel;
use super::{Address, Link, Route, Rule, address, link, route_message, rule};
use crate::sys::option;

/// Room for a burst of events while the reader is busy: about 8,000 route changes.
const RECEIVE_BUFFER: usize = 8 << 20;
const BUFFER: usize = 64 * 1024;

/// What to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Interfaces: made, changed, deleted.
    pub links: bool,
    /// Addresses.
    pub addresses: bool,
    /// Routes of every table and owner, our own changes included.
    pub routes: bool,
    /// Rules.
    pub rules: bool,
}

impl Interest {
    /// Everything.
    pub const ALL: Self = Self { links: true, addresses: true, routes: true, rules: true };
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An interface is new or has changed.
    LinkChanged(Link),
    /// An interface is gone.
    LinkRemoved(Link),
    /// An address is new or has changed (an IPv6 one comes twice: tentative, then usable).
    AddressAdded(Address),
    /// An address is gone. IPv4 routes with it as source go without an event of their own.
    AddressRemoved(Address),
    /// A route is new or was replaced.
    RouteAdded(Route),
    /// A route was deleted. IPv4 routes of an interface going down are not announced.
    RouteRemoved(Route),
    /// A rule is new.
    RuleAdded(Rule),
    /// A rule was deleted.
    RuleRemoved(Rule),
    /// Events were lost: read the whole state again.
    Resync,
}

/// A non-blocking source of [`Event`]s; wait for its descriptor to become readable.
pub struct Monitor {
    fd: OwnedFd,
    waiting: VecDeque<Event>,
    buffer: Box<[u8]>,
}

impl Monitor {
    /// Listen in the calling thread's network namespace.
    pub fn open(interest: Interest) -> io::Result<Self> {
        let wanted: [(bool, &[i32]); 4] = [
            (interest.links, &[groups::LINK]),
            (interest.addresses, &[groups::IPV4_IFADDR, groups::IPV6_IFADDR]),
            (interest.routes, &[groups::IPV4_ROUTE, groups::IPV6_ROUTE]),
            (interest.rules, &[groups::IPV4_RULE, groups::IPV6_RULE]),
        ];
        let wanted = wanted.into_iter().filter(|(on, _)| *on).flat_map(|(_, of)| of);
        let fd = listen(wanted.copied())?;
        option::set_buffers(fd.as_fd(), RECEIVE_BUFFER)?;
        Ok(Self { fd, waiting: VecDeque::new(), buffer: vec![0; BUFFER].into() })
    }

    /// The next event, without waiting; `None` when there is none.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Ok(Some(event));
            }
            match net::recvfrom(&self.fd, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((len, whole, from)) => {
                    if from_kernel(from) {
                        let frames = Frames::new(&self.buffer[..len.min(self.buffer.len())]);
                        self.waiting.extend(frames.filter_map(|frame| interpret(&frame.body)));
                    }
                    if whole > len {
                        self.waiting.push_back(Event::Resync);
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Ok(Some(Event::Resync)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn interpret(body: &Body<'_>) -> Option<Event> {
    match body.decode()? {
        RouteNetlinkMessage::NewLink(message) => link::read(&message).map(Event::LinkChanged),
        RouteNetlinkMessage::DelLink(message) => link::read(&message).map(Event::LinkRemoved),
        RouteNetlinkMessage::NewAddress(message) => address::read(&message).map(Event::AddressAdded),
        RouteNetlinkMessage::DelAddress(message) => address::read(&message).map(Event::AddressRemoved),
        RouteNetlinkMessage::NewRoute(message) => route_message::read(&message).map(Event::RouteAdded),
        RouteNetlinkMessage::DelRoute(message) => route_message::read(&message).map(Event::RouteRemoved),
        RouteNetlinkMessage::NewRule(message) => rule::read(&message).map(Event::RuleAdded),
        RouteNetlinkMessage::DelRule(message) => rule::read(&message).map(Event::RuleRemoved),
        _ => None,
    }
}

#[cfg(test)]
impl Monitor {
    /// A buffer so small that a burst overruns it.
    pub(crate) fn shrink_for_test(&self) {
        option::set_int(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).unwrap();
    }
}
