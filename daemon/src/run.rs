//! `causeway run`: the one loop. Inputs from every source go into the gateway, its effects to the shell.
//!
//! ```text
//! port 500 ─────────────┐                     ┌─> IKE sender, key-exchange pool, resolver
//! workers (reports) ────┤                     ├─> published table ─> workers
//! host thread (netlink) ┼─> this loop: Gateway┼─> host thread
//! BGP tasks ────────────┤   and Shell         ├─> BGP tasks
//! control socket tasks ─┤                     └─> control socket tasks
//! pool (outcomes), time, signals ─┘
//! ```
//! Every channel in is bounded; the loop takes one input a turn (of port 500 one batch) from whichever source is ready,
//! and does no more than that: key exchanges and look-ups are computed elsewhere.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use config::Routes;
use gateway::{Departure, Gateway, Input, OUTER_MARK, Stream};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use workers::{Uplink, Upward, Workers};

use crate::bypass;
use crate::host::{self, Host};
use crate::io::bgp::{self, Connections};
use crate::io::control::{self, Asked};
use crate::shell::{Outcome, Parts, Shell};
use crate::sockets::{self, IkeSocket, Sockets};
use crate::{logging, start};

type Failure = Box<dyn std::error::Error>;

/// The file is wrong, and stays so until someone changes it (sysexits.h): the unit does not try again.
const EX_CONFIG: u8 = 78;

/// Runs until told to stop.
pub(crate) fn run(file: &Path) -> ExitCode {
    start::keep_out_of_cores();
    let plan = match start::load(file) {
        Ok(plan) => plan,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EX_CONFIG);
        }
    };
    let logging = logging::start(plan.gateway.log);
    start::take_descriptors();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("causeway: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async { serve(file, plan, logging).await });
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("causeway: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything the loop hears from.
struct Sources {
    ike: Vec<AsyncFd<IkeSocket>>,
    uplink: Uplink,
    host: mpsc::Receiver<host::Done>,
    bgp: mpsc::Receiver<bgp::Event>,
    asked: mpsc::Receiver<Asked>,
    outcomes: mpsc::Receiver<Outcome>,
}

async fn serve(file: &Path, plan: config::Plan, logging: logging::Logging) -> Result<(), Failure> {
    for warning in &plan.warnings {
        tracing::warn!("{}:{warning}", file.display());
    }
    let Daemon { mut gateway, mut shell, sources, _socket } = assemble(file, plan.gateway, logging)?;
    let outcome = turn(&mut gateway, &mut shell, sources).await;
    let Shell { host, workers, .. } = shell;
    host.stop();
    workers.stop();
    outcome
}

/// All of a running daemon.
struct Daemon {
    gateway: Gateway,
    shell: Shell,
    sources: Sources,
    /// Removed when it goes.
    _socket: control::Socket,
}

/// Everything opened and started; the gateway has had its first turn.
fn assemble(file: &Path, plan: config::Gateway, logging: logging::Logging) -> Result<Daemon, Failure> {
    let path = plan.control.socket.clone();
    let (_socket, asked) =
        control::open(&path).map_err(|error| format!("control socket {}: {error}", path.display()))?;
    let mark = (plan.routes.table != Routes::MAIN).then_some(OUTER_MARK);
    let past_the_stack = (!plan.esp.af_xdp.is_empty()).then(|| bypass::open(&plan.esp.af_xdp, mark));
    let control_queue = host::load_control();
    if let Err(why) = &control_queue {
        tracing::info!("control packets wait behind all others in a tunnel's device: {why}");
    }
    // The control socket's group was given to it and programs were loaded: powers that are not needed again.
    start::confine();
    let count = workers::one_a_core();
    let mut opened = sockets::open(count, mark)?;
    if let Some(past_the_stack) = past_the_stack {
        opened.take_bypass(past_the_stack)?;
    }
    let Sockets { ike, workers, sender, notes, views } = opened;
    for note in notes {
        tracing::info!("{note}");
    }
    #[expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
    let origin = Instant::now();
    let publisher = tunnel::publish::Publisher::default();
    let (workers, uplink) = Workers::start(workers, &publisher.reader(), origin)?;
    let kept: BTreeSet<String> = plan.tunnels.values().map(|tunnel| tunnel.interface.name.clone()).collect();
    let (host, done) = Host::start(kept, workers.devices(), control_queue)?;
    let (connections, streams) = Connections::new(mark);
    let parts = Parts {
        ike: sender,
        host,
        workers,
        publisher,
        connections,
        sockets: views,
        logging,
        file: file.to_owned(),
        origin,
    };
    let (mut shell, outcomes) = Shell::new(parts)?;
    let ike = ike.into_iter().map(crate::io::watch).collect::<Result<_, _>>()?;
    let mut gateway = Gateway::new(plan, start::seed()?, count, origin);
    shell.drain(&mut gateway);
    let sources = Sources { ike, uplink, host: done, bgp: streams, asked, outcomes };
    Ok(Daemon { gateway, shell, sources, _socket })
}

async fn turn(gateway: &mut Gateway, shell: &mut Shell, mut sources: Sources) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // What the unit sends when another run is to follow at once (RestartKillSignal=).
    let mut restart = signal(SignalKind::user_defined2())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut watchdog = tokio::time::interval(watchdog_interval());
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]);
    tracing::info!("ready");
    while !shell.stopped {
        let deadline = gateway.poll_timeout().map(tokio::time::Instant::from_std);
        let input = tokio::select! {
            ready = readable(&sources.ike) => {
                receive_ike(&mut sources.ike, ready, gateway, shell);
                None
            }
            told = sources.uplink.recv() => Some(upward(told)?),
            done = sources.host.recv() => Some(host_done(done, gateway, shell)?),
            event = sources.bgp.recv() => event.and_then(|event| stream(event, gateway, shell)),
            asked = sources.asked.recv() => asked.and_then(|asked| shell.ask(asked, gateway)),
            outcome = sources.outcomes.recv() => outcome.transpose()?.map(|outcome| outcome()),
            () = sleep_until(deadline) => Some(Input::Time),
            _ = watchdog.tick() => {
                let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Watchdog]);
                shell.publisher.collect();
                None
            }
            _ = terminate.recv() => Some(stopping(Departure::Stop)),
            _ = interrupt.recv() => Some(stopping(Departure::Stop)),
            _ = restart.recv() => Some(stopping(Departure::Restart)),
            _ = hangup.recv() => {
                shell.reload = Some(None);
                None
            }
        };
        if let Some(input) = input {
            give(gateway, shell, input);
        }
        if let Some(request) = shell.reload.take() {
            let input = shell.read_config(request);
            give(gateway, shell, input);
        }
        if let Some(why) = shell.fault.take() {
            return Err(why.into());
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// A turn of the loop that takes longer than this is told of: all that time no peer's message was read.
const LONG_TURN: Duration = Duration::from_millis(50);

fn give(gateway: &mut Gateway, shell: &mut Shell, input: Input<'_>) {
    #[expect(clippy::disallowed_methods, reason = "the shell owns the clock")]
    let begun = Instant::now();
    let what = name(&input);
    gateway.handle(input, begun);
    shell.drain(gateway);
    let took = begun.elapsed();
    if took > LONG_TURN {
        tracing::debug!(input = what, milliseconds = took.as_millis(), "a long turn of the loop");
    }
}

fn name(input: &Input<'_>) -> &'static str {
    match input {
        Input::Ike { .. } => "IKE message",
        Input::Report(_) => "datapath",
        Input::Work(..) => "key exchange",
        Input::Resolved { .. } => "name",
        Input::Kernel(_) => "kernel",
        Input::RoutesApplied(_) => "routes",
        Input::DeviceReady { .. } => "device",
        Input::PathMtu { .. } => "path MTU",
        Input::Stream(_) => "BGP",
        Input::Request(..) => "request",
        Input::Reload(..) => "reload",
        Input::RulesApplied(_) => "rules",
        Input::Stop(_) => "stop",
        Input::Time => "time",
    }
}

fn stopping(how: Departure) -> Input<'static> {
    let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
    Input::Stop(how)
}

/// Half of what systemd allows; a second where it does not watch.
fn watchdog_interval() -> Duration {
    let mut microseconds = 0;
    if sd_notify::watchdog_enabled(false, &mut microseconds) {
        Duration::from_micros(microseconds / 2)
    } else {
        Duration::from_secs(1)
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Which of the port-500 sockets has something.
async fn readable(sockets: &[AsyncFd<IkeSocket>]) -> usize {
    let waits = sockets.iter().map(|socket| Box::pin(socket.readable()));
    let mut waits: Vec<_> = waits.collect();
    std::future::poll_fn(|context| {
        for (index, wait) in waits.iter_mut().enumerate() {
            if wait.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(index);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// One batch of one socket, so that no source starves the others.
fn receive_ike(sockets: &mut [AsyncFd<IkeSocket>], ready: usize, gateway: &mut Gateway, shell: &mut Shell) {
    let Some(socket) = sockets.get_mut(ready) else { return };
    let received = socket.try_io_mut(Interest::READABLE, |socket| {
        let mut messages = Vec::new();
        let count = socket.receive(|local, remote, ifindex, bytes| {
            messages.push((gateway::Path { local, remote }, ifindex, bytes.to_vec()));
        })?;
        if count == 0 { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(messages) }
    });
    for (path, ifindex, bytes) in received.unwrap_or_default() {
        give(gateway, shell, Input::Ike { path, ifindex, bytes: &bytes });
    }
}

fn upward(told: Upward) -> Result<Input<'static>, Failure> {
    match told {
        Upward::Report(report) => Ok(Input::Report(report)),
        Upward::PathMtu { remote, mtu } => Ok(Input::PathMtu { remote, mtu }),
        Upward::Died { worker, why } => Err(format!("datapath thread {worker} died: {why}").into()),
    }
}

fn host_done(
    done: Option<host::Done>,
    gateway: &mut Gateway,
    shell: &mut Shell,
) -> Result<Input<'static>, Failure> {
    let done = done.ok_or("the host thread is gone")?;
    match &done {
        host::Done::Device { tunnel, outcome: Ok(ready) } => {
            shell.devices.insert(*tunnel, ready.clone());
        }
        host::Done::Drops { drops, .. } => gateway.set_facts(shell.interface_facts(drops)),
        _ => {}
    }
    Ok(done.into_input().map_err(|why| format!("the host thread died: {why}"))?)
}

fn stream(event: bgp::Event, gateway: &mut Gateway, shell: &mut Shell) -> Option<Input<'static>> {
    let stream = match event {
        bgp::Event::Connected { conn, local, remote } => Stream::Connected { conn, local, remote },
        bgp::Event::ConnectFailed { conn, error } => {
            shell.connections.forget(conn);
            Stream::ConnectFailed { conn, error }
        }
        bgp::Event::Accepted { tunnel, stream, local, remote } => {
            let conn = gateway.next_conn();
            shell.connections.adopt(conn, tunnel, stream);
            Stream::Accepted { tunnel, conn, local, remote }
        }
        bgp::Event::Received { conn, bytes } => {
            give(gateway, shell, Input::Stream(Stream::Received { conn, bytes: &bytes }));
            return None;
        }
        bgp::Event::Written { conn, count } => Stream::Written { conn, count },
        bgp::Event::Closed { conn } => {
            shell.connections.forget(conn);
            Stream::Closed { conn }
        }
    };
    Some(Input::Stream(stream))
}

#[cfg(test)]
mod tests;
