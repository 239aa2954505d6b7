//! Which routes pass, in both directions.

use std::sync::Arc;
use std::time::Duration;

use bgp_rib::{Action, Excluded, Guard, NextHops, Policy, PrefixList, Rule, Step, Verdict};
use bgp_wire::Families;

use super::net::{Net, PEER, announcement, configs, prefix};
use crate::{Alarm, Event, NeighborConfig, Way};

const SECOND: Duration = Duration::from_secs(1);

fn list(name: &str, rules: &[(u32, Action, &str)]) -> Policy {
    let rules = rules.iter().map(|(seq, action, text)| Rule::exact(*seq, *action, prefix(text))).collect();
    Policy::List(Arc::new(PrefixList::new(name, rules).unwrap()))
}

fn alarms(net: &Net, side: usize) -> Vec<Alarm> {
    let alarm = |(_, event): &(_, Event)| match event {
        Event::Alarm { alarm, .. } => Some(alarm.clone()),
        _ => None,
    };
    net.events[side].iter().filter_map(alarm).collect()
}

fn change(net: &mut Net, side: usize, edit: impl FnOnce(&mut NeighborConfig)) -> crate::Change {
    let mut config = net.speakers[side].neighbor_config(PEER).unwrap().clone();
    edit(&mut config);
    let change = net.speakers[side].upsert_neighbor(PEER, config, net.now);
    net.run(SECOND);
    change
}

/// The example of a tunnel to Azure: lists on our side, a peer that echoes our prefix and our address.
fn azure() -> Net {
    let mut both = configs();
    both[0].import = list(
        "azure-in",
        &[
            (30, Action::Deny, "192.168.1.1/32"),
            (40, Action::Deny, "172.16.0.254/32"),
            (110, Action::Permit, "172.16.0.0/22"),
            (120, Action::Permit, "192.168.1.0/24"),
        ],
    );
    both[0].export = list("azure-out", &[(100, Action::Permit, "192.168.1.0/24")]);
    both[0].source = Some([192, 168, 1, 1].into());
    Net::established(both)
}

#[test]
fn routes_are_exchanged_with_next_hop_self_and_our_as_in_front() {
    let mut net = azure();
    net.originate(0, &["192.168.1.0/24", "192.168.9.0/24"]);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    assert_eq!(net.learned(1), ["192.168.1.0/24"], "the list keeps the other one back");
    let best = &net.routes[1][&prefix("192.168.1.0/24")];
    assert_eq!(best.next_hop.to_string(), "192.168.1.1");
    assert_eq!(best.attributes.as_path.to_string(), "65510");
    let told: Vec<String> = net.speakers[0].advertised(PEER).map(|route| route.prefix.to_string()).collect();
    assert_eq!(told, ["192.168.1.0/24"]);
}

#[test]
fn an_echo_is_kept_out_by_the_list_and_by_the_guard_and_both_say_so() {
    let mut net = azure();
    net.originate(0, &["192.168.1.0/24"]);
    // What the cloud holds as its own static routes, its AS alone in the path.
    net.inject(0, &announcement(&[65515], &["172.16.0.0/22", "192.168.1.0/24", "192.168.1.1/32"]));
    let received = net.received(0);
    assert_eq!(received.len(), 3);
    let verdict = |text: &str| {
        let found = received.iter().find(|route| route.prefix == prefix(text));
        found.map(|route| route.verdict.clone())
    };
    assert!(matches!(verdict("192.168.1.1/32"), Some(Verdict::Denied(_))), "{received:?}");
    assert!(
        matches!(verdict("192.168.1.0/24"), Some(Verdict::Excluded(Excluded::OwnPrefix { .. }))),
        "a permit does not lift the guard: {received:?}"
    );
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    let view = net.speakers[0].prefix(prefix("192.168.1.0/24")).unwrap();
    assert_eq!(view.row.paths.len(), 1, "only our own");
    assert_eq!(view.refused.len(), 1);
    assert_eq!(view.row.paths[0].step, Step::OnlyPath);
}

#[test]
fn without_a_policy_nothing_passes_and_the_state_says_why() {
    let mut both = configs();
    (both[0].import, both[0].export) = (Policy::Unset, Policy::Unset);
    let mut net = Net::established(both);
    net.originate(0, &["192.168.1.0/24"]);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert!(net.learned(0).is_empty() && net.learned(1).is_empty());
    assert_eq!(net.received(0).len(), 1, "kept before policy");
    let summary = &net.speakers[0].summary()[0];
    assert_eq!(summary.state_word, "Established (Policy)");
    assert!(summary.reason.as_deref().unwrap().contains("RFC 8212"));
    let denied = [Way::Import, Way::Export].map(Alarm::PolicyDeniesAll);
    assert_eq!(alarms(&net, 0), denied);
}

#[test]
fn a_changed_policy_is_taken_over_without_a_word_on_the_wire_about_the_session() {
    let mut net = azure();
    net.originate(0, &["192.168.1.0/24"]);
    net.originate(1, &["172.16.0.0/22", "10.0.0.0/8"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
    assert_eq!(change(&mut net, 0, |config| config.import = Policy::Any), crate::Change::Absorb);
    assert_eq!(net.learned(0), ["10.0.0.0/8", "172.16.0.0/22"]);
    change(&mut net, 0, |config| config.export = Policy::None);
    assert!(net.learned(1).is_empty());
    change(&mut net, 0, |config| config.import = Policy::None);
    assert!(net.learned(0).is_empty());
    assert_eq!(net.speakers[0].neighbor(PEER).unwrap().counters.established, 1);
    assert_eq!(change(&mut net, 0, |_| {}), crate::Change::Keep);
}

#[test]
fn a_changed_hold_time_restarts_the_session_and_names_the_field() {
    let mut net = azure();
    let change = change(&mut net, 0, |config| config.hold_time = 90);
    assert_eq!(change, crate::Change::Restart(crate::Field::HoldTime));
    net.run(Duration::from_secs(10));
    let view = net.speakers[0].neighbor(PEER).unwrap();
    assert_eq!(view.negotiated.unwrap().hold, Some(90 * SECOND));
    let words = net.speakers[1].neighbor(PEER).unwrap().last_reset.unwrap().1;
    assert_eq!(words, "peer sent cease: other configuration change (6/6)");
}

#[test]
fn one_prefix_too_many_ends_the_session_with_6_1_and_waits() {
    let mut both = configs();
    both[0].max_prefix = Some(10);
    let mut net = Net::established(both);
    let names: Vec<String> = (0..11).map(|n| format!("10.0.{n}.0/24")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    net.originate(1, &names[..9]);
    net.run(SECOND);
    assert!(matches!(alarms(&net, 0).as_slice(), [Alarm::PrefixLimitNear { limit: 10, .. }]));
    assert_eq!(net.learned(0).len(), 9);
    net.originate(1, &names);
    net.run(2 * SECOND);
    assert!(net.learned(0).is_empty());
    let words = net.speakers[1].neighbor(PEER).unwrap().last_reset.unwrap().1;
    assert_eq!(words, "peer sent cease: maximum number of prefixes reached (6/1): limit 10, ipv4 unicast");
    assert_eq!(net.speakers[0].summary()[0].state_word, "Idle (PfxCt)");
    net.originate(1, &names[..3]);
    net.run(Duration::from_secs(14 * 60));
    assert_eq!(net.speakers[0].summary()[0].state_word, "Idle (PfxCt)");
    net.run(Duration::from_secs(3 * 60));
    assert_eq!(net.learned(0).len(), 3, "back after a quarter of an hour");
}

#[test]
fn not_one_prefix_more_than_the_peer_bears_is_announced() {
    let mut both = configs();
    both[0].max_prefix_out = Some(5);
    both[1].max_prefix = Some(5);
    let mut net = Net::established(both);
    let names: Vec<String> = (0..8).map(|n| format!("10.0.{n}.0/24")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    net.originate(0, &names);
    net.run(SECOND);
    assert_eq!(net.learned(1).len(), 5);
    assert_eq!(alarms(&net, 0), [Alarm::ExportLimit { held: 3, limit: 5 }]);
    let family = &net.speakers[0].neighbor(PEER).unwrap().families[0];
    assert_eq!((family.sent, family.held_back), (5, 3));
    net.originate(0, &names[3..]);
    net.run(SECOND);
    assert_eq!(net.learned(1), names[3..]);
    assert_eq!(alarms(&net, 0).last(), Some(&Alarm::ExportLimitCleared));
    assert_eq!(net.speakers[1].neighbor(PEER).unwrap().counters.dropped, 0);
}

#[test]
fn routes_are_not_told_back_to_the_peer_they_came_from() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert_eq!(net.speakers[0].advertised(PEER).count(), 0);
    assert_eq!(net.received(1).len(), 0);
}

#[test]
fn ipv6_routes_travel_over_an_ipv4_session_that_has_an_ipv6_next_hop() {
    let both = configs().map(|mut config| {
        config.families = Families::BOTH;
        config.next_hop_v6 = Some("fd00::1".parse().unwrap());
        config
    });
    let mut net = Net::established(both);
    net.originate(1, &["2001:db8:1::/48", "10.0.0.0/8"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["10.0.0.0/8", "2001:db8:1::/48"]);
    assert_eq!(net.routes[0][&prefix("2001:db8:1::/48")].next_hop.to_string(), "fd00::1");
    net.originate(1, &["10.0.0.0/8"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["10.0.0.0/8"]);
    let families = net.speakers[0].neighbor(PEER).unwrap().families;
    assert!(families.iter().all(|family| family.end_of_rib_received && family.end_of_rib_sent));
}

#[test]
fn a_guard_set_later_takes_routes_back_and_lifts_them_again() {
    let mut net = Net::established(configs());
    net.originate(1, &["203.0.113.9/32", "10.0.0.0/8"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["10.0.0.0/8", "203.0.113.9/32"]);
    let mut guard = Guard::new();
    guard.add_outer("203.0.113.9".parse().unwrap());
    net.speakers[0].set_guard(guard, net.now);
    net.drain();
    assert_eq!(net.learned(0), ["10.0.0.0/8"]);
    net.speakers[0].set_guard(Guard::new(), net.now);
    net.drain();
    assert_eq!(net.learned(0), ["10.0.0.0/8", "203.0.113.9/32"]);
}

#[test]
fn our_own_as_in_a_path_is_counted_and_kept_out() {
    let mut net = Net::established(configs());
    net.inject(0, &announcement(&[65515, 65510], &["10.9.0.0/16"]));
    assert!(net.learned(0).is_empty());
    assert_eq!(net.speakers[0].neighbor(PEER).unwrap().refused.as_loop, 1);
}

#[test]
fn internal_peers_need_no_policy_and_hear_a_local_preference_and_no_as_of_ours() {
    let both = configs().map(|mut config| {
        (config.asn, config.local_asn) = (65510, 65510);
        (config.import, config.export) = (Policy::Unset, Policy::Unset);
        config
    });
    let mut net = Net::established(both);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    let attributes = &net.routes[0][&prefix("172.16.0.0/22")].attributes;
    assert_eq!((attributes.local_pref, attributes.as_path.is_empty()), (Some(100), true));
    assert!(!net.speakers[0].neighbor(PEER).unwrap().external);
}

#[test]
fn a_changed_weight_moves_the_best_path_without_a_reset() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.originate(0, &["172.16.0.0/22"]);
    net.run(SECOND);
    // Ours, and the guard keeps the echo out; taken back, the neighbour's stands alone and weighs nothing.
    net.originate(0, &[]);
    net.run(SECOND);
    let weight = |net: &Net| net.speakers[0].table().next().unwrap().paths[0].path.weight();
    assert_eq!(weight(&net), 0);
    assert_eq!(change(&mut net, 0, |config| config.weight = 40_000), crate::Change::Absorb);
    assert_eq!(weight(&net), 40_000);
    assert_eq!(net.states(), [crate::State::Established; 2]);
}

/// What verdicts side 0 passed on what it was sent.
fn verdicts(net: &Net) -> Vec<String> {
    net.received(0).iter().map(|route| format!("{} {}", route.prefix, route.verdict)).collect()
}

#[test]
fn a_route_whose_next_hop_the_host_has_no_way_to_is_not_eligible_until_it_has() {
    let mut net = Net::established(configs());
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["172.16.0.0/22"], "before anything is known of the host's routes");
    let ways = |text: &str| NextHops::reached_by([prefix(text)]);
    net.speakers[0].set_next_hops(ways("192.168.0.0/16"), net.now);
    net.run(SECOND);
    assert!(net.learned(0).is_empty());
    let unresolved =
        "172.16.0.0/22 next hop 172.16.0.254 is not resolved: no single way outside the tunnels leads there";
    assert_eq!(verdicts(&net), [unresolved]);
    let view = net.speakers[0].prefix(prefix("172.16.0.0/22")).unwrap();
    assert_eq!((view.row.paths.len(), view.refused.len()), (0, 1), "shown with its reason");
    // What comes meanwhile is judged by the same.
    net.originate(1, &["172.16.0.0/22", "10.0.0.0/8"]);
    net.run(SECOND);
    assert!(net.learned(0).is_empty());
    net.speakers[0].set_next_hops(ways("172.16.0.0/12"), net.now);
    net.run(SECOND);
    assert_eq!(net.learned(0), ["10.0.0.0/8", "172.16.0.0/22"]);
}

#[test]
fn behind_a_tunnel_the_next_hop_need_not_be_resolved_by_the_host() {
    let mut both = configs();
    both[0].tunnel = Some("azure".into());
    let mut net = Net::new(both, 0);
    net.speakers[0].set_next_hops(NextHops::default(), net.now);
    net.speakers[0].transport_up(PEER, net.now);
    net.originate(1, &["172.16.0.0/22"]);
    net.run(SECOND * 10);
    assert_eq!(net.learned(0), ["172.16.0.0/22"]);
}
