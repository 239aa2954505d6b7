//! What is known of each head-end: its defaults, each with its reason, and its limits.
//!
//! A key in the file always wins over a profile's default. A limit is refused, since the head-end is known to
//! refuse it too, or to fail silently later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ike::{EspProposal, IkeProposal};
use tunnel::{DfPolicy, MssPolicy};

/// A head-end's known defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Any peer: strong suites, the usual times.
    #[default]
    Generic,
    /// Azure VPN Gateway, route-based, with its default policy.
    Azure,
    /// AWS Site-to-Site VPN.
    Aws,
}

/// A default and why it is what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasoned<T> {
    /// The value.
    pub value: T,
    /// The reason, for `check` to print.
    pub why: &'static str,
}

/// Every default a profile gives.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// `ike.proposals`
    pub ike_proposals: Reasoned<Vec<IkeProposal>>,
    /// `ike.lifetime`
    pub ike_lifetime: Reasoned<Duration>,
    /// `ike.dpd.delay`
    pub dpd_delay: Reasoned<Duration>,
    /// `ike.dpd.timeout`
    pub dpd_timeout: Reasoned<Duration>,
    /// `esp.proposals`
    pub esp_proposals: Reasoned<Vec<EspProposal>>,
    /// `esp.lifetime`
    pub esp_lifetime: Reasoned<Duration>,
    /// `esp.rekey`; `None`: at random between 80 and 90 % of the lifetime.
    pub esp_rekey: Reasoned<Option<Duration>>,
    /// `esp.df`
    pub df: Reasoned<DfPolicy>,
    /// `esp.accept_rekey_without_pfs`
    pub accept_rekey_without_pfs: Reasoned<bool>,
    /// `interface.mss`
    pub mss: Reasoned<MssPolicy>,
    /// `neighbor.multihop`
    pub multihop: Reasoned<u8>,
    /// `neighbor.hold_time`, in seconds
    pub hold_time: Reasoned<u16>,
    /// `neighbor.keepalive`, in seconds
    pub keepalive: Reasoned<u16>,
    /// `neighbor.max_prefix`
    pub max_prefix: Reasoned<Option<u32>>,
    /// `neighbor.max_prefix_out`
    pub max_prefix_out: Reasoned<Option<u32>>,
}

/// Head-ends whose profile is planned; the name is understood, and refused.
const PLANNED: &[&str] = &[
    "google",
    "gcp",
    "flexvpn",
    "cisco",
    "cisco-flexvpn",
    "iosxe",
    "nfvis",
    "webex",
    "oracle",
    "oci",
    "yamaha",
    "edgeos",
    "vyos",
    "cloudflare",
    "alibaba",
    "ibm",
    "fortigate",
    "paloalto",
    "juniper",
    "mikrotik",
    "opnsense",
    "pfsense",
    "strongswan",
    "libreswan",
];

impl Profile {
    /// Every profile there is.
    pub const ALL: [Self; 3] = [Self::Generic, Self::Azure, Self::Aws];

    /// The names, in the order of [`Profile::ALL`].
    pub(crate) const NAMES: &'static [&'static str] = &["generic", "azure", "aws"];

    /// The name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Azure => "azure",
            Self::Aws => "aws",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    pub(crate) fn is_planned(name: &str) -> bool {
        PLANNED.contains(&name)
    }

    /// Its defaults.
    #[must_use]
    pub fn defaults(self) -> Defaults {
        match self {
            Self::Generic => generic(),
            Self::Azure => azure(),
            Self::Aws => aws(),
        }
    }

    /// Why the head-end would not peer from this address; `None` when it would.
    pub(crate) fn peering_limit(self, neighbor: IpAddr) -> Option<String> {
        let IpAddr::V4(v4) = neighbor else { return None };
        match self {
            Self::Generic => None,
            Self::Azure => azure_peering_limit(v4),
            Self::Aws => aws_peering_limit(v4),
        }
    }

    /// Why the head-end would not take this as our AS; `None` when it would.
    pub(crate) fn asn_limit(self, local_asn: u32) -> Option<String> {
        /// What Azure keeps for itself.
        const AZURE: &[u32] = &[8074, 8075, 12076, 65515, 65517, 65518, 65519, 65520];
        let kept = self == Self::Azure && AZURE.contains(&local_asn);
        kept.then(|| format!("AS {local_asn} is reserved by Azure and cannot be ours"))
    }

    /// Why the head-end may not take this secret; `None` when it does. Says nothing of the secret itself.
    pub(crate) fn psk_limit(self, secret: &[u8]) -> Option<&'static str> {
        match self {
            Self::Generic => None,
            Self::Azure => {
                let sound = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'-' | b'~');
                (!secret.iter().all(sound)).then_some(
                    "Azure takes printable ASCII without space, hyphen and tilde as its shared key",
                )
            }
            Self::Aws => {
                let sound = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
                let good = (8..=64).contains(&secret.len())
                    && secret.iter().all(sound)
                    && secret.first() != Some(&b'0');
                (!good)
                    .then_some("AWS takes 8 to 64 of A-Z a-z 0-9 . _ as its shared key, not beginning with 0")
            }
        }
    }

    /// AWS keeps one SA pair a tunnel: a second CHILD SA, or a peer that makes one a selector, breaks the first.
    pub(crate) fn wants_one_selector(self) -> bool {
        self == Self::Aws
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 169.254.21.0 to 169.254.22.255 in every cloud.
fn azure_peering_limit(neighbor: Ipv4Addr) -> Option<String> {
    let outside = neighbor.is_link_local() && !matches!(neighbor.octets(), [169, 254, 21 | 22, _]);
    outside.then(|| {
        format!(
            "{neighbor} is outside 169.254.21.0-169.254.22.255, the only link-local range Azure peers from"
        )
    })
}

fn aws_peering_limit(neighbor: Ipv4Addr) -> Option<String> {
    let base = Ipv4Addr::from_bits(neighbor.to_bits() & !3);
    let kept = matches!(base.octets(), [169, 254, 0..=5, 0] | [169, 254, 169, 252]);
    kept.then(|| format!("{base}/30 is reserved by AWS and cannot be a tunnel's inside network"))
}

fn because<T>(value: T, why: &'static str) -> Reasoned<T> {
    Reasoned { value, why }
}

fn ike(texts: &[&str]) -> Vec<IkeProposal> {
    texts.iter().filter_map(|text| IkeProposal::parse(text).ok()).collect()
}

fn esp(texts: &[&str]) -> Vec<EspProposal> {
    texts.iter().filter_map(|text| EspProposal::parse(text).ok()).collect()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn generic() -> Defaults {
    Defaults {
        ike_proposals: because(IkeProposal::defaults(), "AEADs first, no SHA-1, no group below 112 bits"),
        ike_lifetime: because(seconds(28_800), "8 h, what most head-ends have"),
        dpd_delay: because(seconds(30), "asks only a silent peer, and below the 30-60 s of NAT mappings"),
        dpd_timeout: because(seconds(150), "rides out a minute of loss with a few repetitions left"),
        esp_proposals: because(
            EspProposal::defaults(),
            "AEADs first; no PFS, since peers differ and a mismatch shows only at the first rekey",
        ),
        esp_lifetime: because(seconds(3600), "1 h, what most head-ends have"),
        esp_rekey: because(None, "at random between 80 and 90 % of the lifetime, so two ends do not meet"),
        df: because(DfPolicy::Copy, "path MTU discovery works end to end (RFC 4301 section 8.1)"),
        accept_rekey_without_pfs: because(false, "a peer that drops PFS should be noticed"),
        mss: because(MssPolicy::Auto, "follows the MTU, which follows the suite"),
        multihop: because(1, "a peer on the tunnel's own subnet"),
        hold_time: because(90, "RFC 4271 section 10"),
        keepalive: because(30, "a third of the hold time (RFC 4271 section 10)"),
        max_prefix: because(Some(20_000), "what a peer can make this host hold has a bound"),
        max_prefix_out: because(None, "no limit known"),
    }
}

fn azure() -> Defaults {
    Defaults {
        ike_proposals: because(
            ike(&["aes256-sha256-modp1024", "aes256-sha1-modp1024"]),
            "the default policy takes group 2 and nothing else; with a custom policy write its one suite",
        ),
        ike_lifetime: because(seconds(28_800), "fixed at Azure; ours ends earlier, so we own the rekey"),
        dpd_delay: because(seconds(45), "Azure's own; shorter makes the tunnel look as if it flapped"),
        dpd_timeout: because(seconds(150), "rides out the minute a gateway instance takes to be replaced"),
        esp_proposals: because(
            esp(&["aes256gcm16", "aes256-sha256", "aes256-sha1"]),
            "no PFS: Azure's rekeys never carry a key exchange, and GCM more than doubles its throughput",
        ),
        esp_lifetime: because(seconds(27_000), "Azure's default"),
        esp_rekey: because(None, "at random between 80 and 90 % of the lifetime, before Azure's 95 %"),
        df: because(DfPolicy::Copy, "path MTU discovery works end to end (RFC 4301 section 8.1)"),
        accept_rekey_without_pfs: because(
            true,
            "Azure's rekeys never carry a key exchange, whatever we name",
        ),
        mss: because(MssPolicy::Fixed(1350), "Azure asks for it"),
        multihop: because(2, "the peer's address lies in its gateway subnet, a hop behind the tunnel"),
        hold_time: because(180, "fixed at Azure, which does not follow shorter ones reliably"),
        keepalive: because(60, "fixed at Azure"),
        max_prefix: because(Some(4000), "as many as Azure carries"),
        max_prefix_out: because(Some(4000), "Azure drops the session at one more"),
    }
}

fn aws() -> Defaults {
    Defaults {
        ike_proposals: because(
            ike(&["aes256gcm16-prfsha384-ecp384", "aes256-sha256-modp2048"]),
            "in AWS's own default lists; a tunnel with narrowed options needs them written",
        ),
        ike_lifetime: because(seconds(28_800), "AWS's default, and its most"),
        dpd_delay: because(seconds(10), "AWS's sample: interval 10"),
        dpd_timeout: because(seconds(30), "AWS gives up after 30 s too; we dial again at once"),
        esp_proposals: because(
            esp(&["aes256gcm16-ecp384", "aes256-sha256-modp2048"]),
            "AWS requires PFS; both are in its default lists",
        ),
        esp_lifetime: because(seconds(3600), "AWS's default, and its most"),
        esp_rekey: because(Some(seconds(2400)), "AWS rekeys from 2520 s on; before it there is no collision"),
        df: because(
            DfPolicy::Clear,
            "AWS's sample: clear the DF bit; it takes no part in path MTU discovery",
        ),
        accept_rekey_without_pfs: because(false, "AWS's rekeys carry a key exchange"),
        mss: because(MssPolicy::Fixed(1379), "AWS's sample; it reassembles no encrypted fragments"),
        multihop: because(1, "the peer is the other address of the inside /30"),
        hold_time: because(30, "AWS's own"),
        keepalive: because(10, "AWS's own"),
        max_prefix: because(Some(1000), "AWS announces no more"),
        max_prefix_out: because(
            Some(100),
            "AWS closes the session at one more, and the quota cannot be raised",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_has_suites_and_times_that_fit() {
        for profile in Profile::ALL {
            let defaults = profile.defaults();
            assert!(!defaults.ike_proposals.value.is_empty() && !defaults.esp_proposals.value.is_empty());
            assert!(defaults.keepalive.value * 3 <= defaults.hold_time.value);
            assert!(defaults.esp_rekey.value.is_none_or(|rekey| rekey < defaults.esp_lifetime.value));
            assert_eq!(Profile::from_name(profile.name()), Some(profile));
        }
        assert_eq!(Profile::NAMES, Profile::ALL.map(Profile::name));
        assert_eq!(azure().ike_proposals.value.len(), 2);
        assert_eq!(azure().esp_proposals.value.len(), 3);
        assert_eq!((aws().ike_proposals.value.len(), aws().esp_proposals.value.len()), (2, 2));
    }

    #[test]
    fn only_azure_names_weak_algorithms() {
        let weak = |profile: Profile| {
            let defaults = profile.defaults();
            defaults.ike_proposals.value.iter().any(IkeProposal::is_weak)
                || defaults.esp_proposals.value.iter().any(EspProposal::is_weak)
        };
        assert_eq!(Profile::ALL.map(weak), [false, true, false]);
    }

    #[test]
    fn the_limits_of_the_clouds_are_known() {
        let limit = |profile: Profile, address: &str| profile.peering_limit(address.parse().unwrap());
        assert!(limit(Profile::Azure, "169.254.10.1").is_some());
        assert!(limit(Profile::Azure, "169.254.22.255").is_none());
        assert!(limit(Profile::Azure, "172.16.0.254").is_none());
        assert!(limit(Profile::Aws, "169.254.5.1").is_some());
        assert!(limit(Profile::Aws, "169.254.169.253").is_some());
        assert!(limit(Profile::Aws, "169.254.6.1").is_none());
        assert!(Profile::Azure.asn_limit(65515).is_some() && Profile::Azure.asn_limit(65510).is_none());
        assert!(Profile::Generic.asn_limit(65515).is_none());
        assert!(Profile::Azure.psk_limit(b"with-hyphen").is_some());
        assert!(Profile::Azure.psk_limit(b"Abc123!").is_none());
        assert!(Profile::Aws.psk_limit(b"0startswithzero").is_some());
        assert!(Profile::Aws.psk_limit(b"short").is_some());
        assert!(Profile::Aws.psk_limit(b"Long.enough_1").is_none());
    }
}
