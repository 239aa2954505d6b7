//! Copies of inner packets for whoever asked. Off, it costs a packet one branch.

use std::io::IoSlice;
use std::time::SystemTime;

use kernel::tun::HEADER_LEN;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tunnel::TunnelId;

use super::counters::{Counters, Loss};

/// From the peer, or to it: the octet of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Direction {
    In = 0,
    Out = 1,
}

/// Who gets copies of which tunnel's packets.
#[derive(Default)]
pub(super) struct Captures(Vec<(TunnelId, Sender<Vec<u8>>)>);

impl Captures {
    pub(super) fn add(&mut self, tunnel: TunnelId, sink: Sender<Vec<u8>>) {
        self.0.retain(|(_, sink)| !sink.is_closed());
        self.0.push((tunnel, sink));
    }

    /// Copies a frame (virtio header and packet, in slices) to those who want it.
    pub(super) fn frame(
        &mut self,
        tunnel: TunnelId,
        direction: Direction,
        frame: &[IoSlice<'_>],
        counters: &Counters,
    ) {
        if !self.0.is_empty() {
            self.copy(tunnel, direction, frame, counters);
        }
    }

    #[cold]
    fn copy(&mut self, tunnel: TunnelId, direction: Direction, frame: &[IoSlice<'_>], counters: &Counters) {
        self.0.retain(|(wanted, sink)| {
            if *wanted != tunnel {
                return !sink.is_closed();
            }
            match sink.try_send(body(direction, frame)) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    counters.count(Loss::CaptureOverflow, 1);
                    true
                }
                Err(TrySendError::Closed(_)) => false,
            }
        });
    }
}

/// Nanoseconds since 1970, the direction's octet, the IP packet.
fn body(direction: Direction, frame: &[IoSlice<'_>]) -> Vec<u8> {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    let length: usize = frame.iter().map(|slice| slice.len()).sum();
    let mut body = Vec::with_capacity(9 + length);
    body.extend(nanoseconds.to_be_bytes());
    body.push(direction as u8);
    let mut skip = HEADER_LEN;
    for slice in frame {
        body.extend_from_slice(slice.get(skip.min(slice.len())..).unwrap_or_default());
        skip = skip.saturating_sub(slice.len());
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_packet_without_the_virtio_header_however_it_is_sliced() {
        let frame: Vec<u8> = (0..30).collect();
        for cut in 0..frame.len() {
            let (a, b) = frame.split_at(cut);
            let copy = body(Direction::Out, &[IoSlice::new(a), IoSlice::new(b)]);
            assert_eq!((copy[8], &copy[9..]), (1, &frame[HEADER_LEN..]), "cut at {cut}");
        }
    }

    #[test]
    fn a_slow_reader_loses_packets_and_a_gone_one_is_forgotten() {
        let (sink, mut reader) = tokio::sync::mpsc::channel(1);
        let (mut captures, counters) = (Captures::default(), Counters::default());
        captures.add(TunnelId(1), sink);
        let frame = [IoSlice::new(&[0; 40])];
        for tunnel in [1, 2, 1] {
            captures.frame(TunnelId(tunnel), Direction::In, &frame, &counters);
        }
        assert_eq!(counters.get(Loss::CaptureOverflow), 1);
        assert!(reader.try_recv().is_ok() && reader.try_recv().is_err());
        drop(reader);
        captures.frame(TunnelId(1), Direction::In, &frame, &counters);
        assert!(captures.0.is_empty());
    }
}
