//! What must happen to get from one plan to another. Computed whole before anything moves; what did not change is
//! not touched. docs/configuration.md has the same rules, key by key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::plan::{Bgp, Gateway, Neighbor, Tunnel};

/// What a changed object asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing changed.
    Keep,
    /// Taken over while everything runs on.
    Absorb,
    /// The object must begin anew, because of this field.
    Restart(Field),
}

/// A field whose change makes an object begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `[router]` `id`
    RouterId,
    /// `[router]` `asn`
    RouterAsn,
    /// `[control]` `socket`
    Socket,
    /// `[esp]` `af_xdp`
    AfXdp,
    /// `[tunnel.X]` `local`
    Local,
    /// `[tunnel.X]` `remote`
    Remote,
    /// `[tunnel.X]` `psk`
    Psk,
    /// `[tunnel.X]` `local_id`
    LocalId,
    /// `[tunnel.X]` `remote_id`
    RemoteId,
    /// `[tunnel.X.ike]` `proposals`
    IkeProposals,
    /// `[tunnel.X.esp]` `proposals`, `esn`
    EspProposals,
    /// `[tunnel.X.esp]` `encapsulation`
    Encapsulation,
    /// `[tunnel.X.esp]` `local_ts`
    LocalTs,
    /// `[tunnel.X.esp]` `remote_ts`
    RemoteTs,
    /// `[tunnel.X.esp]` `resource_sas`
    ResourceSas,
    /// `[tunnel.X.interface]` `name`
    InterfaceName,
    /// `[tunnel.X.interface]` `queues`
    Queues,
    /// A session's own field.
    Session(bgp::Field),
    /// `[bgp.neighbor.X]` `password`
    Password,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RouterId => "router.id",
            Self::RouterAsn => "router.asn",
            Self::Socket => "control.socket",
            Self::AfXdp => "esp.af_xdp",
            Self::Local => "local",
            Self::Remote => "remote",
            Self::Psk => "psk",
            Self::LocalId => "local_id",
            Self::RemoteId => "remote_id",
            Self::IkeProposals => "ike.proposals",
            Self::EspProposals => "esp.proposals",
            Self::Encapsulation => "esp.encapsulation",
            Self::LocalTs => "esp.local_ts",
            Self::RemoteTs => "esp.remote_ts",
            Self::ResourceSas => "esp.resource_sas",
            Self::InterfaceName => "interface.name",
            Self::Queues => "interface.queues",
            Self::Session(field) => session_field(*field),
            Self::Password => "password",
        })
    }
}

fn session_field(field: bgp::Field) -> &'static str {
    match field {
        bgp::Field::Address => "address",
        bgp::Field::Port => "port",
        bgp::Field::Asn => "asn",
        bgp::Field::LocalAsn => "local_asn",
        bgp::Field::Tunnel => "tunnel",
        bgp::Field::Source => "source",
        bgp::Field::Multihop => "multihop",
        bgp::Field::HoldTime => "hold_time",
        bgp::Field::Keepalive => "keepalive",
        bgp::Field::SendHoldTime => "send_hold_time",
        bgp::Field::Families => "families",
        bgp::Field::EnforceFirstAs => "enforce_first_as",
        bgp::Field::RejectAsSets => "reject_as_sets",
        bgp::Field::ExtendedMessage => "extended_message",
        bgp::Field::Shutdown => "shutdown",
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Absorb => f.write_str("absorb"),
            Self::Restart(field) => write!(f, "restart ({field})"),
        }
    }
}

/// What becomes of a named object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is new.
    Add,
    /// It is gone.
    Remove,
    /// It stays, with this change.
    Change(Change),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add => f.write_str("add"),
            Self::Remove => f.write_str("remove"),
            Self::Change(change) => change.fmt(f),
        }
    }
}

/// The difference of two plans, object by object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// `[routes]`: at most absorbed; the routes move.
    pub routes: Change,
    /// `[control]`: a change asks for a restart of the daemon.
    pub control: Change,
    /// `[log]`: at most absorbed.
    pub log: Change,
    /// `[esp]`: a change asks for a restart of the daemon.
    pub esp: Change,
    /// `[router]`: a restart ends every session; `Add` and `Remove` are those of `[bgp]` itself.
    pub router: Option<Step>,
    /// `networks` and `redistribute`: at most absorbed.
    pub originated: Change,
    /// Every tunnel of either plan.
    pub tunnels: BTreeMap<Arc<str>, Step>,
    /// Every neighbour of either plan. A restart of its tunnel is not repeated here.
    pub neighbors: BTreeMap<Arc<str>, Step>,
}

impl Diff {
    /// What gets a gateway from `old` to `new`.
    #[must_use]
    pub fn new(old: &Gateway, new: &Gateway) -> Self {
        Self {
            routes: absorbed(old.routes == new.routes),
            control: if old.control == new.control { Change::Keep } else { Change::Restart(Field::Socket) },
            log: absorbed(old.log == new.log),
            esp: if old.esp == new.esp { Change::Keep } else { Change::Restart(Field::AfXdp) },
            router: router(old.bgp.as_ref(), new.bgp.as_ref()),
            originated: originated(old.bgp.as_ref(), new.bgp.as_ref()),
            tunnels: steps(&old.tunnels, &new.tunnels, Tunnel::change),
            neighbors: steps(neighbors(old), neighbors(new), Neighbor::change),
        }
    }

    /// Is there nothing to do?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let kept = |step: &Step| *step == Step::Change(Change::Keep);
        [self.routes, self.control, self.log, self.esp, self.originated]
            .iter()
            .all(|change| *change == Change::Keep)
            && self.router.as_ref().is_none_or(kept)
            && self.tunnels.values().chain(self.neighbors.values()).all(kept)
    }
}

impl fmt::Display for Diff {
    /// One line an object that does not stay as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = [
            ("routes", self.routes),
            ("control", self.control),
            ("log", self.log),
            ("esp", self.esp),
            ("bgp", self.originated),
        ];
        for (name, change) in sections.into_iter().filter(|(_, change)| *change != Change::Keep) {
            writeln!(f, "{name}: {change}")?;
        }
        if let Some(step) = self.router.filter(|step| *step != Step::Change(Change::Keep)) {
            writeln!(f, "router: {step}")?;
        }
        let named = |kind: &'static str, steps: &BTreeMap<Arc<str>, Step>| -> Vec<String> {
            let moved = steps.iter().filter(|(_, step)| **step != Step::Change(Change::Keep));
            moved.map(|(name, step)| format!("{kind} {name}: {step}")).collect()
        };
        for line in named("tunnel", &self.tunnels).into_iter().chain(named("neighbor", &self.neighbors)) {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Tunnel {
    /// What taking over `new` costs. One line a field, in the order of the file.
    ///
    /// What the peer agreed to (ends, identities, secret, suites, selectors, encapsulation) begins anew, so that a
    /// mistake shows now and not at a rekey at night. Times, limits and all that is ours alone is absorbed: lifetimes
    /// and windows from the next SA on.
    #[must_use]
    pub fn change(&self, new: &Self) -> Change {
        // What asks for another device comes first: it is the greater change, and one alone is named.
        let restart = first([
            (self.interface.queues == new.interface.queues, Field::Queues),
            (self.interface.name == new.interface.name, Field::InterfaceName),
            (self.local == new.local, Field::Local),
            (self.remote == new.remote, Field::Remote),
            (self.psk_local == new.psk_local && self.psk_remote == new.psk_remote, Field::Psk),
            (self.local_id == new.local_id, Field::LocalId),
            (self.remote_id == new.remote_id, Field::RemoteId),
            (self.ike.proposals == new.ike.proposals, Field::IkeProposals),
            (self.esp.proposals == new.esp.proposals, Field::EspProposals),
            (self.esp.encapsulation == new.esp.encapsulation, Field::Encapsulation),
            (self.esp.local_ts == new.esp.local_ts, Field::LocalTs),
            (self.esp.remote_ts == new.esp.remote_ts, Field::RemoteTs),
            (self.esp.resource_sas == new.esp.resource_sas, Field::ResourceSas),
        ]);
        let same = self.profile == new.profile
            && self.start == new.start
            && self.on_down == new.on_down
            && self.ike == new.ike
            && self.esp == new.esp
            && self.interface == new.interface
            && self.must_cover == new.must_cover;
        restart.map_or_else(|| absorbed(same), Change::Restart)
    }
}

impl Neighbor {
    /// What taking over `new` costs: the session's own answer, and its password.
    #[must_use]
    pub fn change(&self, new: &Self) -> Change {
        match self.session.change(&new.session) {
            bgp::Change::Restart(field) => Change::Restart(Field::Session(field)),
            bgp::Change::Keep | bgp::Change::Absorb if self.password != new.password => {
                Change::Restart(Field::Password)
            }
            bgp::Change::Absorb => Change::Absorb,
            bgp::Change::Keep => Change::Keep,
        }
    }
}

fn absorbed(same: bool) -> Change {
    if same { Change::Keep } else { Change::Absorb }
}

fn first<const N: usize>(fields: [(bool, Field); N]) -> Option<Field> {
    fields.into_iter().find(|(same, _)| !same).map(|(_, field)| field)
}

fn router(old: Option<&Bgp>, new: Option<&Bgp>) -> Option<Step> {
    Some(match (old, new) {
        (None, None) => return None,
        (None, Some(_)) => Step::Add,
        (Some(_), None) => Step::Remove,
        (Some(old), Some(new)) => {
            let restart = first([
                (old.speaker.router_id == new.speaker.router_id, Field::RouterId),
                (old.speaker.asn == new.speaker.asn, Field::RouterAsn),
            ]);
            Step::Change(restart.map_or_else(|| absorbed(old.speaker == new.speaker), Change::Restart))
        }
    })
}

fn originated(old: Option<&Bgp>, new: Option<&Bgp>) -> Change {
    let of = |bgp: Option<&Bgp>| bgp.map(|bgp| (bgp.networks.clone(), bgp.redistribute)).unwrap_or_default();
    absorbed(of(old) == of(new))
}

fn neighbors(gateway: &Gateway) -> &BTreeMap<Arc<str>, Neighbor> {
    static NONE: BTreeMap<Arc<str>, Neighbor> = BTreeMap::new();
    gateway.bgp.as_ref().map_or(&NONE, |bgp| &bgp.neighbors)
}

fn steps<T>(
    old: &BTreeMap<Arc<str>, T>,
    new: &BTreeMap<Arc<str>, T>,
    change: impl Fn(&T, &T) -> Change,
) -> BTreeMap<Arc<str>, Step> {
    let gone =
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| (Arc::clone(name), Step::Remove));
    let stays = new.iter().map(|(name, object)| {
        let step = old.get(name).map_or(Step::Add, |before| Step::Change(change(before, object)));
        (Arc::clone(name), step)
    });
    gone.chain(stays).collect()
}
