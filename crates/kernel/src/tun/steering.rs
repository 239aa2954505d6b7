//! Control packets in a queue of the device of their own.
//!
//! A flood fills the ring of the queue it is dealt to, and what comes after it waits behind it or is dropped. Routing
//! protocols mark their packets with DSCP CS6 (RFC 4594 section 3.2); a program of a few instructions gives those a ring
//! that nothing else is in.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{ATTACH, TunError, TunOptions, TunQueue, open_queue, setup};
use crate::sys::bpf::{instruction, load_filter};
use crate::sys::ioctl;

/// The queue of control packets: behind the one of all others.
const CONTROL: i32 = 1;

/// The program that chooses the queue, as the kernel has checked it. Any number of devices can have it.
#[derive(Debug)]
pub struct Steering {
    program: OwnedFd,
}

impl Steering {
    /// Loads the program. Most hosts want `CAP_BPF` for it (`kernel.unprivileged_bpf_disabled`); a device takes it
    /// without.
    ///
    /// # Errors
    /// The kernel does not let us, or has no bpf(2).
    pub fn load() -> io::Result<Self> {
        Ok(Self { program: load_filter(&program(), c"Dual MIT/GPL")? })
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

/// Opens the queue of control packets of a device whose only other queue is `data`. Without the program nobody reads
/// that queue, and so there is none.
pub(super) fn open_control(
    data: &TunQueue,
    options: &TunOptions,
    steering: &Steering,
) -> Result<TunQueue, TunError> {
    // Before the queue is there: until then the kernel takes every answer modulo one.
    ioctl::tun_steering(data.as_fd(), Some(steering.as_fd())).map_err(setup("TUNSETSTEERINGEBPF"))?;
    open_queue(options, super::flags(true)).map_err(|error| match error {
        TunError::Setup { step: ATTACH, source } => TunError::Setup { step: "a second queue", source },
        other => other,
    })
}

/// DSCP CS6 of an IPv4 or IPv6 packet, whatever its two bits of ECN: the queue [`CONTROL`]; all else the first. All
/// fragments of a packet have its DSCP. Reading past the end of a packet ends the program with 0, the first queue.
fn program() -> Vec<u8> {
    const CONTEXT: u8 = 6;
    const FIRST: u8 = 0;
    const COPY: u8 = 2;
    [
        instruction(0xbf, CONTEXT, 1, 0, 0),
        // The first two octets, in the order of the wire: version, length of the header, type of service; or version,
        // traffic class, and four bits of the flow label.
        instruction(0x28, 0, 0, 0, 0),
        instruction(0xbf, COPY, FIRST, 0, 0),
        instruction(0x57, COPY, 0, 0, 0xf0fc),
        instruction(0x15, COPY, 0, 4, 0x40c0),
        instruction(0x57, FIRST, 0, 0, 0xffc0),
        instruction(0x15, FIRST, 0, 2, 0x6c00),
        instruction(0xb7, FIRST, 0, 0, 0),
        instruction(0x95, 0, 0, 0, 0),
        instruction(0xb7, FIRST, 0, 0, CONTROL),
        instruction(0x95, 0, 0, 0, 0),
    ]
    .concat()
}
