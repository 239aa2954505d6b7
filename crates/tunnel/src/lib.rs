//! The datapath without a file descriptor: frames of a TUN device in, ESP datagrams out, and back.
//!
//! The worker thread owns the descriptors and one [`Egress`] and one [`Ingress`]; both take the current
//! [`Table`] for the length of one batch (see [`publish`]) and never lock or allocate for a packet.
//!
//! **Out**: read a TUN frame (virtio header and super-packet) → [`Egress::handle_frame`] cuts it straight
//! into the [`SendBatch`] → when the device is drained or the batch [`is_full`](SendBatch::is_full),
//! [`Egress::seal`] → send each of [`SendBatch::runs`] → [`SendBatch::clear`]. Then write
//! [`Egress::poll_reply`] to the TUN.
//!
//! **In**: receive messages → [`Ingress::handle_batch`] opens and joins them in place →
//! [`Ingress::for_each_write`] hands out vectors to write → [`Ingress::clear`].
//!
//! **Up**: both leave what others must know in a bounded [`Reports`].
//!
//! RFCs: 4301 (section 5.1.2, 8), 4303, 3948 (sections 2, 3), 6040, 1191, 1812, 4443, 8200, 8201, 879.

mod batch;
pub mod demux;
mod drops;
mod egress;
mod fragment;
mod ingress;
pub mod inner;
mod limit;
pub mod mtu;
mod octets;
pub mod offload;
mod path;
mod pool;
pub mod publish;
mod report;
mod table;
mod toobig;

#[cfg(test)]
mod tests;

pub use batch::{Run, SendBatch};
pub use drops::{Drop, Drops};
pub use egress::{Egress, Handled};
pub use esp::Tick;
pub use ingress::{Ingress, Received};
pub use path::OuterPath;
pub use report::{Report, Reports};
pub use table::{
    DfPolicy, InboundRow, MssPolicy, OutboundRow, OuterAddresses, Selectors, Table, TableBuilder, TunnelId,
    TunnelRow,
};
