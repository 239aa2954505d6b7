//! causeway's own datapath with the cipher taken out, and nothing else: sequence numbers are taken, windows asked and
//! moved, selectors matched, packets counted; IVs, text and ICVs stay as they are. What causeway loses against it is what
//! its cipher costs.
//!
//! It protects nothing and exists for measurements alone: the product cannot be built with what it uses.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use causeway_benches::args::Args;
use causeway_benches::now;
use crypto::{Encr, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, Tick};
use inet::Selector;
use kernel::datagram::{MESSAGES, RecvRing, Run, SendArena, Source};
use kernel::epoll::{Epoll, Interest};
use kernel::netlink::{LinkChange, Netlink};
use kernel::tun::{READ_BUFFER, Tun, TunOptions, TunQueue};
use kernel::udp::{UdpOptions, UdpSocket};
use tunnel::offload::coalesce::Joining;
use tunnel::publish::{Publisher, Reader};
use tunnel::{
    DfPolicy, Drops, Egress, Handled, InboundRow, Ingress, MssPolicy, OutboundRow, OuterPath, Received,
    Reports, Selectors, SendBatch, Table, TunnelId, TunnelRow,
};

type Failure = Box<dyn Error + Send + Sync>;

const PORT: u16 = 4500;
const MTU: u16 = 1438;
const TUNNEL: TunnelId = TunnelId(1);
const SPI: u32 = 0x1234;
/// As the daemon's workers: rounds before another wait, frames of a step, and messages that mean more may wait.
const ROUNDS: usize = 8;
const FRAMES: usize = 256;
const LEAST: usize = 8;
const REPORTS: usize = 256;

/// `null-path --tun NAME --local ADDRESS --remote ADDRESS`
fn main() -> Result<(), Failure> {
    let args = Args::from_env();
    let remote = SocketAddr::new(args.need("remote")?.parse()?, PORT);
    let local: IpAddr = args.need("local")?.parse()?;
    let socket = UdpSocket::bind(&UdpOptions::new(SocketAddr::new(local, PORT)))?;
    let mut netlink = Netlink::open()?;
    let tun = Tun::open(&mut netlink, &TunOptions::new(args.need("tun")?))?;
    let up = LinkChange { up: Some(true), mtu: Some(u32::from(MTU)), ..LinkChange::default() };
    netlink.set_link(tun.index(), &up)?;
    let offloads = tun.offloads();
    let joining = Joining { tcp: offloads.tcp, udp: offloads.udp };
    let queue = tun.into_queues().into_iter().next().ok_or("no queue")?;
    let path = OuterPath::Udp { local: SocketAddr::new(local, PORT), remote };
    let publisher = Publisher::new(table(path)?);
    eprintln!("ready");
    Worker::new(queue, socket, publisher.reader(), joining).run()
}

/// One tunnel between these addresses, whose SAs protect nothing.
fn table(path: OuterPath) -> Result<Table, Failure> {
    let suite = Suite::new(Encr::from_keyword("aes256gcm16").ok_or("no AES-GCM")?, None).ok_or("no suite")?;
    let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let (encr_key, integ_key, limits): (&[u8], &[u8], _) = (&[], &[], Limits::default());
    let inbound =
        InboundParams { spi: SPI, suite, encr_key, integ_key, esn: true, replay_window: 4096, limits };
    let outbound =
        OutboundParams { spi: SPI, suite, encr_key, integ_key, iv_seed: [0; 16], esn: true, limits };
    let sa = Arc::new(InboundSa::unprotected(inbound).ok_or("no window")?);
    let mut table = Table::new().edit();
    table.set_inbound(InboundRow {
        tunnel: TUNNEL,
        sa,
        path,
        local: Arc::clone(&any),
        remote: Arc::clone(&any),
    });
    let sa = Arc::new(OutboundSa::unprotected(outbound));
    let outbound = vec![OutboundRow { sa, path, local: Arc::clone(&any), remote: any }];
    table.set_tunnel(TunnelRow { id: TUNNEL, mtu: MTU, mss: MssPolicy::Auto, df: DfPolicy::Copy, outbound });
    Ok(table.build())
}

/// Both directions in one thread, as a tunnel of the daemon has them.
struct Worker {
    queue: TunQueue,
    socket: UdpSocket,
    reader: Reader,
    egress: Egress,
    ingress: Ingress,
    batch: SendBatch,
    arena: SendArena,
    ring: RecvRing,
    frame: Box<[u8]>,
    reports: Reports,
    origin: Instant,
}

impl Worker {
    fn new(queue: TunQueue, socket: UdpSocket, reader: Reader, joining: Joining) -> Self {
        let drops = Arc::new(Drops::default());
        Self {
            queue,
            socket,
            reader,
            egress: Egress::new(Arc::clone(&drops)),
            ingress: Ingress::new(drops, joining),
            batch: SendBatch::default(),
            arena: SendArena::with_wait(std::time::Duration::from_millis(2)),
            ring: RecvRing::coalescing(),
            frame: vec![0; READ_BUFFER].into(),
            reports: Reports::new(REPORTS),
            origin: now(),
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let epoll = Epoll::new()?;
        epoll.add(&self.queue, 0, Interest::READ)?;
        epoll.add(&self.socket, 1, Interest::READ)?;
        let mut ready = Vec::with_capacity(2);
        loop {
            epoll.wait(&mut ready, None)?;
            let (mut out, mut back) =
                (ready.iter().any(|r| r.token == 0), ready.iter().any(|r| r.token == 1));
            for _ in 0..ROUNDS {
                let now = Tick(u64::try_from(self.origin.elapsed().as_millis())?);
                back = back && self.receive(now);
                out = out && self.read(now);
                self.flush();
                while self.reports.poll().is_some() {}
                if !out && !back {
                    break;
                }
            }
        }
    }

    /// TUN to socket; may there be more?
    fn read(&mut self, now: Tick) -> bool {
        let table = Arc::clone(self.reader.current());
        for _ in 0..FRAMES {
            let Ok(Some(length)) = self.queue.read(&mut self.frame) else { return false };
            let frame = self.frame.get(..length).unwrap_or_default();
            let Self { egress, batch, reports, .. } = self;
            if egress.handle_frame(&table, TUNNEL, frame, batch, reports, now) == Handled::Full {
                self.flush();
                let frame = self.frame.get(..length).unwrap_or_default();
                let Self { egress, batch, reports, .. } = self;
                // An empty batch takes every frame or drops it.
                let _ = egress.handle_frame(&table, TUNNEL, frame, batch, reports, now);
            }
            if self.batch.is_full() {
                self.flush();
                return true;
            }
        }
        true
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.egress.seal(&mut self.batch);
        let nowhere = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
        let mut runs = [Run::single(nowhere, &[]); MESSAGES];
        let used = runs.iter_mut().zip(self.batch.runs()).map(|(slot, run)| *slot = outer(&run)).count();
        self.socket.send_runs(runs.get(..used).unwrap_or_default(), &mut self.arena);
        self.batch.clear();
    }

    /// Socket to TUN; may there be more?
    fn receive(&mut self, now: Tick) -> bool {
        let Ok(count @ 1..) = self.socket.recv_batch(&mut self.ring) else { return false };
        let mut received: [Received<'_>; MESSAGES] = std::array::from_fn(|_| Received::empty());
        let port = self.socket.local().port();
        for (slot, message) in received.iter_mut().zip(self.ring.messages()) {
            let path =
                OuterPath::Udp { local: SocketAddr::new(message.destination, port), remote: message.source };
            *slot = Received {
                path,
                segment: message.segment,
                ifindex: message.ifindex,
                tos: message.tos,
                bytes: message.bytes,
            };
        }
        let Some(received) = received.get_mut(..count) else { return false };
        self.ingress.handle_batch(self.reader.current(), received, &mut self.reports, now);
        // A device that is off loses packets.
        self.ingress.for_each_write(received, |_, frame| drop(self.queue.writev(frame)));
        self.ingress.clear();
        count >= LEAST
    }
}

/// A run as the kernel takes it.
fn outer<'a>(run: &tunnel::Run<'a>) -> Run<'a> {
    let dest = match run.path {
        OuterPath::Udp { remote, .. } => remote,
        OuterPath::Esp { remote, .. } => (remote, 0).into(),
    };
    Run {
        dest,
        source: Some(Source { address: run.path.local(), ifindex: 0 }),
        tos: run.tos,
        segment: (run.count() > 1).then(|| u16::try_from(run.segment).unwrap_or(u16::MAX)),
        bytes: run.bytes,
    }
}
