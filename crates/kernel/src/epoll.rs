//! Waiting on many descriptors at once, and a bell another thread can ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

/// What to wait for on a descriptor. Level-triggered: it is reported as long as it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Something to read, or the end of a stream.
    pub readable: bool,
    /// Room to write.
    pub writable: bool,
}

impl Interest {
    /// Reading alone.
    pub const READ: Self = Self { readable: true, writable: false };
    /// Both ways.
    pub const BOTH: Self = Self { readable: true, writable: true };

    fn flags(self) -> EventFlags {
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, self.readable);
        flags.set(EventFlags::OUT, self.writable);
        flags
    }
}

/// One descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The token it was added with.
    pub token: u64,
    /// Something to read.
    pub readable: bool,
    /// Room to write.
    pub writable: bool,
    /// An error or a report in the error queue, or the other end is gone. Reported unasked.
    pub error: bool,
}

/// A set of descriptors to wait on. A descriptor leaves the set when it is removed or when its last
/// duplicate is closed.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Add a descriptor under a token.
    pub fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.fd, source, EventData::new_u64(token), interest.flags())?)
    }

    /// Change what is waited for, or the token.
    pub fn modify(&self, source: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.fd, source, EventData::new_u64(token), interest.flags())?)
    }

    /// Take a descriptor out.
    pub fn remove(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, source)?)
    }

    /// Wait until something is ready or the time is over (`None`: no limit), and put what is ready into
    /// `ready`, whose capacity bounds how much one call reports. A signal ends the wait early, with
    /// nothing ready.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut events = [EMPTY; MOST];
        let room = ready.capacity().clamp(1, MOST);
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos().into() });
        let count = match epoll::wait(&self.fd, &mut events[..room], timeout.as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        ready.extend(events[..count].iter().map(|event| {
            let flags = event.flags;
            Ready {
                token: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::RDHUP),
                writable: flags.contains(EventFlags::OUT),
                error: flags.intersects(EventFlags::ERR | EventFlags::HUP),
            }
        }));
        Ok(())
    }
}

/// A set is itself readable while anything in it is ready, so that it can be waited for in another.
impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Most descriptors one wait reports.
const MOST: usize = 64;
const EMPTY: epoll::Event = epoll::Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };

/// A bell (`eventfd`): rung from any thread, it makes its descriptor readable until it is hushed.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
}

impl Bell {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        Ok(Self { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)? })
    }

    /// Ring it. Rings that were not heard yet add up to one.
    pub fn ring(&self) {
        // It fails only when the counter is full, and then it rings already.
        let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
    }

    /// Hush it: did it ring?
    pub fn hush(&self) -> bool {
        rustix::io::read(&self.fd, &mut [0; 8]).is_ok()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_wakes_the_waiter_once_for_many_rings() {
        let (epoll, bell) = (Epoll::new().unwrap(), Bell::new().unwrap());
        epoll.add(&bell, 7, Interest::READ).unwrap();
        let mut ready = Vec::with_capacity(4);
        epoll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
        assert!(ready.is_empty());
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| bell.ring()));
        });
        epoll.wait(&mut ready, None).unwrap();
        assert_eq!(ready.iter().map(|r| (r.token, r.readable)).collect::<Vec<_>>(), [(7, true)]);
        assert!(bell.hush());
        assert!(!bell.hush());
    }

    #[test]
    fn a_set_in_a_set_is_ready_while_something_in_it_is() {
        let (outer, inner, bell) = (Epoll::new().unwrap(), Epoll::new().unwrap(), Bell::new().unwrap());
        inner.add(&bell, 7, Interest::READ).unwrap();
        outer.add(&inner, 9, Interest::READ).unwrap();
        let mut ready = Vec::with_capacity(4);
        let mut told = |epoll: &Epoll| {
            epoll.wait(&mut ready, Some(Duration::ZERO)).unwrap();
            ready.iter().map(|one| one.token).collect::<Vec<_>>()
        };
        assert_eq!(told(&outer), []);
        bell.ring();
        assert_eq!((told(&outer), told(&outer), told(&inner)), (vec![9], vec![9], vec![7]));
        bell.hush();
        assert_eq!((told(&outer), told(&inner)), (vec![], vec![]));
    }
}
