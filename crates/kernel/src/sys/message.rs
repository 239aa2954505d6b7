//! `sendmmsg`, `recvmmsg` and `recvmsg` over blocks of memory this module owns.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use super::address::{NAME_LEN, Name};
use super::cmsg::Control;

/// Most messages one call carries.
pub(crate) const BATCH: usize = 64;

/// One message to send: where to, with which control data, which bytes.
pub(crate) struct Outgoing<'a> {
    pub(crate) name: Name,
    pub(crate) control: Control,
    pub(crate) bytes: &'a [u8],
}

/// The arrays `sendmmsg` wants, kept between calls.
pub(crate) struct SendBlock {
    names: Box<[Name]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers inside `vectors` and `headers` are written anew before each system call and never
// followed outside of it, so the block may move to another thread with its owner.
unsafe impl Send for SendBlock {}

impl SendBlock {
    pub(crate) fn new() -> Self {
        Self {
            names: vec![Name::EMPTY; BATCH].into(),
            controls: vec![Control::EMPTY; BATCH].into(),
            vectors: vec![NO_VECTOR; BATCH].into(),
            headers: vec![NO_HEADER; BATCH].into(),
        }
    }

    /// Send up to [`BATCH`] of `messages` in one call. Gives how many there were, and how many the
    /// kernel took or why it refused the first. Never waits.
    pub(crate) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = Outgoing<'a>>,
    ) -> (usize, io::Result<usize>) {
        let mut filled = 0;
        // The slices' lifetime 'a outlives this call, so the addresses stored below are good in it.
        for message in messages.take(BATCH) {
            let i = filled;
            self.names[i] = message.name;
            self.controls[i] = message.control;
            self.vectors[i] = libc::iovec {
                iov_base: message.bytes.as_ptr().cast_mut().cast(),
                iov_len: message.bytes.len(),
            };
            let name = self.names[i].as_bytes();
            let control = self.controls[i].as_bytes();
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_namelen = name.len() as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control =
                if control.is_empty() { null_mut() } else { control.as_ptr().cast_mut().cast() };
            header.msg_controllen = control.len() as _;
            filled += 1;
        }
        if filled == 0 {
            return (0, Ok(0));
        }
        // SAFETY: the first `filled` headers point into `names`, `controls` and `vectors`, which are not
        // moved or written until the call is over, and the vectors at slices that outlive it. The kernel
        // only reads through them.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                filled as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        (filled, if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) })
    }
}

/// What is known of one received message.
#[derive(Clone, Copy)]
pub(crate) struct Arrived {
    pub(crate) len: usize,
    pub(crate) control_len: usize,
    pub(crate) truncated: bool,
}

/// Octets before the first slot. Who deciphers in place with wide registers begins with one that holds octets before
/// the packet, and although nothing is read there the processor takes long over it when that page does not exist.
const LEAD: usize = 64;

/// Memory `recvmmsg` fills: slots of equal size, with a name and control data each.
pub(crate) struct RecvBlock {
    memory: Box<[u8]>,
    slot: usize,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: as for `SendBlock`: the pointers are written anew before each call and never followed outside.
unsafe impl Send for RecvBlock {}

impl RecvBlock {
    /// `slots` slots of `slot` octets. The memory is not touched before it is used.
    pub(crate) fn new(slots: usize, slot: usize) -> Self {
        let slots = slots.clamp(1, BATCH);
        Self {
            memory: vec![0; LEAD + slots * slot].into(),
            slot,
            names: vec![Name::EMPTY; slots].into(),
            controls: vec![Control::EMPTY; slots].into(),
            vectors: vec![NO_VECTOR; slots].into(),
            headers: vec![NO_HEADER; slots].into(),
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.names.len()
    }

    /// Receive up to `wanted` messages without waiting; how many came.
    pub(crate) fn receive(&mut self, fd: BorrowedFd<'_>, wanted: usize) -> io::Result<usize> {
        let wanted = wanted.min(self.slots());
        let slots = self.memory[LEAD..].chunks_exact_mut(self.slot);
        for (i, slot) in slots.take(wanted).enumerate() {
            self.vectors[i] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            let header = &mut self.headers[i].msg_hdr;
            header.msg_name = self.names[i].as_mut_bytes().as_mut_ptr().cast();
            header.msg_namelen = NAME_LEN as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[i];
            header.msg_iovlen = 1;
            header.msg_control = self.controls[i].as_mut_room().as_mut_ptr().cast();
            header.msg_controllen = Control::ROOM as _;
            header.msg_flags = 0;
        }
        // SAFETY: the first `wanted` headers point at distinct slots, names and control rooms of this
        // block, with their true lengths; nothing else touches them until the call is over.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                wanted as libc::c_uint,
                libc::MSG_DONTWAIT,
                null_mut(),
            )
        };
        if count < 0 { Err(io::Error::last_os_error()) } else { Ok(count as usize) }
    }

    /// One message from the socket's error queue, into the first slot.
    pub(crate) fn receive_error(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let slot = &mut self.memory[LEAD..][..self.slot];
        self.vectors[0] = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
        let mut header = NO_HEADER.msg_hdr;
        header.msg_name = self.names[0].as_mut_bytes().as_mut_ptr().cast();
        header.msg_namelen = NAME_LEN as libc::socklen_t;
        header.msg_iov = &raw mut self.vectors[0];
        header.msg_iovlen = 1;
        header.msg_control = self.controls[0].as_mut_room().as_mut_ptr().cast();
        header.msg_controllen = Control::ROOM as _;
        // SAFETY: the header points at the first slot, name and control room of this block with their
        // true lengths; nothing else touches them until the call is over.
        let len = unsafe {
            libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)
        };
        if len < 0 {
            return Err(io::Error::last_os_error());
        }
        self.headers[0].msg_hdr = header;
        self.headers[0].msg_len = len as libc::c_uint;
        Ok(())
    }

    /// What is known of the `i`th message of the last call.
    pub(crate) fn arrived(&self, i: usize) -> Arrived {
        let header = &self.headers[i];
        Arrived {
            len: (header.msg_len as usize).min(self.slot),
            control_len: header.msg_hdr.msg_controllen,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        }
    }

    pub(crate) fn name(&self, i: usize) -> &Name {
        &self.names[i]
    }

    pub(crate) fn control(&self, i: usize) -> &Control {
        &self.controls[i]
    }

    /// The slots' memory, one slice a slot.
    pub(crate) fn slots_mut(&mut self) -> std::slice::ChunksExactMut<'_, u8> {
        self.memory[LEAD..].chunks_exact_mut(self.slot)
    }

    pub(crate) fn first_slot(&self) -> &[u8] {
        &self.memory[LEAD..][..self.slot]
    }
}

const NO_VECTOR: libc::iovec = libc::iovec { iov_base: null_mut(), iov_len: 0 };

// SAFETY: an all-zero `mmsghdr` is null pointers and zero lengths, a valid value of every field.
const NO_HEADER: libc::mmsghdr = unsafe { std::mem::zeroed() };
