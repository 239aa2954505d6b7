//! A tunnel's interface: its MTU, and what is done with the device.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::tunnel::TunnelId;
use config::Mtu;

use super::{DeviceState, Tunnel};
use crate::effect::{Device, Effect};
use crate::gateway::Gateway;
use crate::why::{Code, Source, Why};

/// Before an SA is there: fits every suite in UDP over Ethernet.
const BEFORE_SA: u32 = 1400;
/// How long a smaller MTU of the path is believed (RFC 1191 section 6.3 suggests 10 minutes).
const PATH_MTU_AGE: Duration = Duration::from_secs(600);
/// The least a path is believed to take over IPv4: what Linux takes for the least too (`ip_rt_min_pmtu`). ICMP can be
/// forged by anyone who knows both addresses.
const IPV4_PATH_MIN: u32 = 552;
/// What IPv6 needs of a link; a device with less loses its IPv6 addresses and routes.
const IPV6_MIN: u32 = 1280;

pub(super) fn first_mtu(plan: &config::Tunnel) -> u32 {
    match plan.interface.mtu {
        Mtu::Fixed(mtu) => u32::from(mtu),
        Mtu::Auto => BEFORE_SA,
    }
}

impl Tunnel {
    /// What the device is set to. With IPv6 inside it never goes below 1280, for it would lose IPv6 whole: what is
    /// larger than the path then leaves in outer fragments (RFC 2473 section 7.1), and IPv4 senders hear the true
    /// size from the datapath.
    fn device_mtu(&self) -> u32 {
        let ipv6_inside = self.plan.esp.remote_ts.iter().any(|selector| !selector.addresses.is_ipv4());
        if ipv6_inside { self.mtu.max(IPV6_MIN) } else { self.mtu }
    }
}

impl Gateway {
    /// Asks for a tunnel's device.
    pub(crate) fn open_device(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        let device = Device::Open {
            name: tunnel.plan.interface.name.clone(),
            addresses: tunnel.plan.interface.addresses.iter().map(|a| (a.address, a.length)).collect(),
            mtu: tunnel.device_mtu(),
            queues: tunnel.plan.interface.queues,
        };
        self.effects.push_back(Effect::Device(id, device));
    }

    fn set_device(&mut self, id: TunnelId, state: DeviceState) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let (gone, new) = (tunnel.device.ifindex(), state.ifindex());
        tunnel.device = state;
        self.know_device(gone, new);
    }

    /// One device for another in what is known of them.
    pub(crate) fn know_device(&mut self, gone: Option<u32>, new: Option<u32>) {
        if gone != new {
            let devices = Arc::make_mut(&mut self.devices);
            gone.iter().for_each(|ifindex| _ = devices.remove(ifindex));
            devices.extend(new);
        }
    }

    /// The device is there, or not.
    pub(crate) fn device_ready(&mut self, id: TunnelId, outcome: Result<u32, String>, now: Instant) {
        let Some(tunnel) = self.tunnels.get(&id) else { return };
        match outcome {
            Ok(ifindex) => {
                self.set_device(id, DeviceState::Ready(ifindex));
                self.tell(
                    id,
                    format!("interface {} is there", self.interface_name(id)),
                    crate::effect::Level::Info,
                );
                self.want_static_routes(id);
                self.want_listeners();
                self.start(id, now);
                // It may be the device alone that was gone.
                if self.tunnels.get(&id).is_some_and(Tunnel::carries) {
                    self.tunnel_carries(id, now);
                }
            }
            Err(error) => {
                let text = format!("the interface {}: {error}", tunnel.plan.interface.name);
                self.set_device(id, DeviceState::Failed(error));
                self.set_why(id, Why { source: Source::Kernel, ..Why::local(Code::Device, text, now) });
                self.refuse_static_routes(id);
            }
        }
        // What the kernel holds of ours can be told apart only once the devices are known.
        self.effects.push_back(Effect::ReadKernel);
    }

    /// Devices that were there and that the kernel no longer has: someone removed them. They are made anew; until then
    /// nothing that should have gone into them leaves in clear.
    pub(crate) fn find_lost_devices(&mut self, now: Instant) {
        let there = |ifindex: &u32| self.underlay.links.contains_key(ifindex);
        let lost: Vec<TunnelId> = self
            .tunnels
            .values()
            .filter(|tunnel| tunnel.device.ifindex().is_some_and(|ifindex| !there(&ifindex)))
            .map(|tunnel| tunnel.id)
            .collect();
        for id in lost {
            let text = format!("the interface {} is gone; it is made anew", self.interface_name(id));
            self.tell(id, text, crate::effect::Level::Warn);
            self.set_device(id, DeviceState::Opening);
            self.tunnel_lost(id, now);
            self.drain_speaker(now);
            self.refuse_static_routes(id);
            self.want_listeners();
            self.open_device(id);
        }
    }

    /// Devices that could not be had are tried again.
    pub(crate) fn retry_devices(&mut self) {
        for id in self.tunnel_ids() {
            self.retry_device(id);
        }
    }

    pub(crate) fn retry_device(&mut self, id: TunnelId) {
        if self.tunnels.get(&id).is_some_and(|tunnel| matches!(tunnel.device, DeviceState::Failed(_))) {
            self.set_device(id, DeviceState::Opening);
            self.open_device(id);
        }
    }

    pub(crate) fn interface_name(&self, id: TunnelId) -> &str {
        self.tunnels.get(&id).map_or("", |tunnel| tunnel.plan.interface.name.as_str())
    }

    /// A send to `remote` was larger than the path takes.
    pub(crate) fn path_mtu(&mut self, remote: IpAddr, mtu: u32, now: Instant) {
        let mtu = mtu.max(if remote.is_ipv6() { IPV6_MIN } else { IPV4_PATH_MIN });
        // RFC 1191 section 3: "A host should never increase its estimate of the Path MTU in response to the contents of a
        // Datagram Too Big message."
        let smaller = |tunnel: &Tunnel| tunnel.path_mtu.is_none_or(|(known, _)| known >= mtu);
        let concerned = |tunnel: &&mut Tunnel| tunnel.peer == Some(remote) && smaller(tunnel);
        let mut changed = Vec::new();
        for tunnel in self.tunnels.values_mut().filter(concerned) {
            if tunnel.path_mtu.is_none_or(|(known, _)| known != mtu) {
                changed.push(tunnel.id);
            }
            tunnel.path_mtu = Some((mtu, now + PATH_MTU_AGE));
        }
        for id in changed {
            self.tell(id, format!("the path to {remote} takes {mtu} octets"), crate::effect::Level::Info);
            self.size_interface(id);
        }
    }

    /// Forgets path MTUs that are too old, so that a path that grew is used again.
    pub(crate) fn expire_path_mtus(&mut self, ending: &[TunnelId], now: Instant) {
        for id in ending {
            let Some(tunnel) = self.tunnels.get_mut(id) else { continue };
            if tunnel.path_mtu.take_if(|(_, until)| *until <= now).is_some() {
                self.size_interface(*id);
            }
        }
    }

    /// A changed file may fix the MTU, or no longer.
    pub(crate) fn size_fixed(&mut self, id: TunnelId) {
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        let first = first_mtu(&tunnel.plan);
        if !tunnel.carries() && tunnel.mtu != first {
            tunnel.mtu = first;
            let mtu = tunnel.device_mtu();
            self.effects.push_back(Effect::Device(id, Device::Mtu(mtu)));
        }
    }

    /// Computes a tunnel's MTU anew: the outer MTU less what its SA costs.
    pub(crate) fn size_interface(&mut self, id: TunnelId) {
        let Some(mtu) = self.tunnels.get(&id).and_then(|tunnel| self.mtu_for(tunnel)) else { return };
        let Some(tunnel) = self.tunnels.get_mut(&id) else { return };
        if tunnel.mtu != mtu {
            tunnel.mtu = mtu;
            self.table_dirty = true;
            let mtu = tunnel.device_mtu();
            self.effects.push_back(Effect::Device(id, Device::Mtu(mtu)));
        }
    }

    fn mtu_for(&self, tunnel: &Tunnel) -> Option<u32> {
        if let Mtu::Fixed(mtu) = tunnel.plan.interface.mtu {
            return Some(u32::from(mtu));
        }
        let (_, child) = tunnel.children.sending()?;
        let remote = child.path.remote.ip();
        let local = Some(child.path.local.ip());
        let first_hop =
            self.path_of(tunnel, remote, local, &self.tunnel_ifindexes()).map_or(1500, |path| path.mtu);
        let outer = tunnel.path_mtu.map_or(first_hop, |(mtu, _)| mtu.min(first_hop));
        let outer = u16::try_from(outer).unwrap_or(u16::MAX);
        tunnel.children.inner_mtu(outer).map(u32::from)
    }
}
