//! Super-packets: the virtio header in front of them, cutting, joining, checksums. Pure functions on
//! bytes.

pub mod checksum;
pub mod coalesce;
pub(crate) mod pieces;
pub mod recut;
pub mod split;
pub mod virtio;
