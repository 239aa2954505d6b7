//! Which way a packet takes: asked of the kernel, remembered for a moment.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::Mac;
use super::features::Features;
use super::frame::Head;
use crate::datagram::Source;
use crate::netlink::{Netlink, NetlinkError, Reach, RouteQuery, Stir};

/// Ways remembered at most; past that all are asked for anew.
const MOST: usize = 4096;
/// Milliseconds after which a way is asked for again, and a packet takes the kernel's own.
const GOOD_FOR: u64 = 1000;
/// Milliseconds between two questions for the same way, whatever changes meanwhile.
const PAUSE: u64 = 10;

/// A path that AF_XDP may take.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) head: Head,
    /// Which of the devices it leaves by.
    pub(super) port: usize,
    /// Can frames that the program makes leave by it now?
    pub(super) injects: bool,
    /// Octets of the longest IP packet.
    pub(super) mtu: usize,
}

/// An answer, and when it was given: at which time, after so many changes.
struct Asked<T> {
    answer: Option<T>,
    at: u64,
    generation: u64,
}

impl<T> Asked<T> {
    fn is_fresh(&self, generation: u64, now: u64) -> bool {
        self.generation == generation && now.saturating_sub(self.at) < GOOD_FOR
    }
}

/// One of our devices, on and with carrier.
#[derive(Clone, Copy)]
struct Device {
    mac: Mac,
    mtu: u32,
    injects: bool,
}

/// Whom to, and from where.
type Way = (IpAddr, Option<Source>);

/// The ways through our devices, as the kernel's routes, rules and neighbours have them.
pub(super) struct Hops {
    netlink: Netlink,
    stir: Stir,
    features: Option<Features>,
    mark: Option<u32>,
    generation: u64,
    ways: HashMap<Way, Asked<Hop>>,
    /// By their numbers; asked for once for all ways.
    devices: HashMap<u32, Asked<Device>>,
}

impl Hops {
    pub(super) fn new(mark: Option<u32>) -> io::Result<Self> {
        let (netlink, stir) = (Netlink::open()?, Stir::open()?);
        // A kernel without it: nothing is sent by frames of the program.
        let features = Features::open().ok();
        Ok(Self {
            netlink,
            stir,
            features,
            mark,
            generation: 0,
            ways: HashMap::new(),
            devices: HashMap::new(),
        })
    }

    /// Before each batch: what was remembered is in doubt when anything has changed, and that is the answer.
    pub(super) fn listen(&mut self) -> bool {
        let stirred = self.stir.stirred();
        self.generation += u64::from(stirred);
        stirred
    }

    /// The socket for questions.
    pub(super) fn netlink(&mut self) -> &mut Netlink {
        &mut self.netlink
    }

    /// Other packets carry this mark from now on, by which rules may choose their way.
    pub(super) fn set_mark(&mut self, mark: Option<u32>) {
        self.mark = mark;
        self.generation += 1;
    }

    /// The way to `to` at `now` (milliseconds of any clock); `None`: this packet is the kernel's to send. So is one a
    /// second on every way, which keeps the neighbour's entry and the path's MTU alive, and tells when either is not.
    /// `devices` are the numbers of ours.
    pub(super) fn find(
        &mut self,
        devices: &[u32],
        to: IpAddr,
        source: Option<Source>,
        now: u64,
    ) -> Option<&Hop> {
        let way = (to, source);
        let known = self.ways.get(&way);
        if known.is_some_and(|known| known.is_fresh(self.generation, now)) {
            return self.ways.get(&way).and_then(|known| known.answer.as_ref());
        }
        if known.is_none_or(|known| now.saturating_sub(known.at) >= PAUSE) {
            if self.ways.len() >= MOST {
                self.ways.clear();
            }
            // Whatever goes wrong, the kernel's own way says so to the caller.
            let answer = self.ask(devices, to, source, now).unwrap_or(None);
            self.ways.insert(way, Asked { answer, at: now, generation: self.generation });
        }
        None
    }

    fn ask(
        &mut self,
        devices: &[u32],
        to: IpAddr,
        source: Option<Source>,
        now: u64,
    ) -> Result<Option<Hop>, NetlinkError> {
        let address = source.map(|source| source.address).filter(|address| !address.is_unspecified());
        let bound = source.map(|source| source.ifindex).filter(|index| *index != 0);
        let query = RouteQuery { destination: to, source: address, mark: self.mark, device: bound };
        let route = self.netlink.route_get(&query)?;
        let port = devices.iter().position(|device| *device == route.device);
        let (Some(port), Reach::Unicast) = (port, route.reach) else { return Ok(None) };
        let Some(from) = address.or(route.source) else { return Ok(None) };
        let Some(device) = self.device(route.device, now)? else { return Ok(None) };
        let neighbour = self.netlink.neighbour(route.device, route.gateway.unwrap_or(to))?;
        let Some(head) = neighbour.and_then(|theirs| Head::new(from, to, device.mac, theirs)) else {
            return Ok(None);
        };
        let mtu = route.mtu.map_or(device.mtu, |mtu| mtu.min(device.mtu)) as usize;
        Ok(Some(Hop { head, port, injects: device.injects, mtu }))
    }

    /// A device as it is; `None` while it is off or without carrier.
    fn device(&mut self, index: u32, now: u64) -> Result<Option<Device>, NetlinkError> {
        if let Some(known) = self.devices.get(&index).filter(|known| known.is_fresh(self.generation, now)) {
            return Ok(known.answer);
        }
        let link = self.netlink.link_by_index(index)?.filter(|link| link.up && link.running);
        let mac = self.netlink.hardware_address(index)?;
        let injects = self.features.as_ref().is_some_and(|features| features.transmits(index));
        let answer = link.zip(mac).map(|(link, mac)| Device { mac, mtu: link.mtu, injects });
        self.devices.insert(index, Asked { answer, at: now, generation: self.generation });
        Ok(answer)
    }
}
