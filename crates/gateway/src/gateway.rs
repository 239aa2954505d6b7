//! The machine itself: inputs to the rooms they belong to, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tunnel::{OuterAddresses, Table, TunnelId};
use bgp::{ConnId, NeighborId};
use config::Gateway as Plan;
use ike::Generator;

use crate::arrivals::Arrivals;
use crate::effect::{Effect, Listener};
use crate::facts::Facts;
use crate::fib::Fib;
use crate::input::{Input, KernelView};
use crate::moving::Moving;
use crate::peers::Peers;
use crate::roster::Roster;
use crate::stop::Stopping;
use crate::strangers::Strangers;
use crate::tunnels::Tunnel;
use crate::tunnels::list::Tunnels;
use crate::underlay::Underlay;
use crate::uplinks::Sources;

/// How often the kernel's routes are read although nothing was heard: it drops some silently.
const AUDIT: Duration = Duration::from_secs(60);
/// How often the IKE engine hears which peers sent: well below any liveness delay.
const LIVENESS: Duration = Duration::from_secs(1);

/// The whole gateway.
///
/// Feed it with [`handle`](Self::handle); then drain [`poll_effect`](Self::poll_effect) until it is `None` and
/// arm one timer for [`poll_timeout`](Self::poll_timeout). Time and randomness are arguments.
pub struct Gateway {
    pub(crate) plan: Plan,
    pub(crate) started: Instant,
    pub(crate) rng: Generator,
    pub(crate) ike: ike::Engine,
    pub(crate) speaker: bgp::Speaker,
    pub(crate) tunnels: Tunnels,
    pub(crate) neighbors: Roster,
    /// The outer addresses of every tunnel.
    pub(crate) peers: Peers,
    /// The indexes of every tunnel device there is.
    pub(crate) devices: Arc<BTreeSet<u32>>,
    pub(crate) listeners: BTreeSet<Listener>,
    pub(crate) passwords: BTreeMap<(Listener, IpAddr), Arc<crypto::Secret>>,
    pub(crate) strangers: Strangers,
    pub(crate) fib: Fib,
    /// What ended sessions had taught, by neighbour, until it has spoken again.
    pub(crate) lost: BTreeMap<String, BTreeSet<inet::Prefix>>,
    pub(crate) underlay: Underlay,
    /// Best paths of neighbours without tunnel: whose, and the next hop on the underlay.
    pub(crate) outside: BTreeMap<inet::Prefix, (NeighborId, IpAddr)>,
    /// Has the kernel been read once, with every device known? Before that nothing of ours is removed from it.
    pub(crate) kernel_known: bool,
    pub(crate) table: Arc<Table>,
    /// By which interface peers' messages came.
    pub(crate) arrivals: Arrivals,
    /// The outer addresses that no route may be learned or announced of, as the speaker was told last.
    pub(crate) guarded: BTreeSet<IpAddr>,
    /// They are others by now.
    pub(crate) guard_stale: bool,
    /// What the table says of outer addresses.
    pub(crate) outer: Arc<OuterAddresses>,
    pub(crate) table_dirty: bool,
    /// The SPIs of each tunnel's rows in `table`.
    pub(crate) rows: BTreeMap<TunnelId, Vec<u32>>,
    /// Dials that found nothing to wait for.
    pub(crate) vain: BTreeSet<TunnelId>,
    /// The tunnel devices there were when the underlay was last looked at.
    seen_devices: Arc<BTreeSet<u32>>,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) facts: Facts,
    pub(crate) next_tunnel: u32,
    pub(crate) next_neighbor: u32,
    /// Counts up with every change of a best path.
    pub(crate) table_version: u64,
    /// Connections our listeners accepted so far.
    accepted: u64,
    pub(crate) reload_error: Option<String>,
    next_audit: Instant,
    next_liveness: Instant,
    pub(crate) stopping: Option<Stopping>,
    /// The routes are on their way to another table or metric.
    pub(crate) moving: Option<Moving>,
    /// Local addresses whose packets look into the table of their uplink first.
    pub(crate) sources: Sources,
    /// Addresses of the file and the links by which peers were reached from them.
    pub(crate) uplinks: BTreeSet<(IpAddr, u32)>,
}

impl Gateway {
    /// A gateway that carries out `plan`. All randomness comes from `seed`, which must be unpredictable and used once.
    /// Every SPI of tunnel N leaves the rest N when divided by `workers`, by which packets find their worker.
    #[must_use]
    pub fn new(plan: Plan, seed: [u8; 32], workers: NonZeroU32, now: Instant) -> Self {
        let mut rng = Generator::new(seed);
        let mut ike = ike::Engine::new(*rng.secret(), limits());
        ike.deal_spis(workers);
        let speaker = bgp::Speaker::new(speaker_config(&plan), rng.octets());
        let mut gateway = Self {
            fib: Fib::new(plan.routes.metric),
            started: now,
            ike,
            speaker,
            rng,
            tunnels: Tunnels::default(),
            neighbors: Roster::default(),
            peers: Peers::default(),
            devices: Arc::default(),
            listeners: BTreeSet::new(),
            lost: BTreeMap::new(),
            passwords: BTreeMap::new(),
            strangers: Strangers::default(),
            underlay: Underlay::default(),
            outside: BTreeMap::new(),
            kernel_known: false,
            table: Arc::new(Table::new()),
            arrivals: Arrivals::default(),
            guarded: BTreeSet::new(),
            guard_stale: false,
            outer: Arc::default(),
            table_dirty: true,
            rows: BTreeMap::new(),
            vain: BTreeSet::new(),
            seen_devices: Arc::default(),
            effects: VecDeque::new(),
            facts: Facts::default(),
            next_tunnel: 1,
            next_neighbor: 1,
            table_version: 0,
            accepted: 0,
            reload_error: None,
            next_audit: now + AUDIT,
            next_liveness: now + LIVENESS,
            stopping: None,
            moving: None,
            sources: Sources::new(),
            uplinks: BTreeSet::new(),
            plan,
        };
        gateway.begin(now);
        gateway
    }

    fn begin(&mut self, now: Instant) {
        // Rules an earlier run left go; those that still hold never do, for what they guard may be all that keeps packets
        // from leaving in clear until the tunnels are back.
        self.effects.push_back(match self.rules() {
            Some(rules) => Effect::Rules(rules),
            None => Effect::Sources(Sources::new()),
        });
        // The underlay before the first dial; the devices report themselves.
        self.effects.push_back(Effect::ReadKernel);
        for plan in self.plan.tunnels.values().cloned().collect::<Vec<_>>() {
            self.add_tunnel(plan, now);
        }
        for plan in self.neighbor_plans() {
            self.add_neighbor(plan, now);
        }
        self.set_guard(now);
        self.set_origins(now);
        self.settle(now);
    }

    /// One input; `now` never goes back.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::Ike { path, ifindex, bytes } => {
                self.arrivals.note(path, ifindex);
                self.ike.handle_datagram(path, bytes, now);
            }
            Input::Report(report) => self.report(report, now),
            Input::Work(work, outcome) => self.ike.handle_work(work, outcome, now),
            Input::Resolved { tunnel, outcome } => self.resolved(tunnel, outcome, now),
            Input::Kernel(view) => self.kernel_read(view, now),
            Input::RoutesApplied(outcomes) => self.fib.applied(&outcomes, now),
            Input::DeviceReady { tunnel, outcome } => self.device_ready(tunnel, outcome, now),
            Input::PathMtu { remote, mtu } => self.path_mtu(remote, mtu, now),
            Input::Stream(stream) => self.stream(stream, now),
            Input::Request(request, what) => self.request(request, what, now),
            Input::Reload(request, outcome) => self.reload(request, outcome, now),
            Input::RulesApplied(outcome) => self.rules_applied(outcome),
            Input::Stop(how) => self.stop(how, now),
            Input::Time => {}
        }
        self.timers(now);
        self.settle(now);
    }

    /// The next effect to carry out.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle`](Self::handle) with [`Input::Time`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopping.as_ref().is_some_and(Stopping::is_over) {
            return None;
        }
        let mut earliest = self.next_audit;
        let mut consider = |at: Option<Instant>| earliest = at.map_or(earliest, |at| earliest.min(at));
        consider(self.ike.poll_timeout());
        consider(self.speaker.poll_timeout());
        consider(self.fib.next_retry());
        consider(self.stopping.as_ref().map(|stopping| stopping.until));
        consider(self.tunnels.values().any(Tunnel::carries).then_some(self.next_liveness));
        // Nobody dials while stopping.
        consider(self.tunnels.next_deadline(self.stopping.is_none()));
        Some(earliest)
    }

    /// What the shell alone knows, for the views.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// The number for the next connection a listener accepts.
    pub fn next_conn(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId(self.accepted)
    }

    /// The plan being carried out.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The interface name of each tunnel.
    pub fn interfaces(&self) -> impl Iterator<Item = (TunnelId, &str)> {
        self.tunnels.values().map(|tunnel| (tunnel.id, tunnel.plan.interface.name.as_str()))
    }

    fn timers(&mut self, now: Instant) {
        if self.next_liveness <= now {
            self.tell_liveness(now);
            self.next_liveness = now + LIVENESS;
        }
        if self.ike.poll_timeout().is_some_and(|at| at <= now) {
            // A peer that sent since the last round must not be asked whether it lives.
            self.tell_liveness(now);
            self.ike.handle_timeout(now);
        }
        if self.speaker.poll_timeout().is_some_and(|at| at <= now) {
            self.speaker.handle_timeout(now);
        }
        let ending = self.tunnels.ending(now);
        for id in &ending {
            if self.tunnels.get_mut(id).is_some_and(|tunnel| tunnel.children.expire(now)) {
                self.table_dirty = true;
                self.size_interface(*id);
            }
        }
        self.expire_path_mtus(&ending, now);
        if self.stopping.is_none() {
            self.dial_due(now);
        }
        self.advance_stop(now);
        if self.next_audit <= now {
            self.next_audit = now + AUDIT;
            self.effects.push_back(Effect::ReadKernel);
            self.retry_devices();
            self.retry_rules();
        }
    }

    /// Carries what the engines have to say to one another until none has anything left.
    fn settle(&mut self, now: Instant) {
        loop {
            let heard = self.drain_ike(now);
            // Before the speaker says anything: what is guarded must not be announced.
            if self.guard_stale {
                self.set_guard(now);
            }
            let said = self.drain_speaker(now) | heard;
            // An attempt given up begins nothing at once, so this ends.
            if !said && !self.give_up_dials(now) {
                break;
            }
        }
        self.publish();
        self.note_fates(now);
        if self.kernel_known {
            self.reconcile(now);
            if self.advance_move() {
                self.reconcile(now);
            }
        }
        self.finish_stop(now);
    }

    fn reconcile(&mut self, now: Instant) {
        let batch = self.fib.reconcile(now);
        if !batch.is_empty() {
            self.effects.push_back(Effect::Routes(batch));
        }
    }

    /// Events first, so that keys are in the table before the peer learns that it may use them.
    pub(crate) fn drain_ike(&mut self, now: Instant) -> bool {
        let mut said = false;
        while let Some(event) = self.ike.poll_event() {
            said = true;
            self.ike_event(event, now);
        }
        self.publish();
        while let Some(message) = self.ike.poll_transmit() {
            let ifindex = self.way_out(&message);
            self.effects.push_back(Effect::SendIke { message, ifindex });
        }
        while let Some((id, work)) = self.ike.poll_work() {
            self.effects.push_back(Effect::Work(id, work));
        }
        said
    }

    /// The kernel was read: pins follow the underlay, and what it holds of ours is compared.
    fn kernel_read(&mut self, view: KernelView, now: Instant) {
        let changed = self.underlay != view.underlay;
        let old = std::mem::replace(&mut self.underlay, view.underlay);
        // A tunnel device that got its MTU, say: of a thousand of them that is no reason to look at every tunnel.
        let same_outside =
            self.seen_devices == self.devices && old.same_outside(&self.underlay, &self.devices);
        if changed && !same_outside {
            self.seen_devices = Arc::clone(&self.devices);
            self.note_uplinks();
            for id in self.tunnel_ids() {
                self.set_connection(id, now);
                self.size_interface(id);
            }
            self.want_peer_routes();
            self.resolve_next_hops();
            self.fib.retry_at_once(now);
            self.set_guard(now);
            self.set_origins(now);
            self.leave_lost_paths(now);
            self.dial_without_path(now);
        } else if changed {
            self.fib.retry_at_once(now);
        }
        self.tell_next_hops(now);
        self.find_lost_devices(now);
        // Which routes led where can be told only once every device is known.
        if self.kernel_known || self.devices_known() {
            self.adopt_routes(&view.ours);
            self.fib.observed(&view.ours);
            self.kernel_known = true;
        }
    }

    pub(crate) fn tunnel_ids(&self) -> Vec<TunnelId> {
        self.tunnels.keys().copied().collect()
    }

    /// Every tunnel device there is: paths to peers never lead into one.
    pub(crate) fn tunnel_ifindexes(&self) -> Arc<BTreeSet<u32>> {
        Arc::clone(&self.devices)
    }

    pub(crate) fn tunnel_named(&self, name: &str) -> Option<TunnelId> {
        self.tunnels.values().find(|tunnel| &*tunnel.plan.name == name).map(|tunnel| tunnel.id)
    }

    pub(crate) fn add_tunnel(&mut self, plan: config::Tunnel, now: Instant) -> TunnelId {
        let id = TunnelId(self.next_tunnel);
        self.next_tunnel += 1;
        self.tunnels.insert(id, Tunnel::new(id, plan, now));
        self.table_dirty = true;
        self.set_connection(id, now);
        self.open_device(id);
        id
    }

    fn devices_known(&self) -> bool {
        self.tunnels.values().all(|tunnel| tunnel.device != crate::tunnels::DeviceState::Opening)
    }

    /// Outer addresses of both ends of every tunnel, as far as known.
    pub(crate) fn outer_addresses(&self) -> BTreeSet<IpAddr> {
        let mut all = BTreeSet::new();
        for tunnel in self.tunnels.values() {
            all.extend(tunnel.known_remotes());
            all.extend(tunnel.peer);
            all.extend(tunnel.local);
            all.extend(tunnel.plan.local.addresses());
        }
        all
    }
}

/// The bounds of the IKE engine.
pub(crate) fn limits() -> ike::Limits {
    ike::Limits::default()
}

/// The speaker's own facts; a file without `[bgp]` has a speaker without neighbours.
pub(crate) fn speaker_config(plan: &Plan) -> bgp::SpeakerConfig {
    plan.bgp.as_ref().map_or(
        bgp::SpeakerConfig {
            asn: 0,
            router_id: std::net::Ipv4Addr::UNSPECIFIED,
            decision: bgp_rib::Options::default(),
        },
        |bgp| bgp.speaker.clone(),
    )
}
