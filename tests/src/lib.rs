//! Tests of the whole product without a host under it: a simulated world, and the scenarios played in it.
//!
//! `cargo test -p causeway-tests` plays every scenario with `SIM_SEEDS` seeds (see `sim::seeds`); a failing seed
//! prints how to play it again. Tests against real peers are beside this crate, in `interop` and `lab`.

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod sim;
