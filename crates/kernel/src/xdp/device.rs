//! The program on a device, and the maps it asks.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Weak};

use super::XdpError;
use super::ears::Ears;
use super::inject::{Injector, Slotted};
use super::program;
use super::socket::{self, XdpReceiver, XdpTransmitter, patiently};
use crate::netlink::{Link, Netlink};
use crate::sys::bpf::{Map, MapKind, link_device, link_xdp, load_xdp};

/// Queues served at most; what comes by others goes through the kernel's stack.
pub const MAX_QUEUES: u32 = 16;

/// The helpers the program calls ask for none in particular.
const LICENSE: &CStr = c"Dual MIT/GPL";
const SKB_MODE: u32 = 1 << 1;
const DRIVER_MODE: u32 = 1 << 2;

/// A device with our program on it. Both go when this value is dropped or the process ends, however it does: the
/// kernel ties the program to a descriptor of ours.
pub struct XdpDevice {
    /// The program is on the device for as long as this is open.
    link: Arc<OwnedFd>,
    injector: Option<Injector>,
    /// `None` once a scout has them.
    ears: Option<Ears>,
    sockets: Map<4>,
    name: String,
    index: u32,
    mtu: u32,
    native: bool,
}

impl XdpDevice {
    /// Puts the program on a device: in its driver where that can, else in the stack right behind it. It hears nobody yet.
    ///
    /// # Errors
    ///
    /// There is no such device, it is no Ethernet, its MTU is too large for a frame, another program is on it
    /// and stays, or the kernel lacks what it takes or refuses us (`CAP_NET_ADMIN` and `CAP_BPF`).
    pub fn attach(netlink: &mut Netlink, name: &str) -> Result<Self, XdpError> {
        let link = netlink.link_by_name(name)?.ok_or_else(|| XdpError::NoDevice(name.to_owned()))?;
        let mac =
            netlink.hardware_address(link.index)?.ok_or_else(|| XdpError::NotEthernet(name.to_owned()))?;
        if link.mtu > socket::MAX_MTU {
            return Err(XdpError::MtuTooLarge { device: name.to_owned(), mtu: link.mtu });
        }
        let ears = step("a BPF map", Ears::new(link.index, mac))?;
        let sockets = step("a map of AF_XDP sockets", Map::new(MapKind::Xsk, MAX_QUEUES))?;
        let (program, slotted) = step("the XDP program", load(&ears, &sockets, &link))?;
        let (held, native) = put_on(&program, &link)?;
        Ok(Self {
            injector: slotted.filter(|_| native).map(|slotted| Injector::new(program, slotted)),
            link: Arc::new(held),
            ears: Some(ears),
            sockets,
            name: link.name,
            index: link.index,
            mtu: link.mtu,
            native,
        })
    }

    /// Tells from any thread whether the program is on it still; does not hold it there.
    #[must_use]
    pub fn watch(&self) -> XdpWatch {
        XdpWatch { link: Arc::downgrade(&self.link) }
    }

    /// Opens the socket of one queue, both halves. What the program takes from that queue comes to it from now on.
    /// A queue whose socket was closed a moment ago is waited for, a second at most.
    ///
    /// # Errors
    ///
    /// The device has no such queue, the queue has a socket already, or the frames cannot be had (`RLIMIT_MEMLOCK` without `CAP_IPC_LOCK`).
    pub fn open(&self, queue: u32) -> Result<(XdpReceiver, XdpTransmitter), XdpError> {
        let (receiver, transmitter) =
            socket::bind(self.index, queue, self.mtu).map_err(|source| XdpError::Queue { queue, source })?;
        self.give(queue, &receiver)?;
        Ok((receiver, transmitter))
    }

    /// The receiving half of a socket for each queue, [`MAX_QUEUES`] at most, at least one; and the sending half of the
    /// first: its queue is as good as another.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], of any queue the device has: with some of them the rest would be slow, and nobody would know why.
    pub fn open_all(&self) -> Result<(Vec<XdpReceiver>, XdpTransmitter), XdpError> {
        let (first, transmitter) = self.open(0)?;
        let mut receivers = vec![first];
        for queue in 1..MAX_QUEUES {
            match self.open_to_receive(queue) {
                Ok(receiver) => receivers.push(receiver),
                // No queue of that number.
                Err(XdpError::Queue { source, .. }) if source.kind() == io::ErrorKind::InvalidInput => break,
                Err(error) => return Err(error),
            }
        }
        Ok((receivers, transmitter))
    }

    fn open_to_receive(&self, queue: u32) -> Result<XdpReceiver, XdpError> {
        let receiver = socket::bind_to_receive(self.index, queue, self.mtu)
            .map_err(|source| XdpError::Queue { queue, source })?;
        self.give(queue, &receiver)?;
        Ok(receiver)
    }

    /// Lets the program hand a queue's packets to a socket.
    fn give(&self, queue: u32, receiver: &XdpReceiver) -> Result<(), XdpError> {
        let socket = receiver.as_fd().as_raw_fd().cast_unsigned();
        step("an AF_XDP socket in its map", self.sockets.set(&queue.to_ne_bytes(), socket))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The sending half of the program, where it can be used: once.
    pub(super) fn take_injector(&mut self) -> Option<Injector> {
        self.injector.take()
    }

    /// What decides who is heard: once.
    pub(super) fn take_ears(&mut self) -> Option<Ears> {
        self.ears.take()
    }

    /// Is the program in the driver, rather than in the stack behind it?
    #[must_use]
    pub fn native(&self) -> bool {
        self.native
    }
}

#[cfg(test)]
impl XdpDevice {
    /// Has it a sending half of the program?
    pub(crate) fn can_inject(&self) -> bool {
        self.injector.is_some()
    }
}

/// Whether a device has our program on it.
#[derive(Clone, Debug)]
pub struct XdpWatch {
    link: Weak<OwnedFd>,
}

impl XdpWatch {
    /// Is the program on the device still? Where the device has gone, another of its name has none. The kernel answers under
    /// its network lock, which others may hold for seconds: nothing that packets wait for may be held meanwhile.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        // A kernel that does not say: it was a moment ago.
        self.link.upgrade().is_some_and(|link| link_device(link.as_fd()) != Some(0))
    }
}

/// Puts a program on a device, in its driver if that can; and whether it is there.
fn put_on(program: &OwnedFd, device: &Link) -> Result<(OwnedFd, bool), XdpError> {
    let is_busy = |error: &io::Error| error.kind() == io::ErrorKind::ResourceBusy;
    let put = |mode| patiently(|| link_xdp(program.as_fd(), device.index, mode));
    let (held, native) = match put(DRIVER_MODE) {
        Err(error) if !is_busy(&error) => (put(SKB_MODE), false),
        outcome => (outcome, true),
    };
    match held {
        Err(error) if is_busy(&error) => Err(XdpError::Busy(device.name.clone())),
        outcome => Ok((step("the program on the device", outcome)?, native)),
    }
}

/// What the kernel refuses, by name.
fn step<T>(what: &'static str, outcome: io::Result<T>) -> Result<T, XdpError> {
    outcome.map_err(|source| XdpError::Kernel { what, source })
}

/// The program that sends as well, with its slots; on a kernel that cannot (before 5.18) the one that does not.
fn load(ears: &Ears, sockets: &Map<4>, link: &Link) -> io::Result<(OwnedFd, Option<Slotted>)> {
    let code = |send| program::assemble(ears.raw(), sockets.raw(), socket::longest(link.mtu), send);
    let sending = Slotted::new()
        .and_then(|slotted| Ok((load_xdp(&code(Some(slotted.maps(link.index))), LICENSE)?, Some(slotted))));
    sending.or_else(|_| Ok((load_xdp(&code(None), LICENSE)?, None)))
}
