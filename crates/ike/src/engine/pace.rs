//! Dials to one address go one after another, a few at a time.
//!
//! A responder bounds how many it has half-open from one address (strongSwan drops the sixth IKE_SA_INIT without a word),
//! and what it drops is repeated a second later, all at once again. So a thousand tunnels between two addresses that begin
//! at one moment, after a restart say, would come up in gusts with ever longer pauses. Instead a few dials are under way,
//! and another begins as one ends. How many is learned: for as long as a request takes to be repeated none was, there
//! may be twice as many; once one was, half as many, and from then on one more at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::event::IkeId;

/// Dials under way to one address at first, and at least: below every bound known of others. strongSwan asks for a cookie
/// from the fourth on, and drops the sixth.
const FEWEST: usize = 3;
/// No more than this many, however well all goes.
const MOST: usize = 64;
/// After so long an unanswered request is repeated, which tells that there were too many.
const TRIAL: Duration = Duration::from_secs(1);
/// A dial whose request was sent so often holds up no other any more: its peer, or that one tunnel of it, may be silent for
/// ever.
const HOPELESS: u32 = 3;

/// All addresses that are dialled.
#[derive(Default)]
pub(super) struct Pace {
    lanes: BTreeMap<IpAddr, Lane>,
    /// Where those under way lead, and how often their request was sent.
    under_way: BTreeMap<IkeId, (IpAddr, u32)>,
    /// Addresses where another dial may begin.
    ready: BTreeSet<IpAddr>,
}

/// One address.
struct Lane {
    waiting: VecDeque<IkeId>,
    under_way: usize,
    window: usize,
    /// When the window last grew, or a request was last repeated.
    since: Instant,
    /// When it was last halved.
    halved: Option<Instant>,
}

impl Pace {
    /// A dial that has not begun waits for its turn.
    pub(super) fn wait(&mut self, ike: IkeId, remote: IpAddr, now: Instant) {
        let new =
            || Lane { waiting: VecDeque::new(), under_way: 0, window: FEWEST, since: now, halved: None };
        self.ready.insert(remote);
        self.lanes.entry(remote).or_insert_with(new).waiting.push_back(ike);
    }

    /// What a dial under way has come to: how often its request was sent, `None` once it is over.
    pub(super) fn note(&mut self, ike: IkeId, sent: Option<u32>, now: Instant) {
        let Some((remote, before)) = self.under_way.get(&ike).copied() else { return };
        let repeated = sent.is_some_and(|sent| sent > before.max(1));
        let over = sent.is_none_or(|sent| sent >= HOPELESS);
        match sent.filter(|_| !over) {
            Some(sent) => _ = self.under_way.insert(ike, (remote, sent)),
            None => _ = self.under_way.remove(&ike),
        }
        let Some(lane) = self.lanes.get_mut(&remote) else { return };
        if repeated {
            lane.slow(now);
        }
        if over {
            lane.under_way -= 1;
            self.ready.insert(remote);
        }
        if lane.under_way == 0 && lane.waiting.is_empty() {
            self.lanes.remove(&remote);
            self.ready.remove(&remote);
        }
    }

    /// The next dial whose turn it is. It counts as under way from here on, so it is to be [noted](Self::note), also when
    /// it is no more.
    pub(super) fn next(&mut self, now: Instant) -> Option<IkeId> {
        while let Some(remote) = self.ready.first().copied() {
            let next = self.next_to(remote, now);
            if next.is_some() {
                return next;
            }
            self.ready.remove(&remote);
        }
        None
    }

    fn next_to(&mut self, remote: IpAddr, now: Instant) -> Option<IkeId> {
        let lane = self.lanes.get_mut(&remote)?;
        if lane.waiting.is_empty() {
            return None;
        }
        lane.widen(now);
        if lane.under_way >= lane.window {
            return None;
        }
        let ike = lane.waiting.pop_front()?;
        lane.under_way += 1;
        self.under_way.insert(ike, (remote, 0));
        Some(ike)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.under_way.is_empty() && self.ready.is_empty()
    }
}

impl Lane {
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
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
mod tests {
    use super::*;

    fn remote() -> IpAddr {
        "192.0.2.1".parse().unwrap()
    }

    /// As many as may begin now.
    fn begun(pace: &mut Pace, now: Instant) -> Vec<IkeId> {
        std::iter::from_fn(|| pace.next(now)).collect()
    }

    fn waiting(count: u64, now: Instant) -> Pace {
        let mut pace = Pace::default();
        (0..count).for_each(|ike| pace.wait(IkeId(ike), remote(), now));
        pace
    }

    #[test]
    fn a_few_are_under_way_and_the_next_begins_as_one_ends() {
        let now = Instant::now();
        let mut pace = waiting(5, now);
        assert_eq!(begun(&mut pace, now), [IkeId(0), IkeId(1), IkeId(2)]);
        pace.note(IkeId(1), Some(1), now);
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
        six.iter().for_each(|ike| pace.note(*ike, Some(2), now));
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
            pace.note(ike, Some(2), now);
            pace.note(ike, Some(HOPELESS), now);
        }
        assert_eq!(begun(&mut pace, now), [IkeId(3)]);
    }
}
