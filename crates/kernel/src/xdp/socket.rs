//! An AF_XDP socket: one queue of one device, packets in frames shared with the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

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
/// Octets of socket buffer: as much as all frames to send weigh in the kernel.
const BUFFER: usize = 8 << 20;
/// Calls a flush makes at most while the kernel takes nothing more.
const PATIENCE: u32 = 4;
/// `XDP_MAX_TX_SKB_BUDGET` (Linux 6.17): packets the kernel takes a call, 32 otherwise.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// What the kernel lost for a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpLosses {
    /// Packets that found no frame or no room in the ring.
    pub full: u64,
    /// Packets for another reason.
    pub other: u64,
}

/// What the halves of one socket share.
struct Shared {
    fd: OwnedFd,
    umem: Umem,
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

/// A socket for one queue of a device with that MTU.
pub(super) fn bind(device: u32, queue: u32, mtu: u32) -> io::Result<(XdpReceiver, XdpTransmitter)> {
    let fd = net::socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let frame = if mtu + HEADROOM + ETHERNET <= FRAME as u32 { FRAME } else { LARGE_FRAME };
    let (umem, mut free) = Umem::new(RECEIVE_FRAMES + SEND_FRAMES, frame)?;
    register(&fd, &umem)?;
    sockopt::set_xdp_umem_fill_ring_size(&fd, RECEIVE_FRAMES)?;
    sockopt::set_xdp_rx_ring_size(&fd, RECEIVE_FRAMES)?;
    sockopt::set_xdp_umem_completion_ring_size(&fd, SEND_FRAMES)?;
    sockopt::set_xdp_tx_ring_size(&fd, SEND_FRAMES)?;
    let offsets = sockopt::xdp_mmap_offsets(&fd)?;
    let mut fill = Fill::new(fd.as_fd(), RECEIVE_FRAMES, &offsets.fr)?;
    let received = Received::new(fd.as_fd(), RECEIVE_FRAMES, &offsets.rx)?;
    let sending = Sending::new(fd.as_fd(), SEND_FRAMES, &offsets.tx)?;
    let completed = Completed::new(fd.as_fd(), SEND_FRAMES, &offsets.cr)?;
    let mut emptied = free.split_off(SEND_FRAMES as usize);
    fill.give(&umem, &mut emptied);
    option::set_buffers(fd.as_fd(), BUFFER)?;
    // Older kernels take 32 a call: more calls.
    let _ = option::set_int(fd.as_fd(), libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, SEND_FRAMES.cast_signed());
    let flags = SocketAddrXdpFlags::XDP_COPY | SocketAddrXdpFlags::XDP_USE_NEED_WAKEUP;
    net::bind(&fd, &SocketAddrXdp::new(flags, device, queue))?;
    let shared = Arc::new(Shared { fd, umem });
    let (batch, parsed) = (Vec::with_capacity(MESSAGES), Vec::with_capacity(MESSAGES));
    let transmitter = XdpTransmitter { shared: Arc::clone(&shared), sending, completed, free };
    Ok((XdpReceiver { shared, fill, received, emptied, batch, parsed, device }, transmitter))
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
                None => self.emptied.push(frame),
            }
        }
        self.received.release();
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

    /// What the kernel lost for this socket since it was opened.
    pub fn losses(&self) -> io::Result<XdpLosses> {
        let found = sockopt::xdp_statistics(&self.shared.fd)?;
        let full = found.rx_ring_full.unwrap_or(0) + found.rx_fill_ring_empty_descs.unwrap_or(0);
        Ok(XdpLosses { full, other: found.rx_dropped + found.tx_invalid_descs + found.rx_invalid_descs })
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
