//! What may be asked of the daemon over its socket, what it answers, and a small client.
//!
//! The answers are plain values built where the data lives; this crate knows no engine. One frame is a
//! version octet, a kind octet, a 32-bit length and a body (see [`frame`]); bodies are JSON but for
//! captured packets.

pub mod client;
pub mod frame;
mod request;
mod utc;
pub mod view;

pub use client::{Client, ClientError};
pub use request::{Answer, BgpClear, Request};
pub use utc::utc;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/causeway/control.sock";
