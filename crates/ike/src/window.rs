//! The message window (RFC 7296 sections 2.1 to 2.3): one request in flight each way, retransmission, cached answers.
//! It knows no exchange.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::failure::Exchange;

/// The datagrams of one message: one, or its fragments in order.
pub(crate) type Packets = Vec<Arc<[u8]>>;

/// What a message is to the window.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The peer's next request.
    Fresh,
    /// Its last request again; it was answered.
    Repeat,
    /// Its last request again; the answer is still being computed.
    Working,
    /// The answer to our request.
    Answer,
    /// Outside the window.
    Stale,
}

/// What became of the request in flight.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing is due.
    Wait,
    /// Send it again.
    Repeat {
        /// Times sent, this one included.
        sent: u32,
    },
    /// Its whole time is over.
    Dead {
        /// Times sent.
        sent: u32,
        /// Which exchange.
        exchange: Exchange,
    },
}

/// How far our requests have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Times the request in flight was sent, 0 where there is none.
    pub(crate) sent: u32,
    /// How many before it were answered.
    pub(crate) answered: u32,
}

struct Outstanding {
    packets: Packets,
    exchange: Exchange,
    sent: u32,
    interval: Duration,
    next: Instant,
    give_up: Instant,
}

/// Both directions of one IKE SA.
#[derive(Default)]
pub(crate) struct Window {
    next_request: u32,
    /// Requests of ours that were answered.
    answered_to_us: u32,
    outstanding: Option<Outstanding>,
    expected: u32,
    answer: Option<Packets>,
    working: bool,
    /// Requests are repeated after this, and no more slowly each time.
    hurry: Option<Duration>,
}

/// The first repetition comes after this, or after a quarter of the whole patience if that is shorter.
const FIRST: Duration = Duration::from_secs(1);
/// Each interval is this much longer than the last: strongSwan's factor.
const FACTOR: f64 = 1.8;
/// And up to so much of it shorter, at random: what was sent at one moment shall not be repeated at one moment for ever.
const JITTER: f64 = 0.2;
/// No interval is longer than this.
const LONGEST: Duration = Duration::from_secs(30);

impl Window {
    /// The id of our next request.
    pub(crate) fn next_request(&self) -> u32 {
        self.next_request
    }

    /// The id of the peer's next request.
    pub(crate) fn expected(&self) -> u32 {
        self.expected
    }

    pub(crate) fn is_free(&self) -> bool {
        self.outstanding.is_none()
    }

    /// Times the request in flight was sent.
    pub(crate) fn sent(&self) -> u32 {
        self.outstanding.as_ref().map_or(0, |out| out.sent)
    }

    /// How far our requests have come.
    pub(crate) fn progress(&self) -> Progress {
        Progress { sent: self.sent(), answered: self.answered_to_us }
    }

    /// Classes a message by its id, changing nothing: it may still turn out to be forged.
    pub(crate) fn classify(&self, response: bool, id: u32) -> Received {
        if response {
            return match &self.outstanding {
                Some(_) if id == self.next_request => Received::Answer,
                Some(_) | None => Received::Stale,
            };
        }
        if id == self.expected && !self.working {
            return Received::Fresh;
        }
        match (self.working, id == self.expected, id.checked_add(1) == Some(self.expected)) {
            (true, true, _) => Received::Working,
            (false, _, true) if self.answer.is_some() => Received::Repeat,
            _ => Received::Stale,
        }
    }

    /// A fresh request is being worked on.
    pub(crate) fn accept(&mut self) {
        self.working = true;
        self.answer = None;
    }

    /// It is answered: the same bytes serve its repeats.
    pub(crate) fn answered(&mut self, packets: Packets) {
        self.working = false;
        self.expected = self.expected.saturating_add(1);
        self.answer = Some(packets);
    }

    /// The last answer.
    pub(crate) fn answer(&self) -> &[Arc<[u8]>] {
        self.answer.as_deref().unwrap_or_default()
    }

    /// A request was sent for the first time; `patience` is the whole time it may be repeated, and `random` (any value)
    /// places the first repetition.
    pub(crate) fn sent_request(
        &mut self,
        packets: Packets,
        exchange: Exchange,
        patience: Duration,
        random: u32,
        now: Instant,
    ) {
        let usual = FIRST.min(patience / 4).max(Duration::from_millis(50));
        let interval = self.hurry.unwrap_or(usual);
        let (next, give_up) = (now + placed(interval, self.hurry, random), now + patience);
        self.outstanding = Some(Outstanding { packets, exchange, sent: 1, interval, next, give_up });
    }

    /// There is little time left: from now on requests, the one in flight too, are repeated each `step`.
    pub(crate) fn hurry(&mut self, step: Duration, now: Instant) {
        self.hurry = Some(step);
        if let Some(out) = &mut self.outstanding {
            out.interval = step;
            out.next = out.next.min(now + step);
        }
    }

    /// The request in flight is sent once more now, then after `step` and ever more slowly, and for no longer than
    /// `patience`.
    pub(crate) fn prove(&mut self, step: Duration, patience: Duration, now: Instant) {
        if let Some(out) = &mut self.outstanding {
            out.sent += 1;
            out.interval = step;
            out.give_up = out.give_up.min(now + patience);
            out.next = (now + step).min(out.give_up);
        }
    }

    /// The request in flight is given up by then, if nothing ends it before.
    pub(crate) fn give_up_by(&mut self, at: Instant) {
        if let Some(out) = &mut self.outstanding {
            out.give_up = out.give_up.min(at);
            out.next = out.next.min(out.give_up);
        }
    }

    /// The request in flight, to send it again.
    pub(crate) fn request(&self) -> &[Arc<[u8]>] {
        self.outstanding.as_ref().map_or(&[], |out| &out.packets)
    }

    /// Our request was answered: the next has the next id.
    pub(crate) fn finish(&mut self) {
        if self.outstanding.take().is_some() {
            self.answered_to_us = self.answered_to_us.saturating_add(1);
            self.next_request = self.next_request.saturating_add(1);
        }
    }

    /// Our request is void and its id free again: only IKE_SA_INIT starts over like this, for it was answered so. One that
    /// only lingers sends no other.
    pub(crate) fn restart(&mut self) {
        self.answered_to_us = self.answered_to_us.saturating_add(1);
        self.outstanding = None;
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|out| out.next)
    }

    /// RFC 7296 section 2.4: "repeated attempts to contact it have gone unanswered for a timeout period".
    /// `random` (any value) places the next repetition.
    pub(crate) fn tick(&mut self, random: u32, now: Instant) -> Tick {
        let hurry = self.hurry;
        let Some(out) = &mut self.outstanding else { return Tick::Wait };
        if now >= out.give_up {
            return Tick::Dead { sent: out.sent, exchange: out.exchange };
        }
        if now < out.next {
            return Tick::Wait;
        }
        out.sent += 1;
        out.interval = hurry.unwrap_or_else(|| out.interval.mul_f64(FACTOR).min(LONGEST));
        out.next = (now + placed(out.interval, hurry, random)).min(out.give_up);
        Tick::Repeat { sent: out.sent }
    }
}

/// An interval, up to a fifth shorter by `random` (any value). In a hurry all are even.
fn placed(interval: Duration, hurry: Option<Duration>, random: u32) -> Duration {
    match hurry {
        Some(step) => step,
        None => interval.mul_f64(1.0 - JITTER * f64::from(random) / f64::from(u32::MAX)),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
mod tests {
    use super::*;

    fn packets() -> Packets {
        vec![Arc::from(&b"x"[..])]
    }

    #[test]
    fn the_peers_requests_are_fresh_once_and_repeats_after() {
        let mut window = Window::default();
        assert_eq!(window.classify(false, 0), Received::Fresh);
        assert_eq!(window.classify(false, 1), Received::Stale);
        window.accept();
        assert_eq!(window.classify(false, 0), Received::Working);
        window.answered(packets());
        assert_eq!(window.classify(false, 0), Received::Repeat);
        assert_eq!(window.classify(false, 1), Received::Fresh);
        window.accept();
        assert_eq!(window.classify(false, 0), Received::Stale, "the answer before the last is gone");
    }

    #[test]
    fn only_the_answer_to_the_request_in_flight_counts() {
        let now = Instant::now();
        let mut window = Window::default();
        assert_eq!(window.classify(true, 0), Received::Stale);
        window.sent_request(packets(), Exchange::IkeSaInit, Duration::from_secs(10), 0, now);
        assert_eq!(window.classify(true, 1), Received::Stale);
        assert_eq!(window.classify(true, 0), Received::Answer);
        window.finish();
        assert_eq!(window.classify(true, 0), Received::Stale);
        assert_eq!(window.next_request(), 1);
    }

    #[test]
    fn a_request_that_starts_over_was_answered_like_one_that_is_done() {
        let now = Instant::now();
        let mut window = Window::default();
        for (answered, end) in [Window::restart, Window::finish].into_iter().enumerate() {
            window.sent_request(packets(), Exchange::IkeSaInit, Duration::from_secs(10), 0, now);
            let answered = u32::try_from(answered).unwrap();
            assert_eq!(window.progress(), Progress { sent: 1, answered });
            end(&mut window);
            assert_eq!(window.progress(), Progress { sent: 0, answered: answered + 1 });
        }
    }

    #[test]
    fn what_was_sent_at_one_moment_is_repeated_within_a_fifth_of_the_pause() {
        let start = Instant::now();
        let next = |random: u32| {
            let mut window = Window::default();
            window.sent_request(packets(), Exchange::Informational, Duration::from_secs(150), random, start);
            let first = window.next_timeout().unwrap();
            assert_eq!(window.tick(random, first), Tick::Repeat { sent: 2 });
            (first - start, window.next_timeout().unwrap() - first)
        };
        assert_eq!(next(0), (FIRST, FIRST.mul_f64(FACTOR)));
        assert_eq!(next(u32::MAX), (FIRST.mul_f64(0.8), FIRST.mul_f64(0.8 * FACTOR)));
    }

    #[test]
    fn in_a_hurry_a_request_is_repeated_in_even_steps() {
        let (start, step) = (Instant::now(), Duration::from_millis(300));
        let mut window = Window::default();
        window.sent_request(packets(), Exchange::Informational, Duration::from_secs(150), 0, start);
        assert_eq!(window.next_timeout(), Some(start + FIRST));
        window.hurry(step, start + step);
        for sent in 2..8 {
            let at = start + step * sent;
            assert_eq!(window.next_timeout(), Some(at));
            assert_eq!(window.tick(u32::MAX, at), Tick::Repeat { sent });
        }
        window.finish();
        window.sent_request(packets(), Exchange::Informational, Duration::from_secs(150), 0, start);
        assert_eq!(window.next_timeout(), Some(start + step), "and the next one too");
        window.give_up_by(start + step / 2);
        assert!(matches!(window.tick(u32::MAX, start + step / 2), Tick::Dead { .. }));
    }

    #[test]
    fn a_request_is_repeated_ever_more_slowly_until_its_whole_time_is_over() {
        let start = Instant::now();
        let mut window = Window::default();
        window.sent_request(packets(), Exchange::Informational, Duration::from_secs(150), 0, start);
        let (mut now, mut gaps) = (start, Vec::new());
        let sent = loop {
            let next = window.next_timeout().unwrap();
            gaps.push(next - now);
            now = next;
            match window.tick(0, now) {
                Tick::Repeat { .. } => {}
                Tick::Dead { sent, .. } => break sent,
                Tick::Wait => panic!("woken for nothing"),
            }
        };
        assert_eq!(now - start, Duration::from_secs(150));
        assert!(gaps.windows(2).take(6).all(|pair| pair[0] < pair[1]));
        assert!(gaps.iter().all(|gap| *gap <= LONGEST));
        assert!((8..14).contains(&sent), "{sent}");
    }
}
