//! The few commands of bpf(2) that programs are set up with.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;

const PROG_TYPE_SOCKET_FILTER: u32 = 1;
const PROG_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;

/// Octets of `union bpf_attr` that any command here fills: as far as `batch_size` of `BPF_PROG_TEST_RUN`. The kernel takes
/// what is not given as zero.
const ATTR: usize = 80;

/// A kind of map (`enum bpf_map_type`).
#[derive(Clone, Copy)]
pub(crate) enum MapKind {
    /// Keys looked up by their octets.
    Hash = 1,
    /// Values by their number.
    Array = 2,
    /// AF_XDP sockets by their queue.
    Xsk = 17,
}

/// `union bpf_attr`, written field by field.
#[repr(C, align(8))]
struct Attr([u8; ATTR]);

impl Attr {
    fn new() -> Self {
        Self([0; ATTR])
    }

    fn word(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    /// The address of live octets. Whoever makes the call answers for how long they live.
    fn pointer(mut self, at: usize, to: &[u8]) -> Self {
        self.0[at..at + 8].copy_from_slice(&(to.as_ptr().expose_provenance() as u64).to_ne_bytes());
        self
    }

    fn name(mut self, at: usize, name: &[u8]) -> Self {
        let len = name.len().min(15);
        self.0[at..at + len].copy_from_slice(&name[..len]);
        self
    }
}

/// One command; what it answers.
///
/// # Safety
///
/// Every pointer in `attr` is to live octets of the length that the command reads through it, and the command writes
/// through none but those whose octets are borrowed for that until it is over.
unsafe fn call(command: libc::c_int, attr: &Attr) -> io::Result<libc::c_int> {
    // SAFETY: `attr` is a live array of the length given, aligned as the union is; its pointers are the caller's promise.
    let code = unsafe { libc::syscall(libc::SYS_bpf, command, attr.0.as_ptr(), ATTR) };
    libc::c_int::try_from(code).ok().filter(|code| *code >= 0).ok_or_else(io::Error::last_os_error)
}

fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// `BPF_F_MMAPABLE`: the values can be mapped.
pub(crate) const MMAPABLE: u32 = 1 << 10;

/// An empty map for `entries` entries.
pub(crate) fn create_map(
    kind: MapKind,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let attr = Attr::new().word(0, kind as u32).word(4, key).word(8, value).word(12, entries).word(16, flags);
    let attr = attr.name(28, b"causeway");
    // SAFETY: BPF_MAP_CREATE reads numbers and a name alone.
    unsafe { call(MAP_CREATE, &attr) }.map(owned)
}

/// Sets the entry of `key`. Both must be as long as the map was made for.
fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let attr = Attr::new().word(0, number(map)).pointer(8, key).pointer(16, value);
    // SAFETY: the kernel reads as many octets of key and value as the map was made for: `Map` below, the only way
    // here, has made it for exactly these lengths.
    unsafe { call(MAP_UPDATE_ELEM, &attr) }.map(drop)
}

/// A map whose keys and values have fixed lengths.
#[derive(Debug)]
pub(crate) struct Map<const KEY: usize> {
    fd: OwnedFd,
}

impl<const KEY: usize> Map<KEY> {
    /// Values are 32-bit words.
    pub(crate) fn new(kind: MapKind, entries: u32) -> io::Result<Self> {
        Ok(Self { fd: create_map(kind, KEY as u32, 4, entries, 0)? })
    }

    pub(crate) fn set(&self, key: &[u8; KEY], value: u32) -> io::Result<()> {
        update(self.fd.as_fd(), key, &value.to_ne_bytes())
    }

    pub(crate) fn remove(&self, key: &[u8; KEY]) -> io::Result<()> {
        let attr = Attr::new().word(0, number(self.fd.as_fd())).pointer(8, key);
        // SAFETY: the kernel reads as many octets of the key as the map was made for, which is its length.
        unsafe { call(MAP_DELETE_ELEM, &attr) }.map(drop)
    }

    /// The number a program's instructions name it by.
    pub(crate) fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// Loads an XDP program of whole instructions, which the kernel checks and copies.
pub(crate) fn load_xdp(instructions: &[u8], license: &std::ffi::CStr) -> io::Result<OwnedFd> {
    load(PROG_TYPE_XDP, instructions, license, b"causeway_esp")
}

/// Loads a socket filter of whole instructions, which is also what a TUN device takes to choose a queue by.
pub(crate) fn load_filter(instructions: &[u8], license: &std::ffi::CStr) -> io::Result<OwnedFd> {
    load(PROG_TYPE_SOCKET_FILTER, instructions, license, b"causeway_queue")
}

/// One instruction as the kernel reads it.
pub(crate) fn instruction(operation: u8, to: u8, from: u8, offset: i16, value: i32) -> [u8; 8] {
    let [o0, o1] = offset.to_ne_bytes();
    let [v0, v1, v2, v3] = value.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    [operation, registers, o0, o1, v0, v1, v2, v3]
}

fn load(kind: u32, instructions: &[u8], license: &std::ffi::CStr, name: &[u8]) -> io::Result<OwnedFd> {
    let count = u32::try_from(instructions.len() / 8).map_err(|_| io::ErrorKind::InvalidInput)?;
    let attr = Attr::new()
        .word(0, kind)
        .word(4, count)
        .pointer(8, instructions)
        .pointer(16, license.to_bytes_with_nul())
        .name(48, name);
    // SAFETY: the kernel reads `count` instructions of eight octets, which the slice holds, and the licence up to its
    // zero; no log is asked for, so it writes nowhere.
    unsafe { call(PROG_LOAD, &attr) }.map(owned)
}

/// Attaches an XDP program to a device for as long as the descriptor lives. `flags` are `XDP_FLAGS_*`.
pub(crate) fn link_xdp(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let attr = Attr::new().word(0, number(program)).word(4, ifindex).word(8, ATTACH_XDP).word(12, flags);
    // SAFETY: BPF_LINK_CREATE for XDP reads numbers alone.
    unsafe { call(LINK_CREATE, &attr) }.map(owned)
}

/// The device that a link made by [`link_xdp`] is on: 0 when that has gone; `None` where the kernel does not say.
pub(crate) fn link_device(link: BorrowedFd<'_>) -> Option<u32> {
    // `struct bpf_link_info`: kind, number, program, four octets of nothing, and what is the kind's own.
    const DEVICE: usize = 16;
    const LEN: usize = DEVICE + 8;
    let mut info = [0_u8; LEN];
    let at = info.as_mut_ptr().expose_provenance() as u64;
    let mut attr = Attr::new().word(0, number(link)).word(4, LEN as u32);
    attr.0[8..16].copy_from_slice(&at.to_ne_bytes());
    // SAFETY: the kernel reads and writes `LEN` octets at most of `info`, which is ours alone until after the call.
    unsafe { call(OBJ_GET_INFO_BY_FD, &attr) }.ok()?;
    let device = info.get(DEVICE..DEVICE + 4)?;
    Some(u32::from_ne_bytes(device.try_into().ok()?))
}

/// Runs a loaded XDP program over `count` frames of the kernel's own making, each `data` at first, and lets each go where
/// the program says (live frames, Linux 5.18); in batches of at most `batch`, the end of which the receiving side is told of.
pub(crate) fn run_live(program: BorrowedFd<'_>, data: &[u8], count: u32, batch: u32) -> io::Result<()> {
    const LIVE_FRAMES: u32 = 1 << 1;
    let attr = Attr::new()
        .word(0, number(program))
        .word(8, data.len() as u32)
        .pointer(16, data)
        .word(32, count)
        .word(64, LIVE_FRAMES)
        .word(72, batch);
    // SAFETY: the kernel reads the octets of `data`, whose length stands beside them, and with live frames writes none.
    unsafe { call(PROG_TEST_RUN, &attr) }.map(drop)
}
