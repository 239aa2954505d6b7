//! rtnetlink: links, addresses, routes, rules, look-ups, and a monitor of what changes.
//!
//! One blocking socket, one caller: no task or lock. Many changes go in one `sendmsg` and are answered by
//! sequence number, so a whole table costs a few system calls. Requests and events have sockets of
//! their own.
//!
//! Routes of others are never touched: adding asks for exclusivity, deleting names our protocol number, and
//! replacing looks first whose the route is.

mod address;
mod drops;
mod error;
mod frame;
mod groups;
mod link;
mod monitor;
mod neighbour;
mod qdisc;
mod route;
mod route_message;
mod rule;
mod socket;
mod stir;

use std::io;

pub use address::Address;
pub use drops::SendDrops;
pub use error::NetlinkError;
pub use link::{Link, LinkChange};
pub use monitor::{Event, Interest, Monitor};
pub use route::{
    Reach, Route, RouteAnswer, RouteChange, RouteFilter, RouteKey, RouteQuery, TABLE_LOCAL, TABLE_MAIN,
    Target,
};
pub use rule::Rule;
pub use stir::Stir;

/// A socket for requests, in the network namespace of the thread that opened it. Every call blocks until the
/// kernel has answered (bounded: 10 s without an answer is [`NetlinkError::Timeout`]).
pub struct Netlink {
    socket: socket::Socket,
}

impl Netlink {
    /// Open one. Changing anything needs `CAP_NET_ADMIN`; reading does not.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: socket::Socket::open()? })
    }

    /// One whose every question fails.
    #[cfg(test)]
    pub(crate) fn broken() -> io::Result<Self> {
        Ok(Self { socket: socket::Socket::broken()? })
    }
}
