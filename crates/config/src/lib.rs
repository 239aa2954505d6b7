//! One file in, one checked plan out, and the difference of two.
//!
//! [`load`] reads the text as it was written, resolves names, defaults and secrets, and checks what contradicts
//! itself or would cut its own branch off. It answers a [`Plan`] or every error at once, each with its line,
//! column, key and what would be right; nothing has moved by then. [`Diff`] says what a running gateway must do to
//! get from one plan to another: keep, absorb or restart, object by object.
//!
//! Nothing here opens a socket or asks the kernel; secrets come through [`Host`].

mod diff;
mod error;
mod host;
mod nearest;
mod plan;
mod profile;
mod raw;
mod resolve;
mod show;
mod time;

#[cfg(test)]
mod tests;

pub use diff::{Change, Diff, Field, Step};
pub use error::{Errors, Fault, Remark};
pub use host::{Host, MAX_SECRET, SecretError, ThisHost};
pub use plan::{
    Bgp, Control, Esp, Gateway, Ike, Interface, InterfaceAddress, Local, LocalEnd, Log, LogFormat, LogLevel,
    Mtu, Neighbor, OnDown, Redistribute, Remote, RemoteEnd, Routes, Start, Tunnel,
};
pub use profile::{Defaults, Profile, Reasoned};
pub use resolve::{DEFAULT_FILE, DEFAULT_SOCKET, Filled, Plan, load};
