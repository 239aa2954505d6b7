//! The program on a device, and the maps it asks.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::inject::{Injector, Slotted};
use super::program::{self, IPV4, IPV6, KEY};
use super::socket::{self, XdpReceiver, XdpTransmitter};
use super::{Mac, XdpError};
use crate::netlink::Netlink;
use crate::sys::bpf::{Map, MapKind, link_xdp, load_xdp};

/// Queues served at most; what comes by others goes through the kernel's stack.
pub const MAX_QUEUES: u32 = 16;
/// Addresses heard at most.
pub const MAX_ADDRESSES: usize = 256;

/// The helpers the program calls ask for none in particular.
const LICENSE: &CStr = c"Dual MIT/GPL";
const SKB_MODE: u32 = 1 << 1;
const DRIVER_MODE: u32 = 1 << 2;

/// A device with our program on it. Both go when this value is dropped or the process ends, however it does: the
/// kernel ties the program to a descriptor of ours.
pub struct XdpDevice {
    /// Never read: the program is on the device for as long as it is open.
    #[expect(dead_code, reason = "held for what it holds")]
    link: OwnedFd,
    injector: Option<Injector>,
    addresses: Map<KEY>,
    sockets: Map<4>,
    heard: BTreeSet<[u8; KEY]>,
    name: String,
    index: u32,
    mac: Mac,
    mtu: u32,
    native: bool,
}

impl XdpDevice {
    /// Puts the program on a device: in its driver where that can, else in the stack right behind it. It hears no address yet.
    ///
    /// # Errors
    ///
    /// There is no such device, it is no Ethernet, its MTU is too large for a frame, another program is on it
    /// already, or the kernel lacks what it takes or refuses us (`CAP_NET_ADMIN` and `CAP_BPF`).
    pub fn attach(netlink: &mut Netlink, name: &str) -> Result<Self, XdpError> {
        let link = netlink.link_by_name(name)?.ok_or_else(|| XdpError::NoDevice(name.to_owned()))?;
        let mac =
            netlink.hardware_address(link.index)?.ok_or_else(|| XdpError::NotEthernet(name.to_owned()))?;
        if link.mtu > socket::MAX_MTU {
            return Err(XdpError::MtuTooLarge { device: name.to_owned(), mtu: link.mtu });
        }
        let step = |what| move |source| XdpError::Kernel { what, source };
        let addresses = Map::new(MapKind::Hash, MAX_ADDRESSES as u32).map_err(step("a BPF map"))?;
        let sockets = Map::new(MapKind::Xsk, MAX_QUEUES).map_err(step("a map of AF_XDP sockets"))?;
        let (program, slotted) = load(&addresses, &sockets, link.index).map_err(step("the XDP program"))?;
        let (held, native) = match link_xdp(program.as_fd(), link.index, DRIVER_MODE) {
            Ok(held) => (held, true),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(XdpError::Busy(link.name)),
            Err(_) => {
                let held = link_xdp(program.as_fd(), link.index, SKB_MODE);
                (held.map_err(step("the program on the device"))?, false)
            }
        };
        Ok(Self {
            injector: slotted.filter(|_| native).map(|slotted| Injector::new(program, slotted)),
            link: held,
            addresses,
            sockets,
            heard: BTreeSet::new(),
            name: link.name,
            index: link.index,
            mac,
            mtu: link.mtu,
            native,
        })
    }

    /// Takes ESP to these addresses, and to no others, from now on; what is not heard goes through the stack. Those
    /// past [`MAX_ADDRESSES`] are left out, and how many is the answer.
    pub fn hear(&mut self, addresses: &[IpAddr]) -> io::Result<usize> {
        let all: BTreeSet<[u8; KEY]> = addresses.iter().map(|address| key(*address, self.mac)).collect();
        let left_out = all.len().saturating_sub(MAX_ADDRESSES);
        let wanted: BTreeSet<[u8; KEY]> = all.into_iter().take(MAX_ADDRESSES).collect();
        for gone in self.heard.difference(&wanted) {
            self.addresses.remove(gone)?;
        }
        for new in wanted.difference(&self.heard) {
            self.addresses.set(new, 1)?;
        }
        self.heard = wanted;
        Ok(left_out)
    }

    /// Takes the addresses of the host as they are now, and the device's own.
    ///
    /// # Errors
    ///
    /// Netlink's or those of the map; what was heard before may be heard no longer, and goes through the stack.
    pub(super) fn hear_host(&mut self, netlink: &mut Netlink) -> Result<(), XdpError> {
        if let Some(mac) = netlink.hardware_address(self.index)? {
            self.mac = mac;
        }
        let all: Vec<IpAddr> = netlink.addresses(None)?.into_iter().map(|address| address.address).collect();
        self.hear(&all).map_err(|source| XdpError::Kernel { what: "the map of addresses", source })?;
        Ok(())
    }

    /// Opens the socket of one queue, its two halves. What the program takes from that queue comes to it from now on.
    ///
    /// # Errors
    ///
    /// The device has no such queue, the queue has a socket already, or the frames cannot be had (`RLIMIT_MEMLOCK` without `CAP_IPC_LOCK`).
    pub fn open(&self, queue: u32) -> Result<(XdpReceiver, XdpTransmitter), XdpError> {
        let (receiver, transmitter) = socket::bind(self.index, queue, self.mtu)
            .map_err(|source| XdpError::Kernel { what: "an AF_XDP socket", source })?;
        self.sockets
            .set(&queue.to_ne_bytes(), receiver.as_fd().as_raw_fd().cast_unsigned())
            .map_err(|source| XdpError::Kernel { what: "an AF_XDP socket in its map", source })?;
        Ok((receiver, transmitter))
    }

    /// A socket for each queue, [`MAX_QUEUES`] at most; at least one.
    ///
    /// # Errors
    ///
    /// As [`Self::open`], of the first queue.
    pub fn open_all(&self) -> Result<Vec<(XdpReceiver, XdpTransmitter)>, XdpError> {
        let mut sockets = vec![self.open(0)?];
        for queue in 1..MAX_QUEUES {
            match self.open(queue) {
                Ok(socket) => sockets.push(socket),
                // No queue of that number, or no memory for it: the stack takes it.
                Err(_) => break,
            }
        }
        Ok(sockets)
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

/// The program that sends as well, with its slots; on a kernel that cannot (before 5.18) the one that does not.
fn load(addresses: &Map<KEY>, sockets: &Map<4>, device: u32) -> io::Result<(OwnedFd, Option<Slotted>)> {
    let sending = Slotted::new().and_then(|slotted| {
        let code = program::assemble(addresses.raw(), sockets.raw(), Some(slotted.maps(device)));
        Ok((load_xdp(&code, LICENSE)?, Some(slotted)))
    });
    sending
        .or_else(|_| Ok((load_xdp(&program::assemble(addresses.raw(), sockets.raw(), None), LICENSE)?, None)))
}

/// A key of the map of addresses.
fn key(address: IpAddr, mac: Mac) -> [u8; KEY] {
    let mut key = [0; KEY];
    let kind = match address {
        IpAddr::V4(v4) => {
            key[..4].copy_from_slice(&v4.octets());
            IPV4
        }
        IpAddr::V6(v6) => {
            key[..16].copy_from_slice(&v6.octets());
            IPV6
        }
    };
    key[16..22].copy_from_slice(&mac);
    key[22..].copy_from_slice(&kind.to_be_bytes());
    key
}
