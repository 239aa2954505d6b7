//! The whole daemon in one thread of a namespace of its own, as root: how it ends, and what it leaves.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use gateway::PROTOCOL;
use kernel::netlink::{LinkChange, Netlink, RouteFilter, Target};
use kernel::tun;
use rustix::process::{Signal, getpid, kill_process};
use workers::Devices;

use super::{Daemon, Shell, assemble, turn};
use crate::{host, start};

const ROUTE: &str = "10.9.0.0/16";

/// A namespace with a bridge `wan` that has an address and a default route, and a folder for the daemon's files.
fn inside(test: impl FnOnce(&mut Netlink, &Path) + Send) {
    let folder = std::env::temp_dir().join(format!("causeway-run-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    host::tests::inside(|netlink, _| test(netlink, &folder));
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A tunnel to nobody, with a static route into it.
fn write_file(folder: &Path, metric: u32) -> PathBuf {
    let file = folder.join("causeway.toml");
    let socket = folder.join("control.sock");
    let text = format!(
        "[router]\nid = \"192.0.2.1\"\nasn = 65000\n[routes]\nmetric = {metric}\n[control]\nsocket = {socket:?}\n\
         [tunnel.t]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.9\"\npsk = {{ value = \"a secret\" }}\n\
         [tunnel.t.interface]\nname = \"vti0\"\nroutes = [\"{ROUTE}\"]\n"
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs a whole daemon to its end. `ready` is called from another thread once it answers on its socket.
fn run_to_end(folder: &Path, ready: impl FnOnce(Devices) + Send + 'static) -> Result<(), String> {
    let file = folder.join("causeway.toml");
    let plan = start::load(&file).unwrap().gateway;
    let socket = plan.control.socket.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = runtime.block_on(async {
        let Daemon { mut gateway, mut shell, sources, _socket } =
            assemble(&file, plan, crate::logging::silent()).unwrap();
        let devices = shell.workers.devices();
        let watcher: JoinHandle<()> = std::thread::spawn(move || {
            until("it answers and has its routes", || {
                ask(&socket, control::Request::Routes).is_some_and(|answer| {
                    matches!(answer, control::Answer::Routes(view)
                    if view.routes.iter().any(|row| row.prefix == ROUTE && row.state == "installed"))
                })
            });
            ready(devices);
        });
        let outcome = turn(&mut gateway, &mut shell, sources).await.map_err(|error| error.to_string());
        let Shell { host, workers, .. } = shell;
        host.stop();
        workers.stop();
        watcher.join().unwrap();
        outcome
    });
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

fn ask(socket: &Path, request: control::Request) -> Option<control::Answer> {
    control::Client::connect(socket).ok()?.ask(&request).ok()
}

/// Waits for something to be so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came: {what}");
}

/// Metrics of our routes for a prefix into the tunnel's device, and the device's index.
fn left(netlink: &mut Netlink, prefix: &str) -> (Vec<u32>, Option<u32>) {
    let device =
        tun::ours(netlink).unwrap().into_iter().find(|link| link.name == "vti0").map(|link| link.index);
    let filter = RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() };
    let routes = netlink.routes(filter).unwrap().into_iter();
    let into = routes.filter(|route| {
        route.prefix.to_string() == prefix
            && matches!(route.target, Target::Device(index) if Some(index) == device)
    });
    (into.map(|route| route.metric).collect(), device)
}

#[test]
fn a_daemon_that_dies_or_restarts_leaves_what_fails_closed_and_one_that_stops_leaves_nothing() {
    inside(|netlink, folder| {
        write_file(folder, 20);
        // A datapath thread panics: the daemon goes, and says why. What should have gone into the tunnel still does, into
        // a device that nobody reads.
        let died = run_to_end(folder, |devices| devices.kill_one()).unwrap_err();
        assert!(died.contains("datapath thread 0 died") && died.contains("as a test asked"), "{died}");
        let (routes, device) = left(netlink, ROUTE);
        assert_eq!(routes, [20], "{device:?}");
        assert!(device.is_some());

        // The next run takes the same device over. Told that another follows, it leaves the same.
        run_to_end(folder, |_| kill_process(getpid(), Signal::USR2).unwrap()).unwrap();
        assert_eq!(left(netlink, ROUTE), (vec![20], device));

        // A changed metric is obeyed while it runs, and a stop leaves nothing.
        let (socket, folder_too) = (folder.join("control.sock"), folder.to_owned());
        run_to_end(folder, move |_| {
            write_file(&folder_too, 30);
            let Some(control::Answer::Done(_)) = ask(&socket, control::Request::Reload) else {
                panic!("refused")
            };
            let mut netlink = Netlink::open().unwrap();
            until("the route moved", || left(&mut netlink, ROUTE).0 == [30]);
            kill_process(getpid(), Signal::TERM).unwrap();
        })
        .unwrap();
        assert_eq!(left(netlink, ROUTE), (Vec::new(), None));
        let ours = RouteFilter { protocol: Some(PROTOCOL), ..RouteFilter::default() };
        assert!(netlink.routes(ours).unwrap().is_empty());
    });
}

#[test]
fn the_page_of_interfaces_says_what_a_device_dropped_and_what_is_joined_for_it() {
    inside(|_, folder| {
        write_file(folder, 20);
        let socket = folder.join("control.sock");
        run_to_end(folder, move |_| {
            let page = || match ask(&socket, control::Request::Interfaces) {
                Some(control::Answer::Interfaces(mut page)) => page.interfaces.swap_remove(0),
                other => panic!("{other:?}"),
            };
            let before = page();
            let joined = ["join-tcp", "join-udp"];
            assert!(
                joined.iter().all(|name| before.offloads.iter().any(|one| one.name == *name)),
                "{before:?}"
            );
            assert_eq!(before.counts, []);
            // Room for one packet, in whatever the kernel counts it.
            let mut netlink = Netlink::open().unwrap();
            let change = LinkChange { queue_len: Some(1), ..LinkChange::default() };
            netlink.set_link(before.index, &change).unwrap();
            netlink.set_root_qdisc(before.index, "pfifo").unwrap();
            let udp = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
            until("a burst finds the device full", || {
                (0..200).for_each(|_| drop(udp.send_to(&[7; 100], "10.9.0.1:9")));
                page().counts.iter().any(|count| ["tx-dropped", "qdisc-dropped"].contains(&&count.name[..]))
            });
            kill_process(getpid(), Signal::TERM).unwrap();
        })
        .unwrap();
    });
}

#[test]
fn work_that_panics_ends_the_daemon_instead_of_being_waited_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (outcomes, mut receiver) = tokio::sync::mpsc::channel(1);
        crate::shell::start(&outcomes, || -> fn() -> gateway::Input<'static> { panic!("a fault") });
        let Some(Err(words)) = receiver.recv().await else { panic!("it went by") };
        assert!(words.contains("a fault"), "{words}");
    });
}
