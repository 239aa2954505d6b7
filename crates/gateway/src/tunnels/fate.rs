//! One fate: interface, CHILD SA, BGP sessions and routes of a tunnel come and go together.

use std::time::Instant;

use ::tunnel::TunnelId;
use config::Start;
use ike::Command;

use super::dial::Dial;
use crate::effect::{Device, Effect, Level, Line};
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
        self.ike.remove_connection(ike::ConnId(id.0), now);
        self.drain_ike(now);
        self.tunnel_lost(id, now);
        self.tunnels.remove(&id);
        self.forget_routes_of(id);
        self.effects.push_back(Effect::Device(id, Device::Close));
    }

    /// Notes why a tunnel is down; the last reason stands.
    pub(crate) fn set_why(&mut self, id: TunnelId, why: Why) {
        if let Some(tunnel) = self.tunnels.get_mut(&id) {
            tunnel.why = Some(why);
        }
    }

    /// A line about a tunnel.
    pub(crate) fn tell(&mut self, id: TunnelId, text: String, level: Level) {
        let tunnel = self.tunnels.get(&id).map(|tunnel| tunnel.plan.name.clone());
        self.effects.push_back(Effect::Log(Line { level, tunnel, spi: None, text }));
    }

    /// A line about an SA.
    pub(crate) fn spi(&mut self, id: TunnelId, spi: u32, text: String) {
        let tunnel = self.tunnels.get(&id).map(|tunnel| tunnel.plan.name.clone());
        self.effects.push_back(Effect::Log(Line { level: Level::Info, tunnel, spi: Some(spi), text }));
    }

    /// A line about no tunnel.
    pub(crate) fn log(&mut self, text: String) {
        self.effects.push_back(Effect::Log(Line { level: Level::Info, tunnel: None, spi: None, text }));
    }
}
