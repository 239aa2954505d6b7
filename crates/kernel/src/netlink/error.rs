//! Why the kernel did not do what was asked, sorted by what a caller does about it.

use std::io;

/// The outcome of one request that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetlinkError {
    /// It is there already (EEXIST). For a route: ours or a foreign one with the same key.
    #[error("exists already")]
    Exists,
    /// No such route, rule, address, link or table (ESRCH, ENOENT, ENODEV, EADDRNOTAVAIL).
    #[error("no such object{}", with(.text))]
    Missing {
        /// The kernel's own words, if it gave any.
        text: Option<String>,
    },
    /// There is no way to that destination (a look-up's answer).
    #[error("unreachable")]
    Unreachable,
    /// We lack the capability (EPERM, EACCES).
    #[error("not permitted (CAP_NET_ADMIN is needed)")]
    NotPermitted,
    /// A route with this key belongs to another program; it was left alone.
    #[error("a foreign route (protocol {protocol}) stands there")]
    Foreign {
        /// Whose: its routing protocol number.
        protocol: u8,
    },
    /// The change carries a protocol number (0-4) that is the kernel's or the administrator's, not ours.
    #[error("protocol {0} is not one a daemon may own")]
    NotOurProtocol(u8),
    /// Any other refusal.
    #[error("{}{}", io::Error::from_raw_os_error(*.errno), with(.text))]
    Refused {
        /// The OS error number.
        errno: i32,
        /// The kernel's own words, if it gave any.
        text: Option<String>,
    },
    /// The kernel did not answer in 10 s.
    #[error("no answer from the kernel")]
    Timeout,
    /// The table kept changing while it was read.
    #[error("changed while it was read")]
    Interrupted,
    /// The answer could not be read or the request not be built.
    #[error("netlink message not understood")]
    Malformed,
    /// The socket itself failed; the OS error number.
    #[error("netlink socket: {}", io::Error::from_raw_os_error(*.0))]
    Socket(i32),
}

impl NetlinkError {
    /// From a (positive) error number of an answer.
    pub(super) fn from_answer(errno: i32, text: Option<String>) -> Self {
        match errno {
            libc::EEXIST => Self::Exists,
            libc::ESRCH | libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL => {
                Self::Missing { text }
            }
            libc::ENETUNREACH | libc::EHOSTUNREACH => Self::Unreachable,
            libc::EPERM => Self::NotPermitted,
            _ => Self::Refused { errno, text },
        }
    }

    /// Was it there already?
    #[must_use]
    pub fn is_exists(&self) -> bool {
        matches!(self, Self::Exists)
    }

    /// Was it gone already?
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

impl From<io::Error> for NetlinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Socket(error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}

impl From<rustix::io::Errno> for NetlinkError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

fn with(text: &Option<String>) -> String {
    text.as_ref().map_or_else(String::new, |words| format!(": {words}"))
}
