//! Socket options by number, for those `socket2` does not name.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `setsockopt` with the octets of a value.
fn set<T: ?Sized>(fd: BorrowedFd<'_>, level: i32, name: i32, value: &T) -> io::Result<()> {
    let len = size_of_val(value) as libc::socklen_t;
    // SAFETY: the pointer and the length are those of a live value, which the kernel only reads.
    let code = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const *value).cast(), len) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `setsockopt` with the value's bytes.
pub(crate) fn set_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    set(fd, level, name, value)
}

/// `setsockopt` with an `int`.
pub(crate) fn set_int(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_bytes(fd, level, name, &value.to_ne_bytes())
}

/// `getsockopt` of an `int`.
pub(crate) fn get_int(fd: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = [0; size_of::<libc::c_int>()];
    get_bytes(fd, level, name, &mut value)?;
    Ok(libc::c_int::from_ne_bytes(value))
}

/// What a socket dropped of what came to it: the last number of `SO_MEMINFO` (Linux 4.12).
pub(crate) fn receive_drops(fd: BorrowedFd<'_>) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS` of linux/sock_diag.h.
    const DROPS: usize = 8;
    const NUMBER: usize = size_of::<u32>();
    let mut numbers = [0; (DROPS + 1) * NUMBER];
    let written = get_bytes(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut numbers)?;
    let drops = numbers.get(..written).and_then(|all| all.get(DROPS * NUMBER..)?.first_chunk());
    drops.map(|drops| u32::from_ne_bytes(*drops)).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// `setsockopt` with a program of classic BPF, which the kernel checks and copies.
pub(crate) fn set_program(
    fd: BorrowedFd<'_>,
    name: i32,
    program: &mut [libc::sock_filter],
) -> io::Result<()> {
    let whole = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_mut_ptr(),
    };
    // The kernel reads the steps by the pointer in it, which `program` keeps alive.
    set(fd, libc::SOL_SOCKET, name, &whole)
}

/// `getsockopt` into a buffer; how much of it the kernel wrote.
pub(crate) fn get_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &mut [u8]) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(value.len()).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: the pointer is to a live slice that nobody else has, of which the kernel writes at most `len` octets; `len`
    // is a live local.
    let code =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(len).unwrap_or(0).min(value.len()))
}

/// The supplementary groups of a Unix socket's peer (`SO_PEERGROUPS`), as they were when it connected.
pub(crate) fn peer_groups(fd: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut len =
            libc::socklen_t::try_from(size_of_val(groups.as_slice())).unwrap_or(libc::socklen_t::MAX);
        // SAFETY: the pointer is to `len` live octets, of which the kernel writes at most that many.
        let code = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = usize::try_from(len).unwrap_or(0) / size_of::<libc::gid_t>();
        if code == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        // ERANGE comes with the length it takes.
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// Ask for `bytes` of socket buffer each way: past the system's limit where the capability allows,
/// else as much as the limit gives.
pub(crate) fn set_buffers(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX / 2);
    for (force, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        if set_int(fd, libc::SOL_SOCKET, force, value).is_err() {
            set_int(fd, libc::SOL_SOCKET, plain, value)?;
        }
    }
    Ok(())
}
