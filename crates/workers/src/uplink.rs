//! The queues upward: one a worker, bounded; the control thread takes from them in turn.

use std::future::poll_fn;
use std::task::{Context, Poll};

use tokio::sync::mpsc::Receiver;

use super::Upward;

/// The receiving end of every worker's queue.
pub struct Uplink {
    /// `None` once the worker's end was told.
    queues: Vec<Option<Receiver<Upward>>>,
    /// Whose turn it is.
    next: usize,
}

impl Uplink {
    pub(super) fn new(queues: Vec<Receiver<Upward>>) -> Self {
        Self { queues: queues.into_iter().map(Some).collect(), next: 0 }
    }

    /// The next thing told, each worker in its turn, so that a flood at one does not silence the others.
    /// Waits for ever once every worker's end was told. Safe to cancel.
    pub async fn recv(&mut self) -> Upward {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Upward> {
        let count = self.queues.len();
        for step in 0..count {
            let worker = (self.next + step) % count;
            let Some(slot) = self.queues.get_mut(worker) else { continue };
            let Some(queue) = slot else { continue };
            match queue.poll_recv(context) {
                Poll::Ready(told) => {
                    self.next = worker + 1;
                    return Poll::Ready(told.unwrap_or_else(|| {
                        *slot = None;
                        Upward::Died { worker, why: "it ended".to_owned() }
                    }));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tokio::sync::mpsc::channel;

    fn mtu(mtu: u32) -> Upward {
        Upward::PathMtu { remote: Ipv4Addr::LOCALHOST.into(), mtu }
    }

    fn take(uplink: &mut Uplink) -> Option<Upward> {
        match uplink.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(told) => Some(told),
            Poll::Pending => None,
        }
    }

    #[test]
    fn workers_are_heard_in_turn_and_an_end_is_told_once() {
        let ((a, from_a), (b, from_b)) = (channel(8), channel(8));
        let mut uplink = Uplink::new(vec![from_a, from_b]);
        for number in [1, 2, 3] {
            a.try_send(mtu(number)).unwrap();
        }
        b.try_send(mtu(10)).unwrap();
        drop(b);
        let order: Vec<_> = std::iter::from_fn(|| take(&mut uplink))
            .map(|told| match told {
                Upward::PathMtu { mtu, .. } => mtu,
                Upward::Died { worker, .. } => 100 + worker as u32,
                Upward::Report(_) => 0,
            })
            .collect();
        assert_eq!(order, [1, 10, 2, 101, 3]);
        assert!(take(&mut uplink).is_none());
    }
}
