//! Which next hops this host has a way to (RFC 4271 section 9.1.2.1).

use std::net::IpAddr;

use inet::{Prefix, PrefixMap};

/// The addresses that routes of the host lead to, those made from BGP and those into tunnels aside.
///
/// Only what is reached counts, not by which way: two hosts' tables that lead to the same addresses are equal.
#[derive(Clone, Debug, Default)]
pub struct NextHops {
    /// None of them inside another.
    reached: PrefixMap<()>,
}

impl NextHops {
    /// Those that routes to these prefixes lead to.
    #[must_use]
    pub fn reached_by(prefixes: impl IntoIterator<Item = Prefix>) -> Self {
        let mut wide_first: Vec<Prefix> = prefixes.into_iter().collect();
        wide_first.sort_unstable_by_key(Prefix::len);
        let mut all = Self::default();
        for prefix in wide_first {
            if !all.leads_to(prefix.addr()) {
                all.reached.insert(prefix, ());
            }
        }
        all
    }

    /// Is there a way to this address?
    #[must_use]
    pub fn leads_to(&self, next_hop: IpAddr) -> bool {
        self.reached.longest_match(next_hop).is_some()
    }
}

impl PartialEq for NextHops {
    fn eq(&self, other: &Self) -> bool {
        self.reached.iter().eq(other.reached.iter())
    }
}

impl Eq for NextHops {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::prefix;

    fn reached(prefixes: &[&str]) -> NextHops {
        NextHops::reached_by(prefixes.iter().map(|text| prefix(text)))
    }

    #[test]
    fn an_address_is_reached_where_any_prefix_of_its_family_holds_it() {
        let ways = reached(&["10.0.0.0/24", "10.9.9.9/32", "2001:db8::/32"]);
        for (address, there) in [
            ("10.0.0.7", true),
            ("10.9.9.9", true),
            ("10.9.9.8", false),
            ("2001:db8::1", true),
            ("fd00::1", false),
        ] {
            assert_eq!(ways.leads_to(address.parse().unwrap()), there, "{address}");
        }
        assert!(!NextHops::default().leads_to([10, 0, 0, 1].into()));
        assert!(reached(&["0.0.0.0/0"]).leads_to([10, 0, 0, 1].into()));
    }

    #[test]
    fn what_leads_to_the_same_addresses_is_equal_in_whatever_order_and_detail() {
        assert_eq!(
            reached(&["10.0.0.0/8", "10.1.0.0/16"]),
            reached(&["10.1.0.0/16", "10.0.0.0/8", "10.2.0.0/16"])
        );
        assert_ne!(reached(&["10.0.0.0/8"]), reached(&["10.0.0.0/9"]));
    }
}
