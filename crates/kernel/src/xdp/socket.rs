//! An AF_XDP socket: one queue of one device, packets in frames shared with the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::net::xdp::{SocketAddrXdp, SocketAddrXdpFlags, XdpUmemReg, XdpUmemRegFlags};
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType};

use super::frame::{self, Parsed};
use crate::datagram::{MESSAGES, Message};
use crate::sys::option;
use crate::sys::xsk::{Completed, Fill, Frame, Received, Sending, Umem};

/// Frames the kernel may receive into.
const RECEIVE_FRAMES: u32 = 2048;
/// Frames to send from, and so packets on their way into the device.
const SEND_FRAMES: u32 = 512;
/// Octets the kernel leaves free before what it receives.
const HEADROOM: u32 = 256;
/// An Ethernet header.
const ETHERNET: u32 = 14;
/// A frame's octets for usual devices, and for those with a larger MTU.
const FRAME: usize = 2048;
const LARGE_FRAME: usize = 4096;
/// The largest MTU of a device whose packets fit a frame.
pub(super) const MAX_MTU: u32 = LARGE_FRAME as u32 - HEADROOM - ETHERNET;
/// How often what is in use is asked for, and how long between. The kernel frees the queue of a socket that was closed, or the
/// device of a program, a moment later (a tenth of a second has been seen), and whoever starts anew asks for it before.
const TRIES: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(5);
/// Octets of socket buffer: as much as all frames to send weigh in the kernel.
const BUFFER: usize = 8 << 20;
/// Calls a flush makes at most while the kernel takes nothing more.
const PATIENCE: u32 = 4;
/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): packets the kernel takes a call, 32 otherwise.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// What was lost for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpLosses {
    /// Packets that found no frame or no room in the ring.
    pub full: u64,
    /// Packets for another reason.
    pub other: u64,
    /// Packets whose IP header was damaged: a wrong checksum, or a length beyond what came.
    pub damaged: u64,
}

/// What the halves of one socket share.
struct Shared {
    fd: OwnedFd,
    umem: Umem,
    /// Packets whose IP header was damaged.
    damaged: AtomicU64,
}

/// The receiving half of a non-blocking AF_XDP socket in copy mode, which every driver has.
pub struct XdpReceiver {
    shared: Arc<Shared>,
    fill: Fill,
    received: Received,
    /// Frames on their way back to the kernel.
    emptied: Vec<Frame>,
    /// The last batch.
    batch: Vec<Frame>,
    parsed: Vec<Parsed>,
    device: u32,
}

/// The sending half.
pub struct XdpTransmitter {
    shared: Arc<Shared>,
    sending: Sending,
    completed: Completed,
    free: Vec<Frame>,
}

/// A socket for one queue of a device with that MTU, both halves.
pub(super) fn bind(device: u32, queue: u32, mtu: u32) -> io::Result<(XdpReceiver, XdpTransmitter)> {
    let mut made = Made::new(mtu, SEND_FRAMES)?;
    sockopt::set_xdp_tx_ring_size(&made.fd, SEND_FRAMES)?;
    let offsets = sockopt::xdp_mmap_offsets(&made.fd)?;
    let sending = Sending::new(made.fd.as_fd(), SEND_FRAMES, &offsets.tx)?;
    let completed = Completed::new(made.fd.as_fd(), SEND_FRAMES, &offsets.cr)?;
    // Older kernels take 32 a call: more calls.
    let budget = SEND_FRAMES.cast_signed();
    let _ = option::set_int(made.fd.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, budget);
    let free = made.frames.split_off(RECEIVE_FRAMES as usize);
    let receiver = made.bind(device, queue)?;
    let transmitter = XdpTransmitter { shared: Arc::clone(&receiver.shared), sending, completed, free };
    Ok((receiver, transmitter))
}

/// The same to receive from alone, without frames to send.
pub(super) fn bind_to_receive(device: u32, queue: u32, mtu: u32) -> io::Result<XdpReceiver> {
    // The kernel wants a ring for what was sent of every socket, however short.
    Made::new(mtu, 0)?.bind(device, queue)
}

/// Octets of a frame for a device with that MTU.
fn frame_len(mtu: u32) -> usize {
    if mtu + HEADROOM + ETHERNET <= FRAME as u32 { FRAME } else { LARGE_FRAME }
}

/// Octets of the longest packet, from its Ethernet header on, that the frames for that MTU take.
pub(super) fn longest(mtu: u32) -> u32 {
    frame_len(mtu) as u32 - HEADROOM
}

/// A socket with its frames, before it has a device.
struct Made {
    fd: OwnedFd,
    umem: Umem,
    frames: Vec<Frame>,
}

impl Made {
    fn new(mtu: u32, to_send: u32) -> io::Result<Self> {
        let fd = net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        let (umem, frames) = Umem::new(RECEIVE_FRAMES + to_send, frame_len(mtu))?;
        register(&fd, &umem)?;
        sockopt::set_xdp_umem_fill_ring_size(&fd, RECEIVE_FRAMES)?;
        sockopt::set_xdp_rx_ring_size(&fd, RECEIVE_FRAMES)?;
        sockopt::set_xdp_umem_completion_ring_size(&fd, to_send.max(1))?;
        Ok(Self { fd, umem, frames })
    }

    /// Gives all frames to the kernel, to receive into.
    fn bind(self, device: u32, queue: u32) -> io::Result<XdpReceiver> {
        let Self { fd, umem, frames: mut emptied } = self;
        let offsets = sockopt::xdp_mmap_offsets(&fd)?;
        let mut fill = Fill::new(fd.as_fd(), RECEIVE_FRAMES, &offsets.fr)?;
        let received = Received::new(fd.as_fd(), RECEIVE_FRAMES, &offsets.rx)?;
        fill.give(&umem, &mut emptied);
        option::set_buffers(fd.as_fd(), BUFFER)?;
        let flags = SocketAddrXdpFlags::XDP_COPY | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
        let address = SocketAddrXdp::new(flags, device, queue);
        patiently(|| Ok(net::bind(&fd, &address)?))?;
        let (batch, parsed) = (Vec::with_capacity(MESSAGES), Vec::with_capacity(MESSAGES));
        let shared = Arc::new(Shared { fd, umem, damaged: AtomicU64::new(0) });
        Ok(XdpReceiver { shared, fill, received, emptied, batch, parsed, device })
    }
}

impl XdpReceiver {
    /// Receives what waits, [`MESSAGES`] packets at most; 0 when nothing does. The batch before is gone.
    pub fn receive(&mut self) -> usize {
        self.parsed.clear();
        self.emptied.append(&mut self.batch);
        if !self.emptied.is_empty() {
            self.fill.give(&self.shared.umem, &mut self.emptied);
        }
        while self.batch.len() < MESSAGES
            && let Some((mut frame, range)) = self.received.next(&self.shared.umem)
        {
            match frame::parse(self.shared.umem.bytes(&mut frame), range) {
                Some(parsed) => {
                    self.batch.push(frame);
                    self.parsed.push(parsed);
                }
                None => {
                    self.emptied.push(frame);
                    self.shared.damaged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.received.release();
        // Not only with the next call: were these all there are, nothing would come any more that could lead to one.
        if !self.emptied.is_empty() {
            self.fill.give(&self.shared.umem, &mut self.emptied);
        }
        self.batch.len()
    }

    /// The packets of the last batch, in order of arrival, each from its ESP header on.
    pub fn messages(&mut self) -> impl ExactSizeIterator<Item = Message<'_>> {
        let device = self.device;
        self.shared.umem.each(&mut self.batch).zip(&self.parsed).map(move |(bytes, parsed)| {
            let bytes = bytes.get_mut(parsed.payload.clone()).unwrap_or_default();
            Message {
                segment: bytes.len().max(1),
                bytes,
                source: SocketAddr::new(parsed.source, 0),
                destination: parsed.destination,
                ifindex: device,
                tos: parsed.tos,
            }
        })
    }

    /// The number of its device.
    #[must_use]
    pub fn device(&self) -> u32 {
        self.device
    }

    /// Reads what was lost for this socket, from any thread; holds the socket open.
    #[must_use]
    pub fn meter(&self) -> XdpMeter {
        XdpMeter { shared: Arc::clone(&self.shared) }
    }
}

/// What was lost for one socket.
pub struct XdpMeter {
    shared: Arc<Shared>,
}

impl XdpMeter {
    /// Since the socket was opened.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn losses(&self) -> io::Result<XdpLosses> {
        let found = sockopt::xdp_statistics(&self.shared.fd)?;
        let no_frame = found.rx_fill_ring_empty_descs.unwrap_or(0);
        let full = found.rx_ring_full.unwrap_or(0) + no_frame;
        // In copy mode the kernel counts what found no frame as dropped, too.
        let dropped = found.rx_dropped.saturating_sub(no_frame);
        let other = dropped + found.tx_invalid_descs + found.rx_invalid_descs;
        Ok(XdpLosses { full, other, damaged: self.shared.damaged.load(Ordering::Relaxed) })
    }
}

impl XdpTransmitter {
    /// Lays one packet out to be sent, `fill` giving how many octets of the frame it took; `false` when that is none, or
    /// every frame is on its way. Nothing leaves before [`Self::flush`].
    pub(super) fn push(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.free.is_empty() {
            self.flush();
        }
        let Some(mut frame) = self.free.pop() else { return false };
        let len = fill(self.shared.umem.bytes(&mut frame)).min(self.shared.umem.frame_len());
        if len == 0 {
            self.free.push(frame);
            return false;
        }
        match self.sending.give(&self.shared.umem, frame, len) {
            Ok(()) => true,
            Err(frame) => {
                self.free.push(frame);
                false
            }
        }
    }

    /// Lets the kernel send what was pushed; how many system calls that took. What it does not take now, for want of
    /// room in the device, it takes with the next flush.
    pub(super) fn flush(&mut self) -> u64 {
        self.sending.publish();
        let (mut calls, mut idle) = (0, 0);
        let mut waiting = self.sending.waiting();
        while waiting > 0 && idle < PATIENCE {
            // Whatever it answers, the ring says what it took.
            let _ = net::send(&self.shared.fd, &[], SendFlags::DONTWAIT);
            calls += 1;
            let left = self.sending.waiting();
            idle = if left < waiting { 0 } else { idle + 1 };
            waiting = left;
        }
        self.completed.reclaim(&self.shared.umem, &mut self.free);
        calls
    }
}

impl AsFd for XdpReceiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.fd.as_fd()
    }
}

impl AsRawFd for XdpReceiver {
    fn as_raw_fd(&self) -> RawFd {
        self.shared.fd.as_raw_fd()
    }
}

/// Tries until it is free what is asked for, a second at most.
pub(super) fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(BETWEEN),
            outcome => return outcome,
        }
    }
    attempt()
}

fn register(fd: &OwnedFd, umem: &Umem) -> io::Result<()> {
    let reg = XdpUmemReg {
        addr: umem.address(),
        len: umem.len(),
        chunk_size: umem.frame_len() as u32,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    Ok(sockopt::set_xdp_umem_reg(fd, reg)?)
}
