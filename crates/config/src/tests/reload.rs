//! What each change of a file does to a running gateway.

use super::{AZURE, azure, good};
use crate::{Change, Diff, Field, Step};

fn diff(text: &str) -> Diff {
    Diff::new(&good(AZURE).gateway, &good(text).gateway)
}

fn tunnel_step(from: &str, to: &str) -> Step {
    let diff = diff(&azure(from, to));
    assert_eq!(diff.neighbors["azure"], Step::Change(Change::Keep), "{to}");
    diff.tunnels["azure"]
}

fn neighbor_step(from: &str, to: &str) -> Step {
    diff(&azure(from, to)).neighbors["azure"]
}

const ABSORB: Step = Step::Change(Change::Absorb);

fn restart(field: Field) -> Step {
    Step::Change(Change::Restart(field))
}

#[test]
fn the_same_file_changes_nothing_and_neither_does_a_comment() {
    assert!(diff(AZURE).is_empty());
    assert!(diff(&format!("# a word\n{AZURE}")).is_empty());
    assert_eq!(diff(AZURE).to_string(), "");
}

#[test]
fn what_the_peer_agreed_to_restarts_the_tunnel() {
    for (from, to, field) in [
        ("local     = \"203.0.113.1\"", "local = \"any\"", Field::Local),
        ("remote    = \"192.0.2.1\"", "remote = \"192.0.2.9\"", Field::Remote),
        ("{ file = \"azure.psk\" }", "{ value = \"other\" }", Field::Psk),
        ("local_id  = \"203.0.113.1\"", "local_id = \"fqdn:a\"", Field::LocalId),
        ("remote_id = \"192.0.2.1\"", "remote_id = \"fqdn:b\"", Field::RemoteId),
        ("aes256-sha1-modp1024", "aes256-sha256-modp2048", Field::IkeProposals),
        ("[\"aes256-sha1\"]", "[\"aes256gcm16\"]", Field::EspProposals),
        ("[\"aes256-sha1\"]", "[\"aes256-sha1\"]\nesn = true", Field::EspProposals),
        ("encapsulation = \"auto\"", "encapsulation = \"always\"", Field::Encapsulation),
        ("local_ts  = [\"0.0.0.0/0\"]", "local_ts = [\"192.168.0.0/16\"]", Field::LocalTs),
        ("remote_ts = [\"0.0.0.0/0\"]", "remote_ts = [\"172.16.0.0/12\"]", Field::RemoteTs),
        ("\"7h30m\"", "\"7h30m\"\nresource_sas = 2", Field::ResourceSas),
        ("\"vti0\"", "\"vti1\"", Field::InterfaceName),
        ("\"vti0\"", "\"vti1\"\nqueues = 4", Field::Queues),
    ] {
        assert_eq!(tunnel_step(from, to), restart(field), "{to}");
    }
}

#[test]
fn what_is_ours_alone_is_absorbed_by_the_running_tunnel() {
    for (from, to) in [
        ("\"initiate\" ", "\"respond\" "),
        ("on_down   = \"unreachable\"", "on_down = \"withdraw\""),
        ("\"8h\"", "\"7h45m\""),
        ("timeout = \"150s\"", "timeout = \"60s\""),
        ("\"7h30m\"", "\"1h\"\nlifetime_bytes = \"100GB\"\nlifetime_packets = 1000000"),
        ("\"7h30m\"", "\"7h30m\"\nreplay_window = 64"),
        ("\"7h30m\"", "\"7h30m\"\ndf = \"clear\""),
        ("1350", "\"auto\""),
        ("mtu       = \"auto\"", "mtu = 1400"),
        ("routes    = [\"172.16.0.254/32\"]", "routes = [\"172.16.0.254/32\", \"172.17.0.0/16\"]"),
    ] {
        assert_eq!(tunnel_step(from, to), ABSORB, "{to}");
    }
}

#[test]
fn a_session_answers_for_itself() {
    assert_eq!(neighbor_step("import         = \"azure-in\"", "import = \"any\""), ABSORB);
    assert_eq!(neighbor_step("prefix = \"172.16.0.0/22\"", "prefix = \"172.16.0.0/21\""), ABSORB);
    assert_eq!(neighbor_step("max_prefix     = 4000", "max_prefix = 10"), ABSORB);
    assert_eq!(neighbor_step("\"180s\"", "\"240s\""), restart(Field::Session(bgp::Field::HoldTime)));
    assert_eq!(
        neighbor_step("multihop       = 2", "multihop = 3"),
        restart(Field::Session(bgp::Field::Multihop))
    );
    let password = "multihop       = 2\npassword = { value = \"x\" }";
    assert_eq!(neighbor_step("multihop       = 2", password), restart(Field::Password));
}

#[test]
fn a_session_whose_end_moves_also_tells_its_tunnel() {
    let diff = diff(&azure("address        = \"172.16.0.254\"", "address = \"172.16.0.253\""));
    assert_eq!(diff.neighbors["azure"], restart(Field::Session(bgp::Field::Address)));
    assert_eq!(diff.tunnels["azure"], ABSORB, "its selectors must carry the new address");
}

#[test]
fn sections_without_a_name_have_their_own_steps() {
    assert_eq!(diff(&azure("metric = 20", "metric = 30")).routes, Change::Absorb);
    assert_eq!(
        diff(&azure("asn = 65510\n\n[routes]", "asn = 65511\n\n[routes]")).router,
        Some(restart(Field::RouterAsn))
    );
    assert_eq!(diff(&azure("redistribute = []", "redistribute = [\"static\"]")).originated, Change::Absorb);
    let other = diff(&format!("{AZURE}\n[esp]\naf_xdp = [\"wan0\"]\n"));
    assert_eq!((other.esp, other.is_empty()), (Change::Restart(Field::AfXdp), false));
    assert_eq!(other.to_string(), "esp: restart (esp.af_xdp)\n");
    let more = format!("{AZURE}\n[log]\nlevel = \"debug\"\n[control]\nsocket = \"/run/x.sock\"\n");
    assert_eq!((diff(&more).log, diff(&more).control), (Change::Absorb, Change::Restart(Field::Socket)));
}

#[test]
fn objects_come_and_go_by_name() {
    let renamed = AZURE
        .replace("tunnel.azure", "tunnel.cloud")
        .replace("tunnel         = \"azure\"", "tunnel = \"cloud\"");
    let diff = diff(&renamed);
    assert_eq!((diff.tunnels["azure"], diff.tunnels["cloud"]), (Step::Remove, Step::Add));
    assert_eq!(diff.neighbors["azure"], restart(Field::Session(bgp::Field::Tunnel)));
    assert_eq!(
        diff.to_string(),
        "tunnel azure: remove\ntunnel cloud: add\nneighbor azure: restart (tunnel)\n"
    );
    let bare = Diff::new(&good(AZURE).gateway, &good("").gateway);
    assert_eq!((bare.router, bare.neighbors["azure"]), (Some(Step::Remove), Step::Remove));
}
