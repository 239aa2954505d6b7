//! A plan in words, as `check` prints it: the file's own form, every value in force, secrets hidden, and beside
//! each value that was not written where it came from and why.

use std::fmt;
use std::net::IpAddr;

use bgp_rib::Policy;
use bgp_wire::Family;
use ike::{Encapsulation, Lifetime};
use tunnel::{DfPolicy, MssPolicy};

use crate::plan::{
    Bgp, Gateway, Local, LocalEnd, LogFormat, LogLevel, Mtu, Neighbor, OnDown, Remote, RemoteEnd, Routes,
    Start, Tunnel,
};
use crate::resolve::Plan;
use crate::time;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page { plan: self, section: String::new(), out: f };
        page.gateway(&self.gateway)
    }
}

/// Writes sections and keys, with remarks in a column of their own.
struct Page<'p, 'f, 'g> {
    plan: &'p Plan,
    section: String,
    out: &'f mut fmt::Formatter<'g>,
}

impl Page<'_, '_, '_> {
    fn open(&mut self, section: String) -> fmt::Result {
        let gap = if self.section.is_empty() { "" } else { "\n" };
        self.section = section;
        writeln!(self.out, "{gap}[{}]", self.section)
    }

    fn key(&mut self, key: &str, value: impl fmt::Display) -> fmt::Result {
        let path = format!("{}.{key}", self.section);
        match self.plan.filled.get(&path) {
            Some(filled) => {
                let line = format!("{key} = {value}");
                writeln!(self.out, "{line:<48} # {}: {}", filled.from, filled.why)
            }
            None => writeln!(self.out, "{key} = {value}"),
        }
    }

    fn gateway(&mut self, gateway: &Gateway) -> fmt::Result {
        if let Some(bgp) = &gateway.bgp {
            self.open("router".to_owned())?;
            self.key("id", quoted(bgp.speaker.router_id))?;
            self.key("asn", bgp.speaker.asn)?;
        }
        self.open("routes".to_owned())?;
        match gateway.routes.table {
            Routes::MAIN => self.key("table", quoted("main"))?,
            table => self.key("table", table)?,
        }
        self.key("metric", gateway.routes.metric)?;
        self.open("control".to_owned())?;
        self.key("socket", quoted(gateway.control.socket.display()))?;
        self.open("log".to_owned())?;
        self.key("format", quoted(log_format(gateway.log.format)))?;
        self.key("level", quoted(log_level(gateway.log.level)))?;
        self.open("esp".to_owned())?;
        self.key("af_xdp", list(&gateway.esp.af_xdp))?;
        gateway.tunnels.values().try_for_each(|tunnel| self.tunnel(tunnel))?;
        if let Some(bgp) = &gateway.bgp {
            self.bgp(bgp)?;
        }
        self.lists(gateway)
    }

    fn tunnel(&mut self, tunnel: &Tunnel) -> fmt::Result {
        let path = format!("tunnel.{}", bare(&tunnel.name));
        self.open(path.clone())?;
        self.key("profile", quoted(tunnel.profile))?;
        self.key("local", local(&tunnel.local))?;
        self.key("remote", remote(&tunnel.remote))?;
        self.key("start", quoted(start(tunnel.start)))?;
        self.key("on_down", quoted(on_down(tunnel.on_down)))?;
        let both = if tunnel.psk_local == tunnel.psk_remote { "hidden" } else { "hidden, one for each side" };
        self.key("psk", format_args!("{{ … }} # {both}"))?;
        let id = |id: &Option<ike::Identity>, default: &str| match id {
            Some(id) => quoted(id),
            None => format!("# {default}"),
        };
        self.key("local_id", id(&tunnel.local_id, "the address used"))?;
        self.key("remote_id", id(&tunnel.remote_id, "the address it is reached at"))?;

        self.open(format!("{path}.ike"))?;
        self.key("proposals", list(&tunnel.ike.proposals))?;
        self.lifetime(tunnel.ike.lifetime)?;
        self.key("dpd.delay", quoted(time::show(tunnel.ike.dpd.delay)))?;
        self.key("dpd.timeout", quoted(time::show(tunnel.ike.dpd.timeout)))?;
        self.esp(tunnel, &path)?;
        self.interface(tunnel, &path)
    }

    fn lifetime(&mut self, lifetime: Lifetime) -> fmt::Result {
        self.key("lifetime", quoted(time::show(lifetime.hard)))?;
        match lifetime.soft {
            Some(soft) => self.key("rekey", quoted(time::show(soft))),
            None => {
                let [from, to] = [8, 9].map(|tenths| time::show(lifetime.hard * tenths / 10));
                self.key("rekey", format_args!("# at random from {from} to {to}"))
            }
        }
    }

    fn esp(&mut self, tunnel: &Tunnel, path: &str) -> fmt::Result {
        let esp = &tunnel.esp;
        self.open(format!("{path}.esp"))?;
        self.key("proposals", list(&esp.proposals))?;
        self.lifetime(esp.lifetime)?;
        esp.lifetime_bytes.map_or(Ok(()), |bytes| self.key("lifetime_bytes", bytes))?;
        esp.lifetime_packets.map_or(Ok(()), |packets| self.key("lifetime_packets", packets))?;
        self.key("replay_window", esp.replay_window)?;
        self.key("df", quoted(df(esp.df)))?;
        self.key("encapsulation", quoted(encapsulation(esp.encapsulation)))?;
        self.key("local_ts", list(&esp.local_ts))?;
        self.key("remote_ts", list(&esp.remote_ts))?;
        self.key("accept_rekey_without_pfs", esp.accept_rekey_without_pfs)?;
        self.key("resource_sas", esp.resource_sas)
    }

    fn interface(&mut self, tunnel: &Tunnel, path: &str) -> fmt::Result {
        let interface = &tunnel.interface;
        self.open(format!("{path}.interface"))?;
        self.key("name", quoted(&interface.name))?;
        self.key("addresses", list(&interface.addresses))?;
        let sources: Vec<String> = interface
            .source_v4
            .map(|address| address.to_string())
            .into_iter()
            .chain(interface.source_v6.map(|address| address.to_string()))
            .collect();
        if !sources.is_empty() {
            self.key("source", one_or_many(&sources))?;
        }
        match interface.mtu {
            Mtu::Auto => self.key("mtu", quoted("auto"))?,
            Mtu::Fixed(mtu) => self.key("mtu", mtu)?,
        }
        match interface.mss {
            MssPolicy::Auto => self.key("mss", quoted("auto"))?,
            MssPolicy::Off => self.key("mss", quoted("off"))?,
            MssPolicy::Fixed(mss) => self.key("mss", mss)?,
        }
        self.key("queues", interface.queues)?;
        self.key("routes", list(&interface.routes))
    }

    fn bgp(&mut self, bgp: &Bgp) -> fmt::Result {
        self.open("bgp".to_owned())?;
        self.key("networks", list(&bgp.networks))?;
        let words = [
            (bgp.redistribute.connected, "connected"),
            (bgp.redistribute.static_routes, "static"),
            (bgp.redistribute.kernel, "kernel"),
        ];
        let words: Vec<&str> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        self.key("redistribute", list(&words))?;
        let decision = bgp.speaker.decision;
        self.key("always_compare_med", decision.always_compare_med)?;
        self.key("missing_med_worst", decision.missing_med_worst)?;
        self.key("ignore_age", decision.ignore_age)?;
        bgp.neighbors.values().try_for_each(|neighbor| self.neighbor(neighbor))
    }

    fn neighbor(&mut self, neighbor: &Neighbor) -> fmt::Result {
        let session = &neighbor.session;
        self.open(format!("bgp.neighbor.{}", bare(&session.name)))?;
        if let Some(description) = &session.description {
            self.key("description", quoted(description))?;
        }
        self.key("address", quoted(session.address))?;
        self.key("asn", session.asn)?;
        self.key("local_asn", session.local_asn)?;
        if let Some(tunnel) = &session.tunnel {
            self.key("tunnel", quoted(tunnel))?;
        }
        match session.source {
            Some(source) => self.key("source", quoted(source))?,
            None => self.key("source", "# what the route to it uses")?,
        }
        self.key("multihop", session.multihop)?;
        self.key("hold_time", quoted(format_args!("{}s", session.hold_time)))?;
        self.key("keepalive", quoted(format_args!("{}s", session.keepalive)))?;
        if let Some(seconds) = session.send_hold_time {
            self.key("send_hold_time", quoted(format_args!("{seconds}s")))?;
        }
        self.key("passive", session.passive)?;
        if neighbor.password.is_some() {
            self.key("password", "{ … } # hidden")?;
        }
        let hops = [session.next_hop_v4.map(IpAddr::from), session.next_hop_v6.map(IpAddr::from)];
        hops.into_iter().flatten().try_for_each(|hop| self.key("next_hop", quoted(hop)))?;
        let families: Vec<&str> = session.families.iter().map(family).collect();
        self.key("families", list(&families))?;
        self.key("import", policy(&session.import))?;
        self.key("export", policy(&session.export))?;
        self.key("weight", session.weight)?;
        session.max_prefix.map_or(Ok(()), |limit| self.key("max_prefix", limit))?;
        if let Some(restart) = session.max_prefix_restart {
            self.key("max_prefix_restart", quoted(time::show(restart)))?;
        }
        session.max_prefix_out.map_or(Ok(()), |limit| self.key("max_prefix_out", limit))
    }

    fn lists(&mut self, gateway: &Gateway) -> fmt::Result {
        if gateway.prefix_lists.is_empty() {
            return Ok(());
        }
        self.open("prefix_list".to_owned())?;
        for (name, list) in &gateway.prefix_lists {
            writeln!(self.out, "{} = [", bare(name))?;
            for rule in list.rules() {
                write!(
                    self.out,
                    "  {{ seq = {}, action = \"{}\", prefix = \"{}\"",
                    rule.seq, rule.action, rule.prefix
                )?;
                rule.ge.map_or(Ok(()), |ge| write!(self.out, ", ge = {ge}"))?;
                rule.le.map_or(Ok(()), |le| write!(self.out, ", le = {le}"))?;
                rule.description
                    .as_ref()
                    .map_or(Ok(()), |text| write!(self.out, ", description = {text:?}"))?;
                writeln!(self.out, " }},")?;
            }
            writeln!(self.out, "]")?;
        }
        Ok(())
    }
}

/// Quotes and escapes as TOML's basic strings do; Rust's own escapes are the same for what may stand here.
fn quoted(value: impl fmt::Display) -> String {
    format!("{:?}", value.to_string())
}

fn bare(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { name.to_owned() } else { quoted(name) }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn one_or_many(items: &[String]) -> String {
    match items {
        [one] => quoted(one),
        many => list(many),
    }
}

fn local(local: &Local) -> String {
    let Local::Ends(ends) = local else { return quoted("any") };
    let ends = ends.iter().map(|end| match end {
        LocalEnd::Address(address) => address.to_string(),
        LocalEnd::Interface(name) => name.clone(),
    });
    one_or_many(&ends.collect::<Vec<_>>())
}

fn remote(remote: &Remote) -> String {
    let Remote::Ends(ends) = remote else { return quoted("any") };
    let ends = ends.iter().map(|end| match end {
        RemoteEnd::Address(address) => address.to_string(),
        RemoteEnd::Name(name) => name.clone(),
    });
    one_or_many(&ends.collect::<Vec<_>>())
}

fn policy(policy: &Policy) -> String {
    match policy {
        Policy::Unset => "# left out: none (RFC 8212)".to_owned(),
        Policy::Any | Policy::None | Policy::List(_) => quoted(policy),
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

fn start(start: Start) -> &'static str {
    match start {
        Start::Initiate => "initiate",
        Start::OnDemand => "on-demand",
        Start::Respond => "respond",
    }
}

fn on_down(on_down: OnDown) -> &'static str {
    match on_down {
        OnDown::Unreachable => "unreachable",
        OnDown::Withdraw => "withdraw",
    }
}

fn df(df: DfPolicy) -> &'static str {
    match df {
        DfPolicy::Copy => "copy",
        DfPolicy::Set => "set",
        DfPolicy::Clear => "clear",
    }
}

fn encapsulation(encapsulation: Encapsulation) -> &'static str {
    match encapsulation {
        Encapsulation::Auto => "auto",
        Encapsulation::Always => "always",
        Encapsulation::Never => "never",
    }
}

fn log_format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Auto => "auto",
        LogFormat::Journal => "journal",
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    }
}

fn log_level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}
