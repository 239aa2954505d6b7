//! BGP neighbours: the speaker's sessions tied to tunnels and sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ::tunnel::TunnelId;
use bgp::{ConnectError, Effect as BgpEffect, Event, NeighborId, ResetCause, State};
use bgp_rib::Own;
use bgp_wire::{Families, Notification, NotificationCode};
use inet::Prefix;

use crate::effect::{Effect, Level, Line, Listener, StreamOp, Target};
use crate::gateway::Gateway;
use crate::input::Stream;
use crate::why::{Code, Reached, Why};

/// IP and TCP headers of a BGP segment: what the MSS is less than the interface's MTU.
const TCP_OVERHEAD: u32 = 60;

/// One `[bgp.neighbor.X]`.
pub(crate) struct Neighbor {
    pub(crate) plan: config::Neighbor,
    pub(crate) tunnel: Option<TunnelId>,
    /// Why its session is down; kept until it is up.
    pub(crate) why: Option<Why>,
    /// Of which families it has told all it knows, since we started.
    pub(crate) spoken: Families,
}

impl Neighbor {
    pub(crate) fn address(&self) -> IpAddr {
        self.plan.session.address
    }

    fn reached(&self) -> Reached {
        Reached { in_tunnel: self.tunnel.is_some(), password: self.plan.password.is_some() }
    }
}

impl Gateway {
    pub(crate) fn add_neighbor(&mut self, plan: config::Neighbor, now: Instant) -> NeighborId {
        let id = NeighborId(self.next_neighbor);
        self.next_neighbor += 1;
        let tunnel = plan.session.tunnel.as_ref().and_then(|name| self.tunnel_named(name));
        self.speaker.upsert_neighbor(id, plan.session.clone(), now);
        self.neighbors.insert(id, Neighbor { plan, tunnel, why: None, spoken: Families::NONE });
        match tunnel {
            // Its tunnel may be up already when the file was changed under it.
            Some(tunnel) => {
                self.want_static_routes(tunnel);
                if self.tunnels.get(&tunnel).is_some_and(crate::tunnels::Tunnel::carries) {
                    self.session_transport_up(id, now);
                }
            }
            None => {
                self.tell_next_hops(now);
                self.speaker.transport_up(id, now);
            }
        }
        self.want_listeners();
        id
    }

    pub(crate) fn remove_neighbor(&mut self, id: NeighborId, now: Instant) {
        self.speaker.remove_neighbor(id, now);
        self.drain_speaker(now);
        if let Some(neighbor) = self.neighbors.remove(id) {
            // Without it the tunnel's fate may be another.
            neighbor.tunnel.into_iter().for_each(|tunnel| self.tunnels.touch(tunnel));
            let name = neighbor.plan.session.name.to_string();
            // One that only begins anew keeps its losses until it has spoken again.
            if !self.neighbor_plans().iter().any(|plan| *plan.session.name == *name) {
                self.forget_lost(&name, |_| true);
            }
            // Others may have the same address behind other tunnels.
            self.want_neighbor_route(neighbor.address());
        }
        self.want_listeners();
    }

    pub(crate) fn session_transport_up(&mut self, id: NeighborId, now: Instant) {
        self.choose_neighbor_route(id);
        self.speaker.transport_up(id, now);
    }

    pub(crate) fn session_transport_down(&mut self, id: NeighborId, now: Instant) {
        self.choose_neighbor_route(id);
        self.speaker.transport_down(id, "its tunnel is down", now);
    }

    pub(crate) fn neighbors_of(&self, tunnel: TunnelId) -> Vec<NeighborId> {
        self.neighbors.of(tunnel).map(|(id, _)| id).collect()
    }

    /// By name, or by address where only one neighbour has it.
    pub(crate) fn neighbor_named(&self, text: &str) -> Option<NeighborId> {
        let by_name = self.neighbors.iter().find(|(_, n)| &*n.plan.session.name == text).map(|(id, _)| *id);
        by_name.or_else(|| {
            let address: IpAddr = text.parse().ok()?;
            let mut all = self.neighbors.at(address).map(|(id, _)| id);
            let first = all.next();
            first.filter(|_| all.next().is_none())
        })
    }

    pub(crate) fn neighbor_plans(&self) -> Vec<config::Neighbor> {
        self.plan.bgp.iter().flat_map(|bgp| bgp.neighbors.values().cloned()).collect()
    }

    /// A connection's input for the speaker.
    pub(crate) fn stream(&mut self, stream: Stream<'_>, now: Instant) {
        match stream {
            Stream::Connected { conn, local, remote } => {
                self.speaker.handle_connected(conn, local, remote, now)
            }
            Stream::ConnectFailed { conn, error } => self.speaker.handle_connect_failed(conn, error, now),
            Stream::Accepted { tunnel, conn, local, remote } => {
                let known =
                    self.neighbors.at(remote.ip()).find(|(_, n)| n.tunnel == tunnel).map(|(id, _)| id);
                match known {
                    Some(id) => self.speaker.handle_accepted(id, conn, local, remote, now),
                    None => {
                        if let Some(text) = self.strangers.note(remote.ip(), now) {
                            self.log(text);
                        }
                        let close = StreamOp::Close { conn, drain: false };
                        self.effects.push_back(Effect::Stream(close));
                    }
                }
            }
            Stream::Received { conn, bytes } => self.speaker.handle_bytes(conn, bytes, now),
            Stream::Written { conn, count } => self.speaker.handle_written(conn, count, now),
            Stream::Closed { conn } => self.speaker.handle_closed(conn, now),
        }
    }

    /// Carries out what the speaker wants; true when there was something.
    pub(crate) fn drain_speaker(&mut self, now: Instant) -> bool {
        let mut said = false;
        while let Some(delta) = self.speaker.poll_route() {
            said = true;
            self.best_route(delta);
        }
        while let Some(event) = self.speaker.poll_event() {
            said = true;
            self.bgp_event(event, now);
        }
        while let Some(effect) = self.speaker.poll_effect() {
            said = true;
            self.bgp_effect(effect, now);
        }
        said
    }

    fn bgp_effect(&mut self, effect: BgpEffect, now: Instant) {
        let op = match effect {
            BgpEffect::Connect { conn, neighbor } => match self.target(neighbor) {
                Some(target) => StreamOp::Connect { conn, target },
                None => {
                    self.speaker.handle_connect_failed(conn, ConnectError::Other, now);
                    return;
                }
            },
            BgpEffect::Write { conn, bytes } => StreamOp::Write { conn, bytes },
            BgpEffect::Close { conn, drain } => StreamOp::Close { conn, drain },
        };
        self.effects.push_back(Effect::Stream(op));
    }

    pub(crate) fn target(&self, id: NeighborId) -> Option<Target> {
        let neighbor = self.neighbors.get(&id)?;
        let config = &neighbor.plan.session;
        let tunnel = neighbor.tunnel.and_then(|id| self.tunnels.get(&id));
        Some(Target {
            remote: SocketAddr::new(config.address, config.port),
            source: config.source,
            device: tunnel.map(|tunnel| tunnel.plan.interface.name.clone()),
            ttl: config.multihop,
            // Full segments must fit the tunnel whatever the kernel believes of the path.
            mss: tunnel.and_then(|tunnel| u16::try_from(tunnel.mtu.saturating_sub(TCP_OVERHEAD)).ok()),
            password: neighbor.plan.password.clone(),
        })
    }

    fn bgp_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::State { neighbor, from, to } => {
                self.neighbor_log(neighbor, Level::Info, format!("BGP {from} -> {to}"));
                if to == State::Established
                    && let Some(n) = self.neighbors.get_mut(neighbor)
                {
                    n.why = None;
                }
            }
            Event::Reset { neighbor, cause, lost, .. } => {
                self.neighbor_log(neighbor, Level::Info, format!("BGP session: {cause}"));
                if let Some(name) = self.neighbors.get(&neighbor).map(|n| n.plan.session.name.to_string()) {
                    self.session_lost(&name, lost);
                }
                if let Some(n) = self.neighbors.get_mut(neighbor)
                    && let Some(why) = why_of(&cause, n.reached(), now)
                {
                    n.why = Some(why);
                }
            }
            Event::Lost { neighbor, lost } => {
                let text = format!("{} routes kept over a restart of the peer are given up", lost.len());
                self.neighbor_log(neighbor, Level::Info, text);
                if let Some(name) = self.neighbors.get(&neighbor).map(|n| n.plan.session.name.to_string()) {
                    self.session_lost(&name, lost);
                }
            }
            Event::EndOfRib { neighbor, family } => {
                self.converged(neighbor, family);
            }
            Event::Alarm { neighbor, alarm } => {
                self.neighbor_log(neighbor, Level::Warn, alarm.to_string());
            }
        }
    }

    fn neighbor_log(&mut self, id: NeighborId, level: Level, text: String) {
        let Some(neighbor) = self.neighbors.get(&id) else { return };
        let text = format!("neighbor {} {}: {text}", neighbor.plan.session.name, neighbor.address());
        let tunnel = neighbor.plan.session.tunnel.clone();
        self.effects.push_back(Effect::Log(Line { level, tunnel, spi: None, text }));
    }

    /// Listens where neighbours may come from, and nowhere else: through a tunnel's own device on its source
    /// address, or on the source of a neighbour without tunnel.
    pub(crate) fn want_listeners(&mut self) {
        let mut places: BTreeMap<Place, u8> = BTreeMap::new();
        for neighbor in self.neighbors.values() {
            let Some(place) = self.place_of(neighbor) else { continue };
            let ttl = places.entry(place).or_default();
            *ttl = (*ttl).max(neighbor.plan.session.multihop);
        }
        let wanted: BTreeSet<Listener> =
            places.iter().map(|((device, address), ttl)| listener(device, *address, *ttl)).collect();
        for gone in self.listeners.difference(&wanted) {
            self.effects.push_back(Effect::Stream(StreamOp::Unlisten(gone.clone())));
        }
        for new in wanted.difference(&self.listeners) {
            self.effects.push_back(Effect::Stream(StreamOp::Listen(new.clone())));
        }
        self.listeners = wanted;
        self.want_passwords(&places);
    }

    /// Where a neighbour may come from; `None` while its tunnel has no device.
    fn place_of(&self, neighbor: &Neighbor) -> Option<Place> {
        let device = match neighbor.tunnel {
            Some(id) => {
                let tunnel = self.tunnels.get(&id).filter(|tunnel| tunnel.device.ifindex().is_some())?;
                Some((id, tunnel.plan.interface.name.clone()))
            }
            None => None,
        };
        Some((device, neighbor.plan.session.source.unwrap_or(unspecified(neighbor.address()))))
    }

    /// The TCP-MD5 keys the listeners shall demand.
    fn want_passwords(&mut self, places: &BTreeMap<Place, u8>) {
        let mut wanted = BTreeMap::new();
        for neighbor in self.neighbors.values() {
            let (Some(key), Some(place)) = (&neighbor.plan.password, self.place_of(neighbor)) else {
                continue;
            };
            let ttl = places.get(&place).copied().unwrap_or_default();
            wanted.insert((listener(&place.0, place.1, ttl), neighbor.address()), Arc::clone(key));
        }
        for ((listener, peer), _) in self.passwords.iter().filter(|(at, _)| !wanted.contains_key(at)) {
            let op = StreamOp::Password { listener: listener.clone(), peer: *peer, key: None };
            self.effects.push_back(Effect::Stream(op));
        }
        for ((listener, peer), key) in wanted.iter().filter(|(at, key)| self.passwords.get(at) != Some(key)) {
            let op =
                StreamOp::Password { listener: listener.clone(), peer: *peer, key: Some(Arc::clone(key)) };
            self.effects.push_back(Effect::Stream(op));
        }
        self.passwords = wanted;
    }

    /// What must never be learned: our own prefixes, outer addresses, session addresses.
    pub(crate) fn set_guard(&mut self, now: Instant) {
        let mut guard = self.plan.guard();
        for prefix in self.originated() {
            guard.add_own(prefix, Own::Originated);
        }
        for prefix in self.underlay.connected(&self.tunnel_ifindexes()) {
            guard.add_own(prefix, Own::Connected);
        }
        self.guarded = self.outer_addresses();
        self.guard_stale = false;
        self.guarded.iter().for_each(|address| guard.add_outer(*address));
        self.speaker.set_guard(guard, now);
    }

    /// What we originate, by the file and by what it says to redistribute.
    pub(crate) fn set_origins(&mut self, now: Instant) {
        let origins = self.originated();
        self.speaker.originate(&origins, now);
    }

    fn originated(&self) -> BTreeSet<Prefix> {
        let tunnels = self.tunnel_ifindexes();
        let Some(bgp) = &self.plan.bgp else { return BTreeSet::new() };
        let mut all: BTreeSet<Prefix> = bgp.networks.iter().copied().collect();
        if bgp.redistribute.connected {
            all.extend(self.underlay.connected(&tunnels).filter(|prefix| !is_link_local(prefix)));
        }
        if bgp.redistribute.static_routes {
            all.extend(self.tunnels.values().flat_map(|tunnel| tunnel.plan.interface.routes.iter().copied()));
        }
        if bgp.redistribute.kernel {
            let learned = |route: &&crate::underlay::UnderlayRoute| {
                route.gateway.is_some() && !tunnels.contains(&route.ifindex)
            };
            all.extend(self.underlay.routes.iter().filter(learned).map(|route| route.prefix));
        }
        all
    }

    /// Every session ends with a word to its neighbour.
    pub(crate) fn close_sessions(&mut self, now: Instant) {
        self.speaker.shutdown_all("causeway is stopping", now);
        self.drain_speaker(now);
    }
}

/// Device and address of a listener.
type Place = (Option<(TunnelId, String)>, IpAddr);

fn listener(device: &Option<(TunnelId, String)>, address: IpAddr, ttl: u8) -> Listener {
    Listener { device: device.clone(), address, ttl }
}

fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn is_link_local(prefix: &Prefix) -> bool {
    match prefix.addr() {
        IpAddr::V4(address) => address.is_link_local() || address.is_loopback(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address.is_loopback(),
    }
}

fn notification_code(notification: &Notification) -> Code {
    if notification.code == NotificationCode::MAX_PREFIXES { Code::MaxPrefix } else { Code::Notification }
}

/// `None` for an end that another layer explains better.
fn why_of(cause: &ResetCause, reached: Reached, now: Instant) -> Option<Why> {
    let text = cause.to_string();
    Some(match cause {
        ResetCause::Sent(notification) => Why::local(notification_code(notification), text, now),
        ResetCause::Received(notification) => Why::peer(notification_code(notification), text, now),
        ResetCause::Closed => Why::peer(Code::BgpClosed, text, now),
        ResetCause::ConnectFailed(ConnectError::Refused) => Why::peer(Code::TcpRefused, text, now),
        ResetCause::ConnectFailed(ConnectError::TimedOut) => {
            Why { hint: reached.silent_hint(), ..Why::local(Code::TcpSilent, text, now) }
        }
        ResetCause::ConnectFailed(ConnectError::Unreachable | ConnectError::Other) => {
            Why::local(Code::TcpSilent, text, now)
        }
        ResetCause::TransportDown(_) | ResetCause::Replaced | ResetCause::PeerRestarted => return None,
    })
}
