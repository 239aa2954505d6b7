//! Dials between two addresses go one after another, a few at a time.
//!
//! A responder bounds how many it has half-open from one address (strongSwan drops the sixth IKE_SA_INIT without a word),
//! and what it drops is repeated a second later, all at once again. So a thousand tunnels between two addresses that begin
//! at one moment, after a restart say, would come up in gusts with ever longer pauses. Instead a few dials are under way,
//! and another begins as one ends. How many is learned: for as long as a request takes to be repeated none was, there
//! may be twice as many; once one was, half as many, and from then on one more at a time.
//!
//! That is so where somebody answers. Where nobody does there is nobody to spare, and each tunnel's time runs only from its
//! own first request on: so there are twice as many with each second in which some are found hopeless, up to a bound, that
//! all come soon to look for another way. With the first answer it is as many again as were learned.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::Path;
use crate::event::IkeId;
use crate::window::Progress;

/// Dials under way between two addresses at first, and at least: below every bound known of others. strongSwan asks for a
/// cookie from the fourth on, and drops the sixth.
const FEWEST: usize = 3;
/// No more than this many, however well all goes.
const MOST: usize = 64;
/// No more than this many while nobody answers.
const MOST_UNHEARD: usize = 256;
/// After so long an unanswered request is repeated, which tells that there were too many.
const TRIAL: Duration = Duration::from_secs(1);
/// A dial whose request was sent so often holds up no other any more: its peer, or that one tunnel of it, may be silent for
/// ever.
const HOPELESS: u32 = 3;

/// From which of our addresses to which of others: one of ours may be dead while another is well, and a peer counts by it.
type Way = (IpAddr, IpAddr);

/// All ways that are dialled.
#[derive(Default)]
pub(super) struct Pace {
    lanes: BTreeMap<Way, Lane>,
    under_way: BTreeMap<IkeId, UnderWay>,
    /// Ways on which another dial may begin.
    ready: BTreeSet<Way>,
}

/// A dial whose turn has come.
#[derive(Clone, Copy)]
struct UnderWay {
    way: Way,
    come_to: Progress,
    /// When it sent its first request.
    first: Option<Instant>,
}

/// One way.
struct Lane {
    waiting: VecDeque<IkeId>,
    under_way: usize,
    window: usize,
    /// When the window last grew, or a request was last repeated.
    since: Instant,
    /// When it was last halved.
    halved: Option<Instant>,
    /// When a request was last answered.
    heard: Option<Instant>,
    /// While none is: so many, and since when.
    unheard: Option<(usize, Instant)>,
}

impl Pace {
    /// A dial that has not begun waits for its turn.
    pub(super) fn wait(&mut self, ike: IkeId, path: Path, now: Instant) {
        let way = (path.local.ip(), path.remote.ip());
        self.ready.insert(way);
        self.lanes.entry(way).or_insert_with(|| Lane::new(now)).waiting.push_back(ike);
    }

    /// What a dial under way has come to, `None` once it is over.
    pub(super) fn note(&mut self, ike: IkeId, come_to: Option<Progress>, now: Instant) {
        let Some(dial) = self.under_way.get(&ike).copied() else { return };
        let Some(lane) = self.lanes.get_mut(&dial.way) else { return };
        let before = dial.come_to;
        let first = dial.first.unwrap_or(now);
        let answered = |to: Progress| to.answered > before.answered;
        if before.sent > 0 && come_to.is_none_or(answered) {
            lane.answered(before.sent, now);
        } else if come_to.is_some_and(|to| to.sent > before.sent.max(1)) {
            lane.repeated(first, now);
        }
        match come_to {
            Some(come_to) if come_to.sent < HOPELESS => {
                let first = dial.first.or((come_to.sent > 0).then_some(now));
                self.under_way.insert(ike, UnderWay { come_to, first, ..dial });
                return;
            }
            Some(_) => lane.given_up(first, now),
            None => {}
        }
        self.under_way.remove(&ike);
        lane.under_way -= 1;
        self.ready.insert(dial.way);
        if lane.under_way == 0 && lane.waiting.is_empty() {
            self.lanes.remove(&dial.way);
            self.ready.remove(&dial.way);
        }
    }

    /// The next dial whose turn it is. It counts as under way from here on, so it is to be [noted](Self::note), also when
    /// it is no more.
    pub(super) fn next(&mut self, now: Instant) -> Option<IkeId> {
        while let Some(way) = self.ready.first().copied() {
            let next = self.next_on(way, now);
            if next.is_some() {
                return next;
            }
            self.ready.remove(&way);
        }
        None
    }

    fn next_on(&mut self, way: Way, now: Instant) -> Option<IkeId> {
        let lane = self.lanes.get_mut(&way)?;
        if lane.waiting.is_empty() {
            return None;
        }
        lane.widen(now);
        if lane.under_way >= lane.room() {
            return None;
        }
        let ike = lane.waiting.pop_front()?;
        lane.under_way += 1;
        self.under_way.insert(ike, UnderWay { way, come_to: Progress::default(), first: None });
        Some(ike)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.under_way.is_empty() && self.ready.is_empty()
    }
}

impl Lane {
    fn new(now: Instant) -> Self {
        Self {
            waiting: VecDeque::new(),
            under_way: 0,
            window: FEWEST,
            since: now,
            halved: None,
            heard: None,
            unheard: None,
        }
    }

    fn room(&self) -> usize {
        self.unheard.map_or(self.window, |(many, _)| many.max(self.window))
    }

    fn widen(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= TRIAL {
            let wider = if self.halved.is_some() { self.window + 1 } else { self.window * 2 };
            self.window = wider.min(MOST);
            self.since = now;
        }
    }

    /// Once for all that were under way together.
    fn slow(&mut self, now: Instant) {
        if self.halved.is_none_or(|at| now.saturating_duration_since(at) >= TRIAL) {
            self.window = (self.window / 2).max(FEWEST);
            self.halved = Some(now);
        }
        self.since = now;
    }

    /// Was any request answered since then?
    fn heard_since(&self, first: Instant) -> bool {
        self.heard.is_some_and(|heard| heard >= first)
    }

    /// A request was answered that had been sent so often: one that had to be repeated was dropped by somebody who is there.
    fn answered(&mut self, sent: u32, now: Instant) {
        self.heard = Some(now);
        self.unheard = None;
        if sent > 1 {
            self.slow(now);
        }
    }

    /// A request was repeated. Too many were under way if others were answered meanwhile; if none was nobody may be there,
    /// and it is not known.
    fn repeated(&mut self, first: Instant, now: Instant) {
        if self.heard_since(first) {
            self.slow(now);
        } else {
            self.since = now;
        }
    }

    /// A request is hopeless. If no other was answered meanwhile either, twice as many may try.
    fn given_up(&mut self, first: Instant, now: Instant) {
        let lately = |at: Instant| now.saturating_duration_since(at) < TRIAL;
        if !self.heard_since(first) && !self.unheard.is_some_and(|(_, at)| lately(at)) {
            self.unheard = Some(((self.room() * 2).min(MOST_UNHEARD), now));
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
mod tests {
    use super::*;

    fn path(local: &str) -> Path {
        Path::ike(local.parse().unwrap(), "192.0.2.1".parse().unwrap())
    }

    fn sent(sent: u32) -> Option<Progress> {
        Some(Progress { sent, answered: 0 })
    }

    /// The first request is, and the next not sent yet.
    fn answered() -> Option<Progress> {
        Some(Progress { sent: 0, answered: 1 })
    }

    /// As many as may begin now.
    fn begun(pace: &mut Pace, now: Instant) -> Vec<IkeId> {
        std::iter::from_fn(|| pace.next(now)).collect()
    }

    fn waiting(count: u64, now: Instant) -> Pace {
        let mut pace = Pace::default();
        (0..count).for_each(|ike| pace.wait(IkeId(ike), path("198.51.100.1"), now));
        pace
    }

    #[test]
    fn a_few_are_under_way_and_the_next_begins_as_one_ends() {
        let now = Instant::now();
        let mut pace = waiting(5, now);
        assert_eq!(begun(&mut pace, now), [IkeId(0), IkeId(1), IkeId(2)]);
        pace.note(IkeId(1), sent(1), now);
        assert!(begun(&mut pace, now).is_empty());
        pace.note(IkeId(1), None, now);
        assert_eq!(begun(&mut pace, now), [IkeId(3)]);
        for ike in [0, 2, 3] {
            pace.note(IkeId(ike), None, now);
        }
        assert_eq!(begun(&mut pace, now), [IkeId(4)]);
        pace.note(IkeId(4), None, now);
        assert!(pace.is_empty(), "nothing is kept of an address that is not dialled");
    }

    #[test]
    fn while_nothing_is_repeated_there_may_be_twice_as_many_each_second() {
        let mut now = Instant::now();
        let mut pace = waiting(1000, now);
        let mut widths = Vec::new();
        for _ in 0..7 {
            let these = begun(&mut pace, now);
            widths.push(these.len());
            these.into_iter().for_each(|ike| pace.note(ike, None, now));
            now += TRIAL;
        }
        assert_eq!(widths, [3, 6, 12, 24, 48, 64, 64]);
    }

    #[test]
    fn once_some_were_repeated_there_are_half_as_many_and_then_one_more_at_a_time() {
        let mut now = Instant::now();
        let mut pace = waiting(1000, now);
        begun(&mut pace, now).into_iter().for_each(|ike| pace.note(ike, None, now));
        now += 2 * TRIAL;
        let six = begun(&mut pace, now);
        assert_eq!(six.len(), 6);
        now += TRIAL;
        six.iter().for_each(|ike| pace.note(*ike, sent(2), now));
        six.iter().for_each(|ike| pace.note(*ike, None, now));
        let mut widths = Vec::new();
        for _ in 0..3 {
            let these = begun(&mut pace, now);
            widths.push(these.len());
            these.into_iter().for_each(|ike| pace.note(ike, None, now));
            now += TRIAL;
        }
        assert_eq!(widths, [3, 4, 5], "halved once, not once for each of them");
    }

    #[test]
    fn one_that_is_never_answered_holds_up_no_other() {
        let now = Instant::now();
        let mut pace = waiting(4, now);
        for ike in begun(&mut pace, now) {
            pace.note(ike, sent(2), now);
            pace.note(ike, sent(HOPELESS), now);
        }
        assert_eq!(begun(&mut pace, now), [IkeId(3)]);
    }

    /// A peer that hears of nobody: how long it takes until every dial has begun, and how many began at most in a second.
    fn time_to_begin_all(pace: &mut Pace, mut now: Instant, count: usize) -> (Duration, usize) {
        let (start, step) = (now, Duration::from_millis(50));
        let mut under_way: Vec<(IkeId, Instant, u32)> = Vec::new();
        let (mut done, mut gust, mut begins) = (0, 0, VecDeque::new());
        loop {
            for (ike, at, times) in &mut under_way {
                let due = [Duration::ZERO, Duration::from_secs(1), Duration::from_millis(2500)];
                if due.get(*times as usize).is_some_and(|due| now >= *at + *due) {
                    *times += 1;
                    pace.note(*ike, sent(*times), now);
                }
            }
            let these = begun(pace, now);
            done += these.len();
            begins.extend(these.iter().map(|_| now));
            begins.retain(|at| now.saturating_duration_since(*at) < TRIAL);
            gust = gust.max(begins.len());
            under_way.extend(these.into_iter().map(|ike| (ike, now, 0)));
            if done == count {
                return (now - start, gust);
            }
            now += step;
            assert!(now - start < Duration::from_secs(3600), "{done} have begun");
        }
    }

    #[test]
    fn where_nobody_answers_a_thousand_begin_within_half_a_minute_and_within_bounds() {
        let now = Instant::now();
        let (took, gust) = time_to_begin_all(&mut waiting(1000, now), now, 1000);
        assert!(took < Duration::from_secs(30), "{took:?}");
        assert!(gust <= MOST_UNHEARD, "{gust} in a second");
    }

    #[test]
    fn with_the_first_answer_there_are_as_many_again_as_were_learned() {
        let mut now = Instant::now();
        let mut pace = waiting(100, now);
        for expected in [3, 6, 12] {
            let these = begun(&mut pace, now);
            assert_eq!(these.len(), expected);
            these.iter().for_each(|ike| pace.note(*ike, sent(1), now));
            now += TRIAL;
            these.iter().for_each(|ike| pace.note(*ike, sent(2), now));
            assert!(begun(&mut pace, now).is_empty(), "whether there is anybody is not known yet");
            now += TRIAL;
            these.iter().for_each(|ike| pace.note(*ike, sent(HOPELESS), now));
        }
        let these = begun(&mut pace, now);
        assert_eq!(these.len(), 24);
        these.iter().for_each(|ike| pace.note(*ike, sent(1), now));
        these[..22].iter().for_each(|ike| pace.note(*ike, answered(), now));
        these[..22].iter().for_each(|ike| pace.note(*ike, None, now));
        assert_eq!(begun(&mut pace, now).len(), 1, "three, of which two are under way");
    }

    #[test]
    fn who_answers_some_and_drops_the_others_gets_half_as_many() {
        let mut now = Instant::now();
        let mut pace = waiting(1000, now);
        for _ in 0..3 {
            begun(&mut pace, now).into_iter().for_each(|ike| pace.note(ike, None, now));
            now += TRIAL;
        }
        let these = begun(&mut pace, now);
        assert_eq!(these.len(), 24);
        these.iter().for_each(|ike| pace.note(*ike, sent(1), now));
        these[..5].iter().for_each(|ike| pace.note(*ike, answered(), now));
        now += TRIAL;
        these[5..].iter().for_each(|ike| pace.note(*ike, sent(2), now));
        these[5..].iter().for_each(|ike| pace.note(*ike, sent(HOPELESS), now));
        these[..5].iter().for_each(|ike| pace.note(*ike, None, now));
        assert_eq!(begun(&mut pace, now).len(), 12, "what is dropped is no sign that nobody is there");
    }

    #[test]
    fn dials_from_another_address_of_ours_go_their_own_way() {
        let now = Instant::now();
        let mut pace = waiting(10, now);
        (10..20).for_each(|ike| pace.wait(IkeId(ike), path("203.0.113.1"), now));
        let these: Vec<u64> = begun(&mut pace, now).into_iter().map(|ike| ike.0).collect();
        assert_eq!(these, [0, 1, 2, 10, 11, 12]);
    }

    #[test]
    fn who_demands_a_cookie_and_is_silent_then_is_not_silent() {
        let mut now = Instant::now();
        let mut pace = waiting(100, now);
        for _ in 0..3 {
            let these = begun(&mut pace, now);
            assert_eq!(these.len(), 3);
            these.iter().for_each(|ike| pace.note(*ike, sent(1), now));
            for sent in 1..=HOPELESS {
                now += TRIAL;
                these.iter().for_each(|ike| pace.note(*ike, Some(Progress { sent, answered: 1 }), now));
            }
        }
    }
}
