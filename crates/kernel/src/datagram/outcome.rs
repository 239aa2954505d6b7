//! What became of the runs of a send.

use std::io;

use super::Segmentation;

/// Sums over one call of `send_runs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams the kernel took.
    pub datagrams: u64,
    /// Their payload octets.
    pub bytes: u64,
    /// System calls made.
    pub calls: u64,
    /// Datagrams dropped because the socket's buffer or the device's queue was full.
    pub full: u64,
    /// Datagrams dropped for another reason; [`super::SendArena::failures`] has each run's.
    pub failed: u64,
    /// The socket has given segmentation up for good in this call, and why.
    pub given_up: Option<Segmentation>,
}

/// A run not sent whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFailure {
    /// Index into the runs of the call.
    pub run: usize,
    /// Why.
    pub failure: SendFailure,
}

/// Why the kernel refused a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// A datagram with its headers exceeds the path's MTU (in octets, when the kernel knows it).
    #[error("larger than the path's MTU of {mtu:?}")]
    TooBig {
        /// The path MTU from the kernel's routes, IP header included.
        mtu: Option<u32>,
    },
    /// No room in the socket's buffer or the device's queue.
    #[error("no room to send")]
    Full,
    /// No route, network down, or the source address is gone; the OS error number.
    #[error("unreachable ({})", io::Error::from_raw_os_error(*.0))]
    Unreachable(i32),
    /// A packet filter refused it.
    #[error("refused by a packet filter")]
    Filtered,
    /// Anything else; the OS error number.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Other(i32),
}
