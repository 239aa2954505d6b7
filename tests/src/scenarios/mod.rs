//! The scenarios, each over many seeds.

mod chaos;
mod establish;
mod failover;
mod fate;
mod host;
mod hostile;
mod nat;
mod pair;
mod policy;
mod rekey;
mod reload;
mod tail;
mod teeth;
