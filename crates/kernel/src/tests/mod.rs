//! Tests against the running kernel, as root, each in network namespaces of its own.

mod drops;
mod esp;
mod monitor;
mod namespace;
mod path;
mod route;
mod rule;
mod tcp;
mod tun;
mod udp;
mod xdp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::epoll::{Epoll, Interest};
use crate::netlink::{Address, LinkChange, Netlink};
use crate::netns::Namespace;
use crate::udp::{UdpOptions, UdpSocket};

pub(super) const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(super) const B4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// A second address of the first namespace, which the routes would never choose.
pub(super) const A4_SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
pub(super) const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(super) const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// Two namespaces joined by a veth, with addresses of both families.
pub(super) struct Pair {
    pub(super) a: Namespace,
    pub(super) b: Namespace,
    pub(super) index_a: u32,
}

impl Pair {
    pub(super) fn new() -> Self {
        let (a, b) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
        a.netlink().unwrap().create_veth("to-b", "to-a", Some(b.as_fd())).unwrap();
        let index_a = configure(&a, "to-b", &[(A4.into(), 24), (A4_SECOND.into(), 24), (A6.into(), 64)]);
        configure(&b, "to-a", &[(B4.into(), 24), (B6.into(), 64)]);
        let pair = Self { a, b, index_a };
        pair.meet();
        pair
    }

    /// Let each learn the other's link address: what is sent before queues behind that, and not much.
    fn meet(&self) {
        for (any, to) in
            [(Ipv4Addr::UNSPECIFIED.into(), B4.into()), (Ipv6Addr::UNSPECIFIED.into(), B6.into())]
        {
            let any: IpAddr = any;
            let bind = |ns: &Namespace, port| {
                ns.run(|| UdpSocket::bind(&UdpOptions::new((any, port).into())).unwrap()).unwrap()
            };
            let (from, at) = (bind(&self.a, 0), bind(&self.b, 9));
            // A link that has just come up drops what is sent before the kernel gave it its queue.
            let arrived = (0..100).any(|_| {
                from.send_one(SocketAddr::new(to, 9), None, 0, b"hello").unwrap();
                is_readable(&at, Duration::from_millis(200))
            });
            assert!(arrived, "nothing came to {to}");
        }
    }
}

/// Give an interface addresses and switch it and the loopback on; its number.
pub(super) fn configure(namespace: &Namespace, name: &str, addresses: &[(IpAddr, u8)]) -> u32 {
    namespace.loopback_up().unwrap();
    let mut netlink = namespace.netlink().unwrap();
    let index = netlink.link_by_name(name).unwrap().unwrap().index;
    for (address, len) in addresses {
        netlink.add_address(&Address::new(index, *address, *len)).unwrap();
    }
    // Only a link-local address would go through duplicate detection, for a second or more.
    netlink.set_link(index, &LinkChange { no_link_local: true, ..LinkChange::default() }).unwrap();
    switch(&mut netlink, index, true);
    index
}

pub(super) fn switch(netlink: &mut Netlink, index: u32, up: bool) {
    netlink.set_link(index, &LinkChange { up: Some(up), ..LinkChange::default() }).unwrap();
}

/// Wait until a descriptor can be read; a test that waits in vain ends here.
pub(super) fn readable(fd: impl AsFd) {
    assert!(is_readable(fd, Duration::from_secs(20)), "nothing came");
}

/// Can it be read within that time? A worker asks no more either, before it receives again.
pub(super) fn is_readable(fd: impl AsFd, within: Duration) -> bool {
    let epoll = Epoll::new().unwrap();
    epoll.add(fd, 0, Interest::READ).unwrap();
    let mut ready = Vec::with_capacity(1);
    epoll.wait(&mut ready, Some(within)).unwrap();
    !ready.is_empty()
}
