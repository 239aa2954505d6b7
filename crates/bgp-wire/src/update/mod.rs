//! UPDATE (RFC 4271 section 4.3) with the error handling of RFC 7606.

mod as4;
mod decode;
mod draft;
mod encode;
mod fault;
mod table;

use std::sync::Arc;

use inet::Prefix;

use crate::{Family, PathAttributes};

pub use encode::{TooLong, encode_announce, encode_end_of_rib, encode_withdraw};
pub use fault::{Action, Fault, FaultKind};

/// Prefixes that became reachable with one set of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What travels with them, the next hop of their family included.
    pub attributes: Arc<PathAttributes>,
    /// The prefixes, of one family, in the order received.
    pub prefixes: Vec<Prefix>,
}

/// What an UPDATE means. Take `withdrawn` first, then `reach`: a prefix in both fields counts as
/// reachable (RFC 4271 section 4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Prefixes no longer reachable, those treated as withdrawn included.
    pub withdrawn: Vec<Prefix>,
    /// Prefixes now reachable: at most one entry a family and field.
    pub reach: Vec<Reach>,
    /// The message is the end-of-RIB marker of a family (RFC 4724 section 2).
    pub end_of_rib: Option<Family>,
    /// What was wrong and survived, in the order found; at most one entry an attribute and reason.
    pub faults: Vec<Fault>,
}

impl Update {
    /// Did a fault turn its routes into withdrawals?
    #[must_use]
    pub fn treated_as_withdraw(&self) -> bool {
        self.faults.iter().any(|fault| fault.action == Action::Withdraw)
    }

    /// How many attributes were discarded.
    #[must_use]
    pub fn discarded(&self) -> usize {
        self.faults.iter().filter(|fault| fault.action == Action::Discard).count()
    }
}
