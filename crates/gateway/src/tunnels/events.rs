//! What the IKE engine and the datapath say, carried into the tunnels.

use std::time::Instant;

use ::tunnel::{Report, TunnelId};
use config::Start;
use esp::Tick;
use ike::{ChildUp, ConnId, DownReason, Event, Failure, Note};

use super::Tunnel;
use super::dial::Dial;
use crate::effect::Level;
use crate::gateway::Gateway;
use crate::why::{Code, Why};

impl Gateway {
    /// One event of the IKE engine.
    pub(crate) fn ike_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::IkeUp(up) => {
                let id = TunnelId(up.conn.0);
                let text = format!("IKE is up with {} at {}", up.remote_id, up.path.remote);
                self.note_spis(id, up.ike);
                self.tell_ike(id, up.ike, text);
                self.meet(id, Some(up.path.local.ip()), Some(up.path.remote.ip()));
            }
            Event::ChildUp(up) => self.child_up(&up, now),
            Event::ChildDown { conn, child, spi_in, reason, linger } => {
                let id = TunnelId(conn.0);
                self.spi(id, spi_in, format!("CHILD SA down: {reason}"));
                if let Some(tunnel) = self.tunnels.get_mut(&id) {
                    tunnel.children.down(child, linger, now);
                    self.table_dirty = true;
                    // What is sent on instead may leave another MTU.
                    self.size_interface(id);
                }
                self.child_lost(id, reason, now);
            }
            Event::IkeRekeyed { conn, old, new, .. } => {
                let id = TunnelId(conn.0);
                self.note_spis(id, new);
                self.tell_ike(id, new, "IKE SA rekeyed".to_owned());
                if let Some(tunnel) = self.tunnels.get_mut(&id) {
                    tunnel.children.inherit(old, new);
                }
            }
            Event::IkeDown { conn, ike, reason, replaced } => {
                let id = TunnelId(conn.0);
                self.tell_ike(id, ike, format!("IKE SA down: {reason}"));
                if let Some(tunnel) = self.tunnels.get_mut(&id) {
                    tunnel.ike_spis.remove(&ike);
                }
                self.ike_down(id, reason, replaced, now);
            }
            Event::Failed { conn, failure } => self.failed(conn, &failure, now),
            Event::PathChanged { conn, ike, path } => {
                let id = TunnelId(conn.0);
                self.tell_ike(id, ike, format!("the peer is at {} now", path.remote));
                if let Some(tunnel) = self.tunnels.get_mut(&id) {
                    tunnel.children.moved(ike, path);
                    self.table_dirty = true;
                }
                self.meet(id, None, Some(path.remote.ip()));
            }
            Event::Note(note) => self.note(&note, now),
        }
    }

    fn child_up(&mut self, up: &ChildUp, now: Instant) {
        let id = TunnelId(up.conn.0);
        let iv_seed = self.rng.octets();
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        if let Err(error) = tunnel.children.up(up, iv_seed, now) {
            let text = format!("CHILD SA cannot be used: {error}");
            self.spi(id, up.spi_in, text.clone());
            self.ike.handle_command(ike::Command::TerminateChild { child: up.child }, now);
            if up.resource.is_any() {
                self.dial_failed(id, Why::local(Code::PeerMisbehaved, text, now), now);
            }
            return;
        }
        self.table_dirty = true;
        let form = if up.encap { "in UDP" } else { "as protocol 50" };
        let how = if up.replaces.is_some() { "rekeyed" } else { "up" };
        let which =
            if up.resource.is_any() { String::new() } else { format!(" of resource {}", up.resource.0) };
        let text = format!("CHILD SA{which} {how}: {} {form}, out {:08x}", up.suite, up.spi_out);
        if up.resource.is_any() {
            tunnel.dial = Dial::Up;
        }
        self.spi(id, up.spi_in, text);
        if up.resource.is_any() {
            self.meet(id, Some(up.path.local.ip()), Some(up.path.remote.ip()));
        }
        self.size_interface(id);
        if !up.resource.is_any() {
            // The tunnel is up by the one for all, and this one helps.
            return self.publish();
        }
        // Keys are in the table before the peer hears of it and before BGP sends a packet.
        self.publish();
        self.tunnel_carries(id, now);
        if let Some(narrow) = &up.too_narrow {
            let why = Why::local(Code::SelectorsTooNarrow, narrow.to_string(), now);
            self.set_why(id, why);
        }
    }

    /// A CHILD SA is gone; if it was the last, so is the tunnel, though its IKE SA may live and make another.
    fn child_lost(&mut self, id: TunnelId, reason: DownReason, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        if tunnel.carries() {
            return;
        }
        let was_up = tunnel.dial == Dial::Up;
        let remake = self.tunnels.get_mut(&id).is_some_and(|tunnel| std::mem::take(&mut tunnel.remake));
        self.tunnel_lost(id, now);
        if was_up {
            self.redial(id, Why::of_end(reason, now), now);
        }
        if was_up && remake {
            self.dial_anew(id, now);
        }
    }

    fn ike_down(&mut self, id: TunnelId, reason: DownReason, replaced: bool, now: Instant) {
        if reason == DownReason::PeerRestarted {
            self.peer_restarted(id, now);
        }
        if replaced {
            return;
        }
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        if !tunnel.carries() {
            self.tunnel_lost(id, now);
        }
        let why = Why::of_end(reason, now);
        match self.tunnels.get(&id).map(|tunnel| tunnel.dial) {
            Some(Dial::Up) => self.redial(id, why, now),
            // What was dialled for was to come of this IKE SA, as a new CHILD SA, and comes no more.
            Some(Dial::Dialing { .. }) if !self.ike_goes_on(id) => self.dial_failed(id, why, now),
            _ => {}
        }
    }

    fn failed(&mut self, conn: ConnId, failure: &Failure, now: Instant) {
        let id = TunnelId(conn.0);
        self.tell(id, failure.to_string(), Level::Warn);
        let why = Why::of_failure(failure, now);
        if failure.is_advisory() {
            self.set_why(id, why);
        } else {
            self.dial_failed(id, why, now);
        }
    }

    fn note(&mut self, note: &Note, now: Instant) {
        match note {
            Note::NoAnswer { conn, remote, sent } => {
                let id = TunnelId(conn.0);
                let text = format!("{remote} has not answered {sent} messages");
                self.tell(id, text.clone(), Level::Info);
                // What was stopped is down because of that, whatever becomes of its DELETE.
                let waits = |tunnel: &Tunnel| !tunnel.carries() && tunnel.dial != Dial::Stopped;
                if self.tunnels.get(&id).is_some_and(waits) {
                    self.set_why(id, Why::local(Code::PeerSilent, text, now));
                }
            }
            Note::RekeyWithoutPfs { conn } => {
                let text = "the peer rekeyed without a key exchange of its own (no PFS); accepted, as the profile says";
                self.tell(TunnelId(conn.0), text.to_owned(), Level::Info);
            }
            Note::ConfigurationPushed { conn, attributes } => {
                let text =
                    format!("the peer pushed {attributes} configuration attributes; answered, not used");
                self.tell(TunnelId(conn.0), text, Level::Info);
            }
            Note::UnknownNotify { conn, kind, .. } => {
                self.tell(
                    TunnelId(conn.0),
                    format!("the peer sent notify {kind}, unknown here"),
                    Level::Debug,
                );
            }
            Note::UnknownPeer { remote, local } => {
                self.log(format!("{remote} asked {local} for a tunnel; no section admits it"))
            }
            Note::Refused { remote, claimed, failure } => {
                let who = claimed.as_ref().map_or_else(String::new, |id| format!(" as {id}"));
                self.log(format!("{remote}{who} was refused: {failure}"));
            }
            Note::EnoughResources { conn, have } => {
                let text = format!("the peer wants no more than {have} CHILD SAs with the same selectors");
                self.tell(TunnelId(conn.0), text, Level::Info);
            }
            Note::HalfOpenFull => {
                self.log("half-open IKE SAs reached their bound; newcomers are refused".to_owned())
            }
            Note::CookiesOn => self.log("many half-open IKE SAs: newcomers must return a cookie".to_owned()),
        }
    }

    /// Something the datapath saw.
    pub(crate) fn report(&mut self, report: Report, now: Instant) {
        match report {
            Report::Ike { local, remote, ifindex, bytes } => {
                let path = ike::Path { local, remote };
                self.arrivals.note(path, ifindex);
                self.ike.handle_datagram(path, &bytes, now);
            }
            Report::OnDemand { tunnel } => {
                let waits = |t: &Tunnel| t.plan.start == Start::OnDemand && t.dial == Dial::Waiting;
                if self.tunnels.get(&tunnel).is_some_and(waits) {
                    self.dial(tunnel, now);
                }
            }
            Report::FirstPacket { tunnel, spi } => {
                if let Some(row) = self.tunnels.get_mut(&tunnel) {
                    let moved = row.children.first_packet(spi);
                    self.table_dirty |= moved;
                    if moved {
                        // Another suite or form of ESP may leave another MTU.
                        self.size_interface(tunnel);
                    }
                }
            }
            Report::PathMoved { spi, path, .. } => {
                if let ::tunnel::OuterPath::Udp { remote, .. } = path {
                    self.ike.handle_datapath(ike::Report::PathMoved { spi_in: spi, remote }, now);
                }
            }
            Report::SoftLimit { tunnel, spi, outbound, .. } => {
                if let Some(spi_in) = self.inbound_of(tunnel, spi, outbound) {
                    self.ike.handle_datapath(ike::Report::SoftLimit { spi_in }, now);
                }
            }
            Report::Exhausted { tunnel, spi, outbound } => {
                if let Some(spi_in) = self.inbound_of(tunnel, spi, outbound) {
                    self.ike.handle_datapath(ike::Report::HardLimit { spi_in }, now);
                }
            }
            Report::UnknownSpi { spi, path } => {
                self.log(format!("ESP from {} with the unknown SPI {spi:08x}", path.remote()));
            }
        }
    }

    fn inbound_of(&self, tunnel: TunnelId, spi: u32, outbound: bool) -> Option<u32> {
        self.tunnels.get(&tunnel)?.children.by_spi(spi, outbound).map(|child| child.inbound.spi())
    }

    /// Tells the IKE engine which SAs received since it was last told: a peer that sends is alive.
    pub(crate) fn tell_liveness(&mut self, now: Instant) {
        let mut heard = Vec::new();
        for tunnel in self.tunnels.untouched_mut() {
            for child in tunnel.children.iter_mut() {
                let packets = child.inbound.usage().packets;
                if packets != child.seen {
                    child.seen = packets;
                    heard.push(child.inbound.spi());
                }
            }
        }
        for spi_in in heard {
            self.ike.handle_datapath(ike::Report::Inbound { spi_in }, now);
        }
    }

    /// Coarse time as the datapath counts it.
    pub(crate) fn tick(&self, now: Instant) -> Tick {
        Tick(u64::try_from(now.saturating_duration_since(self.started).as_millis()).unwrap_or(u64::MAX))
    }
}
