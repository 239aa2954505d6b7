//! `show status`.

use control::view::{Layer, Status, TunnelStatus, Why};

use super::table::{Table, age, or_dash, sanitised};

pub(crate) fn status(view: &Status) -> String {
    let mut out = format!(
        "causeway {}, up {}, router {} AS {}\n\n",
        view.version,
        age(view.uptime),
        view.router_id,
        view.asn
    );
    let heading = ["tunnel", "state", "since", "peer", "interface", "IKE", "CHILD", "BGP", "in", "out"];
    let mut table = Table::new(&heading);
    for tunnel in &view.tunnels {
        table.row(row(tunnel));
    }
    out.push_str(&table.print());
    for neighbor in &view.neighbors {
        out.push_str(&format!(
            "neighbor {}: {} for {}\n",
            neighbor.name,
            neighbor.state,
            age(neighbor.since)
        ));
    }
    for tunnel in &view.tunnels {
        out.push_str(&reasons(tunnel));
    }
    for neighbor in &view.neighbors {
        out.push_str(&why(&format!("neighbor {}", neighbor.name), neighbor.why.as_ref()));
    }
    if let Some(error) = &view.reload_error {
        out.push_str(&format!("\nthe last reload was refused, the old configuration runs on:\n  {error}\n"));
    }
    out
}

fn row(tunnel: &TunnelStatus) -> Vec<String> {
    vec![
        tunnel.name.clone(),
        tunnel.state.to_uppercase(),
        age(tunnel.since),
        tunnel.remote.clone(),
        or_dash(&tunnel.interface),
        layer(&tunnel.ike),
        layer(&tunnel.child),
        tunnel.bgp.iter().map(layer).collect::<Vec<_>>().join(","),
        tunnel.routes_in.to_string(),
        tunnel.routes_out.to_string(),
    ]
}

fn layer(layer: &Layer) -> String {
    if layer.up { format!("{} {}", layer.state, age(layer.since)) } else { layer.state.clone() }
}

/// The tunnel's reason, and those of its neighbours that it does not give already.
fn reasons(tunnel: &TunnelStatus) -> String {
    let given = tunnel.why.as_ref().map(|why| &why.text);
    let others = tunnel.bgp.iter().filter(|session| session.why.as_ref().map(|why| &why.text) != given);
    let others: String =
        others.map(|s| why(&format!("{} neighbor {}", tunnel.name, s.name), s.why.as_ref())).collect();
    why(&tunnel.name, tunnel.why.as_ref()) + &others
}

fn why(whose: &str, why: Option<&Why>) -> String {
    let Some(why) = why else { return String::new() };
    let mut text = format!(
        "\n{whose}: {} ({}, said by {}, {} ago)\n",
        sanitised(&why.text),
        why.code,
        why.source,
        age(why.ago)
    );
    if !why.hint.is_empty() {
        text.push_str(&format!("  {}\n", why.hint));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_that_is_down_says_why_and_what_to_change() {
        let view = Status {
            tunnels: vec![TunnelStatus {
                name: "azure".into(),
                state: "down".into(),
                why: Some(Why {
                    code: "peer-silent".into(),
                    text: "192.0.2.1 does not answer".into(),
                    source: "local".into(),
                    hint: "is UDP 500 open?".into(),
                    ago: 5,
                }),
                ..TunnelStatus::default()
            }],
            ..Status::default()
        };
        let text = status(&view);
        assert!(text.contains("DOWN"));
        assert!(text.contains(
            "azure: 192.0.2.1 does not answer (peer-silent, said by local, 5s ago)\n  is UDP 500 open?"
        ));
    }

    #[test]
    fn every_neighbour_that_is_down_says_why_with_or_without_a_tunnel() {
        let session = |name: &str, text: &str| Layer {
            name: name.into(),
            state: "Active".into(),
            why: Some(Why { code: "tcp-refused".into(), text: text.into(), ..Why::default() }),
            ..Layer::default()
        };
        let bgp = vec![session("first", "no from 192.0.2.1"), session("second", "no from 192.0.2.2")];
        let why = bgp.first().and_then(|session| session.why.clone());
        let view = Status {
            tunnels: vec![TunnelStatus { name: "azure".into(), bgp, why, ..TunnelStatus::default() }],
            neighbors: vec![session("upstream", "no from 192.0.2.3")],
            ..Status::default()
        };
        let text = status(&view);
        assert_eq!(text.matches("no from 192.0.2.1").count(), 1, "{text}");
        assert!(text.contains("azure neighbor second: no from 192.0.2.2"), "{text}");
        assert!(text.contains("neighbor upstream: no from 192.0.2.3"), "{text}");
    }
}
