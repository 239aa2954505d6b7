//! HMAC (RFC 2104) over the hashes IKEv2 names, with the key's half of the work done once.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// A hash function under an HMAC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha2_256,
    Sha2_384,
    Sha2_512,
}

impl Hash {
    /// Octets of output.
    pub(crate) const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha2_256 => 32,
            Self::Sha2_384 => 48,
            Self::Sha2_512 => 64,
        }
    }
}

/// An HMAC key whose two padded blocks are hashed already, and equally an HMAC under way: a copy of the
/// key is where each message begins.
#[derive(Clone)]
pub(crate) enum MacKey {
    Sha1(Hmac<Sha1>),
    Sha2_256(Hmac<Sha256>),
    Sha2_384(Hmac<Sha384>),
    Sha2_512(Hmac<Sha512>),
}

/// An HMAC under way.
pub(crate) struct Running(MacKey);

macro_rules! each {
    ($key:expr, $mac:ident => $body:expr) => {
        match $key {
            MacKey::Sha1($mac) => $body,
            MacKey::Sha2_256($mac) => $body,
            MacKey::Sha2_384($mac) => $body,
            MacKey::Sha2_512($mac) => $body,
        }
    };
}

impl MacKey {
    /// A key of any length: longer than the hash's block it is hashed first.
    pub(crate) fn new(hash: Hash, key: &[u8]) -> Self {
        match hash {
            Hash::Sha1 => Self::Sha1(keyed(key)),
            Hash::Sha2_256 => Self::Sha2_256(keyed(key)),
            Hash::Sha2_384 => Self::Sha2_384(keyed(key)),
            Hash::Sha2_512 => Self::Sha2_512(keyed(key)),
        }
    }

    pub(crate) fn begin(&self) -> Running {
        Running(self.clone())
    }

    /// The code over the parts joined, cut to the length of `out`.
    pub(crate) fn mac(&self, parts: &[&[u8]], out: &mut [u8]) {
        let mut running = self.begin();
        parts.iter().for_each(|part| running.update(part));
        running.finish(out);
    }
}

impl Running {
    pub(crate) fn update(&mut self, part: &[u8]) {
        each!(&mut self.0, mac => mac.update(part));
    }

    /// Writes as much of the code as `out` holds.
    pub(crate) fn finish(self, out: &mut [u8]) {
        each!(self.0, mac => {
            let code = mac.finalize().into_bytes();
            out.iter_mut().zip(code.iter()).for_each(|(to, from)| *to = *from);
        });
    }
}

/// HMAC has no wrong key length, so the error arm of the shared trait is never taken; the empty key
/// stands in for it because this must not panic.
fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    M::new_from_slice(key).unwrap_or_else(|_| M::new(&Default::default()))
}
