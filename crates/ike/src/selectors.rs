//! Traffic selectors (RFC 7296 section 2.9): as sent, as read, narrowed, and whether the peer only narrowed.

use ike_wire::{Addresses, IpSelector, TrafficSelector, TrafficSelectors};
use inet::{AddressRange, PortRange, Selector};

/// Selectors kept of one side, offered or agreed.
pub(crate) const MAX_SELECTORS: usize = 32;

/// Selectors as sent.
pub(crate) fn ts_to_wire(selectors: &[Selector]) -> TrafficSelectors {
    let selectors = selectors
        .iter()
        .take(MAX_SELECTORS)
        .filter_map(|selector| {
            let addresses = Addresses::new(selector.addresses.first(), selector.addresses.last())?;
            let (start_port, end_port) = (selector.ports.first, selector.ports.last);
            Some(TrafficSelector::Ip(IpSelector {
                protocol: selector.protocol,
                start_port,
                end_port,
                addresses,
            }))
        })
        .collect();
    TrafficSelectors { selectors }
}

/// Selectors as received; those without meaning to us are left out.
pub(crate) fn ts_from_wire(ts: &TrafficSelectors) -> Vec<Selector> {
    ts.selectors
        .iter()
        .filter_map(|selector| match selector {
            TrafficSelector::Ip(ip) => Some(Selector {
                addresses: AddressRange::new(ip.addresses.first(), ip.addresses.last())?,
                protocol: ip.protocol,
                ports: PortRange { first: ip.start_port, last: ip.end_port },
            }),
            TrafficSelector::Other(_) => None,
        })
        .take(MAX_SELECTORS)
        .collect()
}

/// RFC 7296 section 2.9: the part of the offer that our policy allows, in the order of the offer. Empty: none of it.
pub(crate) fn narrow(offered: &[Selector], ours: &[Selector]) -> Vec<Selector> {
    let mut agreed: Vec<Selector> = Vec::new();
    for selector in offered.iter().flat_map(|offer| ours.iter().filter_map(move |our| offer.intersect(our))) {
        if agreed.len() < MAX_SELECTORS && !agreed.iter().any(|one| one.covers(&selector)) {
            agreed.retain(|one| !selector.covers(one));
            agreed.push(selector);
        }
    }
    agreed
}

/// Is every chosen selector part of one we offered?
pub(crate) fn is_subset(chosen: &[Selector], offered: &[Selector]) -> bool {
    !chosen.is_empty() && chosen.iter().all(|one| offered.iter().any(|offer| offer.covers(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_keeps_the_offers_order_and_no_overlaps() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Selector>>();
        let agreed = narrow(&list(&["10.1.0.0/16", "0.0.0.0/0"]), &list(&["10.0.0.0/8", "192.0.2.0/24"]));
        assert_eq!(agreed, list(&["10.0.0.0/8", "192.0.2.0/24"]));
        assert!(narrow(&list(&["::/0"]), &list(&["0.0.0.0/0"])).is_empty());
        assert!(is_subset(&agreed, &list(&["0.0.0.0/0"])));
        assert!(!is_subset(&list(&["0.0.0.0/0"]), &agreed));
        assert!(!is_subset(&[], &agreed));
    }
}
