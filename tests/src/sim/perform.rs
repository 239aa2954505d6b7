//! The effects of a gateway, carried out in the world; and what comes of them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use gateway::{Effect, Input, Level, Stream, StreamOp, TunnelId};
use ike::Transmit;
use rand_core::RngCore;

use super::check;
use super::file;
use super::kernel::WAN;
use super::net::{Clothes, Datagram};
use super::seeds::pick;
use super::site::Heard;
use super::tcp::TcpEvent;
use super::world::{Begun, Command, Happening, Told, World};

/// Microseconds a key exchange takes on another thread, from and to: what began later may end earlier.
const WORK: (u64, u64) = (500, 30_000);
/// Microseconds a look-up takes.
const LOOK_UP: (u64, u64) = (1_000, 400_000);
/// Microseconds the host thread takes for a thing, and its answer to be heard.
const HOST: (u64, u64) = (50, 5_000);
/// Microseconds until a change of the host is announced.
const NEWS: u64 = 100_000;
const MARKED_PORT: u16 = 4500;

impl World {
    /// Hands a gateway its inputs, and the world its effects, until both are still.
    pub(crate) fn turn(&mut self, site: usize) {
        loop {
            self.drain(site);
            self.drain_host(site);
            let here = &mut self.sites[site];
            let Some(heard) = here.inbox.pop_front() else { break };
            if here.gateway.is_some() {
                self.hear(site, heard);
            }
        }
        check::after_turn(self, site);
    }

    /// What TCP and the datapath have to say; TCP's packets leave.
    fn drain_host(&mut self, site: usize) {
        while let Some((tunnel, packet)) = self.sites[site].tcp.out.pop_front() {
            match tunnel {
                Some(tunnel) => self.enter_tunnel(site, tunnel, &packet),
                None => self.send_plain(site, &packet),
            }
        }
        let here = &mut self.sites[site];
        while let Some(event) = here.tcp.events.pop_front() {
            here.inbox.push_back(Heard::Tcp(event));
        }
        while let Some(report) = here.datapath.poll_report() {
            here.inbox.push_back(Heard::Report(report));
        }
    }

    fn hear(&mut self, site: usize, heard: Heard) {
        let now = self.now;
        let here = &mut self.sites[site];
        let Some(gateway) = here.gateway.as_mut() else { return };
        let input = match &heard {
            Heard::Ike { path, bytes } => Input::Ike { path: *path, ifindex: WAN, bytes },
            Heard::Tcp(TcpEvent::Received { conn, bytes }) => {
                Input::Stream(Stream::Received { conn: *conn, bytes })
            }
            _ => {
                let input = match heard {
                    Heard::Report(report) => Input::Report(report),
                    Heard::Work(id, outcome) => Input::Work(id, outcome),
                    Heard::Resolved { tunnel, outcome } => Input::Resolved { tunnel, outcome },
                    Heard::Kernel(view) => Input::Kernel(view),
                    Heard::Applied(applied) => Input::RoutesApplied(applied),
                    Heard::Device { tunnel, outcome } => Input::DeviceReady { tunnel, outcome },
                    Heard::PathMtu { remote, mtu } => Input::PathMtu { remote, mtu },
                    Heard::Request(id, request) => Input::Request(id, request),
                    Heard::Reload(id) => Input::Reload(id, file::load(&here.file).map(Box::new)),
                    Heard::Rules => Input::RulesApplied(Ok(())),
                    Heard::Stop(how) => Input::Stop(how),
                    Heard::Tcp(event) => {
                        let accepted = match &event {
                            TcpEvent::Accepted { key, .. } => Some((*key, gateway.next_conn())),
                            _ => None,
                        };
                        if let Some((key, conn)) = accepted {
                            here.tcp.adopt(&key, conn);
                        }
                        Input::Stream(stream(event, accepted.map(|(_, conn)| conn)))
                    }
                    Heard::Time | Heard::Ike { .. } => Input::Time,
                };
                gateway.handle(input, now);
                return;
            }
        };
        gateway.handle(input, now);
    }

    fn drain(&mut self, site: usize) {
        while let Some(effect) = self.sites[site].gateway.as_mut().and_then(gateway::Gateway::poll_effect) {
            self.perform(site, effect);
        }
        if self.sites[site].stopped {
            self.sites[site].gateway = None;
            self.sites[site].kernel.lose_readers();
        }
    }

    fn perform(&mut self, site: usize, effect: Effect) {
        match effect {
            Effect::SendIke { message, ifindex } => self.send_ike(site, &message, ifindex),
            Effect::Work(id, work) => {
                self.sites[site].works += 1;
                let at = self.now + Duration::from_micros(pick(&mut self.rng, WORK));
                self.begin(at, site, Begun::Work(id, work));
            }
            Effect::Resolve { tunnel, name } => {
                let at = self.now + Duration::from_micros(pick(&mut self.rng, LOOK_UP));
                self.begin(at, site, Begun::Resolve { tunnel, name });
            }
            Effect::Publish(table) => {
                check::table(&table, self.sites[site].gateway.as_ref());
                self.sites[site].datapath.table = table;
            }
            Effect::Device(tunnel, change) => self.host(site, Command::Device(tunnel, change)),
            Effect::Routes(changes) => {
                self.sites[site].batches += 1;
                self.host(site, Command::Routes(changes));
            }
            Effect::Rules(rules) => self.host(site, Command::Rules(rules)),
            // Every site of the simulation has one uplink.
            Effect::Sources(sources) => assert!(sources.is_empty(), "{sources:?}"),
            Effect::ReadKernel => self.host(site, Command::Read),
            Effect::Mark(mark) => self.sites[site].mark = mark,
            Effect::Logging(log) => self.sites[site].log = Some(log),
            Effect::Stream(op) => self.stream(site, op),
            Effect::Answer(id, answer) => {
                self.sites[site].answers.insert(id, answer);
            }
            Effect::Capture { .. } => {}
            Effect::ReadConfig(id) => self.sites[site].inbox.push_back(Heard::Reload(id)),
            Effect::Log(line) => {
                let tunnel = line.tunnel.as_deref().unwrap_or_default().to_owned();
                let loud = if line.level == Level::Warn { "WARN " } else { "" };
                let spi = line.spi.map(|spi| format!(" {spi}")).unwrap_or_default();
                self.note(site, &format!("{loud}{tunnel}{spi}: {}", line.text));
            }
            Effect::Stopped => {
                self.note(site, "stopped");
                self.finish_host(site);
                self.sites[site].stopped = true;
            }
        }
    }

    fn send_ike(&mut self, site: usize, transmit: &Transmit, ifindex: u32) {
        let path = transmit.path;
        let mut bytes = Vec::new();
        if path.local.port() == MARKED_PORT && !transmit.keepalive {
            bytes.extend([0; 4]);
        }
        bytes.extend(&*transmit.bytes);
        let datagram = Datagram {
            from: path.local,
            to: path.remote,
            clothes: Clothes::Udp,
            dont_fragment: false,
            tos: 0,
            bytes,
        };
        self.send(site, datagram, ifindex);
    }

    /// Gives the host thread something to do: one thing after the other.
    fn host(&mut self, site: usize, command: Command) {
        let time = Duration::from_micros(pick(&mut self.rng, HOST));
        let here = &mut self.sites[site];
        here.host_queue += 1;
        let at = here.host_free.max(self.now) + time;
        here.host_free = at;
        self.begin(at, site, Begun::Host(command));
    }

    /// The host thread ends what it was given before the process goes.
    fn finish_host(&mut self, site: usize) {
        let incarnation = self.sites[site].incarnation;
        for command in self.take_host_commands(site, incarnation) {
            self.carry_out(site, command);
        }
    }

    /// Something a process began is done.
    pub(crate) fn begun(&mut self, site: usize, what: Begun) {
        let heard = match what {
            Begun::Work(id, work) => {
                self.sites[site].works -= 1;
                Heard::Work(id, work.perform())
            }
            Begun::Resolve { tunnel, name } => {
                let found = self.sites[site].names.get(&name).cloned();
                Heard::Resolved {
                    tunnel,
                    outcome: found.ok_or_else(|| "Name or service not known".to_owned()),
                }
            }
            Begun::PathMtu { remote, mtu } => Heard::PathMtu { remote, mtu },
            Begun::Host(command) => {
                self.sites[site].host_queue -= 1;
                if let Some(told) = self.carry_out(site, command) {
                    let time = Duration::from_micros(pick(&mut self.rng, HOST));
                    let at = self.now + time;
                    // Answers stay in order: the next thing begins after this one is told.
                    self.sites[site].host_free = self.sites[site].host_free.max(at);
                    self.begin(at, site, Begun::Told(told));
                }
                check::nothing_in_clear(self, site);
                return;
            }
            Begun::Told(Told::Device(tunnel, outcome)) => Heard::Device { tunnel, outcome },
            Begun::Told(Told::Kernel(view)) => Heard::Kernel(view),
            Begun::Told(Told::Rules) => Heard::Rules,
            Begun::Told(Told::Applied(applied)) => {
                self.sites[site].batches -= 1;
                self.tell(site, Heard::Applied(applied));
                check::routes_are_wished(self, site);
                return;
            }
        };
        self.tell(site, heard);
    }

    fn carry_out(&mut self, site: usize, command: Command) -> Option<Told> {
        let kernel = &mut self.sites[site].kernel;
        match command {
            Command::Device(tunnel, change) => {
                kernel.device(tunnel, change).map(|outcome| Told::Device(tunnel, outcome))
            }
            Command::Routes(changes) => {
                let applied = changes.iter().map(|change| kernel.apply(change)).collect();
                for change in &changes {
                    self.note(site, &format!("kernel: {} {:?}", change.key.prefix, change.op));
                }
                Some(Told::Applied(applied))
            }
            Command::Rules(rules) => {
                kernel.rules(rules);
                Some(Told::Rules)
            }
            Command::Read => Some(Told::Kernel(kernel.view())),
        }
    }

    /// The host announces a change somebody else made.
    pub(crate) fn news(&mut self, site: usize) {
        let at = self.now + Duration::from_micros(NEWS);
        self.sites[site].host_queue += 1;
        self.begin(at, site, Begun::Host(Command::Read));
    }

    fn stream(&mut self, site: usize, op: StreamOp) {
        let now = self.now;
        let isn = self.rng.next_u32();
        match op {
            StreamOp::Listen(listener) => self.sites[site].tcp.listen(listener),
            StreamOp::Unlisten(listener) => self.sites[site].tcp.unlisten(&listener),
            // Nothing here signs segments.
            StreamOp::Password { .. } => {}
            StreamOp::Connect { conn, target } => {
                let here = &mut self.sites[site];
                let device: Option<TunnelId> =
                    target.device.as_deref().and_then(|name| here.tunnel_named(name));
                let (SocketAddr::V4(remote), Some(IpAddr::V4(source))) = (target.remote, target.source)
                else {
                    panic!("the simulation speaks BGP over IPv4, with a source address");
                };
                here.tcp.connect(conn, device, source, remote, isn, now);
            }
            StreamOp::Write { conn, bytes } => self.sites[site].tcp.write(conn, &bytes, now),
            StreamOp::Close { conn, .. } => self.sites[site].tcp.close(conn, now),
        }
    }

    /// A TCP segment for this host.
    pub(crate) fn tcp_arrives(
        &mut self,
        site: usize,
        tunnel: Option<TunnelId>,
        ends: (SocketAddrV4, SocketAddrV4),
        segment: &super::packet::Segment,
    ) {
        let (isn, now) = (self.rng.next_u32(), self.now);
        self.sites[site].tcp.receive(tunnel, ends, segment, isn, now);
    }

    /// An address of this host's own.
    pub(crate) fn is_local(&self, site: usize, address: Ipv4Addr) -> bool {
        self.sites[site].kernel.is_local(address.into())
    }

    /// Reads what the host thread still has to do for a process, out of the queue.
    fn take_host_commands(&mut self, site: usize, incarnation: u32) -> Vec<Command> {
        let (mine, rest) = std::mem::take(self.queue()).into_iter().partition(|(_, happening)| {
            matches!(happening, Happening::At { site: at, incarnation: of, what: Begun::Host(_) }
                if *at == site && *of == incarnation)
        });
        *self.queue() = rest;
        let mine: std::collections::BTreeMap<_, Happening> = mine;
        mine.into_values()
            .filter_map(|happening| match happening {
                Happening::At { what: Begun::Host(command), .. } => Some(command),
                Happening::At { .. } | Happening::Arrive(_) | Happening::Send(_) => None,
            })
            .collect()
    }
}

fn stream(event: TcpEvent, accepted: Option<gateway::ConnId>) -> Stream<'static> {
    match event {
        TcpEvent::Connected { conn, local, remote } => Stream::Connected { conn, local, remote },
        TcpEvent::Failed { conn, error } => Stream::ConnectFailed { conn, error },
        TcpEvent::Accepted { key, tunnel } => Stream::Accepted {
            tunnel,
            conn: accepted.unwrap(),
            local: key.local.into(),
            remote: key.remote.into(),
        },
        TcpEvent::Written { conn, count } => Stream::Written { conn, count },
        TcpEvent::Closed { conn } | TcpEvent::Received { conn, .. } => Stream::Closed { conn },
    }
}
