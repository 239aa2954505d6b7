//! Rate limits over coarse time.

use esp::Tick;

/// So many at once, so many a second after that.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    burst: u64,
    per_second: u64,
    /// Thousandths of a token.
    level: u64,
    filled: Tick,
}

impl TokenBucket {
    pub(crate) fn new(burst: u64, per_second: u64) -> Self {
        Self { burst, per_second, level: burst * 1000, filled: Tick(0) }
    }

    /// May one more happen now?
    pub(crate) fn take(&mut self, now: Tick) -> bool {
        let earned = now.since(self.filled).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(earned).min(self.burst * 1000);
        self.filled = self.filled.max(now);
        let granted = self.level >= 1000;
        if granted {
            self.level -= 1000;
        }
        granted
    }
}

/// Lets the same thing be said again only after a pause. Remembers the last few things, so that many
/// tunnels in need do not silence each other for long and an attacker cannot grow it.
#[derive(Debug)]
pub(crate) struct Pause<K> {
    said: Vec<(K, Tick)>,
    next: usize,
    millis: u64,
}

impl<K: Copy + PartialEq> Pause<K> {
    pub(crate) fn new(remembered: usize, millis: u64) -> Self {
        Self { said: Vec::with_capacity(remembered), next: 0, millis }
    }

    /// May `what` be said now?
    pub(crate) fn allows(&mut self, what: K, now: Tick) -> bool {
        if let Some((_, last)) = self.said.iter_mut().find(|(said, _)| *said == what) {
            let over = now.since(*last) >= self.millis;
            if over {
                *last = now;
            }
            return over;
        }
        if self.said.len() < self.said.capacity() {
            self.said.push((what, now));
        } else if let Some(oldest) = self.said.get_mut(self.next) {
            *oldest = (what, now);
            self.next = (self.next + 1) % self.said.len();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(3, 10);
        let taken = |bucket: &mut TokenBucket, at| (0..20).filter(|_| bucket.take(Tick(at))).count();
        assert_eq!(taken(&mut bucket, 5000), 3);
        assert_eq!(taken(&mut bucket, 5100), 1);
        assert_eq!(taken(&mut bucket, 5099), 0);
        assert_eq!(taken(&mut bucket, 9000), 3);
    }

    #[test]
    fn the_same_thing_waits_and_another_does_not() {
        let mut pause = Pause::new(2, 1000);
        assert!(pause.allows('a', Tick(0)));
        assert!(!pause.allows('a', Tick(999)));
        assert!(pause.allows('b', Tick(999)));
        assert!(pause.allows('a', Tick(1000)));
        assert!(pause.allows('c', Tick(1000)));
        assert!(pause.allows('a', Tick(1000)), "pushed out by c");
    }
}
