//! The scenarios, each over many seeds.

mod candidates;
mod chaos;
mod closed;
mod endings;
mod establish;
mod failover;
mod fate;
mod host;
mod hostile;
mod nat;
mod outside;
mod pages;
mod pair;
mod policy;
mod rekey;
mod reload;
mod resources;
mod stopped;
mod tail;
mod teeth;
