//! Sending many packets in one call: frames of the kernel's own making, filled by the program on the device.
//!
//! `BPF_PROG_TEST_RUN` with live frames makes frames and runs a program over them, which may send them by a device. Ours
//! fills each from a slot that we have written. So a batch reaches the driver as XDP frames, without a socket buffer a packet, and
//! the other side of a veth works once a batch. The call itself takes as long as some twenty packets by a socket.
//!
//! It must be the very program that is on the device, in its driver: another would be made known to the kernel's
//! dispatcher, and be forgotten, with each call, which takes milliseconds.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

use super::program::{BLANK, SHORTEST, SLOT, SLOT_HEAD, SendMaps};
use crate::sys::bpf::run_live;
use crate::sys::xsk::Slots;

/// Packets a call: half of what the ring of a veth takes, so that it never overflows from one call.
pub(super) const BATCH: usize = 128;
/// Octets of the longest frame.
pub(super) const LONGEST: usize = SLOT - SLOT_HEAD;

/// The slots, and where the program begins among them.
pub(super) struct Slotted {
    cursor: Slots,
    slots: Slots,
}

impl Slotted {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { cursor: Slots::new(1, 8)?, slots: Slots::new(BATCH as u32, SLOT)? })
    }

    pub(super) fn maps(&self, device: u32) -> SendMaps {
        SendMaps { cursor: self.cursor.raw(), slots: self.slots.raw(), device: device.cast_signed() }
    }

    /// Slots that the program has filled frames from, in the last call.
    fn taken(&mut self) -> usize {
        let count = self.cursor.slot(0).and_then(|slot| slot.first_chunk::<4>().copied());
        count.map_or(0, |count| u32::from_ne_bytes(count) as usize)
    }
}

/// The program's sending half, and the packets laid out for it.
pub(super) struct Injector {
    program: OwnedFd,
    slotted: Slotted,
    used: usize,
}

impl Injector {
    /// Of a program loaded with the maps of `slotted`.
    pub(super) fn new(program: OwnedFd, slotted: Slotted) -> Self {
        Self { program, slotted, used: 0 }
    }

    /// Is nothing laid out?
    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Is there no room left before the next [`Self::flush`]?
    pub(super) fn is_full(&self) -> bool {
        self.used == BATCH
    }

    /// Lays one packet out, `fill` giving how many octets of the frame it took; `false` when it does not fit, or there is no
    /// room.
    pub(super) fn push(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(slot) = self.slotted.slots.slot(self.used) else { return false };
        let Some((head, frame)) = slot.split_first_chunk_mut::<SLOT_HEAD>() else { return false };
        let len = fill(frame);
        if !(SHORTEST..=LONGEST).contains(&len) {
            return false;
        }
        *head = (len as u64).to_ne_bytes();
        self.used += 1;
        true
    }

    /// Sends what was pushed; how many packets that were, and the numbers of those for which the kernel made no frames:
    /// most often none. They can be had by [`Self::left`] until the next push.
    pub(super) fn flush(&mut self) -> (usize, Range<usize>) {
        let count = std::mem::take(&mut self.used);
        if count == 0 {
            return (0, 0..0);
        }
        // The program counts on by itself, so each call begins anew.
        if let Some(cursor) = self.slotted.cursor.slot(0) {
            cursor.fill(0);
        }
        let outcome = loop {
            match run_live(self.program.as_fd(), &[0; BLANK], count as u32, BATCH as u32) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        let made = if outcome.is_ok() { count } else { self.slotted.taken().min(count) };
        (made, made..count)
    }

    /// A packet that was not sent, by its number.
    pub(super) fn left(&mut self, number: usize) -> Option<&[u8]> {
        let (head, frame) = self.slotted.slots.slot(number)?.split_first_chunk::<SLOT_HEAD>()?;
        frame.get(..usize::try_from(u64::from_ne_bytes(*head)).ok()?)
    }

    /// Exchanges the program for another descriptor.
    #[cfg(test)]
    pub(super) fn swap(&mut self, other: &mut OwnedFd) {
        std::mem::swap(&mut self.program, other);
    }
}
