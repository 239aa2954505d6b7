//! The shipped examples load, and mean what their comments say.

use std::time::Duration;

use bgp_rib::Policy;
use ike::Encapsulation;
use tunnel::{DfPolicy, MssPolicy};

use super::{AWS, AZURE, good};
use crate::{InterfaceAddress, LocalEnd, Mtu, OnDown, Profile, Remote, RemoteEnd, Routes, Start};

#[test]
fn every_shipped_example_loads() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            good(&std::fs::read_to_string(&path).unwrap());
            count += 1;
        }
    }
    assert!(count >= 2);
}

#[test]
fn the_azure_example_means_what_it_says() {
    let gateway = good(AZURE).gateway;
    assert_eq!((gateway.routes.table, gateway.routes.metric), (Routes::MAIN, 20));
    let tunnel = &gateway.tunnels["azure"];
    assert_eq!(tunnel.profile, Profile::Azure);
    assert_eq!(tunnel.local, crate::Local::Ends(vec![LocalEnd::Address("203.0.113.1".parse().unwrap())]));
    assert_eq!(tunnel.remote, Remote::Ends(vec![RemoteEnd::Address("192.0.2.1".parse().unwrap())]));
    assert_eq!((tunnel.start, tunnel.on_down), (Start::Initiate, OnDown::Unreachable));
    assert_eq!(tunnel.psk_local.as_bytes(), b"Abcdefgh1");
    assert_eq!(tunnel.local_id.as_ref().unwrap().to_string(), "203.0.113.1");
    assert_eq!(tunnel.ike.proposals[0].to_string(), "aes256-sha1-modp1024");
    assert_eq!(tunnel.ike.lifetime.hard, Duration::from_secs(28_800));
    assert_eq!(tunnel.ike.dpd.timeout, Duration::from_secs(150));
    assert_eq!(tunnel.esp.lifetime.hard, Duration::from_secs(27_000));
    assert_eq!(tunnel.esp.lifetime.soft, None);
    assert_eq!(tunnel.esp.encapsulation, Encapsulation::Auto);
    assert_eq!((tunnel.esp.replay_window, tunnel.esp.df), (1024, DfPolicy::Copy));
    assert!(tunnel.esp.accept_rekey_without_pfs, "the profile's, since the file says nothing");
    assert_eq!(tunnel.interface.name, "vti0");
    assert_eq!(tunnel.interface.source_v4, Some("192.168.1.1".parse().unwrap()));
    assert_eq!((tunnel.interface.mtu, tunnel.interface.mss), (Mtu::Auto, MssPolicy::Fixed(1350)));
    assert_eq!(tunnel.interface.routes, ["172.16.0.254/32".parse().unwrap()]);
    assert_eq!(tunnel.must_cover, [("192.168.1.1".parse().unwrap(), "172.16.0.254".parse().unwrap())]);
}

#[test]
fn the_azure_examples_session_means_what_it_says() {
    let gateway = good(AZURE).gateway;
    let bgp = gateway.bgp.unwrap();
    assert_eq!((bgp.speaker.asn, bgp.speaker.router_id.to_string()), (65510, "203.0.113.1".to_owned()));
    assert_eq!(bgp.networks, ["192.168.1.0/24".parse().unwrap()]);
    let session = &bgp.neighbors["azure"].session;
    assert_eq!((session.asn, session.local_asn, session.multihop), (65515, 65510, 2));
    assert_eq!((session.hold_time, session.keepalive, session.port), (180, 60, 179));
    assert_eq!(session.source, Some("192.168.1.1".parse().unwrap()));
    assert_eq!((session.max_prefix, session.max_prefix_out), (Some(4000), Some(4000)));
    let Policy::List(list) = &session.import else { panic!("a list") };
    assert_eq!(list.rules().len(), 5);
    assert_eq!(list.evaluate(&"192.168.1.1/32".parse().unwrap()).seq, Some(30));
    assert_eq!(list.evaluate(&"172.16.0.0/22".parse().unwrap()).seq, Some(110));
}

#[test]
fn the_aws_example_takes_everything_from_its_profile() {
    let gateway = good(AWS).gateway;
    let tunnel = &gateway.tunnels["aws-1"];
    assert_eq!(tunnel.esp.lifetime.hard, Duration::from_secs(3600));
    assert_eq!(tunnel.esp.lifetime.soft, Some(Duration::from_secs(2400)));
    assert_eq!(
        (tunnel.ike.dpd.delay, tunnel.ike.dpd.timeout),
        (Duration::from_secs(10), Duration::from_secs(30))
    );
    assert_eq!((tunnel.esp.df, tunnel.interface.mss), (DfPolicy::Clear, MssPolicy::Fixed(1379)));
    assert_eq!(
        tunnel.interface.addresses,
        [InterfaceAddress { address: "169.254.10.2".parse().unwrap(), length: 30 }]
    );
    let session = &gateway.bgp.as_ref().unwrap().neighbors["aws-2"].session;
    assert_eq!(
        session.source,
        Some("169.254.20.2".parse().unwrap()),
        "its address on the neighbour's subnet"
    );
    assert_eq!((session.hold_time, session.keepalive, session.multihop), (30, 10, 1));
    assert_eq!((session.max_prefix, session.max_prefix_out), (Some(1000), Some(100)));
    assert!(!session.passive, "AWS waits for us");
}

#[test]
fn weak_algorithms_are_warned_about_with_who_named_them() {
    let warnings: Vec<String> = good(AZURE).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "26:14: tunnel.azure.ike.proposals[0]: 'aes256-sha1-modp1024' is weak (modp1024, sha1, prfsha1), \
             named by the file; use it only with a peer that has nothing better",
            "31:14: tunnel.azure.esp.proposals[0]: 'aes256-sha1' is weak (sha1), named by the file; \
             use it only with a peer that has nothing better",
        ]
    );
    let unwritten = super::azure("proposals = [\"aes256-sha1-modp1024\"]", "");
    let warnings = good(&unwritten).warnings;
    assert!(warnings[0].to_string().starts_with(
        "16:13: tunnel.azure.ike.proposals: 'aes256-sha256-modp1024' is weak (modp1024), named by profile azure"
    ));
    assert!(good(AWS).warnings.is_empty(), "{:?}", good(AWS).warnings);
}

#[test]
fn what_check_prints_is_the_whole_plan_without_the_secret() {
    let shown = good(AWS).to_string();
    for line in [
        "psk = { … } # hidden",
        "hold_time = \"30s\"",
        "local_id = # the address used",
        "aws-out = [",
        "  { seq = 10, action = \"permit\", prefix = \"10.0.0.0/8\", le = 28 },",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let limit = shown.lines().find(|line| line.starts_with("max_prefix_out")).unwrap();
    assert_eq!(
        limit,
        format!(
            "{:<48} # profile aws: {}",
            "max_prefix_out = 100", "AWS closes the session at one more, and the quota cannot be raised"
        )
    );
    assert!(!shown.contains("Abcdefgh1") && !format!("{:?}", good(AWS)).contains("Abcdefgh1"));
}

#[test]
fn the_engine_is_told_what_the_tunnel_means() {
    let plan = good(AZURE);
    let tunnel = &plan.gateway.tunnels["azure"];
    let connection =
        tunnel.connection(vec!["203.0.113.1".parse().unwrap()], vec!["192.0.2.1".parse().unwrap()]);
    assert!(connection.admits("203.0.113.1".parse().unwrap(), "192.0.2.1".parse().unwrap()));
    assert!(!connection.admits("203.0.113.1".parse().unwrap(), "192.0.2.2".parse().unwrap()));
    assert_eq!(connection.must_cover, tunnel.must_cover);
}

#[test]
fn the_guard_knows_every_address_of_the_file() {
    let guard = good(AZURE).gateway.guard();
    for prefix in ["192.168.1.0/24", "192.168.1.1/32", "203.0.113.1/32", "192.0.2.1/32", "172.16.0.254/32"] {
        assert!(guard.check(&prefix.parse().unwrap()).is_some(), "{prefix}");
    }
    for prefix in ["172.16.0.0/22", "0.0.0.0/0", "192.0.2.0/24"] {
        assert_eq!(guard.check(&prefix.parse().unwrap()), None, "{prefix}");
    }
}

const EVERY_FORM: &str = r#"
[router]
id = "10.0.0.1"
asn = 4200000000

[esp]
af_xdp = ["wan0", "wan1"]

[tunnel.branch]
local = ["eth0", "203.0.113.1", "2001:db8::1"]
remote = ["vpn.example.org", "192.0.2.1"]
start = "on-demand"
on_down = "withdraw"
psk = { local = { credential = "ours" }, remote = { value = "theirs" } }
local_id = "fqdn:branch.example.org"
remote_id = "keyid:hub"
ike = { proposals = ["aes256gcm16-prfsha384-ecp384"], lifetime = "1d", rekey = "20h" }

[tunnel.branch.esp]
proposals = ["aes128gcm16-ecp256", "aes256-sha256"]
lifetime_bytes = "100GB"
lifetime_packets = 4000000000
esn = "require"
df = "set"
encapsulation = "never"
resource_sas = 4
local_ts = ["0.0.0.0/0", "::/0"]
remote_ts = ["10.0.0.0/8", "2001:db8::/32", "198.51.100.1/32[gre]"]

[tunnel.branch.interface]
addresses = ["2001:db8:ffff::2/64", "10.255.0.2/30"]
source = ["10.255.0.2", "2001:db8:ffff::2"]
mtu = 1400
mss = "off"
routes = ["10.1.0.0/16", "2001:db8:1::/48"]

[tunnel.anyone]
remote = "any"
remote_id = "joe@example.org"
start = "respond"
psk = { value = "x" }

[bgp]
redistribute = ["connected", "static", "kernel"]
always_compare_med = true
missing_med_worst = true
ignore_age = true

[bgp.neighbor."10.255.0.1"]
weight = 7
max_prefix_restart = "30s"
asn = 4200000001
tunnel = "branch"
hold_time = "30s"
send_hold_time = "1m"
families = ["ipv4", "ipv6"]
next_hop = "2001:db8:ffff::3"
passive = true
password = { value = "md5" }
import = "any"
export = "none"

[bgp.neighbor.lan]
address = "192.168.1.2"
asn = 4200000000
"#;

#[test]
fn every_form_of_every_key_is_read() {
    let plan = good(EVERY_FORM);
    let tunnel = &plan.gateway.tunnels["branch"];
    let crate::Local::Ends(local) = &tunnel.local else { panic!("a list") };
    assert_eq!((local.len(), &local[0]), (3, &LocalEnd::Interface("eth0".to_owned())));
    let Remote::Ends(remote) = &tunnel.remote else { panic!("a list") };
    assert_eq!(remote[0], RemoteEnd::Name("vpn.example.org".to_owned()));
    assert_eq!((tunnel.start, tunnel.on_down), (Start::OnDemand, OnDown::Withdraw));
    assert_eq!(
        (tunnel.psk_local.as_bytes(), tunnel.psk_remote.as_bytes()),
        (&b"Credential1"[..], &b"theirs"[..])
    );
    assert_eq!(tunnel.ike.lifetime.soft, Some(Duration::from_secs(20 * 3600)));
    assert_eq!((tunnel.esp.lifetime_bytes, tunnel.esp.resource_sas.get()), (Some(100_000_000_000), 4));
    assert!(tunnel.esp.proposals.iter().all(|proposal| proposal.esn == [true]));
    assert_eq!((tunnel.interface.name.as_str(), tunnel.interface.mtu), ("branch", Mtu::Fixed(1400)));
    assert_eq!(tunnel.interface.mss, MssPolicy::Off);
    let anyone = &plan.gateway.tunnels["anyone"];
    assert_eq!((&anyone.remote, anyone.start), (&Remote::Any, Start::Respond));

    let bgp = plan.gateway.bgp.as_ref().unwrap();
    assert!(bgp.redistribute.connected && bgp.redistribute.static_routes && bgp.redistribute.kernel);
    let decision = bgp.speaker.decision;
    assert!(decision.always_compare_med && decision.missing_med_worst && decision.ignore_age);
    let hub = &bgp.neighbors["10.255.0.1"];
    assert_eq!((hub.session.weight, hub.session.max_prefix), (7, Some(20_000)));
    assert_eq!(hub.session.max_prefix_restart, Some(Duration::from_secs(30)));
    assert_eq!(hub.session.address.to_string(), "10.255.0.1", "the name is the address");
    assert_eq!(hub.session.source, Some("10.255.0.2".parse().unwrap()));
    assert_eq!(hub.session.next_hop_v6, Some("2001:db8:ffff::3".parse().unwrap()));
    assert_eq!(
        (hub.session.hold_time, hub.session.keepalive),
        (30, 10),
        "a third, since the file shortens the one"
    );
    assert_eq!(hub.session.send_hold_time, Some(60));
    assert!(hub.session.passive && hub.password.is_some());
    let lan = &bgp.neighbors["lan"].session;
    assert_eq!((lan.tunnel.as_deref(), lan.source, lan.hold_time), (None, None, 90));
    assert!(plan.to_string().contains("[bgp.neighbor.\"10.255.0.1\"]"));
    assert!(plan.to_string().contains("send_hold_time = \"60s\""));
    assert_eq!(plan.gateway.esp.af_xdp, ["wan0", "wan1"]);
    assert!(plan.to_string().contains("af_xdp = [\"wan0\", \"wan1\"]"));
    assert!(plan.to_string().contains("resource_sas = 4") && plan.to_string().contains("resource_sas = 1"));
    assert!(!plan.to_string().contains("theirs") && !plan.to_string().contains("md5"));
}
