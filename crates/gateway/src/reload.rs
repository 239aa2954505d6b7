//! A changed file: the difference of two plans, object by object, applied in one turn.

use std::sync::Arc;
use std::time::Instant;

use ::tunnel::TunnelId;
use config::{Change, Diff, Field, Gateway as Plan, OnDown, Step};
use control::Answer;

use crate::effect::Effect;
use crate::gateway::{Gateway, speaker_config};
use crate::input::RequestId;
use crate::tunnels::dial::Dial;

impl Gateway {
    /// Applies a new plan, or says why not; then the old one runs on untouched.
    pub(crate) fn reload(
        &mut self,
        request: Option<RequestId>,
        outcome: Result<Box<Plan>, String>,
        now: Instant,
    ) {
        let outcome = outcome.and_then(|plan| {
            if self.is_stopping() {
                return Err("the daemon is stopping".to_owned());
            }
            let diff = Diff::new(&self.plan, &plan);
            movable(&diff).map(|()| (diff, plan))
        });
        let answer = match outcome {
            Err(errors) => {
                self.reload_error = Some(errors.clone());
                self.log(format!("the changed file was refused, the old one runs on: {errors}"));
                Answer::Refused(errors)
            }
            Ok((diff, plan)) => {
                self.reload_error = None;
                self.apply(&diff, *plan, now);
                Answer::Done(said(&diff))
            }
        };
        if let Some(request) = request {
            self.effects.push_back(Effect::Answer(request, answer));
        }
    }

    fn apply(&mut self, diff: &Diff, plan: Plan, now: Instant) {
        for line in said(diff) {
            self.log(format!("reload: {line}"));
        }
        let (old_routes, old_log) = (self.plan.routes, self.plan.log);
        self.plan = plan;
        if self.plan.log != old_log {
            self.effects.push_back(Effect::Logging(self.plan.log));
        }
        if self.plan.routes != old_routes {
            self.move_routes(old_routes);
        }
        let new_speaker = diff.router.is_some_and(|step| step != Step::Change(Change::Keep));
        self.remove_neighbors(diff, new_speaker, now);
        for (name, step) in &diff.tunnels {
            self.step_tunnel(name, *step, now);
        }
        if new_speaker {
            self.speaker = self.speaker.successor(speaker_config(&self.plan), self.rng.octets());
        }
        self.place_neighbors(diff, now);
        self.want_listeners();
        self.note_uplinks();
        self.want_peer_routes();
        self.set_guard(now);
        self.set_origins(now);
        self.sweep_stale();
        self.table_dirty = true;
    }

    /// Neighbours that go, or begin anew: these come back in `place_neighbors`.
    fn remove_neighbors(&mut self, diff: &Diff, all: bool, now: Instant) {
        let moved_tunnel = |tunnel: &Option<Arc<str>>| {
            let step = tunnel.as_ref().and_then(|name| diff.tunnels.get(name));
            matches!(step, Some(Step::Remove | Step::Change(Change::Restart(Field::InterfaceName))))
        };
        let goes: Vec<_> = self
            .neighbors
            .iter()
            .filter(|(_, n)| {
                let step = diff.neighbors.get(&n.plan.session.name);
                all || moved_tunnel(&n.plan.session.tunnel)
                    || matches!(step, None | Some(Step::Remove | Step::Change(Change::Restart(_))))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in goes {
            self.remove_neighbor(id, now);
        }
    }

    /// Neighbours that are new, and changes the others take over.
    fn place_neighbors(&mut self, diff: &Diff, now: Instant) {
        for plan in self.neighbor_plans() {
            let name = Arc::clone(&plan.session.name);
            let known = self.neighbors.iter().find(|(_, n)| n.plan.session.name == name).map(|(id, _)| *id);
            match known {
                None => {
                    self.add_neighbor(plan, now);
                }
                Some(id) if diff.neighbors.get(&name) == Some(&Step::Change(Change::Absorb)) => {
                    self.speaker.upsert_neighbor(id, plan.session.clone(), now);
                    if let Some(neighbor) = self.neighbors.get_mut(id) {
                        neighbor.plan = plan;
                    }
                }
                Some(_) => {}
            }
        }
    }

    fn step_tunnel(&mut self, name: &Arc<str>, step: Step, now: Instant) {
        let known = self.tunnel_named(name);
        let plan = self.plan.tunnels.get(name).cloned();
        match (step, known, plan) {
            (Step::Add, None, Some(plan)) => {
                self.add_tunnel(plan, now);
            }
            (Step::Remove, Some(id), _) => self.remove_tunnel(id, now),
            (Step::Change(Change::Restart(Field::InterfaceName)), Some(id), Some(plan)) => {
                let stopped = self.tunnels.get(&id).is_some_and(|tunnel| tunnel.dial == Dial::Stopped);
                self.remove_tunnel(id, now);
                let id = self.add_tunnel(plan, now);
                if stopped {
                    self.down(id, now);
                }
            }
            (Step::Change(Change::Restart(_)), Some(id), Some(plan)) => {
                self.ike.remove_connection(ike::ConnId(id.0), now);
                self.drain_ike(now);
                self.absorb_tunnel(id, plan, now);
                self.restart_dial(id, now);
            }
            (Step::Change(Change::Absorb), Some(id), Some(plan)) => {
                let began = self.tunnels.get(&id).map(|tunnel| tunnel.plan.start);
                let begins = plan.start;
                self.absorb_tunnel(id, plan, now);
                if began != Some(begins) {
                    self.start(id, now);
                }
            }
            // Nothing to do, or a step that does not fit what is there: the plan and the tunnels come from one diff.
            _ => {}
        }
    }

    /// Takes a changed plan over; the device, its routes and a running SA stay.
    fn absorb_tunnel(&mut self, id: TunnelId, plan: config::Tunnel, now: Instant) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let interface = tunnel.plan.interface.clone();
        let changed_device = interface.addresses != plan.interface.addresses;
        let opened = tunnel.plan.on_down != plan.on_down && plan.on_down == OnDown::Withdraw;
        tunnel.plan = plan;
        tunnel.forget_names();
        self.force_connection(id, now);
        if changed_device {
            self.open_device(id);
        }
        self.forget_static_routes(id, &interface.routes);
        self.want_static_routes(id);
        self.want_learned_routes(id);
        if opened {
            self.refuse_no_more(id);
        }
        self.size_fixed(id);
        self.size_interface(id);
    }

    fn restart_dial(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id)
            && tunnel.dial != Dial::Stopped
        {
            tunnel.dial = Dial::Waiting;
            self.start(id, now);
        }
    }
}

/// What a running daemon cannot take over is refused before anything moves.
fn movable(diff: &Diff) -> Result<(), String> {
    // The kernel changes no device's number of queues, and a session of BGP is bound to the device it began on: its end
    // would never reach the peer, which then refuses the next one for as long as its hold time.
    let of_queues = |step: &Step| matches!(step, Step::Change(Change::Restart(Field::Queues)));
    if let Some((name, _)) = diff.tunnels.iter().find(|(_, step)| of_queues(step)) {
        return Err(format!(
            "tunnel {name}: interface.queues changed: that needs a restart of the daemon; nothing of the file was applied"
        ));
    }
    let fixed = [("control", diff.control), ("esp", diff.esp)];
    match fixed.into_iter().find(|(_, change)| *change != Change::Keep) {
        None => Ok(()),
        Some((section, change)) => Err(format!(
            "[{section}] changed ({change}): that needs a restart of the daemon; nothing of the file was applied"
        )),
    }
}

fn said(diff: &Diff) -> Vec<String> {
    if diff.is_empty() {
        return vec!["nothing changed".to_owned()];
    }
    diff.to_string().lines().map(str::to_owned).collect()
}
