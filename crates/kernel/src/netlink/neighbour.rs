//! Link addresses: of our own devices, and of those they can reach.

use std::net::IpAddr;

use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// An Ethernet device's address; `None` when there is no such device, or it is no Ethernet.
    pub fn hardware_address(&mut self, index: u32) -> Result<Option<[u8; 6]>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.socket.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(RouteNetlinkMessage::NewLink(found))
                if found.header.link_layer_type == LinkLayerType::Ether =>
            {
                Ok(found.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Address(bytes) => bytes.as_slice().try_into().ok(),
                    _ => None,
                }))
            }
            Ok(RouteNetlinkMessage::NewLink(_)) | Err(NetlinkError::Missing { .. }) => Ok(None),
            Ok(_) => Err(NetlinkError::Malformed),
            Err(error) => Err(error),
        }
    }

    /// The Ethernet address that the kernel would send to for an attached host; `None` while it knows none.
    pub fn neighbour(&mut self, device: u32, address: IpAddr) -> Result<Option<[u8; 6]>, NetlinkError> {
        let mut message = NeighbourMessage::default();
        message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.ifindex = device;
        message.attributes.push(NeighbourAttribute::Destination(address.into()));
        match self.socket.ask(RouteNetlinkMessage::GetNeighbour(message)) {
            Ok(RouteNetlinkMessage::NewNeighbour(found)) if is_valid(found.header.state) => {
                Ok(found.attributes.iter().find_map(|attribute| match attribute {
                    NeighbourAttribute::LinkLocalAddress(bytes) => bytes.as_slice().try_into().ok(),
                    _ => None,
                }))
            }
            Ok(RouteNetlinkMessage::NewNeighbour(_)) | Err(NetlinkError::Missing { .. }) => Ok(None),
            Ok(_) => Err(NetlinkError::Malformed),
            Err(error) => Err(error),
        }
    }
}

/// The states in which the kernel sends without asking first (`NUD_VALID`).
fn is_valid(state: NeighbourState) -> bool {
    matches!(
        state,
        NeighbourState::Permanent
            | NeighbourState::Noarp
            | NeighbourState::Reachable
            | NeighbourState::Probe
            | NeighbourState::Stale
            | NeighbourState::Delay
    )
}
