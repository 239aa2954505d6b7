//! Asks the kernel which way packets take, in a thread of its own: a question takes as long as the kernel's network lock is
//! held by whoever, and no packet waits for that.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::Mac;
use super::ears::{Ears, Hearing};
use super::features::Features;
use super::frame::Head;
use super::hop::{GOOD_FOR, Hop, Way};
use crate::netlink::{Netlink, NetlinkError, Reach, RouteQuery};

/// Questions, and answers, that may wait: those that find no room are put again by a later batch.
pub(super) const WAITING: usize = 1024;

/// What the sender wants to know.
pub(super) enum About {
    /// Where packets of this way leave.
    Way(Way),
    /// Nothing: another device's ears, which hear as the others' from now on.
    Ears(Ears),
    /// Nothing: the host's addresses may have changed.
    Addresses,
}

/// A question, with what was so when it was put.
pub(super) struct Question {
    pub(super) about: About,
    /// The numbers of our devices, in the order of their ports.
    pub(super) devices: Arc<[u32]>,
    pub(super) mark: Option<u32>,
    /// Milliseconds of the sender's clock.
    pub(super) at: u64,
    /// Changes heard of until then.
    pub(super) generation: u64,
}

/// The same, without what it is about.
struct Asked<'a> {
    devices: &'a [u32],
    mark: Option<u32>,
    at: u64,
    generation: u64,
}

/// What was found out of a way, as of the question.
pub(super) struct Answer {
    pub(super) way: Way,
    /// `None`: it is the kernel's.
    pub(super) hop: Option<Hop>,
    pub(super) at: u64,
    pub(super) generation: u64,
}

/// One of our devices, on and with carrier.
#[derive(Clone, Copy)]
struct Device {
    mac: Mac,
    mtu: u32,
    injects: bool,
}

/// Finds out for an [`XdpSender`](super::XdpSender) what it must know of the host: routes, neighbours, devices, addresses.
pub struct XdpScout {
    netlink: Netlink,
    /// A kernel without it: nothing is sent by frames of the program.
    features: Option<Features>,
    questions: Receiver<Question>,
    answers: SyncSender<Answer>,
    /// Devices by their numbers, as of so many changes at that time; asked for once for all ways.
    devices: HashMap<u32, (u64, u64, Option<Device>)>,
    hearing: Hearing,
    /// The host's addresses could not be read when they were to be.
    unread: bool,
}

impl XdpScout {
    /// Its sockets are those of the calling thread's network namespace.
    pub(super) fn new(questions: Receiver<Question>, answers: SyncSender<Answer>) -> io::Result<Self> {
        let (netlink, features) = (Netlink::open()?, Features::open().ok());
        let (devices, hearing) = (HashMap::new(), Hearing::default());
        Ok(Self { netlink, features, questions, answers, devices, hearing, unread: false })
    }

    /// Answers until the sender is gone; to be called in a thread that has nothing else to do. Until it is, and whenever it
    /// is behind, the raw socket sends.
    pub fn serve(mut self) {
        while let Ok(question) = self.questions.recv() {
            if let Some(answer) = self.answer(question)
                && self.answers.send(answer).is_err()
            {
                return;
            }
        }
    }

    /// Exchanges what it asks by for another.
    #[cfg(test)]
    pub(crate) fn swap_netlink(&mut self, other: &mut Netlink) {
        std::mem::swap(&mut self.netlink, other);
    }

    /// Answers what was asked so far.
    #[cfg(test)]
    pub(crate) fn catch_up(&mut self) {
        while let Ok(question) = self.questions.try_recv() {
            if let Some(answer) = self.answer(question) {
                self.answers.try_send(answer).ok().unwrap();
            }
        }
    }

    /// `None` when there is nothing to answer.
    fn answer(&mut self, question: Question) -> Option<Answer> {
        let Question { about, devices, mark, at, generation } = question;
        if self.unread {
            self.read_addresses();
        }
        match about {
            About::Way(way) => {
                let asked = Asked { devices: &devices, mark, at, generation };
                // Whatever goes wrong, the kernel's own way says so to the caller.
                let hop = self.hop(way, &asked).unwrap_or(None);
                return Some(Answer { way, hop, at, generation });
            }
            About::Ears(ears) => self.hearing.add(ears),
            About::Addresses => {}
        }
        self.read_addresses();
        None
    }

    /// What cannot be read is as it was before, for all that is known, and is read again with the next question.
    fn read_addresses(&mut self) {
        let read = self.netlink.addresses(None).and_then(|all| {
            self.hearing.set_host(&mut self.netlink, all.into_iter().map(|held| held.address))
        });
        self.unread = read.is_err();
    }

    fn hop(&mut self, (to, source): Way, asked: &Asked<'_>) -> Result<Option<Hop>, NetlinkError> {
        let address = source.map(|source| source.address).filter(|address| !address.is_unspecified());
        let bound = source.map(|source| source.ifindex).filter(|index| *index != 0);
        let query = RouteQuery { destination: to, source: address, mark: asked.mark, device: bound };
        let route = self.netlink.route_get(&query)?;
        let (Some(from), Reach::Unicast) = (address.or(route.source), route.reach) else { return Ok(None) };
        // For IPv6 the kernel answers whatever the source; its own sending, as the raw socket's, asks whether it is the host's.
        if !self.hearing.is_host(from) {
            return Ok(None);
        }
        // By whichever device it leaves, its answers may come by one of ours.
        self.hearing.sent(to, from, asked.at);
        let port = asked.devices.iter().position(|device| *device == route.device);
        let Some(port) = port else { return Ok(None) };
        let Some(device) = self.device(route.device, asked)? else { return Ok(None) };
        let neighbour = self.netlink.neighbour(route.device, route.gateway.unwrap_or(to))?;
        let Some(head) = neighbour.and_then(|theirs| Head::new(from, to, device.mac, theirs)) else {
            return Ok(None);
        };
        let mtu = route.mtu.map_or(device.mtu, |mtu| mtu.min(device.mtu)) as usize;
        Ok(Some(Hop { head, port, injects: device.injects, mtu }))
    }

    /// A device as it is; `None` while it is off or without carrier.
    fn device(&mut self, index: u32, asked: &Asked<'_>) -> Result<Option<Device>, NetlinkError> {
        let Asked { at, generation, .. } = *asked;
        if let Some((of, since, device)) = self.devices.get(&index)
            && (*of, at.saturating_sub(*since) < GOOD_FOR) == (generation, true)
        {
            return Ok(*device);
        }
        let link = self.netlink.link_by_index(index)?.filter(|link| link.up && link.running);
        let mac = self.netlink.hardware_address(index)?;
        let injects = self.features.as_ref().is_some_and(|features| features.transmits(index));
        let device = link.zip(mac).map(|(link, mac)| Device { mac, mtu: link.mtu, injects });
        self.devices.insert(index, (generation, at, device));
        Ok(device)
    }
}
