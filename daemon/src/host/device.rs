//! Tunnel interfaces: opened with exactly their addresses, swept after a crash, closed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use control::view::Offload;
use gateway::{Device, PROTOCOL};
use kernel::netlink::{Address, LinkChange, Netlink, NetlinkError};
use kernel::tun::{self, Tun, TunError, TunOptions};
use tunnel::TunnelId;
use workers::Devices;

use super::{Control, Done, Ready};
use crate::sockets::{off, on};

/// A device that is open.
pub(super) struct OpenDevice {
    index: u32,
    name: String,
    addresses: Vec<(IpAddr, u8)>,
}

/// All of them.
pub(super) type OpenDevices = BTreeMap<TunnelId, OpenDevice>;

/// A worker lets a queue go within a batch: far less than these tries.
const TRIES: u32 = 100;
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// Carries out one change; what there is to tell of it.
pub(super) fn carry_out(
    netlink: &mut Netlink,
    workers: &Devices,
    open_devices: &mut OpenDevices,
    control: &Control,
    tunnel: TunnelId,
    change: Device,
) -> Option<Done> {
    match change {
        Device::Open { name, addresses, mtu, queues } => {
            // Opened anew: the queue of before must be free.
            workers.detach(tunnel);
            let tries = if open_devices.remove(&tunnel).is_some() { TRIES } else { 1 };
            let options = TunOptions {
                queues,
                kept_routes: Some(PROTOCOL),
                control: control.as_ref().ok().cloned(),
                ..TunOptions::new(&name)
            };
            let outcome = open(netlink, &options, &addresses, mtu, tries).map(|(tun, mut ready)| {
                ready.offloads.push(control_queue(&tun, control));
                open_devices.insert(tunnel, OpenDevice { index: ready.index, name, addresses });
                let offloads = tun.offloads();
                let (queues, control) = tun.into_all_queues();
                workers.attach(tunnel, queues, control, offloads);
                ready
            });
            Some(Done::Device { tunnel, outcome })
        }
        Device::Mtu(mtu) => {
            let device = open_devices.get(&tunnel)?;
            let change = LinkChange { mtu: Some(mtu), ..LinkChange::default() };
            // Below 1280 octets the kernel takes IPv6 addresses away, and does not bring them back above.
            let outcome = netlink
                .set_link(device.index, &change)
                .and_then(|()| set_addresses(netlink, device.index, &fitting(&device.addresses, mtu)));
            if let Err(error) = outcome {
                tracing::error!(interface = %device.name, mtu, %error, "the MTU could not be set");
            }
            None
        }
        Device::Close => {
            close(netlink, workers, open_devices, &[tunnel]);
            None
        }
    }
}

/// Removes the devices of these tunnels, together where they are several.
pub(super) fn close(
    netlink: &mut Netlink,
    workers: &Devices,
    open_devices: &mut OpenDevices,
    tunnels: &[TunnelId],
) {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for tunnel in tunnels {
        workers.detach(*tunnel);
        names.extend(open_devices.remove(tunnel).map(|device| device.name));
    }
    let removal = tun::remove_all(netlink, &names);
    if let Some(error) = removal.apart {
        tracing::warn!(%error, "interfaces were removed one by one");
    }
    for (name, error) in removal.left {
        tracing::error!(interface = %name, %error, "the interface could not be removed");
    }
}

/// The addresses an interface of this MTU can have (RFC 8200 section 5).
fn fitting(addresses: &[(IpAddr, u8)], mtu: u32) -> Vec<(IpAddr, u8)> {
    const IPV6_LEAST: u32 = 1280;
    addresses.iter().filter(|(address, _)| address.is_ipv4() || mtu >= IPV6_LEAST).copied().collect()
}

/// Makes or adopts the device, and makes it what it shall be; the error is in words.
fn open(
    netlink: &mut Netlink,
    options: &TunOptions,
    addresses: &[(IpAddr, u8)],
    mtu: u32,
    tries: u32,
) -> Result<(Tun, Ready), String> {
    let tun = attach(netlink, options, tries).map_err(|error| error.to_string())?;
    let index = tun.index();
    let set_up = |netlink: &mut Netlink| {
        let link = LinkChange { mtu: Some(mtu), ..LinkChange::default() };
        netlink.set_link(index, &link)?;
        set_addresses(netlink, index, &fitting(addresses, mtu))?;
        netlink.set_link(index, &LinkChange { up: Some(true), ..LinkChange::default() })
    };
    match set_up(netlink) {
        Ok(()) => {
            let ready = Ready { index, offloads: offloads(&tun) };
            Ok((tun, ready))
        }
        Err(error) => {
            // What was adopted is left as it was found: routes may lead into it.
            if !tun.adopted() {
                let _ = tun.destroy();
            }
            Err(format!("interface {}: {error}", options.name))
        }
    }
}

/// Attaches to the device; with several tries it may still be ours of before for a moment.
fn attach(netlink: &mut Netlink, options: &TunOptions, tries: u32) -> Result<Tun, TunError> {
    for _ in 1..tries {
        match Tun::open(netlink, options) {
            Err(TunError::Busy(_)) => thread::sleep(TRY_AGAIN),
            outcome => return outcome,
        }
    }
    Tun::open(netlink, options)
}

/// Those and no others.
fn set_addresses(netlink: &mut Netlink, index: u32, wanted: &[(IpAddr, u8)]) -> Result<(), NetlinkError> {
    let found = netlink.addresses(Some(index))?;
    for held in found.iter().filter(|held| !wanted.contains(&(held.address, held.prefix_len))) {
        match netlink.delete_address(held) {
            Err(error) if !error.is_missing() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    for (address, length) in wanted {
        if found.iter().any(|held| (held.address, held.prefix_len) == (*address, *length)) {
            continue;
        }
        match netlink.add_address(&Address::new(index, *address, *length)) {
            Err(error) if !error.is_exists() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Removes devices of ours that are not in `kept` and that nobody has open: what is left of tunnels that
/// are no longer in the file.
pub(super) fn sweep(netlink: &mut Netlink, kept: &BTreeSet<String>) {
    let left = match tun::ours(netlink) {
        Ok(links) => links,
        Err(error) => return tracing::warn!(%error, "interfaces of an earlier run could not be looked for"),
    };
    for link in left.into_iter().filter(|link| !kept.contains(&link.name)) {
        // What another is attached to is busy and stays.
        let outcome = Tun::open(netlink, &TunOptions::new(&link.name))
            .map_err(|error| error.to_string())
            .and_then(|tun| tun.destroy().map_err(|error| error.to_string()));
        match outcome {
            Ok(()) => tracing::info!(interface = %link.name, "removed an interface of an earlier run"),
            Err(error) => tracing::warn!(interface = %link.name, %error, "an interface of ours was left"),
        }
    }
}

/// Have control packets a queue of their own? Without the program the device was not asked for one.
fn control_queue(tun: &Tun, control: &Control) -> Offload {
    const NAME: &str = "control-queue";
    match (control, tun.control()) {
        (Err(why), _) => off(NAME, why),
        (Ok(_), Err(why)) => off(NAME, why),
        (Ok(_), Ok(_)) => on(NAME),
    }
}

fn offloads(tun: &Tun) -> Vec<Offload> {
    let found = tun.offloads();
    let tcp = |name| {
        if found.tcp { on(name) } else { off(name, "this kernel's TUN devices do not take it") }
    };
    let udp = |name| {
        if found.udp { on(name) } else { off(name, "TUN devices take it from Linux 6.2 on") }
    };
    let fair = match tun.fair() {
        Ok(()) => on("fq_codel"),
        Err(why) => off("fq_codel", why),
    };
    vec![tcp("csum"), tcp("tso4"), tcp("tso6"), udp("uso4"), udp("uso6"), fair]
}
