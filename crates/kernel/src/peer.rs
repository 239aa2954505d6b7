//! Who is at the other end of a Unix socket.

use std::io;
use std::os::fd::AsFd;

/// The process that connected, as the kernel recorded it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: i32,
    /// Effective user.
    pub uid: u32,
    /// Effective primary group; supplementary groups are not told.
    pub gid: u32,
}

/// Credentials of the peer of a connected Unix socket (`SO_PEERCRED`).
pub fn credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let found = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(Credentials {
        pid: found.pid.as_raw_nonzero().get(),
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = credentials(&one).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}
