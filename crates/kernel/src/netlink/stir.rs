//! That anything changed, without what.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{self, RecvFlags};

use super::groups::{self, listen};
use super::socket::from_kernel;

/// Announcements read at most before answering that there were some.
const MOST: usize = 64;

/// Hears that something of which way packets take has changed: links, addresses, routes, rules, neighbours. What it was
/// is not read.
#[derive(Debug)]
pub struct Stir {
    fd: OwnedFd,
}

impl Stir {
    /// Listens in the calling thread's network namespace.
    pub fn open() -> io::Result<Self> {
        let fd = listen(groups::ALL)?;
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
