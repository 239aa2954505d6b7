//! Which of two connections with one peer stays (RFC 4271 section 6.8, RFC 6286 section 2.3).
//!
//! Both sides know the same answer: the connection opened by the speaker with the higher identifier stays.
//! But they learn of the two connections at different times, and if each closes what it holds for the loser
//! both may die. So one side alone decides: the one with the higher identifier, by what it has seen. The other
//! keeps both and learns the decision: either one closes, or a KEEPALIVE comes on the connection the higher
//! side opened, which that side sends only when it keeps that one for good.

use std::net::Ipv4Addr;

/// Ours and theirs, as far as the comparison needs them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identities {
    pub(crate) local_id: Ipv4Addr,
    pub(crate) remote_id: Ipv4Addr,
    pub(crate) local_asn: u32,
    pub(crate) remote_asn: u32,
}

impl Identities {
    /// Do we decide? "If the BGP Identifiers of the peers involved in the connection collision are identical,
    /// then the connection initiated by the BGP speaker with the larger AS number is preserved" (RFC 6286).
    pub(crate) fn we_decide(&self) -> bool {
        (self.local_id.to_bits(), self.local_asn) > (self.remote_id.to_bits(), self.remote_asn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_compare_as_unsigned_numbers_and_the_as_breaks_a_tie() {
        let identities = |local_id: [u8; 4], remote_id: [u8; 4], local_asn, remote_asn| Identities {
            local_id: local_id.into(),
            remote_id: remote_id.into(),
            local_asn,
            remote_asn,
        };
        assert!(identities([200, 0, 0, 1], [10, 0, 0, 2], 1, 2).we_decide());
        assert!(!identities([10, 0, 0, 1], [10, 0, 0, 2], 9, 2).we_decide());
        assert!(identities([10, 0, 0, 1], [10, 0, 0, 1], 9, 2).we_decide());
        assert!(!identities([10, 0, 0, 1], [10, 0, 0, 1], 2, 9).we_decide());
    }
}
