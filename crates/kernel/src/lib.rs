//! The Linux edge: every system call of causeway that std does not wrap, behind safe faces.
//!
//! | module | what it gives |
//! | --- | --- |
//! | [`tun`] | persistent TUN devices with offloads, created or adopted by their alias |
//! | [`datagram`] | what UDP and raw sockets share: runs to send, a ring to receive into |
//! | [`udp`] | UDP with GSO, GRO, packet info both ways, DSCP/ECN and the policy for send errors |
//! | [`raw`] | IP protocol 50 over IPv4 and IPv6 |
//! | [`xdp`] | the same past the kernel's stack, through AF_XDP |
//! | [`tcp`] | sockets for BGP: bound to device and source, TTL, MSS, MD5 |
//! | [`netlink`] | links, addresses, routes in batches, rules, route look-ups, and what changes |
//! | [`netns`] | network namespaces, made, entered and cleaned up |
//! | [`epoll`] | waiting on many descriptors, and a bell to ring from another thread |
//! | [`clock`] | the processor time of a thread |
//! | [`privilege`] | capabilities, no new privileges, no core dumps, how many descriptors |
//! | [`peer`] | who is at the other end of a Unix socket |
//! | [`sysctl`] | reading (never writing) kernel settings |
//! | [`procnet`] | who holds a UDP port or an IP protocol on this host |
//! | [`probe`] | what this kernel can do |
//!
//! Sockets and devices are plain owned descriptors ([`std::os::fd::AsFd`]), non-blocking unless said
//! otherwise, so that a caller can wait on them as it likes. Nothing here keeps time, threads or policy.

pub mod clock;
pub mod datagram;
pub mod epoll;
pub mod netlink;
pub mod netns;
pub mod peer;
pub mod privilege;
pub mod probe;
pub mod procnet;
pub mod raw;
pub mod sysctl;
pub mod tcp;
pub mod tun;
pub mod udp;
pub mod xdp;

mod sys;

#[cfg(test)]
mod tests;
