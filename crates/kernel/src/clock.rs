//! What a thread used of a processor.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time the calling thread used so far, its own and the kernel's for it.
#[must_use]
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_time_and_sleep_does_not() {
        let start = thread_time();
        let mut sum = 0_u64;
        while thread_time() < start + Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        let worked = thread_time();
        std::thread::sleep(Duration::from_millis(200));
        assert!(thread_time() - worked < Duration::from_millis(100));
    }
}
