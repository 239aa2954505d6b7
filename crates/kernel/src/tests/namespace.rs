//! Namespaces, and what is tried inside one.

use std::process::Command;

use crate::netns::Namespace;
use crate::privilege::{self, Capability};
use crate::probe::probe;

#[test]
fn a_new_namespace_is_empty_and_the_thread_that_asked_stays_where_it_was() {
    let outside = Namespace::current().unwrap().netlink().unwrap().links().unwrap().len();
    let namespace = Namespace::anonymous().unwrap();
    let names: Vec<_> = namespace.netlink().unwrap().links().unwrap().into_iter().map(|l| l.name).collect();
    assert!(names.contains(&"lo".to_owned()), "{names:?}");
    namespace.netlink().unwrap().create_veth("left", "right", None).unwrap();
    assert_eq!(namespace.netlink().unwrap().links().unwrap().len(), names.len() + 2);
    assert_eq!(Namespace::current().unwrap().netlink().unwrap().links().unwrap().len(), outside);
}

#[test]
fn a_named_namespace_can_be_opened_entered_by_programs_and_is_gone_when_dropped() {
    let name = format!("causeway-test-{}", std::process::id());
    let namespace = Namespace::named(&name).unwrap();
    assert!(Namespace::named(&name).is_err(), "the name is taken");
    namespace.netlink().unwrap().create_bridge("inside").unwrap();
    let opened = Namespace::open(&name).unwrap();
    assert!(opened.netlink().unwrap().link_by_name("inside").unwrap().is_some());
    let mut program = Command::new("cat");
    let seen = namespace.start_inside(program.arg("/proc/net/dev")).unwrap().output().unwrap();
    assert!(String::from_utf8_lossy(&seen.stdout).contains("inside"));
    let thread =
        namespace.spawn("inside", || crate::netlink::Netlink::open().unwrap().links().unwrap()).unwrap();
    assert!(thread.join().unwrap().unwrap().iter().any(|link| link.name == "inside"));
    drop((namespace, opened));
    assert!(Namespace::open(&name).is_err());
    for bad in ["", "..", "a/b"] {
        assert!(Namespace::named(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_link_moves_between_namespaces_and_a_bridge_takes_ports() {
    let (one, two) = (Namespace::anonymous().unwrap(), Namespace::anonymous().unwrap());
    let (mut from, mut to) = (one.netlink().unwrap(), two.netlink().unwrap());
    from.create_veth("left", "right", None).unwrap();
    let right = from.link_by_name("right").unwrap().unwrap();
    from.move_link(right.index, std::os::fd::AsFd::as_fd(&two)).unwrap();
    assert_eq!(from.link_by_name("right").unwrap(), None);
    let moved = to.link_by_name("right").unwrap().unwrap();
    to.create_bridge("br0").unwrap();
    let bridge = to.link_by_name("br0").unwrap().unwrap();
    to.set_bridge(moved.index, bridge.index).unwrap();
    assert_eq!(to.link_by_index(bridge.index).unwrap().unwrap().kind, "bridge");
    assert_eq!(to.link_by_index(9999).unwrap(), None);
}

#[test]
fn this_kernel_can_do_what_the_daemon_needs() {
    let found = probe();
    assert!(found.tun && found.tun_tcp && found.udp_gso && found.udp_gro, "{found:?}");
    assert!(found.esp_v4 && found.esp_v6 && found.tcp_md5 && found.tcp_min_ttl, "{found:?}");
    assert!(found.rules && found.mark && found.namespaces && found.ipv6, "{found:?}");
    assert_eq!(found.tun_error, None);
}

#[test]
fn capabilities_that_were_dropped_do_not_come_back() {
    let thread = std::thread::spawn(|| {
        assert!(privilege::has(Capability::SysAdmin).unwrap());
        privilege::keep_only(&Capability::DAEMON).unwrap();
        for kept in Capability::DAEMON {
            assert!(privilege::has(kept).unwrap(), "{kept:?}");
        }
        assert!(!privilege::has(Capability::SysAdmin).unwrap());
        assert!(Namespace::anonymous().is_err());
        // Asking for more than is held gains nothing.
        privilege::keep_only(&[Capability::SysAdmin, Capability::NetRaw]).unwrap();
        assert!(!privilege::has(Capability::SysAdmin).unwrap());
        assert!(!privilege::has(Capability::NetAdmin).unwrap());
        let status =
            Command::new("grep").args(["-E", "^Cap(Bnd|Eff)", "/proc/self/status"]).output().unwrap();
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        // CAP_NET_BIND_SERVICE is 10, CAP_NET_ADMIN 12, CAP_NET_RAW 13.
        assert!(text.lines().any(|l| l.starts_with("CapBnd") && l.ends_with("3400")), "{text}");
    });
    thread.join().unwrap();
}

#[test]
fn a_process_without_core_dumps_stays_so() {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--ignored", "--exact", "tests::namespace::inside_a_process_of_its_own"];
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// The whole process changes: run by the test above.
#[test]
#[ignore = "changes its whole process; another test runs it in one of its own"]
fn inside_a_process_of_its_own() {
    privilege::no_core_dumps().unwrap();
    let limit = rustix::process::getrlimit(rustix::process::Resource::Core);
    assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
    privilege::leave_out_of_dumps(b"secret").unwrap();
}
