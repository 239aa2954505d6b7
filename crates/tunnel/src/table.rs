//! The immutable table of one moment: tunnel → outbound SAs, SPI → inbound SA.
//!
//! Rows hold `Arc`s: making a new table from an old one neither makes nor copies an SA, so a sequence
//! number or a replay window is never doubled by a publish.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use esp::{InboundSa, OutboundSa};
use inet::Selector;

use crate::OuterPath;
use crate::inner::Inner;

/// Which tunnel; numbers are the gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TunnelId(pub u32);

/// What becomes of the outer don't-fragment bit (RFC 4301 section 8.1). An outer IPv6 header has none, and
/// an inner IPv6 packet counts as one with the bit set.
///
/// Inner IPv4 packets above the tunnel's MTU that may be fragmented are fragmented before ESP under every
/// policy, so that the far end need not reassemble ESP. Those that may not are answered with "too big",
/// except under [`Clear`](Self::Clear).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DfPolicy {
    /// As in the inner header.
    #[default]
    Copy,
    /// Always set.
    Set,
    /// Always clear: an inner packet that may not be fragmented is carried whole and its ESP packet is
    /// fragmented outside.
    Clear,
}

/// The largest TCP segment a SYN may announce, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MssPolicy {
    /// SYNs are left alone.
    Off,
    /// The tunnel's MTU less the headers.
    #[default]
    Auto,
    /// This, or what the MTU allows when that is less.
    Fixed(u16),
}

impl MssPolicy {
    /// The limit for an address family over an MTU; `None` when there is none.
    #[must_use]
    pub fn limit(self, mtu: u16, ipv6: bool) -> Option<u16> {
        // IP and TCP header without options (RFC 879; RFC 8200 section 8.3).
        let headers = if ipv6 { 60 } else { 40 };
        // Inside IPv6 packets of 1280 octets pass over any tunnel.
        let mtu = if ipv6 { mtu.max(crate::mtu::IPV6_MIN) } else { mtu };
        match self {
            Self::Off => None,
            Self::Auto => Some(mtu.saturating_sub(headers)),
            Self::Fixed(mss) => Some(mss.min(mtu.saturating_sub(headers))),
        }
    }
}

/// The traffic selectors of one side of a CHILD SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selectors {
    any_v4: bool,
    any_v6: bool,
    list: Box<[Selector]>,
}

impl Selectors {
    /// The union of `list`.
    #[must_use]
    pub fn new(list: &[Selector]) -> Self {
        Self {
            any_v4: list.contains(&Selector::any_v4()),
            any_v6: list.contains(&Selector::any_v6()),
            list: list.into(),
        }
    }

    /// The selectors as given.
    #[must_use]
    pub fn as_slice(&self) -> &[Selector] {
        &self.list
    }

    /// Does one of them hold this address, protocol and port?
    #[must_use]
    pub fn contains(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        (if address.is_ipv4() { self.any_v4 } else { self.any_v6 })
            || self.list.iter().any(|selector| selector.contains(address, protocol, port))
    }
}

/// One tunnel: its properties and the SAs to send on.
#[derive(Clone)]
pub struct TunnelRow {
    /// Which.
    pub id: TunnelId,
    /// The largest inner packet that fits the path: [`crate::mtu::inner_mtu`] or what was configured.
    pub mtu: u16,
    /// What SYNs may announce.
    pub mss: MssPolicy,
    /// The outer DF bit.
    pub df: DfPolicy,
    /// The SAs to send on. Of several each carries the packets of other queues of the device, as far as its
    /// selectors hold them, and the first all that is left. Empty while there is none.
    pub outbound: Vec<OutboundRow>,
}

/// One SA to send on.
#[derive(Clone)]
pub struct OutboundRow {
    /// The SA.
    pub sa: Arc<OutboundSa>,
    /// Where its packets go.
    pub path: OuterPath,
    /// What its packets' sources may be.
    pub local: Arc<Selectors>,
    /// What its packets' destinations may be.
    pub remote: Arc<Selectors>,
}

/// One SA to receive on.
#[derive(Clone)]
pub struct InboundRow {
    /// Whose.
    pub tunnel: TunnelId,
    /// The SA.
    pub sa: Arc<InboundSa>,
    /// Where its packets are expected from.
    pub path: OuterPath,
    /// What its packets' destinations may be.
    pub local: Arc<Selectors>,
    /// What its packets' sources may be.
    pub remote: Arc<Selectors>,
}

impl TunnelRow {
    /// The SA that carries `packet`, which came by this queue of the device: the queue's own where there are
    /// several, else the first whose selectors hold it.
    ///
    /// The kernel gives a flow to one queue and one worker reads a queue, so a flow stays with an SA and an SA, where
    /// there are as many as queues, with a worker.
    #[must_use]
    pub fn choose(&self, queue: usize, packet: &Inner) -> Option<&OutboundRow> {
        if let count @ 2.. = self.outbound.len()
            && let Some(row) = self.outbound.get(queue % count)
            && row.carries(packet)
        {
            return Some(row);
        }
        self.outbound.iter().find(|row| row.carries(packet))
    }
}

impl OutboundRow {
    /// Do its selectors hold `packet`?
    fn carries(&self, packet: &Inner) -> bool {
        self.local.contains(packet.source, packet.protocol, packet.source_port())
            && self.remote.contains(packet.destination, packet.protocol, packet.destination_port())
    }
}

impl InboundRow {
    /// RFC 4301 section 5.2: "If an IPsec system receives an inbound packet on an SA and the packet's
    /// header fields are not consistent with the selectors for the SA, it MUST discard the packet."
    #[must_use]
    pub fn admits(&self, packet: &Inner) -> bool {
        self.remote.contains(packet.source, packet.protocol, packet.source_port())
            && self.local.contains(packet.destination, packet.protocol, packet.destination_port())
    }
}

/// Outer addresses: those packets of ours leave from, and those they go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OuterAddresses {
    /// Ours, in order.
    local: Box<[IpAddr]>,
    /// The peers', in order.
    remote: Box<[IpAddr]>,
}

impl OuterAddresses {
    /// Ours, and the peers'.
    #[must_use]
    pub fn new(local: impl IntoIterator<Item = IpAddr>, remote: impl IntoIterator<Item = IpAddr>) -> Self {
        let sorted = |mut all: Vec<IpAddr>| {
            all.sort_unstable();
            all.dedup();
            all.into_boxed_slice()
        };
        Self { local: sorted(local.into_iter().collect()), remote: sorted(remote.into_iter().collect()) }
    }

    /// Does such a packet carry a tunnel, and so belong into none?
    #[must_use]
    pub fn are_of(&self, packet: &Inner) -> bool {
        // Few packets come from an outer address at all.
        self.local.binary_search(&packet.source).is_ok()
            && self.remote.binary_search(&packet.destination).is_ok()
    }
}

/// All rows of one moment.
#[derive(Clone, Default)]
pub struct Table {
    tunnels: Map<TunnelId, Arc<TunnelRow>>,
    inbound: Map<u32, Arc<InboundRow>>,
    outer: Arc<OuterAddresses>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tunnel's row.
    #[must_use]
    pub fn tunnel(&self, id: TunnelId) -> Option<&TunnelRow> {
        self.tunnels.get(&id).map(Arc::as_ref)
    }

    /// The inbound SA of an SPI.
    #[must_use]
    pub fn inbound(&self, spi: u32) -> Option<&InboundRow> {
        self.inbound.get(&spi).map(Arc::as_ref)
    }

    /// Between which addresses no packet enters a tunnel.
    #[must_use]
    pub fn outer(&self) -> &OuterAddresses {
        &self.outer
    }

    /// How many tunnels and how many inbound SAs.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        (self.tunnels.len(), self.inbound.len())
    }

    /// Starts the next table from this one.
    #[must_use]
    pub fn edit(&self) -> TableBuilder {
        TableBuilder { table: self.clone() }
    }
}

/// The next table in the making.
#[derive(Clone, Default)]
pub struct TableBuilder {
    table: Table,
}

impl TableBuilder {
    /// Puts a tunnel's row in, in place of an older one.
    pub fn set_tunnel(&mut self, row: TunnelRow) -> &mut Self {
        self.table.tunnels.insert(row.id, Arc::new(row));
        self
    }

    /// Takes a tunnel's row out; its inbound SAs stay until taken out themselves.
    pub fn remove_tunnel(&mut self, id: TunnelId) -> &mut Self {
        self.table.tunnels.remove(&id);
        self
    }

    /// Puts an inbound SA in, in place of an older one of its SPI.
    pub fn set_inbound(&mut self, row: InboundRow) -> &mut Self {
        self.table.inbound.insert(row.sa.spi(), Arc::new(row));
        self
    }

    /// Takes an inbound SA out.
    pub fn remove_inbound(&mut self, spi: u32) -> &mut Self {
        self.table.inbound.remove(&spi);
        self
    }

    /// Names the outer addresses, in place of those before.
    pub fn set_outer(&mut self, outer: Arc<OuterAddresses>) -> &mut Self {
        self.table.outer = outer;
        self
    }

    /// The table.
    #[must_use]
    pub fn build(self) -> Table {
        self.table
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// SPIs and tunnel numbers are ours, so nobody can choose them to collide: a multiplication spreads them.
#[derive(Clone, Copy, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        // 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mss_limits_follow_the_mtu_and_the_family() {
        assert_eq!(MssPolicy::Off.limit(1400, false), None);
        assert_eq!(MssPolicy::Auto.limit(1400, false), Some(1360));
        assert_eq!(MssPolicy::Auto.limit(1400, true), Some(1340));
        assert_eq!(MssPolicy::Fixed(1350).limit(1400, false), Some(1350));
        assert_eq!(MssPolicy::Fixed(1350).limit(1400, true), Some(1340));
        assert_eq!(MssPolicy::Fixed(1350).limit(1238, false), Some(1198));
        assert_eq!(MssPolicy::Auto.limit(1238, true), Some(1220));
    }

    #[test]
    fn selectors_are_a_union_and_families_do_not_mix() {
        let selectors = Selectors::new(&["10.0.0.0/8[tcp/179]".parse().unwrap(), "::/0".parse().unwrap()]);
        assert!(selectors.contains("10.1.1.1".parse().unwrap(), 6, Some(179)));
        assert!(!selectors.contains("10.1.1.1".parse().unwrap(), 6, Some(180)));
        assert!(!selectors.contains("10.1.1.1".parse().unwrap(), 6, None));
        assert!(selectors.contains("2001:db8::1".parse().unwrap(), 17, None));
    }
}
