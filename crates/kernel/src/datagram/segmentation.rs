//! Whether a socket gives runs to the kernel whole, and why it stopped.

use std::sync::atomic::{AtomicU8, Ordering};

/// Does a socket give runs to the kernel whole, to be cut into datagrams behind the stack (`UDP_SEGMENT`)?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Segmentation {
    /// It does.
    On,
    /// The kernel does not know it, or nobody asked for it.
    Absent,
    /// Given up: the device that a run was to leave by cannot checksum what it cuts (EIO).
    NoChecksum,
    /// Given up: a run that fits its path was refused whole (EINVAL), and taken datagram by datagram.
    Refused,
}

/// The same for all threads that send through a socket. What was given up stays so.
#[derive(Debug)]
pub(crate) struct Segmenting(AtomicU8);

impl Segmenting {
    pub(crate) fn new(on: bool) -> Self {
        let state = if on { Segmentation::On } else { Segmentation::Absent };
        Self(AtomicU8::new(state as u8))
    }

    pub(crate) fn get(&self) -> Segmentation {
        let held = self.0.load(Ordering::Relaxed);
        let all = [Segmentation::On, Segmentation::NoChecksum, Segmentation::Refused];
        all.into_iter().find(|state| *state as u8 == held).unwrap_or(Segmentation::Absent)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Segmentation::On as u8
    }

    /// Gives it up, for the first reason alone.
    pub(crate) fn give_up(&self, why: Segmentation) {
        let (on, off) = (Segmentation::On as u8, why as u8);
        // It fails where another thread was first.
        let _ = self.0.compare_exchange(on, off, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_keeps_its_first_reason() {
        let segmenting = Segmenting::new(true);
        assert!(segmenting.is_on() && segmenting.get() == Segmentation::On);
        for why in [Segmentation::Refused, Segmentation::NoChecksum] {
            segmenting.give_up(why);
            assert!(!segmenting.is_on() && segmenting.get() == Segmentation::Refused);
        }
        let absent = Segmenting::new(false);
        absent.give_up(Segmentation::NoChecksum);
        assert_eq!(absent.get(), Segmentation::Absent);
    }
}
