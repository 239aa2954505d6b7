//! Views as text, a file a page.

mod bgp;
mod bgp_routes;
mod interfaces;
mod sa;
mod status;
mod table;

pub(crate) use bgp::{bgp_neighbors, bgp_summary};
pub(crate) use bgp_routes::{bgp_routes, bgp_table};
pub(crate) use interfaces::{interfaces, routes};
pub(crate) use sa::{ike, ipsec};
pub(crate) use status::status;
