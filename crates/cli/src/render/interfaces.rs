//! `show interfaces` and `show routes`.

use control::view::{Interface, Interfaces, NamedCount, Offload, Routes};

use super::table::{Table, octets, or_dash};

pub(crate) fn interfaces(view: &Interfaces) -> String {
    let mut out: String = view.interfaces.iter().map(one_interface).collect();
    for socket in &view.sockets {
        out.push_str(&format!("socket {}: {}\n", socket.name, offloads(&socket.offloads)));
        out.push_str(&counts("  packets", &socket.counts));
    }
    out.push_str(&counts("dropped by the datapath", &view.drops));
    out
}

fn one_interface(interface: &Interface) -> String {
    let mss = interface.mss.map_or_else(|| "off".to_owned(), |mss| mss.to_string());
    format!(
        "{} ({}, index {}): mtu {} ({}), mss {mss}, addresses {}\n  out {} packets, {}\n  in  {} packets, {}\n  offloads: {}\n{}{}\n",
        interface.name,
        interface.tunnel,
        interface.index,
        interface.mtu,
        interface.mtu_from,
        or_dash(&interface.addresses.join(" ")),
        interface.packets_out,
        octets(interface.bytes_out),
        interface.packets_in,
        octets(interface.bytes_in),
        offloads(&interface.offloads),
        counts("  refused by its SAs", &interface.drops),
        counts("  at the device", &interface.counts),
    )
}

fn offloads(list: &[Offload]) -> String {
    let one = |offload: &Offload| match (&offload.why, offload.on) {
        (_, true) => format!("{} on", offload.name),
        (Some(why), false) => format!("{} off ({why})", offload.name),
        (None, false) => format!("{} off", offload.name),
    };
    if list.is_empty() { "none".to_owned() } else { list.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn counts(title: &str, list: &[NamedCount]) -> String {
    let some: Vec<String> =
        list.iter().filter(|c| c.count > 0).map(|c| format!("{} {}", c.count, c.name)).collect();
    if some.is_empty() { String::new() } else { format!("{title}: {}\n", some.join(", ")) }
}

pub(crate) fn routes(view: &Routes) -> String {
    let mut table = Table::new(&["prefix", "origin", "from", "via", "source", "metric", "state"]);
    for route in &view.routes {
        let via = match (&route.gateway, &route.interface) {
            (Some(gateway), Some(device)) => format!("{gateway} dev {device}"),
            (None, Some(device)) => format!("dev {device}"),
            (Some(gateway), None) => gateway.clone(),
            (None, None) => "unreachable".to_owned(),
        };
        let state = match &route.why {
            Some(why) => format!("{} ({why})", route.state),
            None => route.state.clone(),
        };
        table.row(vec![
            route.prefix.clone(),
            route.origin.clone(),
            or_dash(&route.from),
            via,
            route.source.clone().unwrap_or_else(|| "-".to_owned()),
            route.metric.to_string(),
            state,
        ]);
    }
    format!("table {}, protocol {}\n{}", view.table, view.protocol, table.print())
}

#[cfg(test)]
mod tests {
    use control::view::Socket;

    use super::*;

    #[test]
    fn an_offload_that_is_off_says_why() {
        let list = [
            Offload { name: "tso4".into(), on: true, why: None },
            Offload { name: "uso4".into(), on: false, why: Some("kernel before 6.2".into()) },
        ];
        assert_eq!(offloads(&list), "tso4 on, uso4 off (kernel before 6.2)");
    }

    #[test]
    fn what_was_dropped_stands_where_it_was() {
        let count = |name: &str, count| vec![NamedCount { name: name.into(), count }];
        let interface = Interface {
            name: "vti0".into(),
            counts: count("tx-dropped", 3),
            drops: count("replayed", 2),
            ..Interface::default()
        };
        let socket = Socket {
            name: "udp 0.0.0.0:4500".into(),
            counts: count("receive-dropped", 4),
            ..Socket::default()
        };
        let view =
            Interfaces { interfaces: vec![interface], sockets: vec![socket], drops: count("no-sa", 5) };
        let page = interfaces(&view);
        let lines: Vec<&str> =
            page.lines().filter(|line| line.contains(": ") && !line.contains("off")).collect();
        assert_eq!(
            lines,
            [
                "  refused by its SAs: 2 replayed",
                "  at the device: 3 tx-dropped",
                "socket udp 0.0.0.0:4500: none",
                "  packets: 4 receive-dropped",
                "dropped by the datapath: 5 no-sa",
            ]
        );
    }
}
