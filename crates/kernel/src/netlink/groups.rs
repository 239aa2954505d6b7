//! The kernel's announcements: their multicast groups (linux/rtnetlink.h), and a socket that hears some.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::SocketFlags;

use super::socket::open_route_socket;
use crate::sys::option;

pub(super) const LINK: i32 = 1;
pub(super) const NEIGH: i32 = 3;
pub(super) const IPV4_IFADDR: i32 = 5;
pub(super) const IPV4_ROUTE: i32 = 7;
pub(super) const IPV4_RULE: i32 = 8;
pub(super) const IPV6_IFADDR: i32 = 9;
pub(super) const IPV6_ROUTE: i32 = 11;
pub(super) const IPV6_RULE: i32 = 19;

/// Each of them.
pub(super) const ALL: [i32; 8] =
    [LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE];

/// A non-blocking socket that hears these groups, in the calling thread's network namespace.
pub(super) fn listen(groups: impl IntoIterator<Item = i32>) -> io::Result<OwnedFd> {
    let fd = open_route_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    for group in groups {
        option::set_int(fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group)?;
    }
    Ok(fd)
}
