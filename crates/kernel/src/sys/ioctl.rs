//! The few ioctls a TUN device is set up with.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Longest interface name, without its terminating zero (`IFNAMSIZ` - 1).
pub(crate) const NAME_MAX: usize = libc::IFNAMSIZ - 1;

/// Octets of `struct ifreq`; `TUNSETIFF` reads and writes exactly so many.
const IFREQ: usize = size_of::<libc::ifreq>();

/// `TUNSETSTEERINGEBPF`, `_IOR('T', 224, int)`, made as the request beside it that libc knows, `_IOR('T', 207, unsigned int)`:
/// which way the octets go stands elsewhere on some architectures.
const STEERING: libc::Ioctl = libc::TUNGETFEATURES - 207 + 224;

/// `TUNSETIFF`: attach the descriptor to the device `name` (made if missing), and give the name back.
pub(crate) fn tun_attach(fd: BorrowedFd<'_>, name: &str, flags: u16) -> io::Result<String> {
    let mut request = [0_u8; IFREQ];
    if name.len() > NAME_MAX || name.bytes().any(|b| b == 0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request[..name.len()].copy_from_slice(name.as_bytes());
    request[libc::IFNAMSIZ..libc::IFNAMSIZ + 2].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq`, and the array is exactly as long; the
    // kernel copies octets, so its alignment does not matter.
    let code = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    let end = request[..libc::IFNAMSIZ].iter().position(|b| *b == 0).unwrap_or(NAME_MAX);
    Ok(String::from_utf8_lossy(&request[..end]).into_owned())
}

/// `TUNSETOFFLOAD`: which offloads we promise to handle on what we read.
pub(crate) fn tun_offload(fd: BorrowedFd<'_>, mask: u32) -> io::Result<()> {
    by_value(fd, libc::TUNSETOFFLOAD, mask as libc::c_ulong)
}

/// `TUNSETPERSIST`: does the device outlive its descriptors?
pub(crate) fn tun_persist(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    by_value(fd, libc::TUNSETPERSIST, libc::c_ulong::from(on))
}

/// `TUNSETVNETHDRSZ`: octets of the header before each packet.
pub(crate) fn tun_header_size(fd: BorrowedFd<'_>, octets: i32) -> io::Result<()> {
    // SAFETY: TUNSETVNETHDRSZ reads one int through the pointer, which is to a live local.
    let code = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const octets) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `TUNSETSTEERINGEBPF`: which program chooses the queue of a packet to be read; `None`: the driver itself does.
pub(crate) fn tun_steering(fd: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let program: libc::c_int = program.map_or(-1, |program| program.as_raw_fd());
    // SAFETY: TUNSETSTEERINGEBPF reads one int through the pointer, which is to a live local.
    let code = unsafe { libc::ioctl(fd.as_raw_fd(), STEERING, &raw const program) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// An ioctl of TUN whose argument is the number itself: only the two requests above come here.
fn by_value(fd: BorrowedFd<'_>, request: libc::Ioctl, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD and TUNSETPERSIST take their argument by value and touch no memory of ours.
    let code = unsafe { libc::ioctl(fd.as_raw_fd(), request, value) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
