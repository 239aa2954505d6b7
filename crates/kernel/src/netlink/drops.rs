//! What interfaces were given to send and dropped.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage, TcStats2};

use super::{Netlink, NetlinkError};

/// Packets an interface was given to send and dropped since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendDrops {
    /// By the device (`tx_dropped`): a TUN's ring was full, or nobody was attached to it.
    pub device: u64,
    /// By the discipline at its root, which is full or found them too old.
    pub discipline: u64,
}

impl Netlink {
    /// Those of every TUN device, by its number.
    pub fn tun_drops(&mut self) -> Result<BTreeMap<u32, SendDrops>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Tun)]));
        let links = self.socket.dump(&RouteNetlinkMessage::GetLink(message))?;
        let mut found: BTreeMap<u32, SendDrops> = links.iter().filter_map(device).collect();
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        for answer in self.socket.dump(&request)? {
            if let Some((index, count)) = discipline(&answer)
                && let Some(drops) = found.get_mut(&index)
            {
                drops.discipline = count;
            }
        }
        Ok(found)
    }
}

/// A TUN device's number and drops. (Kernels that do not sort by kind tell of all interfaces.)
fn device(message: &RouteNetlinkMessage) -> Option<(u32, SendDrops)> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let is_tun = |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.contains(&LinkInfo::Kind(InfoKind::Tun)));
    let dropped = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(stats.tx_dropped),
        _ => None,
    })?;
    let drops = SendDrops { device: dropped, discipline: 0 };
    message.attributes.iter().any(is_tun).then_some((message.header.index, drops))
}

/// An interface's number and what the discipline at its root dropped.
fn discipline(message: &RouteNetlinkMessage) -> Option<(u32, u64)> {
    let RouteNetlinkMessage::NewQueueDiscipline(message) = message else { return None };
    let count = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Stats2(parts) => parts.iter().find_map(|part| match part {
            TcStats2::Queue(queue) => Some(queue.drops),
            _ => None,
        }),
        _ => None,
    })?;
    (message.header.parent == TcHandle::ROOT)
        .then_some((message.header.index.cast_unsigned(), u64::from(count)))
}
