//! What every step may use: randomness, numbers, limits, and the queues that lead out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Secret;
use zeroize::Zeroizing;

use crate::config::{ConnId, Connection, Limits, Path};
use crate::counters::{Counter, Counters};
use crate::engine::Index;
use crate::event::{ChildId, Event, IkeId, Note, Transmit};
use crate::failure::Failure;
use crate::random::Generator;
use crate::resource::Resource;
use crate::sa::IkeSa;
use crate::work::{Work, WorkId};

/// One engine's common goods.
pub(crate) struct Core {
    rng: Generator,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) works: VecDeque<(WorkId, Work)>,
    pub(crate) crosses: VecDeque<Cross>,
    owners: BTreeMap<WorkId, IkeId>,
    esp_spis: BTreeSet<u32>,
    /// Among how many receivers ESP packets are dealt by their SPI.
    pub(crate) receivers: NonZeroU32,
    next: u64,
    notes: Budget,
    answers: Budget,
    cookies: CookieBudgets,
}

/// What one IKE SA wants done to another; the engine does it once the step is over.
pub(crate) enum Cross {
    /// A new IKE SA was made by rekeying.
    Spawn(Box<IkeSa>),
    /// The CHILD SAs of `old` move to `new`.
    Adopt { old: IkeId, new: IkeId },
    /// `old` is gone on both sides: a successor the peer made of it and that lost will hardly be deleted any more.
    Orphan { old: IkeId },
    /// A successor the peer made goes with the one it was made of.
    Disown { new: IkeId },
    /// Keep it only to repeat its last answer.
    Linger { ike: IkeId },
    /// An IKE SA authenticated: others of its connection are duplicates.
    Established { ike: IkeId, conn: ConnId, initial_contact: bool },
}

/// What one step has at hand.
pub(crate) struct Ctx<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) connections: &'a BTreeMap<ConnId, Arc<Connection>>,
    pub(crate) index: &'a Index,
    pub(crate) now: Instant,
}

impl Ctx<'_> {
    pub(crate) fn connection(&self, conn: ConnId) -> Option<Arc<Connection>> {
        self.connections.get(&conn).cloned()
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.core.events.push_back(event);
    }

    pub(crate) fn failed(&mut self, conn: ConnId, failure: Failure) {
        self.event(Event::Failed { conn, failure });
    }

    /// A note about a known peer: its own exchanges bound how many there can be.
    pub(crate) fn note(&mut self, note: Note) {
        self.event(Event::Note(note));
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.core.counters.count(counter);
    }
}

impl Core {
    pub(crate) fn new(seed: [u8; 32], limits: Limits) -> Self {
        Self {
            rng: Generator::new(seed),
            limits,
            counters: Counters::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            works: VecDeque::new(),
            crosses: VecDeque::new(),
            owners: BTreeMap::new(),
            esp_spis: BTreeSet::new(),
            receivers: NonZeroU32::MIN,
            next: 0,
            notes: Budget::default(),
            answers: Budget::default(),
            cookies: CookieBudgets::default(),
        }
    }

    /// N random octets.
    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        self.rng.octets()
    }

    pub(crate) fn random_u32(&mut self) -> u32 {
        self.rng.number()
    }

    /// RFC 7296 section 2.10: nonces have at least half the key size of the PRF and 128 bits; 32 octets do for all.
    pub(crate) fn nonce(&mut self) -> Vec<u8> {
        self.random::<32>().to_vec()
    }

    /// A random time of up to `most`.
    pub(crate) fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.rng.number()) / f64::from(u32::MAX))
    }

    /// An IKE SPI: random, never zero.
    pub(crate) fn ike_spi(&mut self) -> u64 {
        loop {
            let spi = self.rng.long_number();
            if spi != 0 {
                return spi;
            }
        }
    }

    /// An SPI for packets of `conn` to us, unlike every other in use; below 256 they are reserved (RFC 4303 section
    /// 2.1). Divided by the number of receivers it leaves the same rest as the connection's number and the resource's
    /// together: each of a connection's CHILD SAs goes to the receiver after the one before.
    pub(crate) fn esp_spi(&mut self, conn: ConnId, resource: Resource) -> u32 {
        let receivers = self.receivers;
        let rest = conn.0.wrapping_add(u32::from(resource.0)) % receivers;
        loop {
            let random = self.rng.number();
            let Some(spi) = (random - random % receivers).checked_add(rest) else { continue };
            if spi >= 256 && self.esp_spis.insert(spi) {
                return spi;
            }
        }
    }

    pub(crate) fn free_esp_spi(&mut self, spi: u32) {
        self.esp_spis.remove(&spi);
    }

    #[cfg(test)]
    pub(crate) fn esp_spis_in_use(&self) -> usize {
        self.esp_spis.len()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn ike_id(&mut self) -> IkeId {
        IkeId(self.number())
    }

    pub(crate) fn child_id(&mut self) -> ChildId {
        ChildId(self.number())
    }

    /// Hands work out on behalf of an IKE SA.
    pub(crate) fn work(&mut self, owner: IkeId, work: Work) -> WorkId {
        let id = WorkId(self.number());
        self.owners.insert(id, owner);
        self.works.push_back((id, work));
        id
    }

    pub(crate) fn owner_of(&mut self, work: WorkId) -> Option<IkeId> {
        self.owners.remove(&work)
    }

    pub(crate) fn drop_works(&mut self, owner: IkeId) {
        self.owners.retain(|_, of| *of != owner);
    }

    pub(crate) fn send(&mut self, path: Path, bytes: Arc<[u8]>) {
        self.counters.count(Counter::Sent);
        self.transmits.push_back(Transmit { path, bytes, keepalive: false });
    }

    pub(crate) fn keepalive(&mut self, path: Path) {
        self.counters.count(Counter::Keepalives);
        self.transmits.push_back(Transmit { path, bytes: Arc::new([0xff]), keepalive: true });
    }

    /// An answer to someone without an IKE SA: within its rate.
    pub(crate) fn answer_stranger(&mut self, path: Path, bytes: Vec<u8>, now: Instant) -> bool {
        let allowed = self.answers.take(self.limits.answers_per_second, now);
        if allowed {
            self.send(path, bytes.into());
        } else {
            self.counters.count(Counter::RateLimited);
        }
        allowed
    }

    /// The demand of a cookie, smaller than the request it answers: within a rate of its own, and of each address by itself
    /// if it is `named` by some connection.
    pub(crate) fn demand_cookie(&mut self, path: Path, bytes: Vec<u8>, named: bool, now: Instant) {
        let from = Some(path.remote.ip()).filter(|_| named);
        if self.cookies.of(from, now).take(self.limits.cookies_per_second, now) {
            self.counters.count(Counter::CookieSent);
            self.send(path, bytes.into());
        } else {
            self.counters.count(Counter::RateLimited);
        }
    }

    /// A note about someone without an IKE SA: within its rate. Was it told?
    pub(crate) fn note_stranger(&mut self, note: Note, now: Instant) -> bool {
        self.event_from_stranger(Event::Note(note), now)
    }

    /// An event that someone without an IKE SA can cause: within the rate of notes. Was it told?
    pub(crate) fn event_from_stranger(&mut self, event: Event, now: Instant) -> bool {
        let allowed = self.notes.take(self.limits.notes_per_second, now);
        if allowed {
            self.events.push_back(event);
        } else {
            self.counters.count(Counter::RateLimited);
        }
        allowed
    }

    /// Randomness for a key exchange, wiped when dropped.
    pub(crate) fn secret_seed(&mut self) -> Zeroizing<[u8; 32]> {
        self.rng.secret()
    }

    /// A secret for cookies.
    pub(crate) fn secret(&mut self) -> Secret {
        Secret::new(&*self.rng.secret::<32>())
    }
}

/// Cookies demanded of all addresses that no connection names, and of each that some do: a flood from one address, which
/// may be forged, shall not keep any other from its cookie.
#[derive(Default)]
struct CookieBudgets {
    strangers: Budget,
    /// Of the last two seconds; so there are no more than connections name addresses.
    named: BTreeMap<IpAddr, Budget>,
    swept: Option<Instant>,
}

impl CookieBudgets {
    fn of(&mut self, named: Option<IpAddr>, now: Instant) -> &mut Budget {
        if self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SECOND) {
            self.named.retain(|_, budget| !budget.is_over(now));
            self.swept = Some(now);
        }
        match named {
            Some(address) => self.named.entry(address).or_default(),
            None => &mut self.strangers,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// So many a second.
#[derive(Default)]
struct Budget {
    window: Option<Instant>,
    used: u32,
}

impl Budget {
    /// Is it whole again?
    fn is_over(&self, now: Instant) -> bool {
        self.window.is_none_or(|start| now.saturating_duration_since(start) >= SECOND)
    }

    fn take(&mut self, per_second: u32, now: Instant) -> bool {
        if self.is_over(now) {
            self.window = Some(now);
            self.used = 0;
        }
        let allowed = self.used < per_second;
        self.used = self.used.saturating_add(u32::from(allowed));
        allowed
    }
}
