//! Requests of the control socket: those that change something here, those that only look in `views`.

use std::time::Instant;

use ::tunnel::TunnelId;
use bgp::{Clear, NeighborId};
use control::{Answer, BgpClear, Request};
use ike::{Command, ConnId};

use crate::effect::Effect;
use crate::gateway::Gateway;
use crate::input::RequestId;

type Outcome = Result<Vec<String>, String>;

impl Gateway {
    /// Answers a request, at once or, for a reload and a capture, by asking the shell.
    pub(crate) fn request(&mut self, id: RequestId, what: Request, now: Instant) {
        let outcome = match &what {
            Request::Up { tunnel } => self.on_tunnel(tunnel, |g, id| g.up(id, now), "starting"),
            Request::Down { tunnel } => self.on_tunnel(tunnel, |g, id| g.down(id, now), "stopped"),
            Request::Rekey { tunnel, ike, child } => self.rekey(tunnel, *ike, *child, now),
            Request::ClearIke { tunnel } => self.clear_ike(tunnel.as_deref(), now),
            Request::ClearIpsec { tunnel } => self.clear_ipsec(tunnel.as_deref(), now),
            Request::ClearBgp { neighbor, how } => self.clear_bgp(neighbor.as_deref(), *how, now),
            Request::Reload => {
                self.effects.push_back(Effect::ReadConfig(Some(id)));
                return;
            }
            Request::Capture { tunnel } => match self.find_tunnel(tunnel) {
                Ok(tunnel) => {
                    let interface = self.interface_name(tunnel).to_owned();
                    self.effects.push_back(Effect::Capture { request: id, tunnel, interface });
                    return;
                }
                Err(error) => Err(error),
            },
            _ => {
                let answer = self.view(&what, now).unwrap_or_else(Answer::Refused);
                self.effects.push_back(Effect::Answer(id, answer));
                return;
            }
        };
        let answer = outcome.map_or_else(Answer::Refused, Answer::Done);
        self.effects.push_back(Effect::Answer(id, answer));
    }

    pub(crate) fn find_tunnel(&self, name: &str) -> Result<TunnelId, String> {
        self.tunnel_named(name).ok_or_else(|| {
            let names: Vec<_> = self.tunnels.values().map(|tunnel| tunnel.plan.name.to_string()).collect();
            format!("no tunnel is called '{name}'; there are: {}", names.join(", "))
        })
    }

    pub(crate) fn find_neighbor(&self, name: &str) -> Result<NeighborId, String> {
        self.neighbor_named(name).ok_or_else(|| {
            let names: Vec<_> = self.neighbors.values().map(|n| n.plan.session.name.to_string()).collect();
            format!(
                "no one neighbour is called '{name}' or has that address; there are: {}",
                names.join(", ")
            )
        })
    }

    fn on_tunnel(&mut self, name: &str, act: impl FnOnce(&mut Self, TunnelId), word: &str) -> Outcome {
        let id = self.find_tunnel(name)?;
        act(self, id);
        Ok(vec![format!("{name}: {word}")])
    }

    fn rekey(&mut self, name: &str, ike: bool, child: bool, now: Instant) -> Outcome {
        let id = self.find_tunnel(name)?;
        if !self.tunnels.get(&id).is_some_and(crate::tunnels::Tunnel::carries) {
            return Err(format!("{name} is not up"));
        }
        let conn = ConnId(id.0);
        let mut lines = Vec::new();
        if child {
            self.ike.handle_command(Command::RekeyChild { conn }, now);
            lines.push(format!("{name}: rekeying the CHILD SA"));
        }
        if ike {
            self.ike.handle_command(Command::RekeyIke { conn }, now);
            lines.push(format!("{name}: rekeying the IKE SA"));
        }
        Ok(lines)
    }

    fn clear_ike(&mut self, tunnel: Option<&str>, now: Instant) -> Outcome {
        let ids = self.named_or_all(tunnel)?;
        for id in &ids {
            self.ike.handle_command(Command::Terminate { conn: ConnId(id.0) }, now);
        }
        Ok(vec![format!("IKE SAs of {} tunnels deleted", ids.len())])
    }

    fn clear_ipsec(&mut self, tunnel: Option<&str>, now: Instant) -> Outcome {
        let ids = self.named_or_all(tunnel)?;
        let mut count = 0;
        for id in &ids {
            if let Some(tunnel) = self.tunnels.get_mut(id) {
                tunnel.remake = tunnel.carries();
            }
            for child in self.ike.child_status(ConnId(id.0)) {
                self.ike.handle_command(Command::TerminateChild { child: child.child }, now);
                count += 1;
            }
        }
        Ok(vec![format!("{count} CHILD SAs deleted")])
    }

    fn clear_bgp(&mut self, neighbor: Option<&str>, how: BgpClear, now: Instant) -> Outcome {
        let ids: Vec<NeighborId> = match neighbor {
            Some(name) => vec![self.find_neighbor(name)?],
            None => self.neighbors.keys().copied().collect(),
        };
        let (clear, word) = match how {
            BgpClear::Hard => (Clear::Hard, "reset"),
            BgpClear::SoftIn => (Clear::SoftIn, "policy applied again to what was received"),
            BgpClear::SoftOut => (Clear::SoftOut, "announced again"),
        };
        for id in &ids {
            self.speaker.clear(*id, clear, now);
        }
        Ok(vec![format!("{} neighbours: {word}", ids.len())])
    }

    fn named_or_all(&self, tunnel: Option<&str>) -> Result<Vec<TunnelId>, String> {
        tunnel.map_or_else(|| Ok(self.tunnel_ids()), |name| Ok(vec![self.find_tunnel(name)?]))
    }
}
