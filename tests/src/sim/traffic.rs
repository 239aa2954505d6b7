//! Inner packets: flows between LAN hosts, and where a kernel sends them.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use gateway::{Hop, TunnelId};

use super::check;
use super::kernel::WAN;
use super::packet::{self, Content};
use super::world::{Happening, World};

const FLOW_PORT: u16 = 7;
/// Octets of a probe that say which flow and which packet it is.
const LABEL: usize = 8;
const HEADERS: usize = 28;

/// One host sends to another, at a steady rate.
#[derive(Debug)]
pub(crate) struct Flow {
    from_site: usize,
    from: SocketAddrV4,
    to: SocketAddrV4,
    every: Duration,
    /// Octets of each packet, IP header and all.
    pub(crate) size: usize,
    running: bool,
    pub(crate) sent: u32,
    arrived: HashSet<u32>,
    pub(crate) twice: u32,
    /// The kernel answered "unreachable".
    pub(crate) refused: u32,
    /// Too long for the device, or the path: the sender heard so.
    pub(crate) too_big: u32,
    /// No process read the device.
    pub(crate) unread: u32,
    /// It left by the WAN link as it was.
    pub(crate) in_clear: u32,
    /// The last "too big" said this.
    pub(crate) told_mtu: Option<u16>,
}

impl Flow {
    pub(crate) fn arrived(&self) -> u32 {
        u32::try_from(self.arrived.len()).unwrap()
    }

    /// Packets that went into a tunnel and did not arrive.
    pub(crate) fn lost(&self) -> u32 {
        self.sent - self.arrived() - self.refused - self.too_big - self.unread - self.in_clear
    }
}

impl World {
    /// A host of one LAN begins to send to a host of another.
    pub(crate) fn flow(&mut self, from: usize, to: usize, every: Duration) -> usize {
        let to = self.sites[to].lan;
        self.flow_to(from, &host(to, 50).to_string(), every)
    }

    /// The same towards any address.
    pub(crate) fn flow_to(&mut self, from_site: usize, to: &str, every: Duration) -> usize {
        let from = SocketAddrV4::new(host(self.sites[from_site].lan, 50), FLOW_PORT);
        let to = SocketAddrV4::new(to.parse().unwrap(), FLOW_PORT);
        self.flows.push(Flow {
            from_site,
            from,
            to,
            every,
            size: 100,
            running: true,
            sent: 0,
            arrived: HashSet::new(),
            twice: 0,
            refused: 0,
            too_big: 0,
            unread: 0,
            in_clear: 0,
            told_mtu: None,
        });
        let index = self.flows.len() - 1;
        self.later(every, Happening::Send(index));
        index
    }

    /// Ends a flow, and waits for what is under way.
    pub(crate) fn finish_flow(&mut self, flow: usize) {
        self.flows[flow].running = false;
        self.run_for(Duration::from_secs(1));
    }

    /// A flow's next packet.
    pub(crate) fn send_flow(&mut self, index: usize) {
        let flow = &mut self.flows[index];
        if !flow.running {
            return;
        }
        let mut payload = vec![0x5a; flow.size.saturating_sub(HEADERS).max(LABEL)];
        payload[..4].copy_from_slice(&u32::try_from(index).unwrap().to_be_bytes());
        payload[4..LABEL].copy_from_slice(&flow.sent.to_be_bytes());
        flow.sent += 1;
        let packet = packet::udp(flow.from, flow.to, &payload);
        let (site, every) = (flow.from_site, flow.every);
        self.later(every, Happening::Send(index));
        self.route(site, index, &packet);
        self.turn(site);
    }

    /// The kernel forwards a host's packet.
    fn route(&mut self, site: usize, flow: usize, packet: &[u8]) {
        let Some(to) = packet::destination(packet) else { return };
        let found = self.sites[site].kernel.lookup(to.into(), false);
        let Some((_, Hop::Device { ifindex, .. })) = found else {
            self.flows[flow].refused += 1;
            return;
        };
        if ifindex == WAN {
            check::left_in_clear(self, site, to);
            self.flows[flow].in_clear += 1;
            return;
        }
        let port = &self.sites[site].kernel.ports[&ifindex];
        if packet.len() > usize::try_from(port.link.mtu).unwrap() {
            self.flows[flow].told_mtu = u16::try_from(port.link.mtu).ok();
            self.flows[flow].too_big += 1;
            return;
        }
        match port.reader.filter(|_| self.sites[site].gateway.is_some()) {
            Some(tunnel) => self.enter_tunnel(site, tunnel, packet),
            None => self.flows[flow].unread += 1,
        }
    }

    /// A packet written to a tunnel's device.
    pub(crate) fn enter_tunnel(&mut self, site: usize, tunnel: TunnelId, packet: &[u8]) {
        let tick = self.sites[site].tick(self.now);
        let out = self.sites[site].datapath.outward(tunnel, packet, tick);
        for datagram in out.datagrams {
            self.send(site, datagram, 0);
        }
        for (tunnel, reply) in out.replies {
            self.answer_too_big(packet, &reply);
            self.leave_tunnel(site, tunnel, &reply);
        }
    }

    /// An answer of the datapath goes to whoever sent the packet it is about.
    fn answer_too_big(&mut self, about: &[u8], reply: &[u8]) {
        let mtu = match packet::parse(reply).map(|reply| reply.content) {
            Some(Content::TooBig(mtu)) => mtu,
            Some(Content::Udp(_) | Content::Tcp(_) | Content::Other) | None => return,
        };
        if let Some(flow) = label(about).and_then(|(flow, _)| self.flows.get_mut(flow)) {
            flow.told_mtu = Some(mtu);
            flow.too_big += 1;
        }
    }

    /// A packet read out of a tunnel: for this host, or for one behind it.
    pub(crate) fn leave_tunnel(&mut self, site: usize, tunnel: TunnelId, bytes: &[u8]) {
        let Some(packet) = packet::parse(bytes) else { return };
        self.mark(site, bytes);
        let own = self.is_local(site, *packet.to.ip());
        match packet.content {
            Content::Tcp(segment) if own => {
                self.tcp_arrives(site, Some(tunnel), (packet.to, packet.from), &segment)
            }
            Content::Udp(_) if self.sites[site].lan_prefix().contains((*packet.to.ip()).into()) => {
                self.arrive_flow(bytes);
            }
            Content::Udp(_) | Content::Tcp(_) | Content::TooBig(_) | Content::Other => {}
        }
    }

    fn arrive_flow(&mut self, packet: &[u8]) {
        let Some((flow, number)) = label(packet) else { return };
        if let Some(flow) = self.flows.get_mut(flow)
            && !flow.arrived.insert(number)
        {
            flow.twice += 1;
        }
    }
}

/// The flow a probe is of, and its number.
fn label(packet: &[u8]) -> Option<(usize, u32)> {
    let Content::Udp(payload) = packet::parse(packet)?.content else { return None };
    let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    Some((usize::try_from(word(0)?).ok()?, word(4)?))
}

/// A host on the LAN of a gateway.
fn host(gateway: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = gateway.octets();
    Ipv4Addr::new(a, b, c, last)
}
