//! `show bgp`, `show bgp PREFIX`, and a neighbour's routes, laid out as routers lay them out.

use control::view::{BgpPath, BgpPrefix, BgpRoutes, BgpTable};

use super::table::{Table, age};

pub(crate) fn bgp_table(view: &BgpTable) -> String {
    if view.detail {
        return view.prefixes.iter().map(prefix_detail).collect();
    }
    let mut out = format!(
        "BGP table version {}, router ID {}, local AS {}\nStatus: * valid, > best, i internal, S stale, r not in the kernel. Origin: i IGP, e EGP, ? incomplete\n\n",
        view.table_version, view.router_id, view.local_as
    );
    let mut table = Table::new(&["", "Network", "Next Hop", "Metric", "LocPrf", "Weight", "Path"]);
    for prefix in &view.prefixes {
        for path in &prefix.paths {
            table.row(path_row(&prefix.prefix, path));
        }
    }
    out.push_str(&table.print());
    out.push_str(&format!("\n{} prefixes\n", view.prefixes.len()));
    out
}

fn path_row(prefix: &str, path: &BgpPath) -> Vec<String> {
    vec![
        marks(path),
        prefix.to_owned(),
        path.nexthop.clone(),
        path.med.map(|med| med.to_string()).unwrap_or_default(),
        path.local_pref.to_string(),
        path.weight.to_string(),
        format!("{} {}", path.aspath, path.origin).trim().to_owned(),
    ]
}

fn marks(path: &BgpPath) -> String {
    let missing = path.valid && path.best && path.kind != "local" && !path.fib_installed;
    let marks = [
        (path.valid, "*"),
        (path.best, ">"),
        (path.kind == "internal", "i"),
        (path.stale, "S"),
        (missing, "r"),
    ];
    marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect()
}

fn prefix_detail(prefix: &BgpPrefix) -> String {
    let best = prefix.paths.iter().position(|path| path.best).map_or(0, |index| index + 1);
    let told =
        if prefix.advertised_to.is_empty() { "nobody".to_owned() } else { prefix.advertised_to.join(" ") };
    let mut out = format!(
        "BGP routing table entry for {}\nPaths: {} available, best #{best}\n  Announced to {told}\n",
        prefix.prefix,
        prefix.paths.len()
    );
    for path in &prefix.paths {
        out.push_str(&path_detail(path));
    }
    out
}

fn path_detail(path: &BgpPath) -> String {
    let med = path.med.map_or_else(String::new, |med| format!(", metric {med}"));
    let origin = match path.origin.as_str() {
        "i" => "IGP",
        "e" => "EGP",
        _ => "incomplete",
    };
    let mut flags = Vec::new();
    flags.push(if path.valid { "valid" } else { "not valid" });
    flags.push(&path.kind);
    if path.best {
        flags.push("best");
    }
    if path.bestpath_from_as {
        flags.push("best of its AS");
    }
    if path.stale {
        flags.push("stale");
    }
    if !path.nexthop_accessible {
        flags.push("next hop inaccessible");
    }
    if path.fib_installed {
        flags.push("in the kernel");
    }
    format!(
        "  {}\n    {} from {} {} ({})\n      origin {origin}{med}, localpref {}, weight {}, {} ({})\n{}      last update {} ago{}\n",
        if path.kind == "local" { "Local" } else { &path.aspath },
        path.nexthop,
        path.peer,
        path.peer_address,
        path.peer_id,
        path.local_pref,
        path.weight,
        flags.join(", "),
        path.reason,
        extras(path),
        age(path.age),
        path.last_update.as_ref().map_or_else(String::new, |at| format!(" ({})", at.string)),
    )
}

/// The attributes few paths have, a line each.
fn extras(path: &BgpPath) -> String {
    let unknown: Vec<String> = path.unknown_attributes.iter().map(u8::to_string).collect();
    let lines = [
        ("communities", path.communities.join(" ")),
        ("extended communities", path.extended_communities.join(" ")),
        ("aggregated by", path.aggregator.clone().unwrap_or_default()),
        ("originator", path.originator_id.clone().unwrap_or_default()),
        ("cluster list", path.cluster_list.join(" ")),
        ("only to customer, by AS", path.otc.map(|asn| asn.to_string()).unwrap_or_default()),
        ("passed on unread", unknown.join(" ")),
    ];
    let mut out: String = lines
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("      {name} {text}\n"))
        .collect();
    if path.atomic_aggregate {
        out.push_str("      atomic aggregate\n");
    }
    out
}

pub(crate) fn bgp_routes(view: &BgpRoutes) -> String {
    let heading = ["", "Network", "Next Hop", "Metric", "LocPrf", "Weight", "Path", "Verdict"];
    let mut table = Table::new(&heading);
    for route in &view.routes {
        table.row(vec![
            [(route.accepted, "*"), (route.path.best, ">"), (route.path.stale, "S")]
                .iter()
                .filter(|(on, _)| *on)
                .map(|(_, mark)| *mark)
                .collect(),
            route.prefix.clone(),
            route.path.nexthop.clone(),
            route.path.med.map(|med| med.to_string()).unwrap_or_default(),
            route.path.local_pref.to_string(),
            route.path.weight.to_string(),
            format!("{} {}", route.path.aspath, route.path.origin).trim().to_owned(),
            route.verdict.clone(),
        ]);
    }
    format!(
        "{} routes, neighbor {} ({}, AS {})\nStatus: * accepted, > best, S stale. Origin: i IGP, e EGP, ? incomplete\n\n{}\n{} prefixes\n",
        view.kind,
        view.neighbor,
        view.address,
        view.remote_as,
        table.print(),
        view.routes.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_path_without_ases_is_not_called_ours() {
        let path =
            |kind: &str| path_detail(&BgpPath { kind: kind.into(), valid: true, ..BgpPath::default() });
        assert!(path("internal").contains("valid, internal") && !path("internal").contains("ocal\n"));
        assert!(path("local").starts_with("  Local\n"));
    }

    #[test]
    fn every_attribute_a_path_has_is_printed() {
        let text = path_detail(&BgpPath {
            kind: "external".into(),
            aspath: "65515 7".into(),
            stale: true,
            communities: vec!["no-export".into()],
            extended_communities: vec!["rt:1:2".into()],
            aggregator: Some("7 10.0.0.1".into()),
            originator_id: Some("10.0.0.2".into()),
            cluster_list: vec!["10.0.0.3".into()],
            otc: Some(65515),
            atomic_aggregate: true,
            unknown_attributes: vec![200],
            ..BgpPath::default()
        });
        for word in [
            "stale",
            "no-export",
            "rt:1:2",
            "7 10.0.0.1",
            "10.0.0.2",
            "10.0.0.3",
            "by AS 65515",
            "atomic",
            "200",
        ] {
            assert!(text.contains(word), "{word} in {text}");
        }
    }
}
