//! One `[tunnel.NAME.interface]`: its name, addresses, sizes and static routes.

use std::net::IpAddr;

use tunnel::MssPolicy;

use super::Resolver;
use super::tunnel::Origin;
use crate::error::{At, Fault};
use crate::plan::{Interface, Mtu};
use crate::raw::{Automatic, Many, RawInterface, Written};

impl Resolver<'_> {
    pub(super) fn interface(
        &mut self,
        tunnel: &str,
        written: Option<&Written<RawInterface>>,
        at: &At,
        origin: &Origin,
    ) -> Option<Interface> {
        let raw = written.map(|written| &written.value);
        let name = raw.and_then(|raw| raw.name.as_ref());
        let place = name.map_or_else(|| at.clone(), |name| name.at.clone());
        let name = name.map_or(tunnel, |name| name.value.as_str());
        self.interface_name(name, &place);
        let mss = raw.and_then(|raw| raw.mss.as_ref()).map(|mss| match mss.value {
            Automatic::Auto => MssPolicy::Auto,
            Automatic::Off => MssPolicy::Off,
            Automatic::Fixed(mss) => MssPolicy::Fixed(mss),
        });
        let mut interface = Interface {
            name: name.to_owned(),
            addresses: values(raw.and_then(|raw| raw.addresses.as_ref())),
            source_v4: None,
            source_v6: None,
            mtu: raw.and_then(|raw| raw.mtu.as_ref()).map_or(Mtu::Auto, |mtu| self.mtu(mtu)),
            mss: self.or_default(
                mss,
                format!("{}.interface.mss", origin.path),
                &origin.from,
                &origin.defaults.mss,
            ),
            queues: raw.and_then(|raw| raw.queues.as_ref()).map_or(1, |queues| queues.value.0 as usize),
            routes: values(raw.and_then(|raw| raw.routes.as_ref())),
        };
        for source in raw.and_then(|raw| raw.source.as_ref()).iter().flat_map(|sources| &sources.value.0) {
            self.source(source, &mut interface);
        }
        Some(interface)
    }

    fn mtu(&mut self, written: &Written<Automatic<576, 65_535>>) -> Mtu {
        match written.value {
            Automatic::Auto => Mtu::Auto,
            Automatic::Fixed(mtu) => Mtu::Fixed(mtu),
            Automatic::Off => {
                self.faults.error(&written.at, Fault::Value("an MTU is \"auto\" or a number".to_owned()));
                Mtu::Auto
            }
        }
    }

    fn source(&mut self, written: &Written<IpAddr>, interface: &mut Interface) {
        let address = written.value;
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            self.faults.error(&written.at, Fault::Value(format!("{address} cannot be a packet's source")));
        }
        let taken = match address {
            IpAddr::V4(v4) => interface.source_v4.replace(v4).is_some(),
            IpAddr::V6(v6) => interface.source_v6.replace(v6).is_some(),
        };
        if taken {
            self.faults.contradiction(&written.at, "want one source an address family, not two");
        }
    }

    /// What Linux takes as a device's name (`dev_valid_name`), less names that mean something else.
    pub(super) fn interface_name(&mut self, name: &str, at: &At) {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
        let reserved = matches!(name, "." | ".." | "all" | "default" | "lo" | "any");
        if name.is_empty() || name.len() > 15 || reserved || name.chars().any(bad) {
            let why = format!(
                "'{name}' cannot be an interface's name (1 to 15 characters, no blank, '/', ':' or '%')"
            );
            self.faults.error(at, Fault::Value(why));
        }
    }
}

fn values<T: Clone>(written: Option<&Written<Many<T>>>) -> Vec<T> {
    written.iter().flat_map(|written| &written.value.items).map(|item| item.value.clone()).collect()
}
