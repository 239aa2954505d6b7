//! Why something is down: a closed set, each with who said so and what to change.

use std::time::Instant;

use ike::{DownReason, Failure};

/// The reasons `show status` can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Nothing came back.
    PeerSilent,
    /// No suite both sides accept, or no group.
    NoProposal,
    /// Secret or identity.
    AuthenticationFailed,
    /// The agreed selectors leave out the BGP session.
    SelectorsTooNarrow,
    /// No selectors both sides accept.
    SelectorsRefused,
    /// Another error notify of the peer.
    PeerRefused,
    /// The peer ended it.
    PeerDeleted,
    /// Something no RFC allows.
    PeerMisbehaved,
    /// More key exchanges than this host computes.
    Overloaded,
    /// The hard lifetime ended without a successor.
    Lifetime,
    /// By command, until the next command.
    Stopped,
    /// Reset by command: it begins anew.
    Cleared,
    /// The file changed.
    Reconfigured,
    /// The peer's name has no address.
    NameUnknown,
    /// No route to the peer's outer address that avoids every tunnel.
    NoPath,
    /// We wait for the peer to come.
    WaitingForPeer,
    /// We wait for a packet.
    WaitingForTraffic,
    /// The interface could not be made.
    Device,
    /// TCP to the BGP neighbour was refused.
    TcpRefused,
    /// TCP to the BGP neighbour goes unanswered.
    TcpSilent,
    /// A NOTIFICATION, either way.
    Notification,
    /// The BGP connection was closed or broke.
    BgpClosed,
    /// No prefix passes: no policy is set, or it denies everything.
    PolicyDeniesAll,
    /// A limit of prefixes.
    MaxPrefix,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::PeerSilent,
        Self::NoProposal,
        Self::AuthenticationFailed,
        Self::SelectorsTooNarrow,
        Self::SelectorsRefused,
        Self::PeerRefused,
        Self::PeerDeleted,
        Self::PeerMisbehaved,
        Self::Overloaded,
        Self::Lifetime,
        Self::Stopped,
        Self::Cleared,
        Self::Reconfigured,
        Self::NameUnknown,
        Self::NoPath,
        Self::WaitingForPeer,
        Self::WaitingForTraffic,
        Self::Device,
        Self::TcpRefused,
        Self::TcpSilent,
        Self::Notification,
        Self::BgpClosed,
        Self::PolicyDeniesAll,
        Self::MaxPrefix,
    ];

    /// The short name in `show status --json` and in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PeerSilent => "peer-silent",
            Self::NoProposal => "no-proposal",
            Self::AuthenticationFailed => "authentication-failed",
            Self::SelectorsTooNarrow => "selectors-too-narrow",
            Self::SelectorsRefused => "selectors-refused",
            Self::PeerRefused => "peer-refused",
            Self::PeerDeleted => "peer-deleted",
            Self::PeerMisbehaved => "peer-misbehaved",
            Self::Overloaded => "overloaded",
            Self::Lifetime => "lifetime",
            Self::Stopped => "stopped",
            Self::Cleared => "cleared",
            Self::Reconfigured => "reconfigured",
            Self::NameUnknown => "name-unknown",
            Self::NoPath => "no-path",
            Self::WaitingForPeer => "waiting-for-peer",
            Self::WaitingForTraffic => "waiting-for-traffic",
            Self::Device => "device",
            Self::TcpRefused => "tcp-refused",
            Self::TcpSilent => "tcp-silent",
            Self::Notification => "notification",
            Self::BgpClosed => "bgp-closed",
            Self::PolicyDeniesAll => "policy-denies-all",
            Self::MaxPrefix => "max-prefix",
        }
    }

    /// What to change, in one line, where nothing more is known than the reason.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::PeerSilent => {
                "is `remote` right, is the peer up, and do UDP 500, 4500 and protocol 50 pass every firewall?"
            }
            Self::NoProposal => {
                "name a suite of the other list in [tunnel.X.ike] or [tunnel.X.esp] proposals, or change the peer's"
            }
            Self::AuthenticationFailed => "compare psk, local_id and remote_id with the peer's",
            Self::SelectorsTooNarrow => {
                "make local_ts and remote_ts, here or at the peer, hold both BGP addresses (0.0.0.0/0 is usual)"
            }
            Self::SelectorsRefused => "make local_ts and remote_ts agree with the peer's selectors, mirrored",
            Self::PeerRefused => "the peer's log says more",
            Self::PeerDeleted => "the peer ended the tunnel; it is dialled again",
            Self::PeerMisbehaved => "a capture of UDP 500 and 4500 will show it",
            Self::Overloaded => {
                "it is tried again by itself; smaller groups in the proposals, or fewer tunnels, take less to compute"
            }
            Self::Lifetime => "the rekey did not come about; the log says why",
            Self::Stopped => "`causeway up` starts it",
            Self::Cleared => "it begins anew by itself; with start = \"respond\" when the peer dials",
            Self::Reconfigured => "the changed file asks for a new start",
            Self::NameUnknown => "does the resolver know the name in `remote`?",
            Self::NoPath => {
                "is there a route to the peer's address outside the tunnels, and has this host an address of `local`?"
            }
            Self::WaitingForPeer => "start = \"respond\": the peer has to dial; `causeway up` dials once",
            Self::WaitingForTraffic => "start = \"on-demand\": the first packet into the tunnel dials",
            Self::Device => "is the name taken, and may the daemon use /dev/net/tun?",
            Self::TcpRefused => "does the neighbour run BGP on that address, and does it know ours?",
            Self::TcpSilent => {
                "nothing answers there: are address, multihop and the routes of both sides right?"
            }
            Self::Notification => "the text says which setting the two sides disagree on",
            Self::BgpClosed => "the neighbour closed the connection without a word; its log says more",
            Self::PolicyDeniesAll => {
                "set import and export to a prefix list that permits something, or to \"any\""
            }
            Self::MaxPrefix => "raise the limit or announce less",
        }
    }
}

/// Who said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// We concluded it.
    Local,
    /// The peer told us.
    Peer,
    /// The kernel did.
    Kernel,
}

impl Source {
    /// As `show status` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Kernel => "kernel",
        }
    }
}

/// A reason with its words and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Which.
    pub code: Code,
    /// In words.
    pub text: String,
    /// Who.
    pub source: Source,
    /// When.
    pub at: Instant,
    /// What to change.
    pub hint: &'static str,
}

/// How a session's neighbour is reached, as far as it bears on what to change when nobody answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// Through a tunnel, which carries.
    pub in_tunnel: bool,
    /// Its segments are signed (RFC 2385).
    pub password: bool,
}

impl Reached {
    /// What to change when a connection attempt goes unanswered. Of a segment whose signature fails RFC 2385 section 2
    /// says that it is dropped "and must not produce any response back to the sender", so silence may mean the password.
    #[must_use]
    pub fn silent_hint(self) -> &'static str {
        match (self.in_tunnel, self.password) {
            (true, true) => {
                "IPsec is up, but nothing answers behind it: is `password` the neighbour's? (one that is wrong, or set at \
                 one side alone, is answered with silence); else: are address, multihop and the peer's routes right?"
            }
            (true, false) => {
                "IPsec is up, but nothing answers behind it: are address, multihop and the peer's routes right, or does \
                 the neighbour demand a `password`?"
            }
            (false, true) => {
                "nothing answers there: is `password` the neighbour's? (one that is wrong, or set at one side alone, is \
                 answered with silence); else: are address, multihop and the routes of both sides right?"
            }
            (false, false) => {
                "nothing answers there: are address, multihop and the routes of both sides right, or does the neighbour \
                 demand a `password`?"
            }
        }
    }
}

impl Why {
    fn new(code: Code, source: Source, text: String, at: Instant) -> Self {
        Self { code, text, source, at, hint: code.hint() }
    }

    /// Of our own conclusion.
    #[must_use]
    pub fn local(code: Code, text: impl Into<String>, at: Instant) -> Self {
        Self::new(code, Source::Local, text.into(), at)
    }

    /// Told by the peer.
    #[must_use]
    pub fn peer(code: Code, text: impl Into<String>, at: Instant) -> Self {
        Self::new(code, Source::Peer, text.into(), at)
    }

    /// From a failed attempt.
    #[must_use]
    pub fn of_failure(failure: &Failure, at: Instant) -> Self {
        let (code, source) = match failure {
            Failure::PeerSilent { .. } => (Code::PeerSilent, Source::Local),
            Failure::NoProposal(lists) => (Code::NoProposal, by(lists.by_peer)),
            Failure::InvalidKe { .. } => (Code::NoProposal, Source::Peer),
            Failure::AuthenticationFailed { by_peer, .. } => (Code::AuthenticationFailed, by(*by_peer)),
            Failure::TsUnacceptable { by_peer, .. } => (Code::SelectorsRefused, by(*by_peer)),
            Failure::SelectorsTooNarrow(_) => (Code::SelectorsTooNarrow, Source::Local),
            Failure::PeerRefused { .. } | Failure::WrongVersion { .. } => (Code::PeerRefused, Source::Peer),
            Failure::PeerDeleted => (Code::PeerDeleted, Source::Peer),
            Failure::Misbehaved(_) | Failure::BadPublicValue(_) => (Code::PeerMisbehaved, Source::Local),
            Failure::Overloaded => (Code::Overloaded, Source::Local),
            Failure::TooMany | Failure::Abandoned => (Code::PeerSilent, Source::Local),
        };
        Self::new(code, source, failure.to_string(), at)
    }

    /// From the end of an SA.
    #[must_use]
    pub fn of_end(reason: DownReason, at: Instant) -> Self {
        let (code, source) = match reason {
            DownReason::PeerDeleted | DownReason::PeerLost => (Code::PeerDeleted, Source::Peer),
            DownReason::PeerSilent => (Code::PeerSilent, Source::Local),
            DownReason::Lifetime => (Code::Lifetime, Source::Local),
            DownReason::Commanded => (Code::Cleared, Source::Local),
            DownReason::Reconfigured => (Code::Reconfigured, Source::Local),
            DownReason::Rekeyed
            | DownReason::Redundant
            | DownReason::Orphaned
            | DownReason::Replaced
            | DownReason::PeerRestarted => (Code::PeerDeleted, Source::Peer),
            DownReason::Misbehaved => (Code::PeerMisbehaved, Source::Local),
            DownReason::Overloaded => (Code::Overloaded, Source::Local),
        };
        Self::new(code, source, format!("the tunnel ended: {reason}"), at)
    }
}

fn by(peer: bool) -> Source {
    if peer { Source::Peer } else { Source::Local }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_its_own_name_and_a_hint() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| !code.hint().is_empty()));
    }

    #[test]
    fn silence_of_a_neighbour_hints_at_the_password_and_at_ipsec_only_where_there_is_a_tunnel() {
        for (in_tunnel, password) in [(true, true), (true, false), (false, true), (false, false)] {
            let hint = Reached { in_tunnel, password }.silent_hint();
            assert_eq!(hint.contains("IPsec is up"), in_tunnel, "{hint}");
            let (ours, theirs) =
                (hint.contains("is `password` the neighbour's"), hint.contains("demand a `password`"));
            assert_eq!((ours, theirs), (password, !password), "{hint}");
        }
        assert!(!Code::TcpSilent.hint().contains("IPsec"), "it says nothing of a tunnel nobody knows of");
    }
}
