//! Interfaces: found, changed, made in pairs, deleted.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};

use super::{Netlink, NetlinkError};

/// `IFLA_GSO_IPV4_MAX_SIZE` (Linux 6.3).
const GSO_IPV4_MAX_SIZE: u16 = 63;

/// What is known of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The MTU in octets.
    pub mtu: u32,
    /// Is it switched on?
    pub up: bool,
    /// Has it carrier as well (for a TUN: is a program attached)?
    pub running: bool,
    /// Has it carrier, switched on or not (for a TUN: is a program attached)?
    pub carrier: bool,
    /// Is it the loopback interface?
    pub loopback: bool,
    /// The kind of a virtual device: "tun", "veth", "bridge"; empty for hardware.
    pub kind: String,
    /// The alias, if one is set.
    pub alias: Option<String>,
    /// Packets its transmit queue holds.
    pub queue_len: u32,
    /// The group it is in; zero where nobody put it into one.
    pub group: u32,
}

/// What to change of an interface; `None` leaves a property as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Switch it on or off.
    pub up: Option<bool>,
    /// MTU in octets (68-65535).
    pub mtu: Option<u32>,
    /// Alias, at most 255 octets; empty removes it.
    pub alias: Option<String>,
    /// Packets the transmit queue holds.
    pub queue_len: Option<u32>,
    /// Put it into this group.
    pub group: Option<u32>,
    /// A new name, at most 15 octets; the interface must be off.
    pub name: Option<String>,
    /// Never give it an IPv6 link-local address by itself (`addr_gen_mode none`).
    pub no_link_local: bool,
    /// Largest super-packet the stack builds for it, in octets, IPv4 and IPv6.
    pub gso_max: Option<u32>,
}

impl Netlink {
    /// All interfaces.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        // Without statistics, which are most of what there is to tell of an interface and more to read.
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let request = RouteNetlinkMessage::GetLink(message);
        let answers = self.socket.dump(&request)?;
        Ok(answers.iter().filter_map(read_new).collect())
    }

    /// The interface of that name, or `None`.
    pub fn link_by_name(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        self.one_link(message)
    }

    /// The interface of that number, or `None`.
    pub fn link_by_index(&mut self, index: u32) -> Result<Option<Link>, NetlinkError> {
        self.one_link(numbered(index))
    }

    /// Change an interface.
    pub fn set_link(&mut self, index: u32, change: &LinkChange) -> Result<(), NetlinkError> {
        let mut message = numbered(index);
        if let Some(up) = change.up {
            message.header.change_mask = LinkFlags::Up;
            message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        }
        message.attributes = attributes(change);
        self.socket.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Delete an interface. [`NetlinkError::Missing`] when it is gone already.
    pub fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        self.socket.change(RouteNetlinkMessage::DelLink(numbered(index)), 0)
    }

    /// Delete all interfaces of a group at once: the kernel waits once for all who may still look at them, not once for each.
    ///
    /// One of them that cannot be deleted, as hardware cannot, is an error, and all of them stay.
    pub fn delete_group(&mut self, group: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Group(group));
        self.socket.change(RouteNetlinkMessage::DelLink(message), 0)
    }

    /// Make two virtual Ethernet interfaces joined back to back, the second in another network
    /// namespace when one is given.
    pub fn create_veth(
        &mut self,
        here: &str,
        there: &str,
        namespace: Option<BorrowedFd<'_>>,
    ) -> Result<(), NetlinkError> {
        let mut peer = LinkMessage::default();
        peer.attributes.push(LinkAttribute::IfName(there.to_owned()));
        peer.attributes.extend(namespace.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        let info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))];
        self.create(here, info)
    }

    /// Make a bridge. Without ports it serves as an interface that goes nowhere.
    pub fn create_bridge(&mut self, name: &str) -> Result<(), NetlinkError> {
        self.create(name, vec![LinkInfo::Kind(InfoKind::Bridge)])
    }

    /// Make an interface a port of a bridge.
    pub fn set_bridge(&mut self, index: u32, bridge: u32) -> Result<(), NetlinkError> {
        let mut message = numbered(index);
        message.attributes.push(LinkAttribute::Controller(bridge));
        self.socket.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Move an interface into another network namespace, which switches it off.
    pub fn move_link(&mut self, index: u32, namespace: BorrowedFd<'_>) -> Result<(), NetlinkError> {
        let mut message = numbered(index);
        message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        self.socket.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    fn create(&mut self, name: &str, info: Vec<LinkInfo>) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.socket.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn one_link(&mut self, message: LinkMessage) -> Result<Option<Link>, NetlinkError> {
        match self.socket.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(answer) => read_new(&answer).map(Some).ok_or(NetlinkError::Malformed),
            Err(NetlinkError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn numbered(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

fn attributes(change: &LinkChange) -> Vec<LinkAttribute> {
    let mut list = Vec::new();
    list.extend(change.mtu.map(LinkAttribute::Mtu));
    list.extend(change.alias.clone().map(LinkAttribute::IfAlias));
    list.extend(change.queue_len.map(LinkAttribute::TxQueueLen));
    list.extend(change.group.map(LinkAttribute::Group));
    list.extend(change.name.clone().map(LinkAttribute::IfName));
    if change.no_link_local {
        let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        list.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    }
    if let Some(size) = change.gso_max {
        list.push(LinkAttribute::GsoMaxSize(size));
        list.push(LinkAttribute::Other(DefaultNla::new(GSO_IPV4_MAX_SIZE, size.to_ne_bytes().to_vec())));
    }
    list
}

fn read_new(message: &RouteNetlinkMessage) -> Option<Link> {
    match message {
        RouteNetlinkMessage::NewLink(message) => read(message),
        _ => None,
    }
}

/// An interface as the kernel tells it; `None` for what has no name.
pub(super) fn read(message: &LinkMessage) -> Option<Link> {
    let header = &message.header;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        mtu: 0,
        up: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::LowerUp),
        carrier: false,
        loopback: header.link_layer_type == LinkLayerType::Loopback,
        kind: String::new(),
        alias: None,
        queue_len: 0,
        group: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::TxQueueLen(len) => link.queue_len = *len,
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::LinkInfo(infos) => {
                let mut kinds = infos.iter().filter_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
                link.kind = kinds.next_back().unwrap_or_default();
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}
