//! Cookies against floods of IKE_SA_INIT (RFC 7296 section 2.6): nothing is kept about those who have not echoed one.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crypto::{Prf, Secret, constant_time_eq};
use ike_wire::{HEADER_LEN, IkeSpi, NotifyType, PayloadType};

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

    /// Takes a new secret into use. The last one is kept if it may have made a cookie of late.
    pub(crate) fn rotate(&mut self, secret: Secret, now: Instant) {
        let old = std::mem::replace(&mut self.current, secret);
        self.previous = self.age(now).filter(|age| *age < 2 * LIFE).map(|_| old);
        self.version = self.version.wrapping_add(1);
        self.since = Some(now);
    }

    /// RFC 7296 section 2.6: Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>).
    pub(crate) fn make(&self, nonce: &[u8], remote: SocketAddr, spi_i: IkeSpi) -> Vec<u8> {
        cookie(self.version, &self.current, nonce, remote, spi_i)
    }

    /// The cookies that this sender may have been given of late: none where none were.
    pub(crate) fn given(
        &self,
        nonce: &[u8],
        remote: SocketAddr,
        spi_i: IkeSpi,
        now: Instant,
    ) -> Vec<Vec<u8>> {
        if self.age(now).is_none_or(|age| age >= 2 * LIFE) {
            return Vec::new();
        }
        let before = self.previous.as_ref().map(|secret| (self.version.wrapping_sub(1), secret));
        let secrets = [(self.version, &self.current)].into_iter().chain(before);
        secrets.map(|(version, secret)| cookie(version, secret, nonce, remote, spi_i)).collect()
    }

    /// How old the current secret is. Without need no new one is made, so it may be very old.
    fn age(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| now.saturating_duration_since(since))
    }

    /// Is this one of ours, for this sender, and not older than two secrets' lives?
    pub(crate) fn check(
        &self,
        got: &[u8],
        nonce: &[u8],
        remote: SocketAddr,
        spi_i: IkeSpi,
        now: Instant,
    ) -> bool {
        let (Some(version), Some(age)) = (got.first(), self.age(now)) else { return false };
        let secret = match self.version.wrapping_sub(*version) {
            0 if age < 2 * LIFE => Some(&self.current),
            1 if age < LIFE => self.previous.as_ref(),
            _ => None,
        };
        secret.is_some_and(|secret| constant_time_eq(got, &cookie(*version, secret, nonce, remote, spi_i)))
    }
}

/// The forms in which one IKE_SA_INIT came: alike but for the cookie in front.
///
/// An initiator that repeated its request before the cookie reached it may sign either form (RFC 7296 section 2.15: the
/// one it takes for answered), and both are its own octets.
pub(crate) struct Forms(Vec<Vec<u8>>);

/// Octets of a notify payload without SPI, before its data (RFC 7296 section 3.10).
const NOTIFY_LEN: usize = 8;

/// Forms kept of one request: without a cookie, and with each of three.
const MAX_FORMS: usize = 4;

impl Forms {
    pub(crate) fn new(first: Vec<u8>) -> Self {
        Self(vec![first])
    }

    /// It may come with this cookie in front, or have come and been lost.
    pub(crate) fn may_bring(&mut self, cookie: &[u8]) {
        let with =
            self.0.first().map(|form| without_cookie(form)).and_then(|form| with_cookie(&form, cookie));
        if let Some(form) = with.filter(|form| !self.0.contains(form) && self.0.len() < MAX_FORMS) {
            self.0.push(form);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// Is it the same request? One that has another cookie is kept beside the others.
    pub(crate) fn admit(&mut self, request: &[u8]) -> bool {
        if self.0.iter().any(|form| form == request) {
            return true;
        }
        let same = self.0.first().is_some_and(|form| without_cookie(form) == without_cookie(request));
        if same && self.0.len() < MAX_FORMS {
            self.0.push(request.to_vec());
        }
        same
    }
}

/// An IKE_SA_INIT request as it is without a cookie in front.
fn without_cookie(request: &[u8]) -> Cow<'_, [u8]> {
    strip(request).map_or(Cow::Borrowed(request), Cow::Owned)
}

/// RFC 7296 sections 3.1 and 3.10: next payload at octet 16 and length at 24 of the header; next payload, flags, length,
/// protocol, SPI size and type of the notify.
fn strip(request: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = request.split_first_chunk::<HEADER_LEN>()?;
    let [next, _, high, low, _, _, kind_high, kind_low, ..] = *rest else { return None };
    let kind = u16::from_be_bytes([kind_high, kind_low]);
    if header.get(16) != Some(&PayloadType::NOTIFY.0) || kind != NotifyType::COOKIE.0 {
        return None;
    }
    let rest = rest.get(usize::from(u16::from_be_bytes([high, low]))..)?;
    let mut bare = [header.as_slice(), rest].concat();
    let length = u32::try_from(bare.len()).ok()?;
    *bare.get_mut(16)? = next;
    bare.get_mut(24..HEADER_LEN)?.copy_from_slice(&length.to_be_bytes());
    Some(bare)
}

/// The reverse.
fn with_cookie(bare: &[u8], cookie: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = bare.split_first_chunk::<HEADER_LEN>()?;
    let notify = u16::try_from(NOTIFY_LEN + cookie.len()).ok()?;
    let length = u32::try_from(bare.len() + usize::from(notify)).ok()?;
    let mut header = *header;
    let next = std::mem::replace(header.get_mut(16)?, PayloadType::NOTIFY.0);
    header.get_mut(24..)?.copy_from_slice(&length.to_be_bytes());
    let ([high, low], [kind_high, kind_low]) = (notify.to_be_bytes(), NotifyType::COOKIE.0.to_be_bytes());
    let front = [next, 0, high, low, 0, 0, kind_high, kind_low];
    Some([&header[..], &front, cookie, rest].concat())
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
        jar.rotate(Secret::new(&[1; 32]), now);
        let cookie = jar.make(&[7; 32], here, IkeSpi(9));
        assert!(jar.check(&cookie, &[7; 32], here, IkeSpi(9), now));
        assert!(!jar.check(&cookie, &[8; 32], here, IkeSpi(9), now));
        assert!(!jar.check(&cookie, &[7; 32], there, IkeSpi(9), now));
        assert!(!jar.check(&cookie, &[7; 32], here, IkeSpi(8), now));
        assert!(!jar.check(&[], &[7; 32], here, IkeSpi(9), now));
        jar.rotate(Secret::new(&[2; 32]), now);
        assert!(jar.check(&cookie, &[7; 32], here, IkeSpi(9), now));
        jar.rotate(Secret::new(&[3; 32]), now);
        assert!(!jar.check(&cookie, &[7; 32], here, IkeSpi(9), now));
    }

    #[test]
    fn a_cookie_ages_also_while_nobody_is_asked_for_one() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut jar = CookieJar::new(Secret::new(&[1; 32]));
        jar.rotate(Secret::new(&[2; 32]), now);
        let here = "192.0.2.1:500".parse().unwrap();
        let cookie = jar.make(&[7; 32], here, IkeSpi(9));
        let holds = |jar: &CookieJar, at: Instant| jar.check(&cookie, &[7; 32], here, IkeSpi(9), at);
        assert!(holds(&jar, now + 119 * second));
        assert!(!holds(&jar, now + 121 * second));
        // The secret after it is made in time, and then no other for long.
        jar.rotate(Secret::new(&[3; 32]), now + 70 * second);
        assert!(holds(&jar, now + 129 * second));
        assert!(!holds(&jar, now + 131 * second));
        // Or only after a long while, which makes the one before no younger.
        let late = now + 86_400 * second;
        let cookie = jar.make(&[7; 32], here, IkeSpi(9));
        jar.rotate(Secret::new(&[4; 32]), late);
        assert!(!jar.check(&cookie, &[7; 32], here, IkeSpi(9), late));
    }

    #[test]
    fn requests_that_differ_in_their_cookie_alone_are_forms_of_one() {
        use ike_wire::{ExchangeFlags, ExchangeType, Header, Notify, Payload, encode};
        let request = |cookie: Option<u8>, nonce: u8| {
            let flags = ExchangeFlags { initiator: true, response: false, version: false };
            let (initiator_spi, exchange) = (IkeSpi(1), ExchangeType::IKE_SA_INIT);
            let header =
                Header { initiator_spi, responder_spi: IkeSpi::ZERO, exchange, flags, message_id: 0 };
            let first = cookie.map(|octet| Payload::Notify(Notify::new(NotifyType::COOKIE, vec![octet; 33])));
            let payloads: Vec<_> = first.into_iter().chain([Payload::Nonce(vec![nonce; 32])]).collect();
            encode(&header, &payloads).unwrap()
        };
        let plain = request(None, 7);
        assert_eq!(strip(&request(Some(1), 7)).as_deref(), Some(plain.as_slice()));
        assert_eq!(strip(&plain), None);
        assert_eq!(with_cookie(&plain, &[1; 33]), Some(request(Some(1), 7)));
        let mut expected = Forms::new(plain.clone());
        expected.may_bring(&[1; 33]);
        assert!(expected.iter().eq([plain.clone(), request(Some(1), 7)].iter()));
        let mut forms = Forms::new(plain.clone());
        assert!(
            forms.admit(&plain) && forms.admit(&request(Some(1), 7)) && forms.admit(&request(Some(2), 7))
        );
        assert!(!forms.admit(&request(Some(1), 8)) && !forms.admit(&request(None, 8)));
        // More cookies are still the same request; their octets are not kept.
        assert!(forms.admit(&request(Some(3), 7)) && forms.admit(&request(Some(4), 7)));
        assert_eq!(forms.iter().count(), MAX_FORMS);
        let long = request(Some(1), 7);
        for cut in 0..long.len() {
            assert!(!forms.admit(&long[..cut]));
        }
    }
}
