//! `causeway demo`: the whole gateway at work between network namespaces of this machine, from two
//! configuration files to routed packets, with nothing but this program and the kernel.
//!
//! | file | subject |
//! | --- | --- |
//! | [`mod@self`] | the course of the demo |
//! | `net` | hosts and cables |
//! | `gateways` | the two gateways as processes |
//! | `traffic` | echo requests and a TCP stream |
//! | `timeline` | what happened when |

mod gateways;
mod net;
mod timeline;
mod traffic;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kernel::privilege::{self, Capability};

use gateways::{Gateway, Workplace};
use net::{CLOUD_HOST, LAN_HOST, Net, PREFIX};
use timeline::{Timeline, say};
use traffic::Pinger;

/// Why the demo failed, in words.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);
/// For everything up to the first routed packet.
const BRING_UP: Duration = Duration::from_secs(15);
/// Of one TCP stream.
const STREAM: Duration = Duration::from_secs(2);
const ECHOES: usize = 20;
/// The prefix the site learns.
const LEARNED: &str = "172.16.0.0/22";

/// Runs it; success only when everything worked. `keep` leaves it all up.
pub(crate) fn demo(keep: bool) -> ExitCode {
    match run(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("causeway demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything made is a value here, and goes when this ends, however it ends.
fn run(keep: bool) -> Result<(), Failure> {
    check_privileges()?;
    let interrupted = watch_for_interrupts()?;
    let mut place = Workplace::make(keep)?;
    let network = Net::make(keep)?;
    introduce();
    let timeline = Timeline::start();
    let mut gateways = gateways::start(&place, network.host("site")?, network.host("headend")?)?;
    let outcome = course(&network, &timeline, &mut gateways, &interrupted);
    if let Err(error) = outcome {
        if !interrupted.load(Ordering::Relaxed) {
            timeline.logged(&mut gateways);
            explain(&gateways);
        }
        return Err(error);
    }
    if keep {
        let remove = place.keep(&gateways)?;
        farewell(&place, &gateways, &remove);
        gateways.into_iter().for_each(Gateway::keep);
        network.keep();
    }
    Ok(())
}

fn check_privileges() -> Result<(), Failure> {
    for capability in [Capability::SysAdmin, Capability::NetAdmin, Capability::NetRaw] {
        if !privilege::has(capability)? {
            return Err("it makes network namespaces and needs root: sudo causeway demo".into());
        }
    }
    Ok(())
}

/// Set once somebody wants the demo to end.
fn watch_for_interrupts() -> Result<Arc<AtomicBool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let signals = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let (mut interrupt, mut terminate, mut hangup) = signals;
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        set.store(true, Ordering::Relaxed);
    })?;
    Ok(flag)
}

fn introduce() {
    say("Two gateways on this machine, in network namespaces of their own:");
    say("");
    say("  lan ─────────── site ════════════ internet ════════════ headend ─────────── cloud");
    say("  192.168.1.10    203.0.113.1                             192.0.2.1     172.16.1.10");
    say("                  AS 65510           IPsec, BGP           AS 65515");
    say("");
    say("site runs examples/azure.toml as it is shipped; headend answers as Azure would.");
    say("");
}

/// What is shown, in its order.
fn course(
    network: &Net,
    timeline: &Timeline,
    gateways: &mut [Gateway; 2],
    interrupted: &AtomicBool,
) -> Result<(), Failure> {
    let rise = Rise { timeline, interrupted };
    rise.until_routed(gateways)?;
    let (lan, cloud) = (network.host("lan")?, network.host("cloud")?);
    rise.until_answered(&mut Pinger::new(lan)?, gateways)?;
    say("");
    echoes("lan → cloud", &mut Pinger::new(lan)?, CLOUD_HOST, interrupted)?;
    echoes("cloud → lan", &mut Pinger::new(cloud)?, LAN_HOST, interrupted)?;
    let build = if cfg!(debug_assertions) { " (a debug build)" } else { "" };
    for (name, from, to, address) in
        [("lan → cloud", lan, cloud, CLOUD_HOST), ("cloud → lan", cloud, lan, LAN_HOST)]
    {
        let rate =
            traffic::throughput(from, to, address, STREAM).map_err(|error| format!("TCP {name}: {error}"))?;
        say(&format!("  {name}  one TCP stream, both ends on this machine: {:.2} Gbit/s{build}", rate / 1e9));
        check(interrupted)?;
    }
    show(gateways)?;
    timeline.logged(gateways);
    Ok(())
}

/// The way up.
struct Rise<'a> {
    timeline: &'a Timeline,
    interrupted: &'a AtomicBool,
}

impl Rise<'_> {
    /// Looks until `reached`, printing what the gateways log.
    fn wait(
        &self,
        gateways: &mut [Gateway; 2],
        what: &str,
        mut reached: impl FnMut(&[Gateway; 2]) -> Option<String>,
    ) -> Result<(), Failure> {
        let mut state = String::new();
        loop {
            let text = reached(gateways);
            let [site, _] = &*gateways;
            let under_way = if text.is_none() { exchange(site) } else { None };
            self.timeline.logged(gateways);
            if let Some(text) = text {
                self.timeline.now("demo", &text);
                return Ok(());
            }
            if let Some(now) = under_way.filter(|now| *now != state) {
                self.timeline.now("site", &format!("IKE SA: {now}"));
                state = now;
            }
            for gateway in gateways.iter_mut() {
                gateway.check()?;
            }
            check(self.interrupted)?;
            if self.timeline.seconds() > BRING_UP.as_secs_f64() {
                return Err(format!("after {} s still without {what}", BRING_UP.as_secs()).into());
            }
            pause();
        }
    }

    fn until_routed(&self, gateways: &mut [Gateway; 2]) -> Result<(), Failure> {
        self.wait(gateways, "an IKE SA", |[site, _]| {
            let status = site.status()?;
            let tunnel = status.tunnels.first()?;
            tunnel.ike.up.then(|| format!("IKE SA {} ⇄ {}", tunnel.local, tunnel.remote))
        })?;
        self.wait(gateways, "a CHILD SA", |[site, _]| {
            let status = site.status()?;
            let tunnel = status.tunnels.first()?;
            tunnel.child.up.then(|| format!("CHILD SA through {}", tunnel.interface))
        })?;
        self.wait(gateways, "a BGP session", |[site, headend]| {
            let up = |gateway: &Gateway| {
                let status = gateway.status()?;
                let tunnel = status.tunnels.first()?;
                (tunnel.state == "up").then_some(())
            };
            up(site).and(up(headend)).map(|()| "BGP Established, the tunnel is up on both sides".to_owned())
        })?;
        self.wait(gateways, "the learned routes", |[site, headend]| {
            let learned = installed(site, LEARNED)?;
            installed(headend, "192.168.1.0/24")?;
            Some(format!("routes installed: {learned}, and the way back"))
        })
    }

    fn until_answered(&self, pinger: &mut Pinger, gateways: &mut [Gateway; 2]) -> Result<(), Failure> {
        self.wait(gateways, "an answer through the tunnel", |_| {
            let time = pinger.ping(CLOUD_HOST).ok()??;
            Some(format!("first packet lan → cloud and back: {:.2} ms", time.as_secs_f64() * 1e3))
        })
    }
}

/// Which exchange an IKE SA in the making is at.
fn exchange(site: &Gateway) -> Option<String> {
    let tunnel = site.status()?.tunnels.into_iter().next()?;
    (!tunnel.ike.up).then_some(tunnel.ike.state)
}

/// A learned route in the kernel, as text.
fn installed(gateway: &Gateway, prefix: &str) -> Option<String> {
    let routes = gateway.routes()?;
    let route = routes.routes.iter().find(|route| route.prefix == prefix && route.state == "installed")?;
    (route.origin == "bgp").then(|| {
        format!(
            "{prefix} dev {} proto {} metric {}",
            route.interface.as_deref().unwrap_or("?"),
            routes.protocol,
            route.metric
        )
    })
}

fn echoes(name: &str, pinger: &mut Pinger, to: Ipv4Addr, interrupted: &AtomicBool) -> Result<(), Failure> {
    let mut times = Vec::new();
    for _ in 0..ECHOES {
        times.extend(pinger.ping(to)?.map(|time| time.as_secs_f64() * 1e3));
        check(interrupted)?;
        pause();
    }
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    let most = times.iter().copied().fold(0.0, f64::max);
    let mean = times.iter().sum::<f64>() / times.len().max(1) as f64;
    say(&format!(
        "  {name}  {} of {ECHOES} echoes, {least:.2}/{mean:.2}/{most:.2} ms least/mean/most",
        times.len()
    ));
    if times.len() < ECHOES {
        return Err(format!("{} of {ECHOES} echoes {name} were lost", ECHOES - times.len()).into());
    }
    Ok(())
}

/// What a user would look at.
fn show([site, _]: &[Gateway; 2]) -> Result<(), Failure> {
    for arguments in [&["show", "status"][..], &["show", "bgp", "neighbors", "azure", "received-routes"]] {
        say("");
        say(&format!("site$ causeway {}", arguments.join(" ")));
        site.print(arguments)?.lines().for_each(|line| say(&format!("  {line}")));
    }
    say("");
    Ok(())
}

/// Why it does not go on, in the gateways' own words.
fn explain(gateways: &[Gateway; 2]) {
    for gateway in gateways {
        if let Ok(text) = gateway.print(&["show", "status"]) {
            say("");
            say(&format!("{}$ causeway show status", gateway.name));
            text.lines().for_each(|line| say(&format!("  {line}")));
        }
    }
}

fn farewell(place: &Workplace, [site, headend]: &[Gateway; 2], remove: &Path) {
    let exe = std::env::current_exe().map_or_else(|_| "causeway".to_owned(), |exe| exe.display().to_string());
    say("Kept. To explore:");
    say(&format!("  export CAUSEWAY_SOCKET={}    # or {}", site.socket.display(), headend.socket.display()));
    say(&format!("  {exe} show status"));
    say(&format!("  {exe} capture azure | tcpdump -r -"));
    say(&format!("  ip netns exec {PREFIX}lan ping {CLOUD_HOST}"));
    say(&format!("  files and logs: {}", place.path().display()));
    say("To remove it all:");
    say(&format!("  sh {}", remove.display()));
}

fn check(interrupted: &AtomicBool) -> Result<(), Failure> {
    if interrupted.load(Ordering::Relaxed) { Err("interrupted".into()) } else { Ok(()) }
}

/// Waits a step; how long that was.
fn pause() -> Duration {
    thread::sleep(STEP);
    STEP
}

#[expect(clippy::disallowed_methods, reason = "the demo reads the clock")]
fn now() -> Instant {
    Instant::now()
}
