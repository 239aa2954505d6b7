//! Namespaces of the calling thread, and of a program about to start.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Give the calling thread, and no other, a new and empty network namespace.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: CLONE_NEWNET alone changes which network the calling thread sees; no memory, descriptor
    // or signal state is unshared, so no promise of the standard library is broken.
    let code = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Make a program start inside the network namespace `namespace`.
pub(crate) fn start_inside(command: &mut Command, namespace: OwnedFd) {
    // SAFETY: the closure runs between fork and exec and makes one system call; it neither allocates
    // nor takes a lock. The descriptor lives as long as the closure.
    unsafe {
        command.pre_exec(move || {
            if libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
    }
}
