//! `[router]`, `[bgp]` and each `[bgp.neighbor.NAME]`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bgp::{NeighborConfig, SpeakerConfig};
use bgp_rib::{Options, Policy};
use bgp_wire::Families;

use super::{Lists, Resolver};
use crate::error::{At, Fault};
use crate::plan::{Bgp, Interface, Neighbor, Redistribute, Tunnel};
use crate::profile::{Defaults, Profile};
use crate::raw::{FamilyName, RawBgp, RawNeighbor, RedistributeName, Root, Section, Within, Written};
use crate::time;

/// TCP_MD5SIG_MAXKEYLEN of Linux.
const MAX_PASSWORD: usize = 80;
const PORT: u16 = 179;

type Asn = Within<1, 4_294_967_294>;

impl Resolver<'_> {
    /// The speaker, if the file has `[bgp]`; each session's ends go to its tunnel too.
    pub(super) fn bgp(
        &mut self,
        root: &Root,
        lists: &Lists<'_>,
        tunnels: &mut BTreeMap<Arc<str>, Tunnel>,
    ) -> Option<Bgp> {
        let written = root.bgp.as_ref()?;
        let raw = &written.value;
        let speaker = self.speaker(root, raw, &written.at);
        let asn = speaker.as_ref().map(|speaker| speaker.asn);
        let mut neighbors = BTreeMap::new();
        for (name, raw) in raw.neighbor.iter().flat_map(|named| &named.value.0) {
            let name: Arc<str> = name.as_str().into();
            let Some(neighbor) = self.neighbor(&name, raw, asn, root, lists, tunnels) else { continue };
            let session = &neighbor.session;
            if let (Some(tunnel), Some(source)) = (&session.tunnel, session.source)
                && let Some(tunnel) = tunnels.get_mut(tunnel)
            {
                tunnel.must_cover.push((source, session.address));
            }
            neighbors.insert(name, neighbor);
        }
        Some(Bgp {
            speaker: speaker?,
            networks: raw
                .networks
                .iter()
                .flat_map(|list| &list.value.items)
                .map(|prefix| prefix.value)
                .collect(),
            redistribute: redistribute(raw),
            neighbors,
        })
    }

    fn speaker(&mut self, root: &Root, bgp: &RawBgp, at: &At) -> Option<SpeakerConfig> {
        let Some(router) = &root.router else {
            let at = At { key: "router".to_owned(), span: at.span.clone() };
            self.faults.error(&at, Fault::Missing("[router] with id and asn, which [bgp] needs"));
            return None;
        };
        let raw = &router.value;
        let id =
            self.required(raw, "id", raw.id.as_ref(), "the BGP identifier, as id = \"203.0.113.1\"").copied();
        let asn = self.required(raw, "asn", raw.asn.as_ref(), "our AS number").copied();
        // RFC 6286 section 2.1: "a 4-octet, unsigned, non-zero integer".
        if let (Some(written), Some(Ipv4Addr::UNSPECIFIED)) = (&raw.id, id) {
            self.faults
                .error(&written.at, Fault::Value("a BGP identifier is not 0.0.0.0 (RFC 6286)".to_owned()));
        }
        self.check_asn(raw.asn.as_ref());
        let on = |written: &Option<Written<bool>>| written.as_ref().is_some_and(|written| written.value);
        let decision = Options {
            always_compare_med: on(&bgp.always_compare_med),
            missing_med_worst: on(&bgp.missing_med_worst),
            ignore_age: on(&bgp.ignore_age),
        };
        Some(SpeakerConfig { asn: asn?.u32(), router_id: id?, decision })
    }

    /// AS numbers that stand for something else.
    fn check_asn(&mut self, written: Option<&Written<Asn>>) {
        let Some(written) = written else { return };
        let why = match written.value.u32() {
            23456 => "AS 23456 stands for numbers that do not fit in two octets (RFC 6793) and is no one's",
            65535 => "AS 65535 is reserved (RFC 7300)",
            _ => return,
        };
        self.faults.error(&written.at, Fault::Value(why.to_owned()));
    }

    fn neighbor(
        &mut self,
        name: &Arc<str>,
        written: &Written<RawNeighbor>,
        asn: Option<u32>,
        root: &Root,
        lists: &Lists<'_>,
        tunnels: &BTreeMap<Arc<str>, Tunnel>,
    ) -> Option<Neighbor> {
        let raw = &written.value;
        let address = self.address(name, raw);
        let remote_asn = self.required(raw, "asn", raw.asn.as_ref(), "the neighbour's AS number").copied();
        self.check_asn(raw.asn.as_ref());
        self.check_asn(raw.local_asn.as_ref());
        let tunnel = self.named_tunnel(raw, root, tunnels);
        let import = self.policy(raw.import.as_ref(), lists);
        let export = self.policy(raw.export.as_ref(), lists);
        let password = raw.password.as_ref().and_then(|password| self.password(password));
        let local_asn = raw.local_asn.as_ref().map(|asn| asn.value.u32()).or(asn);
        let (address, remote_asn, local_asn) = (address?, remote_asn?.u32(), local_asn?);

        let mut session = NeighborConfig::new(Arc::clone(name), address, remote_asn, local_asn);
        session.port = PORT;
        session.description = raw.description.as_ref().map(|text| text.value.as_str().into());
        session.tunnel = raw.tunnel.as_ref().map(|tunnel| tunnel.value.as_str().into());
        session.passive = raw.passive.as_ref().is_some_and(|passive| passive.value);
        (session.import, session.export) = (import, export);
        let profile = tunnel.map(|tunnel| tunnel.profile).unwrap_or_default();
        self.session_times(&mut session, raw, profile);
        self.send_hold_time(&mut session, raw);
        self.session_limits(&mut session, raw, profile);
        let interface = tunnel.map(|tunnel| &tunnel.interface);
        session.source = self.session_source(raw, address, interface);
        self.families(&mut session, raw, interface);
        self.warn_unset(&session, raw);
        Some(Neighbor { session, password })
    }

    /// The address written, or the name where that is one.
    fn address(&mut self, name: &str, raw: &RawNeighbor) -> Option<IpAddr> {
        let address = match &raw.address {
            Some(written) => Some(written.value),
            None => name.parse::<IpAddr>().ok(),
        };
        if address.is_none() && !raw.has("address") {
            let at = At { key: format!("{}.address", raw.at().key), span: raw.at().span.clone() };
            self.faults.error(&at, Fault::Missing("the neighbour's address (or an address as its name)"));
        }
        let address = address?;
        let at = raw.address.as_ref().map_or(raw.at(), |written| &written.at);
        if address.is_unspecified() || address.is_multicast() {
            self.faults.error(at, Fault::Value(format!("{address} is no host's address")));
            return None;
        }
        Some(address)
    }

    /// The tunnel named; a name that was written but whose tunnel could not be made is no fault of its own.
    fn named_tunnel<'t>(
        &mut self,
        raw: &RawNeighbor,
        root: &Root,
        tunnels: &'t BTreeMap<Arc<str>, Tunnel>,
    ) -> Option<&'t Tunnel> {
        let written = raw.tunnel.as_ref()?;
        let mut names = root.tunnel.iter().flat_map(|named| named.value.0.keys());
        if !names.any(|name| *name == written.value) {
            let names = root.tunnel.iter().flat_map(|named| named.value.0.keys());
            self.no_such("tunnel", written, names.map(String::as_str));
        }
        tunnels.get(written.value.as_str())
    }

    fn policy(&mut self, written: Option<&Written<String>>, lists: &Lists<'_>) -> Policy {
        let Some(written) = written else { return Policy::Unset };
        match written.value.as_str() {
            "any" => return Policy::Any,
            "none" => return Policy::None,
            _ => {}
        }
        if let Some(list) = lists.made.get(written.value.as_str()) {
            return Policy::List(Arc::clone(list));
        }
        if !lists.written.contains(&written.value.as_str()) {
            let known = lists.written.iter().copied().chain(["any", "none"]);
            self.no_such("prefix list", written, known);
        }
        Policy::None
    }

    fn warn_unset(&mut self, session: &NeighborConfig, raw: &RawNeighbor) {
        if session.asn == session.local_asn {
            return;
        }
        for (key, policy, effect) in [
            ("import", &session.import, "no route of this neighbour is accepted"),
            ("export", &session.export, "no route is announced to this neighbour"),
        ] {
            if *policy == Policy::Unset && !raw.has(key) {
                let at = At { key: format!("{}.{key}", raw.at().key), span: raw.at().span.clone() };
                let words = format!("left out, which means \"none\" (RFC 8212): {effect}");
                self.faults.doubt(&at, words);
            }
        }
    }

    fn password(&mut self, written: &Written<crate::raw::RawSecret>) -> Option<Arc<crypto::Secret>> {
        let secret = self.one_secret(written)?;
        if secret.len() > MAX_PASSWORD {
            let why = format!("a TCP-MD5 password is at most {MAX_PASSWORD} bytes");
            self.faults.error(&written.at, Fault::Value(why));
        }
        Some(Arc::new(secret))
    }

    fn session_times(&mut self, session: &mut NeighborConfig, raw: &RawNeighbor, profile: Profile) {
        let (defaults, from) = (profile.defaults(), origin(profile));
        let hold = raw.hold_time.as_ref().map(|written| self.whole_seconds(written, 3, "hold time"));
        let keepalive =
            raw.keepalive.as_ref().map(|written| self.whole_seconds(written, 1, "keepalive time"));
        let path = &raw.at().key;
        session.hold_time = self.or_default(hold, format!("{path}.hold_time"), &from, &defaults.hold_time);
        // A third of the hold time, where the file shortens that alone.
        let third = (session.hold_time / 3).max(1);
        session.keepalive = match keepalive {
            Some(keepalive) => keepalive,
            None if third < defaults.keepalive.value => third,
            None => self.or_default(None, format!("{path}.keepalive"), &from, &defaults.keepalive),
        };
        if let Some(written) = raw.keepalive.as_ref().filter(|_| session.keepalive >= session.hold_time) {
            let words = format!(
                "the peer gives up after {} s without a message: keepalive must be shorter, a third of it is usual",
                session.hold_time
            );
            self.faults.contradiction(&written.at, words);
        }
    }

    /// RFC 9687 section 4.4: longer than the hold time, which ends a session whose peer is silent as well.
    fn send_hold_time(&mut self, session: &mut NeighborConfig, raw: &RawNeighbor) {
        let Some(written) = &raw.send_hold_time else { return };
        let seconds = self.whole_seconds(written, 4, "send hold time");
        session.send_hold_time = Some(seconds);
        if seconds <= session.hold_time {
            let words = format!(
                "the hold time is {} s: the send hold time must be longer (RFC 9687 section 4.4)",
                session.hold_time
            );
            self.faults.contradiction(&written.at, words);
        }
    }

    fn whole_seconds(&mut self, written: &Written<Duration>, min: u64, what: &str) -> u16 {
        let seconds = written.value.as_secs();
        let fits =
            u16::try_from(seconds).ok().filter(|_| seconds >= min && written.value.subsec_nanos() == 0);
        fits.unwrap_or_else(|| {
            let fault = match (written.value.is_zero(), written.value.subsec_nanos()) {
                (true, _) => Fault::Value(format!(
                    "a {what} of 0 means that a dead peer is never noticed; want {min}s or more"
                )),
                (false, 0) => Fault::Range {
                    found: time::show(written.value),
                    min: format!("{min}s"),
                    max: format!("{}s", u16::MAX),
                },
                (false, _) => Fault::Value(format!("a {what} is whole seconds")),
            };
            self.faults.error(&written.at, fault);
            u16::MAX
        })
    }

    fn session_limits(&mut self, session: &mut NeighborConfig, raw: &RawNeighbor, profile: Profile) {
        let (Defaults { multihop, max_prefix, max_prefix_out, .. }, from) =
            (profile.defaults(), origin(profile));
        let path = &raw.at().key;
        let written = raw.multihop.as_ref().map(|multihop| multihop.value.u8());
        session.multihop = self.or_default(written, format!("{path}.multihop"), &from, &multihop);
        let written = raw.max_prefix.as_ref().map(|limit| Some(limit.value.u32()));
        session.max_prefix = self.or_default(written, format!("{path}.max_prefix"), &from, &max_prefix);
        session.weight = raw.weight.as_ref().map_or(0, |weight| weight.value.u16());
        if let Some(written) = &raw.max_prefix_restart {
            let seconds = self.whole_seconds(written, 1, "time to stay down");
            session.max_prefix_restart = Some(Duration::from_secs(seconds.into()));
        }
        let written = raw.max_prefix_out.as_ref();
        if let (Some(written), Some(limit)) = (written, max_prefix_out.value)
            && written.value.u32() > limit
        {
            let why =
                format!("it closes the session above {limit} routes; want max_prefix_out of at most {limit}");
            self.faults.error(&written.at, Fault::Profile { profile: profile.name(), why });
        }
        let written = written.map(|limit| Some(limit.value.u32()));
        session.max_prefix_out =
            self.or_default(written, format!("{path}.max_prefix_out"), &from, &max_prefix_out);
    }

    /// Our end: written, else an interface address on the peer's subnet, else the preferred source, else any address
    /// of the interface.
    fn session_source(
        &mut self,
        raw: &RawNeighbor,
        address: IpAddr,
        interface: Option<&Interface>,
    ) -> Option<IpAddr> {
        if let Some(written) = &raw.source {
            if written.value.is_ipv4() != address.is_ipv4() {
                let words = format!("{} and {address} are not of one address family", written.value);
                self.faults.contradiction(&written.at, words);
            }
            return Some(written.value);
        }
        let found = own_address(interface?, address.is_ipv4(), Some(address));
        if found.is_none() && !raw.has("source") {
            let at = At { key: format!("{}.source", raw.at().key), span: raw.at().span.clone() };
            let want = "our end of the session, since the tunnel's interface has neither addresses nor source of its family";
            self.faults.error(&at, Fault::Missing(want));
        }
        found
    }

    fn families(&mut self, session: &mut NeighborConfig, raw: &RawNeighbor, interface: Option<&Interface>) {
        let v4 = session.address.is_ipv4();
        session.families = match &raw.families {
            None if v4 => Families::IPV4,
            None => Families::IPV6,
            Some(written) => written.value.items.iter().map(|family| family_of(family.value)).collect(),
        };
        if let Some(hop) =
            raw.next_hop.as_ref().filter(|hop| hop.value.is_ipv4() == v4 || raw.families.is_none())
        {
            let words = "next_hop is for routes of the family the session does not run over, which families must name";
            self.faults.contradiction(&hop.at, words.to_owned());
        }
        let Some(written) = &raw.families else { return };
        if session.families.is_empty() && !written.value.broken {
            self.faults.error(&written.at, Fault::Empty("\"ipv4\", \"ipv6\" or both"));
        }
        let other = if v4 { bgp_wire::Family::Ipv6Unicast } else { bgp_wire::Family::Ipv4Unicast };
        if !session.families.contains(other) {
            return;
        }
        // Routes of the family the session does not run over need a next hop of ours.
        let written_hop = raw.next_hop.as_ref().map(|hop| hop.value).filter(|hop| hop.is_ipv4() != v4);
        match written_hop.or_else(|| own_address(interface?, !v4, None)) {
            Some(IpAddr::V4(address)) => session.next_hop_v4 = Some(address),
            Some(IpAddr::V6(address)) => session.next_hop_v6 = Some(address),
            None => {
                let words = format!(
                    "{other} routes over this session need an address of ours of that family as their next hop: \
                     give the tunnel's interface one in addresses or source, or write next_hop"
                );
                self.faults.contradiction(&written.at, words);
            }
        }
    }
}

fn origin(profile: Profile) -> String {
    if profile == Profile::Generic { "default".to_owned() } else { format!("profile {profile}") }
}

fn family_of(name: FamilyName) -> bgp_wire::Family {
    match name {
        FamilyName::Ipv4 => bgp_wire::Family::Ipv4Unicast,
        FamilyName::Ipv6 => bgp_wire::Family::Ipv6Unicast,
    }
}

fn redistribute(raw: &RawBgp) -> Redistribute {
    let has =
        |wanted| raw.redistribute.iter().flat_map(|list| &list.value.items).any(|name| name.value == wanted);
    Redistribute {
        connected: has(RedistributeName::Connected),
        static_routes: has(RedistributeName::Static),
        kernel: has(RedistributeName::Kernel),
    }
}

/// An address of ours on the tunnel: on the peer's subnet, else the preferred source, else any of the interface.
fn own_address(interface: &Interface, ipv4: bool, peer: Option<IpAddr>) -> Option<IpAddr> {
    let of_family = || interface.addresses.iter().filter(move |own| own.address.is_ipv4() == ipv4);
    let shared = peer.and_then(|peer| of_family().find(|own| own.subnet().contains(peer)));
    let source: Option<IpAddr> = if ipv4 {
        interface.source_v4.map(|address: Ipv4Addr| address.into())
    } else {
        interface.source_v6.map(|address: Ipv6Addr| address.into())
    };
    shared.map(|own| own.address).or(source).or_else(|| of_family().next().map(|own| own.address))
}
