//! AES-CBC and HMAC over several packets at once, in the lanes of vector registers.
//!
//! A CBC chain waits for its own last block, and a hash for its own last round: one packet leaves most of a
//! processor's AES and vector units idle. Packets of one batch do not wait for each other, so here one
//! packet goes into each lane.
//!
//! * [`Level`]: which instructions are used. A value of it is the proof that this processor has them.
//! * [`Cbc`]: an expanded AES key; enciphers many streams side by side, deciphers one stream many blocks
//!   at a time.
//! * [`Hmac`]: a key's two midstates; many codes side by side.
//! * [`Gcm`]: an AES key and powers of its hash key; one packet at a time, up to 32 blocks of it side by side.
//! * [`sum`], [`copy_and_sum`]: the sum of internet checksums, alone or with a copy.
//!
//! Lengths may differ within a batch: a lane that is done takes the next packet. Results do not depend on
//! which packets share a batch. Nothing allocates, no table is indexed by a secret and no branch is taken on
//! one. Expanded keys and midstates are wiped on drop. There is no portable form of the ciphers and hashes here:
//! where [`Level::best`] gives nothing, the single-packet algorithms of the caller's choice are the way.
//!
//! FIPS 197 (AES), NIST SP 800-38A (CBC), FIPS 180-4 (SHA-1, SHA-2), RFC 2104 (HMAC), RFC 1071 (sums).

#![cfg_attr(
    not(target_arch = "x86_64"),
    allow(unused, reason = "there are no levels yet, so what works at one is never reached")
)]

mod alike;
mod cbc;
mod gcm;
mod hash;
mod hmac;
mod level;
mod sum;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use cbc::Cbc;
pub use gcm::{Gcm, Packet};
pub use hash::Hash;
pub use hmac::{Hmac, Job};
pub use level::Level;
pub use sum::{copy_and_sum, sum};

/// Threads share these by reference; a change that took that away would not compile.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Cbc>();
    shared::<Gcm>();
    shared::<Hmac>();
};
