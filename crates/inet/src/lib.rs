//! The only vocabulary every room may share: prefixes, address and port ranges, traffic selectors,
//! and a map that answers with the longest match.
//!
//! Nothing here knows of a protocol engine, a socket or a clock, and it never becomes a drawer for helpers.

mod map;
mod prefix;
mod range;
mod selector;

pub use map::PrefixMap;
pub use prefix::{Prefix, PrefixError};
pub use range::{AddressRange, PortRange};
pub use selector::{Selector, SelectorError};
