//! `show status`.

use std::time::Instant;

use ::bgp::State;
use control::view::{Layer, Status, TunnelStatus};
use ike::IkeState;

use super::ago;
use crate::gateway::{Gateway, speaker_config};
use crate::neighbors::Neighbor;
use crate::tunnels::Tunnel;
use crate::tunnels::dial::Dial;
use crate::why::{Code, Why};

impl Gateway {
    pub(super) fn status_view(&self, now: Instant) -> Status {
        let speaker = speaker_config(&self.plan);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: ago(self.started, now),
            router_id: speaker.router_id.to_string(),
            asn: speaker.asn,
            tunnels: self.tunnels.values().map(|tunnel| self.tunnel_view(tunnel, now)).collect(),
            neighbors: self
                .neighbors
                .iter()
                .filter(|(_, n)| n.tunnel.is_none())
                .map(|(id, n)| self.session_layer(*id, n, now))
                .collect(),
            reload_error: self.reload_error.clone(),
        }
    }

    fn tunnel_view(&self, tunnel: &Tunnel, now: Instant) -> TunnelStatus {
        let sessions: Vec<_> = self.neighbors.of(tunnel.id).collect();
        let (routes_in, routes_out) = sessions.iter().fold((0, 0), |(accepted, announced), (id, _)| {
            let summary = self.summary_of(*id);
            summary.map_or((accepted, announced), |s| (accepted + s.accepted, announced + s.sent))
        });
        TunnelStatus {
            name: tunnel.plan.name.to_string(),
            state: self.state_word(tunnel).to_owned(),
            since: ago(tunnel.since, now),
            local: tunnel.local.map_or_else(|| "any".to_owned(), |a| a.to_string()),
            remote: remote_text(tunnel),
            interface: tunnel.plan.interface.name.clone(),
            ike: self.ike_layer(tunnel, now),
            child: child_layer(tunnel, now),
            bgp: sessions.iter().map(|(id, n)| self.session_layer(*id, n, now)).collect(),
            routes_in,
            routes_out,
            why: self.why_of(tunnel).map(|why| why_view(&why, now)),
        }
    }

    fn summary_of(&self, id: ::bgp::NeighborId) -> Option<::bgp::SummaryView> {
        self.speaker.summary().into_iter().find(|summary| summary.id == id)
    }

    /// Up only when IPsec and every session of it are.
    pub(crate) fn is_up(&self, tunnel: &Tunnel) -> bool {
        tunnel.carries()
            && self.neighbors.of(tunnel.id).all(|(id, _)| self.speaker.state(id) == Some(State::Established))
    }

    fn state_word(&self, tunnel: &Tunnel) -> &'static str {
        match tunnel.dial {
            Dial::Stopped => "stopped",
            _ if self.is_up(tunnel) => "up",
            Dial::Resolving { .. } | Dial::Dialing { .. } if tunnel.why.is_none() => "starting",
            _ => "down",
        }
    }

    /// The tunnel's own reason first; a session's when IPsec is up. One that is up may still have a reason: selectors
    /// that leave the session out, or a policy that lets nothing pass.
    pub(crate) fn why_of(&self, tunnel: &Tunnel) -> Option<Why> {
        let mut sessions = self.neighbors.of(tunnel.id);
        tunnel.why.clone().or_else(|| sessions.find_map(|(id, n)| n.why.clone().or_else(|| self.denied(id))))
    }

    /// A session that is up, and a policy that lets nothing pass or a limit that holds something back: asked anew each
    /// time, for both change under it.
    fn denied(&self, id: ::bgp::NeighborId) -> Option<Why> {
        let view = self.speaker.neighbor(id).filter(|view| view.summary.state == State::Established)?;
        let held: usize = view.families.iter().map(|family| family.held_back).sum();
        if let (Some(limit), true) = (view.max_prefix.1, held > 0) {
            let name = &view.summary.name;
            let text = format!("neighbor {name}: {held} prefixes held back, it takes {limit}");
            return Some(Why::local(Code::MaxPrefix, text, view.summary.since));
        }
        let (way, policy) = match (view.import_denies_all, view.export_denies_all) {
            (true, _) => ("import", &view.import),
            (false, true) => ("export", &view.export),
            (false, false) => return None,
        };
        let text = format!("neighbor {}: the {way} policy ({policy}) lets no route pass", view.summary.name);
        Some(Why::local(Code::PolicyDeniesAll, text, view.summary.since))
    }

    fn ike_layer(&self, tunnel: &Tunnel, now: Instant) -> Layer {
        let all = self.ike.ike_status(tunnel.conn());
        let best = all.iter().rev().max_by_key(|sa| sa.state == IkeState::Established);
        match best {
            Some(sa) => Layer {
                state: ike_state_name(sa.state).to_owned(),
                up: sa.state == IkeState::Established,
                since: ago(sa.since, now),
                ..Layer::default()
            },
            None => Layer { state: "none".to_owned(), ..Layer::default() },
        }
    }

    fn session_layer(&self, id: ::bgp::NeighborId, neighbor: &Neighbor, now: Instant) -> Layer {
        let state = self.speaker.state(id);
        let since = self.summary_of(id).map_or(0, |summary| ago(summary.since, now));
        Layer {
            name: neighbor.plan.session.name.to_string(),
            state: state.map_or_else(String::new, |state| state.to_string()),
            up: state == Some(State::Established),
            since,
            why: neighbor.why.clone().or_else(|| self.denied(id)).map(|why| why_view(&why, now)),
        }
    }

    /// Notes when a tunnel as a whole came up or went down.
    pub(crate) fn note_fates(&mut self, now: Instant) {
        // With sessions in it a tunnel's fate may change although nobody touched it.
        let mut concerned = self.tunnels.take_touched();
        concerned.extend(self.neighbors.tunnels());
        let changed: Vec<(::tunnel::TunnelId, bool)> = concerned
            .iter()
            .filter_map(|id| self.tunnels.get(id))
            .map(|tunnel| (tunnel.id, self.is_up(tunnel), tunnel.was_up))
            .filter(|(_, up, was)| up != was)
            .map(|(id, up, _)| (id, up))
            .collect();
        for (id, up) in changed {
            let word = if up { "the tunnel is UP" } else { "the tunnel is DOWN" };
            if let Some(tunnel) = self.tunnels.get_mut(&id) {
                (tunnel.was_up, tunnel.since) = (up, now);
            }
            let why = self.tunnels.get(&id).and_then(|tunnel| self.why_of(tunnel)).map(|why| why.text);
            let text = match (up, why) {
                (false, Some(why)) => format!("{word}: {why}"),
                _ => word.to_owned(),
            };
            self.tell(id, text, crate::effect::Level::Info);
        }
    }
}

fn child_layer(tunnel: &Tunnel, now: Instant) -> Layer {
    match tunnel.children.sending() {
        Some((_, child)) => Layer {
            state: "INSTALLED".to_owned(),
            up: true,
            since: ago(child.since, now),
            ..Layer::default()
        },
        None => Layer { state: "none".to_owned(), ..Layer::default() },
    }
}

fn remote_text(tunnel: &Tunnel) -> String {
    tunnel
        .peer
        .or_else(|| tunnel.known_remotes().next())
        .map_or_else(|| "any".to_owned(), |address| address.to_string())
}

fn why_view(why: &Why, now: Instant) -> control::view::Why {
    control::view::Why {
        code: why.code.name().to_owned(),
        text: why.text.clone(),
        source: why.source.name().to_owned(),
        hint: why.hint.to_owned(),
        ago: ago(why.at, now),
    }
}

pub(super) fn ike_state_name(state: IkeState) -> &'static str {
    match state {
        IkeState::Init => "IKE_SA_INIT",
        IkeState::Auth => "IKE_AUTH",
        IkeState::Established => "ESTABLISHED",
        IkeState::Rekeyed => "REKEYED",
        IkeState::Deleting => "DELETING",
    }
}
