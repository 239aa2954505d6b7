//! Which way a packet takes: what the scout found out, remembered for a moment.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};

use super::ears::Ears;
use super::frame::Head;
use super::scout::{About, Answer, Question};
use crate::datagram::Source;
use crate::netlink::Stir;

/// Ways remembered at most; past that all are asked for anew.
const MOST: usize = 4096;
/// Milliseconds after which a way is asked for again, and a batch takes the kernel's own.
pub(super) const GOOD_FOR: u64 = 1000;
/// Milliseconds for which an answer does while the next is on its way.
const GOOD_AT_MOST: u64 = 2 * GOOD_FOR;
/// Milliseconds between two questions for the same way, whatever changes meanwhile.
const PAUSE: u64 = 10;
/// Milliseconds between two readings of the host's addresses, whatever changes meanwhile.
const ADDRESSES_PAUSE: u64 = 100;
/// Answers taken in before one batch.
const ANSWERS: usize = 64;

/// A path that AF_XDP may take.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) head: Head,
    /// Which of the devices it leaves by.
    pub(super) port: usize,
    /// Can frames that the program makes leave by it now?
    pub(super) injects: bool,
    /// Octets of the longest IP packet.
    pub(super) mtu: usize,
}

/// Whom to, and from where.
pub(super) type Way = (IpAddr, Option<Source>);

/// Why the raw socket gets a packet, and in whose place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    NoWay(Option<usize>),
    TooLong(usize),
    NoFrame(usize),
}

/// What is known of a way.
struct Known {
    /// `None`: the kernel sends.
    hop: Option<Hop>,
    /// The port it led by, when it last led by one.
    port: Option<usize>,
    /// When that was asked, after so many changes; `None` before the first answer.
    answered: Option<(u64, u64)>,
    /// When it was asked last; `None`: never.
    asked: Option<u64>,
    /// The last batch of which the raw socket got something of this way, and why.
    left: Option<(u64, Slow)>,
}

impl Known {
    /// How old the answer is; `None` when there is none, or something has changed since.
    fn age(&self, generation: u64, now: u64) -> Option<u64> {
        self.answered.filter(|(_, of)| *of == generation).map(|(at, _)| now.saturating_sub(at))
    }
}

/// The ways through our devices, as the kernel's routes, rules and neighbours have them. Asks nobody but the scout, and
/// never waits for it.
pub(super) struct Hops {
    stir: Stir,
    mark: Option<u32>,
    generation: u64,
    /// Batches so far.
    batch: u64,
    /// The numbers of our devices.
    devices: Arc<[u32]>,
    ways: HashMap<Way, Known>,
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
    /// The host's addresses may have changed.
    addresses_stale: bool,
    addresses_asked: Option<u64>,
}

impl Hops {
    pub(super) fn new(
        mark: Option<u32>,
        questions: SyncSender<Question>,
        answers: Receiver<Answer>,
    ) -> io::Result<Self> {
        Ok(Self {
            stir: Stir::open()?,
            mark,
            generation: 0,
            batch: 0,
            devices: Arc::default(),
            ways: HashMap::new(),
            questions,
            answers,
            addresses_stale: false,
            addresses_asked: None,
        })
    }

    /// These are our devices from now on, in the order of their ports, and those the ears of the new one.
    pub(super) fn set_devices(&mut self, devices: Vec<u32>, ears: Option<Ears>) {
        self.devices = devices.into();
        self.generation += 1;
        if let Some(ears) = ears {
            // With more devices than the scout holds questions, one is left to the stack.
            self.put(About::Ears(ears), 0);
        }
    }

    /// Other packets carry this mark from now on, by which rules may choose their way.
    pub(super) fn set_mark(&mut self, mark: Option<u32>) {
        self.mark = mark;
        self.generation += 1;
    }

    /// Before each batch: what is remembered is in doubt when anything has changed, and what was answered is taken in.
    pub(super) fn refresh(&mut self, now: u64) {
        self.batch += 1;
        let stirred = self.stir.stirred();
        if stirred {
            self.generation += 1;
            self.addresses_stale = true;
        }
        let rested = self.addresses_asked.is_none_or(|at| now.saturating_sub(at) >= ADDRESSES_PAUSE);
        if self.addresses_stale && rested && self.put(About::Addresses, now) {
            (self.addresses_stale, self.addresses_asked) = (false, Some(now));
            // What was answered since the change, and before this, went by addresses that may be the host's no more.
            self.generation += u64::from(!stirred);
        }
        for _ in 0..ANSWERS {
            let Ok(Answer { way, hop, at, generation }) = self.answers.try_recv() else { return };
            if let Some(known) = self.ways.get_mut(&way) {
                known.port = hop.as_ref().map(|hop| hop.port).or(known.port);
                (known.hop, known.answered) = (hop, Some((at, generation)));
            }
        }
    }

    /// The way to `to` at `now` (milliseconds of any clock). Where there is none this batch is the kernel's to send, on behalf
    /// of the port that the way led by when it was last known. So is one a second on every way, which keeps the neighbour's
    /// entry and the path's MTU alive, and tells when either is not. And so is what follows in the same batch on a way that was
    /// left to it ([`Self::leave`]): sent before that, it would overtake it.
    pub(super) fn find(&mut self, to: IpAddr, source: Option<Source>, now: u64) -> Result<&Hop, Slow> {
        let way = (to, source);
        let known = self.ways.get(&way);
        if let Some((_, why)) = known.and_then(|known| known.left).filter(|(batch, _)| *batch == self.batch) {
            return Err(why);
        }
        let age = known.and_then(|known| known.age(self.generation, now));
        let due = age.is_none_or(|age| age >= GOOD_FOR);
        let rested = known.and_then(|known| known.asked).is_none_or(|at| now.saturating_sub(at) >= PAUSE);
        let asked = due && rested && self.ask(way, now);
        let Some(Known { hop, port, .. }) = self.ways.get(&way) else { return Err(Slow::NoWay(None)) };
        match hop {
            Some(hop) if !asked && age.is_some_and(|age| age < GOOD_AT_MOST) => Ok(hop),
            _ => Err(Slow::NoWay(*port)),
        }
    }

    /// The raw socket gets something of this way, and so all of it that follows in the same batch.
    pub(super) fn leave(&mut self, way: &Way, why: Slow) {
        if let Some(known) = self.ways.get_mut(way) {
            known.left = Some((self.batch, why));
        }
    }

    fn ask(&mut self, way: Way, now: u64) -> bool {
        if !self.put(About::Way(way), now) {
            return false;
        }
        if self.ways.len() >= MOST && !self.ways.contains_key(&way) {
            self.ways.clear();
        }
        let new = Known { hop: None, port: None, answered: None, asked: None, left: None };
        self.ways.entry(way).or_insert(new).asked = Some(now);
        true
    }

    /// Puts a question; `false` when the scout has too many, and it is put again later.
    fn put(&self, about: About, now: u64) -> bool {
        let (devices, mark) = (Arc::clone(&self.devices), self.mark);
        let question = Question { about, devices, mark, at: now, generation: self.generation };
        self.questions.try_send(question).is_ok()
    }
}
