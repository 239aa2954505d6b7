//! The queue discipline at an interface's root.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::{Netlink, NetlinkError};

impl Netlink {
    /// The kind of discipline at an interface's root: "fq_codel", "pfifo_fast", "noqueue"; "noop" for an
    /// interface that was never on.
    pub fn root_qdisc(&mut self, index: u32) -> Result<String, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let RouteNetlinkMessage::NewLink(found) = self.socket.ask(RouteNetlinkMessage::GetLink(message))?
        else {
            return Err(NetlinkError::Malformed);
        };
        let mut kinds = found.attributes.into_iter().filter_map(|attribute| match attribute {
            LinkAttribute::Qdisc(kind) => Some(kind),
            _ => None,
        });
        Ok(kinds.next_back().unwrap_or_default())
    }

    /// Puts a discipline with its default parameters at an interface's root, in place of another. A kernel
    /// without it says [`NetlinkError::Missing`].
    pub fn set_root_qdisc(&mut self, index: u32, kind: &str) -> Result<(), NetlinkError> {
        let mut message = TcMessage::with_index(index.cast_signed());
        message.header.parent = TcHandle::ROOT;
        message.attributes.push(TcAttribute::Kind(kind.to_owned()));
        self.socket.change(RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_REPLACE)
    }
}
