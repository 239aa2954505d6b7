//! What the datapath tells upward: a closed list, in a bounded queue.

use std::collections::VecDeque;
use std::net::SocketAddr;

use esp::Soft;

use crate::{OuterPath, TunnelId};

/// Something the gateway must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An IKE message from the UDP encapsulation port, its non-ESP marker taken off.
    Ike {
        /// Our address and port.
        local: SocketAddr,
        /// The sender's.
        remote: SocketAddr,
        /// The interface it came by; 0 when the kernel did not say.
        ifindex: u32,
        /// The message from its IKE header on.
        bytes: Vec<u8>,
    },
    /// A packet for a tunnel without an outbound SA. Rate-limited.
    OnDemand {
        /// The tunnel it was written into.
        tunnel: TunnelId,
    },
    /// The first authentic packet of an inbound SA: a responder may switch over to the SA's twin now.
    FirstPacket {
        /// Whose.
        tunnel: TunnelId,
        /// The inbound SPI.
        spi: u32,
    },
    /// An authentic packet, the newest so far, came from another outer address than the table has.
    /// Rate-limited until the table follows.
    PathMoved {
        /// Whose.
        tunnel: TunnelId,
        /// The inbound SPI.
        spi: u32,
        /// Where it came from and to.
        path: OuterPath,
    },
    /// An SA crossed a soft limit: make its successor. Once an SA.
    SoftLimit {
        /// Whose.
        tunnel: TunnelId,
        /// The SPI, outbound or inbound.
        spi: u32,
        /// Is it an outbound SA?
        outbound: bool,
        /// Which limit.
        limit: Soft,
    },
    /// An SA refuses: a hard limit or the end of its sequence space. Rate-limited.
    Exhausted {
        /// Whose.
        tunnel: TunnelId,
        /// The SPI, outbound or inbound.
        spi: u32,
        /// Is it an outbound SA?
        outbound: bool,
    },
    /// ESP for an SPI no SA has (perhaps the peer did not hear that we restarted). Rate-limited, over
    /// all SPIs.
    UnknownSpi {
        /// The SPI.
        spi: u32,
        /// Where it came from and to. Nothing about it is authentic.
        path: OuterPath,
    },
}

/// The upward queue: bounded, and what does not fit is counted, never waited for.
#[derive(Debug)]
pub struct Reports {
    queue: VecDeque<Report>,
    capacity: usize,
    overflow: u64,
}

impl Reports {
    /// A queue of at most `capacity` reports.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: VecDeque::with_capacity(capacity), capacity, overflow: 0 }
    }

    /// Adds a report; `false` when there was no room and it was counted instead.
    pub fn push(&mut self, report: Report) -> bool {
        let room = self.has_room();
        if room {
            self.queue.push_back(report);
        } else {
            self.overflow += 1;
        }
        room
    }

    /// Would a report fit?
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.queue.len() < self.capacity
    }

    /// Counts a report that was not even built for want of room.
    pub(crate) fn refuse(&mut self) {
        self.overflow += 1;
    }

    /// The oldest report.
    pub fn poll(&mut self) -> Option<Report> {
        self.queue.pop_front()
    }

    /// How many reports found no room so far.
    #[must_use]
    pub fn overflow(&self) -> u64 {
        self.overflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_counts_and_keeps_the_oldest() {
        let mut reports = Reports::new(2);
        for tunnel in 0..5 {
            reports.push(Report::OnDemand { tunnel: TunnelId(tunnel) });
        }
        assert_eq!(reports.overflow(), 3);
        assert_eq!(reports.poll(), Some(Report::OnDemand { tunnel: TunnelId(0) }));
        assert_eq!(reports.poll(), Some(Report::OnDemand { tunnel: TunnelId(1) }));
        assert_eq!(reports.poll(), None);
    }
}
