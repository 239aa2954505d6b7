//! Memory shared with the kernel by an AF_XDP socket: the frames, and the four rings that pass them to and fro.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::net::xdp::XdpRingOffset;

use super::bpf::{MMAPABLE, MapKind, create_map};

/// Memory mapped for as long as this lives.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory of the process, no thread's own.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference the mapping itself gives addresses alone; what lies there is reached by whoever has
// the token of a frame, or the ring, exclusively.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh zeroed memory.
    fn anonymous(len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start =
            unsafe { mmap_anonymous(null_mut(), len, access, MapFlags::PRIVATE | MapFlags::POPULATE)? };
        Self::wrap(start, len)
    }

    /// What the socket shows at `offset`.
    fn of(fd: BorrowedFd<'_>, len: usize, offset: u64) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start =
            unsafe { mmap(null_mut(), len, access, MapFlags::SHARED | MapFlags::POPULATE, fd, offset)? };
        Self::wrap(start, len)
    }

    fn wrap(start: *mut std::ffi::c_void, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The place `offset` octets in, if a `T` fits there and lies aligned.
    fn at<T>(&self, offset: u64) -> io::Result<NonNull<T>> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidData)?;
        let fits = offset.checked_add(size_of::<T>()).is_some_and(|end| end <= self.len);
        if !fits || offset % align_of::<T>() != 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: `offset` lies within the mapping, as was just seen.
        Ok(unsafe { self.start.add(offset) }.cast())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the one mapped, and whoever holds a pointer into it lives no longer than this value.
        // A failure leaves it mapped, which harms nobody.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// One frame of a [`Umem`], by its number. Whoever has it has the frame: it is neither cloned nor made anew, and a
/// frame that the kernel has is nobody's until the kernel gives it back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(u32);

/// The frames' memory, shared by the two halves of a socket: each reaches the frames whose tokens it has.
pub(crate) struct Umem {
    memory: Mapping,
    frame: usize,
}

impl Umem {
    /// `frames` frames of `frame` octets, a power of two; and all of them.
    pub(crate) fn new(frames: u32, frame: usize) -> io::Result<(Self, Vec<Frame>)> {
        let memory = Mapping::anonymous(frames as usize * frame)?;
        Ok((Self { memory, frame }, (0..frames).map(Frame).collect()))
    }

    pub(crate) fn address(&self) -> u64 {
        self.memory.start.as_ptr().expose_provenance() as u64
    }

    pub(crate) fn len(&self) -> u64 {
        self.memory.len as u64
    }

    pub(crate) fn frame_len(&self) -> usize {
        self.frame
    }

    /// A frame's octets.
    pub(crate) fn bytes<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        // SAFETY: the frame lies within the memory (its number came from `new`, or was checked by `frame_of`); it is
        // ours and not the kernel's, or we would not have its token, and the token is borrowed for as long as the slice.
        unsafe { self.slice(frame) }
    }

    /// The octets of several frames at once.
    pub(crate) fn each<'a>(&'a self, frames: &'a mut [Frame]) -> impl ExactSizeIterator<Item = &'a mut [u8]> {
        // SAFETY: as in `bytes`; tokens are never doubled, so the slices do not overlap.
        frames.iter_mut().map(|frame| unsafe { self.slice(frame) })
    }

    /// # Safety
    ///
    /// The caller holds the frame's token exclusively for `'a`, and the memory lives as long.
    unsafe fn slice<'a>(&self, frame: &Frame) -> &'a mut [u8] {
        // SAFETY: every number is below the count of frames, so the range lies in the mapping.
        unsafe {
            let start = self.memory.start.add(frame.0 as usize * self.frame);
            std::slice::from_raw_parts_mut(start.as_ptr(), self.frame)
        }
    }

    fn frame_of(&self, address: u64) -> Option<(Frame, usize)> {
        if address >= self.len() {
            return None;
        }
        let address = address as usize;
        Some((Frame((address / self.frame) as u32), address % self.frame))
    }
}

/// The values of an array that a BPF program reads, mapped: slots of equal length.
pub(crate) struct Slots {
    map: OwnedFd,
    memory: Mapping,
    count: usize,
    slot: usize,
}

impl Slots {
    /// `count` slots of `slot` octets, a multiple of 8, zeroed.
    pub(crate) fn new(count: u32, slot: usize) -> io::Result<Self> {
        let map = create_map(MapKind::Array, 4, slot as u32, count, MMAPABLE)?;
        let count = count as usize;
        let memory =
            Mapping::of(map.as_fd(), (count * slot).next_multiple_of(rustix::param::page_size()), 0)?;
        Ok(Self { map, memory, count, slot })
    }

    /// The number a program's instructions name it by.
    pub(crate) fn raw(&self) -> i32 {
        self.map.as_raw_fd()
    }

    /// One slot's octets; `None` for a number beyond the last.
    pub(crate) fn slot(&mut self, number: usize) -> Option<&mut [u8]> {
        if number >= self.count {
            return None;
        }
        // SAFETY: `count` slots lie in the mapping, which is borrowed as long as the slice; the program that reads and
        // writes there runs only in calls of the one that owns this value and so borrows nothing of it then.
        Some(unsafe {
            let start = self.memory.start.add(number * self.slot);
            std::slice::from_raw_parts_mut(start.as_ptr(), self.slot)
        })
    }
}

/// What an entry of a ring says: a frame's address alone, or with a length.
trait Entry: Copy {}
impl Entry for u64 {}
impl Entry for libc::xdp_desc {}

/// A ring in the socket's memory: entries, and two counters of which each side moves one.
struct Ring<T> {
    _memory: Mapping,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    /// Our own counter as far as we have filled or emptied entries, and as far as we last saw the other's.
    ours: u32,
    theirs: u32,
}

// SAFETY: the pointers are into `_memory`, which goes along.
unsafe impl<T> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    fn new(fd: BorrowedFd<'_>, size: u32, offsets: &XdpRingOffset, page: u64) -> io::Result<Self> {
        let len = usize::try_from(offsets.desc).map_err(|_| io::ErrorKind::InvalidData)?;
        let memory = Mapping::of(fd, len + size as usize * size_of::<T>(), page)?;
        let (producer, consumer) = (memory.at(offsets.producer)?, memory.at(offsets.consumer)?);
        let entries = memory.at(offsets.desc)?;
        Ok(Self { _memory: memory, producer, consumer, entries, size, ours: 0, theirs: 0 })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: it lies in the mapping, aligned, and both sides use it as an atomic word.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as `producer`.
        unsafe { self.consumer.as_ref() }
    }

    /// The entry of a running number.
    fn entry(&self, number: u32) -> *mut T {
        // SAFETY: `size` entries lie in the mapping, and the number is brought below it (a power of two).
        unsafe { self.entries.as_ptr().add((number & (self.size - 1)) as usize) }
    }

    /// Room for a producer.
    fn room(&mut self) -> u32 {
        if self.ours.wrapping_sub(self.theirs) == self.size {
            self.theirs = self.consumer().load(Ordering::Acquire);
        }
        self.size - self.ours.wrapping_sub(self.theirs).min(self.size)
    }

    /// Writes the next entry, not yet shown; `false` without room.
    fn put(&mut self, value: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the kernel reads no entry between its consumer and our published producer, and this is one.
        unsafe { self.entry(self.ours).write(value) };
        self.ours = self.ours.wrapping_add(1);
        true
    }

    /// Shows what was put.
    fn publish(&self) {
        self.producer().store(self.ours, Ordering::Release);
    }

    /// Reads the next entry the kernel has produced; not yet given back.
    fn take(&mut self) -> Option<T> {
        if self.ours == self.theirs {
            self.theirs = self.producer().load(Ordering::Acquire);
            if self.ours == self.theirs {
                return None;
            }
        }
        // SAFETY: the kernel writes no entry between our consumer and its producer, and this is one.
        let value = unsafe { self.entry(self.ours).read() };
        self.ours = self.ours.wrapping_add(1);
        Some(value)
    }

    /// Gives back the room of what was taken.
    fn release(&self) {
        self.consumer().store(self.ours, Ordering::Release);
    }
}

/// Frames for the kernel to receive into.
pub(crate) struct Fill(Ring<u64>);

impl Fill {
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32, offsets: &XdpRingOffset) -> io::Result<Self> {
        Ring::new(fd, size, offsets, rustix::net::xdp::XDP_UMEM_PGOFF_FILL_RING).map(Self)
    }

    /// Gives frames to the kernel, as many as there is room for, from the end of the list.
    pub(crate) fn give(&mut self, umem: &Umem, frames: &mut Vec<Frame>) {
        while self.0.room() > 0
            && let Some(frame) = frames.pop()
        {
            self.0.put(u64::from(frame.0) * umem.frame_len() as u64);
        }
        self.0.publish();
    }
}

/// Frames with packets from the kernel.
pub(crate) struct Received(Ring<libc::xdp_desc>);

impl Received {
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32, offsets: &XdpRingOffset) -> io::Result<Self> {
        Ring::new(fd, size, offsets, rustix::net::xdp::XDP_PGOFF_RX_RING).map(Self)
    }

    /// The next frame, and where in it the packet lies.
    pub(crate) fn next(&mut self, umem: &Umem) -> Option<(Frame, std::ops::Range<usize>)> {
        let entry = self.0.take()?;
        let (frame, start) = umem.frame_of(entry.addr)?;
        let end = (start + entry.len as usize).min(umem.frame_len());
        Some((frame, start..end))
    }

    /// Gives the ring's room back.
    pub(crate) fn release(&self) {
        self.0.release();
    }
}

/// Frames with packets for the kernel.
pub(crate) struct Sending(Ring<libc::xdp_desc>);

impl Sending {
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32, offsets: &XdpRingOffset) -> io::Result<Self> {
        Ring::new(fd, size, offsets, rustix::net::xdp::XDP_PGOFF_TX_RING).map(Self)
    }

    /// Gives the first `len` octets of a frame to be sent; the frame again when there is no room.
    pub(crate) fn give(&mut self, umem: &Umem, frame: Frame, len: usize) -> Result<(), Frame> {
        let addr = u64::from(frame.0) * umem.frame_len() as u64;
        if self.0.put(libc::xdp_desc { addr, len: len as u32, options: 0 }) { Ok(()) } else { Err(frame) }
    }

    pub(crate) fn publish(&self) {
        self.0.publish();
    }

    /// Entries the kernel has not taken yet.
    pub(crate) fn waiting(&mut self) -> u32 {
        self.0.theirs = self.0.consumer().load(Ordering::Acquire);
        self.0.ours.wrapping_sub(self.0.theirs)
    }
}

/// Frames that were sent.
pub(crate) struct Completed(Ring<u64>);

impl Completed {
    pub(crate) fn new(fd: BorrowedFd<'_>, size: u32, offsets: &XdpRingOffset) -> io::Result<Self> {
        Ring::new(fd, size, offsets, rustix::net::xdp::XDP_UMEM_PGOFF_COMPLETION_RING).map(Self)
    }

    /// Takes back what was sent.
    pub(crate) fn reclaim(&mut self, umem: &Umem, into: &mut Vec<Frame>) {
        while let Some(address) = self.0.take() {
            into.extend(umem.frame_of(address).map(|(frame, _)| frame));
        }
        self.0.release();
    }
}
