//! What a worker lost, and why: closed lists of reasons, counted by one thread, read by any.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kernel::datagram::SendFailure;
use tunnel::{Drop, Drops};

/// What went wrong outside of the packets themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Loss {
    /// A packet for a tunnel whose device this worker does not have.
    NoDevice,
    /// The TUN is switched off (EIO).
    DeviceOff,
    /// The TUN did not take the frame as it is (EINVAL).
    DeviceRefused,
    /// The TUN gave another error.
    DeviceError,
    /// No room in a socket's buffer or the network device's queue.
    SendFull,
    /// Larger than the path's MTU.
    SendTooBig,
    /// No way to the peer, or our address is gone.
    SendUnreachable,
    /// A packet filter of this host refused it.
    SendFiltered,
    /// Sending failed otherwise.
    SendError,
    /// An ESP packet whose family no socket speaks.
    NoSocket,
    /// A report the control thread's queue had no room for.
    ReportOverflow,
    /// A copy for a capture that did not read fast enough.
    CaptureOverflow,
}

impl Loss {
    const ALL: [Self; 12] = [
        Self::NoDevice,
        Self::DeviceOff,
        Self::DeviceRefused,
        Self::DeviceError,
        Self::SendFull,
        Self::SendTooBig,
        Self::SendUnreachable,
        Self::SendFiltered,
        Self::SendError,
        Self::NoSocket,
        Self::ReportOverflow,
        Self::CaptureOverflow,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::NoDevice => "no-device",
            Self::DeviceOff => "device-off",
            Self::DeviceRefused => "device-refused",
            Self::DeviceError => "device-error",
            Self::SendFull => "send-full",
            Self::SendTooBig => "send-too-big",
            Self::SendUnreachable => "send-unreachable",
            Self::SendFiltered => "send-filtered",
            Self::SendError => "send-error",
            Self::NoSocket => "no-socket",
            Self::ReportOverflow => "report-overflow",
            Self::CaptureOverflow => "capture-overflow",
        }
    }

    /// Of a write to a TUN.
    pub(super) fn of_write(error: &io::Error) -> Self {
        const EIO: i32 = 5;
        match (error.raw_os_error(), error.kind()) {
            (Some(EIO), _) => Self::DeviceOff,
            (_, io::ErrorKind::InvalidInput) => Self::DeviceRefused,
            _ => Self::DeviceError,
        }
    }

    /// Of a run that was not sent; the arena's sums have what was merely full.
    pub(super) fn of_send(failure: SendFailure) -> Self {
        match failure {
            SendFailure::TooBig { .. } => Self::SendTooBig,
            SendFailure::Full => Self::SendFull,
            SendFailure::Unreachable(_) => Self::SendUnreachable,
            SendFailure::Filtered => Self::SendFiltered,
            SendFailure::Other(_) => Self::SendError,
        }
    }
}

/// One worker's counters.
#[derive(Default)]
pub(super) struct Counters {
    /// Those of the packets.
    pub(super) drops: Arc<Drops>,
    losses: [AtomicU64; Loss::ALL.len()],
}

impl Counters {
    pub(super) fn count(&self, loss: Loss, how_many: u64) {
        if let Some(counter) = self.losses.get(loss as usize) {
            counter.fetch_add(how_many, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, loss: Loss) -> u64 {
        self.losses.get(loss as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Over several workers, without what never happened.
    pub(super) fn sum(all: &[Arc<Self>]) -> Vec<(&'static str, u64)> {
        let drops = Drop::ALL.into_iter().map(|reason| {
            (reason.name(), all.iter().map(|counters| counters.drops.get(reason)).sum::<u64>())
        });
        let losses = Loss::ALL
            .into_iter()
            .map(|loss| (loss.name(), all.iter().map(|counters| counters.get(loss)).sum::<u64>()));
        drops.chain(losses).filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stands_on_the_page_about_it() {
        let page = include_str!("../../../docs/show-interfaces.md");
        let names = Drop::ALL.map(Drop::name).into_iter().chain(Loss::ALL.map(Loss::name));
        for name in names {
            assert!(page.contains(&format!("\n| `{name}` | ")), "{name}");
        }
    }

    #[test]
    fn every_loss_has_a_counter_of_its_own_and_workers_add_up() {
        let (a, b) = (Arc::new(Counters::default()), Arc::new(Counters::default()));
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
            a.count(loss, 1);
            b.count(loss, index as u64);
        }
        a.drops.count(Drop::NoSa, 7);
        let sum = Counters::sum(&[a, b]);
        assert_eq!(sum.len(), Loss::ALL.len() + 1);
        assert_eq!(sum.last().map(|(_, count)| *count), Some(Loss::ALL.len() as u64));
        assert!(Counters::sum(&[Arc::default()]).is_empty());
    }
}
