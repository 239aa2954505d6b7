//! The instructions themselves. Every function here is unsafe for one reason: the processor must have them.

pub(crate) mod aes;
mod blocks;
mod chains;
pub(crate) mod gcm;
mod ghash;
pub(crate) mod kernel;
mod order;
mod sha1;
mod sha2;
pub(crate) mod sum;
mod turn;
mod vector;
