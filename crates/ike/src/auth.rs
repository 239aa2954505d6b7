//! Proof of identity by shared secret (RFC 7296 section 2.15).

use crypto::{Prf, Secret, constant_time_eq};
use ike_wire::{AuthMethod, Authentication, Identification};

/// What one side signs: its own first message, the other's nonce, its own identity.
pub(crate) struct Signed<'a> {
    pub(crate) prf: Prf,
    /// The IKE_SA_INIT message of the side that proves itself, as sent on the wire.
    pub(crate) message: &'a [u8],
    /// The nonce of the side that checks.
    pub(crate) nonce: &'a [u8],
    /// SK_pi or SK_pr of the side that proves itself.
    pub(crate) sk_p: &'a Secret,
    /// Its identity, as sent.
    pub(crate) id: &'a Identification,
}

/// Zero-sized proof that the peer showed it knows the secret; only [`Signed::verify`] makes one.
pub(crate) struct Authenticated(());

impl Signed<'_> {
    /// AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)
    fn mac(&self, psk: &Secret) -> Secret {
        let key = self.prf.mac(psk, &[b"Key Pad for IKEv2"]);
        let maced_id = self.prf.mac(self.sk_p, &[&self.id.body()]);
        self.prf.mac(&key, &[self.message, self.nonce, &maced_id])
    }

    /// Our proof.
    pub(crate) fn prove(&self, psk: &Secret) -> Authentication {
        Authentication { method: AuthMethod::SHARED_KEY_MIC, data: self.mac(psk).to_vec() }
    }

    /// The peer's proof.
    pub(crate) fn verify(&self, psk: &Secret, auth: &Authentication) -> Option<Authenticated> {
        let holds = auth.method == AuthMethod::SHARED_KEY_MIC && constant_time_eq(&self.mac(psk), &auth.data);
        holds.then_some(Authenticated(()))
    }
}
