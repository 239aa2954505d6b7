//! The instructions themselves. Every function here is unsafe for one reason: the processor must have them.

pub(crate) mod aes;
pub(crate) mod gcm;
mod ghash;
pub(crate) mod kernel;
mod sha1;
mod sha2;
pub(crate) mod sum;
mod turn;
mod vector;
