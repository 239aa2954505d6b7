//! causeway's own datapath with the cipher taken out, and nothing else: the daemon's own workers, as many of them, on the
//! same sockets and the same device, with SAs that protect nothing. Sequence numbers are taken, windows asked and moved,
//! selectors matched, packets counted; IVs, text and ICVs stay as they are. What causeway loses against it is what its
//! cipher costs.
//!
//! It protects nothing and exists for measurements alone: the product cannot be built with what it uses.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use causeway_benches::args::Args;
use causeway_benches::now;
use crypto::{Encr, Suite};
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa};
use inet::Selector;
use kernel::netlink::{LinkChange, Netlink};
use kernel::tun::{Tun, TunOptions};
use tunnel::publish::Publisher;
use tunnel::{
    DfPolicy, InboundRow, MssPolicy, OutboundRow, OuterPath, Selectors, Table, TunnelId, TunnelRow,
};
use workers::{PORT, Upward, Workers};

type Failure = Box<dyn Error + Send + Sync>;

/// What `auto` finds for AES-GCM in UDP on a path of 1500 octets.
const MTU: u16 = 1438;
/// A daemon's first tunnel.
const TUNNEL: TunnelId = TunnelId(1);

/// `null-path --tun NAME --local ADDRESS --remote ADDRESS`
fn main() -> Result<(), Failure> {
    let args = Args::from_env();
    let remote = SocketAddr::new(args.need("remote")?.parse()?, PORT);
    let local = SocketAddr::new(args.need("local")?.parse()?, PORT);
    let count = workers::one_a_core();
    let (any, mut notes): ([IpAddr; 2], _) =
        ([Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()], Vec::new());
    let shares = workers::open(count, &any, None, &mut notes)?;
    let publisher = Publisher::new(table(OuterPath::Udp { local, remote }, spi(count))?);
    let (workers, mut uplink) = Workers::start(shares, &publisher.reader(), now())?;
    attach(&workers, args.need("tun")?)?;
    notes.iter().for_each(|note| eprintln!("{note}"));
    eprintln!("ready");
    // Where the daemon has its gateway: somebody takes what comes up.
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        loop {
            if let Upward::Died { why, .. } = uplink.recv().await {
                return Err(why.into());
            }
        }
    })
}

/// The SPI a daemon with so many workers may give its first tunnel: by its rest the kernel deals packets to the worker that
/// reads the tunnel's device.
fn spi(workers: NonZeroU32) -> u32 {
    const FROM: u32 = 0x1000_0000;
    FROM - FROM % workers + TUNNEL.0 % workers
}

/// The tunnel's device, with one queue as the daemon's by default.
fn attach(workers: &Workers, name: &str) -> Result<(), Failure> {
    let mut netlink = Netlink::open()?;
    let tun = Tun::open(&mut netlink, &TunOptions::new(name))?;
    let up = LinkChange { up: Some(true), mtu: Some(u32::from(MTU)), ..LinkChange::default() };
    netlink.set_link(tun.index(), &up)?;
    let offloads = tun.offloads();
    workers.devices().attach(TUNNEL, tun.into_queues(), None, offloads);
    Ok(())
}

/// One tunnel between these addresses, whose SAs protect nothing.
fn table(path: OuterPath, spi: u32) -> Result<Table, Failure> {
    let suite = Suite::new(Encr::from_keyword("aes256gcm16").ok_or("no AES-GCM")?, None).ok_or("no suite")?;
    let any = Arc::new(Selectors::new(&[Selector::any_v4(), Selector::any_v6()]));
    let (encr_key, integ_key, limits): (&[u8], &[u8], _) = (&[], &[], Limits::default());
    let inbound = InboundParams { spi, suite, encr_key, integ_key, esn: false, replay_window: 1024, limits };
    let outbound = OutboundParams { spi, suite, encr_key, integ_key, iv_seed: [0; 16], esn: false, limits };
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
