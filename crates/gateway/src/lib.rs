//! The whole product without I/O: every machine joined into one.
//!
//! [`Gateway`] is fed [`Input`]s with the time and drained of [`Effect`]s. It ties a tunnel to its
//! interface, its BGP sessions and its routes, and knows what each needs of the others; how bytes
//! look, how keys are made and which route is best it leaves to the engines below.

mod arrivals;
#[cfg(test)]
mod begins;
#[cfg(test)]
mod changes;
mod command;
mod effect;
mod facts;
mod fib;
mod gateway;
mod input;
mod looks;
#[cfg(test)]
mod many;
mod moving;
mod neighbors;
mod peers;
mod reload;
mod roster;
mod stop;
mod strangers;
mod tunnels;
mod underlay;
mod uplinks;
mod views;
mod why;
mod wishes;

pub use ::bgp::{ConnId, ConnectError};
pub use ::tunnel::TunnelId;
pub use crypto::Secret;
pub use effect::{Device, Effect, Level, Line, Listener, Rules, Spi, StreamOp, Target};
pub use facts::{DeviceFacts, Facts, Measured};
pub use fib::{Applied, Change, Hop, Key, Op, PROTOCOL, Place};
pub use gateway::Gateway;
pub use ike::Path;
pub use input::{Departure, Input, KernelView, RequestId, Stream};
pub use underlay::{Address, Link, OuterPath, Underlay, UnderlayRoute};
pub use uplinks::Sources;
pub use why::{Code, Reached, Source, Why};

/// The mark of outer packets where learned routes have a table of their own.
pub const OUTER_MARK: u32 = 0x0000_c0de;
