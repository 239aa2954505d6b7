//! IKE's CHILD SAs as the datapath's SAs: which one to send on, and how long the old ones are opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Group;
use esp::{InboundParams, InboundSa, Limits, OutboundParams, OutboundSa, SetupError};
use ike::{ChildId, ChildUp, IkeId, Path, Role};
use inet::Selector;

/// One CHILD SA.
pub(crate) struct Child {
    pub(crate) ike: IkeId,
    pub(crate) inbound: Arc<InboundSa>,
    pub(crate) outbound: Arc<OutboundSa>,
    pub(crate) local_ts: Vec<Selector>,
    pub(crate) remote_ts: Vec<Selector>,
    pub(crate) path: Path,
    pub(crate) encap: bool,
    pub(crate) pfs: Option<Group>,
    pub(crate) replay_window: u32,
    /// It lost a collision and only hears what is still under way on it.
    inbound_only: bool,
    pub(crate) since: Instant,
    /// Gone for IKE; opened until then for packets still under way.
    pub(crate) linger_until: Option<Instant>,
    /// Packets opened when the IKE engine was last told that the peer lives.
    pub(crate) seen: u64,
}

/// What SAs carried and refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) packets_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) packets_in: u64,
    pub(crate) bytes_in: u64,
    /// By reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Carried {
    fn add(&mut self, child: &Child) {
        let (out, inward) = (child.outbound.usage(), child.inbound.usage());
        self.packets_out += out.packets;
        self.bytes_out += out.bytes;
        self.packets_in += inward.packets;
        self.bytes_in += inward.bytes;
        let refused = child.inbound.refusals().iter().chain(child.outbound.refusals().iter());
        for (reason, count) in refused.filter(|(_, count)| *count > 0) {
            *self.refused.entry(reason.name()).or_default() += count;
        }
    }
}

/// The CHILD SAs of one tunnel.
#[derive(Default)]
pub(crate) struct Children {
    all: BTreeMap<ChildId, Child>,
    sending: Option<ChildId>,
    /// Made by the peer's rekey: sent on once the peer has shown that it holds the keys.
    next: Option<ChildId>,
    /// What those that are gone carried.
    past: Carried,
}

impl Children {
    /// Takes a new CHILD SA in. `iv_seed` is fresh randomness for its IVs.
    pub(crate) fn up(&mut self, up: &ChildUp, iv_seed: [u8; 16], now: Instant) -> Result<(), SetupError> {
        let child = Child::new(up, iv_seed, now)?;
        self.all.insert(up.child, child);
        if up.inbound_only {
            return Ok(());
        }
        // One that we do not yet send on may be replaced too: what holds for it holds for its successor.
        let old = up.replaces.filter(|old| self.sending == Some(*old) || self.next == Some(*old));
        match (old, up.role) {
            (Some(_), Role::Responder) => self.next = Some(up.child),
            (Some(_), Role::Initiator) | (None, _) => {
                self.sending = Some(up.child);
                self.next = None;
            }
        }
        Ok(())
    }

    /// A CHILD SA ended for IKE. Its inbound half is opened a little longer.
    pub(crate) fn down(&mut self, id: ChildId, linger: Duration, now: Instant) {
        let Some(child) = self.all.get_mut(&id) else { return };
        if linger.is_zero() {
            self.past.add(child);
            self.all.remove(&id);
        } else {
            child.linger_until = Some(now + linger);
        }
        if self.next == Some(id) {
            self.next = None;
        }
        if self.sending == Some(id) {
            self.sending = self.next.take().or_else(|| self.newest());
        }
    }

    /// The first packet on an SA: the peer holds its keys. True when that changes what we send on.
    pub(crate) fn first_packet(&mut self, spi_in: u32) -> bool {
        let arrived = |id: &ChildId| self.all.get(id).is_some_and(|child| child.inbound.spi() == spi_in);
        match self.next.filter(arrived) {
            Some(id) => {
                self.sending = Some(id);
                self.next = None;
                true
            }
            None => false,
        }
    }

    /// Drops the SAs whose time of lingering is over; true when there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.all.len();
        let past = &mut self.past;
        self.all.retain(|_, child| {
            let stays = child.linger_until.is_none_or(|until| until > now);
            if !stays {
                past.add(child);
            }
            stays
        });
        self.all.len() != before
    }

    /// What all of them carried and refused, those that are gone too.
    pub(crate) fn carried(&self) -> Carried {
        let mut sum = self.past.clone();
        self.all.values().for_each(|child| sum.add(child));
        sum
    }

    /// The next time [`expire`](Self::expire) will find something.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.all.values().filter_map(|child| child.linger_until).min()
    }

    /// The SA to send on.
    pub(crate) fn sending(&self) -> Option<(ChildId, &Child)> {
        let id = self.sending?;
        self.all.get(&id).map(|child| (id, child))
    }

    /// All of them, lingering ones too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ChildId, &Child)> {
        self.all.iter()
    }

    /// The same, to note what was seen.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.all.values_mut()
    }

    /// The one with this SPI, either way.
    pub(crate) fn by_spi(&self, spi: u32, outbound: bool) -> Option<&Child> {
        self.all
            .values()
            .find(|child| if outbound { child.outbound.spi() == spi } else { child.inbound.spi() == spi })
    }

    /// The peer of an IKE SA is elsewhere now.
    pub(crate) fn moved(&mut self, ike: IkeId, path: Path) {
        for child in self.all.values_mut().filter(|child| child.ike == ike && child.encap) {
            child.path = path.floated();
        }
    }

    /// The children of a rekeyed IKE SA go on under its successor.
    pub(crate) fn inherit(&mut self, old: IkeId, new: IkeId) {
        for child in self.all.values_mut().filter(|child| child.ike == old) {
            child.ike = new;
        }
    }

    fn newest(&self) -> Option<ChildId> {
        self.all
            .iter()
            .rev()
            .find(|(_, child)| child.linger_until.is_none() && !child.inbound_only)
            .map(|(id, _)| *id)
    }
}

impl Child {
    fn new(up: &ChildUp, iv_seed: [u8; 16], now: Instant) -> Result<Self, SetupError> {
        let limits = limits(up);
        let inbound = InboundSa::new(InboundParams {
            spi: up.spi_in,
            suite: up.suite,
            encr_key: up.keys.encr_in.as_bytes(),
            integ_key: up.keys.integ_in.as_bytes(),
            esn: up.esn,
            replay_window: up.replay_window,
            limits,
        })?;
        let outbound = OutboundSa::new(OutboundParams {
            spi: up.spi_out,
            suite: up.suite,
            encr_key: up.keys.encr_out.as_bytes(),
            integ_key: up.keys.integ_out.as_bytes(),
            iv_seed,
            esn: up.esn,
            limits,
        })?;
        Ok(Self {
            ike: up.ike,
            inbound: Arc::new(inbound),
            outbound: Arc::new(outbound),
            local_ts: up.local_ts.clone(),
            remote_ts: up.remote_ts.clone(),
            path: if up.encap { up.path.floated() } else { up.path },
            encap: up.encap,
            pfs: up.pfs,
            replay_window: up.replay_window,
            inbound_only: up.inbound_only,
            since: now,
            linger_until: None,
            seen: 0,
        })
    }

    /// The outer path of the datapath.
    pub(crate) fn outer(&self) -> tunnel::OuterPath {
        let Path { local, remote } = self.path;
        if self.encap {
            tunnel::OuterPath::Udp { local: SocketAddr::new(local.ip(), local.port()), remote }
        } else {
            tunnel::OuterPath::Esp { local: local.ip(), remote: remote.ip() }
        }
    }
}

/// Soft limits at 90 % of the hard ones: the same share the lifetime has by default.
fn limits(up: &ChildUp) -> Limits {
    let soft = |hard: Option<u64>| hard.map(|hard| hard - hard / 10);
    Limits {
        soft_bytes: soft(up.bytes),
        hard_bytes: up.bytes,
        soft_packets: soft(up.packets),
        hard_packets: up.packets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto::{Encr, Secret, Suite};
    use ike::{ChildKeys, ConnId};

    const LINGER: Duration = Duration::from_secs(5);

    fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some point in time")]
        Instant::now()
    }

    /// The CHILD SA of this number, in the place of another if one is named.
    fn child(number: u64, replaces: Option<u64>, role: Role) -> ChildUp {
        let key = || Secret::from(vec![7; 36]);
        let none = || Secret::from(Vec::new());
        let spi = 0x1000 + u32::try_from(number).unwrap();
        ChildUp {
            conn: ConnId(1),
            child: ChildId(number),
            ike: IkeId(1),
            spi_in: spi,
            spi_out: spi,
            suite: Suite::new(Encr::from_keyword("aes256gcm16").unwrap(), None).unwrap(),
            esn: false,
            keys: ChildKeys { encr_in: key(), integ_in: none(), encr_out: key(), integ_out: none() },
            local_ts: vec![Selector::any_v4()],
            remote_ts: vec![Selector::any_v4()],
            path: Path::ike("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()),
            encap: true,
            replaces: replaces.map(ChildId),
            role,
            inbound_only: false,
            pfs: None,
            too_narrow: None,
            replay_window: 1024,
            bytes: None,
            packets: None,
        }
    }

    fn sending(children: &Children) -> Option<u64> {
        children.sending().map(|(id, _)| id.0)
    }

    #[test]
    fn a_second_rekey_by_the_peer_before_any_packet_still_leaves_the_first_sa_in_use() {
        let (mut children, now) = (Children::default(), now());
        children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
        children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
        assert_eq!(sending(&children), Some(1));
        children.up(&child(3, Some(2), Role::Responder), [0; 16], now).unwrap();
        assert_eq!(sending(&children), Some(1), "the peer may lack the keys of the third too");
        children.down(ChildId(2), LINGER, now);
        assert_eq!(sending(&children), Some(1));
        assert!(!children.first_packet(0x1002), "of the second nothing is awaited any more");
        assert!(children.first_packet(0x1003));
        assert_eq!(sending(&children), Some(3));
    }

    #[test]
    fn the_first_ones_end_too_leads_to_the_newest_successor() {
        let (mut children, now) = (Children::default(), now());
        children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
        children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
        children.up(&child(3, Some(2), Role::Responder), [0; 16], now).unwrap();
        children.down(ChildId(1), LINGER, now);
        assert_eq!(sending(&children), Some(3));
    }

    #[test]
    fn our_own_rekey_of_one_not_yet_sent_on_is_sent_on_at_once() {
        let (mut children, now) = (Children::default(), now());
        children.up(&child(1, None, Role::Initiator), [0; 16], now).unwrap();
        children.up(&child(2, Some(1), Role::Responder), [0; 16], now).unwrap();
        children.up(&child(3, Some(2), Role::Initiator), [0; 16], now).unwrap();
        assert_eq!(sending(&children), Some(3));
    }

    #[test]
    fn what_was_carried_stays_counted_when_its_sa_is_gone() {
        let (mut children, now) = (Children::default(), now());
        for number in 1..=2 {
            children.up(&child(number, None, Role::Initiator), [0; 16], now).unwrap();
            let (_, held) = children.sending().unwrap();
            held.outbound.reserve(10, 1000, esp::Tick(0)).unwrap();
            held.inbound.refusals().count(esp::Refusal::Replayed, 2);
        }
        let whole = children.carried();
        assert_eq!((whole.packets_out, whole.bytes_out), (20, 2000));
        assert_eq!(whole.refused, [("replayed", 4)].into());
        children.down(ChildId(1), Duration::ZERO, now);
        children.down(ChildId(2), LINGER, now);
        assert_eq!(children.carried(), whole);
        assert!(children.expire(now + LINGER));
        assert_eq!((children.iter().count(), children.carried()), (0, whole));
    }
}
