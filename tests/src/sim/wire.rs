//! Outer packets: how they leave a site, and what becomes of those that arrive.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gateway::Path;

use super::check;
use super::kernel::{WAN, into};
use super::net::{Clothes, Datagram, Fate};
use super::packet::{self, Content, Packet};
use super::seeds::pick;
use super::site::Heard;
use super::world::{Begun, Happening, World};

const IKE_PORT: u16 = 500;
const ENCAPSULATION_PORT: u16 = 4500;
/// Microseconds until a router's "too big" is in the socket's error queue.
const ICMP: (u64, u64) = (2_000, 30_000);

impl World {
    /// A site's socket sends: the kernel chooses the way, as it does for every packet, among those by `ifindex` unless
    /// that is 0. Where there is none the packet is gone.
    pub(crate) fn send(&mut self, site: usize, datagram: Datagram, ifindex: u32) {
        if !check::outer_path(self, site, &datagram, ifindex) {
            return;
        }
        self.mark(site, &datagram.bytes);
        let remote = datagram.to.ip();
        match self.net.send(site, datagram, &mut self.rng, self.now) {
            Fate::Lost => {}
            Fate::Arrives(datagram, times) => {
                for time in times {
                    self.later(time, Happening::Arrive(datagram.clone()));
                }
            }
            Fate::TooBig(mtu) => {
                let at = self.now + Duration::from_micros(pick(&mut self.rng, ICMP));
                self.begin(at, site, Begun::PathMtu { remote, mtu: mtu.into() });
            }
        }
    }

    /// A packet of this host's own that enters no tunnel: only the WAN leads anywhere.
    pub(crate) fn send_plain(&mut self, site: usize, packet: &[u8]) {
        let Some(Packet { from, to, .. }) = packet::parse(packet) else { return };
        let found = self.sites[site].kernel.lookup((*to.ip()).into(), false);
        if found.and_then(|(_, hop)| into(hop)) != Some(WAN) {
            return;
        }
        let (from, to) = (SocketAddr::new((*from.ip()).into(), 0), SocketAddr::new((*to.ip()).into(), 0));
        let clothes = Clothes::Plain;
        let datagram = Datagram { from, to, clothes, dont_fragment: true, tos: 0, bytes: packet.to_vec() };
        if let Fate::Arrives(datagram, times) = self.net.send(site, datagram, &mut self.rng, self.now) {
            for time in times {
                self.later(time, Happening::Arrive(datagram.clone()));
            }
        }
    }

    fn plain_arrives(&mut self, site: usize, bytes: &[u8]) {
        let Some(Packet { from, to, content }) = packet::parse(bytes) else { return };
        if let Content::Tcp(segment) = content {
            self.tcp_arrives(site, None, (to, from), &segment);
            self.turn(site);
        }
    }

    /// A packet from nobody in particular.
    pub(crate) fn inject(&mut self, from: &str, to: &str, clothes: Clothes, bytes: Vec<u8>) {
        let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        self.arrive(Datagram { from, to, clothes, dont_fragment: false, tos: 0, bytes });
    }

    /// A packet arrives at an address.
    pub(crate) fn arrive(&mut self, datagram: Datagram) {
        let Some((behind, datagram)) = self.net.arrive(datagram, self.now) else { return };
        let Some(site) = behind.or_else(|| self.owner(datagram.to.ip())) else { return };
        self.mark(site, &datagram.bytes);
        if self.sites[site].gateway.is_none() {
            self.sites[site].unheard += 1;
            return;
        }
        match (datagram.clothes, datagram.to.port()) {
            (Clothes::Udp, IKE_PORT) => {
                let path = Path { local: datagram.to, remote: datagram.from };
                self.tell(site, Heard::Ike { path, bytes: datagram.bytes });
            }
            (Clothes::Udp, ENCAPSULATION_PORT) | (Clothes::Esp, _) => {
                let tick = self.sites[site].tick(self.now);
                let written = self.sites[site].datapath.inward(datagram, tick);
                for (tunnel, packet) in written {
                    self.leave_tunnel(site, tunnel, &packet);
                }
                self.turn(site);
            }
            (Clothes::Plain, _) => self.plain_arrives(site, &datagram.bytes),
            (Clothes::Udp, _) => {}
        }
    }

    /// Whose address it is. Inside addresses of a site behind a NAT box are nobody's outside.
    fn owner(&self, address: IpAddr) -> Option<usize> {
        self.sites
            .iter()
            .enumerate()
            .find(|(index, site)| !self.net.nats.contains_key(index) && site.wan.contains(&address))
            .map(|(index, _)| index)
    }
}
