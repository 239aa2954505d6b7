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
    /// Effective primary group; [`groups`] has the supplementary ones.
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

/// Supplementary groups of the peer of a connected Unix socket (`SO_PEERGROUPS`). They are those it had when it
/// connected, whoever has its process id now, and need no sight of its `/proc`.
pub fn groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    crate::sys::option::peer_groups(socket.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_of_a_peer_are_those_of_its_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut found = groups(&one).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
        let mut ours: Vec<u32> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        found.sort_unstable();
        ours.sort_unstable();
        assert_eq!(found, ours);
    }

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = credentials(&one).unwrap();
        assert_eq!(peer.pid, std::process::id() as i32);
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    }
}
