//! From what was written to what is meant: names, defaults, secrets, then the contradictions.

mod bgp;
mod checks;
mod duplicates;
mod interface;
mod secrets;
mod tunnel;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bgp_rib::{PrefixList, Rule};

use crate::error::{At, Errors, Fault, Faults, Remark};
use crate::host::Host;
use crate::nearest::nearest;
use crate::plan::{Control, Gateway, Log, Outer, Routes, Tunnel};
use crate::profile::Reasoned;
use crate::raw::{Many, RawRule, Root, Section, TableName, Written, read_document};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_FILE: &str = "/etc/causeway/causeway.toml";
/// Where the daemon is asked when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/causeway/control.sock";
/// The metric of learned routes when nothing else is said: eBGP's usual distance.
const DEFAULT_METRIC: u32 = 20;

/// A good file: what it means, what is doubtful, and what was filled in. Its `Display` is what `check` prints;
/// secrets are hidden.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it means.
    pub gateway: Gateway,
    /// What works, but should be looked at, in the order of the file.
    pub warnings: Vec<Remark>,
    /// The keys that were not written, by their whole path.
    pub filled: BTreeMap<String, Filled>,
}

/// Where a value came from that was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// "default" or "profile NAME".
    pub from: String,
    /// The reason.
    pub why: &'static str,
}

/// Reads and checks a configuration. `file` is its name, for messages alone.
///
/// # Errors
/// Every fault of the file, in its order.
pub fn load(file: &str, text: &str, host: &dyn Host) -> Result<Plan, Errors> {
    let mut faults = Faults::default();
    let Some(root) = read_document(text, &mut faults) else {
        return Err(Errors { file: file.to_owned(), remarks: faults.place(text).0 });
    };
    let mut resolver = Resolver { host, faults, filled: BTreeMap::new() };
    let gateway = resolver.gateway(&root);
    let Resolver { mut faults, filled, .. } = resolver;
    checks::run(&root, &gateway, &mut faults);
    let (errors, warnings) = faults.place(text);
    if errors.is_empty() {
        Ok(Plan { gateway, warnings, filled })
    } else {
        Err(Errors { file: file.to_owned(), remarks: errors })
    }
}

/// What resolving needs and leaves behind.
struct Resolver<'h> {
    host: &'h dyn Host,
    faults: Faults,
    filled: BTreeMap<String, Filled>,
}

/// The lists that could be made, and the names of all that were written.
struct Lists<'r> {
    made: BTreeMap<Arc<str>, Arc<PrefixList>>,
    written: Vec<&'r str>,
}

impl Resolver<'_> {
    /// As much of the plan as could be made; it is only used when no fault was noted.
    fn gateway(&mut self, root: &Root) -> Gateway {
        let lists = self.prefix_lists(root);
        let mut tunnels = self.tunnels(root);
        let bgp = self.bgp(root, &lists, &mut tunnels);
        Gateway {
            routes: self.routes(root),
            control: self.control(root),
            log: self.log(root),
            esp: self.outer(root),
            tunnels,
            bgp,
            prefix_lists: lists.made,
        }
    }

    fn tunnels(&mut self, root: &Root) -> BTreeMap<Arc<str>, Tunnel> {
        let written = root.tunnel.iter().flat_map(|named| &named.value.0);
        written
            .filter_map(|(name, raw)| {
                let name: Arc<str> = name.as_str().into();
                Some((Arc::clone(&name), self.tunnel(name, raw)?))
            })
            .collect()
    }

    fn routes(&mut self, root: &Root) -> Routes {
        let raw = root.routes.as_ref().map(|written| &written.value);
        let table = raw.and_then(|raw| raw.table.as_ref());
        Routes {
            table: table.map_or(Routes::MAIN, |written| self.table(written)),
            metric: raw
                .and_then(|raw| raw.metric.as_ref())
                .map_or(DEFAULT_METRIC, |metric| metric.value.u32()),
        }
    }

    fn table(&mut self, written: &Written<TableName>) -> u32 {
        const LOCAL: u32 = 255;
        let number = match &written.value {
            TableName::Number(number) => Some(*number),
            TableName::Name(name) => match name.as_str() {
                "main" => Some(Routes::MAIN),
                "default" => Some(253),
                "local" => Some(LOCAL),
                other => self.host.table(other),
            },
        };
        match number {
            Some(LOCAL) => {
                let why =
                    "the table 'local' is the kernel's own (want \"main\", a name of rt_tables, or a number)";
                self.faults.error(&written.at, Fault::Value(why.to_owned()));
                Routes::MAIN
            }
            Some(number) => number,
            None => {
                let why =
                    "no such table in /etc/iproute2/rt_tables (want \"main\", a name there, or a number)";
                self.faults.error(&written.at, Fault::Value(why.to_owned()));
                Routes::MAIN
            }
        }
    }

    fn control(&mut self, root: &Root) -> Control {
        /// `sun_path` of unix(7), less its closing zero.
        const LONGEST: usize = 107;
        let written = root.control.as_ref().and_then(|raw| raw.value.socket.as_ref());
        if let Some(written) = written {
            if !written.value.is_absolute() {
                self.faults.error(&written.at, Fault::Value("the socket needs an absolute path".to_owned()));
            }
            if written.value.as_os_str().len() > LONGEST {
                self.faults
                    .error(&written.at, Fault::Value(format!("a socket's path is at most {LONGEST} bytes")));
            }
        }
        Control {
            socket: written.map_or_else(|| PathBuf::from(DEFAULT_SOCKET), |written| written.value.clone()),
        }
    }

    fn log(&self, root: &Root) -> Log {
        let raw = root.log.as_ref().map(|written| &written.value);
        Log {
            format: raw.and_then(|raw| raw.format.as_ref()).map(|written| written.value).unwrap_or_default(),
            level: raw.and_then(|raw| raw.level.as_ref()).map(|written| written.value).unwrap_or_default(),
        }
    }

    fn outer(&mut self, root: &Root) -> Outer {
        const MOST: usize = 8;
        /// `IFNAMSIZ`, less its closing zero.
        const LONGEST: usize = 15;
        let written = root.esp.as_ref().and_then(|raw| raw.value.af_xdp.as_ref());
        let mut af_xdp: Vec<String> = Vec::new();
        for device in written.iter().flat_map(|written| &written.value.items) {
            let name = &device.value;
            let odd = |c: char| c == '/' || c.is_whitespace() || c.is_control();
            if name.is_empty() || name.len() > LONGEST || name.chars().any(odd) {
                let why = format!(
                    "'{name}' is no device's name (want 1 to {LONGEST} bytes without '/' and spaces)"
                );
                self.faults.error(&device.at, Fault::Value(why));
            } else if af_xdp.contains(name) {
                self.faults.error(&device.at, Fault::Value(format!("'{name}' stands here twice")));
            } else if af_xdp.len() == MOST {
                self.faults.error(&device.at, Fault::Value(format!("more than {MOST} devices")));
            } else {
                af_xdp.push(name.clone());
            }
        }
        Outer { af_xdp }
    }

    fn prefix_lists<'r>(&mut self, root: &'r Root) -> Lists<'r> {
        let named = root.prefix_list.iter().flat_map(|named| &named.value.0);
        let mut lists = Lists { made: BTreeMap::new(), written: Vec::new() };
        for (name, raw) in named {
            lists.written.push(name);
            if matches!(name.as_str(), "any" | "none") {
                let why =
                    format!("'{name}' means something of its own as a policy; give the list another name");
                self.faults.error(&raw.at, Fault::Value(why));
            }
            if let Some(list) = self.prefix_list(name, raw) {
                lists.made.insert(Arc::clone(list.name()), Arc::new(list));
            }
        }
        lists
    }

    fn prefix_list(&mut self, name: &str, raw: &Written<Many<RawRule>>) -> Option<PrefixList> {
        let written = &raw.value.items;
        if written.is_empty() {
            self.faults.doubt(&raw.at, "no rules: it denies everything");
        }
        let rules: Vec<Rule> = written.iter().filter_map(|rule| self.rule(rule)).collect();
        for rule in &rules {
            // Rule by rule, so that each fault stands at its own line.
            if let Err(error) = PrefixList::new(name, vec![rule.clone()])
                && let Some(place) = written
                    .iter()
                    .find(|raw| raw.value.seq.as_ref().is_some_and(|s| s.value.u32() == rule.seq))
            {
                self.faults.error(&place.at, Fault::Value(error.to_string()));
            }
        }
        let mut seen = BTreeMap::new();
        for seq in written.iter().filter_map(|raw| raw.value.seq.as_ref()) {
            if let Some(first) = seen.insert(seq.value.0, &seq.at) {
                let fault =
                    Fault::Duplicate { what: format!("seq {}", seq.value.0), other: first.key.clone() };
                self.faults.error(&seq.at, fault);
            }
        }
        PrefixList::new(name, rules).ok()
    }

    fn rule(&mut self, written: &Written<RawRule>) -> Option<Rule> {
        let raw = &written.value;
        let seq = self.required(raw, "seq", raw.seq.as_ref(), "the rule's place, as seq = 10");
        let action = self.required(raw, "action", raw.action.as_ref(), "action = \"permit\" or \"deny\"");
        let prefix = self.required(raw, "prefix", raw.prefix.as_ref(), "the prefix to match");
        Some(Rule {
            seq: seq?.u32(),
            action: *action?,
            prefix: *prefix?,
            ge: raw.ge.as_ref().map(|ge| ge.value.u8()),
            le: raw.le.as_ref().map(|le| le.value.u8()),
            description: raw.description.as_ref().map(|text| text.value.clone()),
        })
    }

    /// The value of a key that must be there. A key whose value was refused already is not also called missing.
    fn required<'w, T, S: Section>(
        &mut self,
        section: &S,
        key: &str,
        written: Option<&'w Written<T>>,
        want: &'static str,
    ) -> Option<&'w T> {
        if written.is_none() && !section.has(key) {
            self.faults.error(&section.at().join(key), Fault::Missing(want));
        }
        written.map(|written| &written.value)
    }

    /// The value written, or the profile's default, which is remembered.
    fn or_default<T: Clone>(
        &mut self,
        written: Option<T>,
        key: impl Into<String>,
        from: &str,
        default: &Reasoned<T>,
    ) -> T {
        written.unwrap_or_else(|| {
            self.filled.insert(key.into(), Filled { from: from.to_owned(), why: default.why });
            default.value.clone()
        })
    }

    fn no_such<'n>(
        &mut self,
        kind: &'static str,
        written: &Written<String>,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let nearest = nearest(&written.value, known);
        self.faults.error(&written.at, Fault::NoSuch { kind, name: written.value.clone(), nearest });
    }
}

impl At {
    /// A key inside this section; it points at the section, since the key is not there.
    fn join(&self, key: &str) -> Self {
        Self { key: format!("{}.{key}", self.key), span: self.span.clone() }
    }
}
