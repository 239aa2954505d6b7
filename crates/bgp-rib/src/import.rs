//! What becomes of a route a neighbour sent: the one place that says yes or why not.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use bgp_wire::PathAttributes;
use inet::Prefix;

use crate::guard::{Excluded, Guard};
use crate::next_hops::NextHops;
use crate::policy::{Denial, Policy, Ruling};

/// Everything the judgement of one neighbour's routes needs, its names resolved.
#[derive(Clone, Copy, Debug)]
pub struct ImportRules<'a> {
    /// The guard all neighbours share.
    pub guard: &'a Guard,
    /// The neighbour's import policy.
    pub policy: &'a Policy,
    /// Our AS numbers: the router's, and the one this neighbour sees when that differs.
    pub own_asns: &'a [u32],
    /// Our end of the session.
    pub local_address: IpAddr,
    /// Our identifier: what a reflector must not send back to us.
    pub router_id: Ipv4Addr,
    /// The next hops this host has a way to; `None` where that is not asked: for a neighbour behind a tunnel, whose routes
    /// lead into that tunnel whatever the next hop, and while the host's routes are not known.
    pub next_hops: Option<&'a NextHops>,
}

/// What became of a route. Closed: counters, log lines and `received-routes` share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// In the decision; the number of the rule that permitted it, if a list did.
    Accepted(Option<u32>),
    /// Kept out by the import policy.
    Denied(Denial),
    /// Kept out by the guard.
    Excluded(Excluded),
    /// Our own AS is in its path (RFC 4271 section 9.1.2).
    AsLoop(u32),
    /// Our identifier is its ORIGINATOR_ID: a reflector sent our own route back (RFC 4456 section 8).
    OriginatorLoop,
    /// Our identifier is in its CLUSTER_LIST (RFC 4456 section 8).
    ClusterLoop,
    /// Its next hop cannot be used (RFC 4271 sections 6.3 and 9.1.2.1).
    NextHop(NextHopFault),
}

/// Why a next hop cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopFault {
    /// It is our own session address.
    OurOwn(IpAddr),
    /// Unspecified, loopback, multicast or broadcast. Link-local is legal: clouds peer from there.
    NotAHost(IpAddr),
    /// No route of this host, outside the tunnels and not itself made from BGP, leads to it by a single way.
    Unresolved(IpAddr),
}

impl ImportRules<'_> {
    /// The verdict on one route.
    ///
    /// A rule of the operator's that denies speaks first, since its number is what the operator looks for;
    /// the guard then beats every permit, and stands before the implicit deny, whose only news is that
    /// nothing was said.
    #[must_use]
    pub fn judge(&self, prefix: &Prefix, attributes: &PathAttributes) -> Verdict {
        let ruling = self.policy.evaluate(prefix);
        if let Ruling::Deny(denial) = &ruling
            && !matches!(denial, Denial::List { seq: None, .. })
        {
            return Verdict::Denied(denial.clone());
        }
        if let Some(excluded) = self.guard.check(prefix) {
            return Verdict::Excluded(excluded);
        }
        // RFC 4271 section 9.1.2: "If the AS_PATH attribute of a BGP route contains an AS loop, the BGP
        // route should be excluded from the Phase 2 decision function."
        if let Some(asn) = self.own_asns.iter().find(|asn| attributes.as_path.contains(**asn)) {
            return Verdict::AsLoop(*asn);
        }
        if attributes.originator_id == Some(self.router_id) {
            return Verdict::OriginatorLoop;
        }
        if attributes.cluster_list.contains(&self.router_id) {
            return Verdict::ClusterLoop;
        }
        if let Some(fault) = self.next_hop_fault(attributes.next_hop.address()) {
            return Verdict::NextHop(fault);
        }
        match ruling {
            Ruling::Permit(seq) => Verdict::Accepted(seq),
            Ruling::Deny(denial) => Verdict::Denied(denial),
        }
    }

    /// RFC 4271 section 6.3: the next hop "MUST NOT be the IP address of the receiving speaker", and is
    /// "a valid IP host address"; a route that fails is ignored without a NOTIFICATION.
    fn next_hop_fault(&self, next_hop: IpAddr) -> Option<NextHopFault> {
        if next_hop == self.local_address {
            return Some(NextHopFault::OurOwn(next_hop));
        }
        let no_host = match next_hop {
            IpAddr::V4(v4) => {
                let [first, ..] = v4.octets();
                first == 0 || v4.is_loopback() || v4.is_multicast() || v4.is_broadcast()
            }
            IpAddr::V6(v6) => v6.is_unspecified() || v6.is_loopback() || v6.is_multicast(),
        };
        if no_host {
            return Some(NextHopFault::NotAHost(next_hop));
        }
        // RFC 4271 section 9.1.2: "If the NEXT_HOP attribute of a BGP route depicts an address that is not resolvable,
        // [...] the BGP route MUST be excluded from the Phase 2 decision function."
        let unresolved = self.next_hops.is_some_and(|ways| !ways.leads_to(next_hop));
        unresolved.then_some(NextHopFault::Unresolved(next_hop))
    }
}

impl Verdict {
    /// Is the route in the decision?
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(Some(seq)) => write!(f, "accepted by seq {seq}"),
            Self::Accepted(None) => f.write_str("accepted"),
            Self::Denied(denial) => denial.fmt(f),
            Self::Excluded(excluded) => excluded.fmt(f),
            Self::AsLoop(asn) => write!(f, "our own AS {asn} is in its path"),
            Self::OriginatorLoop => f.write_str("a route of our own, reflected (ORIGINATOR_ID is ours)"),
            Self::ClusterLoop => f.write_str("a reflection loop (we are in its CLUSTER_LIST)"),
            Self::NextHop(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for NextHopFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OurOwn(address) => write!(f, "next hop {address} is our own address"),
            Self::NotAHost(address) => write!(f, "next hop {address} is no host address"),
            Self::Unresolved(address) => {
                write!(f, "next hop {address} is not resolved: no single way outside the tunnels leads there")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::guard::Own;
    use crate::prefix_list::{Action, PrefixList, Rule};
    use crate::samples::{learned, prefix};

    fn judge(policy: &Policy, text: &str, attributes: &PathAttributes) -> Verdict {
        let mut guard = Guard::new();
        guard.add_own(prefix("192.168.1.0/24"), Own::Originated);
        guard.add_session("192.168.1.1".parse().unwrap());
        let rules = ImportRules {
            guard: &guard,
            policy,
            own_asns: &[65510],
            local_address: "192.168.1.1".parse().unwrap(),
            router_id: [10, 0, 0, 9].into(),
            next_hops: None,
        };
        rules.judge(&prefix(text), attributes)
    }

    fn azure_in() -> Policy {
        let rules = vec![
            Rule::exact(30, Action::Deny, prefix("192.168.1.1/32")),
            Rule::exact(110, Action::Permit, prefix("172.16.0.0/22")),
            Rule::exact(120, Action::Permit, prefix("192.168.1.0/24")),
        ];
        Policy::List(Arc::new(PrefixList::new("azure-in", rules).unwrap()))
    }

    #[test]
    fn the_echo_of_a_cloud_is_kept_out_by_list_and_guard() {
        let echo = learned(&[65515]);
        let shown = |text| judge(&azure_in(), text, &echo).to_string();
        assert_eq!(shown("192.168.1.1/32"), "denied by azure-in seq 30");
        assert_eq!(shown("192.168.1.0/24"), "own prefix: inside 192.168.1.0/24, which we originate");
        assert_eq!(shown("172.16.0.0/22"), "accepted by seq 110");
        assert_eq!(shown("10.0.0.0/8"), "denied by azure-in, no rule matches");
        assert_eq!(shown("192.168.1.128/25"), "own prefix: inside 192.168.1.0/24, which we originate");
    }

    #[test]
    fn without_a_policy_nothing_is_accepted_and_the_reason_is_said() {
        let verdict = judge(&Policy::Unset, "172.16.0.0/22", &learned(&[65515]));
        assert_eq!(verdict.to_string(), "no policy is set, which means none (RFC 8212)");
    }

    #[test]
    fn our_own_as_anywhere_in_the_path_is_a_loop() {
        let verdict = judge(&Policy::Any, "172.16.0.0/22", &learned(&[65515, 65510, 7]));
        assert_eq!(verdict, Verdict::AsLoop(65510));
    }

    #[test]
    fn what_a_reflector_sends_back_is_refused() {
        let mut attributes = learned(&[7]);
        attributes.originator_id = Some([10, 0, 0, 9].into());
        assert_eq!(judge(&Policy::Any, "172.16.0.0/22", &attributes), Verdict::OriginatorLoop);
        attributes.originator_id = Some([10, 0, 0, 8].into());
        assert!(judge(&Policy::Any, "172.16.0.0/22", &attributes).is_accepted());
        attributes.cluster_list = vec![[10, 0, 0, 8].into(), [10, 0, 0, 9].into()];
        assert_eq!(judge(&Policy::Any, "172.16.0.0/22", &attributes), Verdict::ClusterLoop);
    }

    #[test]
    fn a_next_hop_that_is_ours_or_no_host_is_refused_and_link_local_is_not() {
        let judged = |next_hop: &str| {
            let mut attributes = learned(&[65515]);
            attributes.next_hop = next_hop.parse::<IpAddr>().unwrap().into();
            judge(&Policy::Any, "172.16.0.0/22", &attributes)
        };
        assert!(matches!(judged("192.168.1.1"), Verdict::NextHop(NextHopFault::OurOwn(_))));
        for bad in ["0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
            assert!(matches!(judged(bad), Verdict::NextHop(NextHopFault::NotAHost(_))), "{bad}");
        }
        for good in ["169.254.10.1", "10.0.0.1", "2001:db8::1"] {
            assert!(judged(good).is_accepted(), "{good}");
        }
    }
}
