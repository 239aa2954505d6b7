//! The network between the sites: weather, path MTU, NAT boxes, and an ear on the wire.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;

use super::seeds::{chance, pick};

const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
/// How much later a straggler is.
const STRAGGLES: (u64, u64) = (20_000, 120_000);

/// How an outer packet travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clothes {
    Udp,
    /// IP protocol 50; the ports are 0.
    Esp,
    /// Any other packet, whole; the ports are 0.
    Plain,
}

/// An outer packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) clothes: Clothes,
    pub(crate) dont_fragment: bool,
    pub(crate) tos: u8,
    pub(crate) bytes: Vec<u8>,
}

impl Datagram {
    /// Octets on the wire, IP header and all.
    fn length(&self) -> usize {
        match self.clothes {
            Clothes::Udp => IP_HEADER + UDP_HEADER + self.bytes.len(),
            Clothes::Esp => IP_HEADER + self.bytes.len(),
            Clothes::Plain => self.bytes.len(),
        }
    }

    /// SPI and sequence number, where it is ESP.
    pub(crate) fn esp(&self) -> Option<(u32, u32)> {
        if self.clothes == Clothes::Plain {
            return None;
        }
        if self.clothes == Clothes::Udp && (self.from.port() == 500 || self.to.port() == 500) {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?));
        let spi = word(0)?;
        (spi != 0).then_some((spi, word(4)?))
    }
}

/// What the network does to packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Microseconds a packet takes, from and to.
    pub(crate) delay: (u64, u64),
    /// Percent lost.
    pub(crate) loss: u32,
    /// Percent that come twice.
    pub(crate) duplicates: u32,
    /// Percent that come late, behind those sent after them.
    pub(crate) stragglers: u32,
}

impl Weather {
    /// Nothing is lost, nothing overtakes.
    pub(crate) const CALM: Self = Self { delay: (10_000, 10_000), loss: 0, duplicates: 0, stragglers: 0 };

    /// The delay varies, so packets overtake one another; nothing is lost.
    pub(crate) const BREEZE: Self = Self { delay: (5_000, 30_000), loss: 0, duplicates: 0, stragglers: 0 };

    /// Everything, with this loss.
    pub(crate) const fn storm(loss: u32) -> Self {
        Self { delay: (5_000, 40_000), loss, duplicates: 5, stragglers: 5 }
    }
}

/// A box that hides a site behind one address.
#[derive(Clone, Debug)]
pub(crate) struct Nat {
    pub(crate) public: IpAddr,
    /// How long a mapping lasts without outbound packets.
    pub(crate) forgets: Duration,
    mappings: BTreeMap<SocketAddr, (u16, Instant)>,
    next_port: u16,
}

impl Nat {
    pub(crate) fn new(public: &str, forgets: Duration) -> Self {
        Self { public: public.parse().unwrap(), forgets, mappings: BTreeMap::new(), next_port: 10_000 }
    }

    /// The box starts anew, perhaps with another address.
    pub(crate) fn restart(&mut self, public: &str) {
        self.public = public.parse().unwrap();
        self.mappings.clear();
    }

    fn outward(&mut self, datagram: &mut Datagram, now: Instant) -> bool {
        if datagram.clothes != Clothes::Udp {
            return false;
        }
        let forgets = self.forgets;
        self.mappings.retain(|_, (_, used)| *used + forgets > now);
        let next = &mut self.next_port;
        let (port, used) = self.mappings.entry(datagram.from).or_insert_with(|| {
            *next += 1;
            (*next, now)
        });
        *used = now;
        datagram.from = SocketAddr::new(self.public, *port);
        true
    }

    fn inward(&self, datagram: &mut Datagram, now: Instant) -> bool {
        let fits = |(_, (port, used)): &(&SocketAddr, &(u16, Instant))| {
            *port == datagram.to.port() && *used + self.forgets > now
        };
        match self.mappings.iter().find(fits) {
            Some((inside, _)) if datagram.clothes == Clothes::Udp => {
                datagram.to = *inside;
                true
            }
            Some(_) | None => false,
        }
    }
}

/// What becomes of a sent packet.
pub(crate) enum Fate {
    /// It arrives after each of these times.
    Arrives(Datagram, Vec<Duration>),
    /// Too long for the path: a router says so.
    TooBig(u16),
    Lost,
}

/// The network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// The smallest MTU between any two sites.
    pub(crate) mtu: u16,
    /// Pairs of outer addresses nothing passes between, in that direction.
    pub(crate) cut: BTreeSet<(IpAddr, IpAddr)>,
    /// NAT boxes, by the site behind them.
    pub(crate) nats: BTreeMap<usize, Nat>,
    /// Every (receiver, SPI, sequence) that was sent.
    sent: HashSet<(IpAddr, u32, u32)>,
    pub(crate) esp_packets: u64,
    pub(crate) keepalives: u64,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            mtu: 1500,
            cut: BTreeSet::new(),
            nats: BTreeMap::new(),
            sent: HashSet::new(),
            esp_packets: 0,
            keepalives: 0,
        }
    }

    /// Nothing passes between two addresses any more, or everything does again.
    pub(crate) fn cut(&mut self, one: &str, other: &str, cut: bool) {
        let (one, other): (IpAddr, IpAddr) = (one.parse().unwrap(), other.parse().unwrap());
        for pair in [(one, other), (other, one)] {
            if cut {
                self.cut.insert(pair);
            } else {
                self.cut.remove(&pair);
            }
        }
    }

    /// A site sends a packet.
    pub(crate) fn send(
        &mut self,
        site: usize,
        mut datagram: Datagram,
        rng: &mut ChaCha20Rng,
        now: Instant,
    ) -> Fate {
        self.listen(&datagram);
        if datagram.dont_fragment && datagram.length() > usize::from(self.mtu) {
            return Fate::TooBig(self.mtu);
        }
        if let Some(nat) = self.nats.get_mut(&site)
            && !nat.outward(&mut datagram, now)
        {
            return Fate::Lost;
        }
        let cut = self.cut.contains(&(datagram.from.ip(), datagram.to.ip()));
        let copies = 1 + u32::from(chance(rng, self.weather.duplicates));
        let times = (0..copies).filter_map(|_| {
            let lost = chance(rng, self.weather.loss);
            let late = chance(rng, self.weather.stragglers);
            let mut delay = pick(rng, self.weather.delay);
            if late {
                delay += pick(rng, STRAGGLES);
            }
            (!lost && !cut).then_some(Duration::from_micros(delay))
        });
        let times: Vec<_> = times.collect();
        if times.is_empty() { Fate::Lost } else { Fate::Arrives(datagram, times) }
    }

    /// RFC 4106 section 3.1, RFC 4303 section 3.3.3: no number twice under one key, for that would be a nonce twice.
    fn listen(&mut self, datagram: &Datagram) {
        if datagram.bytes == [0xff] {
            self.keepalives += 1;
        }
        let Some((spi, sequence)) = datagram.esp() else { return };
        self.esp_packets += 1;
        let fresh = self.sent.insert((datagram.to.ip(), spi, sequence));
        assert!(fresh, "SPI {spi:08x} sent sequence number {sequence} twice to {}", datagram.to);
    }

    /// A packet comes to an address: the site behind its NAT box, and the packet as that site sees it.
    pub(crate) fn arrive(&self, mut datagram: Datagram, now: Instant) -> Option<(Option<usize>, Datagram)> {
        match self.nats.iter().find(|(_, nat)| nat.public == datagram.to.ip()) {
            Some((site, nat)) => nat.inward(&mut datagram, now).then_some((Some(*site), datagram)),
            None => Some((None, datagram)),
        }
    }
}
