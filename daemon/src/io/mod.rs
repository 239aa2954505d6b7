//! What comes in besides packets: BGP connections and the control socket.

use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) mod bgp;
pub(crate) mod control;

/// Lets the loop wait until `socket` has something to read.
#[expect(
    deprecated,
    reason = "the form without a promise in `unsafe`; what it warns of are types that close or swap their \
              descriptor while registered, and ours own one descriptor for life"
)]
pub(crate) fn watch<T: AsFd + AsRawFd>(socket: T) -> std::io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}
