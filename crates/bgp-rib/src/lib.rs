//! BGP routes, policy, and the choice among them (RFC 4271 sections 3.2 and 9).
//!
//! Three tables, each a plain value without clock, session or socket:
//! - [`AdjRibIn`]: what one neighbour sent, before policy, each route with its [`Verdict`];
//! - [`LocRib`]: all usable paths to each prefix, ranked, each loser with the [`Step`] it lost at;
//! - [`AdjRibOut`]: what one neighbour shall hear and has heard; the latest state wins.
//!
//! A route's way: [`AdjRibIn::update`] judges it by [`ImportRules`] and answers an [`InChange`];
//! [`LocRib::apply`] takes that and answers a [`BestChange`] when the best path moved; [`ExportRules`] says
//! whether a neighbour may hear the new best and with which attributes; [`AdjRibOut::set`] remembers it until
//! [`AdjRibOut::take`] hands it to the session, as fast as the peer reads.
//!
//! RFCs: 4271 sections 5, 9.1 and 9.2; 1997 (well-known communities); 8212 (no policy means none); 6890 (martians).

mod adj_in;
mod adj_out;
mod decision;
mod export;
mod guard;
mod import;
mod loc;
mod next_hops;
mod policy;
mod prefix_list;
mod route;

#[cfg(test)]
mod samples;

pub use adj_in::{AdjRibIn, InChange, InRoute};
pub use adj_out::{AdjRibOut, Batch};
pub use decision::{Options, Step, rank};
pub use export::{ExportRules, ExportVerdict};
pub use guard::{Excluded, Guard, Own, martian};
pub use import::{ImportRules, NextHopFault, Verdict};
pub use loc::{BestChange, LocRib};
pub use next_hops::NextHops;
pub use policy::{Denial, Policy, Ruling};
pub use prefix_list::{Action, Match, PrefixList, PrefixListError, Rule};
pub use route::{NeighborId, Path, Peer, Source};
