//! Keying material from SKEYSEED on (RFC 7296 sections 2.13, 2.14, 2.17 and 2.18).

use crypto::{Prf, Secret};
use ike_wire::IkeSpi;

use crate::event::{ChildKeys, Role};
use crate::proposal::{EspSuite, IkeSuite};
use crate::protect::Crypt;

/// What SKEYSEED is expanded with: both nonces and both SPIs of the IKE SA being made.
pub(crate) struct Ingredients<'a> {
    pub(crate) ni: &'a [u8],
    pub(crate) nr: &'a [u8],
    pub(crate) spi_i: IkeSpi,
    pub(crate) spi_r: IkeSpi,
}

/// The seed of all keys of one IKE SA. It is consumed by expanding it.
pub(crate) struct SkeySeed {
    secret: Secret,
    suite: IkeSuite,
}

/// All keys of an IKE SA that is not authenticated yet.
pub(crate) struct FreshKeys {
    /// Makes the keys of CHILD SAs, and of a successor.
    pub(crate) derive: DeriveKey,
    /// Protects messages.
    pub(crate) crypt: Crypt,
    /// SK_pi: goes into the initiator's AUTH.
    pub(crate) pi: Secret,
    /// SK_pr: goes into the responder's AUTH.
    pub(crate) pr: Secret,
}

/// SK_d with the PRF it belongs to.
#[derive(Clone)]
pub(crate) struct DeriveKey {
    sk_d: Secret,
    prf: Prf,
}

/// The keys do not fit the suite: cannot happen with keys cut here, and is not worth a panic.
#[derive(Debug)]
pub(crate) struct BadKeys;

impl SkeySeed {
    /// RFC 7296 section 2.14: SKEYSEED = prf(Ni | Nr, g^ir).
    pub(crate) fn first(suite: IkeSuite, shared: &Secret, with: &Ingredients<'_>) -> Self {
        let key = [with.ni, with.nr].concat();
        Self { secret: suite.prf.mac(&key, &[shared.as_bytes()]), suite }
    }

    /// RFC 7296 section 2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old SA's PRF.
    pub(crate) fn rekeyed(old: &DeriveKey, suite: IkeSuite, shared: &Secret, with: &Ingredients<'_>) -> Self {
        Self { secret: old.prf.mac(&old.sk_d, &[shared.as_bytes(), with.ni, with.nr]), suite }
    }

    /// RFC 7296 section 2.14: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} =
    /// prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr).
    pub(crate) fn expand(
        self,
        role: Role,
        with: &Ingredients<'_>,
        iv_seed: [u8; 16],
    ) -> Result<FreshKeys, BadKeys> {
        let prf = self.suite.prf;
        let suite = self.suite.suite;
        let (p, a, e) = (prf.output_len(), suite.integ_key_len(), suite.encr_key_len());
        let seed = [with.ni, with.nr, &with.spi_i.to_bytes(), &with.spi_r.to_bytes()];
        let all = prf.prf_plus(&self.secret, &seed, 3 * p + 2 * a + 2 * e).map_err(|_| BadKeys)?;
        let [sk_d, ai, ar, ei, er, pi, pr] = all.split([p, a, a, e, e, p, p]).ok_or(BadKeys)?;
        let crypt = match role {
            Role::Initiator => Crypt::new(suite, (&ei, &ai), (&er, &ar), iv_seed),
            Role::Responder => Crypt::new(suite, (&er, &ar), (&ei, &ai), iv_seed),
        };
        Ok(FreshKeys { derive: DeriveKey { sk_d, prf }, crypt: crypt.ok_or(BadKeys)?, pi, pr })
    }
}

impl DeriveKey {
    /// RFC 7296 section 2.17: KEYMAT = prf+(SK_d, \[g^ir (new) |\] Ni | Nr); keys for packets from the initiator of the
    /// exchange come first, encryption before integrity.
    pub(crate) fn child(
        &self,
        suite: EspSuite,
        shared: Option<&Secret>,
        (ni, nr): (&[u8], &[u8]),
        role: Role,
    ) -> Option<ChildKeys> {
        let (e, a) = (suite.suite.encr_key_len(), suite.suite.integ_key_len());
        let shared = shared.map(Secret::as_bytes).unwrap_or_default();
        let all = self.prf.prf_plus(&self.sk_d, &[shared, ni, nr], 2 * (e + a)).ok()?;
        let [ei, ai, er, ar] = all.split([e, a, e, a])?;
        Some(match role {
            Role::Initiator => ChildKeys { encr_out: ei, integ_out: ai, encr_in: er, integ_in: ar },
            Role::Responder => ChildKeys { encr_in: ei, integ_in: ai, encr_out: er, integ_out: ar },
        })
    }
}
