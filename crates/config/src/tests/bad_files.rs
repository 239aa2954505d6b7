//! Each bad file and the exact words it is answered with.

use super::{AWS, azure, errors, good};

/// A change of the Azure example, and all it is answered with, less the file's name.
const CHANGES: &[(&str, &str, &[&str])] = &[
    // Keys.
    ("metric = 20", "metrik = 20", &["13:1: routes.metrik: unknown key (did you mean 'metric'?)"]),
    ("on_down   =", "ondown   =", &["20:1: tunnel.azure.ondown: unknown key (did you mean 'on_down'?)"]),
    (
        "start     = \"initiate\"",
        "proposals = []",
        &["19:1: tunnel.azure.proposals: unknown key here (it belongs in [tunnel.NAME.ike])"],
    ),
    ("[bgp]\n", "[bpg]\n[bgp]\n", &["45:2: bpg: unknown key (did you mean 'bgp'?)"]),
    (
        "[bgp]\n",
        "[hub.x]\n[bgp]\n",
        &["45:2: hub: reserved for a later version and not built yet; take it out"],
    ),
    (
        "[bgp]\n",
        "[tunnel.azure.gre]\n[bgp]\n",
        &["45:15: tunnel.azure.gre: reserved for a later version and not built yet; take it out"],
    ),
    (
        "multihop       = 2",
        "vrf = \"red\"",
        &["55:1: bgp.neighbor.azure.vrf: reserved for a later version and not built yet; take it out"],
    ),
    // Types, words, ranges.
    (
        "asn = 65510\n\n[routes]",
        "asn = \"65510\"\n\n[routes]",
        &["9:7: router.asn: want a number, found a string"],
    ),
    (
        "asn = 65510\n\n[routes]",
        "asn = 0\n\n[routes]",
        &["9:7: router.asn: 0 is out of range: want 1 to 4294967294"],
    ),
    (
        "asn = 65510\n\n[routes]",
        "asn = 23456\n\n[routes]",
        &[
            "9:7: router.asn: AS 23456 stands for numbers that do not fit in two octets (RFC 6793) and is no one's",
        ],
    ),
    (
        "\"initiate\" ",
        "\"initate\" ",
        &["19:13: tunnel.azure.start: 'initate' is not one of \"initiate\", \"on-demand\", \"respond\" \
           (did you mean 'initiate'?)"],
    ),
    (
        "\"8h\"",
        "\"8\"",
        &[
            "27:13: tunnel.azure.ike.lifetime: '8' is no time (want as \"30s\", \"8h\", \"7h30m\" or \"500ms\")",
        ],
    ),
    ("\"8h\"", "\"1s\"", &["27:13: tunnel.azure.ike.lifetime: 1s is out of range: want 10s to 720h"]),
    (
        "lifetime  = \"8h\"",
        "lifetime  = \"8h\"\nrekey = \"9h\"",
        &[
            "28:9: tunnel.azure.ike.rekey: rekey is the soft limit: want less than the lifetime of 8h, found 9h",
        ],
    ),
    ("1350", "13500000", &["42:13: tunnel.azure.interface.mss: 13500000 is out of range: want 500 to 65495"]),
    (
        "lifetime  = \"7h30m\"",
        "resource_sas = 17",
        &["32:16: tunnel.azure.esp.resource_sas: 17 is out of range: want 1 to 16"],
    ),
    (
        "lifetime  = \"7h30m\"",
        "resource_sas = 0",
        &["32:16: tunnel.azure.esp.resource_sas: 0 is out of range: want 1 to 16"],
    ),
    (
        "1350",
        "\"full\"",
        &["42:13: tunnel.azure.interface.mss: 'full' is neither a number nor \"auto\" nor \"off\""],
    ),
    (
        "\"aes256-sha1-modp1024\"",
        "\"aes256-sha1-modp1025\"",
        &[
            "26:14: tunnel.azure.ike.proposals[0]: 'modp1025' is no algorithm known here (did you mean 'modp1024'?)",
        ],
    ),
    (
        "[\"aes256-sha1\"]",
        "[]",
        &["31:13: tunnel.azure.esp.proposals: must not be empty: at least one proposal"],
    ),
    (
        "local_ts  = [\"0.0.0.0/0\"]",
        "local_ts  = [\"0.0.0.0/0[grey]\"]",
        &[
            "34:14: tunnel.azure.esp.local_ts[0]: 'grey' is no IP protocol (a number, or one of icmp, tcp, udp, gre, \
           esp, ah, icmpv6, ospf, sctp, l2tp)",
        ],
    ),
    (
        "networks     = [\"192.168.1.0/24\"]",
        "networks     = [\"192.168.1.1/24\"]",
        &["46:17: bgp.networks[0]: '192.168.1.1/24' has host bits set; the prefix is 192.168.1.0/24"],
    ),
    (
        "networks     = [\"192.168.1.0/24\"]",
        "networks     = [\"169.254.7.0/24\"]",
        &["46:17: bgp.networks[0]: 169.254.7.0/24 is inside 169.254.0.0/16, which is never routed"],
    ),
    (
        "table  = \"main\"",
        "table  = \"nope\"",
        &[
            "12:10: routes.table: no such table in /etc/iproute2/rt_tables (want \"main\", a name there, or a number)",
        ],
    ),
    (
        "table  = \"main\"",
        "table  = 255",
        &[
            "12:10: routes.table: the table 'local' is the kernel's own (want \"main\", a name of rt_tables, or a number)",
        ],
    ),
    (
        "\"azure\"              #",
        "\"azur\"              #",
        &[
            "16:13: tunnel.azure.profile: 'azur' is not one of \"generic\", \"azure\", \"aws\" (did you mean 'azure'?)",
        ],
    ),
    (
        "\"azure\"              #",
        "\"google\"              #",
        &[
            "16:13: tunnel.azure.profile: profile 'google' is not built yet (built: generic, azure, aws); use \"generic\" \
         and write its values",
        ],
    ),
    // Secrets.
    (
        "{ file = \"azure.psk\" }",
        "\"hunter2\"",
        &["21:13: tunnel.azure.psk: want { file = \"…\" }, { value = \"…\" }, { credential = \"…\" } or \
           { local = {…}, remote = {…} }, found a string"],
    ),
    (
        "{ file = \"azure.psk\" }",
        "{ file = \"exposed\" }",
        &["21:22: tunnel.azure.psk.file: exposed can be read by others than its owner (mode 0644); \
           make it private: chmod 600 exposed"],
    ),
    (
        "{ file = \"azure.psk\" }",
        "{ credential = \"none\" }",
        &[
            "21:28: tunnel.azure.psk.credential: there are no credentials here: $CREDENTIALS_DIRECTORY is not set \
         (systemd's LoadCredential= sets it)",
        ],
    ),
    (
        "{ file = \"azure.psk\" }",
        "{ }",
        &["21:1: tunnel.azure.psk: missing: one of file, value and credential"],
    ),
    (
        "{ file = \"azure.psk\" }",
        "{ file = \"a\", value = \"b\" }",
        &["21:1: tunnel.azure.psk: want one of file, value and credential, not several"],
    ),
    (
        "{ file = \"azure.psk\" }",
        "{ local = { file = \"a\" } }",
        &[
            "21:1: tunnel.azure.psk: missing: local and remote go together: psk = { local = {…}, remote = {…} }",
        ],
    ),
    (
        "psk       = { file = \"azure.psk\" }",
        "",
        &["15:9: tunnel.azure.psk: missing: the shared secret, as psk = { file = \"NAME.psk\" }"],
    ),
    // Ends.
    (
        "remote    = \"192.0.2.1\"",
        "remote    = \"203.0.113.1\"",
        &["18:13: tunnel.azure.remote: 203.0.113.1 is our own outer address (local)"],
    ),
    (
        "remote    = \"192.0.2.1\"",
        "remote    = \"2001:db8::1\"",
        &["18:13: tunnel.azure.remote: local and remote have no address family in common"],
    ),
    (
        "remote    = \"192.0.2.1\"",
        "remote    = \"192.0.2\"",
        &["18:13: tunnel.azure.remote: '192.0.2' is neither an address nor a DNS name"],
    ),
    (
        "remote    = \"192.0.2.1\"",
        "remote    = []",
        &["18:13: tunnel.azure.remote: must not be empty: an address, a DNS name, or \"any\""],
    ),
    (
        "remote    = \"192.0.2.1\"",
        "remote    = \"any\"",
        &["18:13: tunnel.azure.remote: \"any\" leaves nowhere to dial: it needs start = \"respond\""],
    ),
    (
        "\"192.0.2.1\"          # address, DNS name, \"any\" (respond only; then remote_id is required), or a list\n\
         start     = \"initiate\"",
        "\"vpn.example.com\"\nstart = \"respond\"",
        &[
            "18:13: tunnel.azure.remote: a name is looked up on each dial, and start = \"respond\" never dials: \
             write its address, or \"any\" with remote_id",
        ],
    ),
    (
        "remote    = \"192.0.2.1\"",
        "remote    = [\"192.0.2.1\", \"any\"]",
        &["18:27: tunnel.azure.remote[1]: \"any\" stands alone, not in a list"],
    ),
    (
        "remote_id = \"192.0.2.1\"",
        "remote_id = \"203.0.113.1\"",
        &[
            "23:13: tunnel.azure.remote_id: local_id and remote_id are the same: one of them is the other side's",
        ],
    ),
    (
        "remote_id = \"192.0.2.1\"",
        "remote_id = \"%any\"",
        &["23:13: tunnel.azure.remote_id: '%any' is no identity: name the one peer"],
    ),
    // The interface and what would eat the tunnel.
    (
        "\"vti0\"",
        "\"a name that is too long\"",
        &["38:13: tunnel.azure.interface.name: 'a name that is too long' cannot be an interface's name \
         (1 to 15 characters, no blank, '/', ':' or '%')"],
    ),
    (
        "routes    = [\"172.16.0.254/32\"]",
        "routes    = [\"192.0.2.1/32\"]",
        &[
            "43:14: tunnel.azure.interface.routes[0]: 192.0.2.1/32 is the outer address of tunnel azure's peer: \
         the tunnel would carry its own packets",
        ],
    ),
    (
        "routes    = [\"172.16.0.254/32\"]",
        "routes    = [\"10.0.0.0/8\", \"10.0.0.0/8\"]",
        &[
            "43:28: tunnel.azure.interface.routes[1]: route 10.0.0.0/8 is also that of tunnel.azure.interface.routes[0]",
        ],
    ),
    (
        "routes    = [\"172.16.0.254/32\"]",
        "routes    = [\"2001:db8::/32\"]",
        &[
            "43:14: tunnel.azure.interface.routes[0]: esp.remote_ts carries none of 2001:db8::/32: its packets would all \
         be dropped",
        ],
    ),
    (
        "addresses = []",
        "addresses = [\"192.0.2.7/24\"]",
        &[
            "39:14: tunnel.azure.interface.addresses[0]: 192.0.2.0/24 holds 192.0.2.1, the peer's outer address: \
         the tunnel would carry its own packets",
        ],
    ),
    (
        "addresses = []",
        "addresses = [\"203.0.113.1/32\"]",
        &["39:14: tunnel.azure.interface.addresses[0]: 203.0.113.1 is our outer address of tunnel azure"],
    ),
    (
        "prefix = \"172.16.0.0/22\"",
        "prefix = \"192.0.2.1/32\"",
        &[
            "68:44: prefix_list.azure-in[4].prefix: a permit for 192.0.2.1/32, which is the outer address of tunnel \
         azure's peer: the tunnel would carry its own packets",
        ],
    ),
    // BGP.
    (
        "tunnel         = \"azure\"",
        "tunnel         = \"azur\"",
        &["53:18: bgp.neighbor.azure.tunnel: there is no tunnel 'azur' (did you mean 'azure'?)"],
    ),
    (
        "\"azure-in\" ",
        "\"azure-inn\" ",
        &["58:18: bgp.neighbor.azure.import: there is no prefix list 'azure-inn' (did you mean 'azure-in'?)"],
    ),
    (
        "address        = \"172.16.0.254\"",
        "address        = \"192.0.2.1\"",
        &[
            "50:18: bgp.neighbor.azure.address: 192.0.2.1 is the outer address of tunnel azure's peer: BGP inside the \
         tunnel needs addresses of its own",
        ],
    ),
    (
        "address        = \"172.16.0.254\"",
        "address        = \"169.254.10.1\"",
        &[
            "50:18: bgp.neighbor.azure.address: profile azure: 169.254.10.1 is outside 169.254.21.0-169.254.22.255, \
         the only link-local range Azure peers from",
        ],
    ),
    (
        "local_asn      = 65510",
        "local_asn      = 65515",
        &[
            "52:18: bgp.neighbor.azure.local_asn: profile azure: AS 65515 is reserved by Azure and cannot be ours",
        ],
    ),
    (
        "source         = \"192.168.1.1\"",
        "source         = \"2001:db8::1\"",
        &[
            "34:13: tunnel.azure.esp.local_ts: local_ts (0.0.0.0/0) excludes 2001:db8::1 of BGP neighbour azure: \
         the session could never come up",
            "54:18: bgp.neighbor.azure.source: 2001:db8::1 and 172.16.0.254 are not of one address family",
        ],
    ),
    (
        "remote_ts = [\"0.0.0.0/0\"]",
        "remote_ts = [\"172.16.0.0/24[icmp]\"]",
        &[
            "35:13: tunnel.azure.esp.remote_ts: remote_ts (172.16.0.0/24[icmp]) excludes 172.16.0.254 of BGP neighbour \
         azure: the session could never come up",
        ],
    ),
    (
        "\"180s\"",
        "\"0s\"",
        &[
            "56:18: bgp.neighbor.azure.hold_time: a hold time of 0 means that a dead peer is never noticed; want 3s or more",
        ],
    ),
    (
        "\"180s\"",
        "\"60s\"",
        &[
            "57:18: bgp.neighbor.azure.keepalive: the peer gives up after 60 s without a message: keepalive must be \
         shorter, a third of it is usual",
        ],
    ),
    (
        "\"180s\"",
        "\"180s\"\nsend_hold_time = \"180s\"",
        &[
            "57:18: bgp.neighbor.azure.send_hold_time: the hold time is 180 s: the send hold time must be longer \
         (RFC 9687 section 4.4)",
        ],
    ),
    ("\"180s\"", "\"2500ms\"", &["56:18: bgp.neighbor.azure.hold_time: a hold time is whole seconds"]),
    (
        "max_prefix     = 4000",
        "max_prefix_out = 4001",
        &[
            "60:18: bgp.neighbor.azure.max_prefix_out: profile azure: it closes the session above 4000 routes; \
         want max_prefix_out of at most 4000",
        ],
    ),
    (
        "max_prefix     = 4000",
        "families = [\"ipv4\", \"ipv6\"]",
        &[
            "60:12: bgp.neighbor.azure.families: ipv6 unicast routes over this session need an address of ours of that \
         family as their next hop: give the tunnel's interface one in addresses or source, or write next_hop",
        ],
    ),
    (
        "max_prefix     = 4000",
        "families = [\"ipv4\", \"ipv6\"]\nnext_hop = \"10.0.0.1\"",
        &[
            "60:12: bgp.neighbor.azure.families: ipv6 unicast routes over this session need an address of ours of that \
         family as their next hop: give the tunnel's interface one in addresses or source, or write next_hop",
            "61:12: bgp.neighbor.azure.next_hop: next_hop is for routes of the family the session does not run over, \
         which families must name",
        ],
    ),
    (
        "seq = 20,",
        "seq = 10,",
        &["65:11: prefix_list.azure-in[1].seq: seq 10 is also that of prefix_list.azure-in[0].seq"],
    ),
    (
        "prefix = \"172.16.0.0/22\"",
        "prefix = \"172.16.0.0/22\", ge = 20",
        &[
            "68:3: prefix_list.azure-in[4]: seq 110: want 22 <= ge <= le <= 32 for 172.16.0.0/22, but ge is 20 and le is 32",
        ],
    ),
    (
        "[prefix_list]",
        "[prefix_list]\nany = []",
        &["63:1: prefix_list.any: 'any' means something of its own as a policy; give the list another name"],
    ),
];

#[test]
fn every_bad_file_is_answered_with_the_place_the_key_and_what_would_be_right() {
    let mut wrong = Vec::new();
    for (from, to, expected) in CHANGES {
        let got = errors(&azure(from, to));
        let expected: Vec<String> = expected.iter().map(|line| format!("t.toml:{line}")).collect();
        if got != expected {
            wrong.push(format!("{to}\n got  {got:#?}\n want {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_faults_of_a_file_are_told_at_once_and_in_its_order() {
    let text = azure("metric = 20", "metric = 0")
        .replace("\"copy\"", "")
        .replace("1350", "12")
        .replace("\"azure-out\"", "\"out\"");
    let got = errors(&text);
    assert_eq!(got.len(), 3, "{got:#?}");
    assert!(
        got[0].contains("routes.metric") && got[1].contains("interface.mss") && got[2].contains("export")
    );
}

#[test]
fn a_broken_document_is_answered_without_its_line() {
    let got = errors(&azure("{ file = \"azure.psk\" }", "{ value = \"hunter2 }"));
    assert!(!got.is_empty() && got[0].starts_with("t.toml:21:"), "{got:#?}");
    assert!(got.iter().all(|line| line.contains("not TOML") && !line.contains("hunter2")), "{got:#?}");
}

#[test]
fn a_secret_in_the_wrong_place_is_never_repeated() {
    for bad in ["\"hunter2\"", "{ value = [\"hunter2\"] }", "{ val = \"hunter2\" }", "[\"hunter2\"]"] {
        let got = errors(&azure("{ file = \"azure.psk\" }", bad));
        assert!(!got.is_empty() && got.iter().all(|line| !line.contains("hunter2")), "{got:#?}");
    }
}

#[test]
fn a_device_for_af_xdp_has_a_devices_name_once_and_there_are_eight_at_most() {
    let of = |list: &str| errors(&format!("[esp]\naf_xdp = {list}\n"));
    let name = "is no device's name (want 1 to 15 bytes without '/' and spaces)";
    assert_eq!(of("[\"\"]"), [format!("t.toml:2:11: esp.af_xdp[0]: '' {name}")]);
    assert_eq!(of("[\"a/b\"]"), [format!("t.toml:2:11: esp.af_xdp[0]: 'a/b' {name}")]);
    assert_eq!(
        of("[\"sixteen-letters-\"]"),
        [format!("t.toml:2:11: esp.af_xdp[0]: 'sixteen-letters-' {name}")]
    );
    assert_eq!(of("[\"a\", \"a\"]"), ["t.toml:2:16: esp.af_xdp[1]: 'a' stands here twice"]);
    let nine: Vec<String> = (0..9).map(|i| format!("\"e{i}\"")).collect();
    assert_eq!(of(&format!("[{}]", nine.join(","))), ["t.toml:2:51: esp.af_xdp[8]: more than 8 devices"]);
}

#[test]
fn a_peer_anywhere_needs_an_identity_and_someone_else_to_dial() {
    let text =
        azure("remote    = \"192.0.2.1\"", "remote = \"any\"").replace("remote_id = \"192.0.2.1\"", "");
    assert_eq!(errors(&text).len(), 2);
    let text =
        azure("remote    = \"192.0.2.1\"", "remote = \"any\"").replace("\"initiate\" ", "\"respond\" ");
    assert!(errors(&text).is_empty(), "{:?}", errors(&text));
}

#[test]
fn an_ipv6_inside_needs_an_mtu_that_carries_it() {
    let v6 = azure("addresses = []", "addresses = [\"2001:db8::2/64\"]")
        .replace("mtu       = \"auto\"", "mtu = 1279");
    let got = errors(&v6);
    assert_eq!(
        got,
        [
            "t.toml:41:7: tunnel.azure.interface.mtu: IPv6 inside needs an MTU of 1280 or more (RFC 8200 section 5), found 1279"
        ]
    );
    assert!(errors(&azure("mtu       = \"auto\"", "mtu = 1279")).is_empty(), "IPv4 alone takes less");
}

#[test]
fn two_of_anything_that_must_be_one_are_told_apart() {
    let same_device = AWS.replace("\"aws2\"", "\"aws1\"");
    assert_eq!(
        errors(&same_device),
        ["t.toml:29:13: tunnel.aws-2.interface.name: interface name 'aws1' is also that of tunnel.aws-1",]
    );
    let same_peer = AWS.replace("198.51.100.20", "198.51.100.10");
    assert_eq!(
        errors(&same_peer),
        [
            "t.toml:25:11: tunnel.aws-2.remote: the peer, by addresses and identities, is also that of tunnel.aws-1",
        ]
    );
    let same_neighbor =
        AWS.replace("tunnel  = \"aws-2\"", "tunnel  = \"aws-1\"").replace("169.254.20.1", "169.254.10.1");
    assert_eq!(
        errors(&same_neighbor),
        [
            "t.toml:45:11: bgp.neighbor.aws-2.address: 169.254.10.1 behind tunnel aws-1 is also that of bgp.neighbor.aws-1",
        ]
    );
}

#[test]
fn the_same_address_behind_two_tunnels_is_two_neighbours() {
    let twice = AWS.replace("169.254.20.1", "169.254.10.1").replace("169.254.20.2/30", "169.254.10.6/29");
    assert!(errors(&twice).is_empty(), "{:?}", errors(&twice));
}

#[test]
fn what_a_cloud_would_refuse_is_refused_here_first() {
    let selectors = AWS.replacen(
        "[tunnel.aws-1.interface]",
        "[tunnel.aws-1.esp]\nlocal_ts = [\"0.0.0.0/1\", \"128.0.0.0/1\"]\n[tunnel.aws-1.interface]",
        1,
    );
    assert_eq!(
        errors(&selectors),
        [
            "t.toml:18:12: tunnel.aws-1.esp.local_ts: profile aws: it keeps one SA pair a tunnel, and a second selector \
         breaks the first; want [\"0.0.0.0/0\"]",
        ]
    );
    let many = AWS.replacen("tunnel  = \"aws-1\"", "tunnel  = \"aws-1\"\nmax_prefix_out = 101", 1);
    assert!(errors(&many)[0].contains("closes the session above 100 routes"));
}

#[test]
fn doubts_are_told_and_stop_nothing() {
    let warned =
        |text: &str| good(text).warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let import = azure("import         = \"azure-in\"", "#");
    assert!(warned(&import).contains("bgp.neighbor.azure.import: left out, which means \"none\" (RFC 8212)"));
    assert!(warned(&import).contains("prefix_list.azure-in: no neighbour uses this list"));
    assert!(warned(&azure("delay = \"30s\"", "delay = \"0s\"")).contains("liveness is off"));
    assert!(warned(&azure("\"8h\"", "\"2h\"")).contains("outlives its IKE SA"));
    assert!(warned(&azure("\"7h30m\"", "\"1m\"")).contains("under 5 minutes"));
    let unheard = azure("export         = \"azure-out\"", "export = \"none\"");
    assert!(
        warned(&unheard).contains("no neighbour's export policy permits 192.168.1.0/24: no one hears of it")
    );
    let key = azure("{ file = \"azure.psk\" }", "{ value = \"with-hyphen\" }");
    assert!(
        warned(&key).contains("without space, hyphen and tilde") && !warned(&key).contains("with-hyphen")
    );
}

#[test]
fn bgp_without_a_router_and_an_empty_file_are_understood() {
    assert_eq!(
        errors("[bgp]\n"),
        ["t.toml:1:2: router: missing: [router] with id and asn, which [bgp] needs"]
    );
    let empty = good("");
    assert!(empty.gateway.tunnels.is_empty() && empty.gateway.bgp.is_none());
}

#[test]
fn a_table_may_have_a_name_of_the_host() {
    assert_eq!(good(&azure("\"main\"", "\"cloud\"")).gateway.routes.table, 100);
    assert_eq!(good(&azure("\"main\"", "4000000000")).gateway.routes.table, 4_000_000_000);
}
