//! Addresses of interfaces.

use std::net::IpAddr;

use inet::Prefix;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};

use super::route_message::family_of;
use super::{Netlink, NetlinkError};

/// One address on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// This host's address.
    pub address: IpAddr,
    /// Length of the attached network's prefix in bits.
    pub prefix_len: u8,
    /// Not yet (or never) usable: duplicate detection runs or has failed (IPv6).
    pub tentative: bool,
}

impl Address {
    /// An address to set.
    #[must_use]
    pub fn new(index: u32, address: IpAddr, prefix_len: u8) -> Self {
        Self { index, address, prefix_len, tentative: false }
    }

    /// The attached network.
    #[must_use]
    pub fn network(&self) -> Option<Prefix> {
        Prefix::new(self.address, self.prefix_len).ok()
    }
}

impl Netlink {
    /// All addresses, or those of one interface.
    pub fn addresses(&mut self, index: Option<u32>) -> Result<Vec<Address>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = index.unwrap_or(0);
        let answers = self.socket.dump(&RouteNetlinkMessage::GetAddress(message))?;
        let found = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(message) => read(message),
            _ => None,
        });
        Ok(found.filter(|address| index.is_none_or(|i| i == address.index)).collect())
    }

    /// Set an address, usable at once (no duplicate detection). [`NetlinkError::Exists`] when it is there.
    pub fn add_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        let mut message = build(address);
        if address.address.is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.socket.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Take an address away. [`NetlinkError::Missing`] when it is gone already.
    pub fn delete_address(&mut self, address: &Address) -> Result<(), NetlinkError> {
        self.socket.change(RouteNetlinkMessage::DelAddress(build(address)), 0)
    }
}

fn build(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family_of(address.address);
    message.header.prefix_len = address.prefix_len;
    message.header.index = address.index;
    message.header.scope = match address.address {
        IpAddr::V4(v4) if v4.is_loopback() => AddressScope::Host,
        IpAddr::V4(v4) if v4.is_link_local() => AddressScope::Link,
        IpAddr::V4(_) | IpAddr::V6(_) => AddressScope::Universe,
    };
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(address.address));
    message
}

/// An address as the kernel tells it: IFA_LOCAL is this host's, IFA_ADDRESS the peer's on a
/// point-to-point interface (and this host's where the first is missing).
pub(super) fn read(message: &AddressMessage) -> Option<Address> {
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    let waiting = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    Some(Address {
        index: message.header.index,
        address: local.or(other)?,
        prefix_len: message.header.prefix_len,
        tentative: message.header.flags.intersects(waiting),
    })
}
