//! One `[tunnel.NAME]`: its ends, secrets, suites and times.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use ike::{Dpd, EspProposal, IkeProposal, Lifetime};
use inet::Selector;

use super::Resolver;
use crate::error::{At, Fault};
use crate::nearest::nearest;
use crate::plan::{Esp, Ike, Local, LocalEnd, Remote, RemoteEnd, Tunnel};
use crate::profile::{Defaults, Profile, Reasoned};
use crate::raw::{Esn, Many, OneOrMany, RawDpd, RawEsp, RawIke, RawTunnel, Written};
use crate::time;

/// Shorter lives are for tests; longer ones outlive every recommendation.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(30 * 86_400));
/// Under this a rekey is a load of its own, and some peers fail.
const SHORT_LIFETIME: Duration = Duration::from_secs(300);
const DPD_DELAY: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(3600));
const DPD_TIMEOUT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));
/// Large enough for the reordering of several queues at both ends.
const REPLAY_WINDOW: u32 = 1024;

/// The tunnel being resolved: where defaults come from and how they are called.
pub(super) struct Origin {
    pub(super) path: String,
    at: At,
    pub(super) from: String,
    pub(super) defaults: Defaults,
}

impl Resolver<'_> {
    pub(super) fn tunnel(&mut self, name: Arc<str>, written: &Written<RawTunnel>) -> Option<Tunnel> {
        let raw = &written.value;
        let profile = self.profile(raw.profile.as_ref())?;
        let origin = Origin {
            path: written.at.key.clone(),
            at: raw.profile.as_ref().map_or(&written.at, |profile| &profile.at).clone(),
            from: if profile == Profile::Generic {
                "default".to_owned()
            } else {
                format!("profile {profile}")
            },
            defaults: profile.defaults(),
        };
        let local = self.local(raw.local.as_ref());
        let remote =
            self.required(raw, "remote", raw.remote.as_ref(), "the peer: an address, a DNS name, or \"any\"");
        let remote = remote.and_then(|ends| self.remote(ends));
        if let Some(written) = raw.remote.as_ref().filter(|written| written.value.0.is_empty()) {
            self.faults.error(&written.at, Fault::Empty("an address, a DNS name, or \"any\""));
        }
        let psk = match &raw.psk {
            Some(psk) => self.psk(psk),
            None => self.missing_psk(raw),
        };
        let ike = self.ike(raw.ike.as_ref(), &origin);
        let esp = self.esp(raw.esp.as_ref(), &origin);
        let interface = self.interface(&name, raw.interface.as_ref(), &written.at, &origin);
        let (psk_local, psk_remote) = psk?;
        Some(Tunnel {
            name,
            profile,
            local,
            remote: remote?,
            start: raw.start.as_ref().map(|start| start.value).unwrap_or_default(),
            on_down: raw.on_down.as_ref().map(|on_down| on_down.value).unwrap_or_default(),
            psk_local,
            psk_remote,
            local_id: raw.local_id.as_ref().map(|id| id.value.clone()),
            remote_id: raw.remote_id.as_ref().map(|id| id.value.clone()),
            ike,
            esp,
            interface: interface?,
            must_cover: Vec::new(),
        })
    }

    fn missing_psk<T>(&mut self, raw: &RawTunnel) -> Option<T> {
        self.required::<(), _>(raw, "psk", None, "the shared secret, as psk = { file = \"NAME.psk\" }");
        None
    }

    fn profile(&mut self, written: Option<&Written<String>>) -> Option<Profile> {
        let Some(written) = written else { return Some(Profile::Generic) };
        let name = written.value.as_str();
        let profile = Profile::from_name(name);
        if profile.is_none() {
            let close = nearest(name, Profile::NAMES.iter().copied());
            let fault = if Profile::is_planned(name) || close.is_none() {
                Fault::ProfileNotBuilt(name.to_owned())
            } else {
                Fault::Word { word: name.to_owned(), known: Profile::NAMES }
            };
            self.faults.error(&written.at, fault);
        }
        profile
    }

    fn local(&mut self, written: Option<&Written<OneOrMany<String>>>) -> Local {
        let Some(written) = written else { return Local::Any };
        let ends = &written.value.0;
        if let [only] = ends.as_slice()
            && only.value == "any"
        {
            return Local::Any;
        }
        if ends.is_empty() {
            self.faults.error(&written.at, Fault::Empty("an address, an interface's name, or \"any\""));
        }
        Local::Ends(ends.iter().filter_map(|end| self.local_end(end)).collect())
    }

    fn local_end(&mut self, written: &Written<String>) -> Option<LocalEnd> {
        if let Ok(address) = written.value.parse::<IpAddr>() {
            return self.outer_address(address, &written.at).map(LocalEnd::Address);
        }
        if written.value == "any" {
            self.faults.contradiction(&written.at, "\"any\" stands alone, not in a list");
            return None;
        }
        self.interface_name(&written.value, &written.at);
        Some(LocalEnd::Interface(written.value.clone()))
    }

    fn remote(&mut self, ends: &OneOrMany<String>) -> Option<Remote> {
        match ends.0.as_slice() {
            [only] if only.value == "any" => return Some(Remote::Any),
            _ => {}
        }
        Some(Remote::Ends(ends.0.iter().filter_map(|end| self.remote_end(end)).collect()))
    }

    fn remote_end(&mut self, written: &Written<String>) -> Option<RemoteEnd> {
        let text = written.value.as_str();
        if let Ok(address) = text.parse::<IpAddr>() {
            return self.outer_address(address, &written.at).map(RemoteEnd::Address);
        }
        if text == "any" {
            self.faults.contradiction(&written.at, "\"any\" stands alone, not in a list");
            return None;
        }
        // RFC 1123 section 2.1. All digits and dots is a mistyped address, not a name.
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        let digits = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if text.len() > 253 || digits || !name.split('.').all(label) {
            let why = format!("'{text}' is neither an address nor a DNS name");
            self.faults.error(&written.at, Fault::Value(why));
            return None;
        }
        Some(RemoteEnd::Name(text.to_owned()))
    }

    fn outer_address(&mut self, address: IpAddr, at: &At) -> Option<IpAddr> {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        if address.is_unspecified() || address.is_multicast() || broadcast {
            let why = format!("{address} is no host's address (\"any\" stands for every one)");
            self.faults.error(at, Fault::Value(why));
            return None;
        }
        Some(address)
    }

    fn ike(&mut self, written: Option<&Written<RawIke>>, origin: &Origin) -> Ike {
        let raw = written.map(|written| &written.value);
        let path = format!("{}.ike", origin.path);
        let proposals = self.ike_proposals(raw.and_then(|raw| raw.proposals.as_ref()), &path, origin);
        let lifetime = self.lifetime(
            raw.and_then(|raw| raw.lifetime.as_ref()),
            raw.and_then(|raw| raw.rekey.as_ref()),
            &path,
            &origin.from,
            &origin.defaults.ike_lifetime,
            None,
        );
        let dpd = raw.and_then(|raw| raw.dpd.as_ref()).map(|dpd| &dpd.value);
        Ike { proposals, lifetime, dpd: self.dpd(dpd, &path, origin) }
    }

    fn dpd(&mut self, raw: Option<&RawDpd>, path: &str, origin: &Origin) -> Dpd {
        let delay = raw.and_then(|raw| raw.delay.as_ref());
        let timeout = raw.and_then(|raw| raw.timeout.as_ref());
        self.bounded(delay, DPD_DELAY);
        self.bounded(timeout, DPD_TIMEOUT);
        let (delay, timeout) = (delay.map(|delay| delay.value), timeout.map(|timeout| timeout.value));
        let (from, defaults) = (&origin.from, &origin.defaults);
        Dpd {
            delay: self.or_default(delay, format!("{path}.dpd.delay"), from, &defaults.dpd_delay),
            timeout: self.or_default(timeout, format!("{path}.dpd.timeout"), from, &defaults.dpd_timeout),
        }
    }

    fn ike_proposals(
        &mut self,
        written: Option<&Written<Many<IkeProposal>>>,
        path: &str,
        origin: &Origin,
    ) -> Vec<IkeProposal> {
        let list = self.not_empty(written, "at least one proposal");
        let key = format!("{path}.proposals");
        let proposals = self.or_default(list, &key, &origin.from, &origin.defaults.ike_proposals);
        let weak = proposals.iter().map(|proposal| (proposal.to_string(), proposal.weak_words()));
        self.warn_weak(weak.collect(), written, &key, origin);
        proposals
    }

    fn esp_proposals(&mut self, raw: Option<&RawEsp>, path: &str, origin: &Origin) -> Vec<EspProposal> {
        let written = raw.and_then(|raw| raw.proposals.as_ref());
        let list = self.not_empty(written, "at least one proposal");
        let key = format!("{path}.proposals");
        let mut proposals = self.or_default(list, &key, &origin.from, &origin.defaults.esp_proposals);
        let weak = proposals.iter().map(|proposal| (proposal.to_string(), proposal.weak_words()));
        self.warn_weak(weak.collect(), written, &key, origin);
        if let Some(esn) = raw.and_then(|raw| raw.esn.as_ref()) {
            let accepted = match esn.value {
                Esn::Off => vec![false],
                Esn::Prefer => vec![true, false],
                Esn::Require => vec![true],
            };
            proposals.iter_mut().for_each(|proposal| proposal.esn.clone_from(&accepted));
        }
        proposals
    }

    /// A weak algorithm works, and is said: by whom it was named, and at which place.
    fn warn_weak<T>(
        &mut self,
        proposals: Vec<(String, Vec<&'static str>)>,
        written: Option<&Written<Many<T>>>,
        key: &str,
        origin: &Origin,
    ) {
        for (index, (proposal, words)) in proposals.into_iter().enumerate() {
            if words.is_empty() {
                continue;
            }
            let by = if written.is_some() { "the file".to_owned() } else { origin.from.clone() };
            let at = written.and_then(|written| written.value.items.get(index)).map_or_else(
                || At { key: key.to_owned(), span: origin.at.span.clone() },
                |written| written.at.clone(),
            );
            self.faults.warn(&at, Fault::Weak { proposal, words: words.join(", "), by });
        }
    }

    fn not_empty<T: Clone>(
        &mut self,
        written: Option<&Written<Many<T>>>,
        want: &'static str,
    ) -> Option<Vec<T>> {
        let written = written?;
        if written.value.items.is_empty() && !written.value.broken {
            self.faults.error(&written.at, Fault::Empty(want));
        }
        Some(written.value.items.iter().map(|item| item.value.clone()).collect())
    }

    fn lifetime(
        &mut self,
        written: Option<&Written<Duration>>,
        rekey: Option<&Written<Duration>>,
        path: &str,
        from: &str,
        default: &Reasoned<Duration>,
        default_rekey: Option<&Reasoned<Option<Duration>>>,
    ) -> Lifetime {
        if self.bounded(written, LIFETIME)
            && let Some(short) = written.filter(|written| written.value < SHORT_LIFETIME)
        {
            self.faults
                .doubt(&short.at, "under 5 minutes: each end rekeys all the time, and some peers fail at it");
        }
        let hard =
            self.or_default(written.map(|written| written.value), format!("{path}.lifetime"), from, default);
        if let Some(rekey) = rekey.filter(|rekey| rekey.value >= hard || rekey.value.is_zero()) {
            let why = format!(
                "rekey is the soft limit: want less than the lifetime of {}, found {}",
                time::show(hard),
                time::show(rekey.value)
            );
            self.faults.contradiction(&rekey.at, why);
        }
        let soft = match (rekey, default_rekey) {
            (Some(rekey), _) => Some(rekey.value),
            // A profile's soft time belongs to its hard time; with another hard time it is drawn as usual.
            (None, Some(default)) if written.is_none() && default.value.is_some() => {
                self.or_default(None, format!("{path}.rekey"), from, default)
            }
            (None, _) => None,
        };
        Lifetime { hard, soft }
    }

    fn bounded(&mut self, written: Option<&Written<Duration>>, (min, max): (Duration, Duration)) -> bool {
        let Some(written) = written else { return true };
        let good = (min..=max).contains(&written.value);
        if !good {
            let [found, min, max] = [written.value, min, max].map(time::show);
            self.faults.error(&written.at, Fault::Range { found, min, max });
        }
        good
    }

    fn esp(&mut self, written: Option<&Written<RawEsp>>, origin: &Origin) -> Esp {
        let raw = written.map(|written| &written.value);
        let path = format!("{}.esp", origin.path);
        let (from, defaults) = (&origin.from, &origin.defaults);
        let df = raw.and_then(|raw| raw.df.as_ref()).map(|df| df.value);
        let pfs = raw.and_then(|raw| raw.accept_rekey_without_pfs.as_ref()).map(|pfs| pfs.value);
        Esp {
            proposals: self.esp_proposals(raw, &path, origin),
            lifetime: self.lifetime(
                raw.and_then(|raw| raw.lifetime.as_ref()),
                raw.and_then(|raw| raw.rekey.as_ref()),
                &path,
                from,
                &defaults.esp_lifetime,
                Some(&defaults.esp_rekey),
            ),
            lifetime_bytes: raw.and_then(|raw| raw.lifetime_bytes.as_ref()).map(|bytes| bytes.value.0),
            lifetime_packets: raw
                .and_then(|raw| raw.lifetime_packets.as_ref())
                .map(|packets| packets.value.0),
            replay_window: raw
                .and_then(|raw| raw.replay_window.as_ref())
                .map_or(REPLAY_WINDOW, |window| window.value.u32()),
            df: self.or_default(df, format!("{path}.df"), from, &defaults.df),
            encapsulation: raw
                .and_then(|raw| raw.encapsulation.as_ref())
                .map(|word| word.value)
                .unwrap_or_default(),
            local_ts: self.selectors(raw.and_then(|raw| raw.local_ts.as_ref())),
            remote_ts: self.selectors(raw.and_then(|raw| raw.remote_ts.as_ref())),
            accept_rekey_without_pfs: self.or_default(
                pfs,
                format!("{path}.accept_rekey_without_pfs"),
                from,
                &defaults.accept_rekey_without_pfs,
            ),
            resource_sas: raw
                .and_then(|raw| raw.resource_sas.as_ref())
                .and_then(|sas| NonZeroU8::new(u8::try_from(sas.value.0).ok()?))
                .unwrap_or(NonZeroU8::MIN),
        }
    }

    fn selectors(&mut self, written: Option<&Written<Many<Selector>>>) -> Vec<Selector> {
        let list = self.not_empty(written, "at least one selector, as \"0.0.0.0/0\"");
        if written.is_some_and(|written| written.value.broken || written.value.items.is_empty()) {
            // The fault is noted; nothing shall be said of what the rest excludes.
            return vec![Selector::any_v4(), Selector::any_v6()];
        }
        list.unwrap_or_else(|| vec![Selector::any_v4()])
    }
}
