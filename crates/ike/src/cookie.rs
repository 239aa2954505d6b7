//! Cookies against floods of IKE_SA_INIT (RFC 7296 section 2.6): nothing is kept about those who have not echoed one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crypto::{Prf, Secret, constant_time_eq};
use ike_wire::IkeSpi;

/// How long one secret makes cookies; the one before it still checks them.
const LIFE: Duration = Duration::from_secs(60);

/// The secrets, and when the current one began.
pub(crate) struct CookieJar {
    current: Secret,
    previous: Option<Secret>,
    version: u8,
    since: Option<Instant>,
}

impl CookieJar {
    pub(crate) fn new(secret: Secret) -> Self {
        Self { current: secret, previous: None, version: 0, since: None }
    }

    /// Is a new secret due?
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.saturating_duration_since(since) >= LIFE)
    }

    /// Takes a new secret into use.
    pub(crate) fn rotate(&mut self, secret: Secret, now: Instant) {
        self.previous = Some(std::mem::replace(&mut self.current, secret));
        self.version = self.version.wrapping_add(1);
        self.since = Some(now);
    }

    /// RFC 7296 section 2.6: Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>).
    pub(crate) fn make(&self, nonce: &[u8], remote: SocketAddr, spi_i: IkeSpi) -> Vec<u8> {
        cookie(self.version, &self.current, nonce, remote, spi_i)
    }

    /// Is this one of ours, for this sender?
    pub(crate) fn check(&self, got: &[u8], nonce: &[u8], remote: SocketAddr, spi_i: IkeSpi) -> bool {
        let Some(version) = got.first() else { return false };
        let secret = match self.version.wrapping_sub(*version) {
            0 => Some(&self.current),
            1 => self.previous.as_ref(),
            _ => None,
        };
        secret.is_some_and(|secret| constant_time_eq(got, &cookie(*version, secret, nonce, remote, spi_i)))
    }
}

fn cookie(version: u8, secret: &Secret, nonce: &[u8], remote: SocketAddr, spi_i: IkeSpi) -> Vec<u8> {
    let address = remote.to_string();
    let mac = Prf::HmacSha2_256.mac(secret, &[nonce, address.as_bytes(), &spi_i.to_bytes()]);
    let mut cookie = vec![version];
    cookie.extend_from_slice(&mac);
    cookie
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_holds_for_its_sender_and_two_secrets_long() {
        let now = Instant::now();
        let mut jar = CookieJar::new(Secret::new(&[1; 32]));
        let (here, there) = ("192.0.2.1:500".parse().unwrap(), "192.0.2.2:500".parse().unwrap());
        let cookie = jar.make(&[7; 32], here, IkeSpi(9));
        assert!(jar.check(&cookie, &[7; 32], here, IkeSpi(9)));
        assert!(!jar.check(&cookie, &[8; 32], here, IkeSpi(9)));
        assert!(!jar.check(&cookie, &[7; 32], there, IkeSpi(9)));
        assert!(!jar.check(&cookie, &[7; 32], here, IkeSpi(8)));
        assert!(!jar.check(&[], &[7; 32], here, IkeSpi(9)));
        jar.rotate(Secret::new(&[2; 32]), now);
        assert!(jar.check(&cookie, &[7; 32], here, IkeSpi(9)));
        jar.rotate(Secret::new(&[3; 32]), now);
        assert!(!jar.check(&cookie, &[7; 32], here, IkeSpi(9)));
    }
}
