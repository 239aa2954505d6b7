//! Link addresses: of our own devices, and of those they can reach.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::{self, RecvFlags, SocketFlags};

use super::socket::{from_kernel, open_route_socket};
use super::{Netlink, NetlinkError};
use crate::sys::option;

// Multicast groups of rtnetlink (linux/rtnetlink.h).
const RTNLGRP_LINK: i32 = 1;
const RTNLGRP_NEIGH: i32 = 3;
const RTNLGRP_IPV4_IFADDR: i32 = 5;
const RTNLGRP_IPV4_ROUTE: i32 = 7;
const RTNLGRP_IPV4_RULE: i32 = 8;
const RTNLGRP_IPV6_IFADDR: i32 = 9;
const RTNLGRP_IPV6_ROUTE: i32 = 11;
const RTNLGRP_IPV6_RULE: i32 = 19;

/// Announcements read at most before answering that there were some.
const MOST: usize = 64;

impl Netlink {
    /// An Ethernet device's address; `None` when there is no such device, or it is no Ethernet.
    pub fn hardware_address(&mut self, index: u32) -> Result<Option<[u8; 6]>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.socket.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(RouteNetlinkMessage::NewLink(found))
                if found.header.link_layer_type == LinkLayerType::Ether =>
            {
                Ok(found.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
                    _ => None,
                }))
            }
            Ok(RouteNetlinkMessage::NewLink(_)) | Err(NetlinkError::Missing { .. }) => Ok(None),
            Ok(_) => Err(NetlinkError::Malformed),
            Err(error) => Err(error),
        }
    }

    /// The Ethernet address that the kernel would send to for an attached host; `None` while it knows none.
    pub fn neighbour(&mut self, device: u32, address: IpAddr) -> Result<Option<[u8; 6]>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.ifindex = device;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        match self.socket.ask(RouteNetlinkMessage::GetNeighbour(message)) {
            Ok(RouteNetlinkMessage::NewNeighbour(found)) if is_valid(found.header.state) => {
                Ok(found.attributes.iter().find_map(|attribute| match attribute {
                    NeighbourAttribute::LinkLocalAddress(bytes) => bytes.as_slice().try_into().ok(),
                    _ => None,
                }))
            }
            Ok(RouteNetlinkMessage::NewNeighbour(_)) | Err(NetlinkError::Missing { .. }) => Ok(None),
            Ok(_) => Err(NetlinkError::Malformed),
            Err(error) => Err(error),
        }
    }
}

/// The states in which the kernel sends without asking first (`NUD_VALID`).
fn is_valid(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Probe
            | NeighbourState::Stale
            | NeighbourState::Delay
    )
}

/// Hears that something of which way packets take has changed: links, addresses, routes, rules, neighbours. What it was
/// is not read.
#[derive(Debug)]
pub struct Stir {
    fd: OwnedFd,
}

impl Stir {
    /// Listens in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let fd = open_route_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        for group in [
            RTNLGRP_LINK,
            RTNLGRP_NEIGH,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV4_RULE,
            RTNLGRP_IPV6_IFADDR,
            RTNLGRP_IPV6_ROUTE,
            RTNLGRP_IPV6_RULE,
        ] {
            option::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
        }
        Ok(Self { fd })
    }

    /// Was anything announced since it was last asked? Never waits.
    pub fn stirred(&self) -> bool {
        let mut any = false;
        for _ in 0..MOST {
            match net::recvfrom(&self.fd, &mut [0_u8; 4][..], RecvFlags::TRUNC) {
                Ok((.., from)) => any |= from_kernel(from),
                Err(rustix::io::Errno::AGAIN) => return any,
                // Announcements were lost, so there were some.
                Err(_) => any = true,
            }
        }
        any
    }
}

impl AsFd for Stir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Stir {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
