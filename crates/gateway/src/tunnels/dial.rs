//! Dialling: which address, when, and what after a failure. It never gives up.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ::tunnel::TunnelId;
use config::{Local, LocalEnd, Remote, RemoteEnd, Start};
use ike::{Command, ConnId, IkeState, Path};

use super::Tunnel;
use crate::effect::{Effect, Level};
use crate::gateway::Gateway;
use crate::why::{Code, Why};

/// The first wait after a failure; doubled by each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The wait for an underlay that has no path yet: it is looked at again on every change anyway.
const NO_PATH_WAIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are kept: whoever answers for the name must not make the list long.
const ADDRESSES: usize = 16;

/// Where a tunnel's dial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    /// By command, until the next command.
    Stopped,
    /// For the peer, or for a packet.
    Waiting,
    /// A name is being looked up.
    Resolving { attempt: u32 },
    /// The IKE engine is at it.
    Dialing { attempt: u32 },
    /// A CHILD SA is up.
    Up,
    /// Until the next attempt.
    BackOff { until: Instant, attempt: u32 },
}

impl Dial {
    fn attempt(self) -> u32 {
        match self {
            Self::Resolving { attempt } | Self::Dialing { attempt } | Self::BackOff { attempt, .. } => {
                attempt
            }
            Self::Stopped | Self::Waiting | Self::Up => 0,
        }
    }
}

impl Gateway {
    /// Starts an attempt, whatever `start` says, unless one is under way or it was stopped.
    pub(crate) fn dial(&mut self, id: TunnelId, now: Instant) {
        if self.is_stopping() {
            return;
        }
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        match tunnel.dial {
            Dial::Stopped | Dial::Resolving { .. } | Dial::Dialing { .. } | Dial::Up => return,
            Dial::Waiting | Dial::BackOff { .. } => {}
        }
        let attempt = tunnel.dial.attempt();
        let candidates = self.candidates(tunnel);
        let (round, turn) = turn_of(attempt, candidates.len());
        let candidate = candidates.into_iter().nth(turn);
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        match candidate {
            None => tunnel.dial = Dial::Waiting,
            Some(RemoteEnd::Name(name)) => {
                tunnel.dial = Dial::Resolving { attempt };
                tunnel.looked_up.clone_from(&name);
                self.effects.push_back(Effect::Resolve { tunnel: id, name });
            }
            Some(RemoteEnd::Address(address)) => self.call(id, address, round, attempt, now),
        }
    }

    /// Whom to dial, in the file's order: names, and the addresses that an address of ours can reach now. All of them
    /// when there are none, so that one is named in the reason.
    fn candidates(&self, tunnel: &Tunnel) -> Vec<RemoteEnd> {
        let all = ends(&tunnel.plan.remote);
        let usable = |end: &&RemoteEnd| match end {
            RemoteEnd::Name(_) => true,
            RemoteEnd::Address(address) => self.locals_for(tunnel.id, *address).is_ok(),
        };
        let usable: Vec<RemoteEnd> = all.iter().filter(usable).cloned().collect();
        if usable.is_empty() { all.to_vec() } else { usable }
    }

    /// A name was looked up. What it led to before counts no more.
    pub(crate) fn resolved(&mut self, id: TunnelId, outcome: Result<Vec<IpAddr>, String>, now: Instant) {
        if self.is_stopping() {
            return;
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let Dial::Resolving { attempt } = tunnel.dial else { return };
        let list = match outcome {
            Ok(list) if list.is_empty() => {
                return self.name_unknown(id, "it has no address", attempt, now);
            }
            Ok(list) => list,
            Err(error) => return self.name_unknown(id, &error, attempt, now),
        };
        let mut distinct: Vec<IpAddr> = Vec::new();
        for address in list {
            if distinct.len() < ADDRESSES && !distinct.contains(&address) {
                distinct.push(address);
            }
        }
        tunnel.resolved.insert(tunnel.looked_up.clone(), distinct.clone());
        self.set_connection(id, now);
        self.want_peer_routes_of(id);
        self.set_guard(now);
        let usable: Vec<IpAddr> =
            distinct.iter().copied().filter(|address| self.locals_for(id, *address).is_ok()).collect();
        let list = if usable.is_empty() { distinct } else { usable };
        let round =
            self.tunnels.get(&id).map_or(0, |tunnel| turn_of(attempt, self.candidates(tunnel).len()).0);
        let (round, turn) = (round / list.len(), round % list.len());
        if let Some(address) = list.get(turn) {
            self.call(id, *address, round, attempt, now);
        }
    }

    fn name_unknown(&mut self, id: TunnelId, words: &str, attempt: u32, now: Instant) {
        let text = format!("the peer's name cannot be looked up: {words}");
        self.back_off(id, Why::local(Code::NameUnknown, text, now), attempt, now);
    }

    /// Hands an address to the IKE engine; `round` says which of our own addresses it is tried from.
    fn call(&mut self, id: TunnelId, remote: IpAddr, round: usize, attempt: u32, now: Instant) {
        let local = self.locals_for(id, remote).map(|all| all.get(round % all.len().max(1)).copied());
        if let Ok(Some(local)) = local {
            self.note_uplink(local, remote);
        }
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let conn = tunnel.conn();
        match local {
            Ok(Some(local)) => {
                tunnel.dial = Dial::Dialing { attempt };
                self.meet(id, Some(local), None);
                self.ike.handle_command(Command::Initiate { conn, path: Path::ike(local, remote) }, now);
                if !self.ike_goes_on(id) {
                    self.vain.insert(id);
                }
                self.tell(id, format!("dialling {remote} from {local}: IKE_SA_INIT"), Level::Info);
            }
            Ok(None) | Err(_) => {
                let words = local.err().unwrap_or_default();
                // Another of the list may have one.
                let next = attempt + u32::from(ends(&tunnel.plan.remote).len() > 1);
                tunnel.dial = Dial::BackOff { until: now + NO_PATH_WAIT, attempt: next };
                self.set_why(id, Why::local(Code::NoPath, words, now));
            }
        }
    }

    /// Our outer addresses towards `remote` that are to be had now, in the file's order; without any in the file, the
    /// one the underlay would take. Never empty; the error says in words what is missing.
    fn locals_for(&self, id: TunnelId, remote: IpAddr) -> Result<Vec<IpAddr>, String> {
        let tunnels = self.tunnel_ifindexes();
        let path = self.underlay.path_to(remote, &tunnels);
        let path = path.ok_or_else(|| format!("no path to {remote} outside the tunnels"))?;
        let Some(tunnel) = self.tunnels.get(&id) else { return Ok(Vec::new()) };
        let held = |local: &LocalEnd| match local {
            LocalEnd::Address(address) => (address.is_ipv4() == remote.is_ipv4()
                && self.underlay.is_local(*address))
            .then_some(*address),
            LocalEnd::Interface(name) => self.underlay.address_of(name, remote.is_ipv4()),
        };
        let leads = |local: &IpAddr| self.path_of(tunnel, remote, Some(*local), &tunnels).is_some();
        let usable = |local: &LocalEnd| held(local).filter(leads);
        let found: Vec<IpAddr> = match &tunnel.plan.local {
            Local::Any => path.source.into_iter().collect(),
            Local::Ends(ends) => ends.iter().filter_map(usable).collect(),
        };
        if found.is_empty() {
            let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(format!(
                "no path to {remote}: `local` gives no {family} address that this host has on a link that is up"
            ));
        }
        Ok(found)
    }

    /// An attempt failed, or the tunnel ended: the next one, later.
    pub(crate) fn back_off(&mut self, id: TunnelId, why: Why, attempt: u32, now: Instant) {
        self.set_why(id, why);
        let random = self.rng.number();
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        if tunnel.dial == Dial::Stopped {
            return;
        }
        tunnel.dial = match tunnel.plan.start {
            Start::Initiate => Dial::BackOff { until: now + wait(attempt, random), attempt: attempt + 1 },
            Start::Respond | Start::OnDemand => Dial::Waiting,
        };
    }

    /// The attempt under way failed.
    pub(crate) fn dial_failed(&mut self, id: TunnelId, why: Why, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        match tunnel.dial {
            Dial::Dialing { attempt } | Dial::Resolving { attempt } => self.back_off(id, why, attempt, now),
            // A rekey that failed, or a dial that lost against the peer's: the log has it, the tunnel carries on.
            Dial::Stopped | Dial::Up => {}
            Dial::Waiting | Dial::BackOff { .. } => self.set_why(id, why),
        }
    }

    /// Attempts whose IKE SA is no more, without a word of its failure (it was cleared by command): they are over.
    pub(crate) fn give_up_dials(&mut self, now: Instant) -> bool {
        let mut over = std::mem::take(&mut self.vain);
        over.extend(std::iter::from_fn(|| self.ike.poll_bereft()).map(|conn| TunnelId(conn.0)));
        let dialing =
            |id: &TunnelId| matches!(self.tunnels.get(id), Some(Tunnel { dial: Dial::Dialing { .. }, .. }));
        over.retain(|id| dialing(id) && !self.ike_goes_on(*id));
        for id in &over {
            self.dial_failed(*id, Why::local(Code::Cleared, "the attempt was ended by command", now), now);
        }
        !over.is_empty()
    }

    /// Is there an IKE SA that may still bring a CHILD SA?
    pub(crate) fn ike_goes_on(&self, id: TunnelId) -> bool {
        let live = |state| matches!(state, IkeState::Init | IkeState::Auth | IkeState::Established);
        self.ike.ike_status(ConnId(id.0)).iter().any(|sa| live(sa.state))
    }

    /// An established tunnel is gone: those that initiate come back at once, and begin with the first of their lists.
    pub(crate) fn redial(&mut self, id: TunnelId, why: Why, now: Instant) {
        self.back_off(id, why, 0, now);
        if let Some(Tunnel { dial: Dial::BackOff { attempt, .. }, .. }) = self.tunnels.get_mut(&id) {
            *attempt = 0;
        }
    }

    /// The same at once, whoever dials otherwise.
    pub(crate) fn dial_anew(&mut self, id: TunnelId, now: Instant) {
        if let Some(tunnel) = self.tunnels.get_mut(&id)
            && matches!(tunnel.dial, Dial::Waiting | Dial::BackOff { .. })
        {
            tunnel.dial = Dial::Waiting;
            self.dial(id, now);
        }
    }

    /// Attempts whose wait is over.
    pub(crate) fn dial_due(&mut self, now: Instant) {
        for id in self.tunnels.redialling(now) {
            if matches!(self.tunnels.get(&id), Some(Tunnel { dial: Dial::BackOff { until, .. }, .. }) if *until <= now)
            {
                self.dial(id, now);
            }
        }
    }

    /// The underlay changed: those that had no path try again now.
    pub(crate) fn dial_without_path(&mut self, now: Instant) {
        let stuck = |tunnel: &&mut Tunnel| {
            matches!(tunnel.dial, Dial::BackOff { .. })
                && tunnel.why.as_ref().is_some_and(|why| why.code == Code::NoPath)
        };
        let mut due = Vec::new();
        for tunnel in self.tunnels.values_mut().filter(stuck) {
            tunnel.dial = Dial::BackOff { until: now, attempt: tunnel.dial.attempt() };
            due.push(tunnel.id);
        }
        for id in due {
            if self.tunnels.get(&id).is_some_and(|tunnel| self.has_path(tunnel)) {
                self.dial(id, now);
            } else if let Some(tunnel) = self.tunnels.get_mut(&id) {
                tunnel.dial = Dial::BackOff { until: now + NO_PATH_WAIT, attempt: tunnel.dial.attempt() };
            }
        }
    }

    /// Dials from an address that this host has no more: they begin anew from another.
    pub(crate) fn leave_lost_paths(&mut self, now: Instant) {
        let lost = |tunnel: &&Tunnel| {
            matches!(tunnel.dial, Dial::Dialing { .. })
                && tunnel.local.is_some_and(|local| !self.underlay.is_local(local))
                // One that is further is the peer's too, which may know it by another address already.
                && !self.ike.ike_status(tunnel.conn()).iter().any(|sa| {
                    matches!(sa.state, IkeState::Auth | IkeState::Established)
                })
        };
        let lost = self.tunnels.values().filter(lost).filter_map(|tunnel| Some((tunnel.id, tunnel.local?)));
        for (id, local) in lost.collect::<Vec<_>>() {
            let Some(tunnel) = self.tunnels.get_mut(&id) else { continue };
            tunnel.dial = Dial::BackOff { until: now, attempt: tunnel.dial.attempt() };
            self.ike.handle_command(Command::Terminate { conn: ConnId(id.0) }, now);
            let words = format!("{local} is no address of this host any more");
            self.tell(id, words.clone(), Level::Info);
            self.set_why(id, Why::local(Code::NoPath, words, now));
        }
    }

    fn has_path(&self, tunnel: &Tunnel) -> bool {
        tunnel.known_remotes().any(|remote| self.locals_for(tunnel.id, remote).is_ok())
    }

    /// Gives the IKE engine the connection with everything known so far filled in.
    pub(crate) fn set_connection(&mut self, id: TunnelId, now: Instant) {
        let Some(connection) = self.connection_of(id) else { return };
        let conn = ConnId(id.0);
        let same =
            |held: &ike::Connection| held.remote == connection.remote && held.local == connection.local;
        if !self.ike.connection(conn).is_some_and(same) {
            self.ike.upsert_connection(conn, connection, now);
        }
    }

    /// The same after the file changed: everything of it may differ.
    pub(crate) fn force_connection(&mut self, id: TunnelId, now: Instant) {
        if let Some(connection) = self.connection_of(id) {
            self.ike.upsert_connection(ConnId(id.0), connection, now);
        }
    }

    /// A tunnel's connection with everything known so far filled in; none for one that was stopped, whose peer is not
    /// let in.
    fn connection_of(&self, id: TunnelId) -> Option<ike::Connection> {
        let tunnel = self.tunnels.get(&id).filter(|tunnel| tunnel.dial != Dial::Stopped)?;
        Some(tunnel.plan.connection(self.locals(&tunnel.plan.local), tunnel.known_remotes().collect()))
    }

    /// Our outer addresses as they are now; empty for any.
    pub(crate) fn locals(&self, local: &Local) -> Vec<IpAddr> {
        let Local::Ends(ends) = local else { return Vec::new() };
        ends.iter()
            .flat_map(|end| match end {
                LocalEnd::Address(address) => vec![*address],
                LocalEnd::Interface(name) => [true, false]
                    .into_iter()
                    .filter_map(|ipv4| self.underlay.address_of(name, ipv4))
                    .collect(),
            })
            .collect()
    }
}

impl Tunnel {
    /// Addresses of the peer known so far: written, or looked up.
    pub(crate) fn known_remotes(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.plan.remote.addresses().chain(self.resolved.values().flatten().copied())
    }

    /// Forgets what names led to that the file no longer has.
    pub(crate) fn forget_names(&mut self) {
        let ends = ends(&self.plan.remote);
        let named = |name: &String| ends.iter().any(|end| matches!(end, RemoteEnd::Name(n) if n == name));
        self.resolved.retain(|name, _| named(name));
    }
}

fn ends(remote: &Remote) -> &[RemoteEnd] {
    match remote {
        Remote::Any => &[],
        Remote::Ends(ends) => ends,
    }
}

/// How often the list of `length` was gone through before this attempt, and whose turn it is now.
fn turn_of(attempt: u32, length: usize) -> (usize, usize) {
    let attempt = usize::try_from(attempt).unwrap_or(0);
    (attempt / length.max(1), attempt % length.max(1))
}

/// 1 s, 2 s, 4 s … 60 s, each less up to a half at random.
fn wait(attempt: u32, random: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1 << attempt.min(6)).min(LONGEST_WAIT);
    full.mul_f64(1.0 - 0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_are_jittered() {
        assert_eq!(wait(0, 0), Duration::from_secs(1));
        assert_eq!(wait(3, 0), Duration::from_secs(8));
        assert_eq!(wait(100, 0), LONGEST_WAIT);
        assert_eq!(wait(0, u32::MAX), Duration::from_millis(500));
    }
}
