//! What was dropped, refused or repeated, and how often: one closed list shared by counters and views.

/// One thing worth counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum Counter {
    /// Datagrams handed in.
    Received,
    /// Datagrams handed out, repeats included.
    Sent,
    /// Requests of ours repeated for want of an answer.
    Retransmitted,
    /// Answers given again, byte for byte, to a repeated request.
    Repeated,
    /// Bytes that are no IKEv2 message.
    Malformed,
    /// Another major version.
    WrongVersion,
    /// A message for an IKE SA we do not have.
    UnknownSpi,
    /// A body whose integrity check failed.
    Forged,
    /// A message id outside the window.
    OutOfWindow,
    /// A message that has no place in the SA's state.
    Unexpected,
    /// A protected message whose body is malformed or lacks a payload.
    BadBody,
    /// IKE_SA_INIT from an address no connection admits.
    UnknownPeer,
    /// Requests refused for want of a common suite.
    NoProposal,
    /// Cookies demanded.
    CookieSent,
    /// Cookies that did not hold.
    CookieWrong,
    /// IKE_SA_INIT refused because too many are half-open.
    HalfOpenRefused,
    /// Half-open IKE SAs that never authenticated.
    HalfOpenExpired,
    /// Peers whose proof or identity failed.
    AuthenticationFailed,
    /// Fragments received.
    Fragments,
    /// Fragments that fit no message.
    FragmentRefused,
    /// Answers or notes to strangers held back by their rate limit.
    RateLimited,
    /// Results of work nobody waits for any more.
    StaleWork,
    /// NAT keepalives sent.
    Keepalives,
    /// Temporary refusals sent because an exchange was under way.
    TemporaryFailure,
    /// Acceptances of IKE_SA_INIT that may have answered another request than the present one.
    Doubted,
    /// CHILD SAs for one more resource that the peer asked for and was refused: TS_MAX_QUEUE (RFC 9611).
    ResourceRefused,
    /// The same the other way: the peer has enough of them.
    ResourceDenied,
    /// Key exchanges that were never computed, because too many waited.
    WorkRefused,
}

impl Counter {
    /// Every counter, in order.
    pub const ALL: [Self; 28] = [
        Self::Received,
        Self::Sent,
        Self::Retransmitted,
        Self::Repeated,
        Self::Malformed,
        Self::WrongVersion,
        Self::UnknownSpi,
        Self::Forged,
        Self::OutOfWindow,
        Self::Unexpected,
        Self::BadBody,
        Self::UnknownPeer,
        Self::NoProposal,
        Self::CookieSent,
        Self::CookieWrong,
        Self::HalfOpenRefused,
        Self::HalfOpenExpired,
        Self::AuthenticationFailed,
        Self::Fragments,
        Self::FragmentRefused,
        Self::RateLimited,
        Self::StaleWork,
        Self::Keepalives,
        Self::TemporaryFailure,
        Self::Doubted,
        Self::ResourceRefused,
        Self::ResourceDenied,
        Self::WorkRefused,
    ];

    /// A name for logs and views.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Sent => "sent",
            Self::Retransmitted => "retransmitted",
            Self::Repeated => "repeated",
            Self::Malformed => "malformed",
            Self::WrongVersion => "wrong-version",
            Self::UnknownSpi => "unknown-spi",
            Self::Forged => "forged",
            Self::OutOfWindow => "out-of-window",
            Self::Unexpected => "unexpected",
            Self::BadBody => "bad-body",
            Self::UnknownPeer => "unknown-peer",
            Self::NoProposal => "no-proposal",
            Self::CookieSent => "cookie-sent",
            Self::CookieWrong => "cookie-wrong",
            Self::HalfOpenRefused => "half-open-refused",
            Self::HalfOpenExpired => "half-open-expired",
            Self::AuthenticationFailed => "authentication-failed",
            Self::Fragments => "fragments",
            Self::FragmentRefused => "fragment-refused",
            Self::RateLimited => "rate-limited",
            Self::StaleWork => "stale-work",
            Self::Keepalives => "keepalives",
            Self::TemporaryFailure => "temporary-failure",
            Self::Doubted => "doubted",
            Self::ResourceRefused => "resource-refused",
            Self::ResourceDenied => "resource-denied",
            Self::WorkRefused => "work-refused",
        }
    }
}

/// All counters of one engine, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Counters {
    /// One counter's value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).copied().unwrap_or(0)
    }

    /// Every counter with its value.
    pub fn iter(&self) -> impl Iterator<Item = (Counter, u64)> + '_ {
        Counter::ALL.iter().copied().zip(self.0.iter().copied())
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        if let Some(value) = self.0.get_mut(counter as usize) {
            *value = value.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_its_own_place() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index, "{}", counter.name());
        }
    }
}
