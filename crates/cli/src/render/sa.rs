//! `show ike` and `show ipsec`.

use control::view::{ChildSa, Direction, Ike, IkeSa};

use super::table::{age, maybe_age, octets};

pub(crate) fn ike(view: &Ike) -> String {
    let sas = if view.sas.is_empty() {
        "no IKE SA\n".to_owned()
    } else {
        view.sas.iter().map(one_ike).collect::<Vec<_>>().join("\n")
    };
    sas + &totals(view)
}

/// What the engine counted; a name that never was is left out here, and stands in the JSON as 0.
fn totals(view: &Ike) -> String {
    let mut out = format!(
        "\nHalf-open {} (cookies from {}, at most {}, of one address {} without a cookie)\nCounted since the start:\n",
        view.half_open, view.cookie_from, view.half_open_max, view.half_open_per_address
    );
    let counted: Vec<_> = view.counters.iter().filter(|counter| counter.count > 0).collect();
    for counter in &counted {
        out.push_str(&format!("  {:<22}{}\n", counter.name, counter.count));
    }
    if counted.is_empty() {
        out.push_str("  nothing\n");
    }
    out
}

fn one_ike(sa: &IkeSa) -> String {
    let role = if sa.initiator { "initiator" } else { "responder" };
    let star = |ours: bool| if ours { "*" } else { "" };
    let nat = nat(sa.nat_local, sa.nat_remote);
    format!(
        "{}: {} for {}, {role}, SPIs {}_i{} {}_r{}\n  local  '{}' @ {}\n  remote '{}' @ {}\n  {}\n  rekey in {}, expires in {}, \
         NAT {nat}, last heard {} ago, {} CHILD SA\n",
        sa.tunnel,
        sa.state,
        age(sa.age),
        sa.spi_initiator,
        star(sa.initiator),
        sa.spi_responder,
        star(!sa.initiator),
        sa.local_id,
        sa.local,
        sa.remote_id,
        sa.remote,
        sa.suite,
        maybe_age(sa.rekey_in),
        maybe_age(sa.expires_in),
        maybe_age(sa.last_heard),
        sa.children,
    )
}

fn nat(here: bool, there: bool) -> &'static str {
    match (here, there) {
        (false, false) => "none",
        (true, false) => "here",
        (false, true) => "at the peer",
        (true, true) => "at both ends",
    }
}

pub(crate) fn ipsec(view: &[ChildSa]) -> String {
    if view.is_empty() {
        return "no CHILD SA\n".to_owned();
    }
    view.iter().map(one_child).collect::<Vec<_>>().join("\n")
}

fn one_child(sa: &ChildSa) -> String {
    let esn = if sa.esn { ", ESN" } else { "" };
    let nat = sa.nat.map_or("-", |found| nat(found.local, found.remote));
    let pfs = sa.pfs.as_ref().map_or_else(|| "no PFS".to_owned(), |group| format!("PFS {group}"));
    format!(
        "{}: {} for {}, TUNNEL in {}, {} -> {}, NAT {nat}\n  {}{esn}, {pfs}, replay window {}\n  rekey in {}, expires in {}\n{}{}{}  local  {}\n  remote {}\n",
        sa.tunnel,
        sa.state,
        age(sa.age),
        sa.encapsulation,
        sa.local,
        sa.remote,
        sa.suite,
        sa.replay_window,
        maybe_age(sa.rekey_in),
        maybe_age(sa.expires_in),
        resource(sa),
        direction("in ", &sa.inbound),
        direction("out", &sa.outbound),
        sa.local_ts.join(" "),
        sa.remote_ts.join(" "),
    )
}

/// Which of several with the same selectors it is; nothing where there is one and no more is wanted.
fn resource(sa: &ChildSa) -> String {
    let name = sa.peer_resource.as_ref().map_or_else(String::new, |name| format!(", at the peer {name}"));
    match (&sa.resources, sa.resource) {
        (Some(words), _) => format!("  resource any{name}; {words}\n"),
        (None, 0) => String::new(),
        (None, number) => format!("  resource {number}{name}\n"),
    }
}

fn direction(name: &str, direction: &Direction) -> String {
    let refused: String =
        direction.refused.iter().map(|(reason, count)| format!(", {count} {reason}")).collect();
    format!(
        "  {name} {}, {} packets, {}, sequence {}, last use {} ago{refused}\n",
        direction.spi,
        direction.packets,
        octets(direction.bytes),
        direction.sequence,
        maybe_age(direction.last_use),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use control::view::NamedCount;

    #[test]
    fn an_empty_page_says_so() {
        assert!(ike(&Ike::default()).starts_with("no IKE SA\n"));
        assert_eq!(ipsec(&[]), "no CHILD SA\n");
    }

    #[test]
    fn what_the_engine_counted_stands_below_its_sas_and_what_never_was_does_not() {
        let counter = |name: &str, count| NamedCount { name: name.into(), count };
        let counters = vec![counter("cookie-sent", 7), counter("half-open-refused", 0)];
        let text = ike(&Ike { half_open: 31, cookie_from: 30, counters, ..Ike::default() });
        assert!(text.contains("Half-open 31 (cookies from 30"), "{text}");
        assert!(text.contains("cookie-sent           7\n") && !text.contains("refused"), "{text}");
    }

    #[test]
    fn both_spis_and_what_was_refused_are_shown() {
        let sa = ChildSa {
            inbound: Direction {
                spi: "c0ffee01".into(),
                refused: vec![("replayed".into(), 3)],
                ..Direction::default()
            },
            outbound: Direction { spi: "0badcafe".into(), ..Direction::default() },
            ..ChildSa::default()
        };
        let text = ipsec(&[sa]);
        assert!(text.contains("c0ffee01") && text.contains("0badcafe") && text.contains("3 replayed"));
    }

    #[test]
    fn of_several_with_the_same_selectors_each_says_which_it_is_and_one_alone_says_nothing() {
        assert!(!ipsec(&[ChildSa::default()]).contains("resource"));
        let first = ChildSa { resources: Some("1 of 2 wanted: because".into()), ..ChildSa::default() };
        let further = ChildSa { resource: 1, peer_resource: Some("00000003".into()), ..ChildSa::default() };
        let text = ipsec(&[first, further]);
        assert!(text.contains("\n  resource any; 1 of 2 wanted: because\n"), "{text}");
        assert!(text.contains("\n  resource 1, at the peer 00000003\n"), "{text}");
    }
}
