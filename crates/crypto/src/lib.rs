//! Algorithms by IANA number: the only crate that names a cryptographic library.
//!
//! * [`Encr`], [`Integ`], [`Prf`], [`Group`] and [`Suite`]: what IKEv2 negotiates, with IANA numbers, IANA
//!   names (`Display`) and strongSwan's keywords.
//! * [`Sealer`] and [`Opener`]: one packet shape, [`Frame`], for ESP packets and IKE's SK payloads.
//! * [`Prf::mac`], [`Prf::prf_plus`]: key derivation, AUTH, cookies.
//! * [`KeyPair`]: Diffie-Hellman, with the checks of RFC 6989 on what the peer sends.
//! * [`digest`], [`Secret`], [`constant_time_eq`].
//!
//! No randomness and no clock inside: seeds are arguments. Secrets the crate holds are wiped on drop, with
//! one exception: `ring` does not wipe the AES and ChaCha20 keys it is given, and gives no access to them.
//!
//! RFCs: 2104, 2404, 3526, 3602, 4106, 4303 (§2.2.1), 4868, 5114 (§2.3), 5282, 5903, 6989, 7296 (§2.13,
//! §3.14), 7634, 8031.

mod aead;
mod aes_block;
mod algorithm;
mod cbc;
pub mod digest;
mod frame;
mod gcm;
mod hash;
mod kex;
mod open;
mod packets;
mod seal;
mod secret;
#[cfg(test)]
mod tests;

pub use algorithm::{Encr, Group, Integ, KeyBits, Prf, Suite, TooLong};
pub use frame::{Forged, Frame, KeyError, Misfit};
pub use kex::{BadPublicValue, KeyPair};
pub use open::Opener;
pub use seal::Sealer;
pub use secret::{Secret, constant_time_eq};

/// Threads share these by reference; a change that took that away would not compile.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Sealer>();
    shared::<Opener>();
    shared::<KeyPair>();
    shared::<Secret>();
};
