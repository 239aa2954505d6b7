//! Why an attempt failed, in words an operator can act on, and what goes back on the wire for it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crypto::Group;
use inet::Selector;

use crate::identity::Identity;

/// Why a dial, or the making or rekeying of a CHILD SA, failed. A closed list: each is produced by a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer during the whole of `dpd.timeout`.
    PeerSilent {
        /// Where we sent.
        remote: SocketAddr,
        /// Which exchange.
        exchange: Exchange,
        /// Times sent.
        sent: u32,
    },
    /// No suite both accept.
    NoProposal(Box<NoProposal>),
    /// The peer wants a key exchange group our proposals do not name.
    InvalidKe {
        /// The group it asked for.
        wanted: u16,
        /// What our proposals name.
        ours: Vec<Group>,
    },
    /// The secrets or identities do not agree.
    AuthenticationFailed {
        /// Did the peer refuse us? Otherwise we refused the peer.
        by_peer: bool,
        /// The identity the peer claimed, when it got that far.
        claimed: Option<Identity>,
        /// The identity we expect of it.
        expected: Option<Identity>,
    },
    /// The peer accepts none of our traffic selectors, or we none of the peer's.
    TsUnacceptable {
        /// Did the peer refuse?
        by_peer: bool,
        /// Our side's traffic as configured.
        local: Vec<Selector>,
        /// The peer's side's traffic as configured.
        remote: Vec<Selector>,
        /// What the peer offered for (our side, its side), when it began.
        offered: Option<(Vec<Selector>, Vec<Selector>)>,
    },
    /// The peer's choice of selectors leaves out what BGP needs. Advisory: the CHILD SA is up.
    SelectorsTooNarrow(SelectorsTooNarrow),
    /// The peer answered with an error notify we have no better words for.
    PeerRefused {
        /// Its number (RFC 7296 section 3.10.1).
        notify: u16,
        /// Which exchange.
        exchange: Exchange,
        /// Bytes of the notify; Microsoft's 12345 carries a Win32 error code in them.
        data: Vec<u8>,
    },
    /// The peer ended the IKE SA while it was still being made, or soon after.
    PeerDeleted,
    /// The peer sent something no RFC allows at that point.
    Misbehaved(Misbehaviour),
    /// The peer's public value failed its checks (RFC 6989).
    BadPublicValue(Group),
    /// The peer knows only IKEv1 or another major version.
    WrongVersion {
        /// Its highest major version.
        theirs: u8,
    },
    /// A bound of ours was reached.
    TooMany,
    /// So many key exchanges waited here that this one was not computed.
    Overloaded,
    /// The IKE SA ended while the attempt was under way.
    Abandoned,
}

/// No suite both accept: both lists, in strongSwan's words and the order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoProposal {
    /// For the IKE SA or for a CHILD SA?
    pub exchange: Exchange,
    /// Did the peer refuse? Then its list is unknown (empty) unless it sent one.
    pub by_peer: bool,
    /// What we propose or accept.
    pub ours: Vec<String>,
    /// What the peer proposed.
    pub theirs: Vec<String>,
}

/// An address pair the agreed selectors must carry and do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorsTooNarrow {
    /// Our end of the BGP session.
    pub local: IpAddr,
    /// The peer's end.
    pub remote: IpAddr,
    /// Our side's traffic as agreed.
    pub local_ts: Vec<Selector>,
    /// The peer's side's traffic as agreed.
    pub remote_ts: Vec<Selector>,
}

/// The exchanges of RFC 7296, with CREATE_CHILD_SA by purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exchange {
    /// IKE_SA_INIT.
    IkeSaInit,
    /// IKE_AUTH.
    IkeAuth,
    /// CREATE_CHILD_SA for a CHILD SA from scratch.
    CreateChild,
    /// CREATE_CHILD_SA that rekeys a CHILD SA.
    RekeyChild,
    /// CREATE_CHILD_SA that rekeys the IKE SA.
    RekeyIke,
    /// INFORMATIONAL.
    Informational,
}

/// What a peer did that no RFC allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Misbehaviour {
    /// Bytes that are no IKE message.
    Malformed,
    /// A payload the exchange needs is missing.
    MissingPayload,
    /// It chose a suite we did not offer.
    SuiteNotOffered,
    /// It chose selectors we did not offer.
    SelectorsNotOffered,
    /// A nonce outside 16-256 bytes, or an SPI of the wrong size.
    BadField,
    /// It sent no end of cookies or group demands.
    EndlessRetry,
    /// A payload marked critical that we do not know.
    CriticalPayload(u8),
}

impl Failure {
    /// True when the tunnel is up all the same and the failure only informs.
    #[must_use]
    pub fn is_advisory(&self) -> bool {
        matches!(self, Self::SelectorsTooNarrow(_))
    }

    /// May dialling again without a change on either side help? Everything is retried for ever all the same; this
    /// only tells how to word it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::PeerSilent { .. } | Self::PeerDeleted | Self::TooMany | Self::Overloaded | Self::Abandoned
        )
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IkeSaInit => "IKE_SA_INIT",
            Self::IkeAuth => "IKE_AUTH",
            Self::CreateChild => "CREATE_CHILD_SA",
            Self::RekeyChild => "CREATE_CHILD_SA (rekey of the CHILD SA)",
            Self::RekeyIke => "CREATE_CHILD_SA (rekey of the IKE SA)",
            Self::Informational => "INFORMATIONAL",
        })
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("a malformed message"),
            Self::MissingPayload => f.write_str("a message without a payload it must have"),
            Self::SuiteNotOffered => f.write_str("a suite that was not offered"),
            Self::SelectorsNotOffered => f.write_str("traffic selectors that were not offered"),
            Self::BadField => f.write_str("a field outside its bounds"),
            Self::EndlessRetry => f.write_str("one demand to retry after the other"),
            Self::CriticalPayload(kind) => write!(f, "an unknown critical payload ({kind})"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerSilent { remote, exchange, sent } => {
                write!(f, "peer silent: no answer from {remote} to {exchange}, sent {sent} times")
            }
            Self::NoProposal(lists) => fmt_no_proposal(lists, f),
            Self::InvalidKe { wanted, ours } => {
                let names: Vec<_> = ours.iter().map(|group| group.keyword()).collect();
                let wanted = Group::from_iana(*wanted)
                    .map_or_else(|| format!("group {wanted}"), |group| group.keyword().to_string());
                write!(f, "the peer accepts only {wanted}; our proposals name {}", names.join(", "))
            }
            Self::AuthenticationFailed { by_peer, claimed, expected } => {
                fmt_authentication(*by_peer, claimed.as_ref(), expected.as_ref(), f)
            }
            Self::TsUnacceptable { by_peer, local, remote, offered } => {
                let who = if *by_peer { "the peer refused our" } else { "we refused the peer's" };
                write!(f, "{who} traffic selectors; ours are {} === {}", Join(local), Join(remote))?;
                match offered {
                    Some((local, remote)) => write!(f, ", offered were {} === {}", Join(local), Join(remote)),
                    None => Ok(()),
                }
            }
            Self::SelectorsTooNarrow(narrow) => narrow.fmt(f),
            Self::PeerRefused { notify, exchange, data } => {
                write!(f, "the peer refused {exchange} with notify {notify}")?;
                match <[u8; 4]>::try_from(data.as_slice()) {
                    Ok(code) => write!(f, " (code {0}, {0:#x})", u32::from_be_bytes(code)),
                    Err(_) => Ok(()),
                }
            }
            Self::PeerDeleted => f.write_str("the peer deleted the IKE SA"),
            Self::Misbehaved(what) => write!(f, "the peer sent {what}"),
            Self::BadPublicValue(group) => {
                write!(f, "the peer's public value for {} is not valid", group.keyword())
            }
            Self::WrongVersion { theirs } => write!(f, "the peer speaks IKE version {theirs} only"),
            Self::TooMany => f.write_str("too many at a time"),
            Self::Overloaded => f.write_str("too many key exchanges wait to be computed on this host"),
            Self::Abandoned => f.write_str("the IKE SA ended meanwhile"),
        }
    }
}

impl fmt::Display for SelectorsTooNarrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the negotiated selectors {} === {} leave out the BGP session {} - {}",
            Join(&self.local_ts),
            Join(&self.remote_ts),
            self.local,
            self.remote
        )
    }
}

impl std::error::Error for Failure {}

fn fmt_no_proposal(lists: &NoProposal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let who = if lists.by_peer { "the peer accepts none of ours" } else { "we accept none of the peer's" };
    write!(f, "no proposal chosen in {}: {who}; ours: {}", lists.exchange, lists.ours.join(", "))?;
    if lists.theirs.is_empty() {
        return f.write_str("; the peer did not say what it accepts");
    }
    write!(f, "; theirs: {}", lists.theirs.join(", "))
}

fn fmt_authentication(
    by_peer: bool,
    claimed: Option<&Identity>,
    expected: Option<&Identity>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    if by_peer {
        return f.write_str("authentication failed: the peer refused our identity or secret");
    }
    f.write_str("authentication failed: ")?;
    match (claimed, expected) {
        (Some(claimed), Some(expected)) if !claimed.matches(expected) => {
            write!(f, "the peer says it is {claimed}, expected is {expected}")
        }
        (Some(claimed), _) => write!(f, "the secret of {claimed} is not the one we hold"),
        (None, _) => f.write_str("the peer's proof does not hold"),
    }
}

/// Prints a list of selectors.
pub(crate) struct Join<'a>(pub(crate) &'a [Selector]);

impl fmt::Display for Join<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, selector) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            selector.fmt(f)?;
        }
        Ok(())
    }
}
