//! Tests of the whole engine: a pair in virtual time over a network that loses, delays, doubles and reorders.

mod collisions;
mod cookies;
mod endings;
mod establish;
mod host;
mod hostile;
mod many;
mod overload;
mod pair;
mod refusals;
mod rekey;
mod resources;
mod standing;
mod upkeep;
