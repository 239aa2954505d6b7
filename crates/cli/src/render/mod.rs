//! Views as text, a file a page.

mod bgp;
mod interfaces;
mod sa;
mod status;
mod table;

pub(crate) use bgp::{bgp_neighbors, bgp_routes, bgp_summary, bgp_table};
pub(crate) use interfaces::{interfaces, routes};
pub(crate) use sa::{ike, ipsec};
pub(crate) use status::status;
