//! Super-packets that the kernel refuses to take from us: cut again so that nothing is lost, and joined no more.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tunnel::TunnelId;
use tunnel::offload::recut::{self, Recut};
use tunnel::offload::virtio::Gso;

use super::counters::Loss;
use super::port::Up;
use super::queue::Device;
use super::thread::DeviceMap;

/// Whether packets of one transport are written to a device joined into super-packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// They are.
    On,
    /// Its kernel does not take them, as was known when it was attached.
    NotTaken,
    /// Its kernel said it takes them and refused so many (EINVAL), though it took their packets one by one.
    GivenUp {
        /// Super-packets that were cut again.
        refused: u64,
    },
}

/// What a device's kernel refused, as all workers share it.
pub(super) struct Refusals {
    tcp: AtomicU64,
    udp: AtomicU64,
    /// Those of all devices: who sees it grow looks at each.
    all: Arc<AtomicU64>,
}

impl Refusals {
    pub(super) fn new(all: Arc<AtomicU64>) -> Self {
        Self { tcp: AtomicU64::new(0), udp: AtomicU64::new(0), all }
    }

    /// Is TCP joined on a device that takes it or not, as `taken` says?
    pub(super) fn tcp(&self, taken: bool) -> Joins {
        joins(taken, &self.tcp)
    }

    /// And UDP?
    pub(super) fn udp(&self, taken: bool) -> Joins {
        joins(taken, &self.udp)
    }

    /// Counts a super-packet whose packets were taken one by one.
    fn note(&self, tunnel: TunnelId, gso: Gso) {
        let (transport, counter) = match gso {
            Gso::Tcp4 | Gso::Tcp6 => ("TCP", &self.tcp),
            Gso::Udp => ("UDP", &self.udp),
            Gso::None | Gso::Unknown(_) => return,
        };
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                tunnel = tunnel.0,
                transport,
                "the kernel refused joined packets: they are written to the tunnel's device one by one from now on"
            );
        }
        self.all.fetch_add(1, Ordering::Release);
    }
}

fn joins(taken: bool, refused: &AtomicU64) -> Joins {
    match (taken, refused.load(Ordering::Relaxed)) {
        (false, _) => Joins::NotTaken,
        (true, 0) => Joins::On,
        (true, refused) => Joins::GivenUp { refused },
    }
}

/// Writes one frame to a tunnel's device, or counts why not. Of a super-packet that the kernel refuses each packet is
/// written by itself.
pub(super) fn write(
    devices: &DeviceMap,
    tunnel: TunnelId,
    frame: &[IoSlice<'_>],
    recut: &mut Recut,
    up: &Up,
) {
    let Some((device, queue)) = devices.get(&tunnel).and_then(|device| Some((device, device.writer(frame)?)))
    else {
        up.counters.count(Loss::NoDevice, 1);
        return;
    };
    if let Err(error) = queue.write(frame) {
        refused(device, tunnel, frame, &error, recut, up, |single| queue.write(single));
    }
}

/// The kernel did not take a frame.
#[cold]
fn refused(
    device: &Device,
    tunnel: TunnelId,
    frame: &[IoSlice<'_>],
    error: &io::Error,
    recut: &mut Recut,
    up: &Up,
    mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<()>,
) {
    let (loss, gso) = (Loss::of_write(error), recut::gso(frame));
    if loss != Loss::DeviceRefused || gso == Gso::None {
        return up.counters.count(loss, 1);
    }
    let mut taken = false;
    let cut = recut.cut(frame, |single| match write(&[IoSlice::new(single)]) {
        Ok(()) => taken = true,
        Err(error) => up.counters.count(Loss::of_write(&error), 1),
    });
    if cut.is_err() {
        up.counters.count(loss, 1);
    }
    // Packets that are refused singly as well say nothing about joining.
    if taken {
        device.shared.refusals.note(tunnel, gso);
    }
}

#[cfg(test)]
mod tests {
    use kernel::tun::Offloads;
    use tunnel::offload::checksum;
    use tunnel::offload::virtio::{self, Header};

    use super::super::counters::Counters;
    use super::super::queue::Shared;
    use super::*;

    const TUNNEL: TunnelId = TunnelId(1);

    /// Three datagrams of 100 octets joined, as the coalescer does: the pseudo-header's sum stands in the checksum field.
    fn super_packet() -> Vec<u8> {
        const TRANSPORT: usize = 20;
        let (headers, payload) = (TRANSPORT + 8, 300_u16);
        let mut packet = vec![0x45, 0, 1, 72, 0, 7, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1];
        let sum = !checksum::sum(&packet);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let pseudo = checksum::pseudo(&packet[12..20], 17, usize::from(8 + payload));
        packet.extend([5000_u16, 53, 8 + payload, pseudo].map(u16::to_be_bytes).concat());
        packet.extend((0..payload).map(|octet| octet as u8));
        let header = Header {
            needs_checksum: true,
            gso: Gso::Udp,
            header_len: headers as u16,
            gso_size: 100,
            checksum_start: TRANSPORT as u16,
            checksum_offset: 6,
        };
        [&header.to_bytes()[..], &packet].concat()
    }

    /// What was lost, by reason.
    type Losses = Vec<(&'static str, u64)>;

    /// Offers a frame that the kernel refused with `first` to a writer that answers each packet of it with `then`: what it
    /// was given, what was counted as lost, and whether TCP and UDP are joined from then on.
    fn offer(first: i32, then: Option<i32>) -> (Vec<Vec<u8>>, Losses, [Joins; 2]) {
        let counters = Arc::new(Counters::default());
        let up = Up::new(tokio::sync::mpsc::channel(1).0, Arc::clone(&counters));
        let (all, offloads) = (Arc::<AtomicU64>::default(), Offloads { tcp: true, udp: true });
        let refusals = Refusals::new(Arc::clone(&all));
        let device = Device::new(Arc::new(Shared { queues: Vec::new(), offloads, refusals }));
        let (frame, mut written) = (super_packet(), Vec::new());
        let slices = [IoSlice::new(&frame[..38]), IoSlice::new(&frame[38..])];
        let error = io::Error::from_raw_os_error(first);
        refused(&device, TUNNEL, &slices, &error, &mut Recut::default(), &up, |single| {
            written.push(single.iter().flat_map(|slice| slice.iter().copied()).collect());
            then.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
        });
        let joins = device.shared.joins();
        let less = device.joins_less().is_some();
        assert_eq!((less, all.load(Ordering::Relaxed)), (joins != [Joins::On; 2], u64::from(less)));
        (written, Counters::sum(&[counters]), joins)
    }

    const EIO: i32 = 5;
    const EINVAL: i32 = 22;

    #[test]
    fn a_refused_super_packet_is_written_packet_by_packet_and_its_transport_joined_no_more() {
        let (written, lost, joins) = offer(EINVAL, None);
        assert_eq!((lost, joins), (vec![], [Joins::On, Joins::GivenUp { refused: 1 }]));
        assert_eq!(written.len(), 3);
        for (number, single) in written.iter().enumerate() {
            let (header, packet) = single.split_at(virtio::LEN);
            assert_eq!((header, packet.len()), (&[0; virtio::LEN][..], 128));
            assert!(packet[28..].iter().zip(number * 100..).all(|(octet, index)| *octet == index as u8));
            let pseudo = checksum::pseudo(&packet[12..20], 17, 108);
            assert_eq!(checksum::add(&[pseudo, checksum::sum(&packet[20..])]), 0xffff);
        }
    }

    #[test]
    fn packets_that_are_refused_one_by_one_as_well_are_counted_and_joining_goes_on() {
        let (written, lost, joins) = offer(EINVAL, Some(EINVAL));
        assert_eq!((written.len(), lost, joins), (3, vec![("device-refused", 3)], [Joins::On; 2]));
        let (_, lost, _) = offer(EINVAL, Some(EIO));
        assert_eq!(lost, [("device-off", 3)]);
    }

    #[test]
    fn a_device_that_is_off_is_not_tried_again() {
        let (written, lost, joins) = offer(EIO, None);
        assert_eq!((written.len(), lost, joins), (0, vec![("device-off", 1)], [Joins::On; 2]));
    }
}
