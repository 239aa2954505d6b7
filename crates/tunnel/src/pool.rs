//! Buffers for the few packets the datapath makes itself (answers to too big ones), used again and again.

use std::collections::VecDeque;

use crate::TunnelId;

/// A bounded queue of frames for TUN devices; its buffers return to it.
pub(crate) struct Replies {
    ready: VecDeque<(TunnelId, Vec<u8>)>,
    free: Vec<Vec<u8>>,
    lent: Option<Vec<u8>>,
    capacity: usize,
}

impl Replies {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            ready: VecDeque::with_capacity(capacity),
            free: Vec::with_capacity(capacity + 1),
            lent: None,
            capacity,
        }
    }

    /// Adds a frame that `build` writes into an empty buffer; `false` when there was no room or nothing to
    /// say.
    pub(crate) fn push(&mut self, tunnel: TunnelId, build: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        if self.ready.len() >= self.capacity {
            return false;
        }
        let mut buffer = self.free.pop().unwrap_or_default();
        buffer.clear();
        let built = build(&mut buffer);
        if built {
            self.ready.push_back((tunnel, buffer));
        } else {
            self.free.push(buffer);
        }
        built
    }

    /// The oldest frame; its buffer is lent until the next call.
    pub(crate) fn poll(&mut self) -> Option<(TunnelId, &[u8])> {
        if let Some(buffer) = self.lent.take() {
            self.free.push(buffer);
        }
        let (tunnel, buffer) = self.ready.pop_front()?;
        Some((tunnel, self.lent.insert(buffer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_bounded_and_come_out_in_order() {
        let mut replies = Replies::new(2);
        for number in 0..3u8 {
            let added = replies.push(TunnelId(0), |buffer| {
                buffer.push(number);
                true
            });
            assert_eq!(added, number < 2);
        }
        assert!(!replies.push(TunnelId(0), |_| false));
        assert_eq!(replies.poll(), Some((TunnelId(0), &[0][..])));
        assert_eq!(replies.poll(), Some((TunnelId(0), &[1][..])));
        assert_eq!(replies.poll(), None);
    }
}
