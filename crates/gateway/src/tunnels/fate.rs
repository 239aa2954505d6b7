//! One fate: interface, CHILD SA, BGP sessions and routes of a tunnel come and go together.

use std::time::Instant;

use ::tunnel::TunnelId;
use config::Start;
use ike::{Command, ConnId, IkeId, IkeStatus};

use super::dial::Dial;
use crate::effect::{Device, Effect, Level, Line, Spi};
use crate::gateway::Gateway;
use crate::why::{Code, Why};

impl Gateway {
    /// Begins as the file says.
    pub(crate) fn start(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        match tunnel.plan.start {
            Start::Initiate => self.dial(id, now),
            Start::Respond | Start::OnDemand => {}
        }
    }

    /// A CHILD SA carries traffic: BGP may begin.
    pub(crate) fn tunnel_carries(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.why = None;
        }
        for neighbor in self.neighbors_of(id) {
            self.session_transport_up(neighbor, now);
        }
    }

    /// The peer's gateway came again and remembers nothing. What its sessions said through the old SAs is as dead, unless
    /// they show that they outlived it.
    pub(crate) fn peer_restarted(&mut self, id: TunnelId, now: Instant) {
        if !self.tunnels.get(&id).is_some_and(crate::tunnels::Tunnel::carries) {
            return;
        }
        for neighbor in self.neighbors_of(id) {
            self.speaker.peer_restarted(neighbor, now);
        }
    }

    /// None does any more: its sessions and all they taught end in this very turn.
    pub(crate) fn tunnel_lost(&mut self, id: TunnelId, now: Instant) {
        for neighbor in self.neighbors_of(id) {
            self.session_transport_down(neighbor, now);
        }
        self.table_dirty = true;
    }

    /// `causeway up`.
    pub(crate) fn up(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        if tunnel.dial == Dial::Stopped {
            tunnel.dial = Dial::Waiting;
            self.set_connection(id, now);
        }
        if let Some(tunnel) = self.tunnels.get_mut(&id)
            && let Dial::BackOff { .. } = tunnel.dial
        {
            tunnel.dial = Dial::Waiting;
        }
        self.retry_device(id);
        self.dial(id, now);
    }

    /// `causeway down`: ended, and the peer refused, until `up`.
    pub(crate) fn down(&mut self, id: TunnelId, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        tunnel.dial = Dial::Stopped;
        let conn = tunnel.conn();
        self.ike.handle_command(Command::Terminate { conn }, now);
        self.ike.remove_connection(conn, now);
        self.set_why(id, Why::local(Code::Stopped, "stopped by command", now));
    }

    /// Takes a tunnel out altogether.
    pub(crate) fn remove_tunnel(&mut self, id: TunnelId, now: Instant) {
        self.ike.remove_connection(ConnId(id.0), now);
        self.drain_ike(now);
        self.tunnel_lost(id, now);
        let gone = self.tunnels.remove(&id).and_then(|tunnel| tunnel.device.ifindex());
        self.know_device(gone, None);
        self.forget_routes_of(id);
        self.effects.push_back(Effect::Device(id, Device::Close));
    }

    /// Notes why a tunnel is down; the last reason stands.
    pub(crate) fn set_why(&mut self, id: TunnelId, why: Why) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.why = Some(why);
        }
    }

    /// A line about a tunnel, with the SPIs of its newest IKE SA if it has one.
    pub(crate) fn tell(&mut self, id: TunnelId, text: String, level: Level) {
        let newest = self.ike.ike_status(ConnId(id.0)).pop().map(|sa| spis_of(&sa));
        self.tell_of(id, newest, text, level);
    }

    /// A line about an IKE SA that is, or lately was, established.
    pub(crate) fn tell_ike(&mut self, id: TunnelId, ike: IkeId, text: String) {
        let spis = self.tunnels.get(&id).and_then(|tunnel| tunnel.ike_spis.get(&ike).copied());
        self.tell_of(id, spis, text, Level::Info);
    }

    /// A line about a CHILD SA.
    pub(crate) fn spi(&mut self, id: TunnelId, spi: u32, text: String) {
        self.tell_of(id, Some(Spi::Esp(spi)), text, Level::Info);
    }

    fn tell_of(&mut self, id: TunnelId, spi: Option<Spi>, text: String, level: Level) {
        let tunnel = self.tunnels.get(&id).map(|tunnel| tunnel.plan.name.clone());
        self.effects.push_back(Effect::Log(Line { level, tunnel, spi, text }));
    }

    /// Remembers an IKE SA's SPIs: the line about its end has them too.
    pub(crate) fn note_spis(&mut self, id: TunnelId, ike: IkeId) {
        let all = self.ike.ike_status(ConnId(id.0));
        if let Some(sa) = all.iter().find(|sa| sa.ike == ike)
            && let Some(tunnel) = self.tunnels.get_mut(&id)
        {
            tunnel.ike_spis.insert(ike, spis_of(sa));
        }
    }

    /// A line about no tunnel.
    pub(crate) fn log(&mut self, text: String) {
        self.effects.push_back(Effect::Log(Line { level: Level::Info, tunnel: None, spi: None, text }));
    }
}

fn spis_of(sa: &IkeStatus) -> Spi {
    Spi::Ike { initiator: sa.spi_i, responder: sa.spi_r }
}
