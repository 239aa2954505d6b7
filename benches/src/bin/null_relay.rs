//! The yardstick: the tunnel's path with the cipher taken out.
//!
//! TUN and UDP or protocol 50 as the datapath uses them, super-packets cut and joined by the same code, every
//! packet as long as its AES-GCM twin and at the same place in it; but nothing is sealed, no sequence number is
//! taken, no window asked and no selector matched. What causeway loses against it is what IPsec costs.
//!
//! It protects nothing and exists for measurements alone.

use std::error::Error;
use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use causeway_benches::args::Args;
use crypto::{Encr, Suite};
use esp::Geometry;
use kernel::datagram::{Message, RecvRing, Run, SLOT, SendArena};
use kernel::epoll::{Epoll, Interest};
use kernel::netlink::{LinkChange, Netlink};
use kernel::raw::{EspOptions, EspSocket, Family};
use kernel::tun::{READ_BUFFER, Tun, TunOptions, TunQueue};
use kernel::udp::{UdpOptions, UdpSocket};
use kernel::xdp::{XdpDevice, XdpReceiver, XdpSender};
use tunnel::TunnelId;
use tunnel::inner::Inner;
use tunnel::offload::checksum;
use tunnel::offload::coalesce::{Coalescer, Joining, MAX_PIECES, Place};
use tunnel::offload::split::Plan;
use tunnel::offload::virtio::{Gso, Header};

type Failure = Box<dyn Error + Send + Sync>;

const PORT: u16 = 4500;
/// As the datapath's batch.
const CAPACITY: usize = 512 * 1024;
const FLUSH_AT: usize = 256 * 1024;
const MAX_SEGMENTS: usize = 64;
const MAX_RUN_BYTES: usize = 65_487;
/// What an SPI would be: anything but the marker of IKE.
const MARK: [u8; 4] = [1; 4];
const TUNNEL: TunnelId = TunnelId(0);

/// `null-relay --tun NAME --local ADDRESS --remote ADDRESS [--esp [--xdp DEVICE]] [--threads 1|2] [--mtu OCTETS]`
fn main() -> Result<(), Failure> {
    let args = Args::from_env();
    let remote: IpAddr = args.need("remote")?.parse()?;
    let local: IpAddr = args.need("local")?.parse()?;
    let outer = match args.need("xdp") {
        Ok(device) => Outer::xdp(device)?,
        Err(_) if args.has("esp") => Outer::esp()?,
        Err(_) => Outer::udp(local)?,
    };
    let suite = Suite::new(Encr::from_keyword("aes256gcm16").ok_or("no AES-GCM")?, None).ok_or("no suite")?;
    let geometry = Geometry::new(suite);
    let mut netlink = Netlink::open()?;
    let tun = Tun::open(&mut netlink, &TunOptions::new(args.need("tun")?))?;
    let mtu = Some(args.number("mtu", 1438)? as u32);
    netlink.set_link(tun.index(), &LinkChange { up: Some(true), mtu, ..LinkChange::default() })?;
    let offloads = tun.offloads();
    let joining = Joining { tcp: offloads.tcp, udp: offloads.udp };
    let queue = tun.into_queues().into_iter().next().ok_or("no queue")?;
    let (queue, outer) = (Arc::new(queue), Arc::new(outer));
    let mut out = Out::new(Arc::clone(&queue), Arc::clone(&outer), geometry, SocketAddr::new(remote, PORT));
    let mut back = Back::new(queue, outer, geometry, joining);
    eprintln!("ready");
    if args.number("threads", 1)? == 1 {
        return both(&mut out, &mut back);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| alone(&mut out.tun_epoll()?, || out.step()));
        alone(&mut back.outer_epoll()?, || back.step())
    })
}

/// One thread for both directions.
fn both(out: &mut Out, back: &mut Back) -> Result<(), Failure> {
    let epoll = Epoll::new()?;
    epoll.add(&*out.queue, 0, Interest::READ)?;
    back.outer.listen(&epoll)?;
    let mut ready = Vec::with_capacity(3);
    loop {
        epoll.wait(&mut ready, None)?;
        // A step of each that has something, as in a worker.
        if ready.iter().any(|r| r.token == 1) {
            back.step();
        }
        if ready.iter().any(|r| r.token == 0) {
            out.step();
        }
    }
}

/// A thread for one direction.
fn alone(epoll: &mut Epoll, mut step: impl FnMut() -> bool) -> Result<(), Failure> {
    let mut ready = Vec::with_capacity(1);
    loop {
        epoll.wait(&mut ready, None)?;
        while step() {}
    }
}

/// The outer socket.
enum Outer {
    Udp(UdpSocket),
    Esp(EspSocket),
    Xdp(Box<Bypass>),
}

/// Protocol 50 by AF_XDP, with the raw socket beside it.
struct Bypass {
    raw: EspSocket,
    // Nobody waits for either: each is one thread's.
    receiver: Mutex<XdpReceiver>,
    sender: Mutex<XdpSender>,
    origin: Instant,
}

impl Outer {
    fn udp(local: IpAddr) -> Result<Self, Failure> {
        Ok(Self::Udp(UdpSocket::bind(&UdpOptions::new(SocketAddr::new(local, PORT)))?))
    }

    fn esp() -> Result<Self, Failure> {
        Ok(Self::Esp(EspSocket::open(&EspOptions::new(Family::V4))?))
    }

    fn xdp(device: &str) -> Result<Self, Failure> {
        let raw = EspSocket::open(&EspOptions::new(Family::V4))?;
        let device = XdpDevice::attach(&mut Netlink::open()?, device)?;
        let (receiver, transmitter) = device.open(0)?;
        let (mut sender, scout) = XdpSender::new(None)?;
        sender.add(device, transmitter);
        std::thread::spawn(|| scout.serve());
        #[expect(clippy::disallowed_methods, reason = "a program that measures has a clock")]
        let origin = Instant::now();
        let (receiver, sender) = (Mutex::new(receiver), Mutex::new(sender));
        Ok(Self::Xdp(Box::new(Bypass { raw, receiver, sender, origin })))
    }

    fn send(&self, runs: &[Run<'_>], arena: &mut SendArena) {
        match self {
            Self::Udp(socket) => socket.send_runs(runs, arena),
            Self::Esp(socket) => socket.send_runs(runs, arena),
            Self::Xdp(bypass) => {
                let mut sender = bypass.sender.lock().unwrap_or_else(PoisonError::into_inner);
                sender.send_runs(&bypass.raw, runs, true, arena, bypass.origin.elapsed().as_millis() as u64)
            }
        };
    }

    /// Waits for everything that can be received from, under the token 1.
    fn listen(&self, epoll: &Epoll) -> Result<(), Failure> {
        epoll.add(self, 1, Interest::READ)?;
        if let Self::Xdp(bypass) = self {
            epoll.add(&*bypass.receiver.lock().unwrap_or_else(PoisonError::into_inner), 1, Interest::READ)?;
        }
        Ok(())
    }

    fn ring(&self) -> RecvRing {
        match self {
            Self::Udp(_) => RecvRing::coalescing(),
            Self::Esp(_) | Self::Xdp(_) => RecvRing::new(64, SLOT),
        }
    }
}

impl AsFd for Outer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Esp(socket) => socket.as_fd(),
            Self::Xdp(bypass) => bypass.raw.as_fd(),
        }
    }
}

/// Packets of equal length, back to back.
struct RunMeta {
    start: usize,
    end: usize,
    segment: usize,
    count: usize,
}

/// TUN to socket.
struct Out {
    queue: Arc<TunQueue>,
    outer: Arc<Outer>,
    geometry: Geometry,
    dest: SocketAddr,
    frame: Box<[u8]>,
    batch: Box<[u8]>,
    used: usize,
    runs: Vec<RunMeta>,
    arena: SendArena,
}

impl Out {
    fn new(queue: Arc<TunQueue>, outer: Arc<Outer>, geometry: Geometry, dest: SocketAddr) -> Self {
        Self {
            queue,
            outer,
            geometry,
            dest,
            frame: vec![0; READ_BUFFER].into(),
            batch: vec![0; CAPACITY].into(),
            used: 0,
            runs: Vec::new(),
            arena: SendArena::with_wait(std::time::Duration::from_millis(2)),
        }
    }

    fn tun_epoll(&self) -> Result<Epoll, Failure> {
        let epoll = Epoll::new()?;
        epoll.add(&*self.queue, 0, Interest::READ)?;
        Ok(epoll)
    }

    /// Reads until the queue is dry or the batch full, and sends; may there be more?
    fn step(&mut self) -> bool {
        let mut more = true;
        while more && self.used < FLUSH_AT {
            match self.queue.read(&mut self.frame) {
                Ok(Some(length)) => self.take(length),
                Ok(None) | Err(_) => more = false,
            }
        }
        self.flush();
        more
    }

    fn take(&mut self, length: usize) {
        let frame = std::mem::take(&mut self.frame);
        if let Some((header, packet)) = frame.get(..length).and_then(Header::split)
            && let Ok(inner) = Inner::parse(packet)
            && let Some(packet) = packet.get(..inner.total)
        {
            match header.gso {
                Gso::None => {
                    self.push(packet.len(), |place| whole(packet, &header, place));
                }
                Gso::Tcp4 | Gso::Tcp6 | Gso::Udp | Gso::Unknown(_) => {
                    if let Ok(plan) = Plan::new(packet, &inner, &header) {
                        for index in 0..plan.count() {
                            self.push(plan.len(index), |place| plan.write(packet, index, place));
                        }
                    }
                }
            }
        }
        self.frame = frame;
    }

    fn push(&mut self, inner: usize, fill: impl FnOnce(&mut [u8])) {
        let (length, offset) = (self.geometry.sealed_len(inner), self.geometry.inner_offset());
        if self.used + length > self.batch.len() {
            self.flush();
        }
        let Some(slot) = self.batch.get_mut(self.used..self.used + length) else { return };
        if let Some(mark) = slot.first_chunk_mut() {
            *mark = MARK;
        }
        if let Some(place) = slot.get_mut(offset..offset + inner) {
            fill(place);
        }
        let end = self.used + length;
        match self.runs.last_mut() {
            Some(run)
                if (run.end - run.start) % run.segment == 0
                    && length <= run.segment
                    && run.count < MAX_SEGMENTS
                    && run.end - run.start + length <= MAX_RUN_BYTES =>
            {
                run.end = end;
                run.count += 1;
            }
            Some(_) | None => self.runs.push(RunMeta { start: self.used, end, segment: length, count: 1 }),
        }
        self.used = end;
    }

    fn flush(&mut self) {
        if self.used == 0 {
            return;
        }
        let runs: Vec<Run<'_>> = self
            .runs
            .iter()
            .map(|run| Run {
                segment: (run.count > 1).then_some(run.segment as u16),
                ..Run::single(self.dest, self.batch.get(run.start..run.end).unwrap_or_default())
            })
            .collect();
        self.outer.send(&runs, &mut self.arena);
        self.used = 0;
        self.runs.clear();
    }
}

/// A single packet, its checksum completed.
fn whole(packet: &[u8], header: &Header, place: &mut [u8]) {
    place.copy_from_slice(packet);
    if header.needs_checksum {
        let start = usize::from(header.checksum_start);
        let field = start + usize::from(header.checksum_offset);
        let sum = !place.get(start..).map_or(0, checksum::sum);
        if let Some(slot) = place.get_mut(field..field + 2) {
            slot.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Socket to TUN.
struct Back {
    outer: Arc<Outer>,
    ring: RecvRing,
    writer: Writer,
}

impl Back {
    fn new(queue: Arc<TunQueue>, outer: Arc<Outer>, geometry: Geometry, joining: Joining) -> Self {
        let ring = outer.ring();
        Self { outer, ring, writer: Writer { queue, geometry, coalescer: Coalescer::new(joining) } }
    }

    fn outer_epoll(&self) -> Result<Epoll, Failure> {
        let epoll = Epoll::new()?;
        self.outer.listen(&epoll)?;
        Ok(epoll)
    }

    /// Receives a batch, joins and writes; may there be more?
    fn step(&mut self) -> bool {
        let received = match &*self.outer {
            Outer::Udp(socket) => socket.recv_batch(&mut self.ring),
            Outer::Esp(socket) => socket.recv_batch(&mut self.ring),
            Outer::Xdp(bypass) => {
                let mut receiver = bypass.receiver.lock().unwrap_or_else(PoisonError::into_inner);
                let count = receiver.receive();
                if count > 0 {
                    self.writer.deliver(receiver.messages());
                    return count >= 8;
                }
                bypass.raw.recv_batch(&mut self.ring)
            }
        };
        let Ok(count @ 1..) = received else { return false };
        self.writer.deliver(self.ring.messages());
        count >= 8
    }
}

/// What came to TUN.
struct Writer {
    queue: Arc<TunQueue>,
    geometry: Geometry,
    coalescer: Coalescer,
}

impl Writer {
    /// Joins what came and writes it.
    fn deliver<'a>(&mut self, received: impl Iterator<Item = Message<'a>>) {
        let offset = self.geometry.inner_offset();
        let messages: Vec<(&[u8], usize)> = received.map(|m| (&*m.bytes, m.segment)).collect();
        for (message, (bytes, segment)) in (0..).zip(&messages) {
            let mut at = 0;
            for datagram in bytes.chunks(*segment) {
                if let Some(packet) = datagram.get(offset..)
                    && let Ok(inner) = Inner::parse(packet)
                {
                    let start = at + offset as u32;
                    let place = Place { message, start, end: start + inner.total as u32 };
                    let packet = packet.get(..inner.total).unwrap_or_default();
                    self.coalescer.push(TUNNEL, packet, &inner, place);
                }
                at += datagram.len() as u32;
            }
        }
        self.coalescer.finish();
        for one in self.coalescer.writes() {
            let mut slices: [IoSlice<'_>; MAX_PIECES + 1] = std::array::from_fn(|_| IoSlice::new(&[]));
            let pieces = self.coalescer.pieces(one).map(|place| {
                let bytes = messages.get(place.message as usize).map_or(&[][..], |message| message.0);
                IoSlice::new(bytes.get(place.start as usize..place.end as usize).unwrap_or_default())
            });
            let all = std::iter::once(IoSlice::new(one.header())).chain(pieces);
            let used = slices.iter_mut().zip(all).map(|(slot, slice)| *slot = slice).count();
            // A device that is off loses packets.
            let _ = self.queue.writev(slices.get(..used).unwrap_or_default());
        }
        self.coalescer.clear();
    }
}
