//! Counts of one neighbour since it was configured.

use bgp_wire::MessageType;

/// Messages of one direction by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounters {
    /// OPEN.
    pub opens: u64,
    /// UPDATE.
    pub updates: u64,
    /// NOTIFICATION.
    pub notifications: u64,
    /// KEEPALIVE.
    pub keepalives: u64,
    /// ROUTE-REFRESH.
    pub route_refreshes: u64,
}

impl MessageCounters {
    pub(crate) fn count(&mut self, kind: MessageType) {
        let slot = match kind {
            MessageType::OPEN => &mut self.opens,
            MessageType::UPDATE => &mut self.updates,
            MessageType::NOTIFICATION => &mut self.notifications,
            MessageType::KEEPALIVE => &mut self.keepalives,
            MessageType::ROUTE_REFRESH => &mut self.route_refreshes,
            _ => return,
        };
        *slot += 1;
    }

    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.opens + self.updates + self.notifications + self.keepalives + self.route_refreshes
    }
}

/// Everything counted for a neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NeighborCounters {
    /// Messages sent.
    pub sent: MessageCounters,
    /// Messages received.
    pub received: MessageCounters,
    /// Sessions that reached Established.
    pub established: u64,
    /// Established sessions that ended.
    pub dropped: u64,
    /// Connections refused while none was wanted.
    pub refused: u64,
    /// Connections lost to collision resolution.
    pub collisions: u64,
    /// Attributes discarded (RFC 7606).
    pub attributes_discarded: u64,
    /// UPDATEs treated as withdrawals (RFC 7606).
    pub treated_as_withdraw: u64,
    /// Prefixes withdrawn by the peer.
    pub withdrawn: u64,
    /// Routes whose attributes fit in no message to this peer.
    pub unsendable: u64,
}
