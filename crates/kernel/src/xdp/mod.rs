//! Protocol 50 past the kernel's stack: AF_XDP, both ways, beside the raw socket and never without it.
//!
//! A raw socket costs a walk through the stack for each packet. Here a small program on the device hands ESP from whom we
//! send to, for the address we send from, to a socket whose frames it shares with us, and what we send is laid out from
//! its Ethernet header on.
//!
//! What that goes past, and what stands in its place:
//!
//! | in the kernel | here |
//! | --- | --- |
//! | routes and rules | asked for each way with the first packet, each second, and whenever netlink announces a change, by the [`XdpScout`] in a thread of its own: no packet waits for an answer |
//! | that the source is the host's | its addresses read when netlink announces a change, ten times a second at most |
//! | neighbours | likewise; while there is none the raw socket sends, and so has it looked for |
//! | a path's MTU | asked with the route; what is longer goes by the raw socket, which refuses or cuts it |
//! | netfilter, the queue discipline, `tcpdump` on receiving | nothing: this is why it is asked for by name |
//! | options, extension headers, fragments, VLAN tags | not taken: the program passes them on, the raw socket hears them |
//!
//! One batch a second on each way takes the raw socket on purpose: so the kernel goes on confirming the neighbour
//! and learning the path. A packet for which there is no frame takes it too, with what follows it in its batch.

mod device;
mod ears;
mod features;
mod frame;
mod hop;
mod inject;
mod program;
mod scout;
mod send;
mod socket;

use std::io;

pub use device::{MAX_QUEUES, XdpDevice, XdpWatch};
pub use ears::MAX_PEERS;
pub use scout::XdpScout;
pub use send::{Rest, XdpCounts, XdpFrames, XdpSender};
pub use socket::{XdpLosses, XdpMeter, XdpReceiver, XdpTransmitter};

use crate::netlink::NetlinkError;

/// An Ethernet address.
type Mac = [u8; 6];

/// Why a device cannot be used so.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// No device of that name.
    #[error("there is no device {0}")]
    NoDevice(String),
    /// A device without Ethernet addresses.
    #[error("{0} is no Ethernet device")]
    NotEthernet(String),
    /// Its packets would not fit a frame.
    #[error("the MTU of {device} is {mtu}, and AF_XDP takes {most} at most", most = socket::MAX_MTU)]
    MtuTooLarge {
        /// The device.
        device: String,
        /// Its MTU in octets.
        mtu: u32,
    },
    /// Another program is on the device.
    #[error("{0} has an XDP program already")]
    Busy(String),
    /// The kernel refused a step.
    #[error("{what}: {source}")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// What it answered.
        source: io::Error,
    },
    /// The kernel gives no socket for a queue.
    #[error("an AF_XDP socket for queue {queue}: {source}")]
    Queue {
        /// Its number.
        queue: u32,
        /// What it answered.
        source: io::Error,
    },
    /// Netlink refused a question.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}
